"""The U-Net as an OpenVINO graph: built from the weights directly, compiled once per tile shape.

Class scores leave the graph; the soft-max is taken in float32 outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from contractile.engine.arrange import fold_norms, merge_up_convolution, split_first_kernel, split_image
from contractile.engine.cache import cache_folder
from contractile.unet import UNet

INSTALL = "pip install 'contractile[openvino]'"

# (map, kernel, transposed) -> what the graph convolves with what
Quantise = Callable[[Any, NDArray[np.float32], bool], tuple[Any, Any]]


def as_they_are(y: Any, kernel: NDArray[np.float32], _transposed: bool) -> tuple[Any, Any]:
    """Every map and kernel in the precision of the graph."""
    from openvino import opset13 as op

    return y, op.constant(kernel)


class OpenVinoBackend:
    """Runs (B, C, *S) -> class scores (B, K, *S') on the processor in "float32" or "bfloat16".

    Compiled graphs are kept on disk; OpenVINO finds them again by weights, shape and its own version.
    """

    def __init__(self, network: UNet, *, precision: str) -> None:
        import openvino

        folded = fold_norms(network)
        self._rounds = precision == "bfloat16"
        self._network = split_first_kernel(folded) if self._rounds else folded
        self._core = openvino.Core()
        folder = cache_folder()
        if folder is not None:
            self._core.set_property({"CACHE_DIR": str(folder)})
        hint = {"float32": "f32", "bfloat16": "bf16"}[precision]
        self._options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        image = split_image(batch).numpy() if self._rounds else np.ascontiguousarray(batch)
        if image.shape not in self._compiled:
            graph = build_graph(self._network, image.shape, quantise=self._quantise())
            self._compiled[image.shape] = self._core.compile_model(graph, "CPU", self._options)
        scores: NDArray[np.float32] = self._compiled[image.shape](image)[0]
        return scores

    def _quantise(self) -> Quantise:
        return as_they_are


def build_graph(network: UNet, shape: tuple[int, ...], *, quantise: Quantise) -> Any:
    """The network, its norms folded, for inputs of exactly `shape` (B, C, *S): an `openvino.Model` of class scores."""
    import openvino
    from openvino import opset13 as op

    config = network.config
    convolve = partial(_layers, padding=config.padding, quantise=quantise)
    merges = config.padding == "valid" and not config.activate_up
    image = op.parameter(list(shape), np.float32, name="image")
    y, skips = image, []
    ones, zeros, twos = ([n] * config.dims for n in (1, 0, 2))
    for level, block in enumerate(network.contract):
        if level:
            y = op.max_pool(y, twos, ones, zeros, zeros, twos).output(0)
        y = convolve(y, block.children())
        skips.append(y)
    y = skips.pop()
    for up, block in zip(network.up, network.expand, strict=True):
        skip, ups, layers = skips.pop(), list(up.children()), list(block.children())
        if merges:
            y = _merged(y, skip, ups[0], layers.pop(0), quantise)
        else:
            y = convolve(y, ups)
            y = op.concat([y, _centre_crop(skip, list(y.get_output_shape(0))[2:])], 1)
        y = convolve(y, layers)
    y = convolve(y, [network.head])
    if config.sigmoid:  # the scores of two classes, as UNet.class_scores gives them
        y = op.concat([op.multiply(y, op.constant(np.float32(0))), y], 1)
    graph = openvino.Model([y], [image], "unet")
    # Names that are numbered through the process would keep the cache from knowing the graph again.
    graph.output(0).set_names({"scores"})
    for place, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{place}")
    return graph


def _layers(y: Any, layers: Iterable[nn.Module], *, padding: str, quantise: Quantise) -> Any:
    """Convolutions and ReLUs; no batch norm is left."""
    from openvino import opset13 as op

    for layer in layers:
        y = op.relu(y) if isinstance(layer, nn.ReLU) else _convolution(y, layer, padding, quantise)
    return y


def _convolution(y: Any, layer: Any, padding: str, quantise: Quantise) -> Any:
    from openvino import opset13 as op

    weight, bias = layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy()
    dims = weight.ndim - 2
    ones, zeros = [1] * dims, [0] * dims
    transposed = isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)
    y, kernel = quantise(y, weight, transposed)
    if transposed:
        y = op.convolution_backprop_data(y, kernel, [2] * dims, pads_begin=zeros, pads_end=zeros, dilations=ones)
    else:
        pad = [n // 2 for n in layer.kernel_size] if padding == "same" else zeros
        y = op.convolution(y, kernel, ones, pad, pad, ones)
    return op.add(y, op.constant(bias.reshape(1, -1, *ones)))


def _merged(y: Any, skip: Any, up: Any, following: Any, quantise: Quantise) -> Any:
    """Up-convolution, crop, concatenation and the convolution after it, as `merge_up_convolution` writes them."""
    from openvino import opset13 as op

    merged, for_skip, bias = merge_up_convolution(up, following)
    sizes = [2 * size for size in list(y.get_output_shape(0))[2:]]
    ones, zeros, twos = ([n] * len(sizes) for n in (1, 0, 2))
    y, kernel = quantise(y, merged, True)
    y = op.convolution_backprop_data(y, kernel, twos, pads_begin=twos, pads_end=twos, dilations=ones)
    skip, kernel = quantise(_centre_crop(skip, sizes), for_skip, False)
    skip = op.convolution(skip, kernel, ones, zeros, zeros, ones)
    return op.add(op.add(skip, op.constant(bias.reshape(1, -1, *ones))), y)


def _centre_crop(skip: Any, want: list[int]) -> Any:
    from openvino import opset13 as op

    have = list(skip.get_output_shape(0))[2:]
    if have == want:
        return skip
    begin = np.array([(a - b) // 2 for a, b in zip(have, want, strict=True)], np.int64)
    axes = np.arange(2, 2 + len(want))
    parts = (begin, begin + np.array(want, np.int64), np.ones_like(begin), axes.astype(np.int64))
    return op.slice(skip, *(op.constant(part) for part in parts))
