"""Locks that a killed process does not leave behind."""

from __future__ import annotations

import errno
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from contractile.errors import InUse, NotWritable, NotWritten


def _there(module: str) -> Any:
    """A module of some systems; None on others."""
    with suppress(ImportError):
        return importlib.import_module(module)
    return None


_posix, _windows = _there("fcntl"), _there("msvcrt")
# A planted link is not followed, a planted pipe does not block, children do not keep a lock, and Windows writes the
# bytes that it is given.
SAFELY = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
BUSY = PermissionError if _posix is None else BlockingIOError  # as they say that another process holds a lock
LOCKS = _posix is not None or _windows is not None  # whether files can be locked here
OPEN_MOVES = os.name != "nt"  # Windows renames and removes no open file, and opens no folder
FAR = 2**62  # the byte that Windows locks, beyond any content: what is locked there, nobody else can read
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))  # the disk, or the user's share of it
MOMENT_S = 0.1  # whoever looks whether a file is locked holds it for less
PAUSE_S = 0.01
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR)


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
        let_go(path, found)


def let_go(path: Path, found: int) -> None:
    """Remove a lock file and close it; what cannot be removed stays, and harms nobody."""
    if not OPEN_MOVES:
        _close(found)
    with suppress(OSError):
        path.unlink()
    if OPEN_MOVES:  # while it is locked, nobody else can have made it anew
        _close(found)


def _close(found: int) -> None:
    with suppress(OSError):
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
        if _posix is not None:
            _posix.flock(found, _posix.LOCK_EX | _posix.LOCK_NB)
        elif _windows is not None:
            _lock_far(found)
    except BUSY:
        return False
    return True


def open_to_lock(path: Path) -> int:
    """Open a file or a folder of another process, to try its lock. Raises OSError.

    NFS locks only what is opened for writing. Without that `lock` raises EBADF there, and nobody can tell.
    """
    try:
        return os.open(path, os.O_RDWR | SAFELY)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
    return os.open(path, os.O_RDONLY | SAFELY)


def is_free(found: int) -> bool:
    """Lock an open file of another process; False where that holds it, or nobody can tell. Raises as `lock`."""
    try:
        return lock(found)
    except OSError as error:
        if error.errno == errno.EBADF:
            return False
        raise


def _lock_far(found: int) -> None:
    """Lock one byte far beyond the end of a file, and stay where we are in it."""
    place = os.lseek(found, 0, os.SEEK_CUR)
    os.lseek(found, FAR, os.SEEK_SET)
    try:
        _windows.locking(found, _windows.LK_NBLCK, 1)
    finally:
        os.lseek(found, place, os.SEEK_SET)


def is_still(path: Path, found: int) -> bool:
    """Whether an open file still has its name: whoever held its lock before may have removed it."""
    if not OPEN_MOVES:
        return True
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(found))
    return False
