"""Compiled loops along the sides of pixels, for `outlines`."""

from __future__ import annotations

from typing import Any

import numpy as np

from contractile.compiled import compiled

# Directions are 0 right, 1 down, 2 left, 3 up; the object lies to the right of the way.
ROW_STEP = (0, 1, 0, -1)
COLUMN_STEP = (1, 0, -1, 0)


@compiled
def count(numbers: Any) -> tuple[int, int]:
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
def trace(numbers: Any, of: Any, starts: Any, points: Any) -> int:
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
                y, x = y + ROW_STEP[way], x + COLUMN_STEP[way]
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
def cross(ring: Any, crossed: Any) -> None:
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
