"""Channels that lie in several places, as one image; a grey picture that is stored as colour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Pixels, Region, as_slices

COLOURS = (3, 4)  # channels of a colour picture without and with transparency
STEP = 7  # pixels between those that are compared first


class Channels:
    """Pixels (C, *S) of which each part has some channels, in order. A region is read of the parts that it needs."""

    def __init__(self, parts: Sequence[Pixels]) -> None:
        self._parts = tuple(parts)
        self.shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
        self.dtype: np.dtype[Any] = np.result_type(*(part.dtype for part in parts))
        self.ndim = len(self.shape)
        units = [getattr(part, "unit", ()) for part in parts]
        self.unit = tuple(max(one) for one in zip(*filter(None, units), strict=True)) or (1,) * (self.ndim - 1)

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


def grey_of(pixels: NDArray[Any]) -> NDArray[Any] | None:
    """The one channel (1, *S) of a grey picture (3, *S) that was stored as colour: its three channels are equal.

    A fourth channel of a single value, transparency that hides nothing, does not count. None for any other image.
    """
    if len(pixels) not in COLOURS:
        return None
    colour = [pixels[0], pixels[1], pixels[2]]
    thin = (slice(None, None, STEP),) * (pixels.ndim - 1)
    for part in (thin, ...):  # a few pixels first: most colour pictures show there what they are
        if not all(np.array_equal(colour[0][part], other[part]) for other in colour[1:]):
            return None
    if len(pixels) == 4 and pixels[3].size and pixels[3].min() != pixels[3].max():
        return None
    return pixels[:1]
