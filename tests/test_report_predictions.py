"""The page of predictions: the least certain first, and what the command line says of quality."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_cli import call, data, refused  # noqa: F401 - a fixture

from contractile.cli.display import describe_prediction
from contractile.dataset import Example
from contractile.errors import AlreadyThere
from contractile.images import write_picture
from contractile.model import Model, ModelCard, save
from contractile.prediction import Predictor, Written
from contractile.quality import FEATURES, Expected, ExpectedDice, Known, Shown, Unlike, fit_confidence
from contractile.report import write_predictions
from contractile.training.quality import learn_likeness
from contractile.unet import UNet, UNetConfig


def written(folder, name, ap, unlike=None, **more):
    overlay = folder / f"{name}_overlay.png"
    write_picture(overlay, np.zeros((8, 8, 3), np.uint8))
    expected = None if ap is None else Expected(ap, ap - 0.1, ap + 0.1, 10.0, 6.0, 14.0)
    odd = None if unlike is None else Unlike(unlike, "noise 3 times higher")
    return Written(Path(f"{name}.tif"), 1, (overlay,), count=9, expected=expected, unlike=odd, **more)


def test_the_least_certain_image_comes_first(tmp_path):
    found = [written(tmp_path, "good", 0.9), written(tmp_path, "<bad>", 0.4, 2.0), written(tmp_path, "fair", 0.7, 0.5)]
    page = write_predictions(found, tmp_path / "predictions.html", model="run").read_text()
    rows = re.findall(r"<tr><td>([^<]*)</td>", page)
    assert rows == ["&lt;bad&gt;.tif", "fair.tif", "good.tif"]
    assert page.count("noise 3 times higher") == 1  # a score below 1 is no news
    assert "0.40 (0.30 to 0.50)" in page
    assert "95 % interval 23 to 37" in page  # 30 objects, +- sqrt(3) * 4
    assert page.count("data:image/") == 3
    assert page.count("estimated true number of objects") == 2
    assert "All images, the least certain first. Colours only tell neighbouring objects apart." in page
    assert "valid only for images similar to the training images" in page


def test_a_page_of_classes_says_nothing_of_colours(tmp_path):
    found = [written(tmp_path, str(n), None, dice=(ExpectedDice(0.9, 0.8, 0.95),)) for n in range(13)]
    found = [replace(one, count=None) for one in found]
    page = write_predictions(found, tmp_path / "predictions.html", model="run").read_text()
    assert "The 12 least certain images, the least certain first." in page
    assert "Colours" not in page


def test_intervals_that_end_at_one_are_added_as_if_they_did_not(tmp_path):
    found = [replace(written(tmp_path, name, 0.9), expected=Expected(0.98, 0.88, 1.0, 10, 6, 14)) for name in "abcd"]
    page = write_predictions(found, tmp_path / "predictions.html", model="run").read_text()
    assert "95 % interval 0.93 to 1.00" in page  # 0.98 - sqrt(4) * 0.1 / 4


def test_a_page_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "predictions.html").write_text("mine")
    with pytest.raises(AlreadyThere, match=r"predictions\.html"):
        write_predictions([written(tmp_path, "a", 0.5)], tmp_path / "predictions.html", model="run")


def test_lines_say_what_is_expected(tmp_path):
    lines = describe_prediction(written(tmp_path, "a", 0.5, 3.0))
    assert lines[1:] == [
        "a.tif: 9 object(s), expected AP at IoU 0.5: 0.50 (0.40 to 0.60), true objects: 6 to 14",
        "a.tif: unlike the training images (noise 3 times higher): expect worse",
    ]
    dice = (ExpectedDice(0.9, 0.8, 0.95), ExpectedDice(math.nan, math.nan, math.nan))
    [_, line] = describe_prediction(Written(Path("b.tif"), 1, (), dice=dice))
    assert line == "b.tif: expected Dice of the classes: 0.90 (0.80 to 0.95), not found"
    page = write_predictions([Written(Path("b.tif"), 1, (), dice=dice)], tmp_path / "predictions.html", model="run")
    assert "0.90 (0.80 to 0.95); not found" in page.read_text()
    assert describe_prediction(Written(Path("b.tif"), 1, (Path("x"),))) == ["b.tif: x"]


@pytest.fixture
def model():
    """A model of objects that knows how right it is, and what it learned from: noise."""
    torch.manual_seed(0)
    rng, config = np.random.default_rng(0), UNetConfig(width=2, depth=1, classes=3)
    shown = Shown(rng.normal(size=(30, len(FEATURES))), 0.0)
    known = Known(shown, rng.random(30) < 0.7, np.zeros(30), 0, 0.7)
    card = ModelCard(network=config, task="objects", diameter=12.0)
    noise = [rng.normal(100, 10, (1, 64, 64)).astype(np.uint8) for _ in range(4)]
    examples = [Example(str(n), one, np.zeros((64, 64), np.int32)) for n, one in enumerate(noise)]
    likeness = learn_likeness(examples, [card.normalization.fit(one) for one in noise])
    confidence = fit_confidence([known], typical=100.0)
    return Model(UNet(config).eval(), card.model_copy(update={"confidence": confidence, "likeness": likeness}))


def test_predict_writes_a_page_of_several_models(data, model, capsys):  # noqa: F811
    save(model, data / "a.safetensors")
    save(model, data / "b.safetensors")
    words = ("predict", data / "a.safetensors", data / "b.safetensors", data / "images", "--out", data / "out")
    for _ in range(2):  # its own page is replaced
        status, out, err = call(capsys, *words, "--save", "objects", "--report")
        assert status == 0
    assert "predictions.html" in out
    assert "unlike the training images" in err.replace("\n", " ")
    assert "confidence" in (data / "out" / "0_objects.csv").read_text().splitlines()[0]
    page = (data / "out" / "predictions.html").read_text()
    assert page.count("<tr><td>") == 3
    assert "a.safetensors" in page
    assert "b.safetensors" in page
    (data / "out" / "0_objects.csv").unlink()
    status, _, err = call(capsys, *words, "--save", "objects", "--report", "--resume")  # only one image is left to do
    assert status == 0
    err = err.replace("\n", "")
    assert "0_objects.csv" in err
    assert "1_objects.csv" not in err
    again = (data / "out" / "predictions.html").read_text()
    assert re.findall("<tr><td>.*", again) == re.findall("<tr><td>.*", page)
    (data / "out" / "predictions.html").write_text("mine")
    assert "predictions.html" in refused(capsys, *words, "--report")
    line = "predict takes models and then images, got models alone"
    assert line in refused(capsys, *words[:3], "--out", data / "out")


def test_the_page_shows_the_images_that_could_be_predicted(data, model, capsys):  # noqa: F811
    save(model, data / "a.safetensors")
    (data / "images" / "1.tif").write_bytes(b"II*")
    words = ("predict", data / "a.safetensors", data / "images", "--out", data / "out", "--report")
    status, out, err = call(capsys, *words)
    assert status == 1
    assert "1 of 3 files could not be predicted" in err.replace("\n", " ")
    assert "predictions.html" in out
    assert (data / "out" / "predictions.html").read_text().count("<tr><td>") == 2


def test_images_in_one_file_are_told_apart(tmp_path):
    found = [written(tmp_path, "a", 0.5, image="a_0000.lif"), written(tmp_path, "b", 0.9, image="a_0001.lif")]
    found.append(replace(written(tmp_path, "c", 0.7), pages=12))
    page = write_predictions(found, tmp_path / "predictions.html", model="run").read_text()
    assert re.findall(r"<tr><td>([^<]*)</td>", page) == ["a_0000.lif", "c.tif", "a_0001.lif"]
    assert "c.tif, the first of 12 pages" in page


def test_an_image_is_assessed(model):
    image = np.random.default_rng(1).normal(100, 10, (64, 64)).astype(np.uint8)
    predictor = Predictor(model)
    found = predictor.assess(image)
    np.testing.assert_array_equal(found.labels, predictor.segment(image))
    assert found.confidence.shape == (found.labels.max(),)
    assert found.unlike.score < 1
    assert predictor.assess(image // 8).unlike.score > 1
    plain = Predictor(Model(model.network, ModelCard(network=model.card.network, task="objects"))).assess(image)
    assert (plain.confidence, plain.expected, plain.unlike, plain.dice) == (None, None, None, ())
