"""What the machine offers: devices, number types, memory. PyTorch is asked only about what it alone can know."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from contractile import memory
from contractile.errors import ContractileError

Precision = Literal["auto", "float32", "bfloat16"]

NAME = re.compile(r"(cpu|cuda|mps)(?::(\d{1,4}))?")
DRIVERS = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}  # of NVIDIA's cards
AMD_CARDS = "/dev/kfd"
BFLOAT16_FLAGS = {"avx512_bf16", "amx_tile"}  # of processors that multiply bfloat16


@dataclass(frozen=True)
class Device:
    """Where a network runs: the processor ("cpu"), a CUDA card or Apple's GPU ("mps"). As text what PyTorch takes."""

    type: str
    index: int | None = None

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"


def find_device(device: str) -> Device:
    """The device of this name; "auto" takes CUDA, else Apple's MPS, else the processor.

    Raises ContractileError for an unknown name, and for a device that this machine does not have.
    """
    if device == "auto":
        if not _may_have_card():
            return Device("cpu")
        import torch

        if torch.cuda.is_available():
            return Device("cuda")
        return Device("mps" if torch.backends.mps.is_available() else "cpu")
    named = NAME.fullmatch(device)
    if named is None:
        raise ContractileError(f"device must be auto, cpu, cuda or mps, got {device!r}", "use auto")
    found = Device(named[1], None if named[2] is None else int(named[2]))
    if (found.index or 0) >= _count(found.type):
        raise ContractileError(f"device must be one that this machine has, got {device!r}", "use auto or cpu")
    return found


def _count(kind: str) -> int:
    """The devices of one kind."""
    if kind == "cpu":
        return 1
    import torch

    if kind == "mps":
        return int(torch.backends.mps.is_available())
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


@cache
def _may_have_card() -> bool:
    """Whether PyTorch could find a GPU: importing it takes longer than a small image does."""
    if sys.platform == "darwin" or os.path.exists(AMD_CARDS):
        return True
    with suppress(OSError):
        ctypes.CDLL(DRIVERS.get(sys.platform, "libcuda.so.1"))
        return True
    return False


def native_precision(device: Device) -> Literal["float32", "bfloat16"]:
    """bfloat16 if the device multiplies it in hardware, else float32."""
    if device.type == "cpu":
        return "bfloat16" if _processor_knows_bfloat16() else "float32"
    if device.type == "cuda":
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bfloat16"
    return "float32"


@cache
def _processor_knows_bfloat16() -> bool:
    """By its flags, where the system tells them. OpenVINO would say yes also where it only emulates bfloat16."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return not BFLOAT16_FLAGS.isdisjoint(line.split())
    import torch

    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in features)


def free_memory(device: Device) -> float:
    """Bytes that can be allocated on the device now."""
    if device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(str(device))[0])
    return float(memory.free_memory())


def total_memory(device: Device) -> float:
    """Bytes that could be allocated on the device if nothing else were there."""
    if device.type == "cuda":
        import torch

        return float(torch.cuda.get_device_properties(str(device)).total_memory)
    return float(memory.total_memory())


def is_out_of_memory(error: Exception) -> bool:
    """Whether NumPy, PyTorch or OpenVINO failed to allocate memory."""
    words = ("can't alloc", "Can not allocate memory", "Failed to allocate", "bad_alloc", "out of memory")
    named = type(error).__name__ == "OutOfMemoryError"  # of PyTorch
    return isinstance(error, MemoryError) or named or any(word in str(error) for word in words)
