"""Large structures are learned from shrunk images: a network then sees more of them in less time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from contractile.dataset import Example
from contractile.labels import typical_diameter
from contractile.prediction.scaling import scaled, scaled_shape
from contractile.viewer.canvas import middles

WIDTH = 32  # pixels: objects are brought near to this width, by a power of two
MOST = 8  # times that an image is shrunk


def find_shrink(examples: Sequence[Example]) -> float:
    """By how much images are shrunk for a network of objects: 1, 2, 4 or 8."""
    width = typical_diameter([np.maximum(one.labels, 0) for one in examples])
    return float(min(MOST, 2 ** max(0, round(math.log2(width / WIDTH))))) if width else 1.0


def shrink(example: Example, factor: float) -> Example:
    """The same example, shrunk: pixels are averaged, labels are picked."""
    if factor == 1:
        return example
    shape = scaled_shape(example.labels.shape, 1 / factor)
    height, width = (have / n for have, n in zip(example.labels.shape, shape, strict=True))
    places = middles((height, width), (slice(0, shape[0]), slice(0, shape[1])))
    size = example.pixel_size_um
    return replace(
        example,
        pixels=np.asarray(scaled(example.pixels, 1 / factor)),
        labels=example.labels[np.ix_(*places)],
        pixel_size_um=None if size is None else tuple(factor * one for one in size),
    )
