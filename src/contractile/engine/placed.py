"""A network placed on a device: the fastest back end whose labels agree with those of float32 PyTorch."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.engine.agreement import ALLOWED, Agreement, measure_agreement
from contractile.engine.hardware import (
    Device,
    Precision,
    find_device,
    free_memory,
    is_out_of_memory,
    native_precision,
)
from contractile.engine.openvino_backend import INSTALL, OpenVinoBackend
from contractile.errors import ContractileError, OutOfMemory, in_one_line
from contractile.memory import memory_limit
from contractile.unet import StoredUNet, UNetConfig

if TYPE_CHECKING:
    from contractile.unet import UNet

logger = logging.getLogger(__name__)

Backend = Literal["auto", "torch", "openvino"]
Floats = NDArray[np.float32]

# Maps that the finest level of a U-Net holds at the same time: input, skip, up-sampled map, their concatenation (two)
# and the result of one convolution. Each has `width` channels.
LIVE_MAPS = 6
MEMORY_SHARE = 0.25
LARGEST_TILE_PIXELS = {"cpu": 1280**2}  # larger ones are a tenth faster, and take twice the memory
LARGEST_ELSEWHERE = 2048**2
LARGEST_VOLUME_PIXELS = 256**3  # a margin of 48 would leave less than a hundredth of a tile of 1280**2
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
    `run` is the back end: images (B, C, *S) -> class probabilities (B, K, *S'), K >= 2.
    """

    config: UNetConfig
    device: Device
    backend: str
    precision: str
    run: Callable[[Floats], Floats] = field(repr=False)
    agreement: Agreement | None = None

    def __call__(self, batch: Floats) -> Floats:
        """Class probabilities of a batch: (B, C, *S) float32 -> (B, K, *S') float32 in [0, 1], K >= 2.

        Raises OutOfMemory if the batch does not fit on the device.
        """
        try:
            return self.run(batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            problem = f"a batch of shape {batch.shape} does not fit on {self.device}"
            raise OutOfMemory(problem, "use smaller tiles") from error

    def largest_tile(self) -> int:
        """Pixels along one side of the largest tile that a quarter of the free memory holds."""
        per_pixel = BYTES[self.precision] * self.config.width * LIVE_MAPS
        in_plane = LARGEST_TILE_PIXELS.get(self.device.type, LARGEST_ELSEWHERE)
        most = in_plane if self.config.dims == 2 else LARGEST_VOLUME_PIXELS
        limited = memory_limit() is not None and self.device.type != "cuda"
        free = self._free_at_first if limited else free_memory(self.device)
        pixels = min(MEMORY_SHARE * free / per_pixel, most)
        return max(1, int(pixels ** (1 / self.config.dims) + 1e-6))  # the root of a cube may be rounded down

    @cached_property
    def _free_at_first(self) -> float:
        """Under a limit all tiles have one size: the first one leaves memory that the next one reuses."""
        return free_memory(self.device)


def place(network: UNet | StoredUNet, config: EngineConfig | None = None, *, example: Floats | None = None) -> Placed:
    """Place a network of ordinary kernels on a device, with the fastest back end that agrees with float32 PyTorch.

    `example` (1, C, *S) float32, of any size that the network takes, decides whether they agree: if more than 0.1 % of
    its labels change, more than 0.2 % of its pixels move across a threshold, or a probability moves by more than 0.1,
    the next more exact choice is tried, and at last float32 PyTorch. This is logged, as a warning if the precision was
    asked for. Without an example nothing is compared. `example_shape` gives a sensible *S.

    OpenVINO agrees by a chain. Its float32 network is compared with float32 PyTorch on the example of the first start
    on this processor, and the cache keeps the outcome where they agree. Later starts compare bfloat16 with that
    network on their own example, add what float32 changed, and need no PyTorch. Without a cache every start compares
    with float32 PyTorch.

    Raises ContractileError for what this machine does not have, and OutOfMemory.
    """
    config = config or EngineConfig()
    device = find_device(config.device)
    backend = _choose_backend(config.backend, device)
    precision = native_precision(device) if config.precision == "auto" else config.precision
    choices = list(dict.fromkeys([(backend, precision), (backend, "float32"), EXACT]))
    places = _Places(StoredUNet.of(network), device, config.threads)
    placed = places.take(*choices[0])
    if example is None or choices[0] == EXACT:
        return placed
    level = logging.INFO if config.precision == "auto" else logging.WARNING
    for following in choices[1:]:
        agreement = _compare(places, placed, example)
        name = f"{placed.backend} {placed.precision}"
        logger.info("%s: %s", name, agreement)
        if agreement.holds():
            return replace(placed, agreement=agreement)
        logger.log(level, "%s changes too much on this image: %s; allowed: %s; using %s %s",
                   name, agreement, ALLOWED, *following)  # fmt: skip
        placed = places.take(*following)
    return placed


class _Places:
    """A network on a device with each back end and precision, made where it is needed."""

    def __init__(self, network: StoredUNet, device: Device, threads: int | None) -> None:
        self._network, self._device, self._threads = network, device, threads
        self._made: dict[tuple[str, str], Placed] = {}

    def take(self, backend: str, precision: str) -> Placed:
        choice = (backend, precision)
        if choice not in self._made:
            run = self._make(backend, precision)
            self._made[choice] = Placed(self._network.config, self._device, backend, precision, run)
        return self._made[choice]

    def _make(self, backend: str, precision: str) -> Callable[[Floats], Floats]:
        if backend == "openvino":
            return OpenVinoBackend(self._network, precision=precision, threads=self._threads)
        from contractile.engine.torch_backend import TorchBackend

        return TorchBackend(self._network.network, device=self._device, precision=precision)


def _compare(places: _Places, placed: Placed, example: Floats) -> Agreement:
    """How far a network agrees with float32 PyTorch: measured on the example, or through what the cache knows."""

    def measure(one: Placed, other: Placed) -> Agreement:
        return measure_agreement(one(example), other(example), placed.config.kept(example.shape[2:]))

    if placed.backend == "openvino":
        middle = places.take("openvino", "float32")
        assert isinstance(middle.run, OpenVinoBackend)
        known = middle.run.kept_agreement()
        if known is None and middle.run.keeps():
            known = measure(middle, places.take(*EXACT))
            if known.holds():
                middle.run.keep_agreement(known)
        if known is not None and placed is middle:
            return known
        if known is not None and known.holds():
            return measure(placed, middle) + known
    return measure(placed, places.take(*EXACT))


def _choose_backend(backend: Backend, device: Device) -> str:
    installed = importlib.util.find_spec("openvino") is not None
    if backend == "auto":
        return "openvino" if installed and device.type == "cpu" else "torch"
    if backend == "openvino" and not installed:
        raise ContractileError("engine openvino is not installed", INSTALL)
    if backend == "openvino" and device.type != "cpu":
        problem = f"engine openvino runs on the processor, got device {device}"
        raise ContractileError(problem, "use device cpu or engine torch")
    return backend
