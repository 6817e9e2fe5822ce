"""Which models a session can show, and which of them it can learn on from."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from test_cli import refused

from contractile.errors import ContractileError
from contractile.model import Model, ModelCard, save
from contractile.unet import UNet, UNetConfig
from contractile.viewer.starting import check_model


def a_model(path, *, task="objects", values=(), **network):
    config = UNetConfig(width=2, depth=1, **{"classes": 3, **network})
    save(Model(UNet(config), ModelCard(network=config, task=task, class_values=values)), path)
    return path


SESSION = {"task": "objects", "values": (), "channels": 1}
CLASSES = {"task": "classes", "values": (0, 1), "channels": 1}


@pytest.mark.parametrize(
    ("model", "session", "learns", "why"),
    [
        ({}, SESSION, True, None),
        ({"classes": 2}, SESSION, False, None),
        ({"classes": 2}, SESSION, True, "it tells objects apart by 2 maps, and a session learns 3"),
        ({"dims": 3}, SESSION, False, "it is made for volumes, and a session shows planes"),
        ({}, CLASSES, True, "it finds objects, and the session is about classes"),
        ({"task": "classes", "values": (0, 1), "classes": 2}, CLASSES, True, None),
        (
            {"task": "classes", "values": (0, 1, 2)},
            CLASSES,
            True,
            "its classes have the values 0, 1, 2, those of the session 0, 1",
        ),
        ({}, {**SESSION, "channels": 3}, False, r"it takes images of 1 channel\(s\), and these have 3"),
    ],
)
def test_which_models_fit(tmp_path, model, session, learns, why):
    place = a_model(tmp_path / "m.safetensors", **model)
    if why is None:
        return check_model(place, **session, learns=learns)
    with pytest.raises(ContractileError, match=f"m.safetensors: the model does not fit this session: {why}; choose"):
        check_model(place, **session, learns=learns)


def test_a_model_that_does_not_fit_is_refused_before_there_is_a_session(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 200, (40, 48), np.uint8)
        tifffile.imwrite(f"images/{number}.tif", pixels)
    a_model(tmp_path / "m.safetensors", classes=2)
    said = refused(capsys, "view", "images", "--start", "m.safetensors", "--no-browser")
    assert "it tells objects apart by 2 maps" in said
    assert not (tmp_path / "images_session" / "strokes.jsonl").exists()
