"""Growing labels over an image, level by level."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled

LEVELS = 2000  # steps of probability that flooding tells apart


def flood(levels: NDArray[np.int16], seeds: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels (*S): the seeds (*S), grown over all pixels of `levels` (*S) >= 0 that they reach, lowest levels first.

    Levels are -1 ... `LEVELS`. This is a watershed with one queue per level instead of one sorted queue (Meyer 1991),
    so that time grows linearly with the pixels. A pixel takes the label that reaches it first; ties go to the label
    queued first. Seeds are queued in reverse scan order: `targets.find_cores` clears the later of two touching pixels,
    and a tie gives it back to the later object.
    """
    level, owner = np.pad(levels, 1, constant_values=-1), np.pad(seeds, 1)  # the rim spares tests for the border
    strides = [stride // owner.itemsize for stride in reversed(owner.strides)]
    steps = np.array([step for stride in strides for step in (-stride, stride)])
    _grow(level.ravel(), owner.ravel(), steps)
    return owner[(slice(1, -1),) * owner.ndim]


@compiled
def _grow(level: Any, owner: Any, steps: Any) -> None:
    """Flood flat arrays in place; `steps` lead from a pixel to its neighbours."""
    first, last = np.full(LEVELS + 1, -1, np.int64), np.full(LEVELS + 1, -1, np.int64)
    after = np.full(len(level), -1, np.int64)  # the next pixel in the queue of the same level
    for pixel in range(len(level) - 1, -1, -1):
        if owner[pixel] > 0 and _can_grow(pixel, level, owner, steps):
            _enqueue(pixel, level[pixel], (first, last, after))
    for now in range(LEVELS + 1):
        while first[now] >= 0:
            pixel = first[now]
            first[now] = after[pixel]
            for step in steps:
                neighbour = pixel + step
                if level[neighbour] >= 0 and owner[neighbour] == 0:
                    owner[neighbour] = owner[pixel]
                    _enqueue(neighbour, max(now, level[neighbour]), (first, last, after))


@compiled
def _can_grow(pixel: Any, level: Any, owner: Any, steps: Any) -> Any:
    """Whether a neighbour is free. Most labelled pixels lie inside their seed and need no place in a queue."""
    for step in steps:
        neighbour = pixel + step
        if level[neighbour] >= 0 and owner[neighbour] == 0:
            return True
    return False


@compiled
def _enqueue(pixel: Any, level: Any, queues: Any) -> None:
    first, last, after = queues
    if first[level] < 0:
        first[level] = pixel
    else:
        after[last[level]] = pixel
    last[level] = pixel
