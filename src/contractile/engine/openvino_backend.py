"""The U-Net in OpenVINO: converted from PyTorch once, then reshaped and compiled for each shape of tile."""

from __future__ import annotations

import hashlib
import sys
import warnings
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contractile.engine.arrange import arrange, arrange_image
from contractile.engine.cache import cache_folder, read_model, write_model
from contractile.unet import UNet

INSTALL = "pip install 'contractile[openvino]'"


class OpenVinoBackend:
    """Computes class scores (B, K, *S') of images (B, C, *S) on the processor in "float32" or "bfloat16".

    The cache folder keeps the converted network; OpenVINO itself keeps there the compiled ones.
    """

    def __init__(self, network: UNet, *, precision: str) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO reports imports with it
        import openvino

        self._precision = precision
        hint = precision.replace("float", "f")  # f32, bf16
        self._options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        self._core = openvino.Core()
        self._compiled: dict[tuple[int, ...], Any] = {}
        folder = cache_folder()
        if folder is None:
            self._model = convert(arrange(network, precision))
            return
        self._core.set_property({"CACHE_DIR": str(folder)})
        path = folder / f"{_name(network, precision)}.xml"
        self._model = read_model(path)
        if self._model is None:
            converted = convert(arrange(network, precision))
            write_model(converted, path)
            self._model = read_model(path) or converted  # what the next start reads, so that its cache is hit

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        image = arrange_image(batch, self._precision).numpy()
        if image.shape not in self._compiled:
            self._model.reshape(list(image.shape))
            self._compiled[image.shape] = self._core.compile_model(self._model, "CPU", self._options)
        scores: NDArray[np.float32] = self._compiled[image.shape](image)[0]
        return scores


def _name(network: UNet, precision: str) -> str:
    """A name that changes with everything that the converted network depends on."""
    versions = [version(package) for package in ("contractile", "openvino", "torch")]
    digest = hashlib.sha256(repr((network.config.model_dump_json(), precision, versions)).encode())
    for key, values in network.state_dict().items():
        digest.update(key.encode())
        digest.update(values.cpu().contiguous().numpy())
    return digest.hexdigest()


class _ClassScores(nn.Module):
    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return self.network.class_scores(image)


def convert(arranged: UNet) -> Any:
    """An `openvino.Model` of class scores for inputs (B, C, *S) of any shape that the network takes.

    `openvino.convert_model` would do the same, but it reports its use to a server on the internet.
    """
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder

    config = arranged.config
    image = torch.zeros(1, config.channels, *(config.input_size(1, axis) for axis in range(config.dims)))
    with torch.no_grad(), warnings.catch_warnings(record=True):
        warnings.simplefilter("ignore")  # PyTorch and OpenVINO warn about their own code
        exported = torch.export.export(_ClassScores(arranged).cpu(), (image,), strict=False).run_decompositions()
        decoder = TorchFXPythonDecoder(exported.module(), dynamic_shapes=True)
    frontend = FrontEndManager().load_by_framework("pytorch")
    model = frontend.convert(frontend.load(decoder))
    model.set_friendly_name("unet")
    for place, node in enumerate(model.get_ordered_ops()):  # OpenVINO's cache needs names that are always the same
        node.set_friendly_name(f"{node.get_type_name()}_{place}")
    return model
