"""Objects sewn across blocks: one number per object over the whole image, as if it had been decoded at once.

Blocks are looked at one by one. Then their parts and seeds are joined where they touch at a face. Where a path across a
face is cheaper than what a block found by itself, the parts concerned are flooded again from there, until no face
offers a cheaper one. What comes out is the one solution of `flood` on the whole image (tests/test_decode.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from contractile.decode.faces import groups, neighbours, pairs, sums
from contractile.decode.kept import CERTAIN, FREE
from contractile.decode.piece import Face, Neighbours, Piece
from contractile.decode.settings import Decoding
from contractile.grid import Mosaic

Dirty = dict[int, NDArray[np.int32]]  # block -> parts that must be flooded again
Task = tuple[int, Piece, NDArray[np.int32], Neighbours]
Again = Callable[[Iterable[Task]], Iterable[tuple[int, Piece]]]


class Sewn:
    """The numbers of the objects in all blocks: `numbers(block)[label]` is that of a label of the block."""

    def __init__(self, mosaic: Mosaic, pieces: dict[int, Piece], again: Again, decoding: Decoding) -> None:
        """`again` floods parts of blocks anew, each task as `look_again` does, and stores the labels."""
        self._mosaic, self._pieces = mosaic, pieces
        self._known, dirty = self._join()
        first = True
        while dirty:
            tasks = [(block, pieces[block], parts, self._tell(block)) for block, parts in sorted(dirty.items())]
            for block, piece in again(tasks):
                pieces[block] = piece
            dirty = self._find_cheaper(set(dirty), first=first)
            first = False
        self.count, self.pixels, self.certainty = self._number(decoding)
        self._pieces = {}  # as large as the table of objects

    def numbers(self, block: int) -> NDArray[np.int32]:
        """The number (labels + 1,) of each label of a block, from label 0 on; 0 for what was dropped."""
        return self._numbers[block]

    def _join(self) -> tuple[list[NDArray[np.int64]], Dirty]:
        """For each block the number of each of its labels, and the parts that must be flooded.

        A number is the place of an object in the scan order of first pixels in the image: of its core, or of its part,
        where this has none. It is -1 for parts with several seeds. They must be flooded, where they reach a face.
        """
        pieces = [self._pieces[block] for block in range(len(self._mosaic))]
        part, seed = self._unite(pieces)
        parts_before, seeds_before = sums(piece.parts for piece in pieces), sums(piece.seeds for piece in pieces)
        owner = np.concatenate(
            [part[piece.part_of_seed + before - 1] for piece, before in zip(pieces, parts_before, strict=True)]
        )
        both = np.unique(np.stack([owner, seed]), axis=1)  # each seed of the image, and its part
        several = np.bincount(both[0], minlength=len(part)) > 1
        only = np.full(len(part), -1)
        only[both[0]] = both[1]
        known, places, dirty = [], [], Dirty()
        for block, (piece, before, seeds) in enumerate(zip(pieces, parts_before, seeds_before, strict=True)):
            own = part[before : before + piece.parts]
            whole = np.where(several[own], -1, np.where(only[own] < 0, len(seed) + own, only[own]))
            known.append(np.concatenate([whole, seed[seeds : seeds + piece.seeds]]).astype(np.int64))
            place = self._in_image(block, piece.first)
            place[: piece.parts][only[own] >= 0] = np.iinfo(np.int64).max
            places.append(place)
            split = piece.crossing[several[own[piece.crossing - 1]]]
            if len(split):
                dirty[block] = split
        numbers = np.split(_rank(np.concatenate(known), np.concatenate(places)), sums(map(len, known))[1:])
        return [np.concatenate([[0], one]) for one in numbers], dirty

    def _unite(self, pieces: list[Piece]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The groups of all parts, and of all seeds, that touch across faces; those of block 0 first."""
        parts_before, seeds_before = sums(piece.parts for piece in pieces), sums(piece.seeds for piece in pieces)
        parts, seeds = [], []
        for one, other, here, there in self._faces():
            parts.append(pairs(here.part + parts_before[one], there.part + parts_before[other]))
            both = (here.seed > 0) & (there.seed > 0)
            seeds.append(pairs(here.seed[both] + seeds_before[one], there.seed[both] + seeds_before[other]))
        return (
            groups(parts, sum(piece.parts for piece in pieces)),
            groups(seeds, sum(piece.seeds for piece in pieces)),
        )

    def _in_image(self, block: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Flat places in a block as flat places in the image."""
        region = self._mosaic.region(block)
        index = np.unravel_index(places, tuple(part.stop - part.start for part in region))
        moved = [one + part.start for one, part in zip(index, region, strict=True)]
        return np.asarray(np.ravel_multi_index(moved, self._mosaic.shape), np.int64)

    def _faces(self, changed: set[int] | None = None) -> Iterator[tuple[int, int, Face, Face]]:
        """(block, next block, face, face): the pixels inside of objects on both sides of each face, in pairs.

        Only those of the blocks that `changed`, where it is given.
        """
        for one, other, axis in neighbours(self._mosaic):
            if changed is not None and changed.isdisjoint((one, other)):
                continue
            here, there = self._pieces[one].faces[axis, -1], self._pieces[other].faces[axis, 0]
            _, first, second = np.intersect1d(here.place, there.place, assume_unique=True, return_indices=True)
            yield one, other, _take(here, first), _take(there, second)

    def _find_cheaper(self, changed: set[int], *, first: bool) -> Dirty:
        """The parts to which the faces of blocks that changed offer a cheaper path, or another number at its cost.

        What a block found by itself, at `first`, stands against a smaller number at the same cost.
        """
        dirty: Dirty = {}
        for one, other, here, there in self._faces(changed):
            for block, mine, source, its in ((other, there, one, here), (one, here, other, there)):
                if source not in changed:
                    continue
                offered = np.maximum(its.height, mine.level)
                steps = np.where(offered == its.height, its.steps + 1, 1)
                number, own = self._known[source][its.label], self._known[block][mine.label]
                gain = (offered < mine.height) | ((offered == mine.height) & (steps < mine.steps))
                differs = number > own if first else number != own
                tied = (offered == mine.height) & (steps == mine.steps) & differs
                parts = mine.part[its.moved & (its.height != FREE) & (gain | tied)]
                if len(parts):
                    dirty[block] = np.union1d(dirty.get(block, parts), parts).astype(np.int32)
        return dirty

    def _tell(self, block: int) -> Neighbours:
        """What a block must know to flood again; numbers that are new to it get labels."""
        around, places = {}, np.unravel_index(block, self._mosaic.counts)
        for axis, end in self._pieces[block].faces:
            place = list(places)
            place[axis] += -1 if end == 0 else 1
            other = int(np.ravel_multi_index(place, self._mosaic.counts))
            face = self._pieces[other].faces[axis, -1 - end]
            around[axis, end] = _relabelled(face, self._known[other])
        new = np.unique(np.concatenate([face.label[face.height != FREE] for face in around.values()]))
        known = self._known[block]
        self._known[block] = np.concatenate([known, np.setdiff1d(new, known)])
        return Neighbours(self._known[block], around)

    def _number(self, decoding: Decoding) -> tuple[int, NDArray[np.int64], NDArray[np.float64]]:
        """Decide which objects stay, and number these without gaps: (count, pixels, mean certainty), from 1 on."""
        most = max(int(known.max()) for known in self._known)
        pixels, certainty = np.zeros(most + 1, np.int64), np.zeros(most + 1, np.int64)
        for block, known in enumerate(self._known):
            piece = self._pieces[block]
            size = min(len(known), len(piece.pixels))
            used = np.flatnonzero(piece.pixels[:size])
            np.add.at(pixels, known[used], piece.pixels[used])
            np.add.at(certainty, known[used], piece.certainty[used])
        mean = certainty / np.maximum(pixels, 1) / CERTAIN
        stays = (pixels >= max(1, decoding.min_size)) & (mean >= decoding.sure)
        stays[0] = False
        final = np.where(stays, np.cumsum(stays), 0).astype(np.int32)
        self._numbers = [final[np.maximum(known, 0)] for known in self._known]
        self._known = []
        return int(stays.sum()), pixels[stays], mean[stays]


def _take(face: Face, index: NDArray[np.intp]) -> Face:
    return Face(*(getattr(face, name)[index] for name in Face.__dataclass_fields__))


def _relabelled(face: Face, numbers: NDArray[np.int64]) -> Face:
    values = {name: getattr(face, name) for name in Face.__dataclass_fields__}
    return Face(**{**values, "label": numbers[face.label].astype(np.int32)})


def _rank(group: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place 1 ... of each one's group, when groups are ordered by their smallest `first`; -1 for group -1."""
    known = group >= 0
    names, member = np.unique(group[known], return_inverse=True)
    least = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(least, member, first[known])
    place = np.empty(len(names), np.int64)
    place[np.argsort(least, kind="stable")] = np.arange(1, len(names) + 1)
    rank = np.full(len(group), -1, np.int64)
    rank[known] = place[member]
    return rank
