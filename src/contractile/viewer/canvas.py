"""What a person has painted on one image: labels (Y, X) of any size, of which only painted tiles exist.

-1 is unknown, 0 background, every other number an object or a class.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from contractile.grid import shared

UNKNOWN = -1
TILE = 256
FEW = 2**16  # different labels that are counted without sorting them

Region = tuple[slice, slice]  # Y and X, with start and stop
Labels = NDArray[np.int32]
Key = tuple[int, int]  # the place of a tile among tiles


class Canvas:
    """Labels (Y, X) int32, read and written by region: `canvas[y0:y1, x0:x1]`. Unpainted pixels are -1.

    A tile that is all unknown does not exist; one of a single value takes no memory.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape, self.dtype, self.ndim = shape, np.dtype(np.int32), 2
        self._tiles: dict[Key, Labels] = {}
        self._where: dict[int, set[Key]] = {}  # number above 0 -> tiles that may hold it

    def __getitem__(self, region: Region) -> Labels:
        out = np.full([part.stop - part.start for part in region], UNKNOWN, np.int32)
        for key, here, there in self._overlaps(region):
            if key in self._tiles:
                out[there] = self._tiles[key][here]
        return out

    def __setitem__(self, region: Region, values: Labels) -> None:
        for key, here, there in self._overlaps(region):
            part = values[there]
            self._put(key, here, part)
            for number in tally(part)[0].tolist():
                if number > 0:
                    self._where.setdefault(number, set()).add(key)

    def sample(self, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Labels:
        """Labels (len(rows), len(columns)) where rows and columns cross; both ascend."""
        out = np.full((len(rows), len(columns)), UNKNOWN, np.int32)
        down, across = (_parts(places) for places in (rows, columns))
        few = len(down) * len(across) <= len(self._tiles)
        for key in itertools.product(down, across) if few else self._tiles:
            tile, y, x = self._tiles.get(key), down.get(key[0]), across.get(key[1])
            if tile is not None and y is not None and x is not None:
                out[y, x] = tile[np.ix_(rows[y] - key[0] * TILE, columns[x] - key[1] * TILE)]
        return out

    def tiles_of(self, number: int) -> list[Region]:
        """The regions of tiles that hold a number above 0, and maybe of some that held it."""
        return [self._region(key) for key in sorted(self._where.get(number, ())) if key in self._tiles]

    def find(self, number: int) -> Region | None:
        """The smallest region that holds all pixels of a number above 0; None where there are none."""
        found = []
        for key in sorted(self._where.get(number, ())):
            y, x = self._region(key)
            tile = self._tiles.get(key, np.empty((0, 0), np.int32))[: y.stop - y.start, : x.stop - x.start]
            places = np.argwhere(tile == number)
            if len(places):
                places = places + np.array(key) * TILE
                found.append((*places.min(axis=0).tolist(), *places.max(axis=0).tolist()))
            else:
                self._where[number].discard(key)
        if not found:
            return None
        top, left, bottom, right = zip(*found, strict=True)
        return slice(min(top), max(bottom) + 1), slice(min(left), max(right) + 1)

    def painted(self) -> Iterator[Region]:
        """The regions of tiles in which something is known, in scan order, cut at the border of the image."""
        return (self._region(key) for key in sorted(self._tiles))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not self._tiles

    def _put(self, key: Key, here: Region, part: Labels) -> None:
        whole = part.size == _area(self._region(key))
        if whole and (part == part[0, 0]).all():
            self._tiles[key] = np.broadcast_to(np.int32(part[0, 0]), (TILE, TILE))
        elif key not in self._tiles:
            self._tiles[key] = np.full((TILE, TILE), UNKNOWN, np.int32)
        elif not self._tiles[key].flags.writeable:
            self._tiles[key] = self._tiles[key].copy()
        tile = self._tiles[key]
        if tile.flags.writeable:
            tile[here] = part
        if (part == UNKNOWN).any() and (tile == UNKNOWN).all():
            del self._tiles[key]

    def _region(self, key: Key) -> Region:
        y, x = (slice(k * TILE, min((k + 1) * TILE, n)) for k, n in zip(key, self.shape, strict=True))
        return y, x

    def _overlaps(self, region: Region) -> Iterator[tuple[Key, Region, Region]]:
        """The tiles that a region touches: key, the part in the tile, the part in the region."""
        for part_y, part_x in itertools.product(*(_cuts(part) for part in region)):
            yield (part_y[0], part_x[0]), (part_y[1], part_x[1]), (part_y[2], part_x[2])


def tally(labels: Labels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The labels that occur, in order, and how many pixels each has. Sorting them all would take far longer."""
    if not labels.size:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    low, high = int(labels.min()), int(labels.max())
    if high - low > FEW:
        numbers, counts = np.unique(labels, return_counts=True)
        return numbers.astype(np.int64), counts.astype(np.int64)
    every = np.bincount((labels.ravel() - low).astype(np.intp))
    there = np.flatnonzero(every)
    return there.astype(np.int64) + low, every[there].astype(np.int64)


def _cuts(part: slice) -> list[tuple[int, slice, slice]]:
    """The tiles along one axis that a part touches: number, what lies in the tile, what lies in the part."""
    found = []
    for number in range(part.start // TILE, -(-part.stop // TILE)):
        low, high = max(part.start, number * TILE), min(part.stop, (number + 1) * TILE)
        here, there = (slice(low - start, high - start) for start in (number * TILE, part.start))
        found.append((number, here, there))
    return found


def _parts(places: NDArray[np.intp]) -> dict[int, slice]:
    """Number of a tile along one axis -> which of the ascending places lie in it."""
    numbers, starts = np.unique(places // TILE, return_index=True)
    stops = [*starts[1:].tolist(), len(places)]
    ends = zip(numbers.tolist(), starts.tolist(), stops, strict=True)
    return {number: slice(start, stop) for number, start, stop in ends}


def _area(region: Region) -> int:
    return int((region[0].stop - region[0].start) * (region[1].stop - region[1].start))


def overlap(one: Region, other: Region) -> Region | None:
    """The part that two regions share; None where they share nothing."""
    y, x = shared(one, other)
    return (y, x) if y.start < y.stop and x.start < x.stop else None


def middles(factor: tuple[float, float], region: Region) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows and columns of the full resolution in the middle of the pixels of a region of a level.

    Pixels of the level are `factor` (Y, X) times as large.
    """
    rows, columns = (
        np.floor((np.arange(part.start, part.stop) + 0.5) * step).astype(np.intp)
        for part, step in zip(region, factor, strict=True)
    )
    return rows, columns


def box(region: Region) -> tuple[int, int, int, int]:
    """A region as (y0, y1, x0, x1)."""
    y, x = region
    return int(y.start), int(y.stop), int(x.start), int(x.stop)
