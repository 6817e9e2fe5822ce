"""Arrays that their files give part by part, most often plane by plane: only parts that a region touches are read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Region, as_slices

Place = tuple[int, ...]


class Planewise:
    """An array (*outer, *plane). `read(place)` gives the plane at a place of the outer axes: anything that is sliced.

    What `read` gave last is kept, since regions that lie beside each other need the same. It may be longer than `plane`
    along some axes; what is behind is not read. `chunk` is what is read of it at once; None means all. Threads may
    read: one at a time calls `read`.
    """

    def __init__(
        self,
        outer: Place,
        plane: Place,
        dtype: np.dtype[Any],
        read: Callable[[Place], Any],
        chunk: Place | None = None,
    ) -> None:
        self.shape, self.dtype = (*outer, *plane), dtype
        self.chunks = (*(1 for _ in outer), *(chunk or plane))
        self._outer, self._read = len(outer), read
        self._last: tuple[Place, Any] | None = None
        self._lock = threading.Lock()

    def __getitem__(self, region: Region) -> NDArray[Any]:
        parts, taken = as_slices(region, self.shape)
        outer, inner = parts[: self._outer], parts[self._outer :]
        places = [range(part.start, part.stop, part.step) for part in outer]
        sizes = [*map(len, places), *(len(range(part.start, part.stop, part.step)) for part in inner)]
        found = np.empty(sizes, self.dtype)
        for index in np.ndindex(*sizes[: self._outer]):
            place = tuple(along[number] for along, number in zip(places, index, strict=True))
            found[index] = self._plane(place)[inner]
        part: NDArray[Any] = found[taken]
        return part

    def forget(self) -> None:
        """Let the last plane go: it may be a view of a file that is about to be closed."""
        with self._lock:
            self._last = None

    def _plane(self, place: Place) -> Any:
        with self._lock:
            if self._last is None or self._last[0] != place:
                self._last = None  # before the next one takes memory, too
                self._last = (place, self._read(place))
            return self._last[1]
