"""The U-Net in OpenVINO: converted from PyTorch once, then reshaped and compiled for each shape of tile."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import sys
import tempfile
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine.agreement import Agreement
from contractile.engine.cache import cache_folder, read_entry, write_entry
from contractile.engine.halves import arrange_image
from contractile.errors import ContractileError
from contractile.unet import StoredUNet

INSTALL = "pip install 'contractile[openvino]'"
LENGTH = 8  # bytes that hold the length of the first part of a kept network
MOST_KEPT = 2  # compiled networks stay in memory for so many times the pixels of the largest of their shapes
GIVES = "probabilities"  # what a converted network gives; networks that gave something else have other names

logger = logging.getLogger(__name__)


class OpenVinoBackend:
    """Computes class probabilities (B, K, *S'), K >= 2, of images (B, C, *S) on the processor.

    The cache folder keeps the converted network, the compiled one of each shape, and how far the network agrees with
    PyTorch. A start that finds all three needs no PyTorch. OpenVINO could keep compiled networks itself, but without a
    checksum: one damaged bit gives other scores.
    """

    def __init__(self, network: StoredUNet, *, precision: str, threads: int | None = None) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # OpenVINO reports imports with it
        import openvino

        self._precision = precision
        hint = precision.replace("float", "f")  # f32, bf16
        self._options = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:  # several processes share the machine: pinned threads would share a core
            self._options |= {"INFERENCE_NUM_THREADS": str(threads), "ENABLE_CPU_PINNING": "NO"}
        self._core = openvino.Core()
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._folder = cache_folder()
        self._name = _name(network, precision)
        self._stored = network
        self._network: Any = None
        if not self._is_kept():  # at once: what is placed does not change when the training of the network goes on
            self._network = self._find_network()

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        image = arrange_image(batch, self._precision)
        try:
            found: NDArray[np.float32] = self._compiled_for(image.shape)(image)[0]
        except (RuntimeError, MemoryError):
            self._compiled.clear()  # each holds memory, which a smaller tile may need
            raise
        return found

    def _compiled_for(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for images of one shape; those that were used last stay in memory."""
        compiled = self._compiled[shape] = self._compiled.pop(shape, None) or self._compile(shape)
        pixels = {kept: math.prod((kept[0], *kept[2:])) for kept in self._compiled}
        while sum(pixels[kept] for kept in self._compiled) > MOST_KEPT * max(pixels.values()):
            del self._compiled[next(iter(self._compiled))]
        return compiled

    def kept_agreement(self) -> Agreement | None:
        """How far this network agreed with PyTorch on this processor at the first start; None if nobody knows."""
        content = read_entry(self._folder, self._entry("agreement")) if self._folder else None
        try:
            return None if content is None else Agreement(**json.loads(content))
        except (ValueError, TypeError) as error:
            logger.info("what a network was found to change cannot be used, and is found again: %s", error)
            return None

    def keep_agreement(self, agreement: Agreement) -> None:
        """Keep how far this network agrees with PyTorch, beside it, for the next starts."""
        if self._folder:
            write_entry(self._folder, self._entry("agreement"), json.dumps(asdict(agreement)).encode())

    def keeps(self) -> bool:
        """Whether there is a cache."""
        return self._folder is not None

    def _compile(self, shape: tuple[int, ...]) -> Any:
        """The network compiled for images of one shape (B, C, *S), as it was kept, or anew."""
        name = self._entry("compiled", shape)
        if self._folder and (content := read_entry(self._folder, name)) is not None:
            try:
                return self._core.import_model(io.BytesIO(content), "CPU", self._options)
            except RuntimeError as error:
                logger.info("a compiled network cannot be used, and is made again: %s", error)
        self._network = self._network or self._find_network()
        self._network.reshape(list(shape))
        compiled = self._core.compile_model(self._network, "CPU", self._options)
        if self._folder:
            stream = io.BytesIO()
            compiled.export_model(stream)
            write_entry(self._folder, name, stream.getvalue())
        return compiled

    def _entry(self, kind: str, *more: object) -> str:
        """The name of an entry of the cache that depends on the processor, too."""
        device = [self._core.get_property("CPU", key) for key in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
        depends_on = repr((self._name, *more, self._options, device))
        return f"{hashlib.sha256(depends_on.encode()).hexdigest()}.{kind}"

    def _is_kept(self) -> bool:
        """Whether there is a converted network of this name, whole or damaged. It is read when a shape needs it."""
        return self._folder is not None and (self._folder / f"{self._name}.network").is_file()

    def _find_network(self) -> Any:
        """The converted network, as it was kept, or made anew."""
        found = self._read_network()
        return self._convert() if found is None else found

    def _convert(self) -> Any:
        from contractile.engine.arrange import arrange
        from contractile.engine.conversion import convert

        if _name(self._stored, self._precision) != self._name:
            problem = "the network has changed since it was placed, and its converted form is lost"
            raise ContractileError(problem, "place it again")
        return self._write_network(convert(arrange(self._stored.network, self._precision)))

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

    def _write_network(self, network: Any) -> Any:
        """Keep a converted network: its description (XML), preceded by the length of that, and its weights.

        Returns it as the next start will find it; as it is where it cannot be kept.
        """
        import openvino

        if self._folder is None:
            return network
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "network.xml"
                openvino.save_model(network, path, compress_to_fp16=False)
                described, weights = path.read_bytes(), path.with_suffix(".bin").read_bytes()
            whole = self._core.read_model(described, weights)
        except (OSError, RuntimeError) as error:  # a full disk
            logger.info("a network is not kept: %s", error)
            return network
        length = len(described).to_bytes(LENGTH, "little")
        write_entry(self._folder, f"{self._name}.network", length + described + weights)
        return whole


def _name(network: StoredUNet, precision: str) -> str:
    """A name that changes with everything that the converted network depends on."""
    digest = hashlib.sha256(repr((GIVES, network.config.model_dump_json(), precision, _versions())).encode())
    for key, values in sorted(network.weights.items()):
        digest.update(key.encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


@cache
def _versions() -> tuple[str, ...]:
    return tuple(version(package) for package in ("contractile", "openvino", "torch"))
