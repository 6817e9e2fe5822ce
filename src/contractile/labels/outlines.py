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

from contractile.errors import ContractileError, WrongType
from contractile.labels.numbers import as_int32, check_labels

Ring = NDArray[Any]  # (n, 2): its corners, the first of which is not repeated at the end

FARTHEST = 2.0**40  # pixels: corners farther off count as so far


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
    rings that meet there. Raises WrongType for labels that are not integers, ContractileError for other axes and for
    numbers that int32 cannot hold.
    """
    check_labels(labels)
    if labels.ndim != 2:
        raise ContractileError(f"labels must be (Y, X), got shape {labels.shape}", "give one plane after the other")
    numbers = np.zeros((labels.shape[0] + 2, labels.shape[1] + 2), np.int32)
    numbers[1:-1, 1:-1] = np.maximum(as_int32(labels), 0)
    from contractile.labels.tracing import count, trace  # compiled loops are slow to load

    rings, corners = count(numbers)
    found = Outlines(np.empty(rings, np.int32), np.zeros(rings + 1, np.int64), np.empty((corners, 2), np.int32))
    number = trace(numbers, found.numbers, found.starts, found.points)
    starts = found.starts[: number + 1]
    return Outlines(found.numbers[:number], starts, found.points[: starts[-1]])


def polygons(rings: Sequence[Ring]) -> list[list[Ring]]:
    """The rings of one object, as `outline` gives them -> its pieces: the ring around each, and those of its holes."""
    if len(rings) == 1:
        return [[rings[0]]]
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
    return float(y[1:] @ x[:-1] - x[1:] @ y[:-1] + y[0] * x[-1] - x[0] * y[-1]) / 2


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
    from contractile.labels.tracing import cross

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
            cross(ring - low, crossed)
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
