"""Arrays that are stored in strips of whole lines, read region by region without decoding a strip for each region."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Region, as_slices

LINES = 512  # of a band, at least
HELD = 2**28  # bytes of the bands that stay in memory; one band may have more


class Bands:
    """An array whose axis `y` is cut into strips. Bands of strips are read whole, and the last ones are kept.

    Regions that lie beside each other need the same strips. Threads may read at once.
    """

    def __init__(self, array: Any, y: int) -> None:
        self.shape, self.dtype, self.ndim = tuple(array.shape), array.dtype, len(array.shape)
        self._array, self._y = array, y
        self._lines = array.chunks[y] * math.ceil(LINES / array.chunks[y])
        self._held: OrderedDict[Any, NDArray[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, region: Region) -> NDArray[Any]:
        slices, taken = as_slices(region, self.shape)
        front, lines, rest = slices[: self._y], slices[self._y], slices[self._y + 1 :]
        if lines.start >= lines.stop:
            return np.asarray(self._array[slices])[taken]
        numbers = range(lines.start // self._lines, math.ceil(lines.stop / self._lines))
        parts = []
        for number in numbers:
            first = number * self._lines
            low, high = max(lines.start, first) - first, min(lines.stop, first + self._lines) - first
            part: tuple[Any, ...] = (..., slice(low, high), *rest)
            parts.append(self._band(front, number)[part])
        joined = np.concatenate(parts, axis=self._y)
        steps: tuple[Any, ...] = (..., slice(None, None, lines.step), *(slice(None) for _ in rest))
        found: NDArray[Any] = joined[steps][taken]
        return found

    def _band(self, front: tuple[slice, ...], number: int) -> NDArray[Any]:
        """One band, whole along the axes behind `y`."""
        key = (number, *((part.start, part.stop, part.step) for part in front))
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            band = np.asarray(self._array[(*front, slice(number * self._lines, (number + 1) * self._lines))])
            self._held[key] = band
            while len(self._held) > 1 and sum(one.nbytes for one in self._held.values()) > HELD:
                self._held.popitem(last=False)
            return band
