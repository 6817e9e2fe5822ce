"""What memory is free, told by one place: the system, the container that this process is in, and a limit that was set.

The kernel ends a process that takes more than its container may, and says nothing before it. So the least of the three
is what may still be taken.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from contractile.errors import ContractileError

# Bytes that a prediction takes with small tiles: its libraries, and what is kept of a block. The first start takes
# most: PyTorch then converts the network (960 MB were measured).
LEAST = 10**9
UNITS = {"": 1, "B": 1} | {f"{letter}B": 1000**power for power, letter in enumerate("KMGT", start=1)}
UNITS |= {f"{letter}IB": 1024**power for power, letter in enumerate("KMGT", start=1)}
AMOUNT = re.compile(r"(\d{1,18}(?:\.\d+)?) ?([a-zA-Z]*)")
MEMBERSHIP, MOUNT = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # where Linux tells of containers

_limit: int | None = None
_lock = threading.Lock()


@dataclass(frozen=True)
class _Group:
    """A control group that bounds memory: the folder of its numbers, and the names that its version gives them."""

    folder: Path
    limit: str
    used: str
    reclaimable: tuple[str, ...]  # lines of memory.stat that the kernel takes back when it needs to

    def most(self) -> float:
        """Bytes that its processes may hold; infinite where nothing bounds them."""
        with suppress(OSError, ValueError):
            return float((self.folder / self.limit).read_text())  # "max" is no number
        return math.inf

    def left(self) -> float:
        """Bytes that its processes may still take."""
        with suppress(OSError, ValueError):
            used = int((self.folder / self.used).read_text())
            lines = (line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
            back = sum(int(line[1]) for line in lines if line and line[0] in self.reclaimable)
            return max(0.0, self.most() - max(0, used - back))
        return math.inf


def free_memory() -> int:
    """Bytes that this process may still take: the least of what the system, its container and its limit leave."""
    left: list[float] = [psutil.virtual_memory().available, *(group.left() for group in _groups())]
    if _limit is not None:
        left.append(max(0, _limit - used_memory()))
    return int(min(left))


def used_memory() -> int:
    """Bytes that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def total_memory() -> int:
    """Bytes that this process could take if it were alone: the least of the machine, its container and its limit."""
    most: list[float] = [psutil.virtual_memory().total, *(group.most() for group in _groups())]
    return int(min([*most, *([] if _limit is None else [_limit])]))


def memory_limit() -> int | None:
    """The limit that was set, in bytes; None where there is none."""
    return _limit


def limit_memory(size: int | None) -> None:
    """Let this process take at most `size` bytes in all, as far as it can be told beforehand; None ends the limit.

    What is chosen by the free memory, such as the size of tiles, follows the limit from then on. Raises
    ContractileError for less than a prediction takes.
    """
    global _limit
    if size is not None and size < LEAST:
        least, got = math.ceil(LEAST / 1e6), f"{size / 1e6:,.4g} MB" if size >= 1e6 else f"{size} bytes"
        raise ContractileError(
            f"memory must be at least {least} MB, which a prediction takes with small tiles, got {got}",
            f"give {least}MB or more, or leave it out",
        )
    with _lock:
        _limit = size


@contextmanager
def limited_memory(size: int) -> Iterator[None]:
    """A limit within the `with` block; see `limit_memory`."""
    before = _limit
    limit_memory(size)
    try:
        yield
    finally:
        limit_memory(before)


def parse_bytes(text: str) -> int:
    """The bytes that a text such as "2GB", "1.5 GiB", "1500MB" or "2000000000" means. Raises ContractileError."""
    found = AMOUNT.fullmatch(text.strip())
    unit = UNITS.get(found[2].upper()) if found else None
    if found is None or unit is None or not (size := int(float(found[1]) * unit)):
        raise ContractileError(f"memory must be a number of bytes such as 2GB, 1500MB or 2GiB, got {text!r}", "use 2GB")
    return size


@cache
def _groups() -> tuple[_Group, ...]:
    """The control groups that bound the memory of this process; a group within another one is bound by both.

    A container may see the path of its group from the outside, where that path is not: then only the folder above it,
    which is the container's own, is there.
    """
    try:
        lines = [line.split(":", 2) for line in MEMBERSHIP.read_text(encoding="utf-8").splitlines()]
    except OSError:  # another system than Linux
        return ()
    found: list[_Group] = []
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers == "":
            names, root = ("memory.max", "memory.current"), MOUNT
            back: tuple[str, ...] = ("inactive_file", "active_file", "slab_reclaimable")
        elif "memory" in controllers.split(","):
            names, root = ("memory.limit_in_bytes", "memory.usage_in_bytes"), MOUNT / "memory"
            back = ("total_inactive_file", "total_active_file")
        else:
            continue
        place = root / path.lstrip("/")
        within = [folder for folder in (place, *place.parents) if folder.is_relative_to(root)]
        found += [_Group(folder, *names, back) for folder in within]
    return tuple(group for group in found if group.most() < psutil.virtual_memory().total)
