"""The connected pieces of a block: their numbers, where they begin, the boxes around them, how large they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled


@dataclass(frozen=True)
class Pieces:
    """Connected pieces 1 ... count of a block (*B), numbered in the scan order of their first pixels.

    `first` (count,) are the flat places of these pixels. `boxes` (count, 2, axes) are the first pixel along each axis,
    and the one after the last.
    """

    numbers: NDArray[np.int32]
    first: NDArray[np.int64]
    boxes: NDArray[np.int32]

    @property
    def count(self) -> int:
        return len(self.first)


def survey(mask: NDArray[np.bool_]) -> Pieces:
    """The pieces of `mask` (*B). Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D)."""
    room = (1,) * (3 - mask.ndim) + mask.shape  # (Z, Y, X)
    numbers = np.zeros(room, np.int32)
    first, boxes = _describe(numbers, _number(np.ascontiguousarray(mask).reshape(room), numbers))
    return Pieces(numbers.reshape(mask.shape), first, boxes[:, :, 3 - mask.ndim :])


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
def _number(mask: Any, numbers: Any) -> Any:
    """Give each pixel the number of its piece before pieces were joined. Returns the last number of each such number.

    Numbers that touch are joined in a forest, in which the root of a tree is its smallest number: so the roots are in
    scan order. The result ends with the count of pieces.
    """
    depth, length, width = mask.shape
    parent, used = np.zeros((mask.size + 1) // 2 + 2, np.int32), 0  # every other pixel can begin a piece
    for z in range(depth):
        for y in range(length):
            own = 0  # of the pixel before
            for x in range(width):
                if not mask[z, y, x]:
                    own = 0
                    continue
                above = numbers[z, y - 1, x] if y > 0 else 0
                behind = numbers[z - 1, y, x] if z > 0 else 0
                if above and own and numbers[z, y - 1, x - 1] == 0:  # else the pixel before has joined them
                    _join(parent, own, above)
                if behind and (own or above):
                    _join(parent, own or above, behind)
                own = own or above or behind
                if own == 0:
                    used += 1
                    own = parent[used] = used
                numbers[z, y, x] = own
    count = 0
    for number in range(1, used + 1):  # a parent comes before its children, and has its last number already
        if parent[number] == number:
            count += 1
            parent[number] = count
        else:
            parent[number] = parent[parent[number]]
    parent[used + 1] = count
    return parent[: used + 2]


@compiled
def _join(parent: Any, one: Any, other: Any) -> None:
    """Join the trees of two numbers."""
    while parent[one] != one:
        one = parent[one]
    while parent[other] != other:
        other = parent[other]
    parent[max(one, other)] = min(one, other)


@compiled
def _describe(numbers: Any, last: Any) -> Any:
    """Give each pixel its last number, and find where the pieces begin and the boxes around them."""
    depth, length, width = numbers.shape
    first, boxes = np.full(last[-1], -1, np.int64), np.zeros((last[-1], 2, 3), np.int32)
    for z in range(depth):
        for y in range(length):
            for x in range(width):
                if numbers[z, y, x] == 0:
                    continue
                numbers[z, y, x] = last[numbers[z, y, x]]
                piece = numbers[z, y, x] - 1
                low, high = boxes[piece]
                if first[piece] < 0:
                    first[piece] = (z * length + y) * width + x
                    low[0], low[1], low[2] = z, y, x
                low[1], low[2] = min(low[1], y), min(low[2], x)
                high[0], high[1], high[2] = max(high[0], z + 1), max(high[1], y + 1), max(high[2], x + 1)
    return first, boxes


@compiled
def _measure(labels: Any, inside: Any, pixels: Any, certainty: Any) -> None:
    for place in range(len(labels)):
        label = labels[place]
        if label > 0:
            pixels[label] += 1
            certainty[label] += inside[place]
