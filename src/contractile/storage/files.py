"""Writing a file or a folder under a temporary name, and renaming it when it is whole."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from contractile.errors import ContractileError, NotWritable, NotWritten
from contractile.storage.locks import LOCKS, OPEN_MOVES, SAFELY, is_free, is_still, lock, open_to_lock
from contractile.storage.manifest import enter

UNFINISHED = re.compile(r"\.contractile-[0-9a-f]{16}\.part(\.\w+)?")
RETIRED = re.compile(r"\.contractile-[0-9a-f]{16}\.was\.(.+)", re.DOTALL)  # a folder that makes room for a new one
MOST = 100  # files that wait for one another: each is open
FLUSHED_AS = os.O_RDONLY if OPEN_MOVES else os.O_RDWR | SAFELY  # Windows flushes only what may be written to
PATIENCE_S, PAUSE_S = (0.0 if OPEN_MOVES else 2.0), 0.05  # Windows: a virus scanner opens new files for a moment
LEFT_S = 60.0  # Windows: what is unfinished, closed, and that old was left behind

_swept: set[Path] = set()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; at the end it is flushed, entered into the manifest and renamed.

    Makes the folder. On any error nothing is left. An OSError becomes NotWritten, or NotWritable where permission was
    refused.
    """
    group = _current.get()
    with telling(path):
        file = _Unfinished.begin(path)
    try:
        with telling(path):
            yield file.temporary
            flush(file.temporary)
        group.add(file) if group else finish([file])
    except BaseException:
        file.drop()
        raise


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn an OSError into one that says that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, ContractileError):
            raise
        problem = f"cannot be written ({error.strerror or error})"
        kind = NotWritable if isinstance(error, PermissionError) else NotWritten
        raise kind(problem, "choose a folder you may write to, on a disk with free space", where=path) from error


class Pending(Protocol):
    """What becomes visible by a rename. `listed` says whether the manifest of its folder names it."""

    @property
    def listed(self) -> bool: ...
    @property
    def path(self) -> Path: ...
    @property
    def temporary(self) -> Path: ...
    def rename(self) -> None: ...
    def drop(self) -> None:
        """Let go of it; what was renamed stays, what was not is removed."""


@dataclass
class _Unfinished:
    """A temporary file. As long as it is open it is locked, and nobody sweeps it away."""

    path: Path
    temporary: Path
    number: int | None  # of the open file
    listed = True

    @classmethod
    def begin(cls, path: Path) -> _Unfinished:
        temporary, number = begin_beside(path, _create)
        return cls(path, temporary, number)

    def rename(self) -> None:
        if not OPEN_MOVES:
            self._close()
        move(self.temporary, self.path)

    def drop(self) -> None:
        """Close and remove it; what was renamed stays."""
        with suppress(OSError):
            self._close()
        with suppress(OSError):
            self.temporary.unlink()

    def _close(self) -> None:
        number, self.number = self.number, None
        if number is not None:
            os.close(number)


def begin_beside(path: Path, create: Callable[[Path], int | None]) -> tuple[Path, int | None]:
    """Create something unfinished beside `path`, locked: its name, and the number of it as an open file.

    `create(name)` makes it and opens it; None where it cannot be opened. The folder is made, and swept before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    while True:
        temporary = temporary_name(path)
        number = create(temporary)
        if number is None or (hold(number) and is_still(temporary, number)):
            return temporary, number
        os.close(number)  # another process swept it away before it was locked


def hold(number: int) -> bool:
    """Lock an open file or folder; False where another process holds it. Without locks all is free.

    Windows removes no open file, which is as good as a lock, and others may write to it by its name.
    """
    if not OPEN_MOVES:
        return True
    with suppress(OSError):
        return lock(number)
    return True


def _create(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder, in the place of a file that is there. Raises OSError."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            return os.replace(source, target)
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(PAUSE_S)


def temporary_name(path: Path) -> Path:
    """A name beside `path` that nobody can foresee."""
    return path.with_name(f".contractile-{secrets.token_hex(8)}.part{path.suffix}")


def retired_name(path: Path) -> Path:
    """The name beside `path` of a folder that makes room for a new one."""
    return path.with_name(f".contractile-{secrets.token_hex(8)}.was.{path.name}")


@dataclass
class Group:
    """Files that are renamed together when all are whole; `by` is the command that writes them.

    `check` is called with each path right before it is replaced, `replaced` right after.
    """

    by: str
    check: Callable[[Path], None]
    replaced: Callable[[Path], None]
    waiting: list[Pending] = field(default_factory=list)

    def add(self, file: Pending) -> None:
        self.waiting.append(file)
        if len(self.waiting) >= MOST:
            self.finish()

    def finish(self) -> None:
        waiting, self.waiting = self.waiting, []
        finish(waiting, self)

    def drop(self) -> None:
        for file in self.waiting:
            file.drop()
        self.waiting = []


_current: ContextVar[Group | None] = ContextVar("group", default=None)  # a thread has its own


def current_group() -> Group | None:
    """The group that gathers what this thread writes."""
    return _current.get()


@contextmanager
def gathering(group: Group) -> Iterator[None]:
    """Let what this thread writes by `replacing` wait for the end of the block; on an error none of it is left."""
    former = _current.set(group)
    try:
        yield
        group.finish()
    finally:
        group.drop()
        _current.reset(former)


def finish(files: Sequence[Pending], group: Group | None = None) -> None:
    """Enter files into the manifests of their folders and rename them."""
    try:
        if group is not None:
            for file in files:
                group.check(file.path)
        for folder in dict.fromkeys(file.path.parent for file in files):
            here = [file for file in files if file.path.parent == folder]
            listed = {file.path.name: file.temporary for file in here if file.listed}
            with telling(here[0].path):
                if listed:
                    enter(folder, listed, group.by if group else "")
        for file in files:
            with telling(file.path):
                file.rename()
            if group is not None:
                group.replaced(file.path)
        for folder in dict.fromkeys(file.path.parent for file in files):
            with telling(folder):
                flush(folder)
    finally:
        for file in files:
            file.drop()


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; each process does so once.

    A folder that was to be replaced gets its name back where the new one did not come.
    """
    if folder.absolute() in _swept:
        return
    _swept.add(folder.absolute())
    with suppress(OSError):
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name) or RETIRED.fullmatch(path.name):
                _clear(path)


def _clear(path: Path) -> None:
    """Remove what is unfinished, or give it its name back, where the process that did so is gone."""
    with suppress(OSError):
        if not OPEN_MOVES:
            return _clear_closed(path)
        found = open_to_lock(path)
        try:
            kind = stat.S_IFMT(os.fstat(found).st_mode)
            if not LOCKS or kind not in (stat.S_IFREG, stat.S_IFDIR) or not is_free(found):
                return
            was = RETIRED.fullmatch(path.name)
            if was and not os.path.lexists(path.with_name(was[1])):
                os.rename(path, path.with_name(was[1]))
            elif kind == stat.S_IFDIR:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(found)


def _clear_closed(path: Path) -> None:
    """Remove an unfinished file that no process has open; give a folder that is missing its name back.

    Folders cannot be locked on Windows, so unfinished ones stay.
    """
    found, was = os.lstat(path), RETIRED.fullmatch(path.name)
    if was and not os.path.lexists(path.with_name(was[1])):
        os.rename(path, path.with_name(was[1]))
    elif stat.S_ISREG(found.st_mode) and time.time() - found.st_mtime > LEFT_S:
        path.unlink()


def flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if not OPEN_MOVES and path.is_dir():
        return
    found = os.open(path, FLUSHED_AS)
    try:
        os.fsync(found)
    except OSError:
        if not path.is_dir():  # some file systems cannot flush folders
            raise
    finally:
        os.close(found)
