"""Blocks done by real workers: the same results as here, also when workers are killed; errors; what is left behind."""

import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import distributed
import psutil
import pytest
from dask.utils import key_split

from contractile.errors import ContractileError, NotFinished, NotFound
from contractile.work import DaskWork, connect, dask_client, here, local_workers, once, threads_of_a_block
from contractile.work.task import Task
from contractile.work.versions import own_versions

LONG_S = 60.0


@dataclass(frozen=True)
class Square:
    pause_s: float = 0.0

    def __call__(self, item):
        time.sleep(self.pause_s)
        return item**2


@dataclass(frozen=True)
class Made:
    """Returns the process; notes in a file each time that the model is made."""

    file: Path

    def __call__(self, item):
        time.sleep(0.01)
        return once(("model", str(self.file)), self.make)

    def make(self):
        with self.file.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return os.getpid()


def squared_there(item):
    time.sleep(0.05)
    return item**2, os.getpid()


def settings(item):
    return threads_of_a_block(), os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]


def missing(item):
    if item == 3:
        raise NotFound("it is not there", "look elsewhere", where=f"image {item}")
    return item


def end_worker(item):
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.fixture(scope="module")
def work():
    """Two workers, which are started again when they are killed; the third kill with one block is an error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_workers, "ALLOWED_FAILURES", 2)
        with connect("local", workers=2) as work:
            yield work


def wait_until(condition, seconds=LONG_S):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)


def tasks(work):
    return work.client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))


def alive(number):
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def test_results_are_those_of_this_process(work):
    items = [(0, "a"), (1, "b"), (2, "c")]
    for values, function in ((range(20), Square()), (items, lambda item: item * 2)):
        assert sorted(work.each(function, values, name="network")) == list(
            here().each(function, values, name="network")
        )
    assert list(work.each(Square(), [], name="network")) == []


def test_items_are_not_taken_long_before_they_are_done(work):
    taken = []
    items = (taken.append(item) or item for item in range(30))
    for given, _ in enumerate(work.each(Square(0.005), items, name="network"), 1):
        assert len(taken) - given < 2 * dask_client.PER_THREAD
    assert len(taken) == 30


def test_tasks_have_readable_names_and_are_released(work):
    results = work.each(Square(0.05), range(4), name="sew-faces")
    next(results)
    names = [key_split(key) for key in work.client.futures]
    assert names == ["sew-faces"] * len(names) != []
    assert len(list(results)) == 3
    wait_until(lambda: not work.client.futures and tasks(work) == 0)


def test_who_stops_listening_cancels_the_rest(work):
    taken = []
    results = work.each(Square(0.05), (taken.append(item) or item for item in itertools.count()), name="network")
    next(results)
    results.close()
    wait_until(lambda: not work.client.futures and tasks(work) == 0)
    assert len(taken) < 10


def test_an_error_of_the_function_is_itself_and_cancels_the_rest(work):
    taken = []
    items = (taken.append(item) or item for item in itertools.count())
    with pytest.raises(NotFound) as raised:
        list(work.each(missing, items, name="network"))
    assert (raised.value.problem, raised.value.cure) == ("it is not there", "look elsewhere")
    assert raised.value.where == "image 3"
    assert len(taken) < 30
    wait_until(lambda: not work.client.futures and tasks(work) == 0)


def test_an_error_of_the_items_is_itself(work):
    def items():
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(work.each(Square(), items(), name="network"))


def test_a_model_is_made_once_in_each_worker(work, tmp_path):
    file = tmp_path / "made.txt"
    processes = {result for _, result in work.each(Made(file), range(20), name="network")}
    assert sorted(file.read_text().split()) == sorted(str(one) for one in processes)
    assert len(processes) == 2


def test_a_worker_uses_one_thread(work):
    assert {result for _, result in work.each(settings, range(4), name="network")} == {(1, "1", "PASSIVE")}
    assert threads_of_a_block() is None


def test_a_function_that_workers_do_not_have(work, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("def function(item):\n    return item\n")
    monkeypatch.syspath_prepend(tmp_path)
    from mine import function

    with pytest.raises(
        ContractileError, match=r"worker tls://\S+: the function cannot be read there: No module named 'mine'"
    ):
        list(work.each(function, range(3), name="network"))


def test_a_function_is_small(work):
    pixels = bytes(dask_client.LARGEST)
    with pytest.raises(
        ContractileError, match=r"function must have at most 1,048,576 bytes .* got 1,0\d\d,\d\d\d; let it"
    ):
        list(work.each(lambda item: pixels, range(3), name="network"))


def test_a_worker_that_joins_later_has_the_same_versions_too(work):
    task = Task(b"", b"", {**own_versions(), "torch": "1.0"})
    with pytest.raises(ContractileError, match=r"worker tls://\S+: torch must be 1\.0 as it is here, got 2\.\d+"):
        work.client.submit(task, pure=False).result()


def test_other_versions_are_refused(work, monkeypatch):
    ours = own_versions()
    dask_client._check_all_versions(work)
    monkeypatch.setattr(work.client, "run_on_scheduler", lambda function: fail())
    with pytest.raises(
        ContractileError, match=r"scheduler tls://\S+: contractile must be .* \(No module named 'here'\)"
    ):
        dask_client._check_all_versions(work)
    monkeypatch.setattr(work.client, "run", lambda function, on_error: {"tcp://a:1": {**ours, "torch": "1.0"}})
    with pytest.raises(
        ContractileError, match=r"^worker tcp://a:1: torch must be 2\.\d+ as it is here, got 1\.0; install"
    ):
        dask_client._check_all_versions(work)


def fail():
    raise ModuleNotFoundError("No module named 'here'")


def test_workers_that_are_killed_change_nothing(work):
    found, killed = {}, set()
    for item, (result, worker) in work.each(squared_there, range(24), name="network"):
        found[item] = result
        if len(killed) < 2 and len(found) > 2 and worker not in killed:  # it has its next blocks already
            os.kill(worker, signal.SIGKILL)
            killed.add(worker)
    assert len(killed) == 2
    assert found == {item: item**2 for item in range(24)}
    wait_until(lambda: len(work.client.nthreads()) == 2)


def test_a_task_that_somebody_cancels(work):
    results = work.each(Square(0.1), range(1000), name="network")
    next(results)
    work.client.cancel([distributed.Future(key, work.client) for key in work.client.futures], force=True)
    with pytest.raises(NotFinished, match=r"tls://\S+: a task was cancelled \(.+\); run it again"):
        list(results)


def test_a_block_that_ends_its_workers_is_named(work):
    with pytest.raises(NotFinished, match=r"^3 workers ended while they had the block 1; use fewer workers if memory"):
        list(work.each(end_worker, [1], name="network"))
    assert sorted(work.each(end_worker, [0, 2], name="network")) == [(0, 0), (2, 2)]


def test_a_worker_that_cannot_start(monkeypatch):
    monkeypatch.setattr(local_workers, "PROGRAM", "import sys; sys.exit('there is no room')")
    with (
        pytest.raises(NotFinished, match=r"a local worker ended while it was started \(status 1: there is no room\)"),
        connect("local", workers=1),
    ):
        pass
    monkeypatch.setattr(sys, "executable", "/no/python")
    with (
        pytest.raises(
            NotFinished, match=r"a local worker ended while it was started \(.*No such file .* '/no/python'\)"
        ),
        connect("local", workers=1),
    ):
        pass


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_something_else_answers_at_the_address(answer, monkeypatch):
    monkeypatch.setattr(dask_client, "ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []

        def listen():
            while True:
                try:
                    kept.append(server.accept()[0])
                    kept[-1].sendall(answer)
                except OSError:
                    return

        threading.Thread(target=listen, daemon=True).start()
        with (
            pytest.raises(ContractileError, match=r"tcp://127\.0\.0\.1:\d+: no scheduler answers \(.+\); start `dask"),
            connect(f"127.0.0.1:{server.getsockname()[1]}"),
        ):
            pass
        server.shutdown(socket.SHUT_RDWR)
    for one in kept:
        one.close()


def test_nobody_listens_at_the_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(ContractileError, match=r"no scheduler answers \(Connection refused\)"), connect(address):
        pass


def test_a_scheduler_that_ends_while_it_is_asked(monkeypatch):
    monkeypatch.setattr(dask_client, "ANSWER_S", 0.2)
    monkeypatch.setattr(dask_client, "check_answers", lambda address, timeout_s: None)
    with (
        pytest.raises(ContractileError, match=r"^tcp://127\.0\.0\.1:1: no scheduler answers \(Timed out"),
        connect("127.0.0.1:1"),
    ):
        pass


class Cluster:
    """A scheduler and its workers as somebody starts them by hand."""

    def __init__(self, folder):
        self.file, self._processes = folder / "scheduler.json", []
        options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        self.scheduler = self._start("scheduler", *options)
        wait_until(self.file.exists)

    def add_worker(self):
        return self._start("worker", "--no-nanny", "--nthreads", "1", "--local-directory", str(self.file.parent))

    def _start(self, what, *options):
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(self.file), *options]
        path = os.pathsep.join(sys.path)
        environment = {**os.environ, "PYTHONPATH": path}
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment, start_new_session=True)
        self._processes.append(process)
        return process

    def close(self):
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path):
    cluster = Cluster(tmp_path)
    yield cluster
    cluster.close()


def test_a_cluster_that_loses_its_workers_and_its_scheduler(cluster):
    with (
        pytest.raises(ContractileError, match=r"0 of 1 workers were there after 0\.2 s; start workers \(`dask worker"),
        connect(cluster.file, patience_s=0.2),
    ):
        pass
    worker = cluster.add_worker()
    with connect(cluster.file) as work:
        assert sorted(work.each(Square(), range(3), name="network")) == [(0, 0), (1, 1), (2, 4)]
        [address] = work.client.nthreads()
        with (
            pytest.raises(
                ContractileError, match=r"tcp://\S+: must be a scheduler, got a Worker; give the address of its"
            ),
            connect(address),
        ):
            pass
        work.patience_s = 0.5
        results = work.each(Square(0.05), itertools.count(), name="network")
        next(results)
        worker.kill()
        with pytest.raises(NotFinished, match=r"tcp://\S+: there was no worker for 0\.5 s; look why they ended"):
            list(results)
        work.patience_s = LONG_S
        cluster.add_worker()
        results = work.each(Square(0.05), itertools.count(), name="network")
        next(results)
        cluster.scheduler.kill()
        with pytest.raises(NotFinished, match=r"tcp://\S+: the connection to the scheduler is lost; start it, then"):
            list(results)


SCRIPT = """
    import os, time
    from contractile.work import connect

    def wait(item):
        time.sleep(0 if item < 20 else 1000)
        return os.getpid()

    print("begun", flush=True)
    with connect("local", workers=2) as work:
        for item, process in work.each(wait, range(30), name="network"):
            print(process, flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_script_that_is_ended_leaves_nothing(number, tmp_path):
    """It has no `if __name__ == "__main__"`: workers must not run it once more."""
    script, folder = tmp_path / "script.py", tmp_path / "temporary"
    script.write_text(textwrap.dedent(SCRIPT))
    folder.mkdir()
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [sys.executable, "-W", "error", str(script)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        lines = [process.stdout.readline() for _ in range(21)]
        process.send_signal(number)
        sent = time.monotonic()
        said = process.communicate()[1]
        assert time.monotonic() - sent < 10
    assert lines[0] == "begun\n"
    workers = {int(line) for line in lines[1:]}
    assert workers
    wait_until(lambda: not any(map(alive, workers)))
    wait_until(lambda: not list(folder.iterdir()))
    assert process.returncode == -number
    assert said.count("Traceback") == (number == signal.SIGINT)
    assert said == "" or said.endswith("\nKeyboardInterrupt\n")


def test_the_loggers_of_dask_are_as_before():
    before = {name: logging.getLogger(name).level for name in ("distributed", "distributed.client", "tornado")}
    with connect("local", workers=1) as work:
        assert isinstance(work, DaskWork)
        assert work.dashboard is None
        assert logging.getLogger("distributed.client").level > logging.CRITICAL
    assert {name: logging.getLogger(name).level for name in before} == before
