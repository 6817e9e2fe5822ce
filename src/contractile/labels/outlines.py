"""Labels -> outlines along the sides of pixels -> labels, without loss.

A point is (y, x); the pixel in row r and column c covers r <= y <= r + 1, c <= x <= c + 1. An object is one ring, or
several where it has holes or several pieces: a point is inside where an odd number of rings goes around it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.errors import ContractileError, WrongType
from contractile.labels.numbers import check_labels

Ring = NDArray[Any]  # (n, 2): its corners, the first of which is not repeated at the end

FARTHEST = 2.0**40  # pixels: corners farther off count as so far

# Directions are 0 right, 1 down, 2 left, 3 up; the object lies to the right of the way.
ROW_STEP = np.array([0, 1, 0, -1])
COLUMN_STEP = np.array([1, 0, -1, 0])


@dataclass(frozen=True)
class Outlines:
    """The rings of all objects of a label image, in scan order of their first pixels.

    Ring i goes around object `numbers[i]`; its corners are `points[starts[i] : starts[i + 1]]`, whole numbers (y, x).
    """

    numbers: NDArray[np.int32]
    starts: NDArray[np.int64]
    points: NDArray[np.int32]

    def objects(self) -> Iterator[tuple[int, list[NDArray[np.int32]]]]:
        """The number of each object, ascending, and its rings."""
        order = np.argsort(self.numbers, kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(self.numbers[order])) + 1):
            if len(group):
                yield int(self.numbers[group[0]]), [self.points[self.starts[i] : self.starts[i + 1]] for i in group]


def outline(labels: NDArray[Any]) -> Outlines:
    """The outlines of the objects > 0 in labels (Y, X).

    Outer rings go clockwise on the screen, holes the other way. Pixels of one object that meet by a corner only have
    rings that meet there. Raises WrongType for labels that are not integers, ContractileError for other axes.
    """
    check_labels(labels)
    if labels.ndim != 2:
        raise ContractileError(f"labels must be (Y, X), got shape {labels.shape}", "give one plane after the other")
    numbers = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2), np.int32)
    numbers[1:-1, 1:-1] = np.maximum(labels, 0)
    rings, corners = _count(numbers)
    found = Outlines(np.empty(rings, np.int32), np.zeros(rings + 1, np.int64), np.empty((corners, 2), np.int32))
    number = _trace(numbers, ROW_STEP, COLUMN_STEP, found.numbers, found.starts, found.points)
    starts = found.starts[: number + 1]
    return Outlines(found.numbers[:number], starts, found.points[: starts[-1]])


def polygons(rings: Sequence[Ring]) -> list[list[Ring]]:
    """The rings of one object, as `outline` gives them -> its pieces: the ring around each, and those of its holes."""
    outer = [ring for ring in rings if signed_area(ring) > 0]
    if len(outer) == 1:
        return [[outer[0], *(ring for ring in rings if ring is not outer[0])]]
    pieces = [[ring] for ring in sorted(outer, key=signed_area)]  # the smallest piece around a hole has it
    for hole in rings:
        if signed_area(hole) < 0:
            point = _beside(hole)
            next(piece for piece in pieces if _is_inside(piece[0], point)).append(hole)
    return pieces


def signed_area(ring: Ring) -> float:
    """The area within a ring; above 0 where it goes clockwise on the screen."""
    y, x = np.asarray(ring, np.float64).T
    return float(np.sum(np.roll(y, -1) * x - np.roll(x, -1) * y) / 2)


def _beside(hole: Ring) -> tuple[float, float]:
    """The centre of a pixel of the object that lies along a hole of it."""
    (y, x), (down, right) = hole[0], np.sign(hole[1].astype(np.int64) - hole[0])
    # half a pixel along the way, and half a pixel to its right, where the object is
    return float(y + (down + right) / 2), float(x + (right - down) / 2)


def _is_inside(ring: Ring, point: tuple[float, float]) -> bool:
    """Whether a point that is no corner lies within a ring."""
    y, x = np.asarray(ring, np.float64).T
    next_y, next_x = np.roll(y, -1), np.roll(x, -1)
    crossed = (y <= point[0]) != (next_y <= point[0])
    along = (point[0] - y[crossed]) / (next_y - y)[crossed]
    return bool((x[crossed] + along * (next_x - x)[crossed] <= point[1]).sum() % 2)


def draw(shapes: Sequence[Sequence[Ring]], shape: tuple[int, int]) -> NDArray[np.int32]:
    """Labels (Y, X) of this shape, in which the first of the shapes is object 1, the second object 2, ...

    Each shape is a list of rings, whose corners may lie anywhere, also outside. A pixel belongs to a shape if its
    centre lies inside; where shapes overlap, to the first of them. Raises WrongType for rings that are not numbers
    (n, 2) and ContractileError for corners that are not finite.
    """
    labels = np.zeros(shape, np.int32)
    for number, rings in enumerate(shapes, start=1):
        corners = [_as_ring(ring) for ring in rings if len(ring)]
        if not corners:
            continue
        every = np.concatenate(corners)
        low = np.clip(np.floor(every.min(axis=0)), 0, shape).astype(np.int64)
        high = np.clip(np.ceil(every.max(axis=0)), 0, shape).astype(np.int64)
        if (high <= low).any():
            continue
        crossed = np.zeros(high - low, np.bool_)
        for ring in corners:
            _cross(ring - low, crossed)
        part = labels[low[0] : high[0], low[1] : high[1]]
        part[np.logical_xor.accumulate(crossed, axis=1) & (part == 0)] = number
    return labels


def _as_ring(ring: Ring) -> NDArray[np.float64]:
    found = np.asarray(ring)
    if found.ndim != 2 or found.shape[1] != 2 or found.dtype.kind not in "iuf":
        problem = f"a ring must be numbers (n, 2), got {found.dtype} of shape {found.shape}"
        raise WrongType(problem, "give (y, x) of each corner")
    corners = found.astype(np.float64)
    if not np.isfinite(corners).all():
        raise ContractileError("a ring must be finite, got NaN or infinite corners", "leave these corners out")
    return np.clip(corners, -FARTHEST, FARTHEST)


@compiled
def _count(numbers: Any) -> tuple[int, int]:
    """How many rings and corners there are at most in labels (Y, X) with a border of 0."""
    rings, corners = 0, 0
    for y in range(1, numbers.shape[0]):
        for x in range(1, numbers.shape[1]):
            a, b, c, d = numbers[y - 1, x - 1], numbers[y - 1, x], numbers[y, x - 1], numbers[y, x]
            # one ring begins at most where a pixel has neither a left nor an upper neighbour, or closes a hole
            rings += (d > 0 and d != b and d != c) + (d > 0 and d != b and d == c and d == a)
            if a == b and a == c and a == d:
                continue
            for one in (a, b, c, d):
                if one > 0:
                    same = (a == one) + (b == one) + (c == one) + (d == one)
                    corners += same == 1 or same == 3 or (same == 2 and (a == d or b == c))
    return rings, corners


@compiled
def _trace(numbers: Any, row_step: Any, column_step: Any, of: Any, starts: Any, points: Any) -> int:
    """Fill `of`, `starts` and `points` with the rings of labels (Y, X) with a border of 0; returns their number."""
    seen = np.zeros(numbers.shape, np.bool_)  # the upper sides of pixels that a ring has gone along
    ring, corner = 0, 0
    for first_y in range(1, numbers.shape[0] - 1):
        for first_x in range(1, numbers.shape[1] - 1):
            own = numbers[first_y, first_x]
            if own == 0 or numbers[first_y - 1, first_x] == own or seen[first_y, first_x]:
                continue
            y, x, way = first_y, first_x, 0
            while True:  # at the corner (y, x) of four pixels, going `way`
                if way == 0:
                    if seen[y, x]:
                        break
                    seen[y, x] = True
                y, x = y + row_step[way], x + column_step[way]
                # the pixels ahead, to the right of the way and to the left
                if way == 0:
                    right, left = numbers[y, x], numbers[y - 1, x]
                elif way == 1:
                    right, left = numbers[y, x - 1], numbers[y, x]
                elif way == 2:
                    right, left = numbers[y - 1, x - 1], numbers[y, x - 1]
                else:
                    right, left = numbers[y - 1, x], numbers[y - 1, x - 1]
                turn = 0
                if right != own:
                    turn = 1
                elif left == own:
                    turn = 3
                if turn:
                    points[corner, 0], points[corner, 1] = y - 1, x - 1
                    corner += 1
                    way = (way + turn) % 4
            of[ring] = own
            ring += 1
            starts[ring] = corner
    return ring


@compiled
def _cross(ring: Any, crossed: Any) -> None:
    """Toggle each pixel in `crossed` (Y, X) from which on, in its row, a side of the ring has been crossed."""
    height, width = crossed.shape
    for index in range(len(ring)):
        y0, x0 = ring[index - 1]
        y1, x1 = ring[index]
        if y0 == y1:
            continue
        if y0 > y1:
            y0, x0, y1, x1 = y1, x1, y0, x0
        # rows whose centre lies in y0 <= y < y1
        first, last = max(0, int(np.ceil(y0 - 0.5))), min(height, int(np.ceil(y1 - 0.5)))
        for row in range(first, last):
            x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
            column = max(0, int(np.ceil(min(x, width + 1.0) - 0.5)))
            if column < width:
                crossed[row, column] ^= True
