"""Large images: read, predicted and written block by block, killed and resumed."""

import csv
import json
import logging
import os
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from conftest import entries
from kills import all_kills, contents, killed
from test_prediction_kept import EVERYTHING, Bright, predict

from contractile import grid
from contractile.decode import CERTAIN
from contractile.errors import ContractileError, NotWritten
from contractile.grid import Mosaic
from contractile.prediction import blocks, inputs, predict_files, unfinished
from contractile.prediction.pages import Pages, Planes, PlanesFirst
from contractile.prediction.scratch import Scratch

WORK = ".a.contractile-work"


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 32 x 32 pixels; nothing larger than 1000 bytes is in memory."""
    monkeypatch.setitem(grid.BLOCK, 2, (32, 32))
    for room in (blocks, inputs, unfinished):
        monkeypatch.setattr(room, "IN_MEMORY", 1000)
    monkeypatch.setattr(inputs, "MIDDLE", 8)


@pytest.fixture
def folder(tmp_path):
    """An image of 70 x 90 pixels with objects across blocks."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(rng.integers(0, 200, (10, 9), np.uint8), 7, 0), 10, 1)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", pixels)
    return tmp_path / "in"


def table(file):
    with open(file, newline="", encoding="utf-8") as opened:
        return list(csv.reader(opened))


def test_block_by_block_gives_the_files_of_the_whole(folder, monkeypatch):
    predict(folder, folder.parent / "whole")
    monkeypatch.setitem(grid.BLOCK, 2, (32, 32))
    predict(folder, folder.parent / "memory")
    for room in (blocks, inputs, unfinished):
        monkeypatch.setattr(room, "IN_MEMORY", 1000)
    predict(folder, folder.parent / "blocks")
    assert contents(folder.parent / "blocks") == contents(folder.parent / "memory") == contents(folder.parent / "whole")
    assert len(entries(folder.parent / "blocks")) == 4  # no folder of work
    assert len(table(folder.parent / "blocks" / "a_objects.csv")) > 5


def test_what_is_read_of_a_large_image_is_checked(folder, small_blocks, caplog):
    pixels = np.zeros((70, 90), np.float32)
    pixels[40:, 50:] = 150
    pixels[3, 80] = np.nan
    tifffile.imwrite(folder / "a.tif", pixels)
    with pytest.raises(ContractileError, match=r"a\.tif: 1 of .* pixels are NaN or infinite; replace them"):
        predict(folder, folder.parent / "out")
    assert not (folder.parent / "out").exists()
    pixels[3, 80] = 3e38
    tifffile.imwrite(folder / "a.tif", pixels)
    predict(folder, folder.parent / "out")
    assert "values far beyond all others" in caplog.text


def test_grey_stored_as_colour_is_grey_as_a_whole(folder, small_blocks, caplog):
    grey = tifffile.imread(folder / "a.tif")
    colour = np.stack([grey] * 3, axis=-1)
    tifffile.imwrite(folder / "b.tif", colour, photometric="rgb")
    predict(folder, folder.parent / "out", products=("labels",))
    assert "is grey, stored as colour" in caplog.text
    found = contents(folder.parent / "out")
    assert found["a_labels.tif"] == found["b_labels.tif"]
    colour[0, 0] = 1, 2, 3
    tifffile.imwrite(folder / "b.tif", colour, photometric="rgb")
    (folder / "a.tif").unlink()
    with pytest.raises(ContractileError, match=r"b\.tif: has colours, though not in its middle.*; convert it to grey"):
        predict(folder, folder.parent / "out")


@pytest.mark.parametrize("products", [("labels",), EVERYTHING])
def test_killed_at_any_block_and_resumed(folder, small_blocks, products):
    def work(out, model=None, **options):
        return predict(folder, out, model=model or Bright(), products=products, **options)

    work(folder.parent / "whole")
    expected, out = contents(folder.parent / "whole"), folder.parent / "out"
    for number, when in all_kills(40):
        if not killed(lambda: work(out), number, when):
            break
        done, seen = {file.name for file in out.rglob("*.block")}, []
        work(out, resume=True, progress=lambda *told, seen=seen: seen.append(told))
        assert contents(out) == expected, (number, when)
        assert not (out / WORK).exists(), (number, when)
        if seen and len(done) > 1 and products == ("labels",):
            assert seen[0][1] > 0  # what was done is not done again
        for file in entries(out):
            file.unlink()
    assert number > 9  # one for each block, at least


def test_only_a_block_that_is_damaged_is_done_again(folder, small_blocks):
    out = folder.parent / "out"
    assert killed(lambda: predict(folder, out, products=("labels",)), 12, "after")
    file = sorted((out / WORK).rglob("kept/*.block"))[0]
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(NotWritten, match="damaged; the same command with --resume"):
        predict(folder, out, products=("labels",), resume=True)
    seen = []
    predict(folder, out, products=("labels",), resume=True, progress=lambda *told: seen.append(told))
    _, done, total = seen[0]
    assert done == total - 1
    predict(folder, folder.parent / "whole", products=("labels",))
    assert contents(out) == contents(folder.parent / "whole")


def test_another_model_image_or_option_is_refused(folder, small_blocks):
    out = folder.parent / "out"
    assert killed(lambda: predict(folder, out), 4, "after")
    assert (out / WORK).is_dir()
    with pytest.raises(ContractileError, match="began with another model; give what it began with, or leave out --res"):
        predict(folder, out, model=Bright(threshold=90), resume=True)
    with pytest.raises(ContractileError, match="began with another tta"):
        predict(folder, out, resume=True, tta=True)
    os.utime(folder / "a.tif", (1, 1))
    with pytest.raises(ContractileError, match="began with another image"):
        predict(folder, out, resume=True)
    (out / WORK / "plan.json").write_text("[")
    with pytest.raises(ContractileError, match="the unfinished prediction cannot be read"):
        predict(folder, out, resume=True)
    predict(folder, out)  # begins again
    assert not (out / WORK).exists()


def test_the_same_command_goes_on_with_the_same_work(folder, small_blocks, caplog):
    """Somebody who forgets --resume loses no blocks; those of another prediction are thrown away."""
    caplog.set_level(logging.INFO)
    out, told = folder.parent / "out", "the blocks that an unfinished prediction left are taken up again"
    assert killed(lambda: predict(folder, out, products=("labels",)), 12, "after")
    predict(folder, out, products=("labels",), tta=True)
    assert told not in caplog.text
    for file in entries(out):
        file.unlink()
    assert killed(lambda: predict(folder, out, products=("labels",)), 12, "after")
    predict(folder, out, products=("labels",))
    assert told in caplog.text
    predict(folder, folder.parent / "whole", products=("labels",))
    assert contents(out) == contents(folder.parent / "whole")


def test_other_axes_are_another_prediction(folder, small_blocks):
    out = folder.parent / "out"
    assert killed(lambda: predict(folder, out, axes="YX"), 4, "after")
    with pytest.raises(ContractileError, match="began with another choice of axes, another shape; give what it began"):
        predict(folder, out, axes="XY", resume=True)
    assert len(predict(folder, out, axes="YX", resume=True)) == 1
    assert predict(folder, out, axes="YX", resume=True) == []
    assert len(predict(folder, out, axes="XY", resume=True)) == 1  # it is not finished in this way
    assert tifffile.imread(out / "a_labels.tif").shape == (90, 70)


def test_what_a_format_cannot_hold_need_not_be_predicted_again(folder, small_blocks, monkeypatch):
    def refuse(*_, **__):
        raise ContractileError("it has too many corners", "save labels instead")

    out, seen = folder.parent / "out", []
    with monkeypatch.context() as patch:
        patch.setattr("contractile.prediction.outputs.write_shapes", refuse)
        with pytest.raises(ContractileError, match=r"a\.tif: it has too many corners; save labels instead"):
            predict(folder, out, products=("labels", "geojson"))
    assert contents(out) == {}
    predict(folder, out, products=("labels",), resume=True, progress=lambda *told: seen.append(told))
    assert seen == [("a.tif", 9, 9)]
    predict(folder, folder.parent / "whole", products=("labels",))
    assert contents(out) == contents(folder.parent / "whole")
    assert not (out / WORK).exists()


def test_finished_files_are_left_out(folder, small_blocks):
    out, seen = folder.parent / "out", []
    tifffile.imwrite(folder / "b.tif", tifffile.imread(folder / "a.tif")[::-1])
    assert len(predict(folder, out)) == 2
    watched = Bright(during=lambda image: seen.append(image.shape))
    assert predict(folder, out, model=watched, resume=True) == []
    assert not seen
    skipped = []
    predict(folder, out, resume=True, skipped=skipped.append)
    first = {one.source.name: one for one in predict(folder, folder.parent / "again")}
    for one in skipped:
        alike = replace(first[one.source.name], files=one.files)
        assert one == alike
    assert len(skipped) == 2
    (out / "b_labels.tif").unlink()
    assert [one.source.name for one in predict(folder, out, model=watched, resume=True)] == ["b.tif"]
    assert len(predict(folder, out, model=Bright(threshold=90), resume=True)) == 2  # of another model
    assert len(predict(folder, out, resume=True, products=("labels",))) == 2  # of fewer products
    with (out / ".contractile.predicted.jsonl").open("a") as file:
        file.write('{"name": "a"}\n[3]\nhalf')
    assert len(predict(folder, out, resume=True, products=("labels",))) == 0


def test_a_disk_that_is_full_ends_the_work(folder, small_blocks, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotWritten, match=r"No space left on device"):
        list(predict_files(Bright(), folder, out=folder.parent / "out"))


def test_what_the_rest_takes_is_said_after_one_block(folder, small_blocks, caplog, monkeypatch):
    predict(folder, folder.parent / "out")
    told = r"8 more blocks take about 1 minute\(s\), \d+\.\d GB of memory, and 0\.0 GB of disk in the meantime"
    assert re.search(told, caplog.text)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(NotWritten, match=r"takes about 0\.0 GB of disk in the meantime, and 0\.0 GB are free; choose"):
        predict(folder, folder.parent / "other")


# arrays in files of blocks


def test_values_in_blocks(tmp_path):
    mosaic = Mosaic((10, 7), (4, 3))
    values = np.arange(140, dtype=np.uint16).reshape(2, 10, 7)
    scratch = Scratch(tmp_path / "s", mosaic, np.uint16, (2,))
    assert (scratch.shape, scratch.ndim, scratch.finished()) == ((2, 10, 7), 3, set())
    for number in (0, 8, 3):
        region = (slice(None), *mosaic.region(number))
        scratch[region] = values[region]
    assert Scratch(tmp_path / "s", mosaic, np.uint16, (2,)).finished() == {0, 3, 8}
    assert not scratch[:, 0:4, 3:6].any()
    for region in mosaic.regions():
        scratch[(slice(None), *region)] = values[(slice(None), *region)]
    for key in (np.s_[...], np.s_[1], np.s_[:, 2:9, 5], np.s_[0, ::3, 1:6:2], np.s_[1, 4:4], np.s_[..., -2:]):
        np.testing.assert_array_equal(scratch[key], values[key])
    with pytest.raises(AssertionError, match="whole"):
        scratch[:, 0:2, 0:3] = values[:, 0:2, 0:3]


def test_a_damaged_block_is_found(tmp_path):
    mosaic = Mosaic((4, 4), (4, 4))
    Scratch(tmp_path / "s", mosaic, np.int32)[:, :] = np.ones((4, 4), np.int32)
    (file,) = (tmp_path / "s").iterdir()
    stored = bytearray(file.read_bytes())
    stored[-3] ^= 4
    file.write_bytes(stored)
    scratch = Scratch(tmp_path / "s", mosaic, np.int32)
    with pytest.raises(
        NotWritten, match=r"a block of .* prediction is damaged; the same command with --resume does it"
    ):
        scratch[...]
    assert scratch.finished() == set()


def test_pages_and_planes():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 99, (3, 4, 5, 6))
    pages, planes = Pages(values), Planes(values)
    assert (pages.shape, planes.shape) == ((3, 4, 5, 6), (12, 5, 6))
    for key in (np.s_[...], np.s_[2], np.s_[0:2, 1:3, ::2], np.s_[::2, 1], np.s_[..., 3]):
        np.testing.assert_array_equal(pages[key], values[key])
    whole = values.reshape(12, 5, 6)
    for key in (np.s_[...], np.s_[7], np.s_[2:9, 1:3], np.s_[1:12:3, :, ::2], np.s_[4:4], np.s_[..., 5]):
        np.testing.assert_array_equal(planes[key], whole[key])
    np.testing.assert_array_equal(PlanesFirst(values[0])[1:3, 2], np.swapaxes(values[0], 0, 1)[1:3, 2])
    assert json.dumps(planes.shape)
    assert CERTAIN == 65535
