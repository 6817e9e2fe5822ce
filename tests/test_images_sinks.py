"""Images of any size -> TIFF and pictures, part by part: what is written, and how little is held meanwhile."""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from conftest import entries
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contractile.errors import ContractileError, WrongType
from contractile.images import (
    Stack,
    find,
    open_image,
    overlay,
    read_labels,
    read_probabilities,
    streaming,
    write_image,
    write_labels,
    write_probabilities,
)
from contractile.images.overlay import _means, as_picture
from contractile.images.streaming import Deferred

drawing = sys.modules["contractile.images.overlay"]  # the room has a function of the same name


class Sliced:
    """An array that is only sliced; it counts how often each value was asked for."""

    def __init__(self, values: NDArray[Any]) -> None:
        self._values, self.shape, self.dtype = values, values.shape, values.dtype
        self.asked = np.zeros(values.shape, int)

    def __getitem__(self, region: Any) -> NDArray[Any]:
        self.asked[region] += 1
        return self._values[region]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles and blocks of a few pixels, so that small images are large."""
    for name, value in {"LARGE": 20, "WHOLE": 0, "BLOCK": 32, "TILE": 16, "STRIP": 2**13}.items():
        monkeypatch.setattr(streaming, name, value)


def random_labels(*shape: int, largest: int = 9) -> NDArray[np.int32]:
    rng = np.random.default_rng(0)
    return (rng.integers(1, largest + 1, shape) * rng.integers(0, 2, shape)).astype(np.int32)


def series_of(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    with tifffile.TiffFile(path) as tiff:
        return [(one.axes, one.shape) for one in tiff.series]


# TIFF -------------------------------------------------------------------------------------------


def test_small_images_have_the_form_that_they_had(tmp_path: Path) -> None:
    labels, maps = random_labels(3, 40, 50), np.random.default_rng(0).random((2, 40, 50), dtype=np.float32)
    stack = Stack("T", (3,), interval_s=2.0)
    write_labels(tmp_path / "array.tif", labels, pixel_size_um=(0.5, 0.5), stack=stack)
    write_labels(tmp_path / "sliced.tif", Sliced(labels), pixel_size_um=(0.5, 0.5), stack=stack)
    write_labels(tmp_path / "counted.tif", Sliced(labels), pixel_size_um=(0.5, 0.5), stack=stack, count=9)
    write_probabilities(tmp_path / "array_p.tif", maps)
    write_probabilities(tmp_path / "sliced_p.tif", Sliced(maps))
    first = (tmp_path / "array.tif").read_bytes()
    assert first == (tmp_path / "sliced.tif").read_bytes() == (tmp_path / "counted.tif").read_bytes()
    assert (tmp_path / "array_p.tif").read_bytes() == (tmp_path / "sliced_p.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "array.tif") as tiff:
        assert (tiff.is_imagej, tiff.pages.first.is_tiled) == (True, False)


@pytest.mark.parametrize(
    ("shape", "stack", "axes", "ome"),
    [
        ((70, 90), None, "YX", True),
        ((3, 70, 90), Stack("T", (3,), interval_s=2.0), "TYX", True),
        ((6, 70, 33), Stack("ZT", (2, 3), spacing_um=2.0), "ZTYX", True),
        ((3, 70, 33), Stack("P", (3,)), "PYX", False),
        ((2, 3, 33, 40), Stack("T", (2,)), "TZYX", True),
        ((1, 21, 40), Stack("T", (1,)), "TYX", False),
    ],
)
def test_large_labels_are_tiled_and_read_once(
    tmp_path: Path, small_parts: None, shape: tuple[int, ...], stack: Stack | None, axes: str, ome: bool
) -> None:
    labels = Sliced(random_labels(*shape, largest=300))
    write_labels(tmp_path / "a.tif", labels, pixel_size_um=(0.5, 0.25), stack=stack, count=300)
    assert (labels.asked == 1).all()
    lengths = (*(stack.lengths if stack else ()), *shape[1:]) if stack else shape
    assert series_of(tmp_path / "a.tif") == [(axes, lengths)]
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        page = tiff.pages.first
        assert (tiff.is_ome, tiff.is_imagej, page.tile, page.dtype) == (ome, False, (16, 16), np.uint16)
        assert (page.compression, page.software) == (tifffile.COMPRESSION.ADOBE_DEFLATE, "contractile")
    dims = 3 if len(shape) == 4 else 2
    back = np.stack([read_labels(one, dims=dims) for one in find(tmp_path / "a.tif", dims=dims, quiet=True)])
    np.testing.assert_array_equal(back.reshape(shape), labels[...])
    if dims == 2:
        with open_image(find(tmp_path / "a.tif", quiet=True)[0]) as image:
            assert image.pixel_size_um == pytest.approx((0.5, 0.25))
    array, wrapped = tmp_path / "array.tif", (tmp_path / "a.tif").read_bytes()
    write_labels(array, labels[...], pixel_size_um=(0.5, 0.25), stack=stack)  # an array is written in the same form
    assert len(array.read_bytes()) == len(wrapped)


@pytest.mark.parametrize("stack", [None, Stack("T", (2,)), Stack("Q", (2,))])
def test_large_probabilities(tmp_path: Path, small_parts: None, stack: Stack | None) -> None:
    values = np.random.default_rng(0).random((2, 3, 33, 50), dtype=np.float32)
    maps = Sliced(values if stack else values[0])
    write_probabilities(tmp_path / "p.tif", maps, stack=stack, pixel_size_um=(0.5, 0.5))
    back = np.stack([read_probabilities(one) for one in find(tmp_path / "p.tif", quiet=True)])
    np.testing.assert_array_equal(back, values if stack else values[:1])
    assert (maps.asked == 1).all()


def test_large_pages_of_different_sizes_become_images(tmp_path: Path, small_parts: None) -> None:
    labels = Sliced(random_labels(4, 33, 40))
    sizes = [(0.5, 0.5), (0.5, 0.5), (0.25, 0.25), (0.25, 0.25)]
    write_labels(tmp_path / "a.tif", labels, stack=Stack("QT", (2, 2)), pixel_size_um=sizes, count=9)
    assert series_of(tmp_path / "a.tif") == [("TYX", (2, 33, 40))] * 2
    for number in range(2):
        np.testing.assert_array_equal(
            tifffile.imread(tmp_path / "a.tif", series=number), labels[2 * number : 2 * number + 2]
        )


def test_a_large_picture_of_pixels(tmp_path: Path, small_parts: None) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (3, 33, 40)).astype(np.uint16)
    write_image(tmp_path / "a.tif", pixels)
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image.pixels, pixels)


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 40)),
    sides=st.tuples(st.sampled_from([16, 32]), st.integers(16, 64), st.integers(1, 2**12)),
)
def test_tiles_cover_every_pixel_once(shape: tuple[int, int, int], sides: tuple[int, int, int]) -> None:
    values = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    with pytest.MonkeyPatch.context() as patched:
        for name, side in zip(("TILE", "BLOCK", "STRIP"), sides, strict=True):
            patched.setattr(streaming, name, side)
        deferred = Deferred.of(values, np.dtype(np.int32), Stack("T", shape[:1]))
        tiles = list(deferred.tiles())
        y, x = deferred.tile
    assert np.concatenate([tile.ravel() for tile in tiles]).size == values.size
    wanted = [
        page[top : top + y, left : left + x]
        for page in values
        for top in range(0, shape[1], y)
        for left in range(0, shape[2], x)
    ]
    for tile, one in zip(tiles, wanted, strict=True):
        np.testing.assert_array_equal(tile, one)


def test_types_of_large_labels(tmp_path: Path, small_parts: None) -> None:
    def stored(labels: NDArray[Any], **more: Any) -> np.dtype[Any]:
        write_labels(tmp_path / "a.tif", Sliced(labels), **more)
        return tifffile.imread(tmp_path / "a.tif").dtype

    labels = random_labels(33, 40)
    assert [stored(labels * n) for n in (1, 30, 10_000, -1)] == ["uint8", "uint16", "uint32", "int32"]
    assert stored(labels, count=70_000) == "uint32"
    with pytest.raises(
        ContractileError, match=r"values must fit into uint8, got 0 to 900; give the type, or the count"
    ):
        stored(labels * 100, count=9)
    with pytest.raises(WrongType, match="labels must be integers, got float64; decode probabilities first"):
        stored(labels * 0.5)
    with pytest.raises(ContractileError, match="labels must fit into 32 bits, got 0 to 9000000000; renumber"):
        stored(labels.astype(np.int64) * 10**9)
    with pytest.raises(ContractileError, match=r"labels must be \(Y, X\).*got shape \(1, 1, 1, 33, 40\)"):
        stored(labels[None, None, None])
    assert [one.name for one in entries(tmp_path)] == ["a.tif"]


def test_an_error_while_it_is_read_leaves_nothing(tmp_path: Path, small_parts: None) -> None:
    class Broken(Sliced):
        def __getitem__(self, region: Any) -> NDArray[Any]:
            if region[0].start:
                raise ZeroDivisionError
            return super().__getitem__(region)

    with pytest.raises(ZeroDivisionError):
        write_labels(tmp_path / "a.tif", Broken(random_labels(200, 40)), count=9)
    assert not entries(tmp_path)


class Made:
    """Labels (Y, X), or pixels (1, Y, X), of any size that are made where they are sliced."""

    def __init__(self, *shape: int, dtype: str = "int32") -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, region: tuple[Any, ...]) -> NDArray[Any]:
        y, x = (np.arange(part.start, part.stop, dtype=self.dtype) // 64 % 2 for part in region[-2:])
        made: NDArray[Any] = 3 * y[:, None] + x
        return made if len(self.shape) == 2 else made[None]


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def test_large_labels_need_a_strip_of_memory(tmp_path: Path, traced: None) -> None:
    write_labels(tmp_path / "a.tif", Made(4096, 4096), count=4)
    _, most = tracemalloc.get_traced_memory()
    assert most < 4096 * 4096 * 4  # a strip is an eighth of it, a block a quarter
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert (tiff.series[0].shape, tiff.pages.first.tile) == ((4096, 4096), (512, 512))
        np.testing.assert_array_equal(tiff.series[0].asarray()[2000:2100], Made(4096, 4096)[2000:2100, 0:4096])


# pictures ---------------------------------------------------------------------------------------


def test_a_picture_of_sliced_values_is_that_of_arrays(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, (2, 5, 40, 50)).astype(np.uint16)
    labels = random_labels(5, 40, 50)
    for truth in (None, labels[::-1]):
        wanted = overlay(pixels, labels, truth=truth)
        found = overlay(Sliced(pixels), Sliced(labels), truth=None if truth is None else Sliced(truth))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_rows_that_are_drawn_at_once_are_not_seen(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    pixels, labels = np.random.default_rng(0).random((1, 450, 410)), random_labels(45, 41).repeat(10, 0).repeat(10, 1)
    whole = [overlay(pixels, labels), overlay(pixels, labels, truth=labels[::-1])]
    monkeypatch.setattr(drawing, "ROWS", rows)
    np.testing.assert_array_equal(overlay(pixels, labels), whole[0])
    np.testing.assert_array_equal(overlay(pixels, labels, truth=labels[::-1]), whole[1])


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9)), step=st.integers(2, 4))
def test_means_of_every_few_pixels(shape: tuple[int, int], step: int) -> None:
    part = np.random.default_rng(0).integers(0, 200, (2, *shape)).astype(np.uint8)
    found = _means(part, step)
    for y in range(found.shape[1]):
        for x in range(found.shape[2]):
            cell = part[:, y * step : (y + 1) * step, x * step : (x + 1) * step]
            np.testing.assert_allclose(found[:, y, x], cell.mean(axis=(1, 2)), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_large_image_becomes_a_thumbnail(monkeypatch: pytest.MonkeyPatch, channels: int) -> None:
    monkeypatch.setattr(drawing, "LONGEST", 32)
    monkeypatch.setattr(drawing, "PART", 7)
    pixels, labels = np.zeros((channels, 65, 40), np.uint16), np.zeros((65, 40), np.int32)
    pixels[:, 30:60, 10:30] = 1000
    labels[30:60, 10:30] = 5
    sliced = Sliced(pixels)
    picture = overlay(sliced, Sliced(labels))
    assert picture.shape == (22, 14, 3)
    assert sliced.asked.max() == 1
    assert (picture[12:18, 5:8] > 100).all()
    assert (picture[:8] == 0).all()
    small = np.stack([_means(pixels[:1] if channels != 3 else pixels, 3)])[0]
    np.testing.assert_array_equal(overlay(pixels, np.zeros_like(labels)), as_picture(small))


def test_a_thumbnail_needs_little_memory(traced: None) -> None:
    picture = overlay(Made(1, 16384, 8192, dtype="uint16"), Made(16384, 8192))
    _, most = tracemalloc.get_traced_memory()
    assert picture.shape == (4096, 2048, 3)
    assert most < 16384 * 8192  # bytes: less than one for each pixel
