"""Wrong calls: each gets one line of argument, rule, value and cure, and leaves nothing behind."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import wrong_calls
import zarr
from test_cli import TINY, call

import contractile as ct
from contractile.dataset import check_places
from contractile.errors import ContractileError
from contractile.model import Model, ModelCard, save
from contractile.prediction import blocks, predict_files, unfinished

MEMORY = 16e9  # bytes of the machine that the lines tell of


def draw(number):
    """An image (40, 48) and the labels of its three objects."""
    labels = np.zeros((40, 48), np.uint8)
    labels[4:16, 5 + 3 * number : 17 + 3 * number], labels[22:34, 20:30], labels[22:34, 30:40] = 1, 2, 3
    noise = np.random.default_rng(number).normal(0, 8, labels.shape)
    return (np.where(labels > 0, 150, 60) + noise).astype(np.uint8), labels


def put(folder, make, count=3):
    """A folder of TIFFs: what `make` gives for each image, its labels and its number."""
    Path(folder).mkdir()
    for number in range(count):
        values = make(*draw(number), number)
        more = {"photometric": "rgb"} if values.ndim == 3 and values.shape[-1] == 3 else {}
        tifffile.imwrite(Path(folder, f"{number}.tif"), values, **more)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with images, labels, a model, a run, and data of which each has another fault."""
    folder = tmp_path_factory.mktemp("calls")
    before = Path.cwd()
    os.chdir(folder)
    put("images", lambda image, labels, number: image)
    put("labels", lambda image, labels, number: labels)
    put("more", lambda image, labels, number: image[::-1], 2)
    put("more_labels", lambda image, labels, number: labels[::-1], 2)
    put("constant", lambda image, labels, number: image * 0 + 7)
    put("huge", lambda image, labels, number: image * 1e300)
    put("tiny", lambda image, labels, number: image * 1e-300)
    put("pixel", lambda image, labels, number: image[:1, :1])
    put("pixel_labels", lambda image, labels, number: labels[:1, :1] + np.uint8(number))
    put("small", lambda image, labels, number: labels[:5, :5] + np.uint8(number))
    put("blank", lambda image, labels, number: labels * 0)
    put("copies", lambda image, labels, number: labels)
    put("maps", lambda image, labels, number: np.stack([1 - (labels > 0), labels > 0]).astype(np.float32))
    put("colours", lambda image, labels, number: np.stack([image, image[::-1], image[:, ::-1]], axis=-1))
    for name in ("empty", "folder.toml"):
        Path(name).mkdir()
    Path("notes.txt").write_text("notes")
    Path("tiny.toml").write_text(TINY)
    config = ct.UNetConfig(width=2, depth=1, classes=3)
    save(Model(ct.UNet(config), ModelCard(network=config, task="objects", diameter=12.0)), "m.safetensors")
    ct.train("images", "labels", out="done", recipe={"steps": 2, "device": "cpu", **RUN})
    yield folder
    os.chdir(before)


RUN = {"validations": 1, "network": {"width": 8, "depth": 2}, "samples": {"tile": [32, 32], "core": [32, 32]}}


def put_zarr(name, seed):
    """An OME-Zarr of one image (40, 48)."""
    group = zarr.open_group(name, mode="w")
    group.create_array("0", data=np.random.default_rng(seed).integers(0, 200, (40, 48), np.uint8))
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


@pytest.fixture(scope="module")
def any_size(place):
    """In the same folder: OME-Zarrs, two other models, and predictions that were stopped before their last step."""
    put_zarr("cells.zarr", 0)
    put_zarr("stranger.zarr", 1)
    zarr.open_group("bare.zarr", mode="w")
    for name, dims in (("other", 2), ("volumes", 3)):
        config = ct.UNetConfig(width=2, depth=1, classes=3, dims=dims)
        save(Model(ct.UNet(config), ModelCard(network=config, task="objects")), f"{name}.safetensors")

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        keep_in_files(patch)
        patch.setattr(blocks.Segmented, "sew", stop)
        for out in ("begun", "unreadable"):
            with pytest.raises(KeyboardInterrupt):
                list(predict_files(ct.load("m.safetensors"), ["images/0.tif"], out=out))
    Path("unreadable/.0.contractile-work/plan.json").write_text("{")


def keep_in_files(patch):
    """Let small images be predicted as large ones are."""
    for room in (blocks, unfinished):
        patch.setattr(room, "IN_MEMORY", 1000)


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr("contractile.memory.total_memory", lambda: MEMORY)


def said(capsys, words):
    """The line that a wrong call gets on standard error, and what it left behind."""
    before = set(os.listdir())
    status, _, told = call(capsys, *words)
    [line] = [line for line in told.splitlines() if line.startswith("contractile: ")]
    assert status == 2
    assert "Traceback" not in told
    assert set(os.listdir()) == before
    return line.removeprefix("contractile: ")


@pytest.mark.parametrize(("typed", "line"), wrong_calls.CALLS["commands"].items(), ids=lambda text: text[:80])
def test_a_wrong_command(place, machine, capsys, typed, line):
    assert said(capsys, shlex.split(typed)[1:]) == line


@pytest.mark.parametrize(("typed", "line"), wrong_calls.CALLS["any_size"].items(), ids=lambda text: text[:80])
def test_a_wrong_prediction_or_measurement(any_size, monkeypatch, capsys, typed, line):
    keep_in_files(monkeypatch)
    assert said(capsys, shlex.split(typed)[1:]) == line


def test_a_refused_resume_leaves_what_was_begun(any_size, monkeypatch, capsys):
    keep_in_files(monkeypatch)
    said(capsys, ["predict", "other.safetensors", "images/0.tif", "--out", "begun", "--resume"])
    assert len(list(Path("begun").rglob("kept/*.block"))) == 1


@pytest.mark.parametrize(("recipe", "line"), wrong_calls.CALLS["recipes"].items(), ids=lambda text: repr(text)[:80])
def test_a_wrong_recipe(place, machine, capsys, recipe, line):
    Path("recipe.toml").write_bytes(wrong_calls.content_of(recipe))
    words = shlex.split("train images labels --out run --recipe recipe.toml --device cpu")
    assert said(capsys, words) == line


@pytest.mark.parametrize(("code", "line"), wrong_calls.CALLS["python"].items(), ids=lambda text: text[:80])
def test_a_wrong_call_in_python(place, code, line):
    model, tiny = ct.load("m.safetensors"), ct.UNetConfig(width=2, depth=1)
    names = {"ct": ct, "np": np, "torch": torch, "model": model, "tiny": tiny, "net": ct.UNet(tiny)}
    image, labels = draw(0)
    with pytest.raises(ContractileError) as caught:
        eval(code, {**names, "image": image, "labels": labels, "bare": Model(model.network, model.card)})
    assert str(caught.value) == line
    assert not Path("run").exists()


def test_each_line_names_what_was_given_and_a_cure():
    lines = [line for lines in wrong_calls.CALLS.values() for line in lines.values()]
    assert len(lines) >= 250
    assert all("; " in line and "\n" not in line for line in lines)


def test_the_document_shows_the_calls():
    text = wrong_calls.DOCUMENT.read_text(encoding="utf-8")
    assert text.split(wrong_calls.BEGIN)[1].split(wrong_calls.END)[0] == f"\n{wrong_calls.table()}\n"


@pytest.mark.parametrize(
    ("places", "line"),
    [
        (
            {"images": None},
            "images must be a folder, a pattern, a file or a list of files, got None; write arrays into files first, "
            "e.g. with tifffile.imwrite",
        ),
        (
            {"labels": np.zeros((2, 2))},
            "labels must be a folder, a pattern, a file or a list of files, got ndarray; write arrays into files "
            "first, e.g. with tifffile.imwrite",
        ),
        (
            {"images": []},
            "images must be a folder, a pattern, a file or a list of files, got []; write arrays into files first, "
            "e.g. with tifffile.imwrite",
        ),
        ({"out": None}, 'out must be the path of a folder, got None; give e.g. "run"'),
        ({"out": ""}, "out must not be empty, got ''; name a folder; . is the working folder"),
        (
            {"validation": "more"},
            "validation must be two places, of images and of their labels, got 'more'; give e.g. "
            '("more/images", "more/labels")',
        ),
        (
            {"validation": ("more", None)},
            "validation labels must be a folder, a pattern, a file or a list of files, got None; write arrays into "
            "files first, e.g. with tifffile.imwrite",
        ),
        (
            {"out": "images"},
            "out must be a folder of its own, got images, which holds images or labels; name another folder",
        ),
        (
            {"validation": (["images/1.tif"], "labels")},
            "validation images must be others than those to train on, got 1.tif in both; name others, or none: "
            "val_fraction of the images is held out then",
        ),
    ],
)
def test_the_places_of_a_training(place, places, line):
    call = {"images": "images", "labels": "labels", "out": "run", **places}
    with pytest.raises(ContractileError) as caught:
        check_places(call["images"], call["labels"], out=call["out"], validation=call.get("validation"))
    assert str(caught.value) == line
    check_places("images", ["labels/0.tif"], out="run", validation=("more", "more_labels"))
