"""Paste objects of other images into an image, for more crowding and overlap than the annotated images show.

Source: copy-paste augmentation (Ghiasi et al. 2021, arXiv:2012.07177). Here an object brings a soft rim of its
surroundings, such as its halo, and half of all objects are placed on or beside another object. Where such a rim would
darken the neighbour of a bright object, a seam that is in no real image would tell the two apart: so half of the
objects leave their neighbours as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.labels import boxes

PASTED_SHARE = 0.5  # objects to paste, as a fraction of those that the image has
RIM = 4.0  # width in pixels of the soft rim around a pasted object
BARE_SHARE = 0.5  # of the pasted objects, whose rims do not cover other objects
TRIES = 10  # for each object to paste
LEAST_LEFT = 0.5  # fraction of an object that must stay visible when another is pasted over it
MOST_UNLIKE = 4.0  # a pasted object is at most this many times larger or smaller than the median object


class Picture(NamedTuple):
    """pixels (C, *S) float32 and labels (*S) int32, negative where not annotated."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int32]


def paste_objects(picture: Picture, donors: Sequence[Picture], *, rng: np.random.Generator) -> Picture:
    """`picture` with half as many objects again, at least one, from random donors, turned by quarters or mirrored.

    Grey values of all pictures must be comparable (normalised). Objects that the border of a donor cuts, and objects of
    a very different size, are not pasted. Fewer are pasted when more would hide over half of another object.
    """
    pixels, labels = picture.pixels.copy(), picture.labels.copy()
    sizes = np.unique(labels[labels > 0], return_counts=True)[1]
    wanted, usual = max(1, round(PASTED_SHARE * len(sizes))), float(np.median(sizes)) if len(sizes) else None
    for _ in range(TRIES * wanted):
        cut_out = _cut_out(donors[int(rng.integers(len(donors)))], rng)
        if cut_out is None or (usual and not 1 / MOST_UNLIKE <= cut_out.mask.sum() / usual <= MOST_UNLIKE):
            continue
        wanted -= _put(pixels, labels, cut_out, rng)
        if wanted == 0:
            break
    return Picture(pixels, labels)


class _CutOut(NamedTuple):
    """An object and its surroundings: pixels (C, *s); `mask` (*s) of the object; `opacity` (*s), 0 to 1."""

    pixels: NDArray[np.float32]
    mask: NDArray[np.bool_]
    opacity: NDArray[np.float64]


def _cut_out(donor: Picture, rng: np.random.Generator) -> _CutOut | None:
    """A random object of a donor in a random pose; None without objects, or when the border cuts the one drawn."""
    numbers = np.unique(donor.labels[donor.labels > 0])
    if len(numbers) == 0:
        return None
    mask = donor.labels == rng.choice(numbers)
    box = boxes(mask.astype(np.uint8))[0]
    if any(side.start == 0 or side.stop == size for side, size in zip(box, mask.shape, strict=True)):
        return None
    rim = int(RIM)
    box = tuple(slice(max(0, side.start - rim), side.stop + rim) for side in box)
    others = (donor.labels[box] > 0) & ~mask[box]
    opacity = np.where(others, 0.0, np.clip(1 - ndimage.distance_transform_edt(~mask[box]) / RIM, 0, 1))
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5

    def pose(array: NDArray[Any]) -> NDArray[Any]:
        turned: NDArray[Any] = np.rot90(array, turns, (-2, -1))
        return turned[..., ::-1] if mirrored else turned

    return _CutOut(pose(donor.pixels[(slice(None), *box)]), pose(mask[box]), pose(opacity))


def _put(pixels: NDArray[np.float32], labels: NDArray[np.int32], cut_out: _CutOut, rng: np.random.Generator) -> bool:
    """Paste in place; False where it does not fit or hides too much."""
    places = _find_places(labels, radius=min(cut_out.mask.shape) / 2, rng=rng)
    room = np.subtract(labels.shape, cut_out.mask.shape)
    if len(places) == 0 or room.min() < 0:
        return False
    centre = np.unravel_index(rng.choice(places), labels.shape)
    start = np.clip(np.subtract(centre, np.array(cut_out.mask.shape) // 2), 0, room)
    place = tuple(slice(int(at), int(at) + size) for at, size in zip(start, cut_out.mask.shape, strict=True))
    under, hidden = np.unique(labels[place][cut_out.mask], return_counts=True)
    for number, count in zip(under, hidden, strict=True):
        if number > 0 and count > (1 - LEAST_LEFT) * np.count_nonzero(labels == number):
            return False
    opacity, here = cut_out.opacity, pixels[(slice(None), *place)]
    if rng.random() < BARE_SHARE:
        opacity = np.where((labels[place] > 0) & ~cut_out.mask, 0.0, opacity)
    here += opacity.astype(np.float32) * (cut_out.pixels - here)
    labels[place][cut_out.mask] = labels.max() + 1
    return True


def _find_places(labels: NDArray[np.int32], *, radius: float, rng: np.random.Generator) -> NDArray[np.intp]:
    """Where the centre of an object may be: for a half of them anywhere, for a quarter each on or beside an object."""
    drawn = rng.random()
    if drawn < 0.5:
        return np.arange(labels.size)
    if drawn < 0.75:
        return np.flatnonzero(labels > 0)
    away = ndimage.distance_transform_edt(labels <= 0)
    return np.flatnonzero(np.abs(away - radius) < 1)
