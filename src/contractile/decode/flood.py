"""Growing labels over an image, level by level; also over a part of it, from what lies around.

What a path from a seed costs is the highest level on it, then the number of steps that it took since it reached this
level. A pixel takes the label of the cheapest path that leads to it; of labels that reach it at the same cost, the
largest. So the result depends on the levels and the seeds alone: not on the order in which pixels are visited, and not
on how the image is cut into blocks, where blocks learn the costs at the faces of their neighbours.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.decode.kept import FREE, LEVELS


class Rim(NamedTuple):
    """What is known around a block, in arrays with one more pixel on every side: 0 and FREE where nothing is known."""

    owner: NDArray[np.int32]
    height: NDArray[np.int16]
    steps: NDArray[np.int32]

    def around(self, box: tuple[slice, ...]) -> Rim:
        """The same for a box in the block."""
        wide = tuple(slice(side.start, side.stop + 2) for side in box)
        return Rim(self.owner[wide], self.height[wide], self.steps[wide])


class Flooded(NamedTuple):
    """Labels (*S), and what the path to each pixel costs: the highest level on it, the steps since it was reached."""

    owner: NDArray[np.int32]
    height: NDArray[np.int16]
    steps: NDArray[np.int32]


def flood(levels: NDArray[np.int16], seeds: NDArray[np.int32], rim: Rim | None = None) -> Flooded:
    """The seeds (*S), grown over all pixels of `levels` (*S) >= 0 that they, or pixels of the `rim`, reach.

    Levels are -1 ... `LEVELS`. Pixels that nothing reaches have label 0 and height `FREE`. This is a watershed with one
    queue per level (Meyer 1991), so that time grows linearly with the pixels. Of two seeds at the same cost the larger
    number wins: `targets.find_cores` clears the later of two touching pixels, and a tie gives it back.
    """
    level, owner = np.pad(levels, 1, constant_values=-1), np.pad(seeds, 1)  # a border spares tests for it
    height = np.where(owner > 0, level, FREE).astype(np.int16)
    count = np.zeros(level.shape, np.int32)
    moves = [stride // owner.itemsize for stride in reversed(owner.strides)]
    around = np.array([move for stride in moves for move in (-stride, stride)])
    sources = np.zeros(0, np.int64)
    if rim is not None:
        sources = np.flatnonzero(rim.owner)
        known = [values.ravel()[sources] for values in rim]
        owner.flat[sources], height.flat[sources], count.flat[sources] = known
        sources = sources[np.lexsort((known[2], known[1]))]
    _grow(level.ravel(), owner.ravel(), height.ravel(), count.ravel(), (around, sources))
    inner = (slice(1, -1),) * owner.ndim
    return Flooded(owner[inner], height[inner], count[inner])


@compiled
def _grow(level: Any, owner: Any, height: Any, steps: Any, where: Any) -> None:
    """Flood flat arrays in place. `where`: moves to the neighbours of a pixel; pixels of the rim, cheapest first."""
    around, sources = where
    first, last = np.full(LEVELS + 1, -1, np.int32), np.full(LEVELS + 1, -1, np.int32)
    after = np.full(len(level), -1, np.int32)  # the next pixel in the queue of the same level
    for pixel in range(len(level)):
        if owner[pixel] > 0 and level[pixel] >= 0 and _can_grow(pixel, level, owner, around):
            _enqueue(pixel, level[pixel], first, last, after)
    source = 0
    for now in range(LEVELS + 1):
        while True:
            waits = source < len(sources) and height[sources[source]] == now
            if waits and (first[now] < 0 or steps[sources[source]] <= steps[first[now]]):
                pixel = sources[source]
                source += 1
            elif first[now] >= 0:
                pixel = first[now]
                first[now] = after[pixel]
            else:
                break
            _spread(pixel, now, (level, owner, height, steps), around, (first, last, after))


@compiled
def _spread(pixel: Any, now: Any, state: Any, around: Any, queues: Any) -> None:
    """Offer the label of a pixel to its neighbours. Pixels come in order of cost: no cheaper path comes later."""
    level, owner, height, steps = state
    first, last, after = queues
    for move in around:
        neighbour = pixel + move
        if neighbour < 0 or neighbour >= len(level) or level[neighbour] < 0:  # from the rim moves lead out
            continue
        reached = max(now, level[neighbour])
        count = steps[pixel] + 1 if reached == now else 1
        if owner[neighbour] == 0:
            owner[neighbour], height[neighbour], steps[neighbour] = owner[pixel], reached, count
            _enqueue(neighbour, reached, first, last, after)
        elif height[neighbour] == reached and steps[neighbour] == count:
            owner[neighbour] = max(owner[neighbour], owner[pixel])


@compiled
def _can_grow(pixel: Any, level: Any, owner: Any, around: Any) -> Any:
    """Whether a neighbour is free. Most labelled pixels lie inside their seed and need no place in a queue."""
    for move in around:
        neighbour = pixel + move
        if level[neighbour] >= 0 and owner[neighbour] == 0:
            return True
    return False


@compiled
def _enqueue(pixel: Any, level: Any, first: Any, last: Any, after: Any) -> None:
    if first[level] < 0:
        first[level] = pixel
    else:
        after[last[level]] = pixel
    last[level] = pixel
