"""Which cores are seeds: a core that joins several objects is told from one that a texture would break to pieces.

Above the probability `Decoding.core` objects that touch may share one core; above a higher one they have a core each,
but a core with a texture falls to pieces, too. So a core is split at the lowest of THRESHOLDS at which at least two of
its pieces are large (`Decoding.split` pixels or more), and these cover at least COVERED of it. What is small is no seed
then. The large pieces are looked at in the same way, at the higher thresholds. (A tree of thresholds, as the component
tree of Jones 1999, https://doi.org/10.1006/cviu.1999.0777, from which pieces are chosen by their size.)

A core may reach into several blocks. Each block tells its pieces, `choose` joins them across faces and decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from contractile.decode.faces import Side, groups, neighbours, pairs, sums
from contractile.decode.kept import LEVELS, Kept
from contractile.decode.settings import Decoding
from contractile.decode.survey import survey
from contractile.grid import Mosaic

THRESHOLDS = (0.6, 0.7, 0.8, 0.9, 0.95)
COVERED = 70  # percent of a core, in the large pieces into which it is split

Chosen = list[NDArray[np.bool_]]  # for `Decoding.core`, then each of THRESHOLDS above it: which pieces are seeds


@dataclass(frozen=True)
class Border:
    """The pixels of cores on one side of a block: their `place` (n,) on the side, in scan order.

    `pieces` (steps, n) are the numbers, from 1, of the pieces that they belong to at each step of `Chosen`; 0 where
    they are in none.
    """

    place: NDArray[np.int64]
    pieces: NDArray[np.int32]


@dataclass(frozen=True)
class Rungs:
    """The pieces of the cores of a block that reach a face, for each step of `Chosen`.

    `sizes` are in pixels; `parents` are the pieces at the step before, counted from 0, in which they lie (none at the
    first step).
    """

    sizes: list[NDArray[np.int64]]
    parents: list[NDArray[np.int64]]
    borders: dict[Side, Border]


class Ladder:
    """The pieces of all cores of one block, at each step of `Chosen`."""

    def __init__(self, kept: Kept, decoding: Decoding) -> None:
        cuts = [round(LEVELS * (1 - one)) for one in THRESHOLDS if one > decoding.core]
        self._least = decoding.split
        self._steps = [survey(kept.core)]
        for cut in cuts:
            self._steps.append(survey(kept.core & (kept.level < cut)) if self._steps[-1].count else self._steps[-1])
        self._sizes = [np.bincount(one.numbers.ravel(), minlength=one.count + 1)[1:] for one in self._steps]
        self._parents = [np.zeros(0, np.int64)]
        for before, one in pairwise(self._steps):
            self._parents.append(before.numbers.ravel()[one.first].astype(np.int64) - 1)

    def rungs(self, sides: Sequence[Side]) -> Rungs:
        """What other blocks must know; `sides` are those at which one lies."""
        crossing = self._crossing(sides)
        numbers = [
            np.concatenate([[0], np.where(one, np.cumsum(one), 0)]) for one in crossing
        ]  # from 1, of these alone
        steps = range(1, len(crossing))
        parents = [numbers[step - 1][self._parents[step][crossing[step]] + 1] - 1 for step in steps]
        borders = {}
        for axis, end in sides:
            found = [np.take(one.numbers, end, axis=axis).ravel() for one in self._steps]
            place = np.flatnonzero(found[0])
            pieces = np.array([new[old[place]] for new, old in zip(numbers, found, strict=True)], np.int32)
            borders[axis, end] = Border(place, pieces)
        sizes = [one[own] for one, own in zip(self._sizes, crossing, strict=True)]
        return Rungs(sizes, [self._parents[0], *parents], borders)

    def _crossing(self, sides: Sequence[Side]) -> Chosen:
        """For each step, which pieces lie in a core that reaches one of these sides."""
        reached = np.zeros(self._steps[0].count + 1, bool)
        for axis, end in sides:
            reached[np.take(self._steps[0].numbers, end, axis=axis).ravel()] = True
        found = [reached[1:]]
        for parents in self._parents[1:]:
            found.append(found[-1][parents])
        return found

    def seeds(self, sides: Sequence[Side] = (), told: Chosen | None = None) -> NDArray[np.bool_]:
        """Where (*B) seeds are. `told` is what `choose` says of the pieces in `rungs`; of others it is decided here."""
        chosen = _decide(self._sizes, self._parents, self._least)
        if told is not None:
            for mine, crossing, its in zip(chosen, self._crossing(sides), told, strict=True):
                mine[crossing] = its
        mask = np.zeros(self._steps[0].numbers.shape, bool)
        for pieces, own in zip(self._steps, chosen, strict=True):
            if own.any():
                mask |= np.concatenate([[False], own])[pieces.numbers]
        return mask


def _decide(sizes: Sequence[NDArray[np.int64]], parents: Sequence[NDArray[np.int64]], least: int) -> Chosen:
    """Which pieces are seeds, from the sizes and parents of the pieces at each step."""
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


def choose(mosaic: Mosaic, rungs: Sequence[Rungs], least: int) -> list[Chosen]:
    """For each block, which of its pieces in `rungs` are seeds, once the pieces are joined across faces."""
    sizes, parents, numbers = [], [], list[list[NDArray[np.int32]]]()  # of the joined pieces; those of each block
    faces = list(_faces(mosaic, rungs))
    for step in range(len(rungs[0].sizes)):
        counts = [len(one.sizes[step]) for one in rungs]
        starts, touching = sums(counts), []
        for block, other, here, there in faces:
            both = (here[step] > 0) & (there[step] > 0)
            touching.append(pairs(here[step][both] + starts[block], there[step][both] + starts[other]))
        group = groups(touching, sum(counts))
        own = np.split(group, starts[1:])
        size, parent = np.zeros((2, int(group.max(initial=-1)) + 1), np.int64)
        np.add.at(size, group, np.concatenate([one.sizes[step] for one in rungs]))
        if step > 0:
            for number, one in enumerate(rungs):
                parent[own[number]] = numbers[-1][number][one.parents[step]]
        sizes.append(size)
        parents.append(parent)
        numbers.append(own)
    chosen = _decide(sizes, parents, least)
    return [[found[own[number]] for found, own in zip(chosen, numbers, strict=True)] for number in range(len(rungs))]


def _faces(mosaic: Mosaic, rungs: Sequence[Rungs]) -> Iterator[tuple[int, int, NDArray[np.int32], NDArray[np.int32]]]:
    """(block, next block, pieces, pieces): those (steps, n) of the pixels of cores beside each face, in pairs."""
    for one, other, axis in neighbours(mosaic):
        here, there = rungs[one].borders[axis, -1], rungs[other].borders[axis, 0]
        _, first, second = np.intersect1d(here.place, there.place, assume_unique=True, return_indices=True)
        yield one, other, here.pieces[:, first], there.pieces[:, second]
