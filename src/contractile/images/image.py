"""An image is sliced: its pixels are in memory, or on disk and read where they are sliced."""

from __future__ import annotations

from contextlib import ExitStack
from types import EllipsisType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Key = int | slice | EllipsisType
Region = Key | tuple[Key, ...]


class Pixels(Protocol):
    """(C, *S): an array, or something on disk that is sliced like one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, region: Any, /) -> NDArray[Any]: ...


class Image:
    """Pixels (C, *S) in the file's own type and range. `image[region]` is an array, read from disk if need be.

    `pixel_size_um` has one entry per axis of *S and is None where the file does not tell it. `np.asarray(image)` is
    `image.pixels`. An image on disk must be closed after use: put it in a `with` statement.
    """

    def __init__(
        self,
        name: str,
        pixels: Pixels,
        pixel_size_um: tuple[float, ...] | None = None,
        *,
        files: ExitStack | None = None,
    ) -> None:
        self.name, self.pixel_size_um = name, pixel_size_um
        self._pixels, self._files = pixels, files or ExitStack()

    @property
    def pixels(self) -> NDArray[Any]:
        """All of them (C, *S): the array itself where they are in memory, else a new one."""
        return self._pixels if isinstance(self._pixels, np.ndarray) else self._pixels[...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._pixels.shape

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._pixels.dtype

    def __getitem__(self, region: Region) -> NDArray[Any]:
        return self._pixels[region]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def close(self) -> None:
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def as_slices(region: Region, shape: tuple[int, ...]) -> tuple[list[slice], tuple[int | slice, ...]]:
    """A region -> one slice per axis, and the index that then removes the axes given by a number."""
    keys = list(region) if isinstance(region, tuple) else [region]
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    keys += [slice(None)] * (len(shape) - len(keys))
    if len(keys) != len(shape):
        raise IndexError(f"an image of shape {shape} takes at most {len(shape)} indices, got {len(keys)}")
    slices: list[slice] = []
    taken: list[int | slice] = []
    for one, length in zip(keys, shape, strict=True):
        if isinstance(one, slice):
            if one.step is not None and one.step < 1:
                raise IndexError(f"an image on disk is read in steps of at least 1, got {one.step}")
            slices.append(one)
            taken.append(slice(None))
            continue
        place = range(length)[one]  # type: ignore[index]
        slices.append(slice(place, place + 1))
        taken.append(0)
    return slices, tuple(taken)
