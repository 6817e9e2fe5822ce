"""What a segmentation shows of itself: numbers for each object that tell right ones from wrong ones.

They are read off labels and what decoding keeps of the probabilities, block by block. The sums are of whole numbers,
so that an image gives the same whatever its blocks are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.decode import CERTAIN, LEVELS
from contractile.quality import Shown

BEYOND = -1  # stands for what lies outside of the image
UNSURE = 0.9  # pixels with a lower probability of being inside are unsure
LEAST = 1e-3  # probabilities are kept so far from 0 and 1


class Seen(NamedTuple):
    """A block (*B) of an image, which begins at `origin`. Its `labels` reach one pixel further on each side.

    Outside of the image they are BEYOND.
    `inside` (*B) is the probability of being inside an object in steps of 1 / CERTAIN; `level` (*B) the level at which
    decoding floods a pixel: 0 where it is certainly the core of an object, LEVELS where it certainly is not.
    """

    labels: NDArray[np.int32]
    inside: NDArray[np.uint16]
    level: NDArray[np.int16]
    origin: tuple[int, ...]


class Sums(NamedTuple):
    """Sums over the pixels of each object. Faces are sides of pixels that lie on its outline."""

    area: Any
    inside: Any
    unsure: Any
    level: Any
    lowest: Any  # level
    outer: Any  # pixels that meet the background
    edge: Any  # `inside` of these
    free: Any  # faces towards the background
    shared: Any  # faces towards other objects
    beyond: Any  # faces towards the border of the image
    dip: Any  # the highest level of a pixel that only meets its own object
    z: Any  # coordinates
    y: Any
    x: Any
    zz: Any  # products of coordinates
    yy: Any
    xx: Any
    zy: Any
    zx: Any
    yx: Any


def describe_objects(blocks: Iterable[Seen], count: int, *, typical: float) -> Shown:
    """The features of the objects 1 ... count of an image; `typical` is the area of a typical object, in pixels.

    In the order of `quality.FEATURES`: the log odds of the mean probability of being inside; the share of unsure
    pixels; the log odds of the mean probability along the outline, where it meets the background; those of the core, in
    the mean and where it is highest; the share of the outline that touches other objects; the logarithm of the area
    beside a typical one, and how far it is from 0; the logarithm of the length of the outline beside that of a disc (a
    ball) of the same area; whether the object is cut by the border of the image; the logarithms of how long it is, and
    of how much larger an ellipse with the same moments is, as where it has a waist; and the log odds of the weakest
    pixel that only meets the object itself.
    """
    sums, dims = np.zeros((len(Sums._fields), count + 1), np.int64), 2
    sums[Sums._fields.index("lowest")] = LEVELS
    for block in blocks:
        dims = block.inside.ndim
        flat = (1,) * (3 - dims)
        labels, inside, level = (part.reshape(*flat, *part.shape) for part in block[:3])  # (Z, Y, X)
        _add(labels, inside, level, np.array((0,) * (3 - dims) + block.origin), sums)
    typical = max(1.0, typical)
    shown = Sums(*sums[:, 1:].astype(np.float64))
    return Shown(_features(shown, typical, dims), float(sums[1, 0]) / CERTAIN / typical)


def _features(sums: Sums, typical: float, dims: int) -> NDArray[np.float64]:
    """(n, F)."""
    area, faces = np.maximum(sums.area, 1), sums.free + sums.shared
    inside, size = sums.inside / area / CERTAIN, np.log(area / typical)
    # A disc of area A has an outline of 8 sqrt(A / pi) faces, a ball of volume V one of 6 pi (3 V / 4 pi)^(2/3).
    smooth = 8 * np.sqrt(area / math.pi) if dims == 2 else 6 * math.pi * (3 * area / (4 * math.pi)) ** (2 / 3)
    long, waist = _shape(sums, dims)
    columns = (
        _log_odds(inside),
        sums.unsure / area,
        _log_odds(np.where(sums.outer > 0, sums.edge / np.maximum(sums.outer, 1) / CERTAIN, inside)),
        _log_odds(1 - sums.level / area / LEVELS),
        _log_odds(1 - sums.lowest / LEVELS),
        sums.shared / np.maximum(faces, 1),
        size,
        np.abs(size),
        np.log(np.maximum(faces / smooth, 0.5)),
        (sums.beyond > 0).astype(np.float64),
        long,
        waist,
        _log_odds(1 - sums.dip / LEVELS),
    )
    return np.stack(columns, axis=1)


def _shape(sums: Sums, dims: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of each object (n,): how long it is, and how much larger an ellipse with the same moments is; logarithms.

    The moments of a pixel itself, 1 / 12, are added, so that one pixel and a row of pixels have a size.
    """
    area = np.maximum(sums.area, 1)
    means = [one / area for one in (sums.z, sums.y, sums.x)]
    second = {(0, 0): sums.zz, (1, 1): sums.yy, (2, 2): sums.xx, (0, 1): sums.zy, (0, 2): sums.zx, (1, 2): sums.yx}
    spread = np.zeros((len(area), 3, 3))
    for (a, b), total in second.items():
        spread[:, a, b] = spread[:, b, a] = total / area - means[a] * means[b] + (1 / 12 if a == b else 0)
    axes = np.maximum(np.linalg.eigvalsh(spread[:, 3 - dims :, 3 - dims :]), 1 / 12)  # (n, dims), ascending
    # An ellipse has an area of 4 pi sqrt(v w), where v and w are its variances; an ellipsoid one of 4 / 3 pi 5^1.5 ...
    whole = (4 * math.pi if dims == 2 else 4 / 3 * math.pi * 5**1.5) * np.sqrt(axes.prod(axis=1))
    return np.log(axes[:, -1] / axes[:, 0]) / 2, np.log(whole / area)


def _log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    clipped = np.clip(p, LEAST, 1 - LEAST)
    result: NDArray[np.float64] = np.log(clipped / (1 - clipped))
    return result


@compiled
def _add(labels: Any, inside: Any, level: Any, origin: Any, sums: Any) -> None:
    """Add the pixels of a block (Z, Y, X) to the sums (20, n + 1); its labels reach one pixel further along each axis.

    Of a block of one plane they do so along Y and X alone.
    """
    area, total, unsure, levels, lowest, outer, edge, free, shared, beyond, dip = sums[:11]
    at_z, at_y, at_x, zz, yy, xx, zy, zx, yx = sums[11:]
    depth, length, width = inside.shape
    deep = 1 if labels.shape[0] > depth else 0
    unsure_below = UNSURE * CERTAIN
    for z in range(depth):
        for y in range(length):
            for x in range(width):
                a, b, c = z + deep, y + 1, x + 1
                own, value = labels[a, b, c], np.int64(inside[z, y, x])
                if own == 0:
                    total[0] += value
                    continue
                area[own] += 1
                total[own] += value
                unsure[own] += value < unsure_below
                levels[own] += level[z, y, x]
                lowest[own] = min(lowest[own], level[z, y, x])
                height, row, column = origin[0] + z, origin[1] + y, origin[2] + x
                at_z[own] += height
                at_y[own] += row
                at_x[own] += column
                zz[own] += height * height
                yy[own] += row * row
                xx[own] += column * column
                zy[own] += height * row
                zx[own] += height * column
                yx[own] += row * column
                bare, same = 0, 0
                for side in range(6 if deep else 4):
                    step = 1 if side % 2 else -1
                    if side < 2:
                        other = labels[a, b, c + step]
                    elif side < 4:
                        other = labels[a, b + step, c]
                    else:
                        other = labels[a + step, b, c]
                    bare += other == 0
                    same += other == own
                    shared[own] += other > 0 and other != own
                    beyond[own] += other < 0
                free[own] += bare
                if same == (6 if deep else 4):
                    dip[own] = max(dip[own], level[z, y, x])
                if bare:
                    outer[own] += 1
                    edge[own] += value
