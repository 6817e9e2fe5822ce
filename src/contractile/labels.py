"""What a label image is: connected pieces, numbering, sizes, and whether its numbers are objects or classes.

Labels are (*S) integers, *S = (Y, X) or (Z, Y, X): 0 is background, negative values are pixels that nobody annotated,
every other value is an object or a class. Lengths are in pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.errors import ContractileError, WrongType

SHARES = (0.05, 0.5, 0.95)  # shares of all object pixels that lie in objects smaller than a small, typical, large one
MOST_CLASSES = 32  # label files with more different values than this number objects
WHOLE = 0.8  # share of numbers that must be one connected piece each, for labels of objects
FEW = 5  # a set with at most this many numbers above 0 may be of either kind

Box = tuple[slice, ...]


def check_labels(labels: NDArray[Any]) -> None:
    """Raise WrongType or ContractileError for an array that cannot be labels."""
    if labels.dtype.kind not in "iu":
        raise WrongType(f"labels must be integers, got {labels.dtype}", "round them and convert, e.g. to int32")
    if labels.ndim not in (2, 3):
        raise ContractileError(f"labels must be (Y, X) or (Z, Y, X), got shape {labels.shape}", "drop or add axes")


def connected(mask: NDArray[np.bool_], *, diagonal: bool = False) -> NDArray[np.int32]:
    """Number the connected pieces of `mask` (*S) 1..N in scan order.

    Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D), or with `diagonal` also by edges and corners
    (8 and 26).
    """
    pieces: NDArray[np.int32] = np.empty(mask.shape, np.int32)
    ndimage.label(mask, np.ones((3,) * mask.ndim) if diagonal else None, output=pieces)
    return pieces


def boxes(labels: NDArray[Any]) -> list[Box | None]:
    """The smallest box around each number 1..N of labels (*S), as slices; None for a number that does not occur.

    Numbers must be small: memory is in proportion to the largest. `renumber` makes them so.
    """
    found: list[Box | None] = ndimage.find_objects(labels)
    return found


def renumber(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) with numbers 1..N without gaps, in the order of the old ones; values of 0 and less become 0."""
    found, place = np.unique(labels, return_inverse=True)
    numbers: NDArray[np.int32] = np.where(found > 0, np.cumsum(found > 0), 0).astype(np.int32)
    return numbers[place].reshape(labels.shape)


def drop_small(labels: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    """Labels (*S) >= 0 without the objects of fewer than `min_size` pixels, numbered 1..N without gaps."""
    kept = np.bincount(labels.ravel()) >= max(min_size, 1)
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[labels]


def object_sizes(labels: Iterable[NDArray[Any]]) -> NDArray[np.intp]:
    """Pixels of each object in the labels (*S) of one or more images; the same number in two images is two objects."""
    return np.concatenate([np.unique(one[one > 0], return_counts=True)[1] for one in labels])


def diameters(labels: Sequence[NDArray[Any]]) -> tuple[float, float, float]:
    """Diameters in pixels of discs (balls) as large as small, typical and large objects are; 0 without objects.

    Weighted by pixels, so that specks do not count: 5 %, half and 95 % of all object pixels lie in smaller objects.
    """
    sizes = np.sort(object_sizes(labels))
    if len(sizes) == 0:
        return 0.0, 0.0, 0.0
    small, typical, large = sizes[np.searchsorted(np.cumsum(sizes), np.array(SHARES) * sizes.sum())]
    dims = labels[0].ndim
    return _diameter(small, dims), _diameter(typical, dims), _diameter(large, dims)


def typical_diameter(labels: Sequence[NDArray[Any]]) -> float:
    """Diameter in pixels of a disc as large as the median object, weighted by pixels (see `diameters`)."""
    return diameters(labels)[1]


def _diameter(size: np.intp, dims: int) -> float:
    return float(2 * math.sqrt(size / math.pi) if dims == 2 else (6 * size / math.pi) ** (1 / 3))


@dataclass(frozen=True)
class Meaning:
    """What the numbers in a set of label images stand for.

    `class_values` are the classes in order, background first where there is one; empty for objects. `guessed` says
    that the labels alone do not settle it.
    """

    task: Literal["classes", "objects"]
    class_values: tuple[int, ...] = ()
    guessed: bool = False


def find_meaning(
    labels: Iterable[NDArray[Any]], *, task: str | None = None, ignore_label: int | None = None
) -> Meaning:
    """Whether the numbers in label images (*S) are objects or classes. The one rule of the package.

    An object has a number of its own, so nearly every number of an image is one connected piece (pixels connect by
    corners, too). That is also true of a few large classes, such as layers of a tissue. Numbers are therefore objects
    when there are more than two to an image or more than 32 in all, and also when a single image has one or two
    compact pieces: a layer, by contrast, reaches from one side of the image to the opposite one (of a volume, along two
    axes). All else is classes.
    `task` ("objects" or "classes") settles it where this guesses wrong.
    """
    values: set[int] = set()
    images, pieces, layers = 0, [], 0
    for one in labels:
        images += 1
        values.update(int(value) for value in np.unique(one) if value >= 0)
        if task is None:
            for count, box in _pieces(np.where(one == ignore_label, 0, one)):
                pieces.append(count)
                spanned = sum(side.stop - side.start == size for side, size in zip(box, one.shape, strict=True))
                layers += spanned >= one.ndim - 1
    values.discard(-1 if ignore_label is None else ignore_label)
    positive = [value for value in values if value > 0]
    guessed = task is None and 1 < len(positive) <= FEW
    if task is None:
        whole = sum(count == 1 for count in pieces) > WHOLE * len(pieces)
        many = len(pieces) > 2 * images or len(values) > MOST_CLASSES
        compact = images == 1 and layers == 0
        numbered = max(values, default=0) > 1 and len(pieces) > 1
        task = "objects" if numbered and whole and (many or compact) else "classes"
    if task == "objects":
        return Meaning("objects", guessed=guessed)
    return Meaning("classes", tuple(sorted(values)), guessed)


def _pieces(labels: NDArray[Any]) -> Iterator[tuple[int, Box]]:
    """Of each value above 0: the number of its connected pieces, and the box around all of them."""
    numbers = renumber(labels)
    for number, box in enumerate(boxes(numbers), start=1):
        if box is not None:
            yield int(connected(numbers[box] == number, diagonal=True).max()), box
