"""The letters of axes: given by somebody, named by the file, shown by the labels, or guessed and said."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from contractile.images import Source, find, grey_of, read, read_labels, settle_axes
from contractile.images.axes import guess_axes
from contractile.images.image import Stack


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


# shown by the labels --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "labels", "expected"),
    [
        ((2, 32, 28), (32, 28), "CYX"),
        ((32, 28, 5), (32, 28), "YXC"),
        ((20, 32, 28), (32, 28), "CYX"),
        ((3, 32, 28), (3, 32, 28), "QYX"),
        ((32, 28, 4), (32, 28, 4), "YXQ"),
        ((7, 2, 32, 28), (7, 32, 28), "QCYX"),
        ((2, 7, 32, 28), (7, 32, 28), "CQYX"),
        ((1, 2, 32, 28), (32, 28), "QCYX"),
        ((2, 32, 28), (1, 32, 28), "CYX"),
        ((2, 32, 28), (32, 27), None),
        ((2, 3, 32, 28), (32, 28), None),
    ],
)
def test_labels_settle_the_axes(
    tmp_path: Path, image: tuple[int, ...], labels: tuple[int, ...], expected: str | None
) -> None:
    np.save(tmp_path / "i.npy", numbered(*image))
    np.save(tmp_path / "l.npy", numbered(*labels))
    source, truth = find(tmp_path / "i.npy")[0], find(tmp_path / "l.npy")[0]
    settled = settle_axes(source, truth)
    assert settled == expected
    if settled:
        sources, truths = find(tmp_path / "i.npy", axes=settled), find(tmp_path / "l.npy", axes=settled)
        assert len(sources) == len(truths)
        assert [read(one).shape[1:] for one in sources] == [read_labels(one).shape for one in truths]


def test_axes_that_are_known_need_no_evidence(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "i.tif", numbered(2, 32, 28), metadata={"axes": "TYX"})
    tifffile.imwrite(tmp_path / "l.tif", numbered(32, 28))
    assert settle_axes(find(tmp_path / "i.tif")[0], find(tmp_path / "l.tif")[0]) is None


# stacks ---------------------------------------------------------------------------------------


def test_a_source_knows_its_stack(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(2, 3, 8, 9), imagej=True, metadata={"axes": "TZYX"})
    assert find(tmp_path)[4] == Source("a_0004", tmp_path / "a.tif", 4, None, Stack("TZ", (2, 3)))
    assert find(tmp_path, dims=3)[1].stack == Stack("T", (2,))


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
