"""An image is sliced. Its pixels are in memory, or on disk and read region by region."""

from __future__ import annotations

from contextlib import ExitStack
from types import EllipsisType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Key = int | slice | EllipsisType
Region = Key | tuple[Key, ...]
Shape = tuple[int, ...]
Size = tuple[float, ...] | None  # of a pixel


class Pixels(Protocol):
    """(C, *S): an array, or something on disk that is sliced like one."""

    @property
    def shape(self) -> Shape: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, region: Any, /) -> NDArray[Any]: ...


class Image:
    """Pixels (C, *S) in the type and range of their file. `image[region]` is an array, read from disk if need be.

    `pixel_size_um` has one entry per axis of *S; it is None where the file does not give it. `np.asarray(image)` is
    `image.pixels`. An image on disk must be closed after use: put it into a `with` statement.
    """

    def __init__(self, name: str, pixels: Pixels, pixel_size_um: Size = None, *, file: ExitStack | None = None) -> None:
        self.name, self.pixel_size_um = name, pixel_size_um
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, len(pixels.shape)
        self._pixels, self._file = pixels, file or ExitStack()

    @property
    def pixels(self) -> NDArray[Any]:
        """The whole image (C, *S): the array itself where it is in memory, else a new array."""
        return self._pixels if isinstance(self._pixels, np.ndarray) else self._pixels[...]

    def __getitem__(self, region: Region) -> NDArray[Any]:
        return self._pixels[region]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def as_slices(region: Region, shape: Shape) -> tuple[list[slice], tuple[int | slice, ...]]:
    """A region of `shape` -> one slice per axis, and the index that then removes the axes given by a number.

    The slices have absolute bounds: they never reach beyond `shape`.
    """
    keys = [*region] if isinstance(region, tuple) else [region]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at = keys.index(Ellipsis)
    keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    if len(keys) != len(shape):
        raise IndexError(f"an image of shape {shape} takes at most {len(shape)} indices, got {len(keys)}")
    slices: list[slice] = []
    for key, length in zip(keys, shape, strict=True):
        if not isinstance(key, slice):
            place = range(length)[key]  # type: ignore[index]
            key = slice(place, place + 1)
        elif key.step is not None and key.step < 1:
            raise IndexError(f"an image on disk is read in steps of at least 1, got {key.step}")
        slices.append(slice(*key.indices(length)))
    return slices, tuple(slice(None) if isinstance(key, slice) else 0 for key in keys)
