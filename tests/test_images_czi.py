"""CZI of Zeiss: mosaics, scenes and pyramids by region, all compressions, and what is wrong with damaged files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from makers_files import CZI_XML, czi_block, pixels, write_czi

from contractile.errors import ContractileError
from contractile.images import czi, czi_blocks, find, limited, open_image, read
from contractile.images.czi_blocks import read_directory

VALUES = pixels(2, 3, 2, 6, 5)  # T, Z, C, Y, X


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "a.czi"
    places = np.ndindex(*VALUES.shape[:3])
    write_czi(path, [czi_block(VALUES[t, z, c], T=t, Z=z, C=c) for t, z, c in places])
    return path


def test_pages_are_planes_of_all_times(stack: Path) -> None:
    found = find(stack)
    assert found[0].stack is not None
    assert (found[0].stack.axes, found[0].stack.lengths, found[0].stack.interval_s) == ("TZ", (2, 3), 2.5)
    for number, source in enumerate(found):
        np.testing.assert_array_equal(read(source).pixels, VALUES[number // 3, number % 3])


def test_volumes_with_sizes_and_channels(stack: Path) -> None:
    with open_image(find(stack, dims=3)[1], dims=3) as image:
        assert image.dtype == np.uint16
        assert image.pixel_size_um == pytest.approx((1.0, 0.3, 0.2))
        assert [(one.name, one.colour) for one in image.channels] == [("DAPI", "0000FF"), ("GFP", "00FF00")]
        np.testing.assert_array_equal(image[1, 1:3, 2:5, ::2], VALUES[1, 1:3, 1, 2:5, ::2])
        np.testing.assert_array_equal(image.pixels, VALUES[1].swapaxes(0, 1))


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "i4"])
@pytest.mark.parametrize("compression", [0, 2, 5])
def test_types_and_compressions(tmp_path: Path, dtype: str, compression: int) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5, dtype=dtype))], compression=compression)
    image = read(tmp_path / "a.czi")
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.pixels[0], pixels(6, 5, dtype=dtype))


@pytest.mark.parametrize(("compression", "dtype"), [(4, "u1"), (4, "u2"), (6, "u2")])
def test_jpeg_xr_and_bytes_stored_apart(tmp_path: Path, compression: int, dtype: str) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(32, 24, dtype=dtype))], compression=compression)
    np.testing.assert_array_equal(read(tmp_path / "a.czi").pixels[0], pixels(32, 24, dtype=dtype))


def test_jpeg_loses_little(tmp_path: Path) -> None:
    flat = np.full((32, 24), 77, np.uint8)
    write_czi(tmp_path / "a.czi", [czi_block(flat)], compression=1)
    np.testing.assert_allclose(read(tmp_path / "a.czi").pixels[0], flat, atol=1)


@pytest.mark.parametrize("compression", [0, 4, 5])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_colours_are_red_green_blue(tmp_path: Path, dtype: str, compression: int) -> None:
    values = pixels(32, 24, 3, dtype=dtype)
    write_czi(tmp_path / "a.czi", [czi_block(values)], compression=compression)
    image = read(tmp_path / "a.czi")
    np.testing.assert_array_equal(image.pixels, np.moveaxis(values, -1, 0))
    assert [one.name for one in image.channels] == ["red", "green", "blue"]


def test_transparency_is_left_out(tmp_path: Path) -> None:
    values = pixels(6, 5, 4, dtype="u1")
    write_czi(tmp_path / "a.czi", [czi_block(values)])
    np.testing.assert_array_equal(read(tmp_path / "a.czi").pixels, np.moveaxis(values[..., :3], -1, 0))


# mosaics, scenes, pyramids --------------------------------------------------------------------


def mosaic(scene: int, corner: tuple[int, int]) -> tuple[list[Any], Any]:
    """Four tiles of a scene that overlap, and what it looks like."""
    whole = np.zeros((14, 16), np.uint16)
    blocks = []
    for number, (y, x) in enumerate([(0, 0), (0, 7), (6, 0), (6, 7)]):
        tile = pixels(8, 9) + np.uint16(1000 * number)
        whole[y : y + 8, x : x + 9] = tile
        blocks.append(czi_block(tile, X=x + corner[1], Y=y + corner[0], S=scene, M=number))
    return blocks, whole


def test_scenes_are_images_and_tiles_lie_where_they_belong(tmp_path: Path) -> None:
    first, one = mosaic(0, (-20, 100))
    second, other = mosaic(1, (500, -3))
    write_czi(tmp_path / "a.czi", [*second[::-1], *first[::-1]])
    found = find(tmp_path / "a.czi")
    assert [source.name for source in found] == ["a_0000", "a_0001"]
    np.testing.assert_array_equal(read(found[0]).pixels[0], one)
    np.testing.assert_array_equal(read(found[1]).pixels[0], other)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(0, 15)] * 4), st.integers(1, 3))
def test_any_region_is_that_of_the_whole(tmp_path_factory: pytest.TempPathFactory, ends: Any, step: int) -> None:
    path = tmp_path_factory.getbasetemp() / "mosaic.czi"
    blocks, whole = mosaic(0, (3, 4))
    if not path.exists():
        write_czi(path, blocks)
    y, x = (slice(min(pair), max(pair), step) for pair in (ends[:2], ends[2:]))
    with open_image(path) as image:
        np.testing.assert_array_equal(image[0, y, x], whole[y, x])


def test_only_tiles_of_the_region_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [czi_block(pixels(8, 8) + np.uint16(n), X=8 * n, Y=0, M=n) for n in range(6)]
    write_czi(tmp_path / "a.czi", blocks)
    asked: list[int] = []
    real = czi_blocks.read_block
    monkeypatch.setattr(czi, "read_block", lambda *args: asked.append(args[1].starts["M"]) or real(*args))  # type: ignore[func-returns-value]
    with open_image(tmp_path / "a.czi") as image:
        assert image.unit == (8, 8)
        np.testing.assert_array_equal(image[0, :, 9:20], np.hstack([one[1] for one in blocks])[:, 9:20])
        assert image[0, 3, 15] == pixels(8, 8)[3, 7] + 1  # from memory
    assert asked == [1, 2]


def test_few_tiles_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(czi, "HELD", 8 * 8 * 2)
    blocks = [czi_block(pixels(8, 8) + np.uint16(n), X=8 * n, Y=0, M=n) for n in range(6)]
    write_czi(tmp_path / "a.czi", blocks)
    for _ in range(2):
        np.testing.assert_array_equal(read(tmp_path / "a.czi").pixels[0], np.hstack([one[1] for one in blocks]))


def test_a_pyramid_becomes_levels(tmp_path: Path) -> None:
    full, half, quarter = pixels(32, 48), pixels(16, 24) + np.uint16(500), pixels(8, 12) + np.uint16(900)
    tiles = [czi_block(full[:, x : x + 16], X=x - 7, Y=5, M=x // 16) for x in (0, 16, 32)]
    write_czi(tmp_path / "a.czi", [*tiles, czi_block(half, 2, X=-7, Y=5), czi_block(quarter, 4, X=-7, Y=5)])
    with open_image(tmp_path / "a.czi") as image:
        assert [level.shape[1:] for level in image.levels] == [(32, 48), (16, 24), (8, 12)]
        for level, values in zip(image.levels, (full, half, quarter), strict=True):
            np.testing.assert_array_equal(level.pixels[0], values)
        assert image.levels[1].pixel_size_um == pytest.approx((0.6, 0.4))


# what is wrong --------------------------------------------------------------------------------


def test_planes_that_were_never_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5), T=t, C=c) for t, c in ((0, 0), (0, 1), (1, 0))])
    with pytest.raises(
        ContractileError, match=r"a\.czi: 1 of its 4 planes are missing .*; copy the file again.*--allow"
    ):
        find(tmp_path / "a.czi")
    with limited(missing=True):
        found = find(tmp_path / "a.czi")
        np.testing.assert_array_equal(read(found[1]).pixels, [pixels(6, 5), 0 * pixels(6, 5)])
    assert "1 of its 4 planes are missing (an acquisition that was stopped?); 0 is read in their place" in caplog.text


def test_files_that_are_cut_off(stack: Path) -> None:
    data = stack.read_bytes()
    for length in [20, 100, 543, 544, *range(600, len(data) - 600, 997)]:
        stack.write_bytes(data[:length])
        with pytest.raises(ContractileError, match=r"a\.czi: unreadable or truncated \(.*\); copy the file again"):
            read(find(stack)[0])


def rewritten(path: Path, change: Any) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))


def at(data: bytearray, name: bytes) -> int:
    return data.index(name)


@pytest.mark.parametrize(
    ("name", "offset", "value", "what"),
    [
        (b"ZISRAWDIRECTORY", 0, b"X", "no ZISRAWDIRECTORY where it should be"),
        (b"ZISRAWMETADATA", 0, b"X", "no ZISRAWMETADATA where it should be"),
        (b"ZISRAWDIRECTORY", 32, b"\0\0\0\0", "no pixels in it"),
        (b"ZISRAWDIRECTORY", 160, b"XX", "an entry of its directory is none"),
        (b"ZISRAWDIRECTORY", 162, b"\x0a", "pixels of a kind that is not read"),
        (b"ZISRAWDIRECTORY", 166, b"\0\0\0\1", "1 of its 12 blocks lie beyond its end"),
        (b"ZISRAWDIRECTORY", 192 + 8, b"\0", "a block has the length 0 along 'X'"),
        (b"ZISRAWDIRECTORY", 192, b"W", "a block has no rows or no columns"),
        (b"ZISRAWDIRECTORY", 178, b"\x63", r"compressed in a way that is not read \(number 99\)"),
        (b"ZISRAWSUBBLOCK", 0, b"X", "no block where its directory says one"),
        (b"ZISRAWSUBBLOCK", 40, b"\xff\xff\xff", "the file ends within its pixels"),
        (b"ZISRAWSUBBLOCK", 40, b"\1\0\0", "the file ends within its pixels"),
    ],
)
def test_segments_that_lie(stack: Path, name: bytes, offset: int, value: bytes, what: str) -> None:
    def change(data: bytearray) -> None:
        place = at(data, name) + offset
        data[place : place + len(value)] = value

    rewritten(stack, change)
    with pytest.raises(ContractileError, match=what):
        read(find(stack)[0])


def test_a_directory_beyond_the_end(stack: Path) -> None:
    data = stack.read_bytes()
    stack.write_bytes(data[: data.index(b"ZISRAWDIRECTORY")])
    with pytest.raises(ContractileError, match="its ZISRAWDIRECTORY lies beyond its end"):
        find(stack)
    stack.write_bytes(data[:60])
    with pytest.raises(ContractileError, match="the file ends too early"):
        find(stack)


def test_a_picture_with_fewer_samples(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(32, 24, dtype="u1"))], compression=4)

    def change(data: bytearray) -> None:
        data[at(data, b"ZISRAWDIRECTORY") + 162] = 3  # red, green and blue

    rewritten(tmp_path / "a.czi", change)
    with pytest.raises(ContractileError, match="a block holds 768 numbers where 2304 were declared"):
        read(tmp_path / "a.czi")


def test_huge_blocks_are_refused(stack: Path) -> None:
    def change(data: bytearray) -> None:
        place = at(data, b"ZISRAWDIRECTORY") + 192 + 8
        data[place : place + 4] = data[place + 8 : place + 12] = (2**30).to_bytes(4, "little")

    rewritten(stack, change)
    with pytest.raises(ContractileError, match="a block has 6 x 1073741824 pixels; at most"):
        find(stack)


def test_a_picture_of_another_size_or_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.czi"
    write_czi(path, [czi_block(pixels(32, 24, dtype="u1"))], compression=4)
    with path.open("rb") as file:
        [block], _ = read_directory(file, path)
        for wrong, what in (({"stored": (24, 32)}, "a picture of"), ({"pixels": 1}, "holds uint8, where uint16")):
            with pytest.raises(czi_blocks.Damaged, match=what):
                czi_blocks.read_block(file, replace(block, **wrong), path)
    write_czi(path, [czi_block(pixels(32, 24))], compression=6)
    rewritten(path, lambda data: data.__setitem__(data.index(b"\3\1\1\x28"), 9))
    with pytest.raises(ContractileError, match="a block begins with an unknown head"):
        read(path)


def test_grey_and_colour_in_one_image(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5), C=0), czi_block(pixels(6, 5, 3), C=1)])
    with pytest.raises(
        ContractileError, match=r"a\.czi: holds grey and colour channels in one image; save them as files"
    ):
        find(tmp_path / "a.czi")


def test_one_of_several_files(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5))], part=1)
    with pytest.raises(ContractileError, match="is one of several files that hold an image together; save it as one"):
        find(tmp_path / "a.czi")


def test_lower_resolutions_alone_are_no_image(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5), 2)])
    with pytest.raises(ContractileError, match="no pixels in the full resolution"):
        find(tmp_path / "a.czi")


def test_without_metadata_nothing_is_known(tmp_path: Path) -> None:
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5))], xml="<ImageDocument/>")
    image = read(tmp_path / "a.czi")
    assert (image.pixel_size_um, image.channels) == (None, ())
    write_czi(tmp_path / "a.czi", [czi_block(pixels(6, 5))], xml="<!DOCTYPE a>" + CZI_XML)
    with pytest.raises(ContractileError, match="document type or entities"):
        find(tmp_path / "a.czi")


def test_other_content_under_the_suffix(tmp_path: Path) -> None:
    for content in (b"Hello, this is text.", b"ZISRAWFILE" + b"a" * 20, bytes(range(1, 99))):
        (tmp_path / "a.czi").write_bytes(content)
        with pytest.raises(ContractileError, match=r"a\.czi: (is text|unreadable or truncated)"):
            find(tmp_path / "a.czi")


def test_another_reader_sees_the_same(stack: Path) -> None:
    czifile: Any = pytest.importorskip("czifile")
    with czifile.CziFile(str(stack)) as file:
        other, axes = file.asarray(max_workers=1), file.axes
    other = other.transpose([axes.index(axis) for axis in "TZCYX0"]).reshape(6, 2, 6, 5)
    for number, source in enumerate(find(stack)):
        np.testing.assert_array_equal(read(source).pixels, other[number])
