"""Probabilities (K, *S) -> labels (*S), and the parameters that say how."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from contractile.errors import in_one_line
from contractile.labels import Box, boxes, connected, drop_small

TOGETHER = 2**22  # pixels of the box in which several parts are decoded at once


@in_one_line
class Decoding(BaseModel):
    """How probabilities become objects; stored in the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, ge=0, lt=1, description="inside is where its probability exceeds this")
    core: float = Field(default=0.5, ge=0, lt=1, description="a core is where its probability exceeds this")
    smooth: float = Field(default=0, ge=0, le=9, description="sigma in pixels of the blur of the core probability")
    min_size: int = Field(default=0, ge=0, description="objects of fewer pixels are dropped")
    sure: float = Field(default=0, ge=0, lt=1, description="objects with a lower mean probability inside are dropped")

    def scaled(self, factor: float, dims: int) -> Decoding:
        """The same decoding for an image with `factor` times as many pixels along each of its `dims` axes.

        The result is not validated: `smooth` may exceed the largest value that a recipe can set.
        """
        return self.model_copy(update={"smooth": self.smooth * factor, "min_size": round(self.min_size * factor**dims)})


def decode_objects(
    probabilities: Any, decoding: Decoding, *, out: Any = None, together: int = TOGETHER
) -> NDArray[np.int32]:
    """Probabilities (K, *S) -> labels (*S), numbered 1..N without gaps.

    Class 0 is outside, every other class inside; class 1 is the core. Connected cores are numbered, and each grows
    over the inside around it, the most certain pixels first. A connected part of the inside without a core is one
    object. With two classes, no smoothing and `core` no higher than `threshold`, the parts are the objects. Pixels
    connect along axes only (4 neighbours in 2-D, 6 in 3-D).

    `probabilities` is anything that slices into arrays. All of it is read once to find the inside, and the boxes of
    the parts once more: a field that computes what is sliced should be written to an array or a file first.
    `out` is anything that takes slices; the labels are written there, too.

    Parts do not influence each other, so each is decoded in its own box, enlarged by the reach of the smoothing.
    Consecutive parts (in scan order) are decoded at once while their common box has at most `together` pixels; the
    objects are the same for every value of it. In the end objects are dropped that are too small or not sure.
    """
    parts = connected(_find_inside(probabilities, decoding.threshold, together))
    if probabilities.shape[0] == 2 and decoding.core <= decoding.threshold and decoding.smooth == 0:
        labels = parts
    else:
        labels, count = np.zeros(parts.shape, np.int32), 0
        for first, last, box in _group(parts, decoding.smooth, together):
            here = parts[box]
            here = np.where((first <= here) & (here <= last), here - np.int32(first - 1), 0)
            core = np.asarray(probabilities[(slice(1, 2), *box)])[0]
            objects = _grow_cores(core, here, decoding, count)
            labels[box] += objects
            count = max(count, int(objects.max(initial=0)))
    del parts
    if decoding.sure > 0:
        labels = np.where(_certainty(probabilities, labels, together)[labels] < decoding.sure, 0, labels)
    labels = drop_small(labels, decoding.min_size)
    if out is not None:
        out[tuple(slice(0, size) for size in labels.shape)] = labels
    return labels


def inside_probability(probabilities: NDArray[Any]) -> NDArray[Any]:
    """(K, *S) -> (*S): the probability that a pixel belongs to an object, in its core or not."""
    return np.asarray(probabilities[1:].sum(axis=0))


def _find_inside(probabilities: Any, threshold: float, together: int) -> NDArray[np.bool_]:
    """Where (*S) the inside is."""
    inside = np.empty(probabilities.shape[1:], bool)
    for slab in _slabs(inside.shape, together):
        inside[slab] = np.asarray(probabilities[1:, slab]).sum(axis=0) > threshold
    return inside


def _certainty(probabilities: Any, labels: NDArray[np.int32], together: int) -> NDArray[np.float64]:
    """Mean probability (N + 1,) of being inside, over the pixels of each object in the labels (*S) 0..N."""
    size = int(labels.max(initial=0)) + 1
    total, pixels = np.zeros(size), np.zeros(size)
    for slab in _slabs(labels.shape, together):
        here, inside = labels[slab].ravel(), np.asarray(probabilities[1:, slab]).sum(axis=0).ravel()
        total += np.bincount(here, inside, size)
        pixels += np.bincount(here, minlength=size)
    return total / np.maximum(pixels, 1)


def _slabs(shape: tuple[int, ...], together: int) -> Iterator[slice]:
    """Slices of the first axis that hold about `together` pixels."""
    thickness = max(1, together // max(1, math.prod(shape[1:])))
    for start in range(0, shape[0], thickness):
        yield slice(start, start + thickness)


def _group(parts: NDArray[np.int32], smooth: float, together: int) -> Iterator[tuple[int, int, Box]]:
    """(first number, last number, box) of consecutive parts, at least one, in a box of at most `together` pixels.

    Each box lies in the image and reaches as far beyond the parts as `scipy.ndimage.gaussian_filter` looks.
    """
    first, reach = 1, int(4 * smooth + 0.5)
    common: Box = ()
    for number, part in enumerate(boxes(parts), start=1):
        sides = zip(part, parts.shape, strict=True)
        box = tuple(slice(max(0, side.start - reach), min(size, side.stop + reach)) for side, size in sides)
        pairs = zip(common or box, box, strict=True)
        joined = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in pairs)
        if common and math.prod(side.stop - side.start for side in joined) > together:
            yield first, number - 1, common
            first, joined = number, box
        common = joined
    if common:
        yield first, number, common


def _grow_cores(core: NDArray[Any], parts: NDArray[np.int32], decoding: Decoding, count: int) -> NDArray[np.int32]:
    """Objects (*S), numbered from `count` + 1, in parts (*S) 1..N, from the core probability (*S) there and around."""
    if decoding.smooth > 0:
        core = ndimage.gaussian_filter(core, decoding.smooth)
    seeds = _number_seeds(connected((parts > 0) & (core > decoding.core)), parts, count)
    from contractile.decode.flood import LEVELS, flood  # numba is slow to load, and not every model floods

    levels = (LEVELS * (1 - core)).astype(np.int16).clip(0, LEVELS)
    levels[parts == 0] = -1
    return flood(levels, seeds)


def _number_seeds(cores: NDArray[np.int32], parts: NDArray[np.int32], count: int) -> NDArray[np.int32]:
    """Seeds (*S), numbered from `count` + 1: the cores (*S), then each part (*S) without a core as a whole."""
    without = np.ones(parts.max(initial=0) + 1, bool)
    without[parts[cores > 0]] = False
    without[0] = False
    number = np.where(without, count + cores.max(initial=0) + np.cumsum(without), 0).astype(np.int32)
    return np.where(cores > 0, cores + np.int32(count), number[parts])
