"""How many threads one block may use, so that the blocks of one machine do not take cores from each other."""

from __future__ import annotations

import os
import sys

_threads: int | None = None


def threads_of_a_block() -> int | None:
    """Threads for the arithmetic of one block: None outside of Dask workers, where a block may use all cores.

    In a worker it is OMP_NUM_THREADS, or 1 where that is not set, as it is usual with Dask. PyTorch is told. Other
    libraries have to be told by whoever uses them (OpenVINO: INFERENCE_NUM_THREADS).
    """
    return _threads


def settle_threads() -> None:
    """Settle the threads of this process, which is a Dask worker. Best called before PyTorch is imported."""
    global _threads
    if _threads is None:
        first = os.environ.setdefault("OMP_NUM_THREADS", "1").split(",")[0].strip()
        _threads = max(1, int(first)) if first.isdecimal() else 1
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads") and torch.get_num_threads() != _threads:
        torch.set_num_threads(_threads)
