"""Blocks done by the workers of a Dask scheduler, on this machine or on others."""

from __future__ import annotations

import logging
import queue
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from contractile.errors import ContractileError, NotFinished, shown
from contractile.work.address import LOCAL, check_answers, find_address, no_answer
from contractile.work.local_workers import check_dashboard, check_started, local_workers, within_limit
from contractile.work.place import Item, Result
from contractile.work.quiet import quiet
from contractile.work.task import Task
from contractile.work.versions import check_versions, own_versions

INSTALL = "pip install 'contractile[dask]'"
PER_THREAD = 2  # tasks: one that is done, and the next one
LARGEST = 2**20  # bytes of a pickled function, which goes with each task
ANSWER_S = 10.0
PATIENCE_S = 60.0
STEP_S = 0.5
LOST = "the connection to the scheduler is lost"

logger = logging.getLogger(__name__)


class DaskWork:
    """The workers of a Dask client. Results come in the order in which they are finished.

    At most two tasks for each thread of the workers are sent at a time, so that items may be a generator of any length.
    What a worker was doing when it ended is done again by another one.
    """

    def __init__(self, client: Any, *, patience_s: float = PATIENCE_S, dashboard: bool = True) -> None:
        """`dashboard` is False where the scheduler has no page to watch its tasks."""
        self.client, self.patience_s = client, patience_s
        self.dashboard: str | None = client.dashboard_link if dashboard else None
        self.address = str(client.scheduler.address)
        self._threads, self._asked, self._seen = 0, 0.0, time.monotonic()

    def each(
        self, function: Callable[[Item], Result], items: Iterable[Item], *, name: str
    ) -> Iterator[tuple[Item, Result]]:
        """See `Work.each`. Raises NotFinished if a block ended its worker again and again, or the scheduler is gone."""
        content = _pickled(function)
        rest, run = enumerate(items), uuid.uuid4().hex[:6]
        flying: dict[Any, Item] = {}
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        try:
            while True:
                for number, item in islice(rest, max(0, self._room() - len(flying))):
                    future = self._submit(Task(content, _dumped(item), own_versions()), f"{name}-{number}-{run}")
                    flying[future] = item
                    future.add_done_callback(done.put)
                if not flying:
                    return
                future = self._wait(done)
                item = flying[future]
                result = self._result(future, item)
                del flying[future]
                future.release()
                yield item, result
        finally:
            self._cancel(list(flying))

    def _submit(self, task: Task, key: str) -> Any:
        try:
            return self.client.submit(task, key=key, pure=False)
        except Exception as error:  # a closed client
            self._fail(error)

    def _room(self) -> int:
        """How many tasks may be sent; one where there are no workers at the moment."""
        if time.monotonic() - self._asked > STEP_S:
            self._look_for_workers()
        return max(1, PER_THREAD * self._threads)

    def _look_for_workers(self) -> None:
        try:
            self._threads = sum(self.client.nthreads().values())
        except Exception as error:
            self._fail(error)
        self._asked = time.monotonic()
        if self._threads:
            self._seen = self._asked
        elif self._asked - self._seen > self.patience_s:
            problem = f"there was no worker for {self.patience_s:g} s"
            raise NotFinished(problem, "look why they ended, start some, then run it again", where=self.address)

    def _wait(self, done: queue.SimpleQueue[Any]) -> Any:
        while True:
            with suppress(queue.Empty):
                return done.get(timeout=STEP_S)
            self._look_for_workers()

    def _result(self, future: Any, item: object) -> Any:
        import distributed

        while not future.done():  # lost with its worker just after it was finished, and done again
            time.sleep(STEP_S)
            self._look_for_workers()
        if future.status == "error":
            error = future.exception()
            if isinstance(error, distributed.KilledWorker):
                problem = f"{error.allowed_failures + 1} workers ended while they had the block {shown(item)}"
                raise NotFinished(problem, "use fewer workers if memory is short, or read their logs") from None
            raise error.with_traceback(future.traceback())
        try:
            return future.result()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> NoReturn:
        if self.client.status != "running" or isinstance(error, OSError):  # as Dask's own errors of connections are
            raise NotFinished(LOST, "start it, then run it again", where=self.address) from None
        raise NotFinished(f"a task was cancelled ({error})", "run it again", where=self.address) from None

    def _cancel(self, futures: list[Any]) -> None:
        with suppress(Exception):  # a scheduler that is gone
            for future in futures:
                future.release()


@contextmanager
def connect(
    scheduler: str | Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    dashboard: bool = False,
    patience_s: float = PATIENCE_S,
) -> Iterator[DaskWork]:
    """Blocks are done by the workers of a scheduler: "local", its address, or the file that names its address.

    "local" starts so many workers on this machine (as many as it has cores), each of which does one block at a time
    with so many threads, and a page to watch them if `dashboard`; all end with the context. Where the memory of this
    process is limited, workers and this process share the limit, and fewer workers are started where it is too small
    for more. For another scheduler these three are not used. Raises ContractileError if a package is missing, the
    scheduler does not answer, has no worker within `patience_s` seconds, or a worker has other versions than this
    process.
    """
    _check_counts(workers, threads)
    distributed = _distributed()
    with ExitStack() as stack:
        stack.enter_context(quiet())
        if str(scheduler) == LOCAL:
            if dashboard:
                check_dashboard()
            number = workers or within_limit(_cores() // threads or 1)
            place, started = stack.enter_context(local_workers(number, threads, dashboard=dashboard))
            address = place.scheduler_address
        else:
            place = address = find_address(scheduler)
            number, started = 1, []
            check_answers(address, ANSWER_S)
        client = _client(distributed, place, address)
        stack.callback(_close, client)
        work = DaskWork(client, patience_s=patience_s, dashboard=dashboard or not started)
        _wait_for_workers(work, number, lambda: check_started(started))
        _check_all_versions(work)
        logger.info("%s: %s", address, f"tasks are shown at {work.dashboard}" if work.dashboard else "connected")
        yield work


def _client(distributed: Any, place: Any, address: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions: they are checked more closely after it
        try:
            return distributed.Client(place, timeout=ANSWER_S, set_as_default=False)
        except Exception as error:  # whatever else may listen at that address
            raise no_answer(address, error) from None


def _close(client: Any) -> None:
    with suppress(Exception):  # a scheduler that is gone
        client.close(timeout=ANSWER_S)


def _wait_for_workers(work: DaskWork, number: int, check: Callable[[], None]) -> None:
    end = time.monotonic() + work.patience_s
    while (found := len(work.client.nthreads())) < number:
        check()
        if time.monotonic() > end:
            problem = f"{found} of {number} workers were there after {work.patience_s:g} s"
            raise ContractileError(problem, "start workers (`dask worker ADDRESS`), or wait longer", where=work.address)
        time.sleep(0.05)


def _check_all_versions(work: DaskWork) -> None:
    """The scheduler unpickles the tasks, but neither function nor item."""
    ours = own_versions()
    for address, found in work.client.run(own_versions, on_error="return").items():
        check_versions(ours, found, where=f"worker {address}")
    try:
        found = work.client.run_on_scheduler(own_versions)
    except Exception as error:
        found = error
    check_versions(ours, found, where=f"scheduler {work.address}")


def _check_counts(workers: int | None, threads: int) -> None:
    for name, value in {"workers": 1 if workers is None else workers, "threads": threads}.items():
        if not isinstance(value, int) or value < 1:
            raise ContractileError(f"{name} must be a whole number of at least 1, got {shown(value)}", "use e.g. 1")


def _pickled(function: object) -> bytes:
    content = _dumped(function)
    if len(content) > LARGEST:
        problem = f"function must have at most {LARGEST:,} bytes when it is pickled, got {len(content):,}"
        raise ContractileError(problem, "let it hold the path of a file, and read that with contractile.work.once")
    return content


def _dumped(value: object) -> bytes:
    import cloudpickle

    content: bytes = cloudpickle.dumps(value)
    return content


def _cores() -> int:
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def _distributed() -> Any:
    try:
        import cryptography  # noqa: F401
        import distributed
    except ImportError as error:
        raise ContractileError(f"Dask cannot be loaded ({error})", INSTALL) from None
    return distributed
