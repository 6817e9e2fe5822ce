"""This process as a place of work; values that are made once; addresses; versions; threads. Dask: test_work_dask.py."""

import json
import sys
import threading
import time
import weakref
from types import SimpleNamespace

import pytest

from contractile.errors import ContractileError, NotFound
from contractile.work import connect, forget, here, once, threads_of_a_block
from contractile.work import kept as kept_module
from contractile.work import threads as threads_module
from contractile.work import versions as versions_module
from contractile.work.address import find_address
from contractile.work.threads import settle_threads
from contractile.work.versions import check_versions, own_versions


@pytest.fixture(autouse=True)
def nothing_kept():
    forget()
    yield
    forget()


def counted(number, taken):
    for item in range(number):
        taken.append(item)
        yield item


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_items_are_done_here_in_their_order(ahead):
    assert list(here(ahead=ahead).each(lambda item: item**2, range(5), name="square")) == [
        (0, 0),
        (1, 1),
        (2, 4),
        (3, 9),
        (4, 16),
    ]
    assert list(here(ahead=ahead).each(lambda item: item, [], name="nothing")) == []


@pytest.mark.parametrize(("ahead", "most"), [(0, 1), (1, 2), (3, 4)])
def test_items_are_taken_when_they_are_asked_for(ahead, most):
    taken = []
    for item, _ in here(ahead=ahead).each(lambda item: item, counted(9, taken), name="late"):
        assert len(taken) <= item + most
    assert taken == list(range(9))


def test_ahead_the_next_item_is_done_while_the_caller_is_busy():
    done = threading.Event()
    work = here(ahead=1).each(lambda item: item and done.set(), range(2), name="soon")
    next(work)
    assert done.wait(10)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_do_items_side_by_side_and_results_keep_their_order(threads):
    meeting = threading.Barrier(threads, timeout=10)

    def meet(item):
        meeting.wait()
        return item**2

    found = list(here(threads=threads).each(meet, range(2 * threads), name="meet"))
    assert found == [(item, item**2) for item in range(2 * threads)]


@pytest.mark.parametrize("threads", [0, 1.5])
def test_threads_are_a_number_of_at_least_one(threads):
    with pytest.raises(ContractileError, match=r"threads must be a whole number of at least 1, got .*; use e\.g\. 1"):
        here(threads=threads)


@pytest.mark.parametrize("ahead", [0, 2])
def test_an_error_here_is_itself_and_ends_the_work(ahead):
    error, taken = NotFound("it is not there", "look elsewhere", where="a.tif"), []

    def fail(item):
        if item == 1:
            raise error

    with pytest.raises(NotFound) as raised:
        list(here(ahead=ahead).each(fail, counted(9, taken), name="fail"))
    assert raised.value is error
    assert len(taken) <= 2 + ahead


def test_what_was_begun_is_ended_before_the_work_is():
    ended = []

    def slow(item):
        time.sleep(0.05 * item)
        ended.append(item)

    work = here(ahead=2).each(slow, range(5), name="slow")
    next(work)
    time.sleep(0.01)
    work.close()
    assert ended == [0, 1]


@pytest.mark.parametrize("ahead", [-1, 0.5])
def test_ahead_is_a_number_of_items(ahead):
    with pytest.raises(ContractileError, match=r"ahead must be a whole number of at least 0, got .*; use e\.g\. 1"):
        here(ahead=ahead)


def test_a_value_is_made_once_also_by_many_threads():
    made = []

    def make():
        time.sleep(0.02)
        made.append(1)
        return object()

    found = []
    threads = [threading.Thread(target=lambda: found.append(once("model", make))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(set(map(id, found))) == 1
    assert once("another", lambda: 5) == 5
    forget()
    once("model", make)
    assert len(made) == 2


def test_a_value_that_cannot_be_made_is_not_kept():
    with pytest.raises(ZeroDivisionError):
        once("model", lambda: 1 / 0)
    assert once("model", lambda: 7) == 7


def test_one_value_may_need_another():
    assert once("outer", lambda: once("inner", lambda: 2) + 1) == 3


def test_the_values_that_were_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(kept_module, "MOST", 2)
    for key in ("a", "b", "a", "c"):
        once(key, lambda: 1)
    assert list(kept_module._kept) == list(kept_module._locks) == ["a", "c"]


class Costly:
    """A value that can be watched."""


def test_in_one_place_the_next_value_is_made_when_the_former_one_is_gone():
    former, seen = weakref.ref(once("a", Costly, place="image")), []

    def make():
        seen.append(former())
        return Costly()

    value = once("b", make, place="image")
    assert seen == [None]
    assert once("b", make, place="image") is value
    assert once("b", Costly, place="another") is not value
    assert once("a", make, place="image") is not value
    assert len(seen) == 2
    assert list(kept_module._kept) == ["another", "image"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("tcp://node3:8786", "tcp://node3:8786"),
        ("node3:8786", "tcp://node3:8786"),
        ("tls://10.0.0.3:1", "tls://10.0.0.3:1"),
        ("tcp://[::1]:65535", "tcp://[::1]:65535"),
    ],
)
def test_addresses(given, address):
    assert find_address(given) == address


@pytest.mark.parametrize(
    "given",
    ["", "loacl", "node3", "tcp://node3", "http://node3:80", "tcp://node3:0", "node3:99999", "tcp://a b:1", "://"],
)
def test_an_address_that_does_not_parse(given):
    with pytest.raises(ContractileError, match=r"scheduler must be local, an address or a file, got .*; use local, an"):
        find_address(given)


def test_the_file_of_a_scheduler(tmp_path):
    file = tmp_path / "scheduler.json"
    with pytest.raises(NotFound, match=r"scheduler\.json: there is no such file of a scheduler; use local"):
        find_address(file)
    file.write_text(json.dumps({"address": "tcp://10.0.0.3:8786"}))
    assert find_address(file) == find_address(str(file)) == "tcp://10.0.0.3:8786"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"address": 5}', '{"address": "tcp://"}', "{"])
def test_a_file_without_an_address(content, tmp_path):
    file = tmp_path / "scheduler.json"
    file.write_text(content)
    with pytest.raises(ContractileError, match="must be the file of a scheduler, and names no address"):
        find_address(file)


def test_versions_that_differ_are_named():
    ours = {"python": "3.11", "contractile": "0.2.0"}
    check_versions(ours, ours, where="worker a")
    with pytest.raises(ContractileError) as raised:
        check_versions(ours, {"python": "3.12", "contractile": "0.2.0"}, where="worker a")
    assert str(raised.value) == "worker a: python must be 3.11 as it is here, got 3.12; use the same there"
    with pytest.raises(ContractileError) as raised:
        check_versions(ours, {"python": "3.11", "contractile": "none"}, where="worker a")
    assert str(raised.value) == "worker a: contractile must be 0.2.0 as it is here, got none; install the same there"
    with pytest.raises(
        ContractileError, match=r"^worker a: contractile must be 0\.2\.0 .* \(No module named 'x'\); install"
    ):
        check_versions(ours, ModuleNotFoundError("No module named 'x'"), where="worker a")


def test_a_build_or_a_correction_is_the_same_version(monkeypatch):
    packages = {"contractile": "0.2.0", "torch": "2.13.1+cu130", "numpy": "2.4.9"}

    def version(name):
        if name not in packages:
            raise versions_module.PackageNotFoundError
        return packages[name]

    monkeypatch.setattr(versions_module, "version", version)
    assert own_versions.__wrapped__() == {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "contractile": "0.2.0",
        "distributed": "none",
        "torch": "2.13",
        "numpy": "2.4",
    }


@pytest.mark.parametrize(("given", "threads"), [(None, 1), ("3", 3), ("4,2", 4), ("many", 1), ("0", 1)])
def test_a_worker_tells_torch_its_threads(given, threads, monkeypatch):
    told = []
    torch = SimpleNamespace(get_num_threads=lambda: 64, set_num_threads=told.append)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(threads_module, "_threads", None)
    monkeypatch.setenv("OMP_NUM_THREADS", given) if given else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_of_a_block() is None
    settle_threads()
    assert told == [threads_of_a_block()] == [threads]


def test_without_the_extra_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ContractileError, match=r"Dask cannot be loaded \(.*\); pip install 'contractile\[dask\]'"),
        connect("local"),
    ):
        pass


def test_a_dashboard_needs_bokeh(monkeypatch):
    monkeypatch.setitem(sys.modules, "bokeh", None)
    with (
        pytest.raises(ContractileError, match=r"the dashboard needs the package bokeh; pip install 'bokeh>=3\.1'"),
        connect("local", dashboard=True),
    ):
        pass


@pytest.mark.parametrize("counts", [{"workers": 0}, {"threads": 0}, {"workers": 1.5}])
def test_counts_of_workers_and_threads(counts):
    with pytest.raises(ContractileError, match="must be a whole number of at least 1, got"), connect("local", **counts):
        pass
