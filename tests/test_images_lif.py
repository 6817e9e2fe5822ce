"""LIF of Leica: pixels by region, axes, sizes, channels, several images, and what is wrong with damaged files."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers_files import lif_image, pixels, write_lif

from contractile.errors import ContractileError
from contractile.images import find, open_image, read

VALUES = pixels(3, 4, 2, 6, 5)  # T, Z, C, Y, X


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "a.lif"
    reach = {"X": 4e-7, "Y": 1e-6, "Z": 3e-6, "T": 20.0}
    write_lif(path, lif_image("one", "TZCYX", VALUES, reach=lambda axis, n: reach[axis]))
    return path


def test_pages_are_planes_of_all_times(stack: Path) -> None:
    found = find(stack)
    assert len(found) == 12
    assert found[0].stack is not None
    assert (found[0].stack.axes, found[0].stack.lengths) == ("TZ", (3, 4))
    assert (found[0].stack.interval_s, found[0].stack.spacing_um) == pytest.approx((10.0, 1.0))
    for number, source in enumerate(found):
        np.testing.assert_array_equal(read(source).pixels, VALUES[number // 4, number % 4])


def test_volumes_with_sizes_and_channels(stack: Path) -> None:
    found = find(stack, dims=3)
    assert len(found) == 3
    with open_image(found[1], dims=3) as image:
        assert image.dtype == np.uint16
        assert image.pixel_size_um == pytest.approx((1.0, 0.2, 0.1))
        assert [(one.name, one.colour) for one in image.channels] == [("dye 0", "00FF00"), ("dye 1", "FF0000")]
        np.testing.assert_array_equal(image[1, 1:3, 2:5, ::2], VALUES[1, 1:3, 1, 2:5, ::2])
        np.testing.assert_array_equal(image.pixels, VALUES[1].swapaxes(0, 1))


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_types_and_versions(tmp_path: Path, dtype: str, version: int) -> None:
    values = pixels(6, 5, dtype=dtype)
    write_lif(tmp_path / "a.lif", lif_image("one", "YX", values), version=version)
    image = read(tmp_path / "a.lif")
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.pixels, values[None])


@pytest.mark.parametrize("tags", [(1, 2, 3), (3, 2, 1)])
def test_colours_are_red_green_blue_whatever_their_order(tmp_path: Path, tags: tuple[int, ...]) -> None:
    values = pixels(6, 5, 3, dtype="u1")
    write_lif(tmp_path / "a.lif", lif_image("one", "YXC", values, tags=tags))
    image = read(tmp_path / "a.lif")
    order = [tags.index(tag) for tag in (1, 2, 3)]
    np.testing.assert_array_equal(image.pixels, np.moveaxis(values[..., order], -1, 0))
    assert [one.name for one in image.channels] == ["red", "green", "blue"]


def test_rows_that_are_padded(tmp_path: Path) -> None:
    wide = pixels(6, 8)
    xml, _ = lif_image("one", "YX", wide[:, :5])
    xml = xml.replace(f'Size="{wide[:, :5].nbytes}"', f'Size="{wide.nbytes}"')
    write_lif(tmp_path / "a.lif", (xml, wide.tobytes()))
    np.testing.assert_array_equal(read(tmp_path / "a.lif").pixels, wide[None, :, :5])


def test_images_and_tiles_of_a_mosaic_are_images(tmp_path: Path) -> None:
    tiles, other = pixels(3, 6, 5), pixels(2, 4, 4, dtype="u1")
    write_lif(tmp_path / "a.lif", lif_image("mosaic", "MYX", tiles), lif_image("spectrum", "LYX", other))
    found = find(tmp_path / "a.lif")
    assert [one.name for one in found] == ["a_0000", "a_0001", "a_0002", "a_0003"]
    for source, tile in zip(found, tiles, strict=False):
        np.testing.assert_array_equal(read(source).pixels, tile[None])
    np.testing.assert_array_equal(read(found[3]).pixels, other)  # wavelengths are channels


def test_what_is_no_image_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line, image = pixels(9, 5), pixels(6, 5)
    write_lif(tmp_path / "a.lif", lif_image("line", "TX", line), lif_image("one", "YX", image))
    [source] = find(tmp_path / "a.lif")
    np.testing.assert_array_equal(read(source).pixels, image[None])
    assert "its image 'line' is left out: it has no rows and columns but axes" in caplog.text
    write_lif(tmp_path / "b.lif", lif_image("line", "TX", line))
    with pytest.raises(ContractileError, match=r"b\.lif: its image 'line' is left out: .*; export the images"):
        find(tmp_path / "b.lif")


def test_a_file_without_images(tmp_path: Path) -> None:
    write_lif(tmp_path / "a.lif")
    with pytest.raises(ContractileError, match=r"a\.lif: holds no image; export the images from LAS X"):
        find(tmp_path / "a.lif")


def test_files_that_are_cut_off(stack: Path) -> None:
    data = stack.read_bytes()
    for length in (14, 300, len(data) - VALUES.nbytes - 50, len(data) - VALUES.nbytes, len(data) - 1):
        stack.write_bytes(data[:length])
        with pytest.raises(ContractileError, match=r"a\.lif: (unreadable or truncated|is cut off)"):
            read(find(stack)[0])


def test_missing_pixels_are_counted(stack: Path) -> None:
    data = stack.read_bytes()
    stack.write_bytes(data[: len(data) - VALUES.nbytes // 2])
    with pytest.raises(ContractileError, match=r"is cut off: 50% of its image 'one' are missing; copy the file again"):
        find(stack)
    head = data.index("MemBlock_0".encode("utf-16-le"), len(data) - VALUES.nbytes - 100)
    stack.write_bytes(data[: head - 18])
    with pytest.raises(ContractileError, match=r"is cut off: the pixels of its image 'one' are missing"):
        find(stack)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('NumberOfElements="6"', 'NumberOfElements="0"', "an axis Y of 0 elements"),
        ('NumberOfElements="6"', 'NumberOfElements="900000000"', r"is cut off: 100% of its image|lie over one another"),
        ('DimID="2"', 'DimID="1"', "an axis X of 5 elements"),
        ('Resolution="16"', 'Resolution="99"', "numbers of 99 bits"),
        ('DataType="0"', 'DataType="1"', "float16|unreadable"),
        ('BytesInc="10"', 'BytesInc="2"', "the elements along . lie over one another"),
        ('BytesInc="60"', 'BytesInc="-60"', "begins before its block|lie over one another"),
        ('DataType="0" ChannelTag="0" Resolution="16"', 'DataType="1" Resolution="8"', "floats of 8 bits"),
        ("<ChannelDescription ", "<Nothing ", "invalid|mismatched|truncated"),
        ("<Channels>", "<Nothing/></ImageDescription><Channels>", "mismatched"),
    ],
)
def test_metadata_that_lie(tmp_path: Path, old: str, new: str, what: str) -> None:
    xml, data = lif_image("one", "ZYX", pixels(3, 6, 5))
    assert old in xml
    write_lif(tmp_path / "a.lif", (xml.replace(old, new, 1), data))
    if new == 'DataType="1"':
        assert read(find(tmp_path / "a.lif")[0]).dtype == np.float16
        return
    with pytest.raises(ContractileError, match=what):
        find(tmp_path / "a.lif")


@pytest.mark.parametrize(
    "content", [b"Hello, this is text.", b"\x70\0\0\0\x09\0\0\0\x2a\xff\xff\xff\xff", bytes(range(1, 99))]
)
def test_other_content_under_the_suffix(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.lif").write_bytes(content)
    with pytest.raises(ContractileError, match=r"a\.lif: (is text|unreadable or truncated)"):
        find(tmp_path / "a.lif")


def test_entities_and_large_metadata_are_refused(tmp_path: Path) -> None:
    for text, what in (("<!DOCTYPE a><a/>", "document type"), ("<a>" * 5, "unreadable or truncated")):
        head = struct.pack("<iiBi", 0x70, 0, 0x2A, len(text)) + text.encode("utf-16-le")
        (tmp_path / "a.lif").write_bytes(head)
        with pytest.raises(ContractileError, match=what):
            find(tmp_path / "a.lif")
    (tmp_path / "a.lif").write_bytes(struct.pack("<iiBi", 0x70, 0, 0x2A, 2**30))
    with pytest.raises(ContractileError, match="bytes of metadata; at most"):
        find(tmp_path / "a.lif")


@pytest.mark.parametrize(
    ("axes", "shape", "tags"),
    [
        ("TZCYX", (2, 3, 2, 6, 5), ()),
        ("CZYX", (2, 3, 6, 5), ()),
        ("YXC", (6, 5, 3), (3, 2, 1)),
        ("YXC", (6, 5, 3), (1, 2, 3)),
    ],
)
def test_another_reader_sees_the_same(tmp_path: Path, axes: str, shape: tuple[int, ...], tags: tuple[int, ...]) -> None:
    liffile: Any = pytest.importorskip("liffile")
    write_lif(tmp_path / "a.lif", lif_image("one", axes, pixels(*shape, dtype="u1"), tags=tags))
    with liffile.LifFile(tmp_path / "a.lif") as file:
        other, sizes = file.images[0].asarray(), file.images[0].dims
    other = np.moveaxis(other, [sizes.index(axis) for axis in sizes if axis in "CS"], [-1])
    for number, source in enumerate(find(tmp_path / "a.lif")):
        ours = np.moveaxis(read(source).pixels, 0, -1)
        np.testing.assert_array_equal(ours, other.reshape(-1, *ours.shape)[number])
