"""One block of an image: its objects as far as it can know them alone, and again when it knows its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode.faces import Side
from contractile.decode.flood import Rim, flood, flood_parts
from contractile.decode.kept import FREE, Kept, unpack
from contractile.decode.survey import measure, survey
from contractile.labels import Box


@dataclass(frozen=True)
class Face:
    """The pixels inside of objects on one side of a block: (n,) each, in scan order of their `place` on the side.

    `part` is the connected part of the inside, `seed` the core (0 where there is none), `label` that of the pixel;
    `level`, `height` and `steps` as in `flood`. `moved` is where one of the last three changed at the last look.
    """

    place: NDArray[np.int64]
    part: NDArray[np.int32]
    seed: NDArray[np.int32]
    label: NDArray[np.int32]
    level: NDArray[np.int16]
    height: NDArray[np.int16]
    steps: NDArray[np.int32]
    moved: NDArray[np.bool_]

    def still(self) -> Face:
        """A copy that can be updated, in which nothing moved."""
        moved = np.zeros(len(self.place), bool)
        return replace(self, label=self.label.copy(), height=self.height.copy(), steps=self.steps.copy(), moved=moved)

    def update(self, side: Side, part: int, box: Box, values: tuple[NDArray[Any], ...], shape: tuple[int, ...]) -> None:
        """Take what was found of a part in its box of a block of `shape`: labels, heights and steps."""
        own = np.flatnonzero(self.part == part)
        (axis, end), low = side, [one.start for one in box]
        across = list(np.unravel_index(self.place[own], shape[:axis] + shape[axis + 1 :]))
        across.insert(axis, np.full(len(own), 0 if end == 0 else shape[axis] - 1))
        index = tuple(place - start for place, start in zip(across, low, strict=True))
        own_values: tuple[NDArray[Any], ...] = (self.label, self.height, self.steps)
        for mine, found in zip(own_values, values, strict=True):
            self.moved[own] |= mine[own] != found[index]
            mine[own] = found[index]


@dataclass(frozen=True)
class Piece:
    """What is known of a block beside its labels.

    Labels 1 ... `parts` are connected parts of the inside, as a whole; the next are seeds (cores); more follow, for
    seeds that lie in other blocks. Which of the first two a pixel has is decided when the whole image is known, but for
    parts that reach no face. `pixels` and `certainty` are the size of each label and its sum of `Kept.inside`, from
    label 0 on.
    """

    parts: int
    first: NDArray[np.int64]  # (parts + seeds,): the first pixel of each in scan order of the block
    boxes: NDArray[np.int32]  # (parts, 2, axes): the first pixel of each along the axes, and the one after the last
    part_of_seed: NDArray[np.int32]  # (seeds,)
    pixels: NDArray[np.int64]
    certainty: NDArray[np.int64]
    faces: dict[Side, Face]

    @property
    def seeds(self) -> int:
        return len(self.part_of_seed)

    def box(self, part: int) -> Box:
        """The smallest box that holds a part."""
        return tuple(slice(int(low), int(high)) for low, high in zip(*self.boxes[part - 1], strict=True))

    @property
    def crossing(self) -> NDArray[np.int32]:
        """The parts that reach a face."""
        found = [face.part for face in self.faces.values()]
        return np.unique(np.concatenate([np.zeros(0, np.int32), *found]))


def look(kept: Kept, sides: Sequence[Side]) -> tuple[NDArray[np.int32], Piece]:
    """Labels (*B) of a block by itself, and what is to be known of them. `sides` are those with a neighbour.

    Of the parts that reach no face, those with several seeds are flooded. Others need no flood: they are one object, or
    are flooded when it is known which seeds they have.
    """
    parts, seeds = survey(kept.level >= 0), survey(kept.core)
    part_of_seed = parts.numbers.ravel()[seeds.first]
    blank = np.broadcast_to(np.int16(FREE), kept.level.shape)  # no path was looked for
    faces = {side: _face(side, parts.numbers, seeds.numbers, parts.numbers, kept.level, blank, blank) for side in sides}
    none = np.zeros(0, np.int64)
    first = np.concatenate([parts.first, seeds.first])
    piece = Piece(parts.count, first, parts.boxes, part_of_seed, none, none, faces)
    alone = np.bincount(part_of_seed, minlength=parts.count + 1) > 1
    alone[piece.crossing] = False
    labels = flood_parts(kept.level, parts, seeds.numbers, np.flatnonzero(alone)) if alone.any() else parts.numbers
    pixels, certainty = measure(labels, kept.inside, parts.count + seeds.count + 1)
    return labels, replace(piece, pixels=pixels, certainty=certainty)


def look_again(
    stored: NDArray[np.uint16], labels: NDArray[np.int32], piece: Piece, dirty: NDArray[np.int32], known: Neighbours
) -> tuple[NDArray[np.int32], Piece]:
    """The same once more, with the `dirty` parts flooded from their seeds and from the neighbours of the block.

    `stored` (2, *B) is what `keep` gave for the block, with seeds as cores. The result is the same where `labels` are
    those of an earlier try, whose worker died before it could tell.
    """
    fresh, faces = labels.copy(), {side: face.still() for side, face in piece.faces.items()}
    for part in dirty:
        box = piece.box(part)
        kept = unpack(stored[(slice(None), *box)])
        inside, seeds = _find_part(kept, piece, part, labels.shape)
        numbers = known.numbers[seeds].astype(np.int32)
        flooded = flood(np.where(inside, kept.level, -1), numbers, known.rim(box, labels.shape))
        reached = inside & (flooded.owner > 0)
        fresh[box][reached] = known.local_of(flooded.owner[reached])
        for side, face in faces.items():
            face.update(side, part, box, (fresh[box], flooded.height, flooded.steps), labels.shape)
    pixels, certainty = measure(fresh, stored[0], known.size)
    return fresh, replace(piece, faces=faces, pixels=pixels, certainty=certainty)


def _find_part(
    kept: Kept, piece: Piece, part: int, shape: tuple[int, ...]
) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
    """Of a part in its box: where it is, and the labels of its seeds, 0 where there are none."""
    low = piece.boxes[part - 1, 0]
    parts = survey(kept.level >= 0).numbers
    first = np.unravel_index(piece.first[part - 1], shape) - low
    inside = parts == parts[tuple(first)]
    seeds = survey(kept.core & inside)
    places = np.unravel_index(seeds.first, inside.shape)
    here = np.ravel_multi_index([place + start for place, start in zip(places, low, strict=True)], shape)
    label = piece.parts + 1 + np.searchsorted(piece.first[piece.parts :], here)
    return inside, np.concatenate([[0], label]).astype(np.int32)[seeds.numbers]


@dataclass(frozen=True)
class Neighbours:
    """What a block is told: numbers of the whole image for its labels, and the pixels around it that have a path.

    `numbers` (labels + 1,) are those of its labels, from label 0 on; `around` are the faces of the neighbours that
    lie against its sides, with numbers of the whole image as labels.
    """

    numbers: NDArray[np.int64]
    around: dict[Side, Face]

    @property
    def size(self) -> int:
        return len(self.numbers)

    def local_of(self, numbers: NDArray[np.int32]) -> NDArray[np.int32]:
        return self._order[np.searchsorted(self.numbers, numbers, sorter=self._order)].astype(np.int32)

    @cached_property
    def _order(self) -> NDArray[np.intp]:
        return np.argsort(self.numbers, kind="stable")

    def rim(self, box: Box, shape: tuple[int, ...]) -> Rim:
        """The pixels around a box that paths may come from, where it lies at a side of the block of `shape`."""
        padded = tuple(side.stop - side.start + 2 for side in box)
        found = Rim(np.zeros(padded, np.int32), np.full(padded, FREE, np.int16), np.zeros(padded, np.int32))
        for (axis, end), face in self.around.items():
            if box[axis].start > 0 if end == 0 else box[axis].stop < shape[axis]:
                continue
            others = [side for other, side in enumerate(box) if other != axis]
            across = np.unravel_index(face.place, shape[:axis] + shape[axis + 1 :])
            near = face.height != FREE
            for place, side in zip(across, others, strict=True):
                near &= (place >= side.start) & (place < side.stop)
            index = [place[near] - side.start + 1 for place, side in zip(across, others, strict=True)]
            index.insert(axis, np.full(int(near.sum()), 0 if end == 0 else padded[axis] - 1))
            there = tuple(index)
            found.owner[there] = face.label[near]
            found.height[there], found.steps[there] = face.height[near], face.steps[near]
        return found


def _face(side: Side, parts: NDArray[np.int32], *values: NDArray[Any]) -> Face:
    """The face of a block, from its parts, and its seeds, labels, levels, heights and steps."""
    axis, end = side
    part = np.take(parts, end, axis=axis).ravel()
    place = np.flatnonzero(part)
    seeds, labels, level, height, steps = (np.take(one, end, axis=axis).ravel()[place] for one in values)
    return Face(place, part[place], seeds, labels, level, height, steps, np.ones(len(place), bool))
