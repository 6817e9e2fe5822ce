"""The U-Net (Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28) as a plain `torch.nn.Module`.

Shapes: B batch, C channels in, K classes out, *S space: (Y, X) or (Z, Y, X). Knows nothing of files, tiles or training.
"""

from __future__ import annotations

import math
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize

from contractile.errors import ContractileError, WrongType, shown
from contractile.unet.sizes import UNetConfig
from contractile.unet.symmetry import CONVOLUTIONS, NORMS, TRANSPOSED, free_head, share_statistics, tie

POOLINGS = (nn.MaxPool2d, nn.MaxPool3d)
# PyTorch 2.6 cannot tell an export from other compilation.
exporting = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)


class UNet(nn.Module):
    """`UNet(config)(x)`: x (B, C, *S) -> (B, K, *S'), where S' is `config.output_size(S, axis)` on each axis.

    The values are class scores before the soft-max; with `config.sigmoid` one channel in [0, 1].
    Raises ContractileError for an input whose channels or size do not fit, with the nearest sizes that do, and
    WrongType for what is no configuration or tensor.
    """

    def __init__(self, config: UNetConfig) -> None:
        if not isinstance(config, UNetConfig):
            raise WrongType(f"config must be a UNetConfig, got {shown(config)}", "use e.g. UNetConfig(width=16)")
        super().__init__()
        self.config = config
        ins = (config.channels, *config.widths)
        self.contract = nn.ModuleList(_block(config, level, channels) for level, channels in enumerate(ins[:-1]))
        self.pools = nn.ModuleList(POOLINGS[config.dims - 2](size) for size in config.poolings)
        self.drop = nn.Dropout(config.dropout)
        upwards = range(config.depth)[::-1]
        self.up = nn.ModuleList(_up_convolution(config, level) for level in upwards)
        self.expand = nn.ModuleList(_block(config, level, config.widths[level + 1]) for level in upwards)
        self.head = _convolution(config, config.width, config.classes, config.head)
        self.apply(_initialise)
        if config.symmetry == "square":
            tie(self, first=self.contract[0][0], head=self.head)  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        scores = self._scores(x)
        return torch.sigmoid(scores) if self.config.sigmoid else scores

    def class_scores(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, K, *S') scores whose soft-max over K >= 2 classes gives probabilities.

        A sigmoid network counts as two classes: the soft-max of (0, s) is (1 - sigmoid(s), sigmoid(s)).
        """
        scores = self._scores(x)
        if not self.config.sigmoid:
            return scores
        return nn.functional.pad(scores, [0, 0] * self.config.dims + [1, 0])  # channel 0 of zeros

    def _scores(self, x: Tensor) -> Tensor:
        self._check(x)
        skips: list[Tensor] = []
        for level, contract in enumerate(self.contract):
            x = contract(x if level == 0 else self.pools[level - 1](x))  # (B, width * 2**level, *S of the level)
            if level >= self.config.depth - 1:
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
        if not isinstance(x, Tensor):
            raise WrongType(f"x must be a torch tensor, got {type(x).__name__}", "convert with torch.as_tensor")
        double = next(self.parameters()).dtype == torch.float64
        if not x.is_floating_point() or (x.dtype == torch.float64) != double:
            cure = "convert one of them to double" if double else "convert with x.float()"
            raise WrongType(f"x must hold floats as the weights do, got {x.dtype}", cure)
        if x.ndim != config.dims + 2 or x.shape[1] != config.channels:
            space = ("Z", "Y", "X")[-config.dims :]
            raise ContractileError(
                f"x must have shape (B, {config.channels}, {', '.join(space)}), got {tuple(x.shape)}",
                f"put the batch first, then {config.channels} channel(s)",
            )
        for axis in range(0 if exporting() else config.dims):  # a look at the size would fix it in the export
            config.feature_sizes(int(x.shape[axis + 2]), axis)


def fold(network: UNet) -> UNet:
    """An ordinary network, in evaluation mode, with the same output: tied kernels are written out as plain weights."""
    plain = UNet(network.config.model_copy(update={"symmetry": "none"}))
    plain.load_state_dict({key: attrgetter(key)(network).detach() for key in plain.state_dict()})
    if network.config.symmetry == "square":
        share_statistics(plain)
    return plain.eval()


def adopt(network: UNet, plain: UNet, *, head: bool = True) -> None:
    """Give a network the weights of an ordinary one of the same sizes, in place; without `head` its last layer stays.

    The inverse of `fold`: where kernels are tied, those of `plain` must have this symmetry.
    """
    layers = dict(network.named_modules())
    with torch.no_grad():
        for key, value in plain.state_dict().items():
            place, _, name = key.rpartition(".")
            layer = layers[place]
            if layer is network.head and not head:
                continue
            if layer is network.head and parametrize.is_parametrized(layer, name):
                parametrizations: Any = layer.parametrizations
                parametrizations[name].original.copy_(free_head(value))
            elif parametrize.is_parametrized(layer, name):
                setattr(layer, name, value)
            else:
                getattr(layer, name).copy_(value)


class _Conv3d(nn.Conv3d):
    """A convolution that learns from maps of two planes, too.

    PyTorch 2.13 on a processor reads memory that nobody has written for the gradient of a kernel of three planes in
    bfloat16 where the map has two (docs/log.md). Around zeros, which the padding would add anyway, it does not.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, K, *S)."""
        if not (self.training and x.shape[2] == 2 and self.padding[0] == 1):
            return super().forward(x)
        x = functional.pad(x, (0, 0, 0, 0, 1, 1))
        return functional.conv3d(x, self.weight, self.bias, padding=(0, *self.padding[1:]))


def _convolution(config: UNetConfig, channels: int, width: int, kernel: tuple[int, ...]) -> nn.Module:
    padding = [size // 2 if config.padding == "same" else 0 for size in kernel]
    layer: Any = (nn.Conv2d, _Conv3d)[config.dims - 2]
    convolution: nn.Module = layer(channels, width, kernel, padding=tuple(padding))
    return convolution


def _activation(config: UNetConfig, width: int) -> list[nn.Module]:
    norms = [NORMS[config.dims - 2](width)] if config.norm == "batch" else []
    return [*norms, nn.ReLU(inplace=True)]


def _block(config: UNetConfig, level: int, channels: int) -> nn.Sequential:
    """The two convolutions of a level, each followed by (batch norm and) a ReLU."""
    layers: list[nn.Module] = []
    width = config.widths[level]
    for ins in (channels, width):
        layers += [_convolution(config, ins, width, config.kernels[level]), *_activation(config, width)]
    return nn.Sequential(*layers)


def _up_convolution(config: UNetConfig, level: int) -> nn.Sequential:
    """The "up-convolution" from the level below: restores the size before the pooling and halves the channels."""
    factors, narrow, wide = config.poolings[level], config.widths[level], config.widths[level + 1]
    transposed: Any = TRANSPOSED[config.dims - 2]
    layers: list[nn.Module] = [transposed(wide, narrow, factors, stride=factors)]
    if config.activate_up:
        layers += _activation(config, narrow)
    return nn.Sequential(*layers)


def _centre_crop(skip: Tensor, like: Tensor) -> Tensor:
    """The middle of `skip`, as large as `like`. By negative padding: gradients of slices lose the memory format."""
    surplus = [have - want for have, want in zip(skip.shape[2:], like.shape[2:], strict=True)]
    if not any(surplus):
        return skip
    ends = [end for extra in reversed(surplus) for end in (-(extra // 2), extra // 2 - extra)]  # last axis first
    return nn.functional.pad(skip, ends)


def _initialise(layer: nn.Module) -> None:
    """Normal weights of standard deviation sqrt(2 / N), N the incoming nodes of one neuron (sec. 3; He et al. 2015).

    The kernel of an up-convolution is as large as its stride, so each output sees one pixel: N is its input channels.
    """
    if not isinstance(layer, CONVOLUTIONS + TRANSPOSED):
        return
    incoming = layer.in_channels
    if isinstance(layer, CONVOLUTIONS):
        incoming *= math.prod(layer.kernel_size)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / incoming))
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # every layer here has one
