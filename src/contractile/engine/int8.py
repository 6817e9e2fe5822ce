"""The U-Net in 8-bit integers: weights by their own range, activations by ranges seen on real images.

OpenVINO multiplies in integers wherever both inputs of a convolution have been through a `FakeQuantize`. The first
convolution, whose few inputs leave no room for rounding, is spared. Correcting the biases for the mean error of the
rounded weights, as calibration tools do, was tried and changed more labels than it mended (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from contractile.engine.arrange import fold_norms
from contractile.engine.openvino_backend import OpenVinoBackend, Quantise, as_they_are
from contractile.unet import UNet

CONVOLUTIONS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LEVELS = 256
LARGEST = 127  # of a signed weight: symmetric about zero

Ranges = tuple[tuple[float, float], ...]


class Int8Backend(OpenVinoBackend):
    """Runs (B, C, *S) -> class scores (B, K, *S') with weights and activations quantised to 8 bits.

    `ranges`: what `measure_ranges` found on images like those it will see.
    """

    def __init__(self, network: UNet, *, precision: str, ranges: Ranges) -> None:
        super().__init__(network, precision=precision)
        self._ranges = ranges

    def _quantise(self) -> Quantise:
        spans = enumerate(self._ranges)

        def quantise(y: Any, kernel: NDArray[np.float32], transposed: bool) -> tuple[Any, Any]:
            place, (low, high) = next(spans)
            if place == 0:
                return as_they_are(y, kernel, transposed)
            return _quantised_map(y, low, high), _quantised_kernel(kernel, transposed)

        return quantise


def measure_ranges(network: UNet, batches: Iterable[NDArray[np.float32]]) -> Ranges:
    """Smallest and largest input of every convolution on batches (B, C, *S), in the order in which they run."""
    folded = fold_norms(network)
    lows: list[float] = []
    highs: list[float] = []
    place = 0

    def look(_layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal place
        low, high = (float(value) for value in inputs[0].aminmax())
        if place == len(lows):
            lows.append(low)
            highs.append(high)
        lows[place], highs[place] = min(lows[place], low), max(highs[place], high)
        place += 1

    for layer in folded.modules():
        if isinstance(layer, CONVOLUTIONS):
            layer.register_forward_pre_hook(look)
    device = next(network.parameters()).device
    with torch.inference_mode():
        for batch in batches:
            place = 0
            folded(torch.from_numpy(np.ascontiguousarray(batch)).to(device))
    return tuple(zip(lows, highs, strict=True))


def _quantised_map(y: Any, low: float, high: float) -> Any:
    """256 levels from low to high, moved so that 0, which padding brings in, is one of them."""
    from openvino import opset13 as op

    low, high = min(low, 0.0), max(high, 1e-6)
    step = (high - low) / (LEVELS - 1)
    low = round(low / step) * step
    ends = [op.constant(np.float32(end)) for end in (low, low + step * (LEVELS - 1))]
    return op.fake_quantize(y, *ends, *ends, LEVELS)


def _quantised_kernel(kernel: NDArray[np.float32], transposed: bool) -> Any:
    """A kernel (O, I, *k) in steps of 1/127 of each output channel's largest weight; (I, O, *k) transposed."""
    from openvino import opset13 as op

    axes = tuple(axis for axis in range(kernel.ndim) if axis != int(transposed))
    largest = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True), 1e-12)
    ends = [op.constant(end.astype(np.float32)) for end in (-largest, largest)]
    return op.fake_quantize(op.constant(kernel), *ends, *ends, 2 * LARGEST + 1)
