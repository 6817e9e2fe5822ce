"""What decoding needs to know of each pixel, as two numbers of 16 bits: all else of the probabilities is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.decode.settings import Decoding
from contractile.decode.smoothing import radius, smooth

CERTAIN = 65535  # stands for a probability of 1
LEVELS = 2000  # steps of probability that flooding tells apart
FREE = 2**15 - 1  # the height of a pixel that no path has reached
CORE = 2**15  # is added to the level of a pixel in a core


class Kept(NamedTuple):
    """A region of what `keep` gives, read: (*B) each. `level` is -1 outside, `inside` is in steps of 1 / CERTAIN."""

    inside: NDArray[np.uint16]
    core: NDArray[np.bool_]
    level: NDArray[np.int16]


def reach(decoding: Decoding) -> int:
    """How many pixels around a region `keep` looks at."""
    return radius(decoding.smooth)


def keep(probabilities: NDArray[Any], decoding: Decoding, inner: Sequence[slice]) -> NDArray[np.uint16]:
    """Probabilities (K, *B) of a region and its surroundings -> (2, *inner), 0 outside of objects.

    The first is the probability of being inside, in steps of 1 / 65535. The second is the level at which a pixel is
    flooded, 0 (certainly core) ... 2000; in a core 2^15 is added. `inner` is the region without its surroundings, which
    must reach `reach(decoding)` pixels beyond it, or to the border of the image.
    """
    probabilities = np.asarray(probabilities, np.float32)
    core = probabilities[1]
    if decoding.smooth > 0:
        core = smooth(core, decoding.smooth)
    region = probabilities[(slice(None), *inner)]
    core = core[tuple(inner)]
    kept = np.zeros((2, *core.shape), np.uint16)
    room = (1,) * (3 - core.ndim) + core.shape  # (Z, Y, X)
    limits = np.array([decoding.threshold, decoding.core], np.float32)
    _keep(region.reshape(-1, *room), core.reshape(room), limits, kept.reshape(2, *room))
    return kept


@compiled
def _keep(probabilities: Any, core: Any, limits: Any, kept: Any) -> None:
    """Fill `kept` (2, Z, Y, X) where the sum of all classes but the first exceeds the first limit."""
    threshold, core_from = limits
    classes, depth, length, width = probabilities.shape
    one, certain = np.float32(1), np.float32(CERTAIN)
    for z in range(depth):
        for y in range(length):
            for x in range(width):
                inside = probabilities[1, z, y, x]
                for label in range(2, classes):
                    inside += probabilities[label, z, y, x]
                if inside > threshold:
                    value = core[z, y, x]
                    level: Any = min(max(np.int32(np.float32(LEVELS) * (one - value)), 0), LEVELS)
                    kept[0, z, y, x] = np.rint(min(max(inside, one / certain), one) * certain)
                    kept[1, z, y, x] = level if value <= core_from else level + CORE


def mark_seeds(kept: NDArray[np.uint16], seeds: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """A copy of what `keep` gave, (2, *B), in which only seeds (*B) are cores."""
    level = kept[1] & (CORE - 1)
    return np.stack([kept[0], np.where(seeds, level + CORE, level).astype(np.uint16)])


def unpack(kept: NDArray[np.uint16]) -> Kept:
    """What `keep` gave, as three arrays."""
    level = (kept[1] & (CORE - 1)).view(np.int16)
    level[kept[0] == 0] = -1
    return Kept(kept[0], kept[1] >= CORE, level)


def inside_probability(probabilities: NDArray[Any]) -> NDArray[Any]:
    """(K, *S) -> (*S): the probability that a pixel belongs to an object, in its core or not."""
    return np.asarray(probabilities[1:].sum(axis=0))
