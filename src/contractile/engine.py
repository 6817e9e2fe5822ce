"""Runs a network on batches of tiles: device, precision and memory format are decided here.

Knows nothing about images, tiles or tasks: arrays (B, C, *S) in, class probabilities (B, K, *S') out.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from contractile.unet import UNet, UNetConfig

logger = logging.getLogger(__name__)

Precision = Literal["auto", "float32", "bfloat16"]

# Activations held at once by the finest level of a U-Net: input, skip, up-sampled map, their
# concatenation and one convolution's result, in units of one map of `width` channels.
LIVE_MAPS = 6
MEMORY_SHARE = 0.25
LARGEST_TILE_PIXELS = 2048**2


class Engine:
    """A network placed on a device, ready to predict.

    `device` is "auto" (CUDA, then Apple's MPS, then CPU) or a PyTorch device; `precision` "auto" takes
    bfloat16 where the processor multiplies it natively, float32 elsewhere. Raises ValueError for a device
    that this machine does not have.
    """

    def __init__(self, network: UNet, *, device: str = "auto", precision: Precision = "auto") -> None:
        self.config = network.config
        self.device = find_device(device)
        self.precision = native_precision(self.device) if precision == "auto" else precision
        self._network = network.eval().to(self.device)
        if self.config.dims == 2:
            self._network = self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def __call__(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Class probabilities of a batch: (B, C, *S) float32 -> (B, K, *S') float32 in [0, 1], K >= 2.

        Raises MemoryError when the batch does not fit on the device.
        """
        try:
            with torch.inference_mode(), self._autocast():
                x = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device)
                if self.config.dims == 2:
                    x = x.contiguous(memory_format=torch.channels_last)
                scores = self._network.class_scores(x).float()
                return scores.softmax(dim=1).cpu().numpy()
        except RuntimeError as error:
            if _out_of_memory(error):
                raise MemoryError(f"a batch of shape {batch.shape} does not fit on {self.device}") from error
            raise

    def largest_tile(self) -> int:
        """Pixels along one side of the largest tile that a quarter of the free memory holds."""
        size = 2 if self.precision == "bfloat16" else 4
        per_pixel = size * self.config.width * LIVE_MAPS
        pixels = min(MEMORY_SHARE * free_memory(self.device) / per_pixel, LARGEST_TILE_PIXELS)
        return max(1, int(pixels ** (1 / self.config.dims)))

    def _autocast(self) -> Any:
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def find_device(device: str) -> torch.device:
    """The torch device that a name means; "auto" takes the fastest present. Raises ValueError when absent."""
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must be auto, cpu, cuda or mps, got {device!r}; use auto") from None
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not present.get(found.type, False):
        raise ValueError(f"device must be one that this machine has, got {device!r}; use auto or cpu")
    return found


def native_precision(device: torch.device) -> Precision:
    """bfloat16 where the device multiplies it in hardware, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu":
        asked = (
            getattr(torch.cpu, name, lambda: False)()
            for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        )
        return "bfloat16" if any(asked) else "float32"
    return "float32"


def free_memory(device: torch.device) -> float:
    """Bytes that may be allocated on the device now."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        import psutil
    except ImportError:
        return 4 * 2**30
    return float(psutil.virtual_memory().available)


def fit_tile(config: UNetConfig, shape: tuple[int, ...], limit: int) -> tuple[int, ...]:
    """The tile (*S) that covers an image of `shape` in the fewest steps with sides of at most `limit`.

    Every side is a size the network takes, and at least the smallest that yields output.
    """
    return tuple(_fit_side(config, n, limit) for n in shape)


def _fit_side(config: UNetConfig, n: int, limit: int) -> int:
    context = 2 * config.margin if config.padding == "same" else 0

    def side(core: int) -> int:
        """Smallest fitting input that owns at least `core` pixels."""
        return config.input_size(core + context)

    whole = side(n)
    if whole <= limit:
        return whole
    smallest = side(config.stride)
    count = 2
    while True:
        core = -(-n // count)
        aligned = -(-core // config.stride) * config.stride  # tile origins lie on the pooling grid
        if side(aligned) <= max(limit, smallest):
            return side(aligned)
        count += 1


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
