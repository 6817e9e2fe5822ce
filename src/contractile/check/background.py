"""Labels without background 0, in which another value fills the surroundings of the objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images.reading import LARGEST
from contractile.labels import annotated_planes, find_meaning

USUAL = {-1, 255, 65535, LARGEST}  # the largest value of a type, or "nothing"
AROUND = 0.5  # share of the pixels at the border that background has, at least


@dataclass(frozen=True)
class Instead:
    """What stands where background should: the value, and its share of each image (None where the image has a 0)."""

    value: int
    shares: tuple[float | None, ...]


def find_instead(labels: Sequence[NDArray[np.int32]], *, named: bool = False) -> Instead | None:
    """The value that label images (*S) have in place of background; None where they have 0, or need none.

    It touches every side of an image without 0 and fills at least half of its border, it is the lowest or the highest
    number, and the others are objects. The largest value of a type and -1 count beside classes, too; other values can
    be a class of their own. `named` says that somebody named the number that means not annotated: what is negative is
    no background then.
    """
    without = [not (one == 0).any() for one in labels]
    around = Counter(_surrounding(one) for one, bare in zip(labels, without, strict=True) if bare)
    for value in list(around):
        if value is None or (named and value < 0):
            del around[value]
    if not around:
        return None
    value, _ = around.most_common(1)[0]
    assert value is not None, "deleted above"
    has = [bool((one == value).any()) for one in labels]
    rest = [np.where(one == value, 0, one) for one, bare in zip(labels, without, strict=True) if bare]
    known = any((own or value < 0) and not bare for own, bare in zip(has, without, strict=True))
    if not _is_background(value, rest, known=known):
        return None
    shares = (_share(one, value) if bare and own else None for one, bare, own in zip(labels, without, has, strict=True))
    return Instead(value, tuple(shares))


def _is_background(value: int, rest: Sequence[NDArray[np.int32]], *, known: bool) -> bool:
    """Whether `value` surrounds the numbers in `rest` (*S), where it is 0. `known`: others have 0 and it."""
    meaning = find_meaning(rest)
    if value < 0 and known:  # where there is background elsewhere, -1 means not annotated
        return False
    if meaning.task == "objects":
        numbers = np.unique(np.concatenate([np.unique(one[one != 0]) for one in rest]))
        extreme = not numbers.size or value < numbers[0] or value > numbers[-1]
        return value in USUAL or (extreme and not (meaning.guessed or known))
    classes = len(set(meaning.class_values) - {0})
    return value in USUAL and not known and (classes == 1 or (classes > 1 and value > 0))


def _share(labels: NDArray[Any], value: int) -> float:
    """The share of pixels with this value."""
    return float(np.mean(labels == value))


def _surrounding(labels: NDArray[np.int32]) -> int | None:
    """The value that touches every side of labels (*S) and fills half of the border; None where there is none."""
    known = annotated_planes(labels)
    if known.size == 0:
        return None
    sides = [np.take(known, end, axis=axis).ravel() for axis in range(-2, 0) for end in (0, -1)]
    found, counts = np.unique(np.concatenate(sides), return_counts=True)
    value = int(found[counts.argmax()])
    everywhere = all((side == value).any() for side in sides)
    return value if everywhere and counts.max() >= AROUND * counts.sum() else None
