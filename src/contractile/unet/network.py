"""The U-Net (Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28) and its arithmetic.

`UNetConfig` answers every question about sizes before a network exists; `UNet` is a plain
`torch.nn.Module`. Neither knows about files, tiles or training.

Shapes: B batch, C channels in, K classes out, *S space: (Y, X) or (Z, Y, X).
"""

from __future__ import annotations

import math
from itertools import count, pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from contractile.errors import ContractileError
from contractile.unet.convolution import Conv2d
from contractile.unet.symmetry import ORBIT, share_statistics, tie

KERNEL = 3
CONVOLUTIONS_PER_LEVEL = 2


class UNetConfig(BaseModel):
    """Everything that shapes a U-Net. Sizes are pixels along one axis; every axis is treated alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dims: Literal[2, 3] = 2
    channels: int = Field(default=1, ge=1, description="channels of the image")
    classes: int = Field(default=2, ge=1, description="channels of the output")
    width: int = Field(default=16, ge=1, description="channels at the finest level; doubled at each level down")
    depth: int = Field(default=4, ge=1, le=8, description="number of poolings")
    padding: Literal["valid", "same"] = "same"
    norm: Literal["none", "batch"] = "batch"
    dropout: float = Field(default=0.0, ge=0, lt=1, description="at the two lowest levels of the contracting path")
    activate_up: bool = Field(default=False, description="norm and ReLU after each up-convolution, too")
    head_kernel: Literal[1, 3] = 1
    sigmoid: bool = Field(default=False, description="one output channel, squashed into [0, 1]")
    symmetry: Literal["none", "square"] = Field(
        default="none", description="kernels tied under quarter turns and mirrors; width counts all eight poses"
    )

    def model_post_init(self, _context: object) -> None:
        if self.sigmoid != (self.classes == 1):
            raise ContractileError(
                (
                    f"sigmoid must be true exactly when classes is 1, got sigmoid={self.sigmoid} with "
                    f"classes={self.classes}"
                ),
                "use classes=2 for a soft-max, or sigmoid=True for one channel",
            )
        if self.symmetry == "square" and self.width % ORBIT:
            raise ContractileError(
                f"symmetry square needs a width that is a multiple of {ORBIT}, got width {self.width}",
                f"use width {max(1, self.width // ORBIT) * ORBIT}",
            )

    @classmethod
    def paper(cls, *, dims: Literal[2, 3] = 2, channels: int = 1, classes: int = 2) -> UNetConfig:
        """Fig. 1 of the paper: unpadded, no normalisation, 31,030,658 parameters, 572 -> 388."""
        return cls(
            dims=dims,
            channels=channels,
            classes=classes,
            width=64,
            padding="valid",
            norm="none",
            dropout=0.5,
        )

    @classmethod
    def compact(cls) -> UNetConfig:
        """The small padded network of teaching code: 487,449 parameters, one sigmoid channel."""
        return cls(classes=1, width=8, activate_up=True, head_kernel=3, sigmoid=True)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels at each level, finest first."""
        return tuple(self.width * 2**level for level in range(self.depth + 1))

    @property
    def stride(self) -> int:
        """Period of the pooling grid: shifting the input by this many pixels shifts the output alike."""
        return int(2**self.depth)

    @property
    def margin(self) -> int:
        """Pixels of context that each side of a tile gives up.

        Unpadded: what the convolutions eat (92 for the paper). Padded: the receptive-field radius of an
        output block on the pooling grid, rounded up to the stride, so that the zeros of the padding
        reach no pixel that is kept.
        """
        if self.padding == "valid":
            size = self.input_size(1)
            return (size - self.output_size(size)) // 2
        low, high = self._support(0, self.stride - 1)
        radius = max(-low, high - (self.stride - 1))
        return math.ceil(radius / self.stride) * self.stride

    @property
    def receptive_field(self) -> int:
        """Widest extent of input, over all pooling phases, that one output pixel depends on."""
        supports = (self._support(pixel, pixel) for pixel in range(self.stride))
        return max(high - low + 1 for low, high in supports)

    @property
    def parameters(self) -> int:
        """Number of weights of the ordinary network, from the configuration alone (no tensor is made)."""
        affine = 2 if self.norm == "batch" else 0
        conv, up, head = (int(side**self.dims) for side in (KERNEL, 2, self.head_kernel))
        ins = (self.channels, *self.widths)
        count = sum(conv * (a * b + b * b) + 2 * b * (1 + affine) for a, b in pairwise(ins))
        for narrow, wide in pairwise(self.widths):
            count += up * wide * narrow + narrow * (1 + (affine if self.activate_up else 0))
            count += conv * (wide * narrow + narrow * narrow) + 2 * narrow * (1 + affine)
        return count + head * self.width * self.classes + self.classes

    def feature_sizes(self, size: int) -> list[int]:
        """Map size after each pair of convolutions, down and up: [568, 280, ..., 388] for the paper at 572.

        Raises ValueError with the nearest fitting sizes when a pooling would meet an odd map.
        """
        sizes = self._walk(size)
        if sizes is None:
            below = [n for n in range(max(1, size - self.stride), size) if self._walk(n) is not None]
            above = next(n for n in count(size + 1) if self._walk(n) is not None)
            near = [str(n) for n in (*below[-1:], above)]
            raise ContractileError(
                (
                    f"input size must keep every map even before a pooling ({self.padding} "
                    f"convolutions, depth {self.depth}), got {size}"
                ),
                f"use {' or '.join(near)}",
            )
        return sizes

    def output_size(self, size: int) -> int:
        """Output pixels for `size` input pixels. Raises ValueError when the size does not fit."""
        return self.feature_sizes(size)[-1] - self._eaten(self.head_kernel)

    def input_size(self, size: int) -> int:
        """Smallest input whose output has at least `size` pixels."""
        if self.padding == "same":
            return max(1, math.ceil(size / self.stride)) * self.stride
        candidates = (self._input_for_bottom(bottom) for bottom in count(1))
        return next(n for n in candidates if self._walk(n) is not None and self.output_size(n) >= size)

    def _eaten(self, kernel: int) -> int:
        return kernel - 1 if self.padding == "valid" else 0

    def _input_for_bottom(self, bottom: int) -> int:
        eaten = CONVOLUTIONS_PER_LEVEL * self._eaten(KERNEL)
        size = bottom + eaten
        for _ in range(self.depth):
            size = 2 * size + eaten
        return size

    def _walk(self, size: int) -> list[int] | None:
        """Map sizes along the network, or None where a pooling meets an odd or empty map."""
        eaten = CONVOLUTIONS_PER_LEVEL * self._eaten(KERNEL)
        sizes: list[int] = []
        for _ in range(self.depth):
            size -= eaten
            if size < 2 or size % 2:
                return None
            sizes.append(size)
            size //= 2
        sizes.append(size - eaten)
        for _ in range(self.depth):
            sizes.append(2 * sizes[-1] - eaten)
        fits = min(sizes) >= 1 and sizes[-1] - self._eaten(self.head_kernel) >= 1
        return sizes if fits else None

    def _support(self, low: int, high: int) -> tuple[int, int]:
        """First and last input pixel that the output pixels low..high depend on."""
        pad = 0 if self.padding == "valid" else 1

        def convolve(low: int, high: int, times: int) -> tuple[int, int]:
            return low - times * pad, high + times * (KERNEL - 1 - pad)

        low, high = convolve(low, high, self.head_kernel // KERNEL)
        for _ in range(self.depth):
            low, high = convolve(low, high, CONVOLUTIONS_PER_LEVEL)
            low, high = low // 2, high // 2
        low, high = convolve(low, high, CONVOLUTIONS_PER_LEVEL)
        for _ in range(self.depth):
            low, high = convolve(2 * low, 2 * high + 1, CONVOLUTIONS_PER_LEVEL)
        return low, high


class UNet(nn.Module):
    """`UNet(config)(x)`: x (B, C, *S) -> (B, K, *S'), S' = config.output_size(S) on each axis.

    The values are class scores before the soft-max; with `config.sigmoid` one channel in [0, 1].
    Raises ValueError for an input whose channels or size do not fit, naming the nearest sizes that do.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        ins = (config.channels, *widths)
        self.contract = nn.ModuleList(_block(config, a, b) for a, b in pairwise(ins))
        self.pool = nn.MaxPool2d(2) if config.dims == 2 else nn.MaxPool3d(2)
        self.drop = nn.Dropout(config.dropout)
        steps = list(pairwise(widths))[::-1]
        self.up = nn.ModuleList(_up_convolution(config, wide, narrow) for narrow, wide in steps)
        self.expand = nn.ModuleList(_block(config, wide, narrow) for narrow, wide in steps)
        self.head = _convolution(config, config.width, config.classes, config.head_kernel)
        self.apply(_initialise)
        if config.symmetry == "square":
            tie(self, first=self.contract[0][0], head=self.head)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        scores = self._scores(x)
        return torch.sigmoid(scores) if self.config.sigmoid else scores

    def class_scores(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, K, *S') scores whose soft-max over K >= 2 classes gives probabilities.

        A sigmoid network counts as two classes: soft-max of (0, s) is (1 - sigmoid(s), sigmoid(s)).
        """
        scores = self._scores(x)
        return torch.cat([torch.zeros_like(scores), scores], dim=1) if self.config.sigmoid else scores

    def _scores(self, x: Tensor) -> Tensor:
        self._check(x)
        lowest = self.config.depth
        skips: list[Tensor] = []
        for level, contract in enumerate(self.contract):
            x = contract(x if level == 0 else self.pool(x))  # (B, width * 2**level, *S / 2**level)
            if level >= lowest - 1:
                x = self.drop(x)  # "at the end of the contracting path" (sec. 3.1)
            skips.append(x)
        x = skips.pop()
        for up, expand in zip(self.up, self.expand, strict=True):
            x = up(x)
            x = expand(torch.cat([x, _centre_crop(skips.pop(), x)], dim=1))
        scores: Tensor = self.head(x)
        return scores

    def _check(self, x: Tensor) -> None:
        config = self.config
        if x.ndim != config.dims + 2 or x.shape[1] != config.channels:
            space = ("Z", "Y", "X")[-config.dims :]
            raise ContractileError(
                f"x must have shape (B, {config.channels}, {', '.join(space)}), got {tuple(x.shape)}",
                f"put the batch first, then {config.channels} channel(s)",
            )
        for size in x.shape[2:]:
            config.feature_sizes(int(size))


def fold(network: UNet) -> UNet:
    """An ordinary network with the same output in evaluation: the tie of its kernels folded into plain weights."""
    plain = UNet(network.config.model_copy(update={"symmetry": "none"}))
    state = {}
    for key in plain.state_dict():
        path, name = key.rsplit(".", 1)
        state[key] = getattr(network.get_submodule(path), name).detach()
    plain.load_state_dict(state)
    if network.config.symmetry == "square":
        share_statistics(plain)
    return plain.eval()


def _convolution(config: UNetConfig, channels: int, width: int, kernel: int) -> nn.Module:
    convolution = Conv2d if config.dims == 2 else nn.Conv3d
    return convolution(channels, width, kernel, padding=kernel // 2 if config.padding == "same" else 0)


def _activation(config: UNetConfig, width: int) -> list[nn.Module]:
    norm = nn.BatchNorm2d if config.dims == 2 else nn.BatchNorm3d
    return [*([norm(width)] if config.norm == "batch" else []), nn.ReLU(inplace=True)]


def _block(config: UNetConfig, channels: int, width: int) -> nn.Sequential:
    """Two 3x3 convolutions, each followed by (batch norm and) a ReLU."""
    layers: list[nn.Module] = []
    for ins in (channels, width):
        layers += [_convolution(config, ins, width, KERNEL), *_activation(config, width)]
    return nn.Sequential(*layers)


def _up_convolution(config: UNetConfig, wide: int, narrow: int) -> nn.Sequential:
    """The 2x2 "up-convolution" that doubles the size and halves the channels."""
    transposed = nn.ConvTranspose2d if config.dims == 2 else nn.ConvTranspose3d
    layers: list[nn.Module] = [transposed(wide, narrow, 2, stride=2)]
    if config.activate_up:
        layers += _activation(config, narrow)
    return nn.Sequential(*layers)


def _centre_crop(skip: Tensor, like: Tensor) -> Tensor:
    """The middle of `skip`, as large as `like`. As a padding, since the gradient of slices loses its memory format."""
    surplus = [have - want for have, want in zip(skip.shape[2:], like.shape[2:], strict=True)]
    if not any(surplus):
        return skip
    ends = [end for extra in reversed(surplus) for end in (-(extra // 2), extra // 2 - extra)]  # last axis first
    return nn.functional.pad(skip, ends)


def _initialise(layer: nn.Module) -> None:
    """Gaussian of standard deviation sqrt(2 / N), N the incoming nodes of one neuron (sec. 3; He et al. 2015).

    A neuron behind a 2x2 up-convolution of stride 2 sees one pixel, so N is its input channels.
    """
    if not isinstance(layer, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        return
    incoming = layer.in_channels
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        incoming *= math.prod(layer.kernel_size)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / incoming))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
