"""The program of one local worker: a process of its own, which ends with the process that started it."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import Any

from contractile.memory import limit_memory
from contractile.process import end_with_parent, prepare_process


def serve(told: dict[str, Any]) -> None:
    """Do tasks until the process that started this one closes its end of our standard input, or ends."""
    shared = os.path.dirname(told["folder"])  # of all workers: when the parent ends, nobody else is left
    end_with_parent(0, before=lambda: shutil.rmtree(shared, ignore_errors=True))
    prepare_process()
    limit_memory(told.get("memory"))
    asyncio.run(_serve(told))


async def _serve(told: dict[str, Any]) -> None:
    import dask
    import distributed

    security = distributed.Security(require_encryption=True, **told["keys"])
    with dask.config.set({"distributed.worker.profile.enabled": False, "distributed.worker.http.routes": []}):
        worker = distributed.Worker(
            told["scheduler"],
            nthreads=1,
            memory_limit=0,
            local_directory=told["folder"],
            host="127.0.0.1",
            protocol="tls://",
            security=security,
            dashboard=False,
        )
        async with worker:
            await worker.finished()
