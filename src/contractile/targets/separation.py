"""Keep touching objects apart: a gap between them, or a core in each, and a weight that makes the network learn it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.errors import ContractileError
from contractile.labels import Box, as_int32, boxes, check_labels, connected, renumber

_NEGLIGIBLE = 1e-5  # separation weights below this are given as 0


def separate(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) with one pixel of background between touching objects.

    A pixel is cleared when one of its neighbours (8 in 2-D, 26 in 3-D) that comes earlier in scan order
    belongs to another object, the rule of Falk et al. 2019 (doi:10.1038/s41592-018-0261-2). Afterwards no two
    objects touch, not even by a corner. An object thinner than the gap can vanish.
    """
    check_labels(labels)
    separated = as_int32(labels).copy()
    for step in itertools.product((-1, 0, 1), repeat=labels.ndim):
        if step >= (0,) * labels.ndim:
            continue  # the pixel itself, and neighbours later in scan order
        here, _, touches = _touching(labels, step)
        separated[here][touches] = 0
    return separated


def find_cores(labels: NDArray[Any], *, unknown: NDArray[np.bool_] | None = None) -> NDArray[np.int32]:
    """Labels (*S) of the core of each object: cores do not touch, and each is one piece (4 neighbours, 6 in 3-D).

    A pixel is cleared when the pixel before it along an axis belongs to another object. An object that would vanish is
    too thin for this rule and keeps its pixels; its neighbours lose the pixels that touch it instead. Where two thin
    objects touch, the later of the two pixels is cleared. When an object falls into pieces, its core is the largest
    piece. Pieces that touch pixels which nobody annotated, `unknown` (*S), are cores as well: they may hang together
    there. In a crowd of very thin objects some can still vanish.
    """
    check_labels(labels)
    cores = as_int32(labels).copy()
    for step in -np.eye(labels.ndim, dtype=int):
        here, _, touches = _touching(labels, step)
        cores[here][touches] = 0
    thin = (labels > 0) & ~np.isin(labels, cores[cores > 0])
    cores[thin] = labels[thin]
    for before in (-1, 1) if thin.any() else ():
        for step in before * np.eye(labels.ndim, dtype=int):
            here, there, touches = _touching(labels, step)
            cores[here][touches & thin[there] & (~thin[here] | (before < 0))] = 0
    return _largest_pieces(cores, unknown)


def _largest_pieces(labels: NDArray[np.int32], unknown: NDArray[np.bool_] | None) -> NDArray[np.int32]:
    """The largest piece of each object in labels (*S) whose objects do not touch, and all that touch `unknown`."""
    pieces = connected(labels > 0)
    owner = np.zeros(pieces.max(initial=0) + 1, np.int32)
    owner[pieces.ravel()] = renumber(labels).ravel()
    by_size = 1 + np.argsort(np.bincount(pieces.ravel())[1:], kind="stable")
    largest = np.zeros(owner.max(initial=0) + 1, np.int64)
    largest[owner[by_size]] = by_size  # of several pieces of one owner the last assigned, the largest, stays
    kept = np.isin(np.arange(len(owner)), largest[1:])
    if unknown is not None and unknown.any():
        kept[np.unique(pieces[ndimage.binary_dilation(unknown)])] = True
    return np.where(kept[pieces], labels, 0)


def _touching(labels: NDArray[Any], step: Iterable[int]) -> tuple[Box, Box, NDArray[np.bool_]]:
    """(here, there, touches): pixels, their neighbours one `step` away, and where the two belong to different objects.

    `step` is -1, 0 or 1 along each axis of labels (*S); only pixels that have such a neighbour are `here`.
    """
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, labels.shape, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, labels.shape, strict=True))
    return here, there, (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)


def separation_weight(
    labels: NDArray[Any], *, w0: float, sigma: float, spacing: Sequence[float] = ()
) -> NDArray[np.float32]:
    """`w0 exp(-(d1 + d2)^2 / (2 sigma^2))` on background pixels, 0 inside objects; (*S) -> (*S).

    d1 and d2 are the Euclidean distances from the pixel to the nearest and to the second nearest object, in units of
    `spacing`, the size of a pixel along each axis. Values under 1e-5 are given as 0, so each object matters only in
    its box, enlarged by the distance at which the weight falls that low. See `make_target` for the source.
    """
    check_labels(labels)
    steps = tuple(spacing) or (1.0,) * labels.ndim
    if len(steps) != labels.ndim or min(steps) <= 0:
        raise ContractileError(
            f"spacing must hold one positive number for each of the {labels.ndim} axes, got {tuple(spacing)}",
            "leave it empty for isotropic pixels",
        )
    if w0 <= _NEGLIGIBLE or labels.size == 0:
        return np.zeros(labels.shape, np.float32)
    reach = sigma * math.sqrt(2 * math.log(w0 / _NEGLIGIBLE)) / np.array(steps)  # (D,) pixels
    margins = np.minimum(np.ceil(reach), labels.shape).astype(int)
    objects = renumber(labels)
    first, second = np.full((2, *labels.shape), np.inf, np.float32)  # d1 and d2 of the objects so far
    for number, tight in enumerate(boxes(objects), start=1):
        box = tuple(slice(max(0, side.start - n), side.stop + n) for side, n in zip(tight, margins, strict=True))
        distance = ndimage.distance_transform_edt(objects[box] != number, sampling=steps).astype(np.float32)
        second[box] = np.minimum(second[box], np.maximum(first[box], distance))
        first[box] = np.minimum(first[box], distance)
    weight = np.float32(w0) * np.exp((first + second) ** 2 / np.float32(-2 * sigma**2))
    return np.where((objects > 0) | (weight < _NEGLIGIBLE), np.float32(0), weight)
