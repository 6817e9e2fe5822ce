"""What the network says about a part of an image, as it is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode import decode_objects, inside_probability
from contractile.engine import EngineConfig, Placed, place
from contractile.grid import widened, within
from contractile.images import Image
from contractile.intensity import Intensity, Normalization
from contractile.model import Model
from contractile.prediction.blocks import segment
from contractile.prediction.field import Field, Held, Mean, NetworkField
from contractile.prediction.scaling import Diameter, find_scale, restored, scaled
from contractile.quality import Expected
from contractile.viewer.canvas import overlap
from contractile.viewer.learner.messages import Region, Shown

WHOLE = 2**20  # pixels: an image of at most so many is predicted as a whole, so that no object is cut
AROUND = 64  # pixels around what is looked at that are shown and decoded, too, so that few objects are cut
MOST = 2**22  # pixels of a region; of a larger one, the middle is predicted

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    """What a network says about a region: probabilities (K, *region) and labels (*region).

    `chances` (n + 1,) are those of its objects to be right; `expected` is what is expected of them.
    """

    region: Region
    maps: Floats
    labels: NDArray[np.int32]
    chances: NDArray[np.float64] | None = None
    expected: Expected | None = None


class Looker:
    """A model, ready to look at any part of any image."""

    def __init__(
        self, model: Model, open_image: Callable[[int], Image], curve: Callable[[int, Normalization], Intensity]
    ) -> None:
        self.model, self._open, self._curve = model, open_image, curve
        engine = EngineConfig(backend="torch")
        self._placed: list[Placed] = [place(network, engine) for network in (model.stored, *model.others)]
        self._scales: dict[int, float] = {}  # of images whose objects were measured

    def look(self, number: int, region: Region) -> Seen:
        """Probabilities and labels of a region. Numbers of objects mean nothing beyond it."""
        image, card = self._open(number), self.model.card
        curve, scale = self._curve(number, card.normalization), self._scale(number, image)
        field = restored(self._field(scaled(image, scale), curve), image.shape[1:], scale)
        around = widened(region, AROUND, image.shape[1:])
        maps = field.compute(around)
        found, inner = segment(Held(maps, scale=scale), card), within(region, around)
        labels = np.asarray(found)[inner]
        if card.confidence is None:
            return Seen(region, maps[(slice(None), *inner)], labels)
        shown = found.shown(card.confidence.typical / scale ** len(around))
        chances = np.concatenate([[0.0], card.confidence.of(shown.features)])
        return Seen(region, maps[(slice(None), *inner)], labels, chances, card.confidence.expect(shown))

    def _field(self, image: Any, curve: Intensity) -> Field:
        return Mean([NetworkField(image, placed, curve) for placed in self._placed])

    def _scale(self, number: int, image: Image) -> float:
        """By how much an image is enlarged for the network, as `predict` does it."""
        if number not in self._scales:
            card = self.model.card
            curve = self._curve(number, card.normalization)
            asked: Diameter = "estimate" if card.any_size else None

            def find_objects(part: Any) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
                maps = np.asarray(self._field(part, curve))
                return decode_objects(maps, card.decoding), inside_probability(maps)

            self._scales[number] = find_scale(image, curve, card, asked, find_objects)
        return self._scales[number]

    def show(self, number: int, region: Region, *, before: Shown | None = None, steps: int = 0) -> Shown:
        """The same as it is shown. Objects keep the numbers that they had `before` in the same place."""
        shape = self._open(number).shape[1:]
        seen = self.look(number, enough(region, shape))
        labels, chances = seen.labels, dict[int, float]()
        if self.model.card.task == "objects" and before is not None:
            labels = _keep_numbers(labels, seen.region, before)
        if seen.chances is not None:
            names, places = np.unique(labels, return_index=True)
            own = seen.chances[seen.labels.ravel()[places]]
            chances = {int(name): float(chance) for name, chance in zip(names, own, strict=True) if name > 0}
        inside, certainty = inside_probability(seen.maps), seen.maps.max(axis=0)
        maps = _as_bytes(inside), _as_bytes(certainty)
        return Shown(number, seen.region, labels, *maps, steps, chances, seen.expected)


def enough(region: Region, shape: Sequence[int]) -> Region:
    """What is predicted where somebody looks at a region: its surroundings, too, so that whole objects can be accepted.

    A small image is predicted as a whole, of a huge region the middle.
    """
    if shape[0] * shape[1] <= WHOLE:
        return slice(0, shape[0]), slice(0, shape[1])
    sides = [part.stop - part.start for part in region]
    if sides[0] * sides[1] <= MOST:
        y, x = widened(region, AROUND, shape)
        return y, x
    side = int(MOST**0.5)
    starts = [part.start + max(0, (size - side) // 2) for part, size in zip(region, sides, strict=True)]
    y, x = (slice(start, min(part.stop, start + side)) for start, part in zip(starts, region, strict=True))
    return y, x


def _as_bytes(values: Floats) -> NDArray[np.uint8]:
    return np.rint(values * 255).astype(np.uint8)


def _keep_numbers(labels: NDArray[np.int32], region: Region, before: Shown) -> NDArray[np.int32]:
    """Labels (*region) in which an object has the number of the earlier object that covers most of it."""
    common = overlap(region, before.region)
    if common is None:
        return labels
    old = np.zeros(labels.shape, np.int32)
    old[within(common, region)] = before.labels[within(common, before.region)]
    both = (labels > 0) & (old > 0)
    names = np.zeros(int(labels.max(initial=0)) + 1, np.int32)
    pairs, counts = np.unique(np.stack([labels[both], old[both]]), axis=1, return_counts=True)
    taken: set[int] = set()
    for pair in np.argsort(-counts, kind="stable"):
        number, earlier = (int(n) for n in pairs[:, pair])
        if names[number] == 0 and earlier not in taken:
            names[number] = earlier
            taken.add(earlier)
    free = max(int(names.max()), int(before.labels.max(initial=0)))
    new = np.flatnonzero(names == 0)[1:] if names[0] == 0 else np.flatnonzero(names == 0)
    names[new] = free + 1 + np.arange(len(new))
    result: NDArray[np.int32] = names[labels]
    return result
