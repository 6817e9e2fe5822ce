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
from contractile.decode.survey import Pieces


class Rim(NamedTuple):
    """What is known around a box, in arrays with one more pixel on every side: 0 and FREE where nothing is known."""

    owner: NDArray[np.int32]
    height: NDArray[np.int16]
    steps: NDArray[np.int32]


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


def flood_parts(
    level: NDArray[np.int16], parts: Pieces, seeds: NDArray[np.int32], chosen: NDArray[np.intp]
) -> NDArray[np.int32]:
    """The numbers of the parts (*B) of a block, but the `chosen` ones are flooded from their seeds.

    There a label is the number of a seed, after those of all parts. Each part is flooded in its box, as `flood` does,
    which is quicker than the whole block.
    """
    labels = parts.numbers.copy()
    room = (1,) * (3 - labels.ndim) + labels.shape  # (Z, Y, X)
    boxes = np.zeros((parts.count, 2, 3), np.int64)
    boxes[:, 1] = 1
    boxes[:, :, 3 - labels.ndim :] = parts.boxes
    inputs = level.reshape(room), parts.numbers.reshape(room), seeds.reshape(room)
    _flood_parts(inputs, labels.reshape(room), boxes, chosen, parts.count)
    return labels


@compiled
def _flood_parts(inputs: Any, labels: Any, boxes: Any, chosen: Any, shift: Any) -> None:
    """Flood parts one by one, each in a copy of its box with one more pixel on every side that the block has."""
    levels, parts, seeds = inputs
    front = 1 if parts.shape[0] > 1 else 0
    for part in chosen:
        low, high = boxes[part - 1]
        size = high - low + 2
        size[0] += 2 * front - 2
        level, owner = np.full(size.prod(), -1, np.int16), np.zeros(size.prod(), np.int32)
        corner = low - 1
        corner[0] += 1 - front
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                start = ((z - corner[0]) * size[1] + y - corner[1]) * size[2] - corner[2]
                for x in range(low[2], high[2]):
                    if parts[z, y, x] == part:
                        level[start + x], owner[start + x] = levels[z, y, x], seeds[z, y, x]
        height = np.where(owner > 0, level, np.int16(FREE))
        moves = np.array([1, -1, size[2], -size[2], size[1] * size[2], -size[1] * size[2]])[: 4 + 2 * front]
        _grow(level, owner, height, np.zeros(len(level), np.int32), (moves, np.zeros(0, np.int64)))
        for z in range(low[0], high[0]):
            for y in range(low[1], high[1]):
                start = ((z - corner[0]) * size[1] + y - corner[1]) * size[2] - corner[2]
                for x in range(low[2], high[2]):
                    if parts[z, y, x] == part:
                        labels[z, y, x] = owner[start + x] + shift


@compiled
def _grow(level: Any, owner: Any, height: Any, steps: Any, where: Any) -> None:
    """Flood flat arrays in place. `where`: moves to the neighbours of a pixel; pixels of the rim, cheapest first.

    This is one function, because a call that passes arrays takes as long as what is done for a pixel.
    """
    around, sources = where
    first, last = np.full(LEVELS + 1, -1, np.int32), np.full(LEVELS + 1, -1, np.int32)
    after = np.full(len(level), -1, np.int32)  # the next pixel in the queue of the same level
    for pixel in range(len(level)):
        if owner[pixel] == 0 or level[pixel] < 0:
            continue
        for move in around:  # most labelled pixels lie inside their seed and need no place in a queue
            if level[pixel + move] >= 0 and owner[pixel + move] == 0:
                if first[level[pixel]] < 0:
                    first[level[pixel]] = pixel
                else:
                    after[last[level[pixel]]] = pixel
                last[level[pixel]] = pixel
                break
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
            for move in around:  # pixels come in order of cost, so no cheaper path comes later
                neighbour = pixel + move
                if neighbour < 0 or neighbour >= len(level) or level[neighbour] < 0:  # from the rim moves lead out
                    continue
                reached = max(now, level[neighbour])
                count = steps[pixel] + 1 if reached == now else 1
                if owner[neighbour] > 0:
                    if height[neighbour] == reached and steps[neighbour] == count:
                        owner[neighbour] = max(owner[neighbour], owner[pixel])
                    continue
                owner[neighbour], height[neighbour], steps[neighbour] = owner[pixel], reached, count
                if first[reached] < 0:
                    first[reached] = neighbour
                else:
                    after[last[reached]] = neighbour
                last[reached] = neighbour
