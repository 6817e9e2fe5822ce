"""Where to annotate next: where the network is least certain, or changes its mind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.images import Image
from contractile.viewer.canvas import overlap
from contractile.viewer.learner.looking import Looker
from contractile.viewer.learner.messages import Region
from contractile.viewer.learner.painted import Annotated

WINDOW = 128  # pixels along each side of a region that is suggested
LOOKED_AT = 512  # pixels along each side of a part of an image that is looked at in one go
PARTS = 64  # of all images: they are looked at in turn, again and again
PER_IMAGE = 2  # suggestions of one part of an image, and of one of many images
MOSTLY_KNOWN = 0.5  # a window with so much annotation is not suggested
NEW = 1.0  # an image of another kind than those with annotation counts so much more
EVERY = 8  # of a part that was looked at, each so many pixels are remembered along each side
OTHER = 1.5  # standard deviations between parts from which two are of another kind


@dataclass(frozen=True)
class Doubt:
    """A region, and how much an annotation there would help: `value` from 0. `why` is said to the user."""

    image: int
    region: Region
    value: float
    why: str


class Doubter:
    """Looks at one part of one image after another, and keeps what it found."""

    def __init__(
        self, shapes: Mapping[int, Sequence[int]], open_image: Callable[[int], Image], *, seed: int = 0
    ) -> None:
        """`shapes` has the (Y, X) of each image that is looked at, by its number."""
        self._parts = _spread(shapes, np.random.default_rng(seed))
        self._open, self._next, self._images = open_image, 0, len(shapes)
        self._found: dict[int, list[Doubt]] = {}
        self._before: dict[int, NDArray[np.float32]] = {}
        self._kinds: dict[int, NDArray[np.float64]] = {}
        self._painted: set[int] = set()  # parts on which something is painted

    def look(self, looker: Looker, annotated: Annotated) -> None:
        """Look at the next part with a network. Raises ContractileError where it cannot be read."""
        if not self._parts:
            return
        turn = self._next % len(self._parts)
        self._next += 1
        number, region = self._parts[turn]
        maps = looker.look(number, region).maps
        doubt, before = 1 - maps.max(axis=0), self._before.get(turn)
        now = maps[0, ::EVERY, ::EVERY].astype(np.float32)  # a copy: a part of the maps would keep all of them
        changed = 0.0 if before is None else _enlarged(np.abs(now - before), doubt.shape)
        self._before[turn] = now
        known = annotated.known(number, region)
        self._kinds[turn] = _kind(self._open(number)[(slice(None), *region)], maps)
        if known.any():
            self._painted.add(turn)
        self._found[turn] = list(self._windows(turn, doubt + changed, known))

    def best(self, most: int) -> list[Doubt]:
        """The regions with most doubt, spread over the images: of many images, at most two each."""
        share = max(PER_IMAGE, -(-most // max(1, self._images)))
        found: list[Doubt] = []
        for doubt in sorted((one for each in self._found.values() for one in each), key=lambda one: -one.value):
            if sum(one.image == doubt.image for one in found) < share:
                found.append(doubt)
            if len(found) == most:
                break
        return found

    def forget(self, number: int, region: Region) -> None:
        """Leave out what was suggested where something is painted now."""
        for turn, doubts in self._found.items():
            self._found[turn] = [one for one in doubts if one.image != number or not overlap(one.region, region)]

    def _windows(self, turn: int, doubt: NDArray[np.float32], known: NDArray[np.bool_]) -> Iterator[Doubt]:
        number, region = self._parts[turn]
        size = [min(WINDOW, side) for side in doubt.shape]
        values = ndimage.uniform_filter(np.where(known, 0, doubt), size, mode="constant")
        painted = ndimage.uniform_filter(known.astype(np.float32), size, mode="constant")
        values[painted > MOSTLY_KNOWN] = 0
        unseen = self._unseen(turn)
        for _ in range(PER_IMAGE):
            place = np.unravel_index(int(values.argmax()), values.shape)
            value = float(values[place])
            if value <= 0:
                return
            starts = [
                min(max(0, int(at) - n // 2), side - n) for at, n, side in zip(place, size, values.shape, strict=True)
            ]
            here = tuple(slice(start, start + n) for start, n in zip(starts, size, strict=True))
            y, x = (slice(p.start + h.start, p.start + h.stop) for p, h in zip(region, here, strict=True))
            why = "unlike what is annotated" if unseen > 1 else "least certain here"
            yield Doubt(number, (y, x), value * (1 + NEW * min(1.0, unseen)), why)
            values[here] = 0

    def _unseen(self, turn: int) -> float:
        """How unlike this part is to all annotated ones: 0 for the same, 1 and more for another kind of image."""
        painted = [self._kinds[one] for one in self._painted if one != turn]
        if turn in self._painted or not painted:
            return 0.0
        spread = np.std(list(self._kinds.values()), axis=0) + 1e-9
        return float(np.linalg.norm((np.array(painted) - self._kinds[turn]) / spread, axis=1).min()) / OTHER


def _kind(pixels: NDArray[Any], maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """What a part of an image (C, *S) looks like: its light, its contrast, and how much of it is background."""
    values = pixels.astype(np.float64)
    light, contrast = np.abs(values).mean(), values.std()
    return np.array([np.log1p(light), np.log1p(contrast), float(maps[0].mean())])


def _enlarged(values: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Values of each EVERY-th pixel, for all pixels (*shape)."""
    large: NDArray[np.float32] = values.repeat(EVERY, axis=0).repeat(EVERY, axis=1)[: shape[0], : shape[1]]
    return large


def _spread(shapes: Mapping[int, Sequence[int]], rng: np.random.Generator) -> list[tuple[int, Region]]:
    """Parts of images, spread over all of them, in random order."""
    parts: list[tuple[int, Region]] = []
    share = max(1, PARTS // max(1, len(shapes)))
    for number, shape in shapes.items():
        places = [(y, x) for y in _starts(shape[0]) for x in _starts(shape[1])]
        for index in rng.permutation(len(places))[:share]:
            y, x = places[index]
            parts.append((number, (slice(y, min(shape[0], y + LOOKED_AT)), slice(x, min(shape[1], x + LOOKED_AT)))))
    return [parts[index] for index in rng.permutation(len(parts))]


def _starts(size: int) -> range:
    return range(0, max(1, size - LOOKED_AT // 4), LOOKED_AT)
