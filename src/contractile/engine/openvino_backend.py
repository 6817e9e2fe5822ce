"""The U-Net in OpenVINO: converted from PyTorch once, then reshaped and compiled for each shape of tile."""

from __future__ import annotations

import hashlib
import io
import logging
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contractile.engine.arrange import arrange, arrange_image
from contractile.engine.cache import cache_folder, read_entry, write_entry
from contractile.unet import UNet

INSTALL = "pip install 'contractile[openvino]'"
LENGTH = 8  # bytes that hold the length of the first part of a kept network

logger = logging.getLogger(__name__)


class OpenVinoBackend:
    """Computes class scores (B, K, *S') of images (B, C, *S) on the processor in "float32" or "bfloat16".

    The cache folder keeps the converted network, and the compiled one of each shape. OpenVINO would keep the latter
    itself, but without a checksum: one damaged bit gives other scores.
    """

    def __init__(self, network: UNet, *, precision: str, threads: int | None = None) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO reports imports with it
        import openvino

        self._precision = precision
        hint = precision.replace("float", "f")  # f32, bf16
        self._options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = str(threads)
        self._core = openvino.Core()
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._folder = cache_folder()
        self._name = _name(network, precision)
        self._network = self._read_network()
        if self._network is None:
            self._network = convert(arrange(network, precision))
            self._write_network()

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        image = arrange_image(batch, self._precision).numpy()
        if image.shape not in self._compiled:
            self._compiled[image.shape] = self._compile(image.shape)
        scores: NDArray[np.float32] = self._compiled[image.shape](image)[0]
        return scores

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for images of one shape (B, C, *S), as it was kept, or anew."""
        device = [self._core.get_property("CPU", key) for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
        depends_on = repr((self._name, shape, self._options, device))
        name = f"{hashlib.sha256(depends_on.encode()).hexdigest()}.compiled"
        if self._folder and (content := read_entry(self._folder, name)) is not None:
            try:
                return self._core.import_model(io.BytesIO(content), "CPU", self._options)
            except RuntimeError as error:
                logger.info("a compiled network cannot be used, and is made again: %s", error)
        self._network.reshape(list(shape))
        compiled = self._core.compile_model(self._network, "CPU", self._options)
        if self._folder:
            stream = io.BytesIO()
            compiled.export_model(stream)
            write_entry(self._folder, name, stream.getvalue())
        return compiled

    def _read_network(self) -> Any:
        """The converted network, as it was kept; None if there is none."""
        content = read_entry(self._folder, f"{self._name}.network") if self._folder else None
        if content is None:
            return None
        end = LENGTH + int.from_bytes(content[:LENGTH], "little")
        try:
            return self._core.read_model(content[LENGTH:end], content[end:])
        except RuntimeError as error:
            logger.info("a converted network cannot be used, and is made again: %s", error)
            return None

    def _write_network(self) -> None:
        """Keep the converted network: its description (XML), preceded by the length of that, and its weights."""
        import openvino

        if self._folder is None:
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.xml"
                openvino.save_model(self._network, path, compress_to_fp16=False)
                described, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
            self._network = self._core.read_model(described, weights)  # as the next start: it is whole
        except (OSError, RuntimeError) as error:  # a full disk
            logger.info("a network is not kept: %s", error)
            return
        length = len(described).to_bytes(LENGTH, "little")
        write_entry(self._folder, f"{self._name}.network", length + described + weights)


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
    return model
