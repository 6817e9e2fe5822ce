"""Workers on this machine: processes that are started again when they end, and a scheduler in this process.

They are started as a fresh Python, not by multiprocessing, which would run the user's script once more in each of them.
Scheduler and workers speak through TLS with a key that is made for them: whoever can speak to a scheduler can run
programs as its user, and a port is open to all users of a machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError, NotFinished
from contractile.memory import LEAST, memory_limit
from contractile.process import apart

PROGRAM = (
    "import json, sys; told = json.loads(sys.stdin.buffer.readline()); sys.path[:] = told['path']; "
    "from contractile.work.worker import serve; serve(told)"
)
KEYS = ("tls_ca_file", "tls_worker_cert", "tls_worker_key")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
RESTARTS = 10  # of one worker: one that always ends at once must not be started for ever
CLOSING_S = 5.0
PAUSE_S = 0.2  # before a worker is started again
ALLOWED_FAILURES = 3  # workers may end so often with one task; at the next time it is an error


class LocalWorker:
    """One worker process, and a thread that starts it again when it ends."""

    def __init__(self, told: dict[str, Any], folder: Path, threads: int) -> None:
        self.told, self.folder = {**told, "folder": str(folder)}, folder
        self.ended: str | None = None  # why the process ended the last time
        self._environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        self._lock, self._closing = threading.Lock(), threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._watch = threading.Thread(target=self._keep_alive, name="contractile worker", daemon=True)
        self._watch.start()

    def close(self) -> None:
        """End the process at once."""
        self._closing.set()
        with self._lock:
            if self._process is not None:
                self._process.kill()
        self._watch.join()

    def _keep_alive(self) -> None:
        for _ in range(1 + RESTARTS):
            try:
                process = self._start()
            except OSError as error:
                self.ended = str(error)
                return
            if process is None:
                return
            status = process.wait()
            if process.stdin is not None:
                process.stdin.close()
            if self._closing.wait(PAUSE_S):
                return
            self.ended = f"status {status}: {self._last_line()}"

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock, (self.folder / "log.txt").open("ab") as log:
            if self._closing.is_set():
                return None
            self._process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environment,
                **apart(),  # Ctrl-C is for this process, which ends the worker
            )
            _tell(self._process, self.told)
            return self._process

    def _last_line(self) -> str:
        lines = (self.folder / "log.txt").read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def local_workers(number: int, threads: int, *, dashboard: bool) -> Iterator[tuple[Any, list[LocalWorker]]]:
    """A cluster with so many workers on this machine; each does one task at a time, with so many threads."""
    import dask
    import distributed

    security = distributed.Security.temporary()
    workers: list[LocalWorker] = []
    with tempfile.TemporaryDirectory(prefix="contractile-", ignore_cleanup_errors=True) as folder:
        settings: dict[str, Any] = {"temporary-directory": folder}
        settings |= {} if dashboard else {"distributed.scheduler.http.routes": []}
        with warnings.catch_warnings(), dask.config.set(settings):
            warnings.simplefilter("ignore")  # of a port that is in use: the next one is taken
            cluster = distributed.LocalCluster(
                n_workers=0,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address=f"127.0.0.1:{8787 if dashboard else 0}",
                security=security,
                silence_logs=False,
                scheduler_kwargs={"allowed_failures": ALLOWED_FAILURES, "dashboard": dashboard},
            )
        try:
            keys = {key: getattr(security, key) for key in KEYS}
            told = {"scheduler": cluster.scheduler_address, "keys": keys, "path": sys.path, "memory": _share(number)}
            for index in range(number):
                place = Path(folder) / str(index)
                place.mkdir()
                workers.append(LocalWorker(told, place, threads))
            yield cluster, workers
        finally:
            for worker in workers:
                worker.close()
            cluster.close(timeout=CLOSING_S)


def within_limit(number: int) -> int:
    """So many workers, or as many as the limit of the memory of this process has room for beside it; at least one."""
    limit = memory_limit()
    return number if limit is None else max(1, min(number, limit // LEAST - 1))


def _share(number: int) -> int | None:
    """Bytes that each of so many workers may take of the limit that they share with this process."""
    limit = memory_limit()
    return None if limit is None else max(LEAST, limit // (number + 1))


def check_dashboard() -> None:
    """Raise ContractileError if the dashboard cannot be shown."""
    try:
        import bokeh  # noqa: F401
    except ImportError:
        raise ContractileError("the dashboard needs the package bokeh", "pip install 'bokeh>=3.1'") from None


def check_started(workers: list[LocalWorker]) -> None:
    """Raise NotFinished if a worker ended before it was ready."""
    for worker in workers:
        if worker.ended is not None:
            cure = "use fewer workers if memory is short"
            raise NotFinished(f"a local worker ended while it was started ({worker.ended})", cure)


def _tell(process: subprocess.Popen[bytes], told: dict[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:  # it ended already, and is waited for
        pass
