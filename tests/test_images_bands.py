"""Strips that are read once for many regions."""

import numpy as np
import pytest
import tifffile
import zarr

from contractile.images import bands, open_image, tiff
from contractile.images.bands import Bands

VALUES = np.arange(3 * 100 * 20, dtype=np.uint16).reshape(3, 100, 20)


class Counted:
    """An array that counts how many lines were read."""

    shape, dtype, chunks = VALUES.shape, VALUES.dtype, (1, 7, 20)

    def __init__(self):
        self.lines = 0

    def __getitem__(self, region):
        found = VALUES[region]
        self.lines += found.shape[1]
        return found


@pytest.mark.parametrize(
    "region",
    [np.s_[1, 3:90, 4:9], np.s_[:, 50], np.s_[0:2, 8:80:3, ::2], np.s_[2, 60:60], np.s_[..., 7], np.s_[1, 99:]],
)
def test_regions_are_those_of_the_array(region, monkeypatch):
    monkeypatch.setattr(bands, "LINES", 10)
    array = Bands(Counted(), 1)
    np.testing.assert_array_equal(array[region], VALUES[region])
    np.testing.assert_array_equal(array[region], VALUES[region])


def test_strips_are_read_once_for_regions_beside_each_other(monkeypatch):
    monkeypatch.setattr(bands, "LINES", 20)
    counted = Counted()
    array = Bands(counted, 1)
    for x in range(0, 20, 5):
        array[1:2, 10:40, x : x + 5]
    assert counted.lines == 42  # two bands of three strips


@pytest.mark.parametrize(("free", "lines"), [(2**30, 100 + 42), (0, 4 * 100)])
def test_more_bands_are_kept_where_they_are_wanted_again(monkeypatch, free, lines):
    monkeypatch.setattr(bands, "LINES", 20)
    monkeypatch.setattr(bands, "HELD", 2600)  # three bands of five
    monkeypatch.setattr(bands, "free_memory", lambda: free)
    counted = Counted()
    array = Bands(counted, 1)
    for x in range(0, 20, 5):
        np.testing.assert_array_equal(array[1:2, :, x : x + 5], VALUES[1:2, :, x : x + 5])
    assert counted.lines == lines


def test_bands_that_are_not_wanted_again_soon_do_not_count(monkeypatch):
    monkeypatch.setattr(bands, "LINES", 7)
    monkeypatch.setattr(bands, "HELD", 600)  # two bands of fifteen
    array = Bands(Counted(), 1)
    for _ in range(3):
        for y in range(0, 100, 7):
            array[0, y]
    assert array._most == 600


def test_planes_share_their_bands_with_other_regions(monkeypatch):
    monkeypatch.setattr(bands, "LINES", 50)
    counted = Counted()
    array = Bands(counted, 1)
    for planes in (slice(0, 2), slice(1, 3)):
        np.testing.assert_array_equal(array[planes, 20:80], VALUES[planes, 20:80])
    assert counted.lines == 300


@pytest.mark.parametrize("form", [{"ome": True}, {"imagej": True}, {"metadata": None}, {}], ids=str)
def test_strips_of_each_form_are_decoded_once(tmp_path, monkeypatch, form):
    monkeypatch.setattr(bands, "LINES", 20)
    pixels = np.random.default_rng(0).integers(0, 9, (3, 100, 70), np.uint8)
    options = {"photometric": "minisblack", "compression": "zlib", "metadata": {"axes": "CYX"}, **form}
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options, rowsperstrip=5)
    decoded = []
    watch = tiff.watch_decoders

    def count(series):
        watch(series)
        for page in {id(page.keyframe): page.keyframe for page in series.pages}.values():
            page.decode = lambda *args, real=page.decode, **more: decoded.append(0) or real(*args, **more)

    monkeypatch.setattr(tiff, "watch_decoders", count)
    with open_image(tmp_path / "a.tif", axes="CYX") as image:
        for y, x in np.ndindex(4, 4):
            part = np.s_[:, 25 * y : 25 * y + 30, 17 * x : 17 * x + 20]
            np.testing.assert_array_equal(image[part], pixels[part])
    assert len(decoded) == 60


@pytest.mark.parametrize("rows", [None, 16, 512])
def test_a_compressed_file_of_strips(tmp_path, rows):
    pixels = np.random.default_rng(0).integers(0, 9, (600, 70, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", rowsperstrip=rows, photometric="rgb")
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image[1:3, 500:580, 3:40], np.moveaxis(pixels, -1, 0)[1:3, 500:580, 3:40])
        np.testing.assert_array_equal(image.pixels, np.moveaxis(pixels, -1, 0))


def test_tiles_are_read_one_by_one(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((64, 64), np.uint8), compression="zlib", tile=(16, 16))
    with open_image(tmp_path / "a.tif") as image:
        assert image[:, :20, :20].sum() == 400
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert zarr.open_array(tiff.series[0].aszarr(level=0), mode="r").chunks == (16, 16)
