"""A file of many pages stays open between one page and the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from contractile.images import Source, find, open_image, read


def numbered(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_a_stack_is_opened_once_for_all_its_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(tmp_path / name, numbered(20, 8, 9), compression="zlib")
    sources = find(tmp_path)
    opened: list[tifffile.TiffFile] = []
    closed: list[tifffile.TiffFile] = []
    open_one, close_one = tifffile.TiffFile.__init__, tifffile.TiffFile.close
    monkeypatch.setattr(
        tifffile.TiffFile, "__init__", lambda self, *a, **k: (opened.append(self), open_one(self, *a, **k))[1]
    )
    monkeypatch.setattr(tifffile.TiffFile, "close", lambda self: (closed.append(self), close_one(self))[1])
    for one, other in zip(sources[:20], sources[20:], strict=True):  # in turn, as images and labels are read
        np.testing.assert_array_equal(read(one).pixels, read(other).pixels)
    assert len(opened) == 2
    assert set(opened) <= set(closed)


def test_a_stack_that_was_written_again_is_opened_again(tmp_path: Path) -> None:
    for first in (0, 7):
        tifffile.imwrite(tmp_path / "a.tif", numbered(20, 8, 9) + first, compression="zlib")
        assert read(Source("a", tmp_path / "a.tif", 0)).pixels[0, 0, 0] == first


def test_two_readers_of_a_stack_do_not_share_it(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(20, 8, 9), compression="zlib")
    with open_image(Source("a", tmp_path / "a.tif", 0)) as one, open_image(Source("a", tmp_path / "a.tif", 1)) as other:
        assert one[0, 0, 0] == 0
        assert other[0, 0, 0] == 72
    with open_image(Source("a", tmp_path / "a.tif", 2)) as third:
        assert third[0, 0, 0] == 144
