"""What is said about files: once for a folder, and at the end for all others of the same kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from contractile.check import check_dataset
from contractile.dataset import load_examples, pair_up
from contractile.images import find, read, read_labels
from contractile.images.notes import say, say_rest
from contractile.images.pictures import TRANSPARENT, TURNED

MASK = np.kron(np.eye(2, dtype=np.uint8), np.ones((8, 12), np.uint8))  # (16, 24)


def turned_picture(path: Path, orientation: int = 3) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(exist_ok=True)
    Pillow.fromarray(MASK * 200).save(path, exif=exif)


def test_other_files_are_named_once_all_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abcd":
        turned_picture(tmp_path / f"{name}.png")
    for source in find(tmp_path):
        read(source)
        read(source)
    assert caplog.messages == [f"a.png: {TURNED}"]
    say_rest([tmp_path / "elsewhere.png"])
    assert len(caplog.messages) == 1
    for _ in range(2):
        say_rest(tmp_path.iterdir())
    assert caplog.messages[1:] == [f"b.png and 2 more, too: {TURNED}"]
    turned_picture(tmp_path / "e.png")
    read(tmp_path / "e.png")
    say_rest(tmp_path.iterdir())
    assert caplog.messages[2:] == [f"e.png, too: {TURNED}"]


def test_a_file_is_one_file_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    say("odd", [Path("a.tif"), tmp_path / "b.tif"])
    say("odd", [tmp_path / "a.tif"])
    say("odd", [])
    say_rest([Path("a.tif"), Path("b.tif")])
    assert caplog.messages == ["a.tif and 1 more: odd"]


def test_transparency_and_equal_channels_are_said_of_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        see_through = np.dstack([MASK * 100] * 3 + [MASK * 255])
        Pillow.fromarray(see_through).save(tmp_path / f"{name}.png")
        read_labels(tmp_path / f"{name}.png")
    say_rest(tmp_path.iterdir())
    assert caplog.messages == [
        f"a.png: {TRANSPARENT}",
        "a.png: three equal channels are read as one",
        f"b.png and 1 more, too: {TRANSPARENT}",
        "b.png and 1 more, too: three equal channels are read as one",
    ]


def test_training_and_the_doctor_say_it_of_all_images(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "labels").mkdir()
    for name in "abc":
        turned_picture(tmp_path / "images" / f"{name}.jpg")
        tifffile.imwrite(tmp_path / "labels" / f"{name}.tif", MASK)
    load_examples(pair_up(tmp_path / "images", tmp_path / "labels"))
    expected = [f"a.jpg: {TURNED}", f"b.jpg and 1 more, too: {TURNED}"]
    assert caplog.messages == expected
    other = tmp_path.rename(tmp_path.with_name(f"{tmp_path.name}_2"))
    caplog.clear()
    check_dataset(other / "images", other / "labels")
    assert [line for line in caplog.messages if TURNED in line] == expected
