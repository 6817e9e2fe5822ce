"""The configuration of a U-Net, and the sizes that follow from it before a network is built.

Sizes are in pixels along one axis. Axes are those of space, *S = (Y, X) or (Z, Y, X), and may be counted from the end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from operator import mul
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from contractile.errors import ContractileError, in_one_line

ORBIT = 8  # channels, one for each symmetry of the square
KERNEL = 3
CONVOLUTIONS_PER_LEVEL = 2
MOST_WEIGHTS = 10**9  # of a network: 4 GB; the largest that people train have a tenth of it


@in_one_line
class UNetConfig(BaseModel):
    """Everything that determines the layers of a U-Net."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dims: Literal[2, 3] = Field(default=2, description="axes of an image: 2 for (Y, X), 3 for volumes (Z, Y, X)")
    channels: int = Field(default=1, ge=1, le=4096, description="channels of the image")
    classes: int = Field(default=2, ge=1, le=4096, description="channels of the output")
    width: int = Field(
        default=16, ge=1, le=4096, description="channels at the finest level; doubled at each level below"
    )
    depth: int = Field(default=4, ge=1, le=8, description="number of poolings")
    flat_levels: tuple[int, ...] = Field(
        default=(),
        description="for each axis, at how many of the finest levels it is neither pooled nor convolved along "
        "(for images with coarse Z); empty: at none",
    )
    padding: Literal["valid", "same"] = Field(
        default="same",
        description="`valid`: unpadded convolutions, as in the paper, whose output is smaller than their input; "
        "`same`: zeros around each tile, which are cut off with the margin",
    )
    norm: Literal["none", "batch"] = Field(
        default="batch", description="normalisation after each convolution; statistics are fixed after training"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="at the two lowest levels of the contracting path")
    activate_up: bool = Field(default=False, description="norm and ReLU after each up-convolution, too")
    head_kernel: Literal[1, 3] = Field(default=1, description="side of the last convolution")
    sigmoid: bool = Field(default=False, description="one output channel, mapped into [0, 1] by a sigmoid")
    symmetry: Literal["none", "square"] = Field(
        default="none", description="kernels tied under quarter turns and mirrors; width counts all eight poses"
    )

    def model_post_init(self, _context: object) -> None:
        if self.sigmoid != (self.classes == 1):
            raise ContractileError(
                f"sigmoid must be true exactly when classes is 1, got sigmoid={self.sigmoid} with "
                f"classes={self.classes}",
                "use classes=2 for a soft-max, or sigmoid=True for one channel",
            )
        if self.symmetry == "square" and self.width % ORBIT:
            raise ContractileError(
                f"symmetry square needs a width that is a multiple of {ORBIT}, got width {self.width}",
                f"use width {max(1, self.width // ORBIT) * ORBIT}",
            )
        self._check_flat_levels()
        if self.parameters > MOST_WEIGHTS:
            raise ContractileError(
                f"network must have at most {MOST_WEIGHTS:,} weights, got {self.parameters:,} "
                f"({4 * self.parameters / 1e9:,.0f} GB) with width {self.width} and depth {self.depth}",
                "lower width or depth",
            )

    def _check_flat_levels(self) -> None:
        flat = self.flat_levels
        if flat and (len(flat) != self.dims or not all(0 <= levels <= self.depth for levels in flat)):
            raise ContractileError(
                f"flat_levels must be empty or one number from 0 to depth = {self.depth} per axis, got {flat}",
                f"use e.g. {(1,) + (0,) * (self.dims - 1)}",
            )
        if self.symmetry == "square" and flat and flat[-1] != flat[-2]:
            raise ContractileError(
                f"symmetry square needs the same flat_levels for the last two axes, got {flat}",
                'make them equal, or use symmetry "none"',
            )

    @classmethod
    def paper(cls, *, dims: Literal[2, 3] = 2, channels: int = 1, classes: int = 2) -> UNetConfig:
        """Fig. 1 of the paper: unpadded, no normalisation, 31,030,658 parameters, 572 -> 388."""
        return cls(dims=dims, channels=channels, classes=classes, width=64, padding="valid", norm="none", dropout=0.5)

    @classmethod
    def compact(cls) -> UNetConfig:
        """The small padded network of teaching code: 487,449 parameters, one sigmoid channel."""
        return cls(classes=1, width=8, activate_up=True, head_kernel=3, sigmoid=True)

    @property
    def maps(self) -> int:
        """Number of probability maps: one for each class. A single sigmoid channel tells two classes apart."""
        return max(2, self.classes)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, finest first."""
        return tuple(self.width * 2**level for level in range(self.depth + 1))

    @property
    def kernels(self) -> tuple[tuple[int, ...], ...]:
        """Size per axis of the convolutions at each level, finest first: 3, or 1 along an axis that is flat there."""
        return tuple(self._unless_flat(KERNEL, level) for level in range(self.depth + 1))

    @property
    def poolings(self) -> tuple[tuple[int, ...], ...]:
        """Factor per axis from each level to the one below, finest first: 2, or 1 along an axis that is flat there."""
        return tuple(self._unless_flat(2, level) for level in range(self.depth))

    @property
    def head(self) -> tuple[int, ...]:
        """Size per axis of the last convolution."""
        return self._unless_flat(self.head_kernel, 0)

    @property
    def stride(self) -> tuple[int, ...]:
        """Period of the pooling grid per axis: an input shifted by it gives an output shifted by it."""
        return tuple(math.prod(factors) for factors in zip(*self.poolings, strict=True))

    @property
    def margin(self) -> tuple[int, ...]:
        """Pixels of context per axis that each side of a tile loses.

        Unpadded: what the convolutions take away (92 for the paper). Padded: the radius of the receptive field of one
        period of the pooling grid, rounded up to the stride, so that the zeros of the padding do not reach the rest.
        """
        if self.padding == "valid":
            return tuple(self._lost(axis)[1] // 2 for axis in range(self.dims))
        lows = [self._support(0, stride - 1, axis)[0] for axis, stride in enumerate(self.stride)]
        return tuple(math.ceil(-low / stride) * stride for low, stride in zip(lows, self.stride, strict=True))

    @property
    def receptive_field(self) -> tuple[int, ...]:
        """Most input pixels per axis that one output pixel depends on; some see less, by their place on the grid."""
        supports = [[self._support(n, n, axis) for n in range(stride)] for axis, stride in enumerate(self.stride)]
        return tuple(max(high - low + 1 for low, high in along) for along in supports)

    @property
    def parameters(self) -> int:
        """Number of weights of the network without symmetry, computed without building it."""
        affine = 2 if self.norm == "batch" else 0
        convolve, up = ([math.prod(sizes) for sizes in level] for level in (self.kernels, self.poolings))
        total = math.prod(self.head) * self.width * self.classes + self.classes
        for level, (a, b) in enumerate(pairwise((self.channels, *self.widths))):
            total += convolve[level] * (a * b + b * b) + 2 * b * (1 + affine)
        for level, (narrow, wide) in enumerate(pairwise(self.widths)):
            total += up[level] * wide * narrow + narrow * (1 + (affine if self.activate_up else 0))
            total += convolve[level] * (wide * narrow + narrow * narrow) + 2 * narrow * (1 + affine)
        return total

    def feature_sizes(self, size: int, axis: int = -1) -> list[int]:
        """Map size after each pair of convolutions, down and up: [568, 280, ..., 388] for the paper at 572.

        Raises ContractileError with the nearest sizes that fit where a pooling would meet an odd map, or none is left.
        """
        fitting = self.input_size(size - self._lost(axis)[1], axis)
        if size != fitting:
            near = [str(n) for n in (fitting - self.stride[axis], fitting) if n >= self.input_size(1, axis)]
            raise ContractileError(
                f"input size must keep every map even before a pooling and leave some output ({self.padding} "
                f"convolutions, depth {self.depth}), got {size}",
                f"use {' or '.join(near)}",
            )
        return self._maps(size, axis)

    def output_size(self, size: int, axis: int = -1) -> int:
        """Output pixels for `size` input pixels. Raises ContractileError for a size that does not fit."""
        return self.feature_sizes(size, axis)[-1] - self._eaten(self.head[axis])

    def input_size(self, size: int, axis: int = -1) -> int:
        """Smallest input whose output has at least `size` pixels, and at least one."""
        stride = self.stride[axis]
        down, total = self._lost(axis)
        bottom = math.ceil((max(1, size) + total - down) / stride)  # pixels of the lowest map
        return down + stride * bottom

    def kept(self, shape: Sequence[int]) -> tuple[slice, ...]:
        """The part of the output for an input of `shape` (*S) that the zeros of the padding do not reach.

        Padded: all but the margin. Unpadded: everything.
        """
        rims = self.margin if self.padding == "same" else (0,) * self.dims
        ends = [self.output_size(size, axis) for axis, size in enumerate(shape)]
        return tuple(slice(rim, end - rim) for rim, end in zip(rims, ends, strict=True))

    def _unless_flat(self, size: int, level: int) -> tuple[int, ...]:
        return tuple(1 if level < levels else size for levels in self.flat_levels or (0,) * self.dims)

    def _eaten(self, kernel: int) -> int:
        """Pixels by which one convolution makes a map smaller."""
        return kernel - 1 if self.padding == "valid" else 0

    def _maps(self, size: int, axis: int, level: int = 0) -> list[int]:
        """Map size after each pair of convolutions, from a level with an input of `size` down and up again."""
        eaten = CONVOLUTIONS_PER_LEVEL * self._eaten(self.kernels[level][axis])
        if level == self.depth:
            return [size - eaten]
        pool = self.poolings[level][axis]
        below = self._maps((size - eaten) // pool, axis, level + 1)
        return [size - eaten, *below, pool * below[-1] - eaten]

    def _lost(self, axis: int) -> tuple[int, int]:
        """Input pixels that the convolutions on the way down take away, and those that all convolutions do."""
        scales = accumulate((factors[axis] for factors in self.poolings), mul, initial=1)
        convolutions = zip(scales, self.kernels, strict=True)
        down = [CONVOLUTIONS_PER_LEVEL * scale * self._eaten(sizes[axis]) for scale, sizes in convolutions]
        return sum(down), 2 * sum(down) - down[-1] + self._eaten(self.head[axis])

    def _support(self, low: int, high: int, axis: int, level: int = 0) -> tuple[int, int]:
        """First and last pixel of the input of a level that pixels low..high of its output depend on, if padded."""
        reach = CONVOLUTIONS_PER_LEVEL * (self.kernels[level][axis] // 2)
        head = self.head[axis] // 2 if level == 0 else 0
        low, high = low - reach - head, high + reach + head
        if level == self.depth:
            return low, high
        pool = self.poolings[level][axis]
        low, high = self._support(low // pool, high // pool, axis, level + 1)
        return pool * low - reach, pool * (high + 1) - 1 + reach
