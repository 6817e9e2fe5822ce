"""Files that lack pixels are refused, with the share that is missing, or filled with 0 where the gate allows it."""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from contractile.errors import ContractileError
from contractile.images import find, read, read_labels, zarr_chunks
from contractile.images.gate import limited


@pytest.fixture
def allowed() -> Iterator[None]:
    with limited(missing=True):
        yield


def bright(*shape: int) -> NDArray[Any]:
    """Pixels that are nowhere 0."""
    return np.random.default_rng(0).integers(1, 200, shape).astype(np.uint8)


def soft() -> NDArray[Any]:
    """A picture that a JPEG keeps well; it is nowhere a grey of 128 alone."""
    noise = ndimage.gaussian_filter(np.random.default_rng(0).random((160, 160)), 2)
    return ((noise - noise.min()) / np.ptp(noise) * 250).astype(np.uint8)


def values(path: Path) -> NDArray[Any]:
    [source] = find(path)
    return read(source).pixels[0]


# TIFF -----------------------------------------------------------------------------------------


def patch(path: Path, tags: tuple[int, ...], change: Any) -> Path:
    """Change the numbers in these tags of a TIFF."""
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for code in tags:
            tag = tiff.pages.first.tags[code]
            numbers = list(tag.value)
            size = "H" if tag.dtype == 3 else "I"
            struct.pack_into(f"<{len(numbers)}{size}", data, tag.valueoffset, *change(code, numbers))
    path.write_bytes(data)
    return path


def test_strips_of_no_bytes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = bright(64, 64)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", rowsperstrip=16, metadata=None)
    path = patch(tmp_path / "a.tif", (279,), lambda _, numbers: [*numbers[:3], 0])
    with pytest.raises(
        ContractileError, match=r"25% of its pixels are missing: 1 of 4 strips; .*--allow-missing reads 0"
    ):
        values(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = values(path)
    np.testing.assert_array_equal(found[:48], pixels[:48])
    assert not found[48:].any()
    assert "a.tif: 25% of its pixels are missing: 1 of 4 strips; 0 is read in their place" in caplog.text


@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_a_packed_tiff_that_is_cut_off(tmp_path: Path, tile: tuple[int, int] | None) -> None:
    pixels = bright(64, 64)
    rows = None if tile else 16
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", tile=tile, rowsperstrip=rows, metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:-50])
    with pytest.raises(ContractileError, match=r"is cut off \(it has \d+ of at least \d+ bytes\); .*--allow-missing"):
        values(tmp_path / "a.tif")
    with limited(missing=True):
        found = values(tmp_path / "a.tif")
    lost = (slice(32, None), slice(32, None)) if tile else (slice(48, None),)
    expected = pixels.copy()
    expected[lost] = 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_plain_tiff_that_is_cut_off(tmp_path: Path, byteorder: Any, caplog: pytest.LogCaptureFixture) -> None:
    pixels = bright(40, 60).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, byteorder=byteorder, metadata=None)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: len(data) - 1200])
    with pytest.raises(ContractileError, match="is cut off"):
        find(tmp_path / "a.tif")
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = values(tmp_path / "a.tif")
    expected = pixels.reshape(-1).copy()
    expected[-600:] = 0
    np.testing.assert_array_equal(found.reshape(-1), expected)
    assert "a.tif: is cut off: 25% of its pixels are missing; 0 is read in their place" in caplog.text


def test_a_plain_tiff_that_is_too_large_to_be_filled(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", bright(40, 40))
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-100])
    with (
        limited(missing=True, pixels=1000),
        pytest.raises(ContractileError, match="what would be filled has 40 x 40 pixels; at most 1000"),
    ):
        values(tmp_path / "a.tif")


def test_a_stack_of_imagej_cannot_be_filled(tmp_path: Path, allowed: None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", bright(4, 30, 20), imagej=True, metadata={"axes": "TYX"})
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:-900])
    with pytest.raises(ContractileError, match=r"is cut off .*; a stack of ImageJ cannot be filled with 0"):
        find(tmp_path / "a.tif")


def ome(name: str, pages: int, *others: str) -> str:
    """The XML of a stack along T: one page in the file itself, and one in each other file."""
    planes = "".join(
        f'<TiffData IFD="0" FirstT="{t}" PlaneCount="1"><UUID FileName="{file}">urn:uuid:{t}</UUID></TiffData>'
        for t, file in enumerate((name, *others))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:0"><Image ID="Image:0"><Pixels ID="P:0" DimensionOrder="XYZCT" Type="uint8" SizeX="6" '
        f'SizeY="5" SizeZ="1" SizeC="1" SizeT="{pages}"><Channel ID="C:0"/>{planes}</Pixels></Image></OME>'
    )


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_planes_of_an_ome_tiff(tmp_path: Path, compression: Any, caplog: pytest.LogCaptureFixture) -> None:
    pixels = bright(5, 6)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, pixels, description=ome(path.name, 4).encode(), metadata=None, compression=compression)
    with pytest.raises(ContractileError, match=r"3 of its 4 planes are missing \(75% of it\); .*--allow-missing"):
        find(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = [read(source).pixels[0] for source in find(path)]
    np.testing.assert_array_equal(found[0], pixels)
    assert [int(one.max()) for one in found[1:]] == [0, 0, 0]
    assert "a.ome.tif: 3 of its 4 planes are missing (75% of it); 0 is read in their place" in caplog.text


def test_files_of_an_ome_set(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = bright(5, 6)
    path = tmp_path / "a.ome.tif"
    xml = ome(path.name, 2, "gone.ome.tif")
    tifffile.imwrite(path, pixels, description=xml.encode(), metadata=None, compression="zlib")
    with pytest.raises(ContractileError, match=r"1 of the 2 files .* are missing: gone\.ome\.tif; .*--allow-missing"):
        find(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = [read(source).pixels[0] for source in find(path)]
    np.testing.assert_array_equal(found[0], pixels)
    assert not found[1].any()
    assert "a.ome.tif: 1 of the 2 files that hold this image are missing: gone.ome.tif; 0 is read" in caplog.text


def test_a_tile_of_jpeg_with_a_hole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, soft(), compression="jpeg", tile=(160, 160), metadata=None)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages.first.dataoffsets[0], tiff.pages.first.databytecounts[0]
    data[start + count // 2 : start + count - 100] = bytes(count - 100 - count // 2)
    path.write_bytes(data)
    with pytest.raises(ContractileError, match="unreadable or truncated"):
        values(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        assert values(path).shape == (160, 160)
    assert "a.tif: strip or tile 0: " in caplog.text


# pictures and npy -----------------------------------------------------------------------------


@pytest.mark.parametrize(("colours", "bits"), [(None, 8), (3, 8), (4, 8), (None, 16)])
def test_a_png_that_is_cut_off(
    tmp_path: Path, colours: int | None, bits: int, caplog: pytest.LogCaptureFixture
) -> None:
    pixels = bright(60, 50, *([colours] if colours else ())).astype(f"u{bits // 8}")
    data = imagecodecs.png_encode(pixels, level=1)
    path = tmp_path / "a.png"
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(ContractileError, match=r"cut off: \d+% of its rows are missing"):
        read(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = read(path).pixels
    first = pixels if colours is None else pixels[..., :3]
    whole = first[None] if colours is None else np.moveaxis(first, -1, 0)
    np.testing.assert_array_equal(found[:, :30], whole[:, :30])
    assert not found[:, 50:].any()
    assert "of its rows are missing; 0 is read in the place of what is missing" in caplog.text


def test_a_png_of_labels_that_is_cut_off(tmp_path: Path, allowed: None) -> None:
    labels = bright(60, 50)
    picture = Pillow.fromarray(labels).convert("P")
    picture.save(tmp_path / "a.png", compress_level=1)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) * 3 // 4])
    found = read_labels(tmp_path / "a.png")
    np.testing.assert_array_equal(found[:20], np.asarray(picture)[:20])
    assert not found[-1].any()


def test_an_interlaced_png_cannot_be_filled(tmp_path: Path, allowed: None) -> None:
    data = bytearray(imagecodecs.png_encode(bright(60, 50)))
    data[28] = 1
    (tmp_path / "a.png").write_bytes(data[:-500])
    with pytest.raises(ContractileError, match="it is interlaced, and cannot be filled where data are missing"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("ended", [True, False])
def test_a_jpeg_that_is_cut_off(tmp_path: Path, share: float, ended: bool, caplog: pytest.LogCaptureFixture) -> None:
    data = imagecodecs.jpeg8_encode(soft(), level=90)
    whole = imagecodecs.jpeg8_decode(data)
    path = tmp_path / "a.jpg"
    path.write_bytes(data[: int(len(data) * share)] + (b"\xff\xd9" if ended else b""))
    with pytest.raises(ContractileError, match=r"about \d+% of its rows are missing"):
        read(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = read(path).pixels[0]
    good = int(160 * share) // 2
    np.testing.assert_array_equal(found[:good], whole[:good])
    assert not found[-8:].any()
    assert "of its rows are missing; 0 is read in the place" in caplog.text


@pytest.mark.parametrize("suffix", ["bmp", "gif", "webp"])
def test_pictures_that_cannot_be_filled(tmp_path: Path, suffix: str, allowed: None) -> None:
    path = tmp_path / f"a.{suffix}"
    Pillow.fromarray(bright(60, 50)).save(path)
    path.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(ContractileError, match=rf"a\.{suffix}: .*pictures of this format cannot be filled"):
        read(path)


def test_an_array_that_is_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = bright(20, 30).astype(np.uint16)
    for name, array in (("a", pixels), ("b", np.asfortranarray(pixels))):
        np.save(tmp_path / f"{name}.npy", array)
        path = tmp_path / f"{name}.npy"
        path.write_bytes(path.read_bytes()[:-300])
        with pytest.raises(ContractileError, match=rf"{name}\.npy: is cut off: 25% of its pixels are missing"):
            read(path)
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = values(tmp_path / "a.npy")
        with pytest.raises(ContractileError, match=r"b\.npy: is cut off"):
            read(tmp_path / "b.npy")
    expected = pixels.reshape(-1).copy()
    expected[-150:] = 0
    np.testing.assert_array_equal(found.reshape(-1), expected)
    assert "a.npy: is cut off: 25% of its pixels are missing; 0 is read in their place" in caplog.text


# Zarr -----------------------------------------------------------------------------------------


def chunks_of(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file() and one.name.split(".")[-1].isdecimal())


@pytest.fixture(autouse=True)
def forget() -> None:
    zarr_chunks._find_gaps.cache_clear()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("shape", [(80, 80), (3, 80, 80)])
def test_chunks_beside_others_that_do_not_fade(
    tmp_path: Path, zarr_format: int, shape: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    pixels, path = bright(*shape), tmp_path / "a.zarr"
    chunks = (1, 16, 16)[-len(shape) :]
    zarr.create_array(path, data=pixels, chunks=chunks, zarr_format=zarr_format)
    files = chunks_of(path)
    for file in files[::3]:
        file.unlink()
    line = rf"{len(files[::3])} of its {len(files)} chunks are missing .*; the chunks beside them do not fade to 0"
    with pytest.raises(ContractileError, match=rf"{line}; .*--allow-missing reads 0 in their place"):
        find(path)
    assert read_labels(path).shape if len(shape) == 2 else True
    with limited(missing=True), caplog.at_level(logging.WARNING):
        found = np.concatenate([read(source).pixels for source in find(path)]).reshape(shape)
    assert np.array_equal(found[found > 0], pixels[found > 0])
    assert float(np.mean(found == 0)) == pytest.approx(len(files[::3]) / len(files))
    assert "the chunks beside them do not fade to 0; 0 is read in their place" in caplog.text


def test_chunks_beside_others_that_fade(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels, path = np.zeros((80, 80), np.uint8), tmp_path / "a.zarr"
    y, x = np.mgrid[:80, :80]
    pixels[(y - 40) ** 2 + (x - 40) ** 2 < 25**2] = 100  # a round piece of tissue on nothing
    zarr.create_array(path, data=pixels, chunks=(16, 16))
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(values(path), pixels)
    assert "of its 25 chunks are missing" in caplog.text


def test_a_blank_channel_time_or_plane_is_no_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = bright(3, 32, 32)
    pixels[1] = 0
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.create_array("0", data=pixels, chunks=(1, 16, 16))
    kinds = {"c": "channel", "t": "time"}
    for letter in "ctz":
        axes = [{"name": name, "type": kinds.get(name, "space")} for name in f"{letter}yx"]
        group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [{"path": "0"}]}]}
        zarr_chunks._find_gaps.cache_clear()
        caplog.clear()
        found = np.concatenate([read(source).pixels for source in find(tmp_path / "a.zarr")])
        np.testing.assert_array_equal(found, pixels)
    (tmp_path / "a.zarr" / "0" / "c" / "0" / "0" / "1").unlink()
    zarr_chunks._find_gaps.cache_clear()
    cure = "where they are meant to be empty, --allow-missing reads 0 in their place; else copy the whole folder again"
    with pytest.raises(ContractileError, match=f"5 of its 12 chunks are missing .* do not fade to 0; {cure}"):
        find(tmp_path / "a.zarr")


@pytest.mark.parametrize(("fill", "dtype"), [(None, "uint8"), (np.nan, "float32")])
def test_fill_values_that_mean_nothing(tmp_path: Path, fill: Any, dtype: str) -> None:
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=(32, 32), chunks=(16, 16), dtype=dtype, fill_value=fill, zarr_format=2)
    array[:] = bright(32, 32)
    chunks_of(path)[0].unlink()
    with pytest.raises(ContractileError, match=r"1 of its 4 chunks are missing \(25% of it\)"):
        read(path)
    zarr_chunks._find_gaps.cache_clear()
    with limited(missing=True):
        found = values(path)
    assert not found[:16, :16].any()
    assert found[16:, 16:].all()
    with pytest.raises(ContractileError, match=r"1 of its 4 chunks are missing"):
        read(path)


@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_a_tiff_without_tables(tmp_path: Path, tile: tuple[int, int] | None, allowed: None) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, bright(64, 64), compression="zlib", tile=tile, rowsperstrip=None if tile else 8)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        for code in {273, 279, 324, 325} & {tag.code for tag in tiff.pages.first.tags}:
            struct.pack_into("<H", data, tiff.pages.first.tags[code].offset, 65000 + code - 270)
    path.write_bytes(data)
    for missing in (False, True):
        with limited(missing=missing), pytest.raises(ContractileError, match=r"100% of its pixels are missing: \d+ of"):
            read(path)
