"""ND2 of Nikon: loops become axes, positions images; planes that are missing are said; damaged files give one line."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from makers_files import ND2_MAP, pixels, write_nd2

from contractile.errors import ContractileError
from contractile.images import find, limited, open_image, read

nd2: Any = pytest.importorskip("nd2")
VALUES = pixels(2, 3, 4, 6, 5, 2)  # T, P, Z, Y, X, C


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    write_nd2(tmp_path / "a.nd2", VALUES, "TPZ")
    return tmp_path / "a.nd2"


def test_positions_are_images_and_times_pages(stack: Path) -> None:
    found = find(stack, dims=3)
    assert [source.name for source in found] == [f"a_{number:04d}" for number in range(6)]
    assert found[0].stack is not None
    assert (found[0].stack.axes, found[0].stack.lengths, found[0].stack.interval_s) == ("QT", (3, 2), 5.0)
    for number, source in enumerate(found):
        position, time = divmod(number, 2)
        with open_image(source, dims=3) as image:
            assert image.dtype == np.uint16
            assert image.pixel_size_um == pytest.approx((1.5, 0.25, 0.25))
            assert [(one.name, one.colour) for one in image.channels] == [("dye 0", "FF0000"), ("dye 1", "00FF00")]
            np.testing.assert_array_equal(image.pixels, np.moveaxis(VALUES[time, position], -1, 0))
            np.testing.assert_array_equal(image[1, 1:3, 2:5, ::2], VALUES[time, position, 1:3, 2:5, ::2, 1])


def test_planes_are_images(stack: Path) -> None:
    found = find(stack)
    assert len(found) == 24
    np.testing.assert_array_equal(read(found[9]).pixels, np.moveaxis(VALUES[0, 1, 1], -1, 0))
    np.testing.assert_array_equal(read(found[13]).pixels, np.moveaxis(VALUES[1, 1, 1], -1, 0))


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_types_and_compression(tmp_path: Path, dtype: str, compressed: bool) -> None:
    values = pixels(3, 6, 5, 1, dtype=dtype)
    write_nd2(tmp_path / "a.nd2", values, "T", compressed=compressed)
    found = find(tmp_path / "a.nd2")
    for source, plane in zip(found, values, strict=True):
        assert read(source).dtype == np.dtype(dtype)
        np.testing.assert_array_equal(read(source).pixels[0], plane[..., 0])


def test_one_plane_of_colours(tmp_path: Path) -> None:
    values = pixels(6, 5, 3, dtype="u1")
    write_nd2(tmp_path / "a.nd2", values, "")
    [source] = find(tmp_path / "a.nd2")
    np.testing.assert_array_equal(read(source).pixels, np.moveaxis(values, -1, 0))


def test_a_line_of_pixels(tmp_path: Path) -> None:
    values = pixels(2, 1, 5, 2)
    write_nd2(tmp_path / "a.nd2", values, "T")
    np.testing.assert_array_equal(read(find(tmp_path / "a.nd2")[1]).pixels, np.moveaxis(values[1], -1, 0))


def test_without_calibration_nothing_is_known(tmp_path: Path) -> None:
    write_nd2(tmp_path / "a.nd2", pixels(6, 5, 2), "", step_um=None)
    assert read(tmp_path / "a.nd2").pixel_size_um is None


def test_metadata_that_the_library_does_not_know(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_nd2(tmp_path / "a.nd2", pixels(6, 5, 2), "", probe=False)
    image = read(tmp_path / "a.nd2")
    np.testing.assert_array_equal(image.pixels, np.moveaxis(pixels(6, 5, 2), -1, 0))
    if image.pixel_size_um is None:  # some versions of the library stumble over a channel without a dye
        assert "its pixel size and channels are not read (UnboundLocalError in its metadata)" in caplog.text


def test_planes_that_were_never_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = pixels(3, 6, 5, 2)
    write_nd2(tmp_path / "a.nd2", values, "T", leave_out=[1])
    with pytest.raises(ContractileError, match=r"a\.nd2: 1 of its 3 planes are missing .*; copy.*--allow-missing"):
        find(tmp_path / "a.nd2")
    with limited(missing=True):
        found = find(tmp_path / "a.nd2")
        assert not read(found[1]).pixels.any()
        np.testing.assert_array_equal(read(found[2]).pixels, np.moveaxis(values[2], -1, 0))
    assert "1 of its 3 planes are missing (an acquisition that was stopped?); 0 is read in their place" in caplog.text


def test_files_that_are_cut_off(stack: Path) -> None:
    data = stack.read_bytes()
    for length in [5, 60, 120, 5000, *range(9000, len(data), 9973), len(data) - 1]:
        stack.write_bytes(data[:length])
        with pytest.raises(ContractileError, match=r"a\.nd2: unreadable or truncated \(.*\); copy the file again"):
            find(stack)


def test_the_map_at_the_end(stack: Path) -> None:
    data = stack.read_bytes()
    for content, what in (
        (data[:-1], "which is the end of the file, is missing"),
        (data[:50], "the file ends too early"),
    ):
        stack.write_bytes(content)
        with pytest.raises(ContractileError, match=what):
            find(stack)


@pytest.mark.parametrize(
    ("back", "value", "what"),
    [
        (8, struct.pack("<Q", 2**60), "the map of its parts lies beyond its end"),
        (8, struct.pack("<Q", 77), "no map of its parts where it should be"),
    ],
)
def test_a_map_elsewhere(stack: Path, back: int, value: bytes, what: str) -> None:
    data = stack.read_bytes()
    stack.write_bytes(data[: len(data) - back] + value)
    with pytest.raises(ContractileError, match=what):
        find(stack)


def test_a_map_without_an_end(stack: Path) -> None:
    data = stack.read_bytes()
    place = data.index(ND2_MAP)
    stack.write_bytes(data[:place] + b"a" * len(ND2_MAP) + data[place + len(ND2_MAP) :])
    with pytest.raises(ContractileError, match="the map of its parts is cut off"):
        find(stack)


def replaced(path: Path, name: str, old: int, new: int) -> None:
    """Another number behind a name in the tables of a file."""
    data = path.read_bytes()
    place = data.index(name.encode("utf-16-le") + b"\0\0") + 2 * len(name) + 2
    assert data[place : place + 4] == struct.pack("<I", old)
    path.write_bytes(data[:place] + struct.pack("<I", new) + data[place + 4 :])


def test_huge_planes_are_refused(stack: Path) -> None:
    replaced(stack, "uiHeight", 6, 2**31)
    with pytest.raises(ContractileError, match="a plane has 2147483648 x 5 pixels; at most"):
        find(stack)


def test_planes_without_rows(stack: Path) -> None:
    replaced(stack, "uiHeight", 6, 0)
    with pytest.raises(ContractileError, match="its planes are said to have the shape"):
        find(stack)


def test_the_old_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.nd2").write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
    with pytest.raises(ContractileError, match=r"old kind \(JPEG 2000\), which is not read; save it again"):
        find(tmp_path / "a.nd2")


def test_other_content_under_the_suffix(tmp_path: Path) -> None:
    for content in (b"Hello, this is text.", b"\xda\xce\xbe\x0a" + b"a" * 200, bytes(range(1, 99))):
        (tmp_path / "a.nd2").write_bytes(content)
        with pytest.raises(ContractileError, match=r"a\.nd2: (is text|unreadable or truncated)"):
            find(tmp_path / "a.nd2")


def test_without_the_library_its_line_is_named(stack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nd2", None)
    for where in (stack, stack.parent, stack.parent / "*.nd2"):
        with pytest.raises(
            ContractileError,
            match=r"a\.nd2: \.nd2 is read by the extra nd2, which is not installed; pip install 'contractile\[nd2\]'",
        ):
            find(where)
