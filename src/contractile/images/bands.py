"""Arrays that are stored in strips of whole lines, read region by region without decoding a strip for each region."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Region, as_slices, shared, within
from contractile.memory import free_memory

LINES = 128  # of a band, at least
HELD = 2**28  # bytes of the bands that stay in memory at first; one band may have more
SHARE = 4  # one part in so many of the free memory may be held where this is not enough

Place = tuple[int, ...]


class Bands:
    """An array whose axis `y` is cut into strips. Bands of strips are read whole, and the last ones are kept.

    Regions that lie beside each other need the same strips. A band lies in one plane, so that regions of some planes
    share it with regions of others. Threads may read at once.

    The blocks of one row of a very wide image need more bands than are kept. Where a band is wanted again soon after it
    had to go, more of them are kept, as far as memory is free.
    """

    def __init__(self, array: Any, y: int) -> None:
        self.shape, self.dtype, self.ndim = tuple(array.shape), array.dtype, len(array.shape)
        strip = array.chunks[y]
        self._array, self._unit = array, (*array.chunks[:y], strip * math.ceil(LINES / strip))
        self.chunks = (*self._unit, *self.shape[y + 1 :])  # a band
        self._held: OrderedDict[Place, NDArray[Any]] = OrderedDict()
        self._gone: OrderedDict[Place, None] = OrderedDict()  # the last bands that had to go, as many as are held
        self._most = HELD
        self._lock = threading.Lock()

    def __getitem__(self, region: Region) -> NDArray[Any]:
        slices, taken = as_slices(region, self.shape)
        wanted, rest = slices[: len(self._unit)], slices[len(self._unit) :]
        if any(part.start >= part.stop for part in slices):
            return np.asarray(self._array[slices])[taken]
        sizes = [part.stop - part.start for part in wanted]
        out = np.empty([*sizes, *(len(range(part.start, part.stop, part.step)) for part in rest)], self.dtype)
        pairs = zip(wanted, self._unit, strict=True)
        for place in product(*(range(part.start // unit, math.ceil(part.stop / unit)) for part, unit in pairs)):
            whole = self._region(place)
            both = shared(wanted, whole)
            out[within(both, wanted)] = self._band(place, whole)[(*within(both, whole), *rest)]
        found: NDArray[Any] = out[tuple(slice(None, None, part.step) for part in wanted)][taken]
        return found

    def _region(self, place: Place) -> tuple[slice, ...]:
        """Where a band is, along the axes up to `y`."""
        sides = zip(place, self._unit, self.shape[: len(place)], strict=True)
        return tuple(slice(number * unit, min((number + 1) * unit, size)) for number, unit, size in sides)

    def _band(self, place: Place, region: tuple[slice, ...]) -> NDArray[Any]:
        """One band, whole along the axes behind `y`."""
        with self._lock:
            if place in self._held:
                self._held.move_to_end(place)
                return self._held[place]
            band = np.asarray(self._array[region])
            self._keep(place, band)
            return band

    def _keep(self, place: Place, band: NDArray[Any]) -> None:
        """Keep a band; those that were not used for the longest time make room."""
        if place in self._gone:
            self._most = max(self._most, min(self._most + band.nbytes, free_memory() // SHARE))
        self._held[place] = band
        while len(self._held) > 1 and sum(one.nbytes for one in self._held.values()) > self._most:
            gone, _ = self._held.popitem(last=False)
            self._gone[gone] = None
        while len(self._gone) > len(self._held):
            self._gone.popitem(last=False)
