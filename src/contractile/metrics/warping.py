"""Topological errors that remain after the truth is bent to fit a proposal: the warping error.

Jain et al. 2010 (doi:10.1109/CVPR.2010.5539950). Pixels flip in the order of the ISBI 2012 challenge's own code (Fiji's
Trainable_Segmentation). White is 4-connected, black is 8-connected.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled

RADIUS = 20  # pixels: the challenge's code labels components again in a window of this radius
MERGER, SPLIT, HOLE_ADDITION, HOLE_DELETION, OBJECT_ADDITION, OBJECT_DELETION, NO_ERROR = range(7)


@dataclass(frozen=True)
class TopologyErrors:
    """Pixels of one slice that bending cannot remove, by kind of error."""

    mergers: int = 0
    splits: int = 0
    hole_additions: int = 0
    hole_deletions: int = 0
    object_additions: int = 0
    object_deletions: int = 0


def count_topology_errors(proposal: NDArray[np.float64], white: NDArray[np.bool_], threshold: float) -> TopologyErrors:
    """Bend the truth `white` (Y, X) towards `proposal > threshold`, then count the pixels that still differ.

    Objects that vanish are neither split nor merged: an empty proposal has no such error. The counts of a binary
    proposal differ from threshold to threshold, because the threshold sets the order of flips. Where the truth has no
    black pixel, every pixel that differs counts as an object addition, because the challenge's code reads a constant
    slice as black.
    """
    warped = warp(proposal, white, threshold)
    target = proposal > threshold
    if white.all():
        kinds = np.where(warped != target, OBJECT_ADDITION, NO_ERROR)
    else:
        kinds = _classify(np.ascontiguousarray(warped.T), np.ascontiguousarray(target.T))
    return TopologyErrors(*np.bincount(kinds.ravel(), minlength=NO_ERROR + 1)[:NO_ERROR].tolist())


def warp(proposal: NDArray[np.float64], white: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """The truth (Y, X) after all flips towards the proposal that keep its topology.

    In each round the pixels that differ are visited, the surest first (farthest from the threshold, in single
    precision; ties column by column), and flip where they are simple points. The last round is the one without a flip.
    """
    values = np.ascontiguousarray(proposal.T)
    target = values > threshold
    warped = np.ascontiguousarray(white.T)
    sureness = np.abs(values - threshold).astype(np.float32).reshape(-1)
    while True:
        wrong = np.flatnonzero(warped != target)  # column by column: the arrays are transposed
        order = wrong[np.argsort(-sureness[wrong], kind="stable")]
        warped, flips = _flip_simple(warped, order)
        if flips == 0:
            return np.ascontiguousarray(warped.T)


@compiled
def is_simple(ring: int) -> bool:
    """Whether flipping a pixel keeps the topology, from its 8 neighbours.

    Bit i of `ring` is neighbour i, clockwise from a 4-neighbour (even bits are 4-neighbours). A pixel is simple when
    exactly one 4-connected white part of its neighbourhood touches it and not all 8 neighbours are white (Kong &
    Rosenfeld 1989, doi:10.1016/0734-189X(89)90147-3).
    """
    if ring == 255:
        return False
    parts = 0
    for i in (0, 2, 4, 6):
        here = (ring >> i) & 1
        before = (ring >> ((i + 7) % 8)) & 1
        two_before = (ring >> ((i + 6) % 8)) & 1
        # a white 4-neighbour begins a part unless a white corner joins it to the 4-neighbour before
        if here and not (before and two_before):
            parts += 1
    return parts == 1


@compiled
def _read_ring(white: NDArray[np.bool_], y: int, x: int) -> int:
    """The 8 neighbours as bits, clockwise from above; black outside the image."""
    height, width = white.shape
    ring = 0
    offsets = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    for i in range(8):
        v, u = y + offsets[i][0], x + offsets[i][1]
        if 0 <= v < height and 0 <= u < width and white[v, u]:
            ring |= 1 << i
    return ring


@compiled
def _flip_simple(white: NDArray[np.bool_], order: NDArray[np.int64]) -> tuple[NDArray[np.bool_], int]:
    """Visit the pixels of `order`, flip those that are simple at that time; returns the map and the number of flips."""
    flipped = white.copy()
    width = white.shape[1]
    flips = 0
    for place in order:
        y, x = place // width, place % width
        if is_simple(_read_ring(flipped, y, x)):
            flipped[y, x] = not flipped[y, x]
            flips += 1
    return flipped, flips


@compiled
def _classify(warped: NDArray[np.bool_], target: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Kind of error of every pixel (Y, X), NO_ERROR where both agree."""
    labels = _label(warped)
    height, width = warped.shape
    kinds = np.full((height, width), NO_ERROR, np.int64)
    for y in range(height):
        for x in range(width):
            if warped[y, x] == target[y, x]:
                continue
            ids, first = _count_ids(labels, y, x)
            white = warped[y, x]
            if ids > 2:
                kind = SPLIT if white else MERGER
            elif ids == 1 and first == 0:
                kind = OBJECT_DELETION if white else OBJECT_ADDITION
            elif ids == 1:
                kind = HOLE_ADDITION if white else HOLE_DELETION
            elif not white:
                kind = HOLE_ADDITION
            else:
                kind = SPLIT if _splits(warped, y, x) else HOLE_DELETION
            kinds[y, x] = kind
    return kinds


@compiled
def _count_ids(labels: NDArray[np.int32], y: int, x: int) -> tuple[int, int]:
    """Number of different values among the neighbours inside the image, and the first of them."""
    height, width = labels.shape
    met = np.empty(8, np.int32)
    count = 0
    for v in range(max(y - 1, 0), min(y + 2, height)):
        for u in range(max(x - 1, 0), min(x + 2, width)):
            if v == y and u == x:
                continue
            known = False
            for i in range(count):
                known = known or met[i] == labels[v, u]
            if not known:
                met[count] = labels[v, u]
                count += 1
    return count, met[0]


@compiled
def _splits(warped: NDArray[np.bool_], y: int, x: int) -> bool:
    """Whether several white parts remain around this white pixel when it is deleted, within a window."""
    height, width = warped.shape
    top, left = max(y - RADIUS, 0), max(x - RADIUS, 0)
    window = warped[top : min(y + RADIUS + 1, height), left : min(x + RADIUS + 1, width)].copy()
    window[y - top, x - left] = False
    labels = _label(window)
    ids, _ = _count_ids(labels, y - top, x - left)
    return ids > 2


@compiled
def _label(white: NDArray[np.bool_]) -> NDArray[np.int32]:
    """`labels.connected`, for compiled loops."""
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
    return labels
