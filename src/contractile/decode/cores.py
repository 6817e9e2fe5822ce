"""Which cores are seeds: a core that joins several objects is told from one that a texture would break to pieces.

Above the probability `Decoding.core` objects that touch may share one core; above a higher one they have a core each,
but a core with a texture falls to pieces, too. So a core is split at the lowest of THRESHOLDS at which at least two of
its pieces are large (`Decoding.split` pixels or more), and these cover at least COVERED of it. What is small is no seed
then. The large pieces are looked at in the same way, at the higher thresholds. (A tree of thresholds, as the component
tree of Jones 1999, https://doi.org/10.1006/cviu.1999.0777, from which pieces are chosen by their size.)

A core may reach into several blocks. Each block numbers its zones (pixels that touch and reach the same threshold), of
which pieces are made, and tells of the cores that reach a face. `choose` joins their pieces across faces and decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode.faces import Side, groups, neighbours, pairs, sums
from contractile.decode.kept import LEVELS, Kept
from contractile.decode.settings import Decoding
from contractile.decode.survey import Pieces, join_zones, survey
from contractile.grid import Mosaic

THRESHOLDS = (0.6, 0.7, 0.8, 0.9, 0.95)
COVERED = 70  # percent of a core, in the large pieces into which it is split

Zones = NDArray[np.int64]


@dataclass(frozen=True)
class Cores:
    """The cores of a block. `seeds` (zones + 1,) are the zones that are seeds if no block lies around this one.

    `crossing` (n,) are the zones of cores that reach a face, after zone 0. They have `area` pixels (n,) and belong to
    `pieces` (steps, n), numbered from 1: the first step is `Decoding.core`, the next are the THRESHOLDS above it; 0
    where they do not reach a step. `borders` tells of each side which pixels are in cores: their places (m,) on the
    side, in scan order, and their zones (m,), as places in `crossing`.
    """

    seeds: NDArray[np.bool_]
    crossing: Zones
    area: NDArray[np.int64]
    pieces: NDArray[np.int64]
    borders: dict[Side, tuple[NDArray[np.int64], Zones]]


def find_zones(kept: Kept, decoding: Decoding) -> tuple[Pieces, NDArray[np.uint8]]:
    """The zones of the cores of a block, and the last step, from 1, that each of them reaches."""
    below = np.arange(LEVELS + 1)[:, None] < np.array(_cuts(decoding), int)
    reached = (1 + below.sum(axis=1)).astype(np.uint8)
    zones = survey(np.where(kept.core, reached[kept.level], np.uint8(0)))
    return zones, reached[kept.level.ravel()[zones.first]]


def find_cores(kept: Kept, decoding: Decoding, sides: Sequence[Side]) -> tuple[NDArray[np.int32], Cores]:
    """The zones (*B) of the cores of a block, and what they are; `sides` are those at which other blocks lie."""
    found, tops = find_zones(kept, decoding)
    zones, count = found.numbers, found.count
    pieces = join_zones(zones, tops, len(_cuts(decoding)) + 1)
    area = np.bincount(zones.ravel(), minlength=count + 1)

    edges = {side: np.take(zones, side[1], axis=side[0]).ravel() for side in sides}
    crosses = np.zeros(count + 1, bool)  # of cores: the pieces at the first step
    crosses[pieces[0, np.concatenate([[0], *edges.values()])]] = True
    crossing = np.flatnonzero(crosses[pieces[0]])
    numbers = [np.unique(row, return_inverse=True)[1] for row in pieces[:, crossing]]
    rank = np.zeros(count + 1, np.int64)
    rank[crossing] = np.arange(len(crossing))
    borders = {side: (np.flatnonzero(edge), rank[edge[edge > 0]]) for side, edge in edges.items()}
    seeds = _find_seeds(pieces, area, decoding.split)
    return zones, Cores(seeds, crossing, area[crossing], np.array(numbers), borders)


def choose(mosaic: Mosaic, cores: Sequence[Cores], least: int) -> list[NDArray[np.bool_]]:
    """For each block, which of its zones (zones + 1,) are seeds, once pieces are joined across faces."""
    starts = sums(len(one.crossing) for one in cores)
    touching = np.concatenate([np.zeros((2, 0), np.int64), *_touching(mosaic, cores, starts)], axis=1)
    joined = []
    for step in range(len(cores[0].pieces)):
        row, last = [], 0
        for one in cores:
            row.append(np.where(one.pieces[step] > 0, one.pieces[step] + last, 0))
            last += int(one.pieces[step].max())
        together = np.concatenate(row)
        both = together[touching]
        group = groups([pairs(*both[:, (both > 0).all(axis=0)])], last)
        joined.append(np.concatenate([[0], group + 1])[together])
    seeds = np.split(_find_seeds(np.array(joined), np.concatenate([one.area for one in cores]), least), starts[1:])
    chosen = [one.seeds.copy() for one in cores]
    for mine, one, found in zip(chosen, cores, seeds, strict=True):
        mine[one.crossing] = found
    return chosen


def _touching(mosaic: Mosaic, cores: Sequence[Cores], starts: NDArray[np.int64]) -> list[Zones]:
    """Pairs (2, n) of zones that touch across each face, where those of a block are counted from its start."""
    touching = []
    for block, other, axis in neighbours(mosaic):
        (place, here), (opposite, there) = cores[block].borders[axis, -1], cores[other].borders[axis, 0]
        _, first, second = np.intersect1d(place, opposite, assume_unique=True, return_indices=True)
        touching.append(pairs(here[first] + starts[block], there[second] + starts[other]))
    return touching


def _cuts(decoding: Decoding) -> list[int]:
    """The levels below which pixels reach each step after the first."""
    return [round(LEVELS * (1 - one)) for one in THRESHOLDS if one > decoding.core]


def _find_seeds(pieces: NDArray[Any], area: NDArray[np.int64], least: int) -> NDArray[np.bool_]:
    """Which zones (n,) are seeds. They have `area` pixels (n,) and belong to `pieces` (steps, n), 0 where to none."""
    sizes, parents = [], [np.zeros(0, np.int64)]
    for step, row in enumerate(pieces):
        sizes.append(np.bincount(row, area).astype(np.int64)[1:])  # exact: below 2^53
        if step > 0:
            parent = np.zeros(len(sizes[-1]) + 1, np.int64)
            parent[row] = pieces[step - 1]
            parents.append(parent[1:] - 1)
    seeds = np.zeros(len(area), bool)
    for row, own in zip(pieces, _decide(sizes, parents, least), strict=True):
        seeds |= np.concatenate([[False], own])[row]
    return seeds


def _decide(
    sizes: Sequence[NDArray[np.int64]], parents: Sequence[NDArray[np.int64]], least: int
) -> list[NDArray[np.bool_]]:
    """Which pieces are seeds, at each step, from their sizes and the pieces at the step before in which they lie."""
    chosen = [np.ones(len(sizes[0]), bool)]
    area, owner = sizes[0], np.arange(len(sizes[0]))  # of each seed so far; the seed that each piece belongs to, or -1
    step_of, piece_of = np.zeros(len(area), np.int64), owner
    for step, (size, parent) in enumerate(zip(sizes[1:], parents[1:], strict=True), start=1):
        own = np.where(size < least, -1, owner[parent])
        large = own >= 0
        count = np.bincount(own[large], minlength=len(area))
        covered = np.bincount(own[large], size[large], minlength=len(area)).astype(np.int64)  # exact: below 2^53
        splits = (count >= 2) & (100 * covered >= COVERED * area)
        for before in range(step):
            chosen[before][piece_of[splits & (step_of == before)]] = False
        new = large.copy()
        new[large] = splits[own[large]]
        own[new] = len(area) + np.arange(np.count_nonzero(new))
        chosen.append(new)
        area, owner = np.concatenate([area, size[new]]), own
        step_of = np.concatenate([step_of, np.full(np.count_nonzero(new), step)])
        piece_of = np.concatenate([piece_of, np.flatnonzero(new)])
    return chosen
