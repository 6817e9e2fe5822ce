"""`check --fix` replaces neither what it reads nor what was corrected since, and leaves nothing half-written."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from kills import all_kills, contents, killed, seen

from contractile.check import check_place, fix_dataset, repair
from contractile.dataset import Pair
from contractile.errors import AlreadyThere, ContractileError, InUse, NotWritten
from contractile.images import Source, read_labels


def draw(seed: int) -> np.ndarray:
    """Labels of blocks, two of them with one number."""
    numbers = np.random.default_rng(seed).permutation(6) + 1
    numbers[0] = numbers[5]
    blocks = np.zeros((48, 64), np.uint8)
    for place, number in enumerate(numbers):
        y, x = divmod(place, 3)
        blocks[4 + 22 * y : 20 + 22 * y, 4 + 20 * x : 18 + 20 * x] = number
    return blocks


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        labels = draw(number)
        for side, values in (("images", (labels > 0) * 90 + 20), ("labels", labels)):
            (tmp_path / side).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / side / f"{name}.tif", values.astype(np.uint8))
    return tmp_path


def fix(folder: Path, out: str | Path = "fixed", **options: Any) -> list[str]:
    return fix_dataset(folder / "images", folder / "labels", folder / out, **options)


@pytest.mark.parametrize("out", ["images", "labels", ".", "to_images", "to_labels"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_images_and_labels_are_never_replaced(folder, out, overwrite):
    (folder / "to_images").symlink_to("images")
    (folder / "to_labels").symlink_to("labels")
    before = contents(folder / "images"), contents(folder / "labels")
    for call in (lambda: fix(folder, out, overwrite=overwrite), lambda: check_place(folder / "images", None, folder)):
        with pytest.raises(ContractileError, match=r"out must not be the folder of the images or the labels, nor hold"):
            call()
    assert (contents(folder / "images"), contents(folder / "labels")) == before


def test_a_folder_of_links_and_where_they_lead(folder):
    (folder / "links").mkdir()
    for name in "abc":
        (folder / "links" / f"{name}.tif").symlink_to(folder / "images" / f"{name}.tif")
    before = contents(folder / "images")
    for out in ("links", "images"):
        with pytest.raises(ContractileError, match="out must not be the folder of the images or the labels"):
            fix_dataset(folder / "links", folder / "labels", folder / out, overwrite=True)
        with pytest.raises(ContractileError, match="out must not be the folder of the images or the labels"):
            check_place(folder / "links", folder / "labels", folder / out)
    (folder / "new").mkdir()
    (folder / "new" / "a.tif").hardlink_to(folder / "images" / "a.tif")
    with pytest.raises(ContractileError, match=r"must not replace what is read, got .*a.tif = .*a.tif; choose another"):
        fix(folder, "new", overwrite=True)
    assert contents(folder / "images") == before
    check_place(folder / "links", folder / "labels", folder / "fixed")
    check_place("nowhere", None, folder / "fixed")


def test_corrections_made_by_hand_since_are_kept(folder):
    for _ in range(2):
        fix(folder)
    path = folder / "fixed" / "b.tif"
    whole = contents(folder / "fixed")
    values = read_labels(path)
    values[0, 0] = 99
    tifffile.imwrite(path, values, software="contractile")
    with pytest.raises(AlreadyThere, match=rf"or that have changed since, got {path}; choose another place"):
        fix(folder)
    np.testing.assert_array_equal(read_labels(path), values)
    fix(folder, overwrite=True)
    assert contents(folder / "fixed") == whole


def test_files_of_others_are_kept(folder):
    (folder / "fixed").mkdir()
    (folder / "fixed" / "c.tif").write_bytes(b"drawn")
    with pytest.raises(AlreadyThere, match=r"this command did not write, or .*, got .*c.tif;"):
        fix(folder)
    assert contents(folder / "fixed") == {"c.tif": b"drawn"}


def test_two_images_of_one_name(folder):
    """Pairs have different names, so far as we know; two of one name would be one file."""
    pairs = [Pair("a", Source("a", folder / side / "a.tif"), Source("a", folder / "a.tif")) for side in "xy"]
    with pytest.raises(ContractileError, match=r"images must have different names, got .*x/a.tif and .*y/a.tif;"):
        repair._name_files(pairs, folder / "fixed")


def test_two_repairs_at_once(folder, monkeypatch):
    asked = []

    def second(*words, **options):
        if not asked:
            asked.append(1)
            with pytest.raises(InUse, match=r"fixed/a.tif: another process works on this file; wait until it ends"):
                fix(folder)
            fix(folder, "other")
        return real(*words, **options)

    real = repair.write_labels
    monkeypatch.setattr(repair, "write_labels", second)
    fix(folder)
    assert contents(folder / "fixed") == contents(folder / "other")


def test_killed_at_any_rename_and_run_again(folder):
    fix(folder, "whole")
    whole = contents(folder / "whole")
    for number, when in all_kills():
        out = f"{number}{when}"
        if not killed(lambda out=out: fix(folder, out), number, when):
            break
        assert seen(folder / out).items() <= whole.items()
        fix(folder, out)
        assert contents(folder / out) == whole
    assert number == len(whole) + 1 == 4


@pytest.mark.parametrize("call", ["write", "replace", "fsync"])
def test_a_disk_that_refuses_is_one_error(folder, monkeypatch, call):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(NotWritten, match=r"\w: cannot be written \(No space left on device\); choose a folder"):
            fix(folder)
    assert not seen(folder / "fixed")
    fix(folder)


def test_a_small_disk(folder, small_disk):
    (small_disk / "fill").write_bytes(bytes(2**20 - 2**15))

    def fill() -> None:
        for number in range(20):
            fix(folder, small_disk / f"{number}")

    with pytest.raises(NotWritten, match=r"cannot be written \(No space left on device\)"):
        fill()
    assert [path.name for path in small_disk.rglob("*") if ".part" in path.name or ".names" in path.name] == []
