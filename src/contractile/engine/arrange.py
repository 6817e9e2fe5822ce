"""A trained network rearranged for inference: norms folded into convolutions, the first layer safe to round."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contractile.unet import UNet


def arrange(network: UNet, precision: str) -> UNet:
    """A copy of the network for inference in "float32" or "bfloat16"; its input is what `arrange_image` gives."""
    arranged = copy.deepcopy(network).eval()
    for blocks in (arranged.contract, arranged.up, arranged.expand):
        for index, block in enumerate(blocks):
            blocks[index] = nn.Sequential(*_fold_norms(block.children()))
    if precision == "bfloat16":
        _split_first_kernel(arranged)
    return arranged


def arrange_image(batch: NDArray[np.float32], precision: str) -> Tensor:
    """Images (B, C, *S) for an arranged network: in "float32" unchanged, in "bfloat16" three parts (B, 3C, *S)."""
    image = torch.from_numpy(np.ascontiguousarray(batch))
    if precision == "float32":
        return image
    high, low = _halves(image)
    return torch.cat([high, low, high], dim=1)


def _fold_norms(layers: Iterable[Any]) -> list[nn.Module]:
    """The same layers, with each batch norm folded into the convolution before it."""
    kept: list[Any] = []
    for layer in layers:
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            transposed = isinstance(kept[-1], nn.ConvTranspose2d | nn.ConvTranspose3d)
            kept[-1] = fuse_conv_bn_eval(kept[-1], layer, transpose=transposed)
        else:
            kept.append(layer)
    return kept


def _split_first_kernel(arranged: Any) -> None:
    """Let a network whose norms are folded take images in three parts.

    The first kernel has few weights, and they nearly cancel. Rounding it to bfloat16, which keeps 8 bits, changed the
    scores of a trained network about as much as rounding all other layers together (docs/log.md). So image x and
    kernel w are each written as the sum of two bfloat16 numbers:

        x w = x_high w_high + x_low w_high + x_high w_low

    This keeps 16 bits and takes almost no extra time.
    """
    first = arranged.contract[0][0]
    high, low = _halves(first.weight.detach())
    first.weight = nn.Parameter(torch.cat([high, high, low], dim=1))
    first.in_channels *= 3
    arranged.config = arranged.config.model_copy(update={"channels": first.in_channels})


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    """Two float32 tensors that hold bfloat16 numbers; their sum equals `values` to 16 bits."""
    high = values.bfloat16().float()
    return high, (values - high).bfloat16().float()
