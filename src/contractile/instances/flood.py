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
def flood(levels: Any, labels: Any) -> Any:
    """Grow the labels (Z, Y, X) over all pixels of level >= 0 that they reach, lowest levels first, in place.

    A watershed with one queue per level instead of one sorted queue (Meyer 1991), so that the time is in proportion
    to the pixels. Whoever comes to a pixel first has it; among equals, whoever was in the queue first, and of labels
    those later in scan order: targets take what is between cores from these.
    """
    depth, height, width = levels.shape
    flat, owner = levels.reshape(-1), labels.reshape(-1)
    first, last = np.full(LEVELS + 1, -1, np.int64), np.full(LEVELS + 1, -1, np.int64)
    after = np.full(len(flat), -1, np.int64)  # in the queue of its level
    for pixel in range(len(flat) - 1, -1, -1):
        if owner[pixel] > 0:
            _enqueue(pixel, flat[pixel], (first, last, after))
    for level in range(LEVELS + 1):
        while first[level] >= 0:
            pixel = first[level]
            first[level] = after[pixel]
            x, y, z = pixel % width, pixel // width % height, pixel // (width * height)
            for side in range(6):
                ahead = side % 2 == 1
                at, size, step = (x, width, 1) if side < 2 else (y, height, width)
                if side >= 4:
                    at, size, step = z, depth, width * height
                if at == (size - 1 if ahead else 0):
                    continue
                neighbour = pixel + (step if ahead else -step)
                if flat[neighbour] >= 0 and owner[neighbour] == 0:
                    owner[neighbour] = owner[pixel]
                    _enqueue(neighbour, max(level, flat[neighbour]), (first, last, after))
