"""The U-Net in PyTorch, arranged for inference: batch norm folded away, channels last, one data type."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from contractile.unet import UNet

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class TorchBackend:
    """Runs (B, C, *S) -> class scores (B, K, *S') on a device in "float32" or "bfloat16"."""

    def __init__(self, network: UNet, *, device: torch.device, precision: str) -> None:
        self._device, self._type = device, TYPES[precision]
        self._format = torch.channels_last if network.config.dims == 2 else torch.contiguous_format
        folded = fold_norms(network)
        self._network = folded.to(device=device, dtype=self._type, memory_format=self._format)  # type: ignore[call-overload]

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(batch))
            x = x.to(device=self._device, dtype=self._type).contiguous(memory_format=self._format)
            scores: NDArray[np.float32] = self._network.class_scores(x).float().cpu().numpy()
        return scores


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
