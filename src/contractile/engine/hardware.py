"""What the machine offers: devices, number types, memory."""

from __future__ import annotations

from typing import Literal

import psutil
import torch

from contractile.errors import ContractileError

Precision = Literal["auto", "float32", "bfloat16"]


def find_device(device: str) -> torch.device:
    """The torch device of this name; "auto" takes CUDA, else Apple's MPS, else the processor.

    Raises ContractileError for an unknown name, and for a device that this machine does not have.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ContractileError(f"device must be auto, cpu, cuda or mps, got {device!r}", "use auto") from None
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    present = {"cpu": 1, "cuda": cards, "mps": int(torch.backends.mps.is_available())}
    if (found.index or 0) >= present.get(found.type, 0):
        raise ContractileError(f"device must be one that this machine has, got {device!r}", "use auto or cpu")
    return found


def native_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """bfloat16 if the device multiplies it in hardware, else float32."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if device.type == "cpu" and any(getattr(torch.cpu, name, lambda: False)() for name in features):
        return "bfloat16"
    return "float32"


def free_memory(device: torch.device) -> float:
    """Bytes that can be allocated on the device now."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def is_out_of_memory(error: Exception) -> bool:
    """Whether NumPy, PyTorch or OpenVINO failed to allocate memory."""
    words = ("can't allocate memory", "Can not allocate memory", "bad_alloc", "out of memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)
