"""Basins of a binary map: flooding makes every membrane one pixel thin, as in the ISBI 2012 challenge.

The flooding is that of Vincent & Soille 1991 (doi:10.1109/34.87344) on an image of two levels. Pixels and neighbours
are visited in the order of the challenge's own code (Fiji's Trainable_Segmentation). The order decides which pixels of
a plateau become dams, so it is part of the definition: another watershed changes V_Rand by up to 0.003.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.labels import connected

_MASK, _IN_QUEUE, _DAM = -2, -3, 0


def thin(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Basins (Y, X) of a map (Y, X): 1, 2, ... grown from its 4-connected white components, 0 on the dams between.

    Components are numbered column by column. A map without any white pixel is a single basin.
    """
    parts = connected(white.T)  # transposed, so that C order goes column by column
    return np.ascontiguousarray(_flood(parts).T) if white.any() else np.ones(white.shape, np.int32)


@compiled
def _flood(parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Flood the numbered white components of a map that was transposed before.

    `fresh` is a flag of the original code, one for the whole image. It is set when the last pixel that became a dam did
    so beside another dam (a basin may still take it), and not set when it did so between two basins.
    """
    basins = np.where(parts > 0, parts, np.int32(_MASK))
    height, width = parts.shape
    queue = np.empty(parts.size, np.int32)
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
    """Put the black pixels beside a white one into the queue, in scan order; returns how many."""
    height, width = basins.shape
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
