"""Decoders that stop at the size that was declared."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
import tifffile
import zarr
import zarr.codecs.numcodecs as old
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import read
from contractile.images.promised import (
    SIZES,
    size_of_jpeg,
    size_of_jpeg2000,
    size_of_jpegxl,
    size_of_jpegxr,
    size_of_lerc,
    size_of_png,
    size_of_webp,
)
from contractile.images.raster import Damaged
from contractile.images.unpacking import COMPRESSORS, size_of_xz, unpack
from contractile.images.zarr_store import open_array

MUCH = 50_000_000  # bytes that a bomb of a few thousand decodes to


def packed(name: str, data: bytes) -> tuple[bytes, dict[str, Any]]:
    codec = numcodecs.get_codec({"id": name})
    return bytes(codec.encode(data)), codec.get_config()


@given(st.binary(max_size=300), st.sampled_from(COMPRESSORS))
def test_what_was_packed_comes_back(data: bytes, name: str) -> None:
    found, settings = packed(name, data)
    if data:
        assert unpack(name, found, len(data), settings) == data
        with pytest.raises(Damaged, match=f"its data decode to more than the {len(data) - 1} bytes that were declared"):
            unpack(name, found, len(data) - 1, settings)


@given(st.binary(min_size=50, max_size=300), st.sampled_from(COMPRESSORS), st.integers(1, 20))
def test_data_that_end_too_early(data: bytes, name: str, less: int) -> None:
    found, settings = packed(name, data)
    with pytest.raises(Exception, match=r"."):  # each decoder has words of its own
        unpack(name, found[:-less], len(data), settings)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_several_streams_behind_one_another(pack: Callable[[bytes], bytes]) -> None:
    name = {gzip.compress: "gzip", bz2.compress: "bz2", lzma.compress: "lzma"}[pack]
    data = pack(b"one") + pack(b"two")
    assert unpack(name, data, 6, {}) == b"onetwo"
    assert unpack(name, data + bytes(5), 6, {}) == b"onetwo"
    with pytest.raises(Damaged, match="more than the 5 bytes"):
        unpack(name, data, 5, {})
    assert unpack("zstd", imagecodecs.zstd_encode(b"one") * 2, 6, {}) == b"oneone"


def test_lzma_of_all_kinds() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 1}]
    raw = lzma.compress(b"data", lzma.FORMAT_RAW, filters=filters)
    assert unpack("lzma", raw, 4, {"format": lzma.FORMAT_RAW, "filters": filters}) == b"data"
    assert unpack("lzma", lzma.compress(b"data", lzma.FORMAT_ALONE), 4, {"format": lzma.FORMAT_ALONE}) == b"data"


@given(st.binary(max_size=2000))
def test_xz_says_how_much_it_holds(data: bytes) -> None:
    assert size_of_xz(lzma.compress(data)) == len(data)
    assert size_of_xz(data) is None or data.endswith(b"YZ")


def test_data_of_the_wrong_kind() -> None:
    for name in COMPRESSORS:
        with pytest.raises(Exception, match=r"."):
            unpack(name, b"no such data, whatever the codec", 100, {})


# Zarr -----------------------------------------------------------------------------------------


def bomb_of(name: str, size: int = MUCH) -> bytes:
    if name == "gzip":
        return gzip.compress(bytes(size))
    if name == "lz4":
        return size.to_bytes(4, "little") + b"no matter what"
    if name == "blosc":
        return b"\x02\x01\x21\x01" + size.to_bytes(4, "little") + bytes(4) + (32).to_bytes(4, "little") + bytes(16)
    if name == "zstd":
        return imagecodecs.zstd_encode(bytes(size))
    return {"zlib": zlib.compress, "bz2": bz2.compress, "lzma": lzma.compress}[name](bytes(size))


@pytest.fixture
def pixels() -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 50, (60, 70)).astype(np.uint16)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=zarr.errors.ZarrUserWarning)
        yield


FILTERS = [None, [numcodecs.Delta("u2")], [numcodecs.AsType("u1", "u2")], [numcodecs.Zlib()]]


@pytest.mark.parametrize("name", [None, *COMPRESSORS])
@pytest.mark.parametrize("filters", FILTERS)
def test_zarr_2_of_each_codec(tmp_path: Path, pixels: NDArray[Any], name: str | None, filters: Any) -> None:
    codec = None if name is None else numcodecs.get_codec({"id": name})
    more = {"zarr_format": 2, "compressors": codec, "filters": filters}
    array = zarr.create_array(tmp_path / "a.zarr", shape=pixels.shape, chunks=(32, 32), dtype="u2", **more)
    array[:] = pixels
    np.testing.assert_array_equal(open_array(tmp_path / "a.zarr")[...], pixels)
    np.testing.assert_array_equal(open_array(tmp_path / "a.zarr")[5:40, 3:9], pixels[5:40, 3:9])
    if name is not None:
        (tmp_path / "a.zarr" / "1.1").write_bytes(bomb_of(name))
        with pytest.raises(ContractileError, match=r"a\.zarr: unreadable or truncated \(.*(than were|more than)"):
            read(tmp_path / "a.zarr")


NEW: dict[str, Callable[[], Any]] = {
    "raw": lambda: (),
    "gzip": zarr.codecs.GzipCodec,
    "zstd": zarr.codecs.ZstdCodec,
    "blosc": zarr.codecs.BloscCodec,
    "zlib": old.Zlib,
    "bz2": old.BZ2,
    "lzma": old.LZMA,
    "lz4": old.LZ4,
    "shuffled": lambda: (old.Shuffle(elementsize=2), zarr.codecs.ZstdCodec()),
    "checked": lambda: (zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()),
    "twice": lambda: (zarr.codecs.ZstdCodec(), zarr.codecs.GzipCodec()),
}
BEFORE: dict[str, Callable[[], Any]] = {
    "none": lambda: (),
    "turned": lambda: (zarr.codecs.TransposeCodec(order=(1, 0)),),
    "delta": lambda: (old.Delta(dtype="u2"),),
}


@pytest.mark.parametrize("codec", NEW)
@pytest.mark.parametrize("shards", [None, (64, 96)])
@pytest.mark.parametrize("before", BEFORE)
def test_zarr_3_of_each_codec(
    tmp_path: Path, pixels: NDArray[Any], codec: str, shards: tuple[int, int] | None, before: str
) -> None:
    more = {"compressors": NEW[codec](), "shards": shards, "filters": BEFORE[before]()}
    array = zarr.create_array(tmp_path / "a.zarr", shape=pixels.shape, chunks=(32, 32), dtype="u2", **more)
    array[:] = pixels
    found = open_array(tmp_path / "a.zarr")
    np.testing.assert_array_equal(found[...], pixels)
    np.testing.assert_array_equal(found[5:40, 3:9], pixels[5:40, 3:9])


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@pytest.mark.parametrize("shards", [None, (8, 8)])
def test_zarr_3_with_a_bomb(tmp_path: Path, name: str, shards: tuple[int, int] | None) -> None:
    codec = zarr.codecs.GzipCodec() if name == "gzip" else zarr.codecs.ZstdCodec()
    path = tmp_path / "a.zarr"
    array = zarr.create_array(path, shape=(8, 8), chunks=(8, 8), shards=shards, dtype="u1", compressors=codec)
    array[:] = 1
    chunk, bomb = path / "c" / "0" / "0", bomb_of(name)
    index = np.array([0, len(bomb)], "<u8").tobytes()
    chunk.write_bytes(bomb + (bytes(numcodecs.CRC32C().encode(index)) if shards else b""))
    with pytest.raises(ContractileError, match=r"its data decode to more than the 64 bytes|more than the \d+ that it"):
        read(path)


def test_filters_that_blow_up_one_another(tmp_path: Path) -> None:
    metadata = {
        "zarr_format": 2,
        "shape": [64, 64],
        "chunks": [64, 64],
        "dtype": "|u1",
        "fill_value": 0,
        "order": "C",
        "compressor": None,
        "filters": [{"id": "packbits"}] * 12,
    }
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / ".zarray").write_text(json.dumps(metadata))
    (path / "0.0").write_bytes(bytes(4096))
    with pytest.raises(ContractileError, match=r"a\.zarr: unreadable or truncated \(its data decode to more"):
        read(path)


def change_metadata(folder: Path, **changes: Any) -> None:
    """Change the metadata of an array of Zarr 2."""
    file = folder / ".zarray"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


UNBOUNDED = ["pcodec", "zfpy", "vlen-bytes", "json2", "msgpack2", "categorize"]
TWO_NAMES = [{"name": "zlib", "id": "pickle"}, {"id": "zlib", "name": "pickle"}]


@pytest.mark.parametrize(
    ("entry", "codec"), [*(({"id": name}, name) for name in UNBOUNDED), *((entry, "pickle") for entry in TWO_NAMES)]
)
def test_codecs_that_are_not_bounded(tmp_path: Path, entry: dict[str, str], codec: str) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((4, 4)), zarr_format=2)
    change_metadata(tmp_path / "a.zarr", filters=[entry])
    with pytest.raises(ContractileError, match=f"is stored with the codec '{codec}', which does not only store"):
        read(tmp_path / "a.zarr")


def test_a_type_that_hides_behind_another(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a.zarr", data=np.ones((4, 4)), zarr_format=2)
    change_metadata(tmp_path / "a.zarr", dtype="|O", data_type="uint8", node_type="group")
    with pytest.raises(ContractileError, match="holds values of type 'object'"):
        read(tmp_path / "a.zarr")


def test_a_lower_resolution_is_looked_at_as_well(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=np.ones((8, 8), np.uint8), chunks=(4, 4))
    group.create_array("1", data=np.ones((4, 4), np.uint8))
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]
    (tmp_path / "a.zarr" / "0" / "0.0").unlink()
    change_metadata(tmp_path / "a.zarr" / "1", filters=[{"id": "pickle"}])
    with pytest.raises(ContractileError, match="the chunks beside them do not fade to 0"):
        read(tmp_path / "a.zarr")  # the pixels of the lower resolution, which might have told it, are not decoded


# TIFF -----------------------------------------------------------------------------------------


def tiff(path: Path, data: bytes, compression: int, side: int = 64) -> Path:
    """A TIFF of one tile."""
    tags = [(256, side), (257, side), (258, 8), (259, compression), (262, 1), (277, 1), (322, side), (323, side)]
    entries = [*tags, (324, 200), (325, len(data))]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    path.write_bytes(head.ljust(200, b"\0") + data)
    return path


PACKED: dict[int, Callable[[bytes], bytes]] = {
    8: zlib.compress,
    50000: imagecodecs.zstd_encode,
    34925: lzma.compress,
    32773: imagecodecs.packbits_encode,
}


@pytest.mark.parametrize("compression", PACKED)
def test_tiles_that_decode_to_more_than_a_tile(tmp_path: Path, compression: int) -> None:
    pack = PACKED[compression]
    assert read(tiff(tmp_path / "a.tif", pack(bytes(64 * 64)), compression)).shape == (1, 64, 64)
    with pytest.raises(ContractileError, match=r"b\.tif: unreadable or truncated"):
        read(tiff(tmp_path / "b.tif", pack(bytes(MUCH // 50)), compression))


PICTURES: dict[int, Callable[[NDArray[Any]], bytes]] = {
    7: imagecodecs.jpeg8_encode,
    6: imagecodecs.jpeg8_encode,
    33005: imagecodecs.jpeg2k_encode,
    34933: imagecodecs.png_encode,
    34934: imagecodecs.jpegxr_encode,
    34887: imagecodecs.lerc_encode,
    50002: imagecodecs.jpegxl_encode,
}


@pytest.mark.parametrize("compression", PICTURES)
def test_pictures_in_a_tile_that_are_larger_than_it(tmp_path: Path, compression: int) -> None:
    encode = PICTURES[compression]
    fits, large = (np.full((side, side), 9, np.uint8) for side in (64, 700))
    np.testing.assert_allclose(read(tiff(tmp_path / "a.tif", encode(fits), compression)).pixels[0], fits, atol=2)
    with pytest.raises(ContractileError, match="a strip or tile of 64 x 64 pixels holds a picture of 700 x 700"):
        read(tiff(tmp_path / "b.tif", encode(large), compression))


@pytest.mark.parametrize("compression", sorted({*SIZES} - {33003, 33004, 34712, 52546, 22610, 34927, 50001}))
def test_pictures_in_a_tile_that_do_not_say_their_size(tmp_path: Path, compression: int) -> None:
    with pytest.raises(ContractileError, match=r"does not say how many pixels|unreadable"):
        read(tiff(tmp_path / "a.tif", b"no picture" * 20, compression))


def test_lzma_in_honest_tiffs(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (3, 100, 90)).astype(np.uint16)
    for name, more in (("a", {"tile": (32, 48)}), ("b", {"rowsperstrip": 30}), ("c", {"predictor": True})):
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels[0], compression="lzma", **more)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.tif").pixels[0], pixels[0])


# the size that a picture promises -------------------------------------------------------------


@given(st.integers(1, 90), st.integers(1, 90), st.booleans())
def test_promised_sizes_are_the_sizes(height: int, width: int, small: bool) -> None:
    grey = np.arange(height * width, dtype=np.int64).reshape(height, width).astype(np.uint8)
    colour = np.repeat(grey[..., None], 3, -1)
    size = (height, width)
    assert size_of_png(imagecodecs.png_encode(grey)) == size
    assert size_of_jpeg(imagecodecs.jpeg8_encode(colour)) == size
    assert size_of_webp(imagecodecs.webp_encode(colour, lossless=small)) == size
    assert size_of_webp(imagecodecs.webp_encode(np.dstack([colour, grey]), level=50)) == size
    assert size_of_jpeg2000(imagecodecs.jpeg2k_encode(colour, codecformat="jp2" if small else "j2k")) == size
    assert size_of_jpegxl(imagecodecs.jpegxl_encode(grey, usecontainer=small)) == size
    assert size_of_lerc(imagecodecs.lerc_encode(grey)) == size


def test_promised_sizes_of_large_pictures() -> None:
    for shape in ((600, 600), (600, 1200), (5000, 64), (64, 5000), (9000, 3)):
        assert size_of_jpegxl(imagecodecs.jpegxl_encode(np.zeros(shape, np.uint8))) == shape
    assert size_of_jpegxr(imagecodecs.jpegxr_encode(np.zeros((37, 53), np.uint8))) == (37, 53)


@given(st.binary(max_size=80), st.sampled_from(sorted({*SIZES.values()}, key=lambda one: one.__name__)))
def test_any_bytes_promise_a_size_or_nothing(data: bytes, measure: Callable[[bytes], tuple[int, int] | None]) -> None:
    heads = (b"", b"RIFFxxxxWEBPVP8L", b"\x89PNG", b"\xff\x4f\xff\x51", b"\xff\x0a", b"II\xbc", b"Lerc2 ", b"\xff\xd8")
    for head in heads:
        size = measure(head + data)
        assert size is None or (len(size) == 2 and min(size) >= 0)
