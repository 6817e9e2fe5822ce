"""What a label image is: connected pieces, numbering, sizes, and whether its numbers are objects or classes.

Labels are (*S) integers, *S = (Y, X) or (Z, Y, X): 0 is background, negative values are pixels that are not annotated,
every other value is an object or a class. Lengths are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.errors import ContractileError, WrongType

SHARES = (0.05, 0.5, 0.95)  # fractions of all object pixels in objects smaller than a small, typical and large one
MOST_CLASSES = 32  # more different numbers than this are objects
WHOLE = 0.8  # in labels of objects, at least this share of the numbers are one connected piece each
FEW = 5  # a set with at most this many numbers above 0 can be objects or classes

Box = tuple[slice, ...]


def check_labels(labels: NDArray[Any]) -> None:
    """Raise WrongType or ContractileError for an array that cannot be labels."""
    if labels.dtype.kind not in "iu":
        raise WrongType(f"labels must be integers, got {labels.dtype}", "round them and convert, e.g. to int32")
    if labels.ndim not in (2, 3):
        raise ContractileError(f"labels must be (Y, X) or (Z, Y, X), got shape {labels.shape}", "drop or add axes")


def as_int32(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) as int32. Raises ContractileError for numbers that it cannot hold."""
    limits = np.iinfo(np.int32)
    if not np.can_cast(labels.dtype, np.int32) and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if low < limits.min or high > limits.max:
            beyond = low if low < limits.min else high
            problem = f"labels must lie between {limits.min} and {limits.max}, got {beyond}"
            raise ContractileError(problem, "renumber the objects from 1 on")
    return labels.astype(np.int32, copy=False)


def connected(mask: NDArray[np.bool_], *, diagonal: bool = False) -> NDArray[np.int32]:
    """Number the connected pieces of `mask` (*S) 1..N in scan order.

    Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D), or with `diagonal` also by edges and corners
    (8 and 26).
    """
    pieces: NDArray[np.int32] = np.empty(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3,) * mask.ndim) if diagonal else None, output=pieces)
    return pieces


def boxes(labels: NDArray[Any]) -> list[Box]:
    """The smallest box around each number 1..N of labels (*S), as slices; empty for a number that does not occur.

    Memory and time grow with the largest number: use `renumber` first where numbers can be large.
    """
    empty = (slice(0, 0),) * labels.ndim
    return [box or empty for box in ndimage.find_objects(labels)]


def renumber(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) with numbers 1..N without gaps, in the order of the old ones; values of 0 and less become 0."""
    found, place = np.unique(labels, return_inverse=True)
    numbers: NDArray[np.int32] = np.where(found > 0, np.cumsum(found > 0), 0).astype(np.int32)
    return numbers[place].reshape(labels.shape)


def drop_small(labels: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    """Labels (*S) >= 0 without the objects of fewer than `min_size` pixels, numbered 1..N without gaps."""
    numbers = labels if labels.max(initial=0) <= labels.size else renumber(labels)  # memory follows the largest number
    kept = np.bincount(numbers.ravel()) >= max(min_size, 1)
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[numbers]


def object_sizes(labels: Iterable[NDArray[Any]], *, spacing: Sequence[float] = ()) -> NDArray[np.intp]:
    """Pixels of each object in the labels (*S) of one or more images; the same number in two images is two objects.

    Of a volume in which only some sections are annotated (planes, or lines of all planes; all else is negative), the
    pixels of an object are those in its annotated sections times the distance between these (the estimator of
    Cavalieri). Of neighbouring sections that cut an object at both ends it is a ball: the mean section of a ball of
    radius r has the area 2/3 pi r^2. `spacing` is the size of a pixel along each axis, relative to the others.
    """
    return np.concatenate([np.zeros(0, np.intp), *(_sizes(one, spacing or (1.0,) * one.ndim) for one in labels)])


def _sizes(labels: NDArray[Any], spacing: Sequence[float]) -> NDArray[np.intp]:
    drawn = np.nonzero(labels > 0)
    numbers, pixels = np.unique(labels[drawn], return_counts=True)
    if labels.ndim == 2:
        return pixels
    axis, sections = _sections(labels)
    if len(sections) == labels.shape[axis]:
        return pixels
    runs = np.split(sections, np.flatnonzero(np.diff(sections) > 1) + 1)
    if len(runs) == len(sections) > 1:
        return pixels * int(np.median(np.diff(sections)))
    of = np.unique(np.stack([np.searchsorted(numbers, labels[drawn]), drawn[axis]]), axis=1)[0]
    through = np.bincount(of, minlength=len(numbers))  # sections that an object is in
    area = pixels / through * math.prod(spacing) / spacing[axis]
    ball = 4 / 3 * math.pi * (1.5 * area / math.pi) ** 1.5 / math.prod(spacing)
    cut = through >= len(sections) / len(runs)
    return np.where(cut, np.maximum(pixels, np.rint(ball)), pixels).astype(np.intp)


def _sections(labels: NDArray[Any]) -> tuple[int, NDArray[np.intp]]:
    """The axis along which the smallest share of labels (*S) has annotated pixels, and where that is."""
    known = [_annotated_along(labels, axis) for axis in range(labels.ndim)]
    axis = min(range(labels.ndim), key=lambda one: float(known[one].mean()))
    return axis, np.flatnonzero(known[axis])


def _annotated_along(labels: NDArray[Any], axis: int) -> NDArray[np.bool_]:
    """Which lines or planes of labels (*S) across an axis (n,) have annotated pixels."""
    others = tuple(other for other in range(labels.ndim) if other != axis)
    return np.asarray((labels >= 0).any(axis=others))


def diameters(labels: Sequence[NDArray[Any]], *, spacing: Sequence[float] = ()) -> tuple[float, float, float]:
    """Diameters in pixels of a small, a typical and a large object, as discs (balls) of their size; 0 without objects.

    Of all object pixels 5 %, 50 % and 95 % are in objects smaller than these, so specks hardly count. Sections
    and `spacing` are as in `object_sizes`.
    """
    sizes = np.sort(object_sizes(labels, spacing=spacing))
    if len(sizes) == 0:
        return 0.0, 0.0, 0.0
    small, typical, large = sizes[np.searchsorted(np.cumsum(sizes), np.array(SHARES) * sizes.sum())]
    dims = labels[0].ndim
    return _diameter(small, dims), _diameter(typical, dims), _diameter(large, dims)


def typical_diameter(labels: Sequence[NDArray[Any]]) -> float:
    """Diameter in pixels of a disc (ball) as large as the median object, weighted by pixels (see `diameters`)."""
    return diameters(labels)[1]


def _diameter(size: np.intp, dims: int) -> float:
    return float(2 * math.sqrt(size / math.pi) if dims == 2 else (6 * size / math.pi) ** (1 / 3))


@dataclass(frozen=True)
class Meaning:
    """What the numbers in a set of label images stand for.

    `class_values` are the classes in order, background first where there is one; empty for objects. `guessed` is true
    where the labels fit both tasks, `whole` where nearly all numbers are one piece, as those of objects are.
    """

    task: Literal["classes", "objects"]
    class_values: tuple[int, ...] = ()
    guessed: bool = False
    whole: bool = False


def find_meaning(
    labels: Iterable[NDArray[Any]], *, task: str | None = None, ignore_label: int | None = None
) -> Meaning:
    """Whether the numbers in label images (*S) are objects or classes; every room of the package uses this rule.

    Each object has a number of its own, so nearly every number of an image is one connected piece (pixels connect by
    corners, too). The same is true of a few large classes, such as layers of a tissue. Numbers are therefore objects
    when nearly all are one piece and one of these holds: there are more than two to an image; there are more than 32
    in all; there are two in a single image, and neither is a layer, which reaches from one side of the image to the
    opposite one (of a volume, along two axes). Everything else is classes. `task` ("objects" or "classes") settles it
    where this rule would be wrong.
    """
    if task == "objects":
        return Meaning("objects")
    values: set[int] = set()
    images, pieces, layers = 0, [], 0
    for one in labels:
        known = annotated_planes(one if ignore_label is None else np.where(one == ignore_label, -1, as_int32(one)))
        if known.size == 0:
            continue
        images += 1
        values.update(np.unique(known[known >= 0]).tolist())
        if task is None:
            numbers = renumber(known)
            pieces += _count_pieces(numbers)
            for box in boxes(numbers):
                spanned = sum(side.stop - side.start == size for side, size in zip(box, known.shape, strict=True))
                layers += spanned >= one.ndim - 1
    guessed = task is None and 1 < len(values - {0}) <= FEW
    whole = len(pieces) > 1 and pieces.count(1) > WHOLE * len(pieces)
    if whole and max(values) > 1:
        many = len(pieces) > 2 * images or len(values) > MOST_CLASSES
        if many or (images == 1 and layers == 0):
            return Meaning("objects", guessed=guessed, whole=True)
    return Meaning("classes", tuple(sorted(values)), guessed, whole)


def annotated_planes(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels (*S) without lines and planes that nobody annotated: an object in every tenth plane stays one piece."""
    for axis in range(labels.ndim):
        labels = labels.compress(_annotated_along(labels, axis), axis)
    return labels


def _count_pieces(numbers: NDArray[np.int32]) -> list[int]:
    """Of each number 1..N: in how many pieces it is, in one pass over the image however many numbers there are."""
    from skimage.measure import label  # labels equal neighbours, which `ndimage.label` cannot

    pieces = label(numbers, background=0, connectivity=numbers.ndim)
    number = np.zeros(pieces.max(initial=0) + 1, np.int32)
    number[pieces] = numbers
    counts: list[int] = np.bincount(number[1:])[1:].tolist()
    return counts
