"""Objects of another size than a model learned from: the image is resampled until they have the model's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contractile.labels import typical_diameter

MOST_OFF = 1.0  # octaves between the size that is found and that of the model
FACTORS = (1.0, 0.5, 2.0, 0.25, 4.0)  # tried in turn when the size of the objects is to be estimated
LOOKED_AT = 512  # pixels per axis that the network sees of an image while sizes are estimated
LARGEST_SCALE = 8.0  # of an image, up or down
SAME_SIZE = 1.25  # sizes closer than this are the same: what augmentation by scale makes a network stand anyway


def resample(channels: NDArray[Any], shape: Sequence[int]) -> NDArray[np.float32]:
    """(C, Y, X) -> (C, *shape) float32, linear; what becomes smaller is averaged, not picked."""
    if channels.shape[1:] == tuple(shape):
        return channels.astype(np.float32, copy=False)
    batch = torch.from_numpy(np.ascontiguousarray(channels, np.float32))[None]
    resampled: NDArray[np.float32] = torch.nn.functional.interpolate(
        batch, size=tuple(shape), mode="bilinear", align_corners=False, antialias=True
    )[0].numpy()
    return resampled


def scaled_shape(shape: Sequence[int], factor: float) -> tuple[int, ...]:
    """The size of an image resampled by `factor`, at least one pixel along each axis."""
    return tuple(max(1, round(size * factor)) for size in shape)


def estimate_diameter(
    pixels: NDArray[Any],
    seen: tuple[float, float, float],
    find_objects: Callable[[NDArray[np.float32]], tuple[NDArray[np.int32], NDArray[np.float32]]],
) -> float:
    """Diameter of the objects in an image (C, Y, X), in its pixels; `seen` are the model's small, own and large ones.

    The middle of the image is segmented at five magnifications by `find_objects` (image -> labels, probability of
    being inside). At the right one, objects are found that are surely objects, and of a size that the model knows.
    Where nothing is found at any, the model's own diameter is returned, so that the image stays as it is.
    """
    small, own, large = seen
    best, found = 0.0, own
    for factor in FACTORS:
        part = _middle(pixels, LOOKED_AT / factor)
        labels, inside = find_objects(resample(part, scaled_shape(part.shape[1:], factor)))
        size = typical_diameter([labels])
        off = max(0.0, math.log2(small / size), math.log2(size / large)) if size else math.inf
        fit = _certainty(labels, inside) * math.exp(-(off**2)) if off < MOST_OFF else 0.0
        if fit > best:
            best, found = fit, size / factor
    return found


def _certainty(labels: NDArray[np.int32], inside: NDArray[np.float32]) -> float:
    """Mean probability inside what was found, as far above a half as it is: 0 to 1."""
    return max(0.0, 2 * float(inside[labels > 0].mean()) - 1)


def _middle(pixels: NDArray[Any], side: float) -> NDArray[Any]:
    """The middle of an image (C, *S), at most `side` pixels along each axis."""
    starts = [max(0, round((size - side) / 2)) for size in pixels.shape[1:]]
    cut = tuple(slice(start, start + round(side)) for start in starts)
    return np.asarray(pixels[(slice(None), *cut)])
