"""Faults of one label image, and their repair: arrays in, arrays out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as equal_pieces

Labels = NDArray[np.int32]

GREY_VALUES = 5  # from how many values on a two-valued mask counts as smoothed
FLAT = 0.25  # share of in-between pixels that lie inside areas of their own value: objects do
CLEAR = 0.85  # share of pixels near one of the two main values
NEAR = 0.2  # of the range between them
FAR = 2  # pieces of one object may lie up to twice this many pixels apart
SPECK = 0.01  # of the median object
SPECK_PIXELS = 4


@dataclass(frozen=True)
class Pieces:
    """The connected pieces of equal positive label: `of` (*S) numbers them from 1, 0 is background;
    `owner` and `size` are by piece number, `inside` tells which do not touch the image's border."""

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
    """Numbers of the pieces too small to be objects: under 4 pixels or a hundredth of the median.
    At the image's border a small piece may be the rim of an object."""
    sizes = pieces.size[1:]
    if not sizes.size:
        return np.zeros(0, int)
    limit = max(SPECK_PIXELS, SPECK * float(np.median(sizes)))
    return 1 + np.flatnonzero((sizes < limit) & pieces.inside[1:])


def remove_specks(labels: Labels) -> tuple[Labels, int]:
    """Labels with specks made background, and how many there were."""
    pieces = find_pieces(labels)
    specks = find_specks(pieces)
    gone = np.zeros(len(pieces.size), bool)
    gone[specks] = True
    return np.where(gone[pieces.of], 0, labels).astype(np.int32), len(specks)


def find_split(pieces: Pieces) -> list[int]:
    """Numbers that several pieces carry which lie more than 4 pixels apart, specks aside."""
    real = np.ones(len(pieces.size), bool)
    real[[0, *find_specks(pieces)]] = False
    owners, counts = np.unique(pieces.owner[real], return_counts=True)
    labels = np.where(real, pieces.owner, 0)[pieces.of]
    regions = ndimage.find_objects(labels)
    return [int(o) for o in owners[counts > 1] if _groups(labels[regions[o - 1]] == o)[1] > 1]


def separate_split(labels: Labels) -> tuple[Labels, int]:
    """Labels in which far-apart pieces have numbers of their own (the largest keeps the old one), and
    how many numbers were split."""
    split = find_split(find_pieces(labels))
    result = labels.copy()
    regions = ndimage.find_objects(np.maximum(labels, 0))
    free = int(labels.max(initial=0)) + 1
    for number in split:
        region = regions[number - 1]
        groups, count = _groups(labels[region] == number)
        sizes = np.bincount(groups.ravel())
        for group in set(range(1, count + 1)) - {1 + int(sizes[1:].argmax())}:
            result[region][groups == group] = free
            free += 1
    return result, len(split)


def _groups(mask: NDArray[np.bool_]) -> tuple[NDArray[Any], int]:
    """Pieces of a mask, numbered; those that lie close together share a number."""
    everywhere = np.ones((3,) * mask.ndim)
    grown = ndimage.binary_dilation(np.pad(mask, FAR), everywhere, iterations=FAR)
    groups, count = ndimage.label(grown, everywhere)
    return groups[(slice(FAR, -FAR),) * mask.ndim] * mask, count


def count_greys(values: NDArray[Any]) -> int:
    """How many values a smoothed or JPEG-compressed mask (*S) holds; 0 for labels that are in order.

    Objects and classes form areas of their own value; the in-between values of a smoothed mask do
    not: hardly any of their pixels has neighbours of the same value.
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
    """A smoothed mask (*S) cut halfway between its two main values, 0 and 1 as labels 0 and 255; None
    where it has no two clear values."""
    found, counts = np.unique(values, return_counts=True)
    low, high = sorted(found[np.argsort(counts)[-2:]].astype(float))
    near = NEAR * (high - low)
    clear = (np.abs(values - low) <= near) | (np.abs(values - high) <= near)
    if clear.mean() < CLEAR:
        return None
    return np.where(values > (low + high) / 2, 255, 0).astype(np.int32)
