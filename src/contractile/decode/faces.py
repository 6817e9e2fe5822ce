"""The faces between blocks: which sides of a block have a neighbour, and what belongs together across them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Mosaic

Side = tuple[int, int]  # axis, and 0 for its beginning or -1 for its end


def sides(mosaic: Mosaic, number: int) -> list[Side]:
    """The sides of a block at which another block lies."""
    places = np.unravel_index(number, mosaic.counts)
    low = [(axis, 0) for axis, place in enumerate(places) if place > 0]
    return [*low, *((axis, -1) for axis, place in enumerate(places) if place < mosaic.counts[axis] - 1)]


def neighbours(mosaic: Mosaic) -> Iterator[tuple[int, int, int]]:
    """(block, next block, axis) of each face between two blocks."""
    for one in range(len(mosaic)):
        for axis in range(len(mosaic.shape)):
            other = mosaic.after(one, axis)
            if other is not None:
                yield one, other, axis


def pairs(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs (2, n) of numbers, each pair once."""
    return np.unique(np.stack([one, other]), axis=1)


def sums(lengths: Iterable[int]) -> NDArray[np.int64]:
    """How many come before each one."""
    ends = np.cumsum([0, *lengths])
    return np.asarray(ends[:-1], np.int64)


def groups(together: list[NDArray[np.int64]], count: int) -> NDArray[np.int32]:
    """For each of the things 1 ... count the number of its group, where pairs (2, n) of them belong `together`."""
    if not together:
        return np.arange(count, dtype=np.int32)
    from scipy.sparse import coo_array  # slow to load, and small images are one block
    from scipy.sparse.csgraph import connected_components

    both = np.concatenate([np.ones((2, 0), np.int64), *together], axis=1) - 1
    graph = coo_array((np.ones(both.shape[1], bool), tuple(both)), shape=(count, count))
    found: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return found
