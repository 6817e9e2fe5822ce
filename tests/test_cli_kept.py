"""What commands replace on the disk: their own files alone; and what they leave when they are killed."""

import json
import os
import subprocess
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from kills import all_kills, contents, killed, seen
from test_cli import call, refused

from contractile import demo
from contractile.errors import AlreadyThere, InUse
from contractile.model import Model, ModelCard, save
from contractile.storage import claimed
from contractile.unet import UNet, UNetConfig

NOT_OURS = "results must not replace files that this command did not write, or that have changed since"


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Images, labels, and a model; the folder is the working folder."""
    monkeypatch.chdir(tmp_path)
    for side in ("images", "labels"):
        Path(side).mkdir()
        for number in range(2):
            pixels = np.repeat(np.arange(6, dtype=np.uint8) * (20 if side == "images" else 1), 8)
            tifffile.imwrite(f"{side}/{number}.tif", np.tile(pixels, (40, 1)))
    return tmp_path


@pytest.fixture
def model(data):
    config = UNetConfig(width=2, depth=1, classes=3)
    save(Model(UNet(config), ModelCard(network=config, task="objects", diameter=12.0)), "m.safetensors")
    return "m.safetensors"


SCORE = ("evaluate", "labels", "labels", "--scores", "dice", "--json")


# evaluate --json


def test_scores_are_replaced_unless_they_were_changed(data, capsys):
    for _ in range(2):
        assert call(capsys, *SCORE, "scores.json")[0] == 0
    whole = Path("scores.json").read_text()
    assert json.loads(whole)["dice"] == 1
    Path("scores.json").write_text(whole + " ")
    line = refused(capsys, *SCORE, "scores.json")
    assert line == (
        f"contractile: {NOT_OURS}, got scores.json; "
        "choose another place, or replace them with --overwrite (overwrite=True)"
    )
    assert Path("scores.json").read_text() == whole + " "
    assert call(capsys, *SCORE, "scores.json", "--overwrite")[0] == 0
    assert Path("scores.json").read_text() == whole


@pytest.mark.parametrize("name", ["notes.txt", "m.safetensors", "link.json", "out/0_labels.tif", "/dev/stdout"])
def test_scores_replace_no_file_of_others(data, model, capsys, name):
    """A model and labels are ours, too, but not of this command."""
    Path("notes.txt").write_text("mine")
    Path("link.json").symlink_to("notes.txt")
    assert call(capsys, "predict", model, "images", "--out", "out")[0] == 0
    before = Path(name).read_bytes() if name != "/dev/stdout" else b""
    assert refused(capsys, *SCORE, name).startswith(f"contractile: {NOT_OURS}, got {name}; ")
    assert name == "/dev/stdout" or Path(name).read_bytes() == before
    assert Path("link.json").is_symlink()


@pytest.mark.parametrize("place", ["labels/0.tif", "to/0.tif", "deep/01_GT/SEG/0.tif"])
def test_scores_never_replace_what_is_scored(data, capsys, place):
    Path("to").symlink_to("labels")
    Path("deep/01_GT/SEG").mkdir(parents=True)
    Path("deep/01_GT/SEG/0.tif").hardlink_to("labels/0.tif")
    before = Path("labels/0.tif").read_bytes()
    truth = "deep" if place.startswith("deep") else "labels"
    line = refused(capsys, "evaluate", "labels", truth, "--json", place, "--overwrite")
    assert line.startswith(f"contractile: results must not replace what is read, got {place}")
    assert Path("labels/0.tif").read_bytes() == before


def test_two_evaluations_of_one_file(data, capsys):
    with claimed([Path("scores.json")], by="evaluate"):
        line = refused(capsys, *SCORE, "scores.json")
        assert line == (
            "contractile: scores.json: another process works on this file; wait until it ends, or choose another folder"
        )
        assert call(capsys, *SCORE, "other.json")[0] == 0
    assert call(capsys, *SCORE, "scores.json")[0] == 0


def test_an_evaluation_killed_at_its_rename(data, capsys):
    call(capsys, *SCORE, "whole.json")
    whole = Path("whole.json").read_bytes()
    for number, when in all_kills(3):
        folder = Path(f"{number}{when}")
        done = killed(lambda folder=folder: call(capsys, *SCORE, folder / "scores.json"), number, when)
        assert done == (number == 1)
        assert list(seen(folder).values()) == [whole] * (when == "after" or not done)
        assert call(capsys, *SCORE, folder / "scores.json")[0] == 0
        assert contents(folder) == {"scores.json": whole}


def test_a_full_disk_under_scores(data, capsys, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    line = refused(capsys, *SCORE, "new/scores.json", status=1)
    assert line == (
        "contractile: new/scores.json: cannot be written (No space left on device); "
        "choose a folder you may write to, on a disk with free space"
    )
    assert not Path("new").exists()


# predict, check --fix


def test_predict_asks_for_overwrite(data, model, capsys):
    assert call(capsys, "predict", model, "images", "--out", "out")[0] == 0
    path = Path("out/1_labels.tif")
    path.write_bytes(path.read_bytes() + b"drawn")
    line = refused(capsys, "predict", model, "images", "--out", "out")
    assert line.startswith(
        f"contractile: {NOT_OURS}, got {path}; choose another place, or replace them with --overwrite"
    )
    assert call(capsys, "predict", model, "images", "--out", "out", "--overwrite")[0] == 0
    assert b"drawn" not in path.read_bytes()[-5:]


@pytest.mark.parametrize("out", ["images", "labels", "./images/", "."])
def test_fix_leaves_images_as_they_are(data, capsys, monkeypatch, out):
    before = contents(data / "images"), contents(data / "labels")
    monkeypatch.setattr("contractile.check.check_dataset", lambda *_, **__: pytest.fail("work was done"))
    line = refused(capsys, "check", "images", "labels", "--fix", out, "--overwrite")
    where = Path(out)
    assert line == (
        f"contractile: out must not be the folder of the images or the labels, nor hold it, got {where}; "
        "choose a new folder"
    )
    assert (contents(data / "images"), contents(data / "labels")) == before


def test_fix_keeps_corrections(data, capsys):
    for _ in range(2):
        assert call(capsys, "check", "images", "labels", "--fix", "fixed")[0] == 0
    Path("fixed/0.tif").write_bytes(b"corrected")
    assert NOT_OURS in refused(capsys, "check", "images", "labels", "--fix", "fixed")
    assert Path("fixed/0.tif").read_bytes() == b"corrected"
    assert call(capsys, "check", "images", "labels", "--fix", "fixed", "--overwrite")[0] == 0


# demo


@pytest.fixture
def small_demo(monkeypatch):
    """The demo without its training."""

    def train(images, labels, *, out, **_):
        assert len(list(Path(images).glob("*.tif"))) == len(list(Path(labels).glob("*.tif"))) == 2
        out.mkdir(parents=True)
        return SimpleNamespace(model=None, folder=out)

    class Predictor:
        def __init__(self, model):
            pass

        def segment(self, image, progress):
            return (np.asarray(image)[0] > 100).astype(np.int32)

    monkeypatch.setattr(demo, "TRAINING_IMAGES", 2)
    monkeypatch.setattr(demo, "TRAINING_SIDE", 64)
    monkeypatch.setattr(demo, "train", train)
    monkeypatch.setattr(demo, "Predictor", Predictor)
    monkeypatch.setattr(demo, "evaluate", lambda *_: None)
    monkeypatch.setattr(demo, "write_report", lambda run, data: run.folder / "report.html")
    return lambda out, **options: demo.run_demo(out, large_side=64, **options)


def everything(out):
    return {**contents(out), **contents(out / "images"), **{f"l{k}": v for k, v in contents(out / "labels").items()}}


def test_a_demo_replaces_files_of_a_demo(tmp_path, small_demo):
    first, second = small_demo(tmp_path), small_demo(tmp_path)
    assert (first.run.folder.name, second.run.folder.name) == ("run", "run_2")
    for name in ("large_labels.tif", "large_overlay.png", "labels/cells_01.tif"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"drawn")
        with pytest.raises(AlreadyThere, match=f"got {tmp_path / name};"):
            small_demo(tmp_path)
        assert (tmp_path / name).read_bytes() == b"drawn"
        small_demo(tmp_path, overwrite=True)
        assert (tmp_path / name).read_bytes() == whole


def test_a_demo_leaves_images_of_others_alone(tmp_path, small_demo):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.tif").write_bytes(b"image")
    with pytest.raises(AlreadyThere, match=r"out must hold no other images than those of a demo, got .*mine.tif;"):
        small_demo(tmp_path, overwrite=True)
    assert contents(tmp_path / "images") == {"mine.tif": b"image"}


def test_two_demos_at_once(tmp_path, small_demo, monkeypatch):
    def second(*_, **__):
        with pytest.raises(InUse, match="another process works on this file"):
            small_demo(tmp_path / "out")
        return SimpleNamespace(model=None, folder=tmp_path / "out" / "run")

    monkeypatch.setattr(demo, "train", second)
    small_demo(tmp_path / "out")


def test_a_demo_killed_at_any_rename_and_run_again(tmp_path, small_demo):
    small_demo(tmp_path / "whole")
    whole = everything(tmp_path / "whole")
    for number, when in all_kills():
        out = tmp_path / f"{number}{when}"
        if not killed(lambda out=out: small_demo(out), number, when):
            break
        small_demo(out)
        assert everything(out) == whole
    assert number == len(whole) + 1 == 7


# disks


CALLS = {
    "predict": ("predict", "m.safetensors", "images", "--out"),
    "check": ("check", "images", "labels", "--fix"),
    "evaluate": ("evaluate", "labels", "labels", "--json"),
}


def test_full_and_closed_disks(data, model, small_disk, capsys):
    """Nothing is left on a full disk but what was there, and on one that is closed no work is begun."""
    outs = {verb: small_disk / (verb if verb != "evaluate" else "scores.json") for verb in CALLS}
    for verb, words in CALLS.items():
        assert call(capsys, *words, outs[verb])[0] == 0
    before = {path: path.read_bytes() for path in small_disk.rglob("*") if path.is_file()}
    with (small_disk / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**12))
    for verb, words in CALLS.items():
        line = refused(capsys, *words, outs[verb], status=1)
        assert "cannot be written (No space left on device); choose a folder" in line
        assert {path: path.read_bytes() for path in before} == before
        assert sum(path.is_file() for path in small_disk.rglob("*")) == len(before) + 1
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for verb, words in CALLS.items():
        assert "Read-only file system; choose a folder" in refused(capsys, *words, outs[verb], status=1)


def test_an_option_without_effect_is_said(data, capsys):
    _, _, told = call(capsys, "check", "images", "labels", "--overwrite")
    assert told.endswith("--overwrite changes nothing: it is for the files of --fix\n")
    _, _, told = call(capsys, "evaluate", "labels", "labels", "--overwrite", "--scores", "dice")
    assert "--overwrite changes nothing: it is for the file of --json\n" in told
