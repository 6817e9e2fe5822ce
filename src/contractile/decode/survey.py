"""Where the numbered pieces of a block begin, the boxes around them, and how large they are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled


def survey(numbers: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Of each number 1 ... count in `numbers` (*B), each of which occurs: its first pixel and its box.

    First pixels (count,) are flat places in scan order. Boxes (count, 2, axes) are the first pixel along each axis,
    and the one after the last.
    """
    room = (1,) * (3 - numbers.ndim) + numbers.shape  # (Z, Y, X)
    first, boxes = np.full(count, -1, np.int64), np.zeros((count, 2, 3), np.int32)
    _survey(numbers.reshape(room), first, boxes)
    return first, boxes[:, :, 3 - numbers.ndim :]


def measure(
    labels: NDArray[np.int32], inside: NDArray[np.uint16], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels, and sum of `inside`, of the labels 0 ... size - 1; label 0 counts none.

    Whole numbers add up alike in any order.
    """
    pixels, certainty = np.zeros((2, size), np.int64)
    _measure(labels.ravel(), inside.ravel(), pixels, certainty)
    return pixels, certainty


@compiled
def _survey(numbers: Any, first: Any, boxes: Any) -> None:
    depth, length, width = numbers.shape
    for z in range(depth):
        for y in range(length):
            for x in range(width):
                piece = numbers[z, y, x] - 1
                if piece < 0:
                    continue
                low, high = boxes[piece]
                if first[piece] < 0:
                    first[piece] = (z * length + y) * width + x
                    low[0], low[1], low[2] = z, y, x
                low[1], low[2] = min(low[1], y), min(low[2], x)
                high[0], high[1], high[2] = max(high[0], z + 1), max(high[1], y + 1), max(high[2], x + 1)


@compiled
def _measure(labels: Any, inside: Any, pixels: Any, certainty: Any) -> None:
    for place in range(len(labels)):
        label = labels[place]
        if label > 0:
            pixels[label] += 1
            certainty[label] += inside[place]
