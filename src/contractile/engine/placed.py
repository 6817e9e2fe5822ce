"""A network placed on a device: the fastest back end whose labels agree with those of float32 PyTorch."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.engine.agreement import ALLOWED, Agreement, measure_agreement
from contractile.engine.hardware import Precision, find_device, free_memory, is_out_of_memory, native_precision
from contractile.engine.openvino_backend import INSTALL, OpenVinoBackend
from contractile.engine.torch_backend import TorchBackend
from contractile.errors import ContractileError, OutOfMemory, in_one_line
from contractile.unet import UNet, UNetConfig

logger = logging.getLogger(__name__)

Backend = Literal["auto", "torch", "openvino"]

# Maps that the finest level of a U-Net holds at the same time: input, skip, up-sampled map, their concatenation (two)
# and the result of one convolution. Each has `width` channels.
LIVE_MAPS = 6
MEMORY_SHARE = 0.25
LARGEST_TILE_PIXELS = {"cpu": 1280**2}  # larger ones are a tenth faster, and take twice the memory
LARGEST_ELSEWHERE = 2048**2
BYTES = {"float32": 4, "bfloat16": 2}

EXACT = ("torch", "float32")


@in_one_line
class EngineConfig(BaseModel):
    """Where and how a network runs. "auto" chooses what is fastest on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str = Field(default="auto", description="auto, cpu, cuda (or cuda:1, ...) or mps")
    backend: Backend = Field(default="auto", description="auto takes OpenVINO on a processor, if it is installed")
    precision: Precision = Field(default="auto", description="auto takes bfloat16 if the hardware multiplies it")
    threads: int | None = Field(default=None, ge=1, description="of OpenVINO; those of PyTorch belong to its process")


@dataclass(frozen=True)
class Placed:
    """A network on a device, ready to predict: `placed(batch)` gives probabilities.

    `agreement` compares it with float32 PyTorch; None if it was not compared, or is float32 PyTorch itself.
    `scores` is the back end: images (B, C, *S) -> class scores (B, K, *S').
    """

    config: UNetConfig
    device: torch.device
    backend: str
    precision: str
    scores: Callable[[NDArray[np.float32]], NDArray[np.float32]] = field(repr=False)
    agreement: Agreement | None = None

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities of a batch: (B, C, *S) float32 -> (B, K, *S') float32 in [0, 1], K >= 2.

        Raises OutOfMemory if the batch does not fit on the device.
        """
        try:
            probabilities: NDArray[np.float32] = torch.from_numpy(self.scores(batch)).softmax(dim=1).numpy()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = f"a batch of shape {batch.shape} does not fit on {self.device}"
            raise OutOfMemory(problem, "use smaller tiles") from error
        return probabilities

    def largest_tile(self) -> int:
        """Pixels along one side of the largest tile that a quarter of the free memory holds."""
        per_pixel = BYTES[self.precision] * self.config.width * LIVE_MAPS
        most = LARGEST_TILE_PIXELS.get(self.device.type, LARGEST_ELSEWHERE)
        pixels = min(MEMORY_SHARE * free_memory(self.device) / per_pixel, most)
        return max(1, int(pixels ** (1 / self.config.dims)))


def place(network: UNet, config: EngineConfig | None = None, *, example: NDArray[np.float32] | None = None) -> Placed:
    """Place a network of ordinary kernels on a device, with the fastest back end that agrees with float32 PyTorch.

    `example` (1, C, *S) float32, of any size that the network takes, decides whether they agree: if more than 0.1 % of
    its labels change, more than 0.2 % of its pixels move across a threshold, or a probability moves by more than 0.1,
    the next more exact choice is tried, and at last float32 PyTorch. This is logged, as a warning if the precision was
    asked for. Without an example nothing is compared. `example_shape` gives a sensible *S.
    Raises ContractileError for what this machine does not have, and OutOfMemory.
    """
    config = config or EngineConfig()
    device = find_device(config.device)
    backend = _choose_backend(config.backend, device)
    precision = native_precision(device) if config.precision == "auto" else config.precision
    choices = list(dict.fromkeys([(backend, precision), (backend, "float32"), EXACT]))
    placed = _place(network, device, *choices[0], config.threads)
    if example is None or choices[0] == EXACT:
        return placed
    exact = _place(network, device, *EXACT, config.threads)
    expected = exact(example)
    level = logging.INFO if config.precision == "auto" else logging.WARNING
    for following in choices[1:]:
        agreement = measure_agreement(placed(example), expected, network.config.kept(example.shape[2:]))
        name = f"{placed.backend} {placed.precision}"
        logger.info("%s: %s", name, agreement)
        if agreement.holds():
            return replace(placed, agreement=agreement)
        logger.log(level, "%s changes too much on this image: %s; allowed: %s; using %s %s",
                   name, agreement, ALLOWED, *following)  # fmt: skip
        placed = exact if following == EXACT else _place(network, device, *following, config.threads)
    return placed


def _place(network: UNet, device: torch.device, backend: str, precision: str, threads: int | None) -> Placed:
    if backend == "openvino":
        scores = OpenVinoBackend(network, precision=precision, threads=threads)
        return Placed(network.config, device, backend, precision, scores)
    plain = TorchBackend(network, device=device, precision=precision)
    return Placed(network.config, device, backend, precision, plain)


def _choose_backend(backend: Backend, device: torch.device) -> str:
    installed = importlib.util.find_spec("openvino") is not None
    if backend == "auto":
        return "openvino" if installed and device.type == "cpu" else "torch"
    if backend == "openvino" and not installed:
        raise ContractileError("engine openvino is not installed", INSTALL)
    if backend == "openvino" and device.type != "cpu":
        problem = f"engine openvino runs on the processor, got device {device}"
        raise ContractileError(problem, "use device cpu or engine torch")
    return backend
