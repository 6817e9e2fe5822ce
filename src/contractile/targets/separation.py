"""Keeping touching objects apart: a gap between them or cores in them, and a weight that makes it worth learning."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.errors import ContractileError
from contractile.labels import check_labels, connected, renumber

_NEGLIGIBLE = 1e-5  # separation weights below this are given as 0


def separate(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) with background, one pixel wide, between touching objects.

    A pixel is cleared when one of its neighbours (8 in 2-D, 26 in 3-D) that comes earlier in scan order
    belongs to another object, the rule of Falk et al. 2019 (doi:10.1038/s41592-018-0261-2). Afterwards no two
    objects touch, not even by a corner. An object thinner than the gap can vanish.
    """
    check_labels(labels)
    separated = labels.astype(np.int32)
    for step in itertools.product((-1, 0, 1), repeat=labels.ndim):
        if step >= (0,) * labels.ndim:
            continue  # the pixel itself, and neighbours later in scan order
        here, there = neighbours(labels.shape, step)
        touches = (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)
        separated[here][touches] = 0
    return separated


def find_cores(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) of which the cores are left: no two touch, and each is in one piece (4 neighbours, 6 in 3-D).

    A pixel is cleared when the one before it along an axis belongs to another object. An object of which that would
    leave nothing keeps its pixels instead, but for those that touch such an object before it, and others give way.
    Of an object in pieces the largest is the core. Only of objects in a crowd of very thin ones nothing can be left.
    """
    check_labels(labels)
    cores = labels.astype(np.int32)
    for step in _along_axes(labels.ndim, -1):
        here, there = neighbours(labels.shape, step)
        cores[here][(labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)] = 0
    lost = (labels > 0) & ~np.isin(labels, cores[cores > 0])
    cores[lost] = labels[lost]
    for before in (-1, 1) if lost.any() else ():
        for step in _along_axes(labels.ndim, before):
            here, there = neighbours(labels.shape, step)
            gives_way = lost[there] & (labels[here] != labels[there]) & (~lost[here] | (before < 0))
            cores[here][gives_way] = 0
    return _largest_pieces(cores)


def _along_axes(dims: int, step: int) -> list[tuple[int, ...]]:
    """One `step` (-1 or 1) along each axis."""
    return [tuple(row) for row in (step * np.eye(dims, dtype=int)).tolist()]


def _largest_pieces(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    """Labels (*S), no two of which touch, without all but the largest piece of each."""
    pieces = connected(labels > 0)
    owner = np.zeros(pieces.max(initial=0) + 1, np.int32)
    owner[pieces.ravel()] = renumber(labels).ravel()
    by_size = 1 + np.argsort(np.bincount(pieces.ravel())[1:], kind="stable")
    largest = np.zeros(owner.max(initial=0) + 1, np.int64)
    largest[owner[by_size]] = by_size  # the last of several stays
    kept = np.isin(np.arange(len(owner)), largest[1:])
    return np.where(kept[pieces], labels, 0)


def neighbours(shape: tuple[int, ...], step: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """(here, there): where a pixel and the one `step` (-1, 0 or 1 along each axis) from it both lie in the image."""
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, shape, strict=True))
    return here, there


def separation_weight(
    labels: NDArray[Any], *, w0: float, sigma: float, spacing: Sequence[float] = ()
) -> NDArray[np.float32]:
    """`w0 exp(-(d1 + d2)^2 / (2 sigma^2))` on background pixels, 0 inside objects; (*S) -> (*S).

    d1 and d2 are the Euclidean distances from the pixel to the nearest and to the second nearest *object*
    (not to the two nearest pixels). Values under 1e-5 are given as 0. See `make_target` for the source.

    Insight: the two nearest objects can be found one axis at a time. If an object is not among the two
    nearest of a pixel's row, two others are nearer, so it cannot be among the two nearest overall; each
    axis therefore hands two candidates per pixel to the next one, and no distance map per object is needed.
    """
    check_labels(labels)
    steps = tuple(spacing) or (1.0,) * labels.ndim
    if len(steps) != labels.ndim or min(steps) <= 0:
        raise ContractileError(
            f"spacing must hold one positive number for each of the {labels.ndim} axes, got {tuple(spacing)}",
            "leave it empty for isotropic pixels",
        )
    weight = np.zeros(labels.shape, np.float32)
    if w0 <= _NEGLIGIBLE or labels.size == 0:
        return weight
    reach = sigma * math.sqrt(2 * math.log(w0 / _NEGLIGIBLE))
    first, second = _two_distances(np.ascontiguousarray(labels), steps, reach)
    near = np.isfinite(second) & (labels <= 0)
    total = np.sqrt(first[near]) + np.sqrt(second[near])  # d1 + d2
    values = np.float32(w0) * np.exp(total**2 / np.float32(-2 * sigma**2))
    weight[near] = np.where(values < _NEGLIGIBLE, np.float32(0), values)
    return weight


def _two_distances(
    labels: NDArray[Any], steps: Sequence[float], reach: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Squared distances (*S) to the nearest two objects; inf, or too large, beyond the `reach` of d1 + d2."""
    state: tuple[NDArray[Any], ...] = (
        np.maximum(labels, 0).astype(np.int32),  # nearest object, 0 = none
        np.zeros(labels.shape, np.int32),  # second nearest
        np.where(labels > 0, np.float32(0), np.float32(np.inf)),
        np.full(labels.shape, np.inf, np.float32),
    )
    _along_lines(tuple(a.reshape(-1, labels.shape[-1]) for a in state), float(steps[-1]))
    for axis in range(labels.ndim - 1):
        lines = (math.prod(labels.shape[:axis]), labels.shape[axis], -1)  # (*S) -> (before, axis, after)
        merged = tuple(a.copy() for a in state)
        views = [tuple(a.reshape(lines) for a in each) for each in (state, merged)]
        last = axis == labels.ndim - 2
        _across_lines(views[0], views[1], float(steps[axis]), reach, last)
        state = merged
    return state[2], state[3]


@compiled
def _insert(found: Any, c: Any, d: Any) -> Any:
    """Offer object `c` at squared distance `d` to the two nearest: (nearest, second, d1^2, d2^2)."""
    a, b, da, db = found
    if c == 0 or d >= db:
        return found
    if c == a:
        return a, b, min(d, da), db
    if d < da:
        return c, a, d, da
    return a, c, da, d


@compiled
def _along_lines(state: Any, step: float) -> None:
    """Last axis of the four arrays (lines, n), in place: one sweep in each direction."""
    nearest, other, first, second = state
    lines, n = nearest.shape
    for i in range(lines):
        for direction in (1, -1):
            a, b, at, bt = np.int32(0), np.int32(0), 0, 0  # the two objects met last, and where
            for t in range(n):
                j = t if direction == 1 else n - 1 - t
                if first[i, j] == 0:
                    if nearest[i, j] != a:
                        a, b, bt = nearest[i, j], a, at
                    at = t
                found = (nearest[i, j], other[i, j], first[i, j], second[i, j])
                found = _insert(found, a, np.float32(((t - at) * step) ** 2))
                found = _insert(found, b, np.float32(((t - bt) * step) ** 2))
                nearest[i, j], other[i, j], first[i, j], second[i, j] = found


@compiled
def _across_lines(state: Any, merged: Any, step: float, reach: float, last: bool) -> None:
    """Another axis of the four arrays (before, axis, after): each pixel with what other lines offer it."""
    nearest, other, first, second = merged
    before, n, after = nearest.shape
    for i in range(before):
        for jk in range(n * after):
            j, k = jk // after, jk % after
            if last and first[i, j, k] == 0:
                continue  # inside an object, where no weight is wanted
            found = _search(state, (i, j, k), step, reach, last)
            nearest[i, j, k], other[i, j, k], first[i, j, k], second[i, j, k] = found


@compiled
def _search(state: Any, pixel: Any, step: Any, reach: Any, last: Any) -> Any:
    """Look outward from one pixel, along the middle axis, until nothing further out can matter."""
    nearest, other, first, second = state
    i, j, k = pixel
    found = (nearest[i, j, k], other[i, j, k], first[i, j, k], second[i, j, k])
    n = nearest.shape[1]
    for distance in range(1, n):
        square = np.float32((distance * step) ** 2)
        limit = min(found[3], np.float32(reach**2))
        if last:  # d1 + d2 beyond the reach is not wanted: bound d1 by half of it, then d2 by the rest
            rest = max(np.float32(reach) - np.sqrt(found[2]), np.float32(reach / 2))
            limit = min(limit, rest * rest)
        if square >= limit:
            break
        for m in (j - distance, j + distance):
            if 0 <= m < n and first[i, m, k] + square < found[3]:
                found = _insert(found, nearest[i, m, k], first[i, m, k] + square)
                found = _insert(found, other[i, m, k], second[i, m, k] + square)
    return found
