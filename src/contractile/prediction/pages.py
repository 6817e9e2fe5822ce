"""The results of the pages of one file as one array, read region by region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Key, as_slices

Keys = Key | tuple[Key, ...]


class Pages:
    """Results of one shape, one after another along a new first axis: (P, ...)."""

    def __init__(self, pages: Sequence[Any]) -> None:
        self._pages = tuple(pages)
        self.shape, self.dtype = (len(self._pages), *self._pages[0].shape), np.dtype(self._pages[0].dtype)
        self.ndim = len(self.shape)

    def __getitem__(self, key: Keys) -> NDArray[Any]:
        slices, taken = as_slices(key, self.shape)
        out = np.empty([len(range(part.start, part.stop, part.step)) for part in slices], self.dtype)
        for place, page in enumerate(range(self.shape[0])[slices[0]]):
            out[place] = self._pages[page][slices[1:]]
        found: NDArray[Any] = out[taken]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


class Planes(Pages):
    """The planes of volumes, one after another: (Z, ...) each -> (P * Z, ...)."""

    def __init__(self, volumes: Sequence[Any]) -> None:
        super().__init__(volumes)
        self._depth = self.shape[1]
        self.shape = (self.shape[0] * self._depth, *self.shape[2:])
        self.ndim = len(self.shape)

    def __getitem__(self, key: Keys) -> NDArray[Any]:
        slices, taken = as_slices(key, self.shape)
        out = np.empty([len(range(part.start, part.stop, part.step)) for part in slices], self.dtype)
        wanted = range(self.shape[0])[slices[0]]
        for page in sorted({plane // self._depth for plane in wanted}):
            here = [place for place, plane in enumerate(wanted) if plane // self._depth == page]
            first, last = (wanted[here[end]] - page * self._depth for end in (0, -1))
            out[here] = self._pages[page][(slice(first, last + 1, slices[0].step), *slices[1:])]
        found: NDArray[Any] = out[taken]
        return found


class PlanesFirst:
    """Maps (K, Z, Y, X) with their first two axes exchanged."""

    def __init__(self, maps: Any) -> None:
        k, z, *plane = maps.shape
        self._maps, self.shape, self.dtype, self.ndim = maps, (z, k, *plane), np.dtype(maps.dtype), 4

    def __getitem__(self, key: Keys) -> NDArray[Any]:
        slices, taken = as_slices(key, self.shape)
        z, k, *plane = slices
        found: NDArray[Any] = np.swapaxes(self._maps[(k, z, *plane)], 0, 1)[taken]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)
