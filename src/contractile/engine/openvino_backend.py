"""The U-Net as an OpenVINO graph: built from the weights directly, compiled once per tile shape.

Class scores leave the graph; the soft-max is taken in float32 outside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from contractile.engine.torch_backend import fold_norms
from contractile.unet import UNet

INSTALL = "pip install 'contractile[openvino]'"


class OpenVinoBackend:
    """Runs (B, C, *S) -> class scores (B, K, *S') on the processor in "float32" or "bfloat16"."""

    def __init__(self, network: UNet, *, precision: str) -> None:
        import openvino

        self._network = fold_norms(network)
        self._core = openvino.Core()
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        self._options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        if batch.shape not in self._compiled:
            self._compiled[batch.shape] = self._core.compile_model(self._graph(batch.shape), "CPU", self._options)
        scores: NDArray[np.float32] = self._compiled[batch.shape](np.ascontiguousarray(batch))[0]
        return scores

    def _graph(self, shape: tuple[int, ...]) -> Any:
        return build_graph(self._network, shape)


def build_graph(network: UNet, shape: tuple[int, ...]) -> Any:
    """The network, its norms folded, for inputs of exactly `shape` (B, C, *S): an `openvino.Model` of class scores."""
    import openvino
    from openvino import opset13 as op

    config = network.config
    image = op.parameter(list(shape), np.float32, name="image")
    y, skips = image, []
    ones, zeros, twos = ([n] * config.dims for n in (1, 0, 2))
    for level, block in enumerate(network.contract):
        if level:
            y = op.max_pool(y, twos, ones, zeros, zeros, twos).output(0)
        y = _layers(y, block.children(), config.padding)
        skips.append(y)
    y = skips.pop()
    for up, block in zip(network.up, network.expand, strict=True):
        y = _layers(y, up.children(), config.padding)
        y = op.concat([y, _centre_crop(skips.pop(), y)], 1)
        y = _layers(y, block.children(), config.padding)
    y = _layers(y, [network.head], config.padding)
    if config.sigmoid:  # the scores of two classes, as UNet.class_scores gives them
        y = op.concat([op.multiply(y, op.constant(np.float32(0))), y], 1)
    return openvino.Model([y], [image], "unet")


def _layers(y: Any, layers: Iterable[nn.Module], padding: str) -> Any:
    """Convolutions and ReLUs; no batch norm is left."""
    from openvino import opset13 as op

    for layer in layers:
        y = op.relu(y) if isinstance(layer, nn.ReLU) else _convolution(y, layer, padding)
    return y


def _convolution(y: Any, layer: Any, padding: str) -> Any:
    from openvino import opset13 as op

    weight, bias = layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()
    dims = weight.ndim - 2
    kernel, ones, zeros = op.constant(weight), [1] * dims, [0] * dims
    if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
        y = op.convolution_backprop_data(y, kernel, [2] * dims, pads_begin=zeros, pads_end=zeros, dilations=ones)
    else:
        pad = [n // 2 for n in layer.kernel_size] if padding == "same" else zeros
        y = op.convolution(y, kernel, ones, pad, pad, ones)
    return op.add(y, op.constant(bias.reshape(1, -1, *ones)))


def _centre_crop(skip: Any, like: Any) -> Any:
    from openvino import opset13 as op

    have, want = (list(node.get_output_shape(0))[2:] for node in (skip, like))
    if have == want:
        return skip
    begin = np.array([(a - b) // 2 for a, b in zip(have, want, strict=True)], np.int64)
    axes = np.arange(2, 2 + len(want))
    parts = (begin, begin + np.array(want, np.int64), np.ones_like(begin), axes.astype(np.int64))
    return op.slice(skip, *(op.constant(part) for part in parts))
