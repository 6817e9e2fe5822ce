"""Arrays -> files and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import entries
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError, NotWritable, NotWritten
from contractile.images import (
    Stack,
    find,
    is_ours,
    overlay,
    read,
    read_labels,
    read_probabilities,
    write_image,
    write_labels,
    write_picture,
    write_probabilities,
)
from contractile.images.image import Size
from contractile.images.overlay import PREDICTED, TRUE
from contractile.images.writing import check_file, check_folder

sides = st.integers(1, 5)
floats = {"allow_nan": False, "allow_infinity": False, "width": 32}


# writing --------------------------------------------------------------------------------------


@given(
    labels=hnp.arrays(
        st.sampled_from([np.int32, np.uint8, np.int64]),
        st.one_of(st.tuples(*[sides] * n) for n in (2, 3, 4)),
        elements=st.integers(0, 100),
    ),
    offset=st.sampled_from([0, -50, 1000, 100_000]),
    sized=st.booleans(),
)
def test_labels_come_back(
    tmp_path_factory: pytest.TempPathFactory, labels: NDArray[Any], offset: int, sized: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "come_back.tif"
    labels = labels.astype(np.int64) + offset
    size = (2.0, 0.5, 0.25) if labels.ndim > 2 else (0.5, 0.25)
    write_labels(path, labels, pixel_size_um=size if sized else None)
    dims = min(labels.ndim, 3)
    pages = find(path, dims=dims)
    result = np.stack([read_labels(page, dims=dims) for page in pages]).reshape(labels.shape)
    np.testing.assert_array_equal(result, labels)
    image = read(pages[0], dims=dims)
    if 1 not in (*labels.shape[:-2], labels.shape[-1]):
        assert image.pixel_size_um == (pytest.approx(size, rel=1e-5) if sized else None)
    expected = np.int32 if labels.min() < 0 else np.min_scalar_type(int(labels.max()))
    assert image.pixels.dtype == expected


@pytest.mark.parametrize("pages", [None, 1, 3])
@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 4, 5), (3, 2, 4, 5), (1, 2, 4, 5)])
def test_probabilities_come_back(tmp_path: Path, shape: tuple[int, ...], pages: int | None) -> None:
    shape = shape if pages is None else (pages, *shape)
    dims = len(shape) - (1 if pages is None else 2)
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    write_probabilities(tmp_path / "p.tif", values, dims=dims, pixel_size_um=(1.0, 0.5, 0.5)[-dims:])
    result = [read_probabilities(page, dims=dims) for page in find(tmp_path / "p.tif", dims=dims)]
    assert len(result) == (pages or 1)
    np.testing.assert_array_equal(np.stack(result).reshape(shape), values)


def test_the_axes_other_programs_see(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.tif", np.zeros((3, 4, 5), np.uint16), pixel_size_um=(2.0, 0.5, 0.25))
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert tiff.imagej_metadata is not None
        assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["spacing"]) == ("um", 2.0)
        assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    write_probabilities(tmp_path / "p.tif", np.zeros((2, 3, 4, 5)), dims=3)
    with tifffile.TiffFile(tmp_path / "p.tif") as tiff:
        assert (tiff.is_ome, tiff.series[0].axes) == (True, "CZYX")


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (2, 3, 4, 5), (1, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_images_come_back(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    size = (1.0, 0.5, 0.25)[-(len(shape) - 1) :]
    write_image(tmp_path / "a.tif", pixels, pixel_size_um=size)
    image = read(tmp_path / "a.tif", dims=len(shape) - 1)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixel_size_um == pytest.approx(size)


def test_pictures_come_back(tmp_path: Path) -> None:
    for shape in ((4, 5, 3), (4, 5)):
        picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        write_picture(tmp_path / "new" / "a.png", picture)
        np.testing.assert_array_equal(imagecodecs.imread(tmp_path / "new" / "a.png"), picture)


def series_of(path: Path) -> list[tuple[str, tuple[int, ...]]]:
    """Axes and lengths of the images in a TIFF, as other programs see them."""
    with tifffile.TiffFile(path) as tiff:
        return [(one.axes, one.shape) for one in tiff.series]


def ome_pixels(path: Path) -> list[dict[str, str]]:
    """The attributes of Pixels, of each image in an OME-TIFF."""
    with tifffile.TiffFile(path) as tiff:
        return [one.attrib for one in ElementTree.fromstring(tiff.ome_metadata).iterfind(".//{*}Pixels")]


def test_labels_of_a_time_series_are_one(tmp_path: Path) -> None:
    stack = Stack("T", (3,), interval_s=60.0)
    write_labels(tmp_path / "t.tif", np.zeros((3, 8, 9), int), pixel_size_um=(0.5, 0.25), stack=stack)
    assert series_of(tmp_path / "t.tif") == [("TYX", (3, 8, 9))]
    with tifffile.TiffFile(tmp_path / "t.tif") as tiff:
        meta, tags = tiff.imagej_metadata, tiff.pages.first.tags
        assert meta is not None
        assert (meta["frames"], meta["finterval"], meta["unit"]) == (3, 60.0, "um")
        assert (tags["XResolution"].value, tags["YResolution"].value) == ((4, 1), (2, 1))
        assert "spacing" not in meta


def test_labels_and_probabilities_of_a_hyperstack(tmp_path: Path) -> None:
    stack = Stack("TZ", (2, 3), interval_s=1.5, spacing_um=2.0)
    labels = np.arange(6).repeat(72).reshape(6, 8, 9)
    write_labels(tmp_path / "labels.tif", labels, pixel_size_um=(0.5, 0.5), stack=stack)
    write_probabilities(tmp_path / "p.tif", np.stack([labels] * 4, axis=1), pixel_size_um=(0.5, 0.5), stack=stack)
    assert series_of(tmp_path / "labels.tif") == [("TZYX", (2, 3, 8, 9))]
    assert series_of(tmp_path / "p.tif") == [("TZCYX", (2, 3, 4, 8, 9))]
    assert tifffile.imread(tmp_path / "labels.tif")[:, :, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tifffile.imread(tmp_path / "p.tif")[:, :, 3, 0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    for name in ("labels.tif", "p.tif"):
        with tifffile.TiffFile(tmp_path / name) as tiff:
            meta = tiff.imagej_metadata
            assert meta is not None
            assert (meta["frames"], meta["slices"]) == (2, 3)
            assert (meta["finterval"], meta["spacing"], meta["unit"]) == (1.5, 2.0, "um")


def test_types_and_orders_that_imagej_does_not_know_become_ome(tmp_path: Path) -> None:
    stack = Stack("ZT", (2, 3), interval_s=1.5, spacing_um=2.0)
    labels = np.arange(6).repeat(72).reshape(6, 8, 9)
    write_labels(tmp_path / "order.tif", labels, pixel_size_um=(0.5, 0.25), stack=stack)
    write_labels(tmp_path / "int32.tif", labels - 1, pixel_size_um=(0.5, 0.25), stack=stack)
    write_labels(tmp_path / "uint32.tif", labels + 2**16, pixel_size_um=(0.5, 0.25), stack=stack)
    for name in ("order", "int32", "uint32"):
        assert series_of(tmp_path / f"{name}.tif") == [("ZTYX", (2, 3, 8, 9))]
        [pixels] = ome_pixels(tmp_path / f"{name}.tif")
        known = {"PhysicalSizeX": "0.25", "PhysicalSizeY": "0.5", "PhysicalSizeZ": "2.0", "TimeIncrement": "1.5"}
        units = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "µm"}
        assert (known | units | {"TimeIncrementUnit": "s"}).items() <= pixels.items()
    assert tifffile.imread(tmp_path / "int32.tif").dtype == np.int32


def test_a_time_series_of_volumes(tmp_path: Path) -> None:
    stack = Stack("T", (2,), interval_s=30.0)
    write_labels(tmp_path / "labels.tif", np.ones((2, 3, 8, 9), int), pixel_size_um=(2.0, 0.5, 0.25), stack=stack)
    assert series_of(tmp_path / "labels.tif") == [("TZYX", (2, 3, 8, 9))]
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        assert tiff.imagej_metadata is not None
        assert (tiff.imagej_metadata["spacing"], tiff.imagej_metadata["finterval"]) == (2.0, 30.0)
    maps = np.ones((2, 4, 3, 8, 9))
    write_probabilities(tmp_path / "p.tif", maps, dims=3, pixel_size_um=(2.0, 0.5, 0.25), stack=stack)
    assert series_of(tmp_path / "p.tif") == [("TCZYX", (2, 4, 3, 8, 9))]
    [pixels] = ome_pixels(tmp_path / "p.tif")
    assert (pixels["PhysicalSizeZ"], pixels["TimeIncrement"]) == ("2.0", "30.0")


@pytest.mark.parametrize("axes", ["I", "Q", "P", "A", "TQ", "PZ"])
def test_letters_that_ome_does_not_know_stay(tmp_path: Path, axes: str) -> None:
    stack = Stack(axes, (3, 2)[: len(axes)], interval_s=4.0, spacing_um=2.0 if "Z" in axes else None)
    pages = int(np.prod(stack.lengths))
    write_labels(tmp_path / "a.tif", np.ones((pages, 8, 9), int), pixel_size_um=(0.5, 0.25), stack=stack)
    assert series_of(tmp_path / "a.tif") == [(f"{axes}YX", (*stack.lengths, 8, 9))]
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.shaped_metadata is not None
        assert tiff.shaped_metadata[0]["finterval"] == 4.0
        assert tiff.shaped_metadata[0].get("spacing") == stack.spacing_um
        assert tiff.shaped_metadata[0]["unit"] == "um"
        assert tiff.pages.first.get_resolution("MICROMETER") == pytest.approx((4, 2))


def test_several_stacks_become_images_of_an_ome_tiff(tmp_path: Path) -> None:
    stack = Stack("QT", (2, 3), interval_s=60.0)
    labels = np.arange(6).repeat(72).reshape(6, 8, 9)
    sizes: list[Size] = [(0.5, 0.5)] * 3 + [(0.25, 0.25)] * 3
    write_labels(tmp_path / "same.tif", labels, pixel_size_um=(0.5, 0.5), stack=stack)
    write_labels(tmp_path / "other.tif", labels, pixel_size_um=sizes, stack=stack)
    for name, second in (("same", "0.5"), ("other", "0.25")):
        assert series_of(tmp_path / f"{name}.tif") == [("TYX", (3, 8, 9))] * 2
        pixels = ome_pixels(tmp_path / f"{name}.tif")
        assert [one["PhysicalSizeX"] for one in pixels] == ["0.5", second]
        assert [one["TimeIncrement"] for one in pixels] == ["60.0"] * 2
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{name}.tif", series=1)[:, 0, 0], [3, 4, 5])


def test_pages_of_different_pixel_sizes_become_images(tmp_path: Path) -> None:
    maps = np.broadcast_to(np.arange(3).reshape(3, 1, 1, 1) / 4, (3, 2, 8, 9))
    sizes: list[Size] = [(0.5, 0.5), (0.5, 0.5), None]
    write_probabilities(tmp_path / "a.tif", maps, pixel_size_um=sizes, stack=Stack("I", (3,)))
    assert series_of(tmp_path / "a.tif") == [("CYX", (2, 8, 9))] * 3
    assert [one.get("PhysicalSizeY") for one in ome_pixels(tmp_path / "a.tif")] == ["0.5", "0.5", None]
    assert [read_probabilities(page)[0, 0, 0] for page in find(tmp_path / "a.tif")] == [0, 0.25, 0.5]


def test_axes_of_length_1_stay(tmp_path: Path) -> None:
    stack = Stack("TZ", (1, 3), spacing_um=2.0)
    write_labels(tmp_path / "a.tif", np.ones((3, 8, 9), int), pixel_size_um=(0.5, 0.5), stack=stack)
    write_labels(tmp_path / "p.tif", np.ones((1, 8, 9), int), pixel_size_um=[(0.5, 0.5)], stack=Stack("P", (1,)))
    assert series_of(tmp_path / "a.tif") == [("TZYX", (1, 3, 8, 9))]
    assert series_of(tmp_path / "p.tif") == [("PYX", (1, 8, 9))]
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        assert tiff.shaped_metadata is not None
        assert tiff.shaped_metadata[0]["spacing"] == 2.0


@pytest.mark.parametrize("size", [(1e-9, 1e-9), (1e-4, 5e-5), (1e12, 1.0), (1.0, 0.1), (1e5, 2e5)])
def test_pixels_of_any_size(tmp_path: Path, size: tuple[float, float]) -> None:
    write_labels(tmp_path / "a.tif", np.ones((8, 9), int), pixel_size_um=size)
    assert read(tmp_path / "a.tif").pixel_size_um == pytest.approx(size, rel=1e-6)


def test_a_distance_of_planes_without_a_pixel_size(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.tif", np.ones((3, 8, 9), int), stack=Stack("Z", (3,), spacing_um=2.0))
    [pixels] = ome_pixels(tmp_path / "a.tif")
    assert pixels["PhysicalSizeZ"] == "2.0"
    assert "PhysicalSizeX" not in pixels


def test_more_pages_than_16_bits_can_count(tmp_path: Path) -> None:
    labels = np.arange(2**16 + 2).astype(np.int32)[:, None, None].repeat(2, axis=1).repeat(2, axis=2)
    write_labels(tmp_path / "a.tif", labels, stack=Stack("T", (len(labels),), interval_s=0.1))
    assert series_of(tmp_path / "a.tif") == [("TYX", labels.shape)]
    assert tifffile.imread(tmp_path / "a.tif", key=2**16 + 1).tolist() == [[2**16 + 1] * 2] * 2


def test_large_numbers_need_no_memory(tmp_path: Path) -> None:
    labels = np.array([[0, 2**31 - 1], [5, 2_000_000_000]])
    write_labels(tmp_path / "a.tif", labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), labels)
    assert overlay(np.zeros((1, 2, 2)), labels.astype(np.int32)).shape == (2, 2, 3)


@given(
    axes=st.sampled_from(["T", "Z", "TZ", "ZT", "P", "PT", "PTZ", "I", "Q", "A", "QT", "QTZ"]),
    data=st.data(),
    sized=st.booleans(),
    dtype=st.sampled_from([0, -1, 300, 70_000]),
)
def test_every_stack_comes_back_for_other_programs(
    tmp_path_factory: pytest.TempPathFactory, axes: str, data: st.DataObject, sized: bool, dtype: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "stack.tif"
    lengths = tuple(data.draw(st.integers(1, 3)) for _ in axes)
    pages = int(np.prod(lengths))
    labels = np.arange(pages * 20).reshape(pages, 4, 5) % 3 + dtype
    stack = Stack(axes, lengths, 2.5 if "T" in axes else None, 1.5 if "Z" in axes else None)
    write_labels(path, labels, pixel_size_um=(0.5, 0.25) if sized else None, stack=stack)
    found = series_of(path)
    if len(found) > 1:  # several stacks
        assert found == [(f"{axes[1:]}YX", (*lengths[1:], 4, 5))] * lengths[0]
    else:
        assert found == [(f"{axes}YX", (*lengths, 4, 5))]
    read_back = np.stack([tifffile.imread(path, series=number) for number in range(len(found))])
    np.testing.assert_array_equal(read_back.reshape(labels.shape), labels)


def same_size(one: Size, other: Size) -> bool:
    return one is None or other is None if None in (one, other) else one == pytest.approx(other, rel=1e-6)


@given(data=st.data(), dims=st.sampled_from([2, 3]), kind=st.sampled_from(["labels", "probabilities"]))
def test_every_stack_comes_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dims: int, kind: Literal["labels", "probabilities"]
) -> None:
    """Pages, pixel sizes and what the pages are, as `find` and `read` see them. Axes of length 1 do not count."""
    path = tmp_path_factory.getbasetemp() / "back.tif"
    letters = ["T", "Z", "TZ", "ZT", "P", "PT", "PTZ", "Q", "A", "QT", "QTZ", "TQ"]
    axes = data.draw(st.sampled_from([one for one in letters if dims == 2 or "Z" not in one]))
    lengths = tuple(data.draw(st.integers(1, 3)) for _ in axes)
    interval = data.draw(st.sampled_from([None, 0.04, 60.0, 86400.0])) if "T" in axes else None
    spacing = data.draw(st.sampled_from([None, 0.3, 12.5])) if "Z" in axes else None
    size = data.draw(st.sampled_from([None, (2.0, 0.5, 0.25), (0.1, 0.065, 0.065), (0.004, 0.004, 0.008)]))
    size = None if size is None else size[-dims:]
    stack, pages = Stack(axes, lengths, interval, spacing), int(np.prod(lengths))
    first = data.draw(st.sampled_from([0, -1, 300, 70_000]))
    shape = (pages, *((3,) if kind == "probabilities" else ()), *(3, 5, 6)[-dims:])
    values = np.arange(int(np.prod(shape))).reshape(shape) % 7 + first
    if kind == "labels":
        write_labels(path, values, pixel_size_um=size, stack=stack)
    else:
        values = (values - first) / 7
        write_probabilities(path, values, dims=dims, pixel_size_um=size, stack=stack)
    found = find(path, dims=dims, quiet=True)
    images = [read(source, dims=dims) for source in found]
    back = np.stack([image.pixels for image in images]).reshape(shape)
    np.testing.assert_array_equal(back, values.astype(back.dtype))
    assert all(same_size(image.pixel_size_um, size) for image in images)
    long = [place for place, length in enumerate(lengths) if length > 1]
    kept = "".join(axes[place] for place in long)
    times, depths = interval if "T" in kept else None, spacing if "Z" in kept else None
    assert found[0].stack == (Stack(kept, tuple(lengths[i] for i in long), times, depths) if long else None)


@pytest.mark.parametrize("shape", [(100, 64, 8), (3, 64, 64), (20, 64, 2), (5, 1, 9)])
def test_unnamed_pages_of_any_shape_are_no_channels(
    tmp_path: Path, shape: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    labels = np.arange(np.prod(shape)).reshape(shape) % 11
    write_labels(tmp_path / "a.tif", labels, stack=Stack("Q", shape[:1]))
    np.testing.assert_array_equal([read_labels(page) for page in find(tmp_path / "a.tif")], labels)
    assert not caplog.messages


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(TypeError, match="labels must be integers, got float64; decode probabilities first"):
        write_labels(path, np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"labels must be \(Y, X\).*got shape \(4,\)"):
        write_labels(path, np.zeros(4, int))
    with pytest.raises(ValueError, match="labels must fit into 32 bits, got 0 to 4294967296; renumber"):
        write_labels(path, np.array([[0, 2**32]]))
    with pytest.raises(ValueError, match=r"probabilities must be \(K, \*S\).*dims=2.*got shape \(4, 4\)"):
        write_probabilities(path, np.zeros((4, 4)))
    with pytest.raises(
        ValueError, match=r"with pages TZ of lengths \(2, 3\) the shape must be \(6, Y, X\), got \(5, 4, 4\)"
    ):
        write_labels(path, np.zeros((5, 4, 4), int), stack=Stack("TZ", (2, 3)))
    with pytest.raises(
        ValueError, match=r"the shape must be \(6, \*S\), got \(4, 4\); put all pages along the first axis"
    ):
        write_labels(path, np.zeros((4, 4), int), stack=Stack("TZ", (2, 3)))
    with pytest.raises(ValueError, match=r"the shape must be \(2, C, Y, X\), got \(4, 3, 4\); put all pages along"):
        write_probabilities(path, np.zeros((4, 3, 4)), stack=Stack("T", (2,)))
    with pytest.raises(ValueError, match="pixel_size_um must be one size, or a list of one for each of 0 pages, got 1"):
        write_labels(path, np.zeros((4, 4), int), pixel_size_um=[(1.0, 1.0)])
    with pytest.raises(ValueError, match=r"for each of 2 pages, got 1; give the stack and the size of each"):
        write_labels(path, np.zeros((2, 4, 4), int), pixel_size_um=[None], stack=Stack("T", (2,)))
    with pytest.raises(ValueError, match=r"pixels must be \(C, Y, X\).*got shape \(4, 4\); drop or add axes"):
        write_image(path, np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"rgb must be \(Y, X, 3\) or \(Y, X\) uint8, got float64"):
        write_picture(path, np.zeros((4, 4, 3)))
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten, match=r"labels\.tif: cannot be written \(.+\); choose a folder you may write to"):
        write_labels(tmp_path / "file" / "labels.tif", np.zeros((4, 4), int))


def test_places_are_checked_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "to_file").symlink_to("file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "to_folder").symlink_to("folder")
    before = sorted(tmp_path.rglob("*"))
    for good in (".", "folder", "to_folder", "new", "a/b/c"):
        check_folder(tmp_path / good)
        check_file(tmp_path / good / "a.json")
    assert sorted(tmp_path.rglob("*")) == before
    for bad, why in {
        "file": "it is a file",
        "file/run": f"{tmp_path / 'file'} is a file",
        "file/a/b": f"{tmp_path / 'file'} is a file",
        "to_file": "it is a file",
        "link": "it is a link to nowhere, which is not there",
        "link/run": f"{tmp_path / 'link'} is a link to nowhere, which is not there",
        "a" * 300: "File name too long",
    }.items():
        with pytest.raises(ContractileError) as caught:
            check_folder(tmp_path / bad)
        assert not isinstance(caught.value, NotWritable)  # the call was wrong
        assert str(caught.value) == (
            f"{tmp_path / bad}: no files can be written into this folder: {why}; choose a folder that you may write to"
        )
    with pytest.raises(ContractileError, match=r"file: no files can be written into this folder: it is a file"):
        check_file(tmp_path / "file" / "a.json")
    with pytest.raises(ContractileError, match=r"folder: the file cannot be written: it is a folder; name a file"):
        check_file(tmp_path / "folder")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no such system of files")
def test_a_system_that_takes_no_files() -> None:
    for place, nearest in (("/proc/run", "/proc"), ("/proc/a/b", "/proc"), ("/proc", "/proc")):
        with pytest.raises(NotWritable, match=f"{place}: no files .* folder: {nearest} takes no new files; choose"):
            check_folder(place)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
def test_a_folder_that_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(NotWritable, match=rf"run: no files can be written into this folder: {error.strerror}; choose"):
        check_folder(tmp_path / "run")


def test_a_full_disk_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(NotWritten, match=r"run: cannot be written \(No space left on device\); choose a folder on a"):
        check_folder(tmp_path / "run")


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.tif"
    write_labels(path, np.ones((4, 4), int))
    old = path.read_bytes()

    def half(writer: tifffile.TiffWriter, *_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile.TiffWriter, "write", half)
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\)"):
        write_labels(path, np.zeros((4, 4), int))
    assert path.read_bytes() == old
    assert [one.name for one in entries(tmp_path)] == [path.name]


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tifffile, "TiffWriter", refuse)
    with pytest.raises(NotWritable, match=r"cannot be written \(Permission denied\); choose a folder") as caught:
        write_labels(tmp_path / "a.tif", np.zeros((4, 4), int))
    assert caught.value.where == str(tmp_path / "a.tif")


def test_which_files_this_package_wrote(tmp_path: Path) -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write_picture(tmp_path / "ours.png", picture)
    write_labels(tmp_path / "ours.tif", picture[..., 0])
    (tmp_path / "theirs.png").write_bytes(imagecodecs.png_encode(picture))
    tifffile.imwrite(tmp_path / "theirs.tif", picture[..., 0])
    (tmp_path / "theirs.csv").write_text("a,b")
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken.tif").write_bytes((tmp_path / "ours.tif").read_bytes()[:100])
    assert sorted(path.name for path in tmp_path.iterdir() if is_ours(path)) == ["ours.png", "ours.tif"]
    assert not is_ours(tmp_path / "absent.png")
    with Pillow.open(tmp_path / "ours.png") as file:
        assert file.info["Software"] == "contractile"
        np.testing.assert_array_equal(np.asarray(file), picture)


# overlay --------------------------------------------------------------------------------------


def test_contours_of_prediction_and_truth() -> None:
    predicted, truth = np.zeros((2, 16, 16), int)
    predicted[2:7, 2:7] = 1
    truth[9:14, 9:14] = 5
    picture = overlay(np.random.default_rng(0).random((1, 16, 16)), predicted, truth=truth)
    orange = (picture == PREDICTED).all(-1)
    blue = (picture == TRUE).all(-1)
    assert orange[2, 2:7].all()
    assert not orange[3:6, 3:6].any()
    assert blue[13, 9:14].all()
    assert not (orange & (predicted == 0)).any()
    assert not (blue & (truth == 0)).any()


def test_touching_objects_have_colours_of_their_own() -> None:
    labels = np.repeat([[1, 2]], [4, 4], axis=1).repeat(8, axis=0)
    picture = overlay(np.zeros((1, 8, 8)), labels)
    assert (picture[4, 3] != picture[4, 4]).any()
    assert (picture[4, 1] < picture[4, 3]).any()  # the fill is fainter than the line


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (2, 16, 16), (1, 5, 16, 16)])
def test_a_picture_of_any_image(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, shape).astype(np.uint16)
    nothing = np.full(shape[1:], -1)
    for truth in (None, nothing):
        picture = overlay(pixels, nothing, truth=truth)
        assert (picture.shape, picture.dtype) == ((16, 16, 3), np.uint8)
        assert (picture[..., 0] == picture[..., 1]).all() == (shape[0] != 3)


def test_labels_of_another_image() -> None:
    pixels, labels = np.zeros((1, 4, 4)), np.zeros((4, 4), int)
    with pytest.raises(ValueError, match=r"predicted must have the shape of the image \(4, 4\), got \(5, 4\)"):
        overlay(pixels, np.zeros((5, 4), int))
    with pytest.raises(ValueError, match=r"truth must have the shape of the image \(4, 4\), got \(4, 5\)"):
        overlay(pixels, labels, truth=np.zeros((4, 5), int))
