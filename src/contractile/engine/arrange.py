"""A trained network rearranged for inference: norms folded away, the first convolution made safe to round."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contractile.unet import UNet


def fold_norms(network: UNet) -> UNet:
    """A copy of the network whose batch norms are folded into the convolutions before them."""
    folded = copy.deepcopy(network).eval()
    for blocks in (folded.contract, folded.up, folded.expand):
        for index, block in enumerate(blocks):
            blocks[index] = nn.Sequential(*_fold(list(block.children())))
    return folded


def _fold(layers: list[Any]) -> list[nn.Module]:
    kept: list[Any] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            transposed = isinstance(kept[-1], nn.ConvTranspose2d | nn.ConvTranspose3d)
            kept[-1] = fuse_conv_bn_eval(kept[-1], layer, transpose=transposed)
        else:
            kept.append(layer)
    return kept


def split_first_kernel(folded: UNet) -> UNet:
    """The network (its norms folded) for images in three parts, (B, 3C, *S) as `split_image` gives them.

    The first kernel has few weights, which nearly cancel: rounding them to the 8 bits of bfloat16 disturbed the
    scores of a trained network about as much as rounding everything (docs/log.md). So image and kernel are
    written as sums of two bfloat16 numbers each, x w = x_high w_high + x_low w_high + x_high w_low, which keeps
    16 bits and costs next to nothing.
    """
    split = copy.deepcopy(folded)
    first: Any = split.contract[0][0]  # type: ignore[index]
    high, low = _halves(first.weight.detach())
    first.weight = nn.Parameter(torch.cat([high, high, low], dim=1))
    first.in_channels *= 3
    split.config = split.config.model_copy(update={"channels": first.in_channels})
    return split


def merge_up_convolution(up: Any, following: Any) -> tuple[NDArray[np.float32], ...]:
    """An up-convolution (I -> N, 2x2) and the unpadded 3x3 convolution of [up-sampled, skip] after it, as one sum.

    Nothing bends between the two, so what reaches the output through the up-sampled map is one transposed
    convolution, 4x4 of stride 2 and cropped by 2, with 8 N^2 instead of 11 N^2 multiplications per output pixel;
    the skip keeps its 3x3. Returns kernel (I, O, *4), skip's kernel (O, N, *3), bias (O,).
    """
    first, second = up.weight.detach().cpu(), following.weight.detach().cpu()
    narrow, dims = up.out_channels, first.ndim - 2
    space = tuple(range(2, 2 + dims))
    for_up, for_skip = second[:, :narrow], second[:, narrow:]
    phases = first.permute(*space, 0, 1).contiguous()  # (*2, I, N)
    taps = for_up.permute(*space, 1, 0).contiguous()  # (*3, N, O)
    merged = torch.zeros(*[4] * dims, first.shape[0], second.shape[0])
    for phase in itertools.product(range(2), repeat=dims):
        for tap in itertools.product(range(3), repeat=dims):
            place = tuple(a - k + 2 for a, k in zip(phase, tap, strict=True))
            merged[place] += phases[phase] @ taps[tap]
    merged = merged.permute(dims, dims + 1, *range(dims))  # (I, O, *4)
    bias = following.bias.detach().cpu() + for_up.sum(dim=space) @ up.bias.detach().cpu()
    return tuple(part.contiguous().numpy() for part in (merged, for_skip, bias))


def split_image(batch: NDArray[np.float32]) -> Tensor:
    """(B, C, *S) -> (B, 3C, *S): the high parts, the low parts, the high parts again; each a bfloat16 number."""
    high, low = _halves(torch.from_numpy(np.ascontiguousarray(batch)))
    return torch.cat([high, low, high], dim=1)


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Two float32 tensors of bfloat16 numbers whose sum is `values` to 16 bits."""
    high = values.bfloat16().float()
    return high, (values - high).bfloat16().float()
