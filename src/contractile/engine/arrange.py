"""A trained network rearranged for inference: norms folded into convolutions, the first layer safe to round."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contractile.engine.halves import halves
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
    high, low = map(torch.from_numpy, halves(first.weight.detach().cpu().numpy()))
    first.weight = nn.Parameter(torch.cat([high, high, low], dim=1))
    first.in_channels *= 3
    arranged.config = arranged.config.model_copy(update={"channels": first.in_channels})
