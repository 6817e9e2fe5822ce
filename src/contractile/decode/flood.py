"""Growing labels over an image, level by level."""

from __future__ import annotations

from typing import Any

import numpy as np

from contractile.compiled import compiled

LEVELS = 2000  # of probability that flooding tells apart


@compiled
def _enqueue(pixel: Any, level: Any, queues: Any) -> Any:
    first, last, after = queues
    if first[level] < 0:
        first[level] = pixel
    else:
        after[last[level]] = pixel
    last[level] = pixel


@compiled
def _neighbour(pixel: Any, side: Any, shape: Any) -> Any:
    """The pixel beyond one of the six sides of a pixel, as its place in scan order; -1 beyond the image."""
    depth, height, width = shape
    axis, ahead = side // 2, side % 2 == 1
    if axis == 0:
        at, size, step = pixel % width, width, 1
    elif axis == 1:
        at, size, step = pixel // width % height, height, width
    else:
        at, size, step = pixel // (width * height), depth, width * height
    if at == (size - 1 if ahead else 0):
        return -1
    return pixel + (step if ahead else -step)


@compiled
def _can_grow(pixel: Any, flat: Any, owner: Any, shape: Any) -> Any:
    """Most labelled pixels lie inside their core, and need not queue."""
    for side in range(6):
        neighbour = _neighbour(pixel, side, shape)
        if neighbour >= 0 and flat[neighbour] >= 0 and owner[neighbour] == 0:
            return True
    return False


@compiled
def flood(levels: Any, labels: Any) -> Any:
    """Grow the labels (Z, Y, X) over all pixels of level >= 0 that they reach, lowest levels first, in place.

    A watershed with one queue per level instead of one sorted queue (Meyer 1991), so that the time is in proportion
    to the pixels. Whoever comes to a pixel first has it; among equals, whoever was in the queue first, and of labels
    those later in scan order: targets take what is between cores from these.
    """
    flat, owner = levels.reshape(-1), labels.reshape(-1)
    first, last = np.full(LEVELS + 1, -1, np.int64), np.full(LEVELS + 1, -1, np.int64)
    after = np.full(len(flat), -1, np.int64)  # in the queue of its level
    for pixel in range(len(flat) - 1, -1, -1):
        if owner[pixel] > 0 and _can_grow(pixel, flat, owner, levels.shape):
            _enqueue(pixel, flat[pixel], (first, last, after))
    for level in range(LEVELS + 1):
        while first[level] >= 0:
            pixel = first[level]
            first[level] = after[pixel]
            for side in range(6):
                neighbour = _neighbour(pixel, side, levels.shape)
                if neighbour >= 0 and flat[neighbour] >= 0 and owner[neighbour] == 0:
                    owner[neighbour] = owner[pixel]
                    _enqueue(neighbour, max(level, flat[neighbour]), (first, last, after))
