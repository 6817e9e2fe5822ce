"""Paste objects of other images into an image, for more crowding and overlap than the annotated images show.

Source: copy-paste augmentation (Ghiasi et al. 2021, arXiv:2012.07177). Here an object brings a soft rim of its
surroundings, such as its halo, and half of all objects are placed on or beside another object. Where such a rim would
darken the neighbour of a bright object, a seam that is in no real image would tell the two apart: so half of the
objects leave their neighbours as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.labels import Box, boxes, object_sizes

PASTED_SHARE = 0.5  # objects to paste, as a fraction of those that the image has
RIM = 4.0  # width in pixels of the soft rim around a pasted object
BARE_SHARE = 0.5  # of the pasted objects, whose rims do not cover other objects
TRIES = 10  # for each object to paste
LEAST_LEFT = 0.5  # fraction of an object that must stay visible when another is pasted over it
MOST_UNLIKE = 4.0  # a pasted object is at most this many times larger or smaller than the median object


@dataclass(frozen=True)
class Picture:
    """pixels (C, *S) float32 and labels (*S) int32, negative where not annotated. Numbers should have few gaps."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int32]

    @cached_property
    def boxes(self) -> dict[int, Box]:
        """The smallest box around each object, by its number."""
        return {number: box for number, box in enumerate(boxes(self.labels), start=1) if box[0].stop > 0}

    @cached_property
    def whole(self) -> list[int]:
        """The numbers of the objects that neither the border nor pixels without annotation cut."""
        inside = [
            number
            for number, box in self.boxes.items()
            if all(side.start > 0 and side.stop < size for side, size in zip(box, self.labels.shape, strict=True))
        ]
        return [number for number in inside if not self._is_beside_unknown(number)]

    def _is_beside_unknown(self, number: int) -> bool:
        part = self.labels[_widen(self.boxes[number], 1)]
        return bool((ndimage.binary_dilation(part == number) & (part < 0)).any())


def paste_objects(picture: Picture, donors: Sequence[Picture], *, rng: np.random.Generator) -> Picture:
    """`picture` with half as many objects again, at least one, from random donors, turned by quarters or mirrored.

    Grey values of all pictures must be comparable (normalised). Objects that the border of a donor or pixels without
    annotation cut, and objects of a very different size, are not pasted. Fewer are pasted when more would hide over
    half of another object.
    """
    scene = _Scene(picture)
    sizes = object_sizes([picture.labels])
    wanted, usual = max(1, round(PASTED_SHARE * len(sizes))), float(np.median(sizes)) if len(sizes) else None
    for _ in range(TRIES * wanted):
        cut_out = _cut_out(donors[int(rng.integers(len(donors)))], rng)
        if cut_out is None or (usual and not 1 / MOST_UNLIKE <= cut_out.mask.sum() / usual <= MOST_UNLIKE):
            continue
        wanted -= scene.put(cut_out, rng)
        if wanted == 0:
            break
    return Picture(scene.pixels, scene.labels)


class _CutOut(NamedTuple):
    """An object and its surroundings: pixels (C, *s); `mask` (*s) of the object; `opacity` (*s), 0 to 1."""

    pixels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    opacity: NDArray[np.float64]


def _cut_out(donor: Picture, rng: np.random.Generator) -> _CutOut | None:
    """A random object of a donor in a random pose; None where the donor has no whole object."""
    if not donor.whole:
        return None
    number = donor.whole[int(rng.integers(len(donor.whole)))]
    box = _widen(donor.boxes[number], int(RIM))
    mask = donor.labels[box] == number
    others = (donor.labels[box] != 0) & ~mask  # not annotated may be other objects
    opacity = np.where(others, 0.0, np.clip(1 - ndimage.distance_transform_edt(~mask) / RIM, 0, 1))
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5

    def pose(array: NDArray[Any]) -> NDArray[Any]:
        turned: NDArray[Any] = np.rot90(array, turns, (-2, -1))
        return turned[..., ::-1] if mirrored else turned

    return _CutOut(pose(donor.pixels[(slice(None), *box)]), pose(mask), pose(opacity))


def _widen(box: Box, by: int) -> Box:
    """The box with so many pixels more on each side; none below 0."""
    return tuple(slice(max(0, side.start - by), side.stop + by) for side in box)


class _Scene:
    """A picture that objects are pasted into, and the boxes of its objects."""

    def __init__(self, picture: Picture) -> None:
        self.pixels, self.labels, self.boxes = picture.pixels.copy(), picture.labels.copy(), dict(picture.boxes)
        self._sizes = {  # before anything hid a part of them
            number: np.count_nonzero(self.labels[box] == number) for number, box in self.boxes.items()
        }

    def put(self, cut_out: _CutOut, rng: np.random.Generator) -> bool:
        """Paste an object; False where it does not fit or hides too much."""
        shape = np.array(cut_out.mask.shape)
        centre, room = self._draw_centre(min(shape) / 2, rng), np.subtract(self.labels.shape, shape)
        if centre is None or room.min() < 0:
            return False
        start = np.clip(centre - shape // 2, 0, room)
        place = tuple(slice(int(at), int(at) + size) for at, size in zip(start, shape, strict=True))
        under, hidden = np.unique(self.labels[place][cut_out.mask], return_counts=True)
        for number, count in zip(under.tolist(), hidden, strict=True):
            visible = np.count_nonzero(self.labels[self.boxes[number]] == number) - count if number > 0 else 0
            if number > 0 and visible < LEAST_LEFT * self._sizes[number]:
                return False
        opacity, here = cut_out.opacity, self.pixels[(slice(None), *place)]
        if rng.random() < BARE_SHARE:
            opacity = np.where((self.labels[place] != 0) & ~cut_out.mask, 0.0, opacity)
        here += opacity.astype(np.float32) * (cut_out.pixels - here)
        number = max(self.boxes, default=0) + 1
        self.labels[place][cut_out.mask], self.boxes[number] = number, place
        self._sizes[number] = np.count_nonzero(cut_out.mask)
        return True

    def _draw_centre(self, radius: float, rng: np.random.Generator) -> NDArray[np.intp] | None:
        """The centre of an object of this radius: for a half anywhere, for a quarter each on or beside an object.

        None where there is no such place.
        """
        drawn = rng.random()
        if drawn < 0.5:
            return rng.integers(self.labels.shape)
        if not self.boxes:
            return None
        numbers = list(self.boxes)
        number = numbers[int(rng.integers(len(numbers)))]
        box = _widen(self.boxes[number], 0 if drawn < 0.75 else math.ceil(radius) + 1)
        inside = self.labels[box] == number
        places = inside if drawn < 0.75 else np.abs(ndimage.distance_transform_edt(~inside) - radius) < 1
        found = np.argwhere(places)
        if len(found) == 0:
            return None
        centre: NDArray[np.intp] = found[int(rng.integers(len(found)))] + np.array([side.start for side in box])
        return centre
