"""Settings of the whole process: threads and memory. Only the command line, scripts and benchmarks change them."""

from __future__ import annotations

import ctypes
import os
import sys

# Numbers of glibc's M_TRIM_THRESHOLD, M_MMAP_THRESHOLD and M_MMAP_MAX -> (default value, once glibc has raised its
# dynamic thresholds; value that keeps freed memory).
MALLOC_OPTIONS = {-1: (2**26, 2**31 - 1), -3: (2**25, 2**25), -4: (65536, 0)}


def prepare_process() -> None:
    """Set up threads and memory of this process for training and prediction. Call it before PyTorch is imported.

    It sets the environment variable OMP_WAIT_POLICY to PASSIVE, unless it is already set. Otherwise PyTorch's threads
    spin while they wait, and a training step takes up to ten times as long when another program needs a core. It also
    lets the C library keep freed memory (see `keep_freed_memory`).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()


def keep_freed_memory(keep: bool = True) -> bool:
    """Let the C library reuse freed memory instead of returning it to the system. Returns False where it cannot.

    Otherwise the system provides large tensors anew at every step, page by page, and a training step of the paper's
    network takes a fifth longer. The price is that the process stays as large as it once was. `keep=False` restores the
    default and returns freed memory to the system.
    """
    if sys.platform != "linux":
        return False
    try:
        library = ctypes.CDLL(None)
        told = [library.mallopt(option, value[keep]) for option, value in MALLOC_OPTIONS.items()]
        if not keep:
            library.malloc_trim(0)
    except (OSError, AttributeError):  # a C library other than glibc
        return False
    return all(told)
