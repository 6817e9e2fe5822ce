"""Locks that a killed process does not leave behind."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contractile.errors import InUse, NotWritable, NotWritten

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

# A planted link is not followed, a planted pipe does not block, and children do not keep a lock.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
LOCKS = fcntl is not None  # whether files can be locked here
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or the user's share of it
MOMENT_S = 0.1  # whoever looks whether a file is locked holds it for less
PAUSE_S = 0.01


@contextmanager
def sole(path: Path, doing: str, *, wait_s: float = MOMENT_S) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; a process that is killed holds it no longer.

    Raises InUse where another one holds it for longer than `wait_s`; `doing` completes its sentence, such as "trains
    into this folder". Raises NotWritable where the file cannot be made, NotWritten where the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + wait_s
        while (found := _take(path)) is None:
            if time.monotonic() > end:
                raise InUse(
                    f"another process {doing}", "wait until it ends, or choose another folder", where=path.parent
                )
            time.sleep(PAUSE_S)
    except InUse:
        raise
    except OSError as error:
        cure, kind = "choose a folder you may write to", NotWritten if error.errno in FULL else NotWritable
        raise kind(f"cannot be locked ({error.strerror})", cure, where=path) from error
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(found)


def _take(path: Path) -> int | None:
    """Open and lock a file; None where another process holds it, or has just removed it."""
    found = os.open(path, os.O_RDWR | os.O_CREAT | SAFELY, 0o666)
    free = True
    with suppress(OSError):  # a file system without locks
        free = lock(found)
    if free and is_still(path, found):
        return found
    os.close(found)
    return None


def lock(found: int) -> bool:
    """Lock an open file; False where another process holds it. Raises OSError on a file system without locks."""
    try:
        if fcntl is not None:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_still(path: Path, found: int) -> bool:
    """Whether an open file still has its name: whoever held its lock before may have removed it."""
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(found))
    return False
