"""The letters of axes: given by somebody, named by the file, shown by the labels, or guessed and said."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import (
    Source,
    find,
    grey_of,
    open_image,
    read,
    read_labels,
    read_probabilities,
)
from contractile.images.axes import arrange, guess_axes
from contractile.images.image import Stack
from contractile.images.naming import Guess, check_axes
from contractile.images.notes import say_rest


def numbered(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """The warnings, as lines."""
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


# guessed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lengths", "dims", "array", "tiff", "labels"),
    [
        ((96, 80), 2, "YX", "YX", "YX"),
        ((96, 80, 2), 2, "YXC", "YXC", "YXQ"),
        ((96, 80, 5), 2, "YXC", "YXC", "YXQ"),
        ((96, 80, 16), 2, "YXC", "YXC", "YXQ"),
        ((96, 96, 20), 2, "YXQ", "QYX", "QYX"),
        ((600, 512, 40), 2, "QYX", "QYX", "QYX"),
        ((2, 96, 80), 2, "CYX", "QYX", "QYX"),
        ((5, 96, 80), 2, "QYX", "QYX", "QYX"),
        ((96, 80, 1), 2, "YXC", "YXC", "YXC"),
        ((9, 96, 80, 3), 2, "QYXC", "QYXC", "QYXQ"),
        ((9, 3, 96, 80), 2, "QCYX", "QQYX", "QQYX"),
        ((3, 9, 96, 80), 2, "CQYX", "QQYX", "QQYX"),
        ((1, 1, 96, 80, 1), 2, "QQYXC", "QQYXC", "QQYXC"),
        ((96, 80, 1, 1), 2, "YXQC", "YXQC", "YXQC"),
        ((96, 80, 1, 5), 2, "YXQC", "YXQC", "YXQQ"),
        ((100, 2, 1, 512), 2, "QCYX", "QQYX", "QQYX"),
        ((9, 96, 80), 3, "ZYX", "ZYX", "ZYX"),
        ((96, 96, 9), 3, "YXZ", "YXZ", "YXZ"),
        ((2, 30, 96, 80), 3, "CZYX", "QZYX", "QZYX"),
        ((30, 2, 96, 80), 3, "ZCYX", "QZYX", "QZYX"),
        ((30, 96, 80, 3), 3, "ZYXC", "ZYXC", "ZYXQ"),
    ],
)
def test_a_guess_by_shape(lengths: tuple[int, ...], dims: int, array: str, tiff: str, labels: str) -> None:
    assert guess_axes(lengths, dims=dims, file="f") == array
    assert guess_axes(lengths, dims=dims, file="f", pages_first=True) == tiff
    assert guess_axes(lengths, dims=dims, file="f", labels=True) == labels


def test_channels_behind_are_one_image_in_every_format(tmp_path: Path, said: Any) -> None:
    tifffile.imwrite(tmp_path / "two.tif", numbered(32, 28, 2))
    np.save(tmp_path / "five.npy", numbered(32, 28, 5))
    for name, channels in (("two.tif", 2), ("five.npy", 5)):
        (source,) = find(tmp_path / name)
        np.testing.assert_array_equal(read(source).pixels, np.moveaxis(numbered(32, 28, channels), -1, 0))
    assert said() == [
        "two.tif: shape (32, 28, 2) is read as Y, X and 2 channels; --axes YXQ reads it as 2 pages of Y, X",
        "five.npy: shape (32, 28, 5) is read as Y, X and 5 channels; --axes YXQ reads it as 5 pages of Y, X",
    ]


def test_a_guess_is_said_once_for_all_files_alike(tmp_path: Path, said: Any) -> None:
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", numbered(32, 28, 5))
    np.save(tmp_path / "d.npy", numbered(9, 32, 28))
    np.save(tmp_path / "e.npy", numbered(32, 28))
    find(tmp_path, quiet=True)
    find(tmp_path / "e.npy")
    assert not said()
    find(tmp_path)
    assert said() == [
        "a.npy and 2 more: shape (32, 28, 5) is read as Y, X and 5 channels; --axes YXQ reads it as 5 pages of Y, X",
        "d.npy: shape (9, 32, 28) is read as 9 pages of Y, X; --axes CYX reads it as Y, X and 9 channels",
    ]


def test_a_guess_is_said_when_a_path_is_read(tmp_path: Path, said: Any) -> None:
    np.save(tmp_path / "a.npy", numbered(2, 32, 28))
    for _ in range(2):
        assert read(tmp_path / "a.npy").shape == (2, 32, 28)
    assert said() == ["a.npy: shape (2, 32, 28) is read as Y, X and 2 channels; --axes QYX reads it as 2 pages of Y, X"]


def test_a_volume_says_what_is_depth(tmp_path: Path, said: Any) -> None:
    np.save(tmp_path / "a.npy", numbered(32, 28, 5))
    np.testing.assert_array_equal(read(tmp_path / "a.npy", dims=3).pixels[0], np.moveaxis(numbered(32, 28, 5), -1, 0))
    assert said() == ["a.npy: shape (32, 28, 5) is read as Y, X, Z; --axes ZYX reads it as Z, Y, X"]


def test_what_cannot_be_meant_otherwise_is_not_said(tmp_path: Path, said: Any) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(30, 32, 28))
    tifffile.imwrite(tmp_path / "b.tif", numbered(2, 32, 28), metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "c.tif", numbered(32, 28, 3), photometric="rgb")
    np.save(tmp_path / "d.npy", numbered(32, 28, 1))
    assert len(find(tmp_path)) == 33
    assert not said()


# given ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axes", "dims", "pages", "expected"),
    [
        ((32, 28, 5), "YXC", 2, 1, (5, 32, 28)),
        ((32, 28, 5), "yxq", 2, 5, (1, 32, 28)),
        ((32, 28, 5), "QYX", 2, 32, (1, 28, 5)),
        ((2, 32, 28), "CYX", 2, 1, (2, 32, 28)),
        ((2, 32, 28), "TYX", 2, 2, (1, 32, 28)),
        ((3, 32, 28), "ZYX", 3, 1, (1, 3, 32, 28)),
        ((3, 2, 32, 28), "CTYX", 2, 2, (3, 32, 28)),
        ((3, 2, 32, 28), "ZCYX", 3, 1, (2, 3, 32, 28)),
        ((5, 3, 2, 6, 7), "TZCYX", 2, 15, (2, 6, 7)),
        ((28, 32), "XY", 2, 1, (1, 32, 28)),
        ((32, 28), "YXC", 2, 1, (1, 32, 28)),
        ((2, 32, 28), "TCYX", 2, 1, (2, 32, 28)),
        ((9, 32, 28), "TCYX", 2, 9, (1, 32, 28)),
        ((32, 28), "TZCYX", 2, 1, (1, 32, 28)),
        ((1, 32, 28, 3, 1), "YXC", 2, 1, (3, 32, 28)),
    ],
)
def test_axes_given_win(
    tmp_path: Path, shape: tuple[int, ...], axes: str, dims: int, pages: int, expected: tuple[int, ...], said: Any
) -> None:
    np.save(tmp_path / "a.npy", numbered(*shape))
    sources = find(tmp_path / "a.npy", dims=dims, axes=axes)
    assert (len(sources), read(sources[0], dims=dims).shape) == (pages, expected)
    assert not said()
    if len(shape) == len(axes):
        tifffile.imwrite(tmp_path / "a.tif", numbered(*shape), photometric="minisblack")
        sources = find(tmp_path / "a.tif", dims=dims, axes=axes)
        assert (len(sources), read(sources[0], dims=dims).shape) == (pages, expected)


def test_axes_given_reach_pixels_labels_and_probabilities(tmp_path: Path) -> None:
    values = (numbered(4, 6, 2) % 2).astype(np.float32)
    np.save(tmp_path / "a.npy", values)
    expected = np.moveaxis(values, -1, 0)
    np.testing.assert_array_equal(read(tmp_path / "a.npy", axes="YXC").pixels, expected)
    np.testing.assert_array_equal(read_probabilities(tmp_path / "a.npy", axes="YXC"), expected)
    page = Source("a", tmp_path / "a.npy", 1, axes="YXQ")
    np.testing.assert_array_equal(read_labels(page), expected[1])
    with open_image(tmp_path / "a.npy", axes="YXC") as stored:
        np.testing.assert_array_equal(stored[1, 2:], expected[1, 2:])


def test_axes_given_win_over_the_file_that_names_them(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(2, 32, 28), metadata={"axes": "TYX"})
    assert len(find(tmp_path / "a.tif")) == 2
    assert read(tmp_path / "a.tif", axes="CYX").shape == (2, 32, 28)


@pytest.mark.parametrize(("axes", "shape"), [("CYX", (3, 32, 28)), ("TZCYX", (3, 32, 28)), ("YXC", (3, 32, 28))])
def test_files_that_know_their_colours_keep_them(tmp_path: Path, axes: str, shape: tuple[int, ...]) -> None:
    colour = numbered(32, 28, 3, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", colour, photometric="rgb")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colour))
    for name in ("a.tif", "a.png"):
        assert read(tmp_path / name, axes=axes).shape == shape


def test_a_file_with_more_named_axes_than_were_given_keeps_its_own(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", numbered(4, 2, 32, 28), ome=True, metadata={"axes": "TCYX"})
    assert [read(one).shape for one in find(tmp_path, axes="CYX")] == [(2, 32, 28)] * 4


def test_transparency_is_left_out_unless_the_axes_make_pages_of_it(tmp_path: Path) -> None:
    pixels = numbered(32, 28, 4, dtype="uint8")
    pixels[..., 3] = 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert read(tmp_path / "a.tif", axes="YXC").shape == (3, 32, 28)
    assert len(find(tmp_path / "a.tif", axes="YXQ")) == 4


@pytest.mark.parametrize("axes", ["YC", "YXX", "YXCS", "Y-X", "", "TTYX"])
def test_axes_that_are_none(tmp_path: Path, axes: str) -> None:
    np.save(tmp_path / "a.npy", numbered(8, 9))
    for use in (find, read):
        with pytest.raises(ContractileError, match=rf"axes must hold one Y, one X, .* got '{axes}'; give one letter"):
            use(tmp_path / "a.npy", axes=axes)


def test_axes_that_do_not_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(3, 4, 8, 9))
    message = (
        r"a\.npy: axes YXC must name each axis of the array, which has shape \(3, 4, 8, 9\); give 4 letters, such as"
    )
    with pytest.raises(ContractileError, match=message):
        find(tmp_path / "a.npy", axes="YXC")
    tifffile.imwrite(tmp_path / "a.tif", numbered(3, 2, 8, 9), metadata={"axes": "TZYX"})
    with pytest.raises(ContractileError, match=r"shape \(3, 2, 8, 9\) and axes TZYX of its own; give 4 letters"):
        find(tmp_path / "a.tif", axes="YXC")


# whatever the shape ----------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=2, max_size=4), st.sampled_from([2, 3]), st.booleans(), st.booleans())
def test_a_guess_has_a_letter_for_each_axis_and_makes_an_image(
    lengths: list[int], dims: int, pages_first: bool, labels: bool
) -> None:
    shape = tuple(lengths) if dims == 2 else (5, *lengths)
    axes = guess_axes(shape, dims=dims, file="f", pages_first=pages_first, labels=labels)
    layout = arrange(axes, shape, dims=dims, file="f")
    assert layout.pages * np.prod(layout.shape) == np.prod(shape)
    assert not labels or layout.shape[0] == 1
    assert check_axes(axes) == axes
    guess = Guess(shape, axes)
    other = arrange(guess.other, shape, dims=dims, file="f")
    assert not guess.is_open or (other.pages, other.shape) != (layout.pages, layout.shape)


# stacks ---------------------------------------------------------------------------------------


def test_a_source_knows_its_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(2, 3, 8, 9), imagej=True, metadata={"axes": "TZYX"})
    assert find(tmp_path)[4] == Source("a_0004", tmp_path / "a.tif", 4, None, Stack("TZ", (2, 3)))
    assert find(tmp_path, dims=3)[1].stack == Stack("T", (2,))


def test_a_stack_without_names_and_several_images_in_a_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(30, 8, 9))
    assert find(tmp_path / "a.tif")[7].stack == Stack("Q", (30,))
    tifffile.imwrite(tmp_path / "b.tif", numbered(8, 9))
    assert find(tmp_path / "b.tif")[0].stack is None
    with tifffile.TiffWriter(tmp_path / "c.tif") as writer:
        for _ in range(2):
            writer.write(numbered(3, 8, 9), photometric="minisblack", metadata={"axes": "TYX"})
    assert [one.stack for one in find(tmp_path / "c.tif")] == [Stack("QT", (2, 3))] * 6
    with tifffile.TiffWriter(tmp_path / "d.tif") as writer:
        for side in (8, 9):
            writer.write(numbered(side, 9))
    assert [one.stack for one in find(tmp_path / "d.tif")] == [None, None]


# grey pictures --------------------------------------------------------------------------------


def test_three_equal_channels_are_one() -> None:
    grey = numbered(20, 30)
    for pixels in (np.stack([grey] * 3), np.stack([grey, grey, grey, np.full_like(grey, 255)])):
        found = grey_of(pixels)
        assert found is not None
        np.testing.assert_array_equal(found, grey[None])
    changed = np.stack([grey] * 3)
    changed[1, 5, 5] += 1
    assert grey_of(changed) is None
    assert grey_of(np.stack([grey] * 4)) is None
    assert grey_of(np.stack([grey] * 2)) is None
    assert grey_of(grey[None]) is None


# pictures, whose axes are known ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "axes", "fits"),
    [
        (1, "YX", True),
        (1, "YXC", True),
        (1, "CYX", True),
        (1, "TZCYX", True),
        (1, "ZYX", True),
        (3, "YXC", True),
        (3, "CYX", True),
        (3, "TCYX", True),
        (3, "YX", True),
        (1, "XY", False),
        (3, "YXQ", False),
        (3, "TYX", False),
        (3, "CXY", False),
    ],
)
def test_axes_that_do_not_fit_a_picture_are_said(
    tmp_path: Path, samples: int, axes: str, fits: bool, said: Any
) -> None:
    pixels = numbered(6, 8, 3, dtype="uint8") if samples == 3 else numbered(6, 8, dtype="uint8")
    for name in "ab":
        (tmp_path / f"{name}.png").write_bytes(imagecodecs.png_encode(pixels))
    for source in find(tmp_path, axes=axes):
        assert read(source).shape == (samples, 6, 8)
    say_rest(tmp_path.iterdir())
    own = "YX" if samples == 1 else "YXS"
    line = f"axes {axes} do not fit a picture, whose axes are {own}: it is read by its own"
    assert said() == ([] if fits else [f"a.png: {line}", f"b.png, too: {line}"])
