"""Label images that are none: smoothed or compressed masks, resized numbers, photographs. Arrays in, arrays out.

Objects and classes are areas of one value, so that from one value to another there is a step. Smoothing, JPEG and
resizing leave values in between on the way; in a photograph nearly all values are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.int32]

RAMPS = 0.07  # share of the steps that pass through a value in between: true labels have below 0.05, smoothed ones 0.1
BORDER = 0.6  # share of the pixels in between that have one value where that is a class of borders
DIRECT = 0.1  # share of the steps across such a border that do without it, at most
STRAY = 0.01  # share of the pixels that a value has, at most, which is no class
MOST_STRAY = 16  # values that are looked at
CLEAR = 0.6  # share of the pixels of either half of the range that are near the main value of that half, in a mask
NEAR = 0.1  # how near, as a share of the range; twice as far in smooth masks, whose small objects are dimmer
SMOOTH = 0.65  # share of the steps that pass through a value in between in a smooth mask; noise leaves less
CLOSE = 0.05  # as NEAR, for values that only the best quality of JPEG leaves
AREAS = 0.3  # share of the pixels of objects whose neighbours have the same value, in numbers that were resized


class Steps(NamedTuple):
    """How values change along the axes. `between` holds the values of pixels that lie between their two neighbours."""

    between: NDArray[Any]
    changes: int  # places where the two neighbours of a pixel differ


def find_steps(values: NDArray[Any]) -> Steps:
    """The steps of values (*S), each pixel compared with its two neighbours along every axis."""
    found, changes = [], 0
    for axis in range(values.ndim):
        along = np.moveaxis(values, axis, 0)
        before, here, after = along[:-2], along[1:-1], along[2:]
        low, high = np.minimum(before, after), np.maximum(before, after)
        found.append(here[(low < here) & (here < high)])
        changes += int(np.count_nonzero(low < high))
    return Steps(np.concatenate(found), changes)


def ramps(values: NDArray[Any]) -> float:
    """The share of the steps of values (*S) that pass through a value in between."""
    between, changes = find_steps(values)
    return len(between) / max(1, changes)


def count_greys(values: NDArray[Any]) -> int:
    """The number of values where values (*S) are no labels: a smoothed mask, resized numbers, a photograph; else 0."""
    found, counts = np.unique(values, return_counts=True)
    if len(found) < 3 or found[0] < 0:
        return 0
    between, changes = find_steps(values)
    if len(between) > RAMPS * changes and not _are_borders(values, between):
        return len(found)
    return len(found) if _are_two_bundles(values, found, counts) else 0


def _are_borders(values: NDArray[Any], between: NDArray[Any]) -> bool:
    """Whether the pixels in between are a class of their own, such as the outline of cells.

    Outlines have one value, and leave hardly a place where what they separate touches.
    """
    found, counts = np.unique(between, return_counts=True)
    most = int(counts.max())
    return most > BORDER * len(between) and _count_direct(values, found[counts.argmax()]) < DIRECT * most


def _count_direct(values: NDArray[Any], border: Any) -> int:
    """The number of steps from a value below `border` to one above it."""
    direct = 0
    for axis in range(values.ndim):
        along = np.moveaxis(values, axis, 0)
        below = (along < border) & (along >= 0)
        direct += int(np.count_nonzero((below[:-1] & (along[1:] > border)) | (below[1:] & (along[:-1] > border))))
    return direct


def _are_two_bundles(values: NDArray[Any], found: NDArray[Any], counts: NDArray[Any]) -> bool:
    """Whether all values lie close to the two ends of the range, and those beside the two main ones fill no areas."""
    low, high = float(found[0]), float(found[-1])
    near = CLOSE * (high - low)
    if near < 1 or (np.minimum(found - low, high - found) > near).any():
        return False
    beside = ~np.isin(values, _main_values(found, counts))
    return bool(np.count_nonzero(beside & find_flat(values)) < AREAS * np.count_nonzero(beside))


def find_stray(labels: Sequence[Labels]) -> list[int]:
    """Values of class masks (*S) that are no classes: only found between two others, where some touch directly, too.

    The values must be rare and have no area in any of the masks.
    """
    result = []
    counts: Counter[int] = Counter()
    for one in labels:
        counts.update(dict(zip(*(part.tolist() for part in np.unique(one[one >= 0], return_counts=True)), strict=True)))
    rare = [value for value, count in counts.items() if count < STRAY * counts.total()]
    for value in sorted(rare)[:MOST_STRAY] if len(counts) > 2 else []:
        found = [one for one in labels if (one == value).any()]
        between = sum(np.count_nonzero(find_steps(one).between == value) for one in found)
        direct = sum(_count_direct(one, value) for one in found)
        area = any((find_flat(one) & (one == value)).any() for one in found)
        if not area and between >= counts[value] / 2 and direct > DIRECT * between:
            result.append(value)
    return result


def drop_stray(labels: Labels, values: Sequence[int]) -> Labels:
    """Labels (*S) in which pixels of these values take the value of the nearest other pixel."""
    stray = np.isin(labels, values)
    nearest = ndimage.distance_transform_edt(stray, return_distances=False, return_indices=True)
    kept: Labels = labels[tuple(nearest)]
    return kept


def find_flat(values: NDArray[Any], *, reach: float = 0) -> NDArray[np.bool_]:
    """Pixels of values (*S) whose neighbours along all axes have the same value, or one within `reach`.

    Beyond the border all have.
    """
    flat = np.ones(values.shape, bool)
    for axis in range(values.ndim):
        along, result = np.moveaxis(values, axis, 0), np.moveaxis(flat, axis, 0)  # views
        same = np.abs(along[1:] - along[:-1]) <= reach if reach else along[1:] == along[:-1]
        result[1:] &= same
        result[:-1] &= same
    return flat


def cut_greys(values: NDArray[Any]) -> Labels | None:
    """A smoothed mask (*S) cut halfway between its two main values, as labels 0 and 255.

    None where one half of the range has no main value that most pixels are near.
    """
    found, counts = np.unique(values, return_counts=True)
    if len(found) < 2:
        return None
    low, high = (float(main) for main in _main_values(found, counts))
    reach = (2 if ramps(values) > SMOOTH else 1) * NEAR * (high - low)
    upper = found > (float(found[0]) + float(found[-1])) / 2
    for half, main in ((~upper, low), (upper, high)):
        near = half & (np.abs(found - main) <= reach)
        if counts[near].sum() < CLEAR * counts[half].sum():
            return None
    return np.where(values > (low + high) / 2, 255, 0).astype(np.int32)


def snap(values: NDArray[Any]) -> Labels | None:
    """Resized or smoothed numbers (*S): each pixel without equal neighbours takes the number of the nearest with them.

    None where hardly any object has an area of one number, as in a photograph.
    """
    found, counts = np.unique(values, return_counts=True)
    flat, rest = find_flat(values), values != found[counts.argmax()]
    if np.count_nonzero(flat & rest) < AREAS * np.count_nonzero(rest) or not rest.any():
        return None
    nearest = ndimage.distance_transform_edt(~flat, return_distances=False, return_indices=True)
    snapped: Labels = values[tuple(nearest)].astype(np.int32)
    return snapped


def mend_greys(values: NDArray[Any]) -> Labels | None:
    """A smoothed mask cut in two, or numbers that were resized with full edges; None for a photograph."""
    kind = name_greys(values)
    return None if kind == "picture" else cut_greys(values) if kind == "grey" else snap(values)


def name_greys(values: NDArray[Any]) -> Literal["grey", "mixed", "picture"]:
    """What values (*S) that are no labels are: a smoothed mask, numbers that were resized, or a photograph."""
    found, counts = np.unique(values, return_counts=True)
    beside = ~np.isin(values, _main_values(found, counts))
    if np.count_nonzero(beside & find_flat(values)) >= AREAS * np.count_nonzero(beside):
        return "mixed"
    return "picture" if cut_greys(values) is None else "grey"


def _main_values(found: NDArray[Any], counts: NDArray[Any]) -> tuple[Any, Any]:
    """The most common value in the lower and in the upper half of the range. `found` holds at least two values."""
    upper = found > (float(found[0]) + float(found[-1])) / 2
    low, high = (found[half][counts[half].argmax()] for half in (~upper, upper))
    return low, high
