"""One block of an image: its objects as far as it can know them alone, and again when it knows its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode.kept import FREE, Kept
from contractile.labels import Box, boxes, connected

if TYPE_CHECKING:
    from contractile.decode.flood import Flooded, Rim

Side = tuple[int, int]  # axis, and 0 for its beginning or -1 for its end


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
    part_of_seed: NDArray[np.int32]  # (seeds,)
    pixels: NDArray[np.int64]
    certainty: NDArray[np.int64]
    faces: dict[Side, Face]

    @property
    def seeds(self) -> int:
        return len(self.part_of_seed)

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
    parts, seeds = connected(kept.level >= 0), connected(kept.core)
    count, number = int(parts.max(initial=0)), int(seeds.max(initial=0))
    where = np.flatnonzero(parts)
    first = np.concatenate([_first_pixels(parts, where, count), _first_pixels(seeds, where, number)])
    part_of_seed = parts.ravel()[first[count:]].astype(np.int32)
    blank = np.broadcast_to(np.int16(FREE), parts.shape)  # no path was looked for
    faces = {side: _face(side, parts, seeds, parts, kept.level, blank, blank) for side in sides}
    piece = Piece(count, first, part_of_seed, np.zeros(0, np.int64), np.zeros(0, np.int64), faces)
    alone = np.bincount(part_of_seed, minlength=count + 1) > 1
    alone[piece.crossing] = False
    labels = parts.copy() if alone.any() else parts
    for box, inside, flooded in _flooded(kept, parts, np.flatnonzero(alone), seeds, None):
        labels[box][inside] = flooded.owner[inside] + np.int32(count)
    pixels, certainty = measure(labels, kept, where, count + number + 1)
    return labels, replace(piece, pixels=pixels, certainty=certainty)


def look_again(
    kept: Kept, labels: NDArray[np.int32], piece: Piece, dirty: NDArray[np.int32], known: Neighbours
) -> tuple[NDArray[np.int32], Piece]:
    """The same once more, with the `dirty` parts flooded from their seeds and from the neighbours of the block."""
    parts, seeds = connected(kept.level >= 0), connected(kept.core)
    numbers = known.numbers[piece.parts :].astype(np.int32)  # of the seeds
    numbers[0] = 0
    fresh = labels.copy()
    height, steps = np.full(labels.shape, FREE, np.int16), np.zeros(labels.shape, np.int32)
    for box, inside, flooded in _flooded(kept, parts, dirty, numbers[seeds], known.rim(labels.shape)):
        reached = inside & (flooded.owner > 0)
        fresh[box][reached] = known.local_of(flooded.owner[reached])
        height[box][inside], steps[box][inside] = flooded.height[inside], flooded.steps[inside]
    faces = {}
    for side, face in piece.faces.items():
        news = _face(side, parts, seeds, fresh, kept.level, height, steps)
        again = np.isin(face.part, dirty)
        differs = (news.label != face.label) | (news.height != face.height) | (news.steps != face.steps)
        faces[side] = replace(
            news,
            height=np.where(again, news.height, face.height),
            steps=np.where(again, news.steps, face.steps),
            moved=again & differs,
        )
    pixels, certainty = measure(fresh, kept, np.flatnonzero(parts), known.size)
    return fresh, replace(piece, faces=faces, pixels=pixels, certainty=certainty)


def _flooded(
    kept: Kept, parts: NDArray[np.int32], chosen: NDArray[Any], seeds: NDArray[np.int32], rim: Rim | None
) -> Iterator[tuple[Box, NDArray[np.bool_], Flooded]]:
    """Of each chosen part its box, where the part is in it, and the box flooded from the seeds there and the rim."""
    if len(chosen) == 0:
        return
    from contractile.decode.flood import flood  # numba is slow to load, and not every image needs it

    places = boxes(parts)
    for part in chosen:
        box = places[part - 1]
        inside = parts[box] == part
        level = np.where(inside, kept.level[box], -1)
        yield box, inside, flood(level, np.where(inside, seeds[box], 0), None if rim is None else rim.around(box))


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
        order = np.argsort(self.numbers, kind="stable")
        return order[np.searchsorted(self.numbers, numbers, sorter=order)].astype(np.int32)

    def rim(self, shape: tuple[int, ...]) -> Rim:
        """The pixels around a block of `shape` that paths may come from."""
        from contractile.decode.flood import Rim

        padded = tuple(size + 2 for size in shape)
        found = Rim(np.zeros(padded, np.int32), np.full(padded, FREE, np.int16), np.zeros(padded, np.int32))
        for (axis, end), face in self.around.items():
            reached = face.height != FREE
            across = [one + 1 for one in np.unravel_index(face.place[reached], shape[:axis] + shape[axis + 1 :])]
            index = (*across[:axis], 0 if end == 0 else shape[axis] + 1, *across[axis:])
            found.owner[index] = face.label[reached]
            found.height[index], found.steps[index] = face.height[reached], face.steps[reached]
        return found


def measure(
    labels: NDArray[np.int32], kept: Kept, where: NDArray[np.intp], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels, and sum of `Kept.inside`, of the labels 0 ... size - 1 in the flat places `where`.

    Whole numbers add up alike in any order.
    """
    own = labels.ravel()[where]
    certainty = np.bincount(own, kept.inside.ravel()[where], size)  # exact: below 2^53
    return np.bincount(own, minlength=size), certainty.astype(np.int64)


def _first_pixels(numbers: NDArray[np.int32], where: NDArray[np.intp], count: int) -> NDArray[np.int64]:
    """The first pixel of each number 1 ... count, flat; `where` are the places to look at."""
    last_first = where[::-1]
    first = np.zeros(count + 1, np.int64)
    first[numbers.ravel()[last_first]] = last_first  # the last assignment stays
    return first[1:]


def _face(side: Side, parts: NDArray[np.int32], *values: NDArray[Any]) -> Face:
    """The face of a block, from its parts, and its seeds, labels, levels, heights and steps."""
    axis, end = side
    part = np.take(parts, end, axis=axis).ravel()
    place = np.flatnonzero(part)
    seeds, labels, level, height, steps = (np.take(one, end, axis=axis).ravel()[place] for one in values)
    return Face(place, part[place], seeds, labels, level, height, steps, np.ones(len(place), bool))
