"""Free memory: the least of what the system, the container and a limit leave; sizes as people write them."""

from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractile import memory
from contractile.errors import ContractileError
from contractile.memory import LEAST, free_memory, limit_memory, limited_memory, memory_limit, parse_bytes, total_memory

GB = 10**9


@pytest.fixture
def machine(monkeypatch):
    """A machine with 100 GB, of which 60 are free; this process holds 1 GB."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=100 * GB, available=60 * GB))
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=GB))
    monkeypatch.setattr(psutil, "Process", lambda: process)


@pytest.fixture
def tell(monkeypatch, tmp_path):
    """A function that makes Linux tell of control groups: the lines of /proc/self/cgroup, and files with their text."""

    def tell(lines, files):
        (tmp_path / "cgroup").write_text("\n".join(lines) + "\n")
        for name, text in files.items():
            (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "mount" / name).write_text(f"{text}\n")

    monkeypatch.setattr(memory, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "MOUNT", tmp_path / "mount")
    memory._groups.cache_clear()
    yield tell
    memory._groups.cache_clear()


def test_without_container_and_limit_it_is_what_the_system_has(machine, tell):
    assert (free_memory(), total_memory(), memory_limit()) == (60 * GB, 100 * GB, None)
    memory._groups.cache_clear()
    tell(["0::/", "nonsense"], {"memory.max": "max", "memory.current": "5", "memory.stat": "anon 5"})
    assert (free_memory(), total_memory()) == (60 * GB, 100 * GB)


def test_a_container_of_version_2_counts_what_cannot_be_taken_back(machine, tell):
    stat = f"anon {GB}\nfile {5 * GB}\nshmem {GB}\ninactive_file {2 * GB}\nactive_file {2 * GB}\nslab_reclaimable {GB}"
    tell(["0::/"], {"memory.max": 8 * GB, "memory.current": 7 * GB, "memory.stat": stat})
    assert (free_memory(), total_memory()) == (6 * GB, 8 * GB)


def test_a_group_is_bound_by_those_that_it_is_in(machine, tell):
    files = {}
    for folder, most, used in (("", "max", 90), ("job/", 10 * GB, 9 * GB), ("job/step/", 20 * GB, 2 * GB)):
        files |= {f"{folder}memory.max": most, f"{folder}memory.current": used, f"{folder}memory.stat": "anon 1"}
    tell(["0::/job/step"], files)
    assert (free_memory(), total_memory()) == (GB, 10 * GB)


def test_a_container_of_version_1(machine, tell):
    stat = f"total_inactive_file {GB}\ntotal_active_file {GB}\ninactive_file 7"
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat")
    files = {f"memory/{name}": text for name, text in zip(names, (4 * GB, 3 * GB, stat), strict=True)}
    tell(["5:cpu,memory:/docker/as/seen/from/outside", "1:name=systemd:/"], files)
    assert (free_memory(), total_memory()) == (3 * GB, 4 * GB)


def test_a_container_that_is_full_has_nothing_left_and_numbers_that_vanish_bind_nothing(machine, tell, tmp_path):
    tell(["0::/"], {"memory.max": 2 * GB, "memory.current": 3 * GB, "memory.stat": "anon 1"})
    assert free_memory() == 0
    (tmp_path / "mount" / "memory.stat").unlink()
    assert free_memory() == 60 * GB


def test_another_system_has_no_control_groups(machine, tell):
    assert memory._groups() == ()


def test_a_limit_leaves_what_this_process_does_not_hold(machine, tell):
    with limited_memory(3 * GB):
        assert (free_memory(), total_memory(), memory_limit()) == (2 * GB, 3 * GB, 3 * GB)
        with limited_memory(LEAST):
            assert free_memory() == 0
        assert memory_limit() == 3 * GB
    limit_memory(200 * GB)
    assert (free_memory(), total_memory()) == (60 * GB, 100 * GB)
    limit_memory(None)
    assert memory_limit() is None


def test_a_limit_in_which_nothing_can_be_done_is_refused():
    with pytest.raises(ContractileError, match=r"memory must be at least \d+ MB, which .*, got 500 MB; give \d+MB"):
        limit_memory(500 * 10**6)
    assert memory_limit() is None


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * GB),
        ("2 gb", 2 * GB),
        ("1.5GiB", 3 * 2**29),
        ("900MB", 9 * 10**8),
        (" 512mib ", 2**29),
        ("2000000", 2 * 10**6),
        ("7B", 7),
        ("1TB", 10**12),
    ],
)
def test_sizes_as_people_write_them(text, size):
    assert parse_bytes(text) == size


@given(st.integers(1, 10**15))
def test_every_number_of_bytes_is_read(size):
    assert parse_bytes(str(size)) == parse_bytes(f"{size}B") == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-2GB", "2XB", "2G B", "two", "0", "0.1B", "1e9", "nan", "2,5GB", "1.GB", "9" * 400]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ContractileError, match=r"memory must be a number of bytes such as 2GB, .* got '.*'; use 2GB"):
        parse_bytes(text)
