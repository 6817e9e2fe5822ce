"""Channels that lie in several places, as one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Pixels, Region, as_slices


class Channels:
    """Pixels (C, *S) of which each part has some channels, in order. A region is read of the parts that it needs."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self._parts = tuple(parts)
        self.shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        self.dtype: np.dtype[Any] = np.result_type(*(part.dtype for part in parts))
        self.ndim = len(self.shape)

    def __getitem__(self, region: Region) -> NDArray[Any]:
        slices, taken = as_slices(region, self.shape)
        lengths = (len(range(part.start, part.stop, part.step)) for part in slices)
        out, first, done = np.empty([*lengths], self.dtype), 0, 0
        for part in self._parts:
            own = [number - first for number in range(self.shape[0])[slices[0]] if 0 <= number - first < part.shape[0]]
            if own:
                channels = slice(own[0], own[-1] + 1, slices[0].step)
                out[done : done + len(own)] = part[(channels, *slices[1:])]
            first, done = first + part.shape[0], done + len(own)
        found: NDArray[Any] = out[taken]
        return found
