"""Files that are written whole or not at all, replaced only where they are our own, by one process at a time.

A file is written under a random name in its own folder, flushed to the disk, and renamed: whoever looks, and whenever
the power fails, finds the old file or the new one. The manifest of the folder has a line for each file that was
written. What it does not name, or what has changed since, is somebody's work.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contractile.errors import AlreadyThere, InUse, NotWritable, NotWritten

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]

MANIFEST = ".contractile.jsonl"
UNFINISHED = re.compile(r"\.contractile-[0-9a-f]{16}\.part(\.\w+)?")
LARGEST = 2**26  # bytes of a manifest that are read
PIECE = 2**20  # bytes that are hashed at once
NAMED = 3  # files in an error
# A planted link is not followed, a planted pipe does not block, and children do not keep a lock.
SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

_swept: set[Path] = set()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; at the end it is flushed, entered into the manifest and renamed.

    Makes the folder. On any error nothing is left. An OSError becomes NotWritten, or NotWritable where permission was
    refused.
    """
    temporary = path.with_name(f".contractile-{secrets.token_hex(8)}.part{path.suffix}")
    mine: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent)
        mine = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)
        with suppress(OSError):
            _lock(mine)  # as long as it is locked, nobody sweeps it away
        yield temporary
        _flush(temporary)
        _enter(path, temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        kind = NotWritable if isinstance(error, PermissionError) else NotWritten
        raise kind(problem, "choose a folder you may write to, on a disk with free space", where=path) from error
    finally:
        if mine is not None:
            os.close(mine)
            with suppress(OSError):  # renamed, or the folder is gone
                temporary.unlink()


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
            return fcntl is not None and stat.S_ISREG(os.fstat(found).st_mode) and _lock(found)
        finally:
            os.close(found)
    return False


def check_replaceable(paths: Iterable[Path], *, overwrite: bool = False) -> None:
    """Raise AlreadyThere where a file exists that this package did not write, or that has changed since.

    With `overwrite` only for folders. Call it before any work whose results would have no place.
    """
    known: dict[Path, dict[str, set[str]]] = {}
    foreign: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            continue
        if path.is_dir() and not path.is_symlink():
            raise AlreadyThere("a file must be written here, and there is a folder", "name another file", where=path)
        if overwrite:
            continue
        ours = known.setdefault(path.parent, _read_manifest(path.parent)).get(path.name, set())
        if not ours or path.is_symlink() or not path.is_file() or _digest(path) not in ours:
            foreign.append(path)
    if foreign:
        names = ", ".join(str(path) for path in foreign[:NAMED]) + (", ..." if len(foreign) > NAMED else "")
        raise AlreadyThere(
            f"out must not replace files that contractile did not write, or that have changed since, got {names}",
            "choose another folder, or replace them with --overwrite (overwrite=True)",
        )


@contextmanager
def sole(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; a process that is killed holds it no longer.

    Raises InUse where another one holds it; `doing` completes its sentence, such as "trains into this folder".
    Raises NotWritable where the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        found = os.open(path, os.O_RDWR | os.O_CREAT | SAFELY, 0o666)
    except OSError as error:
        cure = "choose a folder you may write to"
        raise NotWritable(f"cannot be locked ({error.strerror})", cure, where=path) from error
    try:
        free = True
        with suppress(OSError):
            free = _lock(found)
        if not free or not _is_still(path, found):
            raise InUse(f"another process {doing}", "wait until it ends, or choose another folder", where=path.parent)
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()
    finally:
        os.close(found)


def _is_still(path: Path, found: int) -> bool:
    """Whether an open file still has its name: whoever held its lock before may have removed it."""
    with suppress(OSError):
        return os.path.samestat(os.lstat(path), os.fstat(found))
    return False


def _lock(found: int) -> bool:
    """Lock an open file; False where another process holds it. Raises OSError on a file system without locks."""
    try:
        if fcntl is not None:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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


def _enter(path: Path, written: Path) -> None:
    """Add a line to the manifest of a folder. It is there before the file is: a kill between them loses no file."""
    line = "\n" + json.dumps({"file": path.name, "blake2b": _digest(written)}) + "\n"  # the last may be cut short
    found = os.open(path.with_name(MANIFEST), os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFELY, 0o666)
    try:
        os.write(found, line.encode())
        os.fsync(found)
    finally:
        os.close(found)


def _read_manifest(folder: Path) -> dict[str, set[str]]:
    """Name -> the hashes of all that was written under it."""
    written: dict[str, set[str]] = {}
    path = folder / MANIFEST
    with suppress(OSError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return {}
        with path.open("rb") as file:
            lines = file.read(LARGEST).splitlines()
        for line in lines:
            with suppress(ValueError, TypeError, KeyError, RecursionError):  # a line that a kill cut short
                entry = json.loads(line)
                written.setdefault(str(entry["file"]), set()).add(str(entry["blake2b"]))
    return written


def _digest(path: Path) -> str:
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
