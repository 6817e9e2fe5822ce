"""Label images of fractions: numbers that were moved by one, or divided; smoothed masks. Arrays in, arrays out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.check.greys import Labels, count_greys, mend_greys

LARGEST_NUMBERS = (255, 65535)  # of 8 and 16 bits: programs that want values from 0 to 1 divide by them
ROUNDING = 0.02  # by which products miss whole numbers, at most
MOST = 2**16  # values of a label image that was divided by something else


class Whole(NamedTuple):
    """Whole numbers (*S), and what was done to get them."""

    values: Labels
    done: str


def find_whole(values: NDArray[Any]) -> Whole | None:
    """The numbers that values (*S) were before a fraction was added to all of them, or all were divided; else None."""
    low, high = float(values.min()), float(values.max())
    moved = values - low
    if low > -1 and _are_whole(moved):
        first = max(0, int(np.floor(low)))
        return Whole(_rounded(moved + first), f"{low - first:.3g} taken off each number")
    if low < 0 or high > 1:
        return None
    for factor in (*LARGEST_NUMBERS, _find_factor(values)):
        if factor and _are_whole(values * factor):
            return Whole(_rounded(values * factor), f"each number multiplied by {factor:.5g}")
    return None


def can_mend(values: NDArray[Any]) -> bool:
    """Whether values (*S) with fractions can be made labels: numbers, or a mask with smooth edges."""
    whole = find_whole(values)
    if whole is not None:
        values = whole.values
    greys = count_greys(values)
    return mend_greys(values) is not None if greys else whole is not None


def _find_factor(values: NDArray[Any]) -> float | None:
    """What makes the smallest step between two values 1."""
    found = np.unique(values)
    return float(1 / np.diff(found.astype(np.float64)).min()) if 1 < len(found) <= MOST else None


def _are_whole(values: NDArray[Any]) -> bool:
    """Whether all values are nearly whole numbers, and some more than 0."""
    return bool(values.max() > ROUNDING and (np.abs(values - np.rint(values)) <= ROUNDING).all())


def _rounded(values: NDArray[Any]) -> Labels:
    rounded: Labels = np.rint(values).astype(np.int32)
    return rounded
