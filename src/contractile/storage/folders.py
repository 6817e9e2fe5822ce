"""Writing a folder under a temporary name, and renaming it when it is whole."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from contractile.errors import AlreadyThere
from contractile.storage.files import (
    begin_beside,
    current_group,
    finish,
    flush,
    hold,
    move,
    retired_name,
    telling,
    temporary_name,
)
from contractile.storage.locks import OPEN_MOVES, SAFELY, sole
from contractile.storage.records import write_record

GATE = ".contractile.gate"  # is held while claims are compared, and while a file of others is changed
WAIT_S = 10.0
TRIES, PAUSE_S = 50, 0.05  # to remove a folder into which threads still write


@contextmanager
def replacing_folder(path: Path, *, record: str = ".") -> Iterator[Path]:
    """A temporary folder beside `path` to write into; at the end all in it is flushed, recorded and renamed.

    Makes the folder that it lies in. What is there under that name is removed when the new folder has its name.
    `record` is the folder within it that takes the record of its content: one in which a foreign file harms nothing.
    On any error nothing is left. Inside of `Claim.together` it appears with the others; processes of their own may
    write into it until then. An OSError becomes NotWritten, or NotWritable where permission was refused.
    """
    with telling(path):
        folder = _UnfinishedFolder.begin(path)
    try:
        with telling(path):
            yield folder.temporary
            _flush_all(folder.temporary)
            group = current_group()  # that of the thread which ends the work
            write_record(folder.temporary, record, group.by if group else "")
            _flush_all(folder.temporary / record, deep=False)
        group.add(folder) if group else finish([folder])
    except BaseException:
        folder.drop()
        raise


def amend(path: Path, change: Callable[[bytes | None], bytes]) -> None:
    """Change a file that is not ours, such as a list of what a folder holds: at the end of `Claim.together`, or now.

    `change` gets the content (None where there is no file) and gives the new one; no other process of this package
    changes the file meanwhile. It appears as a whole, and the manifest does not name it. Raises as `replacing`.
    """
    group, item = current_group(), _Amended(path, path, change)
    group.add(item) if group else finish([item])


@dataclass
class _UnfinishedFolder:
    """A temporary folder. As long as it is open it is locked, and nobody sweeps it away."""

    path: Path
    temporary: Path
    numbers: list[int]  # of the open folders: the new one, and the one that it replaces
    retired: Path | None = None
    listed = False

    @classmethod
    def begin(cls, path: Path) -> _UnfinishedFolder:
        temporary, number = begin_beside(path, _create)
        return cls(path, temporary, [] if number is None else [number])

    def rename(self) -> None:
        if os.path.lexists(self.path):
            if self.path.is_symlink() or not self.path.is_dir():
                problem = "a folder must be written here, and there is a file"
                raise AlreadyThere(problem, "name another folder", where=self.path)
            number = _open(self.path)
            if number is not None:
                self.numbers.append(number)
                hold(number)
            self.retired = retired_name(self.path)
            move(self.path, self.retired)
        move(self.temporary, self.path)

    def drop(self) -> None:
        """Let go of it. The folder that it should replace goes where it did, and comes back where it did not."""
        if self.retired is not None:
            with suppress(OSError):
                if not os.path.lexists(self.path):
                    os.replace(self.retired, self.path)
            shutil.rmtree(self.retired, ignore_errors=True)
        _remove(self.temporary)
        for number in self.numbers:
            with suppress(OSError):
                os.close(number)
        self.numbers = []


@dataclass
class _Amended:
    """A change of a file, made at its turn."""

    path: Path
    temporary: Path
    change: Callable[[bytes | None], bytes]
    listed = False

    def rename(self) -> None:
        with sole(self.path.parent / GATE, "changes this folder", wait_s=WAIT_S):
            old = self.path.read_bytes() if os.path.lexists(self.path) else None
            new = self.change(old)
            if new == old:
                return
            temporary = temporary_name(self.path)
            try:
                number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)
                with open(number, "wb") as file:
                    file.write(new)
                flush(temporary)
                move(temporary, self.path)
            finally:
                with suppress(OSError):
                    temporary.unlink()

    def drop(self) -> None:
        """Nothing is held before its turn."""


def _remove(folder: Path) -> None:
    """Remove an unfinished folder. Threads that still write a chunk make its folders anew: it is looked at again."""
    for _ in range(TRIES):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(PAUSE_S)


def _create(folder: Path) -> int | None:
    folder.mkdir()
    return _open(folder)


def _open(folder: Path) -> int | None:
    """The number of a folder as an open file; None where folders cannot be opened. Raises OSError."""
    return os.open(folder, os.O_RDONLY | SAFELY) if OPEN_MOVES else None


def _flush_all(folder: Path, *, deep: bool = True) -> None:
    """Wait until all files in a folder, and their names, are on the disk."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                flush(folder / entry.name)
            elif deep:
                _flush_all(folder / entry.name)
    flush(folder)
