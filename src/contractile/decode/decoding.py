"""Probabilities (K, *S) -> labels (*S), and the parameters that say how."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from contractile.labels import connected, drop_small


class Decoding(BaseModel):
    """How probabilities become objects; stored in the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, ge=0, lt=1, description="inside where its probability exceeds this")
    core: float = Field(default=0.5, ge=0, lt=1, description="core where its probability exceeds this")
    smooth: float = Field(default=0, ge=0, le=9, description="sigma in pixels that it is blurred by before")
    min_size: int = Field(default=0, ge=0, description="objects of fewer pixels are dropped")


def decode_objects(probabilities: NDArray[np.floating[Any]], decoding: Decoding) -> NDArray[np.int32]:
    """Probabilities (K, *S) -> labels (*S), numbered 1..N without gaps.

    Inside is all but class 0, the core class 1. Cores are numbered, and the inside is flooded from them, most certain
    pixels first; a part without a core is one object. With two classes and `core` no higher than `threshold`, objects
    are the connected parts. Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D).
    """
    parts = connected(inside_probability(probabilities) > decoding.threshold)
    core = np.asarray(probabilities[1])
    if len(probabilities) == 2 and decoding.core <= decoding.threshold and decoding.smooth == 0:
        return drop_small(parts, decoding.min_size)
    if decoding.smooth > 0:
        core = ndimage.gaussian_filter(core, decoding.smooth)
    seeds = connected((parts > 0) & (core > decoding.core))
    seeds = _seed_the_rest(seeds, parts)
    from contractile.decode.flood import LEVELS, flood  # numba is slow to load, and not every model floods

    levels = np.where(parts > 0, (LEVELS * (1 - core)).clip(0, LEVELS), -1).astype(np.int16)
    planes = (1,) * (3 - levels.ndim)  # a 2-D image is one plane
    flood(levels.reshape(planes + levels.shape), seeds.reshape(planes + levels.shape))
    return drop_small(seeds, decoding.min_size)


def inside_probability(probabilities: NDArray[Any]) -> NDArray[Any]:
    """(K, *S) -> (*S): that a pixel belongs to some object, whatever part of it."""
    inside: NDArray[Any] = probabilities[1:].sum(axis=0)
    return inside


def _seed_the_rest(seeds: NDArray[np.int32], parts: NDArray[np.int32]) -> NDArray[np.int32]:
    """Seeds, and a further one for each part that has none: all of it."""
    seeded = np.zeros(parts.max(initial=0) + 1, bool)
    seeded[parts[seeds > 0]] = True
    seeded[0] = True
    number = np.where(seeded, 0, seeds.max(initial=0) + np.cumsum(~seeded)).astype(np.int32)
    return np.where(seeds > 0, seeds, number[parts])
