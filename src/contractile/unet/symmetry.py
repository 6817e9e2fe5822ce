"""Kernels tied under the eight symmetries of the square: quarter turns and mirrors of the last two axes.

Channels come in orbits of eight, one channel per symmetry (Cohen and Welling 2016, arXiv:1602.07576). Each pair of an
output orbit o and an input orbit i has one free kernel, used in eight poses. With symmetries g, h and an offset d,

    expanded[(o, g), (i, h)](d) = free[o, i, g^-1 h](g^-1 d)

so that turning or mirroring the input turns or mirrors every map and permutes the channels inside each orbit. Class
scores have no orbits; they only turn with the image. Their kernel is the sum of all poses of a free one, so that a 1x1
kernel gives the same weight to all channels of an orbit. The expansion is a parametrization of ordinary layers;
`unet.fold` replaces it by plain weights, which gives an ordinary `UNet`.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import parametrize

from contractile.unet.sizes import ORBIT

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)  # for 2-D and 3-D
TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def memory_format(dims: int, device_type: str) -> torch.memory_format:
    """The order of values in memory with which convolutions are fastest; for volumes on a GPU it was not measured."""
    if dims == 2:
        return torch.channels_last
    return torch.channels_last_3d if device_type == "cpu" else torch.contiguous_format


def transform(array: NDArray[Any], symmetry: int) -> NDArray[Any]:
    """An array (..., Y, X) under symmetry 0..7: mirrored for 4 and above, then turned by `symmetry % 4` quarters."""
    mirrored = array[..., ::-1] if symmetry >= 4 else array
    return np.rot90(mirrored, symmetry % 4, axes=(-2, -1))


@functools.cache
def _divide() -> NDArray[np.intp]:
    """(8, 8) table of g^-1 h."""
    square = np.arange(9).reshape(3, 3)
    place = {transform(square, g).tobytes(): g for g in range(ORBIT)}
    product = np.array(
        [[place[transform(transform(square, h), g).tobytes()] for h in range(ORBIT)] for g in range(ORBIT)]
    )
    return np.argsort(product, axis=1)  # row g of the product is the permutation h -> g h


@functools.cache
def _poses(kernel: tuple[int, ...], orbits_in: bool) -> tuple[Tensor, Tensor]:
    """For each symmetry g, which entry of a free kernel becomes entry (h, d); and the inverses. (8, h x d) each."""
    members = ORBIT if orbits_in else 1
    index = np.arange(members * int(np.prod(kernel))).reshape(members, *kernel)
    rows = []
    for g in range(ORBIT):
        moved = transform(index, g)  # (h, d) -> (h, g^-1 d)
        rows.append((moved[_divide()[g]] if orbits_in else moved).ravel())
    poses = np.stack(rows)
    return torch.from_numpy(poses.copy()), torch.from_numpy(np.argsort(poses, axis=1))


class _Expand(torch.autograd.Function):
    """Free kernels (O, I, n) -> their poses (O, 8, I, n). The gradient gathers, which is faster than scattering."""

    @staticmethod
    def forward(ctx: Any, free: Tensor, poses: Tensor, inverse: Tensor) -> Tensor:
        ctx.save_for_backward(inverse)
        return torch.stack([free.index_select(2, pose) for pose in poses], dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (inverse,) = ctx.saved_tensors
        total = gradient[:, 0].index_select(2, inverse[0])
        for g in range(1, ORBIT):
            total += gradient[:, g].index_select(2, inverse[g])
        return total, None, None


class TiedKernel(nn.Module):
    """Weight of a convolution: free (O, I, h, *k) -> expanded (8 O, h I, *k); h is 8, but 1 for the image as input."""

    _members: Tensor

    def __init__(self, weight: Tensor, *, orbits_in: bool, transposed: bool) -> None:
        super().__init__()
        self._orbits_in, self._transposed = orbits_in, transposed
        poses, inverse = _poses(tuple(weight.shape[2:]), orbits_in)
        self.register_buffer("_poses", poses, persistent=False)
        self.register_buffer("_inverse", inverse, persistent=False)
        self.register_buffer("_members", torch.from_numpy(_divide().ravel()), persistent=False)

    def forward(self, free: Tensor) -> Tensor:
        expanded = self.expand(free)
        expanded = expanded.transpose(0, 1) if self._transposed else expanded
        return expanded.contiguous(memory_format=memory_format(expanded.ndim - 2, expanded.device.type))

    def expand(self, free: Tensor) -> Tensor:
        """(O, I, h, *k) -> (8 O, h I, *k): output channels first, for transposed convolutions, too."""
        outs, ins, members, *kernel = free.shape
        expanded: Tensor = _Expand.apply(  # type: ignore[no-untyped-call]
            free.reshape(outs, ins, -1), self._poses, self._inverse
        )
        return expanded.reshape(outs * ORBIT, ins * members, *kernel)

    def expand_square(self, free: Tensor) -> Tensor:
        """(O, 8 O) -> (8 O, 8 O): a matrix from the layer's outputs to themselves, given by the first row per orbit."""
        outs = len(free)
        members = free.reshape(outs, outs, ORBIT).index_select(2, self._members)  # (O, O, g h)
        return members.reshape(outs, outs, ORBIT, ORBIT).transpose(1, 2).reshape(outs * ORBIT, outs * ORBIT)

    def right_inverse(self, expanded: Tensor) -> Tensor:
        if self._transposed:
            expanded = expanded.transpose(0, 1)
        members = ORBIT if self._orbits_in else 1
        first = expanded[::ORBIT]  # the pose of the identity
        return first.reshape(first.shape[0], -1, members, *first.shape[2:]).clone()


class _Repeat(nn.Module):
    """One value per orbit, repeated over its members: biases and norms."""

    def forward(self, free: Tensor) -> Tensor:
        return free.repeat_interleave(ORBIT)

    def right_inverse(self, expanded: Tensor) -> Tensor:
        return expanded[::ORBIT].clone()


class _Average(nn.Module):
    """Weight of the head: a free kernel (K, I, 8, *k) -> the sum of its poses (K, 8 I, *k), which no symmetry changes.

    The sum over the eight poses is divided by sqrt(8), not by 8, so that initial weights keep their variance.
    """

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self._tied = TiedKernel(weight, orbits_in=True, transposed=False)

    def forward(self, free: Tensor) -> Tensor:
        outs, ins, members, *kernel = free.shape
        poses = self._tied.expand(free).reshape(outs, ORBIT, ins * members, *kernel)
        return poses.sum(dim=1) / math.sqrt(ORBIT)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight.reshape(weight.shape[0], -1, ORBIT, *weight.shape[2:]).clone()


def free_head(weight: Tensor) -> Tensor:
    """The free kernel (K, I, 8, *k) of a head whose weight (K, 8 I, *k) no symmetry changes."""
    return weight.reshape(weight.shape[0], -1, ORBIT, *weight.shape[2:]) / math.sqrt(ORBIT)


def tie(network: nn.Module, *, first: nn.Module, head: nn.Module) -> None:
    """Tie every layer of a network in place. `first` is the layer that sees the image, `head` gives class scores."""
    for layer in list(network.modules()):
        if layer is head and isinstance(layer, CONVOLUTIONS):
            parametrize.register_parametrization(layer, "weight", _Average(layer.weight))
        elif isinstance(layer, CONVOLUTIONS + TRANSPOSED):
            kernel = TiedKernel(layer.weight, orbits_in=layer is not first, transposed=isinstance(layer, TRANSPOSED))
            parametrize.register_parametrization(layer, "weight", kernel)
            parametrize.register_parametrization(layer, "bias", _Repeat())
        elif isinstance(layer, NORMS):
            parametrize.register_parametrization(layer, "weight", _Repeat())
            parametrize.register_parametrization(layer, "bias", _Repeat())


def share_statistics(network: nn.Module) -> None:
    """Give all channels of an orbit the same running statistics, in place. Exact symmetry in evaluation needs it."""
    norms: list[Any] = [layer for layer in network.modules() if isinstance(layer, NORMS)]
    for norm in norms:
        mean, var = (values.reshape(-1, ORBIT) for values in (norm.running_mean, norm.running_var))
        total = var.mean(dim=1) + mean.var(dim=1, unbiased=False)  # variance of all channels of an orbit together
        norm.running_mean.copy_(mean.mean(dim=1).repeat_interleave(ORBIT))
        norm.running_var.copy_(total.repeat_interleave(ORBIT))
