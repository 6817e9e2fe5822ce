"""Writing a file under a temporary name, and renaming it when it is whole."""

from __future__ import annotations

import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from contractile.errors import NotWritable, NotWritten
from contractile.storage.locks import LOCKS, SAFELY, is_still, lock
from contractile.storage.manifest import enter

UNFINISHED = re.compile(r"\.contractile-[0-9a-f]{16}\.part(\.\w+)?")
MOST = 100  # files that wait for one another: each is open

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
            _flush(file.temporary)
        group.add(file) if group else _finish([file])
    except BaseException:
        file.drop()
        raise


@contextmanager
def telling(path: Path) -> Iterator[None]:
    """Turn an OSError into one that says that `path` cannot be written."""
    try:
        yield
    except OSError as error:
        if isinstance(error, NotWritten | NotWritable):
            raise
        problem = f"cannot be written ({error.strerror or error})"
        kind = NotWritable if isinstance(error, PermissionError) else NotWritten
        raise kind(problem, "choose a folder you may write to, on a disk with free space", where=path) from error


@dataclass
class _Unfinished:
    """A temporary file. As long as it is open it is locked, and nobody sweeps it away."""

    path: Path
    temporary: Path
    number: int | None  # of the open file

    @classmethod
    def begin(cls, path: Path) -> _Unfinished:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        while True:
            temporary = path.with_name(f".contractile-{secrets.token_hex(8)}.part{path.suffix}")
            number = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)
            free = True
            with suppress(OSError):  # a file system without locks
                free = lock(number)
            if free and is_still(temporary, number):
                return cls(path, temporary, number)
            os.close(number)  # another process swept it away before it was locked

    def rename(self) -> None:
        if not LOCKS:  # Windows renames no open file
            self._close()
        os.replace(self.temporary, self.path)

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


@dataclass
class Group:
    """Files that are renamed together when all are whole; `by` is the command that writes them.

    `check` is called with each path right before it is replaced, `replaced` right after.
    """

    by: str
    check: Callable[[Path], None]
    replaced: Callable[[Path], None]
    waiting: list[_Unfinished] = field(default_factory=list)

    def add(self, file: _Unfinished) -> None:
        self.waiting.append(file)
        if len(self.waiting) >= MOST:
            self.finish()

    def finish(self) -> None:
        waiting, self.waiting = self.waiting, []
        _finish(waiting, self)

    def drop(self) -> None:
        for file in self.waiting:
            file.drop()
        self.waiting = []


_current: ContextVar[Group | None] = ContextVar("group", default=None)  # a thread has its own


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


def _finish(files: Sequence[_Unfinished], group: Group | None = None) -> None:
    """Enter files into the manifests of their folders and rename them."""
    try:
        if group is not None:
            for file in files:
                group.check(file.path)
        for folder in dict.fromkeys(file.path.parent for file in files):
            here = [file for file in files if file.path.parent == folder]
            with telling(here[0].path):
                enter(folder, {file.path.name: file.temporary for file in here}, group.by if group else "")
        for file in files:
            with telling(file.path):
                file.rename()
            if group is not None:
                group.replaced(file.path)
        for folder in dict.fromkeys(file.path.parent for file in files):
            with telling(folder):
                _flush(folder)
    finally:
        for file in files:
            file.drop()


def sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder; each process does so once."""
    if folder.absolute() in _swept:
        return
    _swept.add(folder.absolute())
    with suppress(OSError):
        for path in folder.iterdir():
            if UNFINISHED.fullmatch(path.name) and _is_abandoned(path):
                path.unlink()


def _is_abandoned(path: Path) -> bool:
    """Whether the process that writes a file is gone."""
    with suppress(OSError):
        found = os.open(path, os.O_RDONLY | SAFELY)
        try:
            return LOCKS and stat.S_ISREG(os.fstat(found).st_mode) and lock(found)
        finally:
            os.close(found)
    return False


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if os.name == "nt" and path.is_dir():
        return
    found = os.open(path, os.O_RDONLY)
    try:
        os.fsync(found)
    except OSError:
        if not path.is_dir():  # some file systems cannot flush folders
            raise
    finally:
        os.close(found)
