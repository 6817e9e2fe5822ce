"""The engine: one network, the fastest back end that agrees with plain float32 PyTorch."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from contractile.engine.agreement import Agreement, measure_agreement
from contractile.engine.hardware import Precision, find_device, free_memory, is_out_of_memory, native_precision
from contractile.engine.int8 import Int8Backend, Ranges, measure_ranges
from contractile.engine.openvino_backend import INSTALL, OpenVinoBackend
from contractile.engine.torch_backend import TorchBackend
from contractile.errors import ContractileError
from contractile.unet import UNet, UNetConfig

logger = logging.getLogger(__name__)

Backend = Literal["auto", "torch", "openvino"]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

# Activations held at once by the finest level of a U-Net: input, skip, up-sampled map, their
# concatenation and one convolution's result, in units of one map of `width` channels.
LIVE_MAPS = 6
MEMORY_SHARE = 0.25
LARGEST_TILE_PIXELS = 2048**2

CHANGED_LABELS = 1e-3  # the share of pixels whose label a fast back end may change
BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}


class EngineConfig(BaseModel):
    """Where and how a network runs; "auto" asks the machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = "auto"
    backend: Backend = "auto"
    precision: Precision = "auto"


class Engine:
    """A network placed on a device, ready to predict.

    "auto" takes the device CUDA, then Apple's MPS, then the processor; on the processor OpenVINO when it is
    installed; bfloat16 where the hardware multiplies it. The answer to the first batch is compared with that
    of float32 PyTorch on a part of it: if more than 0.1 % of the labels change, the next more exact one
    answers, with a warning where that precision was asked for. int8 needs to know the range of every
    convolution's input: `ranges` from training, or `calibrate`, or else the first batch tells.
    Raises ValueError for what this machine does not have.
    """

    def __init__(self, network: UNet, config: EngineConfig | None = None, *, ranges: Ranges = ()) -> None:
        config = config or EngineConfig()
        self.network = network.eval()
        self.config: UNetConfig = network.config
        self.device = find_device(config.device)
        self.backend = _choose_backend(config.backend, self.device)
        self.precision = native_precision(self.device) if config.precision == "auto" else config.precision
        if self.precision == "int8" and self.backend != "openvino":
            raise ContractileError(f"precision int8 needs the OpenVINO engine, got engine {self.backend}", f"{INSTALL}")
        # What the user asked for and does not get is a warning; what the engine tried by itself is not.
        self._told = logging.INFO if config.precision == "auto" else logging.WARNING
        self.agreement: Agreement | None = None
        self._ranges = ranges
        self._run: Run | None = None

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities of a batch: (B, C, *S) float32 -> (B, K, *S') float32 in [0, 1], K >= 2.

        Raises MemoryError when the batch does not fit on the device.
        """
        try:
            return softmax(self._run(batch)) if self._run is not None else self._first_answer(batch)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise MemoryError(f"a batch of shape {batch.shape} does not fit on {self.device}") from error
            raise

    @property
    def needs_calibration(self) -> bool:
        """Whether int8 was asked for and nothing has shown it the range of the activations yet."""
        return self.precision == "int8" and not self._ranges

    def calibrate(self, batches: Iterable[NDArray[np.float32]]) -> None:
        """Let batches (B, C, *S) show the range of the activations, which int8 needs."""
        self._ranges = measure_ranges(self.network, batches)

    def largest_tile(self) -> int:
        """Pixels along one side of the largest tile that a quarter of the free memory holds."""
        per_pixel = BYTES[self.precision] * self.config.width * LIVE_MAPS
        pixels = min(MEMORY_SHARE * free_memory(self.device) / per_pixel, LARGEST_TILE_PIXELS)
        return max(1, int(pixels ** (1 / self.config.dims)))

    def _first_answer(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Answer a batch, and settle on the back end that did: the first whose labels are those of float32 PyTorch."""
        if self.needs_calibration:
            self.calibrate([batch])
        while True:
            run = self._make(self.backend, self.precision)
            answer = softmax(run(batch))
            if self._is_trusted(answer, batch):
                self._run = run
                return answer

    def _is_trusted(self, answer: NDArray[np.float32], batch: NDArray[np.float32]) -> bool:
        """Whether this back end may go on; otherwise the next more exact one is chosen in its place."""
        if (self.backend, self.precision) == ("torch", "float32"):
            return True
        plain = self._make("torch", "float32")
        self.agreement = measure_agreement(answer, batch, lambda part: softmax(plain(part)), self.config)
        changed = self.agreement.changed_labels
        logger.info("%s %s: %.3f %% of labels changed, probabilities off by at most %.4f",
                    self.backend, self.precision, 100 * changed, self.agreement.largest_difference)  # fmt: skip
        if changed <= CHANGED_LABELS:
            return True
        before = f"{self.backend} {self.precision}"
        self.backend, self.precision = _more_exact(self.backend, self.precision, self.device)
        logger.log(self._told, "%s changes %.2f %% of the labels on this image (allowed %.1f %%); using %s %s",
                   before, 100 * changed, 100 * CHANGED_LABELS, self.backend, self.precision)  # fmt: skip
        return False

    def _make(self, backend: str, precision: str) -> Run:
        if precision == "int8":
            spared = "bfloat16" if native_precision(self.device) == "bfloat16" else "float32"
            return Int8Backend(self.network, precision=spared, ranges=self._ranges)
        if backend == "openvino":
            return OpenVinoBackend(self.network, precision=precision)
        return TorchBackend(self.network, device=self.device, precision=precision)


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (B, K, *S) -> probabilities over the K classes, in float32."""
    probabilities: NDArray[np.float32] = torch.from_numpy(scores).softmax(dim=1).numpy()
    return probabilities


def _choose_backend(backend: Backend, device: torch.device) -> Literal["torch", "openvino"]:
    installed = importlib.util.find_spec("openvino") is not None
    if backend == "openvino":
        if not installed:
            raise ContractileError("engine openvino is not installed", f"{INSTALL}")
        if device.type != "cpu":
            raise ContractileError(
                f"engine openvino runs on the processor, got device {device}", "use device cpu or engine torch"
            )
    if backend == "auto":
        return "openvino" if installed and device.type == "cpu" else "torch"
    return backend


def _more_exact(backend: str, precision: str, device: torch.device) -> tuple[Literal["torch", "openvino"], Precision]:
    if precision == "int8" and native_precision(device) == "bfloat16":
        return "openvino", "bfloat16"
    if precision in ("int8", "bfloat16") and backend == "openvino":
        return "openvino", "float32"
    return "torch", "float32"
