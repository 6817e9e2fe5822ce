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


def survey(values: NDArray[np.bool_ | np.uint8]) -> Pieces:
    """The pieces of equal `values` (*B) above 0. Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D)."""
    room = (1,) * (3 - values.ndim) + values.shape  # (Z, Y, X)
    numbers = np.zeros(room, np.int32)
    first, boxes = _describe(numbers, _number(np.ascontiguousarray(values).reshape(room), numbers))
    return Pieces(numbers.reshape(values.shape), first, boxes[:, :, 3 - values.ndim :])


def join_zones(zones: NDArray[np.int32], tops: NDArray[np.uint8], steps: int) -> NDArray[np.int32]:
    """The pieces (steps, zones + 1) that zones belong to at each step.

    `zones` (*B) are numbered from 1 in the scan order of their first pixels. Zone n reaches steps 1 ... tops[n - 1].
    At each step the zones that reach it are joined where they touch. These pieces are numbered from 1 in scan order. A
    zone that does not reach a step, and zone 0, belong to piece 0.
    """
    tops = np.concatenate([np.zeros(1, np.uint8), tops])
    room = (1,) * (3 - zones.ndim) + zones.shape  # (Z, Y, X)
    pieces = np.zeros((steps, len(tops)), np.int32)
    _join_zones(_touching(zones.reshape(room), tops), tops, pieces)
    return pieces


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
def _number(values: Any, numbers: Any) -> Any:
    """Give each pixel the number of its piece before pieces were joined. Returns the last number of each such number.

    Numbers that touch are joined in a forest, in which the root of a tree is its smallest number: so the roots are in
    scan order. The result ends with the count of pieces.
    """
    depth, length, width = values.shape
    parent, used = np.zeros(values.size + 2, np.int32), 0
    for z in range(depth):
        for y in range(length):
            for x in range(width):
                value = values[z, y, x]
                if not value:
                    continue
                own = numbers[z, y, x - 1] if x > 0 and values[z, y, x - 1] == value else 0
                above = numbers[z, y - 1, x] if y > 0 and values[z, y - 1, x] == value else 0
                behind = numbers[z - 1, y, x] if z > 0 and values[z - 1, y, x] == value else 0
                if above and own and values[z, y - 1, x - 1] != value:  # else the pixel before has joined them
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
def _touching(zones: Any, tops: Any) -> Any:
    """Pairs (n, 2) of zones that touch: the one that reaches the higher step, then the other. Most come once."""
    depth, length, width = zones.shape
    pairs, count, last = np.zeros((len(tops), 2), np.int32), 0, np.zeros(len(tops), np.int32)
    for z in range(depth):
        for y in range(length):
            for x in range(width):
                own = zones[z, y, x]
                if own == 0:
                    continue
                for axis in range(3):
                    if (z, y, x)[axis] == 0:
                        continue
                    other = zones[z - (axis == 0), y - (axis == 1), x - (axis == 2)]
                    if other == 0 or other == own:
                        continue
                    high, low = (own, other) if tops[own] > tops[other] else (other, own)
                    if last[high] == low:
                        continue
                    last[high] = low
                    if count == len(pairs):
                        pairs = np.concatenate((pairs, np.zeros_like(pairs)))
                    pairs[count] = high, low
                    count += 1
    return pairs[:count]


@compiled
def _join_zones(pairs: Any, tops: Any, pieces: Any) -> None:
    """Fill `pieces` (steps, zones + 1), from the last step, where zones are few, to the first."""
    parent = np.arange(len(tops)).astype(np.int32)
    for step in range(len(pieces), 0, -1):
        for high, low in pairs:
            if tops[low] == step:
                _join(parent, high, low)
        count = 0
        for zone in range(1, len(tops)):
            if tops[zone] < step:
                continue
            parent[zone] = parent[parent[zone]]  # that of the smaller number is the root already
            if parent[zone] == zone:
                count += 1
                pieces[step - 1, zone] = count
            else:
                pieces[step - 1, zone] = pieces[step - 1, parent[zone]]


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
