"""TIFF: what is missing is named, and what the file says about its axes, sizes and times is kept."""

from __future__ import annotations

import json
import logging
import struct
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import find, open_image, read
from contractile.images.formats import open_rasters
from contractile.images.raster import Raster
from contractile.images.scale import in_micrometres, in_seconds
from contractile.images.tiff import open_tiff

OFFSETS = {False: 273, True: 324}  # tags by whether there are tiles
COUNTS = {False: 279, True: 325}


def noise(*shape: int, dtype: str = "uint8") -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def raster_of(path: Path) -> Raster:
    with ExitStack() as files:
        return open_tiff(path, files)[0]


def write_parts(path: Path, *, tiled: bool, compression: str | None = "zlib", pages: int = 1) -> NDArray[Any]:
    """96 x 96 pixels a page in 6 strips or 9 tiles."""
    pixels = noise(pages, 96, 96)
    form: dict[str, Any] = {"tile": (32, 32)} if tiled else {"rowsperstrip": 16}
    with tifffile.TiffWriter(path) as writer:
        for page in pixels:
            writer.write(page, compression=compression, metadata=None, contiguous=False, **form)
    return pixels


def patch(path: Path, code: int, values: dict[int, int], page: int = 0) -> None:
    """Overwrite entries of a table of a page."""
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages[page].tags[code]
        size = {3: 2, 4: 4}[int(tag.dtype)]
        place = tag.valueoffset
    data = bytearray(path.read_bytes())
    for entry, value in values.items():
        data[place + size * entry : place + size * (entry + 1)] = value.to_bytes(size, "little")
    path.write_bytes(data)


def shorten(path: Path, code: int, length: int) -> None:
    """Let a table of the first page list fewer entries than there are."""
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[code].offset + 4
    data = bytearray(path.read_bytes())
    data[place : place + 4] = struct.pack("<I", length)
    path.write_bytes(data)


# what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize(("tiled", "line"), [(False, "50% .*: 3 of 6 strips"), (True, "67% .*: 6 of 9 tiles")])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", None])
def test_tables_that_are_too_short(tmp_path: Path, tiled: bool, line: str, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    write_parts(path, tiled=tiled, compression=compression)
    for codes in (OFFSETS, COUNTS):
        shorten(path, codes[tiled], 3)
    with pytest.raises(ContractileError, match=rf"a\.tif: {line}; copy or export it again"):
        find(path)


@pytest.mark.parametrize("tiled", [False, True])
@pytest.mark.parametrize("codes", [OFFSETS, COUNTS])
def test_parts_without_bytes_or_without_a_place(tmp_path: Path, tiled: bool, codes: dict[bool, int]) -> None:
    path = tmp_path / "a.tif"
    write_parts(path, tiled=tiled, pages=2)
    patch(path, codes[tiled], {1: 0, 2: 0}, page=1)
    with pytest.raises(ContractileError, match=r"of its pixels are missing: 2 of (12 strips|18 tiles); copy or export"):
        read(path)


@pytest.mark.parametrize("tiled", [False, True])
def test_a_sparse_file_is_zeros_where_it_has_nothing_and_says_so(tmp_path: Path, tiled: bool) -> None:
    path = tmp_path / "a.tif"
    [pixels] = write_parts(path, tiled=tiled)
    for codes in (OFFSETS, COUNTS):
        patch(path, codes[tiled], {0: 0, 1: 0, 2: 0})
    expected = pixels.copy()
    expected[: 32 if tiled else 48] = 0
    np.testing.assert_array_equal(read(path).pixels[0], expected)
    share = "33% of its tiles" if tiled else "50% of its strips"
    assert raster_of(path).notes == (f"{share} are left out in the file, and read as 0",)
    for codes in (OFFSETS, COUNTS):
        patch(path, codes[tiled], dict.fromkeys(range(9 if tiled else 6), 0))
    with pytest.raises(ContractileError, match="100% of its pixels are missing"):
        read(path)


@pytest.mark.parametrize("compression", ["zlib", "lzw", "packbits", "zstd", "lzma", "png", None])
def test_a_file_that_is_cut_off_says_how_much_it_has(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    write_parts(path, tiled=True, compression=compression)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size - 500])
    line = rf"a\.tif: is cut off \(it has {size - 500} of at least {size} bytes\); copy the file again"
    with pytest.raises(ContractileError, match=line):
        find(path)


@pytest.mark.parametrize("form", [{"imagej": True}, {}, {"metadata": None}, {"ome": True}])
def test_a_stack_that_is_cut_off(tmp_path: Path, form: dict[str, Any]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(5, 64, 64), photometric="minisblack", **form)
    path.write_bytes(path.read_bytes()[:14000])
    with pytest.raises(ContractileError, match=r"is cut off|unreadable or truncated") as caught:
        find(path)
    if form not in ({"metadata": None}, {"ome": True}):  # the others have pages behind the pixels
        assert "is cut off (it has 14000 of at least" in str(caught.value)


@pytest.mark.parametrize("compression", ["lzw", "packbits", "zlib", "zstd", "lzma", "png", "jpegxl", "lerc"])
@pytest.mark.parametrize("hole", [(0.0, 1.0), (0.3, 0.7), (0.5, 1.0), (0.0, 0.3)])
def test_holes_in_compressed_data_are_found(tmp_path: Path, compression: str, hole: tuple[float, float]) -> None:
    path = tmp_path / "a.tif"
    ramp = np.add.outer(np.arange(96), np.arange(96)).astype(np.uint8) ** 2 // 7
    tifffile.imwrite(path, ramp, tile=(32, 32), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        place, count = tiff.pages.first.dataoffsets[4], tiff.pages.first.databytecounts[4]
    data = bytearray(path.read_bytes())
    start, stop = (place + int(share * count) for share in hole)
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    with pytest.raises(ContractileError, match=r"a\.tif: unreadable or truncated"):
        read(path)
    with open_image(path) as image:  # the rest can be read
        np.testing.assert_array_equal(image[0, :32], ramp[:32])


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("hole", [(0.3, 0.7), (0.5, 1.0), (0.0, 1.0)])
def test_holes_in_jpeg_are_found(tmp_path: Path, colour: bool, hole: tuple[float, float]) -> None:
    path = tmp_path / "a.tif"
    pixels = noise(256, 256, 3) if colour else noise(256, 256)
    photometric = "rgb" if colour else "minisblack"
    tifffile.imwrite(
        path, pixels, photometric=photometric, tile=(128, 128), compression="jpeg", compressionargs={"level": 95}
    )
    whole = read(path).pixels
    assert np.abs(whole.astype(int) - np.moveaxis(np.atleast_3d(pixels), -1, 0)).mean() < (60 if colour else 5)
    with tifffile.TiffFile(path) as tiff:
        place, count = tiff.pages.first.dataoffsets[2], tiff.pages.first.databytecounts[2]
    data = bytearray(path.read_bytes())
    start, stop = (place + int(share * count) for share in hole)
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    with pytest.raises(
        ContractileError,
        match=r"a\.tif: unreadable or truncated \(.*(overwritten|Not a JPEG|too early|before its pixels)",
    ):
        read(path)
    with open_image(path) as image:
        np.testing.assert_array_equal(image[:, :128], whole[:, :128])


def test_planes_that_imagej_promises(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    description = "ImageJ=1.53t\nimages=4\nslices=4\nhyperstack=true\n"
    with tifffile.TiffWriter(path) as writer:
        for page in noise(3, 20, 18):
            writer.write(page, description=description, compression="zlib", metadata=None, contiguous=False)
            description = None
    with pytest.raises(ContractileError, match=r"a\.tif: 1 of its 4 planes are missing .25% of it.; export it again"):
        find(path)


def test_a_table_of_millions_of_strips_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(50, 48), rowsperstrip=1, compression="zlib", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags[257]
        place, kind = tag.offset + 2, tag.valueoffset
    data = bytearray(path.read_bytes())
    data[place : place + 2] = struct.pack("<H", 4)  # LONG
    data[kind : kind + 4] = struct.pack("<I", 2**26)
    path.write_bytes(data)
    with pytest.raises(ContractileError, match=r"is stored in 67108864 strips; at most 4194304 are read"):
        find(path)


def test_pages_lost_from_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_parts(path, tiled=False, pages=3)
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        place = page.offset + 2 + 12 * len(page.tags)
    data = bytearray(path.read_bytes())
    data[place : place + 4] = struct.pack("<I", 2**31)
    path.write_bytes(data)
    with pytest.raises(ContractileError, match="invalid page offset"):
        find(path)


def write_ndtiff(folder: Path, names: list[str]) -> Path:
    """A file in the form of Micro-Manager, with one plane of 4 x 5 pixels in each of the files of its index."""
    head = struct.pack("<IIII", 483729, 2, 2355492, 8) + b'{"a": 1}'
    place = 8 + len(head)  # of the pixels; 20 bytes
    tags = [(256, 4, 5), (257, 4, 4), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, place), (277, 3, 1), (278, 4, 4)]
    tags += [(279, 4, 20), (51123, 2, 24)]
    table = b"".join(struct.pack("<HHII", code, kind, 8 if code == 51123 else 1, value) for code, kind, value in tags)
    start = struct.pack("<2sHI", b"II", 42, place + 20) + head + bytes(range(20))
    path = folder / names[0]
    path.write_bytes(start + struct.pack("<H", len(tags)) + table + bytes(4))
    index = b""
    for n, name in enumerate(names):
        axes = json.dumps({"time": n}).encode()
        index += struct.pack("<I", len(axes)) + axes + struct.pack("<I", len(name)) + name.encode()
        index += struct.pack("<IiiiiIii", place, 5, 4, 0, 0, 0, 0, 0)
    (folder / "NDTiff.index").write_bytes(index)
    return path


def test_the_index_of_micro_manager_names_no_files_elsewhere(tmp_path: Path) -> None:
    path = write_ndtiff(tmp_path, ["a.tif", "a.tif"])
    raster = raster_of(path)
    assert (raster.axes, raster.lengths) == ("TYX", (2, 4, 5))
    np.testing.assert_array_equal(read(find(path)[1]).pixels[0], np.arange(20).reshape(4, 5))
    write_ndtiff(tmp_path, ["a.tif", "../b.tif"])
    with pytest.raises(ContractileError, match=r"name a file outside its folder \('\.\./b\.tif'\)"):
        find(path)
    write_ndtiff(tmp_path, ["a.tif", "gone.tif"])
    with pytest.raises(ContractileError, match=r"a\.tif: cannot be read \(.*No such file.*gone\.tif"):
        find(path)


# what is not read -----------------------------------------------------------------------------


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for code, name in ((34676, "SGILOG"), (40000, "of unknown kind")):
        write_parts(path, tiled=True)
        patch_value(path, 259, code)
        with pytest.raises(ContractileError, match=rf"its compression \({name}, number {code}\) is not read; save it"):
            find(path)


def test_pixels_that_are_not_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_parts(path, tiled=True)
    patch_value(path, 258, 99)
    with pytest.raises(ContractileError, match=r"its pixels \(sample format 1, 99 bits\) are not read; save it with 8"):
        find(path)


def patch_value(path: Path, code: int, value: int) -> None:
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[code].valueoffset
    data = bytearray(path.read_bytes())
    data[place : place + 2] = struct.pack("<H", value)
    path.write_bytes(data)


def test_what_is_no_tiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(b"\x9d\x01\xf3secretsecret" * 50)
    with pytest.raises(ContractileError, match=r"is no TIFF: it begins with b.*encrypted\?\); export the image again"):
        read(path)


def test_what_tifffile_says_is_passed_on_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, noise(20, 18), extratags=[(42113, "s", 0, "none", True)], metadata=None)
    with caplog.at_level(logging.WARNING):
        read(path)
        read(path)
    assert caplog.text.count("parsing GDAL_NODATA tag raised") == 1
    assert f"{path}: parsing GDAL_NODATA" in caplog.text


# axes, sizes, times ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "form", "axes", "guessed"),
    [
        ((20, 18), {}, "YX", False),
        ((20, 18, 3), {"photometric": "rgb"}, "YXS", False),
        ((5, 20, 18, 3), {"photometric": "rgb"}, "QYXS", False),
        ((20, 18, 2), {}, "QYX", True),
        ((5, 20, 18), {"metadata": None}, "IYX", True),
        ((5, 20, 18), {"metadata": {"axes": "ZYX"}}, "ZYX", False),
        ((5, 20, 18), {"metadata": {"axes": "QYX"}}, "QYX", False),
        ((20, 18, 5), {"metadata": {"axes": "YXC"}}, "YXC", False),
        ((5, 20, 18), {"imagej": True, "metadata": {"axes": "TYX"}}, "TYX", False),
        ((20, 18, 2), {"imagej": True}, "CYX", True),
        ((20, 18, 2), {"ome": True}, "CYX", True),
        ((5, 20, 18), {"ome": True, "metadata": {"axes": "TYX"}}, "TYX", False),
    ],
)
def test_axes_that_the_file_names(
    tmp_path: Path, shape: tuple[int, ...], form: dict[str, Any], axes: str, guessed: bool
) -> None:
    form = {"photometric": "minisblack", **form}
    tifffile.imwrite(tmp_path / "a.tif", noise(*shape), **form)
    raster = raster_of(tmp_path / "a.tif")
    assert (raster.axes, raster.guessed, raster.lengths) == (axes, guessed, shape)
    assert raster.files == (tmp_path / "a.tif",)


@pytest.mark.parametrize(
    ("form", "scale", "interval"),
    [
        ({"imagej": True, "metadata": {"finterval": 60.0}}, {}, 60),
        ({"imagej": True, "metadata": {"finterval": 2.0, "tunit": "min"}}, {}, 120),
        ({"imagej": True, "resolution": (4, 2), "metadata": {"unit": "nm"}}, {"X": 2.5e-4, "Y": 5e-4}, None),
        (
            {"imagej": True, "resolution": (4, 2), "metadata": {"unit": "um", "spacing": -3}},
            {"X": 0.25, "Y": 0.5, "Z": 3},
            None,
        ),
        ({"metadata": {"spacing": 3, "unit": "um", "finterval": 5}}, {"Z": 3}, 5),
        ({"resolution": (4, 2), "metadata": {"unit": "um"}}, {"X": 0.25, "Y": 0.5}, None),
        (
            {"resolution": (2e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": {"unit": "um", "spacing": 2}},
            {"X": 0.5, "Y": 1, "Z": 2},
            None,
        ),
        ({"resolution": (2e4, 1e4), "resolutionunit": "CENTIMETER", "metadata": None}, {"X": 0.5, "Y": 1}, None),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, {}, None),
        *[
            ({"resolution": (per_cm,) * 2, "resolutionunit": "CENTIMETER", "metadata": None, "software": "x"}, {}, None)
            for per_cm in (28, 28.35, 37.8, 59.06, 118, 118.11, 236.22, 10)
        ],
        (
            {"resolution": (10, 10), "resolutionunit": "CENTIMETER", "metadata": None, "software": "contractile"},
            {"X": 1000, "Y": 1000},
            None,
        ),
        ({"resolution": (10, 10), "resolutionunit": "CENTIMETER"}, {"X": 1000, "Y": 1000}, None),
        (
            {"resolution": (50, 50), "resolutionunit": "CENTIMETER", "metadata": None, "software": "x"},
            {"X": 200, "Y": 200},
            None,
        ),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "angstroms"}}, {"X": 2.5e-5, "Y": 2.5e-5}, None),
        ({"imagej": True, "resolution": (4, 4), "metadata": {"unit": "km"}}, {"X": 2.5e8, "Y": 2.5e8}, None),
        ({"ome": True, "metadata": {"TimeIncrement": 2, "TimeIncrementUnit": "h"}}, {}, 7200),
    ],
)
def test_sizes_and_times(tmp_path: Path, form: dict[str, Any], scale: dict[str, float], interval: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 20, 18), photometric="minisblack", **form)
    raster = raster_of(tmp_path / "a.tif")
    assert raster.scale == pytest.approx(scale)
    assert raster.interval_s == (None if interval is None else pytest.approx(interval))


def test_each_page_has_its_own_size(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for n in (1, 2):
            writer.write(noise(10 * n, 8), resolution=(1e4 * n, 1e4 * n), resolutionunit="CENTIMETER")
    assert [read(source).pixel_size_um for source in find(tmp_path)] == [(1.0, 1.0), (0.5, 0.5)]


def test_units_in_all_their_spellings() -> None:
    assert in_micrometres(2, "\u00b5m") == in_micrometres(2, "\\u00B5m") == in_micrometres(2, "micron") == 2
    assert in_micrometres("0.5", "mm") == 500
    assert in_micrometres(1, "pixel") is None
    assert in_micrometres(0, "um") is None
    assert in_seconds(3, "ms") == pytest.approx(0.003)
    assert in_seconds(1, "hour") == 3600
    assert in_seconds("x", "s") is None


def test_facts_of_tifffile_that_are_none(tmp_path: Path) -> None:
    text = "shape=(20, 18)"  # of old versions
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 18), description=text, metadata=None)
    assert raster_of(tmp_path / "a.tif").scale == {}
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 18), description=json.dumps({"shape": [20, 18]}), metadata=None)
    assert raster_of(tmp_path / "a.tif").axes == "YX"


# lazily ---------------------------------------------------------------------------------------


def test_a_plain_file_is_mapped_and_a_large_one_read_in_parts(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(2, 20, 18))
    with open_rasters(tmp_path / "a.tif", dims=2) as [raster]:
        assert isinstance(raster.load(), np.memmap)
    write_parts(tmp_path / "b.tif", tiled=True)
    patch_value(tmp_path / "b.tif", 262, 0)
    with open_image(tmp_path / "b.tif") as image:
        np.testing.assert_array_equal(image[0, 40:50, 3:90:7], 255 - noise(1, 96, 96)[0, 40:50, 3:90:7])


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("back_to", [0, 1])
def test_pages_that_follow_one_another_in_a_circle(tmp_path: Path, bigtiff: bool, back_to: int) -> None:
    pages = noise(3, 20, 18)
    tifffile.imwrite(tmp_path / "a.tif", pages, bigtiff=bigtiff, metadata=None, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        offsets = [page.offset for page in tiff.pages]
        last, form = tiff.pages[-1], tiff.tiff
        place = last.offset + form.tagnosize + len(last.tags) * form.tagsize
    data = bytearray((tmp_path / "a.tif").read_bytes())
    data[place : place + form.offsetsize] = offsets[back_to].to_bytes(form.offsetsize, "little")
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ContractileError, match=r"a.tif: its pages follow one another in a circle; export it again"):
        find(tmp_path)
