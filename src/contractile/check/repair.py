"""Faults of one label image, and their repair: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as equal_pieces

from contractile.labels import Box, boxes, connected, renumber

Labels = NDArray[np.int32]

GREY_VALUES = 5  # a mask with at least this many values may be smoothed
FLAT = 0.25  # smoothed where a smaller share of the in-between pixels has neighbours of the same value
CLEAR = 0.85  # share of pixels that must be near one of the two main values
NEAR = 0.2  # how near, as a share of the range between them
FAR = 2  # pieces up to twice this many pixels apart are one object
SPECK = 0.01  # of the size of the median piece
SPECK_PIXELS = 4


@dataclass(frozen=True)
class Pieces:
    """The connected pieces of equal positive label; pixels connect by edges and corners, too.

    `of` (*S) holds their numbers 1..N, 0 is background. By number: `owner` is the label, `size` the number of pixels,
    `inside` whether the piece does not touch the image's border.
    """

    of: NDArray[Any]
    owner: NDArray[Any]
    size: NDArray[Any]
    inside: NDArray[np.bool_]


def find_pieces(labels: Labels) -> Pieces:
    of = equal_pieces(np.maximum(labels, 0), background=0, connectivity=labels.ndim)
    count = int(of.max(initial=0)) + 1
    owner = np.zeros(count, labels.dtype)
    owner[of.ravel()] = np.maximum(labels, 0).ravel()
    inside = np.ones(count, bool)
    for axis in range(labels.ndim):
        for edge in (0, -1):
            inside[np.take(of, edge, axis=axis)] = False
    return Pieces(of, owner, np.bincount(of.ravel(), minlength=count), inside)


def find_specks(pieces: Pieces) -> NDArray[Any]:
    """Numbers of the pieces too small to be objects: below 4 pixels, or a hundredth of the median piece.

    Pieces at the image's border do not count: they may be the rim of an object.
    """
    sizes = pieces.size[1:]
    if not sizes.size:
        return np.zeros(0, int)
    limit = max(SPECK_PIXELS, SPECK * float(np.median(sizes)))
    return 1 + np.flatnonzero((sizes < limit) & pieces.inside[1:])


def remove_specks(labels: Labels) -> tuple[Labels, int]:
    """Labels with specks set to background, and the number of specks."""
    pieces = find_pieces(labels)
    specks = find_specks(pieces)
    gone = np.zeros(len(pieces.size), bool)
    gone[specks] = True
    return np.where(gone[pieces.of], 0, labels).astype(np.int32), len(specks)


def find_split(pieces: Pieces) -> list[int]:
    """Labels with several pieces more than 4 pixels apart, not counting specks."""
    real = np.ones(len(pieces.size), bool)
    real[[0, *find_specks(pieces)]] = False
    owners, counts = np.unique(pieces.owner[real], return_counts=True)
    owners = owners[counts > 1]
    of_several = real & np.isin(pieces.owner, owners)
    number = np.where(of_several, 1 + np.searchsorted(owners, pieces.owner), 0)  # 1..N: memory follows the largest
    groups = _groups(number[pieces.of])
    return [int(owner) for owner, (_, found) in zip(owners, groups, strict=True) if found.max() > 1]


def separate_split(labels: Labels) -> tuple[Labels, int]:
    """Labels in which pieces far apart have different numbers, and how many numbers were split.

    The largest piece keeps the old number.
    """
    split = find_split(find_pieces(labels))
    result = labels.copy()
    free = int(labels.max(initial=0)) + 1
    for box, groups in _groups(renumber(np.where(np.isin(labels, split), labels, 0))):
        largest = 1 + int(np.bincount(groups.ravel())[1:].argmax())
        for group in set(range(1, int(groups.max()) + 1)) - {largest}:
            result[box][groups == group] = free
            free += 1
    return result, len(split)


def _groups(numbers: NDArray[Any]) -> Iterator[tuple[Box, NDArray[np.int32]]]:
    """The box of each number 1..N, and in it the pieces of this number. Pieces close together are one."""
    for number, box in enumerate(boxes(numbers), start=1):
        assert box is not None, "numbers must have no gaps"
        mask = numbers[box] == number
        grown = ndimage.binary_dilation(np.pad(mask, FAR), np.ones((3,) * mask.ndim), iterations=FAR)
        yield box, connected(grown, diagonal=True)[(slice(FAR, -FAR),) * mask.ndim] * mask


def count_greys(values: NDArray[Any]) -> int:
    """The number of values in a smoothed or JPEG-compressed mask (*S); 0 for correct labels.

    Objects and classes form areas of one value. The in-between values of a smoothed mask do not: hardly any of their
    pixels has neighbours of the same value.
    """
    found, counts = np.unique(values, return_counts=True)
    if len(found) < GREY_VALUES or found[0] < 0:
        return 0
    main = found[np.argsort(counts)[-2:]]
    between = ~np.isin(values, main)
    flat = between.copy()
    for axis in range(values.ndim):
        same = np.diff(values, axis=axis) == 0
        ends = [(0, 0)] * values.ndim
        for side in ((0, 1), (1, 0)):
            ends[axis] = side
            flat &= np.pad(same, ends, constant_values=True)
    return len(found) if flat.sum() < FLAT * between.sum() else 0


def cut_greys(values: NDArray[Any]) -> Labels | None:
    """A smoothed mask (*S) cut halfway between its two main values, as labels 0 and 255.

    None where most pixels are not near two values.
    """
    found, counts = np.unique(values, return_counts=True)
    low, high = sorted(found[np.argsort(counts)[-2:]].astype(float))
    near = NEAR * (high - low)
    clear = (np.abs(values - low) <= near) | (np.abs(values - high) <= near)
    if clear.mean() < CLEAR:
        return None
    return np.where(values > (low + high) / 2, 255, 0).astype(np.int32)
