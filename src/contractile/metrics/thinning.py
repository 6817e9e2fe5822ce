"""Basins of a binary map: every membrane grown thin by flooding, as the ISBI 2012 challenge does it.

The flooding is the classic one of Vincent & Soille 1991 (doi:10.1109/34.87344) on an image of two
levels, in the order of scan and of neighbours that the challenge's own code uses (Fiji's
Trainable_Segmentation). On plateaus the order decides which pixels become dams, so it is part of the
definition: another watershed moves V_Rand by up to 0.003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled

_MASK, _IN_QUEUE, _DAM = -2, -3, 0


def label_components(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """4-connected components of a map (Y, X), numbered from 1 column by column; 0 elsewhere."""
    return np.ascontiguousarray(label_columns(np.ascontiguousarray(white.T))[0].T)


def thin(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Basins (Y, X) of a map (Y, X): 1, 2, ... grown from its white components, 0 on the dams between.

    A map without any white pixel is one single basin.
    """
    return np.ascontiguousarray(_flood(np.ascontiguousarray(white.T)).T)


@compiled
def label_columns(white: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """4-connected components in C order, and their number."""
    height, width = white.shape
    labels = np.zeros((height, width), np.int32)
    stack = np.empty(white.size, np.int32)
    found = 0
    for start in range(white.size):
        if not white[start // width, start % width] or labels[start // width, start % width]:
            continue
        found += 1
        labels[start // width, start % width] = found
        stack[0], depth = start, 1
        while depth:
            depth -= 1
            y, x = stack[depth] // width, stack[depth] % width
            for dy, dx in ((-1, 0), (0, -1), (1, 0), (0, 1)):
                v, u = y + dy, x + dx
                if 0 <= v < height and 0 <= u < width and white[v, u] and not labels[v, u]:
                    labels[v, u] = found
                    stack[depth] = v * width + u
                    depth += 1
    return labels, found


@compiled
def _flood(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Flood a map that is already transposed, so that C order is the column-major scan.

    `fresh` is the flag of the original: one for the whole image, it remembers whether the last pixel
    that became a dam did so beside another dam (and may be won back) or between two basins.
    """
    basins, found = label_columns(white)
    if found == 0:
        return np.ones(white.shape, np.int32)
    height, width = white.shape
    queue = np.empty(white.size, np.int32)
    head, tail = 0, _enter_shore(basins, queue)
    fresh = False
    while head < tail:
        y, x = queue[head] // width, queue[head] % width
        head += 1
        own = basins[y, x]
        for dy, dx in ((-1, 0), (0, -1), (1, 0), (0, 1)):
            v, u = y + dy, x + dx
            if not (0 <= v < height and 0 <= u < width):
                continue
            near = basins[v, u]
            if near > 0:
                if own == _IN_QUEUE or (own == _DAM and fresh):
                    own = near
                elif own > 0 and own != near:
                    own, fresh = _DAM, False
            elif near == _DAM:
                if own == _IN_QUEUE:
                    own, fresh = _DAM, True
            elif near == _MASK:
                basins[v, u] = _IN_QUEUE
                queue[tail] = v * width + u
                tail += 1
        basins[y, x] = own
    return basins


@compiled
def _enter_shore(basins: NDArray[np.int32], queue: NDArray[np.int32]) -> int:
    """Mark all black pixels; enter those beside a white one into the queue in scan order. -> how many."""
    height, width = basins.shape
    for y in range(height):
        for x in range(width):
            if basins[y, x] == 0:
                basins[y, x] = _MASK
    tail = 0
    for y in range(height):
        for x in range(width):
            touches = (
                (y > 0 and basins[y - 1, x] > 0)
                or (x > 0 and basins[y, x - 1] > 0)
                or (y + 1 < height and basins[y + 1, x] > 0)
                or (x + 1 < width and basins[y, x + 1] > 0)
            )
            if touches and basins[y, x] == _MASK:
                basins[y, x] = _IN_QUEUE
                queue[tail] = y * width + x
                tail += 1
    return tail
