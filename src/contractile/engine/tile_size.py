"""Sizes of input: tiles that cover an image in few steps, and the example that back ends are compared on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count

from contractile.unet import UNetConfig

COMPARED_SIDE = {2: 128, 3: 32}  # pixels per axis on which two back ends are compared, by number of dimensions


def fit_tile(config: UNetConfig, shape: Sequence[int], limit: int) -> tuple[int, ...]:
    """The tile (*S) that covers an image of `shape` (*S) in the fewest equal steps, with sides of at most `limit`.

    The network takes every side. Where even its smallest side exceeds `limit`, that one is used.
    """
    return tuple(_fit_side(config, n, limit, axis) for axis, n in enumerate(shape))


def example_shape(config: UNetConfig) -> tuple[int, ...]:
    """Shape (*S) of the input that gives 128 (in 3-D: 32) kept pixels along each axis: an example for `place`."""
    return tuple(_side(config, COMPARED_SIDE[config.dims], axis) for axis in range(config.dims))


def _side(config: UNetConfig, kept: int, axis: int) -> int:
    """Smallest input along an axis with at least `kept` pixels of output that padding does not touch."""
    lost = 2 * config.margin[axis] if config.padding == "same" else 0
    return config.input_size(kept + lost, axis)


def _fit_side(config: UNetConfig, n: int, limit: int, axis: int) -> int:
    whole = _side(config, n, axis)
    if whole <= limit:
        return whole
    stride = config.stride[axis]
    limit = max(limit, _side(config, stride, axis))
    cores = (math.ceil(n / steps / stride) * stride for steps in count(2))  # tiles begin on the pooling grid
    sides = (_side(config, core, axis) for core in cores)
    return next(side for side in sides if side <= limit)
