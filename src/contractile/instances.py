"""Network output -> objects: the inverse of `targets`.

Probabilities (K, *S) float32 in [0, 1] become labels (*S) int32, 0 = background. With K = 2, outside and inside,
objects are what hangs together; with K = 3, outside, rim and core, every core is one object and grows into its rim.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

CORE = 2
LEVELS = 2000  # of depth that flooding tells apart


_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    """Machine code that runs without the GIL, kept on disk where some folder can be written."""
    try:
        return cast(_F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # numba finds no writable folder for its cache
        return cast(_F, numba.njit(nogil=True)(function))


class Decoding(BaseModel):
    """How probabilities become objects; stored in the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, ge=0, lt=1, description="inside where its probability exceeds this")
    core: float = Field(default=0.5, ge=0, lt=1, description="core where its share of the inside exceeds this")
    min_size: int = Field(default=0, ge=0, description="objects of fewer pixels are dropped")


def decode_objects(probabilities: NDArray[np.floating[Any]], decoding: Decoding) -> NDArray[np.int32]:
    """Probabilities (K, *S) -> labels (*S), numbered 1..N without gaps.

    K = 2: the connected parts of what is inside. K = 3: cores are numbered, and the inside is flooded from them,
    deepest pixels first, so that two floods meet where the depth has its valley; a part without a core is one object.
    Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D).
    """
    inside = probabilities[1:].sum(axis=0)
    parts = _label(inside > decoding.threshold)
    if len(probabilities) == 2:
        return _drop_specks(parts, decoding.min_size)
    depth = np.divide(probabilities[CORE], inside, out=np.zeros_like(inside), where=parts > 0)
    seeds = _label((parts > 0) & (depth > decoding.core))
    seeds = _seed_the_rest(seeds, parts)
    levels = np.where(parts > 0, (LEVELS * (1 - depth)).clip(0, LEVELS), -1).astype(np.int16)
    planes = (1,) * (3 - levels.ndim)  # a 2-D image is one plane
    _flood(levels.reshape(planes + levels.shape), seeds.reshape(planes + levels.shape))
    return _drop_specks(seeds, decoding.min_size)


@_compiled
def _enqueue(pixel: Any, level: Any, queues: Any) -> Any:
    first, last, after = queues
    if first[level] < 0:
        first[level] = pixel
    else:
        after[last[level]] = pixel
    last[level] = pixel


@_compiled
def _flood(levels: Any, labels: Any) -> Any:
    """Grow the labels (Z, Y, X) over all pixels of level >= 0 that they reach, lowest levels first, in place.

    A watershed with one queue per level instead of one sorted queue (Meyer 1991), so that the time is in proportion
    to the pixels. Whoever comes to a pixel first has it; among equals, whoever was in the queue first.
    """
    depth, height, width = levels.shape
    flat, owner = levels.reshape(-1), labels.reshape(-1)
    first, last = np.full(LEVELS + 1, -1, np.int64), np.full(LEVELS + 1, -1, np.int64)
    after = np.full(len(flat), -1, np.int64)  # in the queue of its level
    for pixel in range(len(flat)):
        if owner[pixel] > 0:
            _enqueue(pixel, flat[pixel], (first, last, after))
    for level in range(LEVELS + 1):
        while first[level] >= 0:
            pixel = first[level]
            first[level] = after[pixel]
            x, y, z = pixel % width, pixel // width % height, pixel // (width * height)
            for side in range(6):
                ahead = side % 2 == 1
                at, size, step = (x, width, 1) if side < 2 else (y, height, width)
                if side >= 4:
                    at, size, step = z, depth, width * height
                if at == (size - 1 if ahead else 0):
                    continue
                neighbour = pixel + (step if ahead else -step)
                if flat[neighbour] >= 0 and owner[neighbour] == 0:
                    owner[neighbour] = owner[pixel]
                    _enqueue(neighbour, max(level, flat[neighbour]), (first, last, after))


def _label(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    labels: NDArray[np.int32] = np.empty(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return labels


def _seed_the_rest(seeds: NDArray[np.int32], parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Seeds, and a further one for each part that has none: all of it."""
    seeded = np.zeros(parts.max(initial=0) + 1, bool)
    seeded[parts[seeds > 0]] = True
    seeded[0] = True
    number = np.where(seeded, 0, seeds.max(initial=0) + np.cumsum(~seeded)).astype(np.int32)
    return np.where(seeds > 0, seeds, number[parts])


def _drop_specks(labels: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    """Labels without the objects under `min_size` pixels, renumbered 1..N without gaps."""
    kept = np.bincount(labels.ravel()) >= max(min_size, 1)
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[labels]
