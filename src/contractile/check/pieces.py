"""The connected pieces of one label image, and what is wrong with them: arrays in, arrays out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label as equal_pieces

from contractile.labels import Box, boxes, connected, renumber

Labels = NDArray[np.int32]

FAR = 4  # pieces up to so many pixels apart are one object, and ...
FAR_SHARE = 0.3  # ... up to this share of the diameter of the largest of them
SPECK = 0.01  # of the size of the median piece
SPECK_PIXELS = 4
SPARSE = 0.6  # share of its box that an object fills at most where it may be an outline
HOLLOW = 1.5  # an outline grows by this factor when its hole is filled
SMALLEST_BOX = 6  # sides of the box of an outline, or of a rectangle
NEARLY_ALL = 0.9  # share of the objects that are rectangles where somebody drew boxes
LARGEST_PIECE = 0.9  # share of the foreground in one piece that surrounds everything else


@dataclass(frozen=True)
class Pieces:
    """The connected pieces of equal positive label; pixels connect by edges and corners, too.

    `of` (*S) holds their numbers 1..N, 0 is background. By number: `owner` is the label, `size` the number of pixels,
    `inside` whether the piece touches neither the image's border nor pixels that are not annotated.
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
    if (labels < 0).any():
        inside[of[ndimage.binary_dilation(labels < 0)]] = False
    return Pieces(of, owner, np.bincount(of.ravel(), minlength=count), inside)


def find_specks(pieces: Pieces) -> NDArray[Any]:
    """Numbers of the pieces too small to be objects: below 4 pixels, or a hundredth of the median piece.

    Where all objects are small, it is an eighth of the median piece. Pieces at the border do not count: they may be the
    rim of an object.
    """
    sizes = pieces.size[1:]
    median = float(np.median(sizes)) if sizes.size else 0.0
    limit = max(min(SPECK_PIXELS, median / 8), SPECK * median)
    return 1 + np.flatnonzero((sizes < limit) & pieces.inside[1:])


def remove_specks(labels: Labels) -> tuple[Labels, int]:
    """Labels with specks set to background, and the number of specks."""
    pieces = find_pieces(labels)
    specks = find_specks(pieces)
    gone = np.zeros(len(pieces.size), bool)
    gone[specks] = True
    return np.where(gone[pieces.of], 0, labels).astype(np.int32), len(specks)


def find_split(pieces: Pieces) -> list[int]:
    """Labels with several pieces far apart, not counting specks."""
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
        mask = numbers[box] == number
        largest = int(np.bincount(connected(mask, diagonal=True).ravel())[1:].max())
        reach = max(FAR, FAR_SHARE * _diameter(largest, mask.ndim)) / 2
        pad = math.ceil(reach)
        grown = ndimage.distance_transform_edt(~np.pad(mask, pad)) <= reach
        yield box, connected(grown, diagonal=True)[(slice(pad, -pad),) * mask.ndim] * mask


def _diameter(size: int, dims: int) -> float:
    """Of a disc (ball) of so many pixels."""
    return float(2 * math.sqrt(size / math.pi) if dims == 2 else (6 * size / math.pi) ** (1 / 3))


def find_outlines(pieces: Pieces) -> NDArray[Any]:
    """Numbers of the pieces that are only the outline of an object; empty unless half of the pieces are.

    Pieces at the image's border are left out: their outline may be open.
    """
    found = boxes(pieces.of)
    area = np.array([math.prod(side.stop - side.start for side in box) for box in found])
    side = np.array([min(side.stop - side.start for side in box[-2:]) for box in found])
    sparse = pieces.inside[1:] & (side >= SMALLEST_BOX) & (pieces.size[1:] < SPARSE * area)
    if sparse.sum() * 2 < len(found) or not found:
        return np.zeros(0, int)
    hollow = [n for n in 1 + np.flatnonzero(sparse) if _is_hollow(pieces.of[found[n - 1]] == n)]
    return np.array(hollow if len(hollow) * 2 > len(found) else [], int)


def count_rectangles(pieces: Pieces) -> int:
    """The number of pieces that are rectangles; 0 unless nearly all are that lie within the image."""
    found = boxes(pieces.of)
    area = np.array([math.prod(side.stop - side.start for side in box) for box in found], int)
    side = np.array([min(side.stop - side.start for side in box) for box in found], int)
    counted = pieces.inside[1:] & (side >= SMALLEST_BOX)
    full = int(np.count_nonzero(counted & (pieces.size[1:] == area)))
    return full if full >= max(3, NEARLY_ALL * np.count_nonzero(counted)) else 0


def _is_hollow(mask: NDArray[np.bool_]) -> bool:
    return bool(fill_planes(mask).sum() > HOLLOW * mask.sum())


def fill_planes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask (*S) without holes; of a volume, plane by plane, as people draw."""
    planes = mask[None] if mask.ndim == 2 else mask
    filled: NDArray[np.bool_] = np.stack([ndimage.binary_fill_holes(plane) for plane in planes])
    return filled.reshape(mask.shape)


def fill_outlines(labels: Labels) -> tuple[Labels, int]:
    """Labels in which objects that are only outlines are filled, and how many were."""
    pieces = find_pieces(labels)
    outlines = find_outlines(pieces)
    result, found = labels.copy(), boxes(pieces.of)
    for number in outlines:
        box = found[number - 1]
        hole = fill_planes(pieces.of[box] == number) & (labels[box] == 0)
        result[box][hole] = pieces.owner[number]
    return result, len(outlines)


def surrounds(labels: Labels) -> float:
    """The share of one piece of foreground that touches all sides of labels (*S) and has at least three holes; else 0.

    That is what a mask looks like whose two values were exchanged. It needs a single positive number.
    """
    mask = labels > 0
    share = float(mask.mean())
    if share <= 0.5 or share == 1 or len(np.unique(labels[mask])) > 1:
        return 0.0
    sides = (np.take(mask, end, axis=axis).any() for axis in range(-2, 0) for end in (0, -1))
    sizes = np.bincount(connected(mask, diagonal=True).ravel())[1:]
    holes = np.bincount(connected(~mask).ravel())[1:]
    one_piece = sizes.max() >= LARGEST_PIECE * sizes.sum()
    many_holes = np.count_nonzero(holes >= SPECK_PIXELS) >= 3
    return share if all(sides) and one_piece and many_holes else 0.0
