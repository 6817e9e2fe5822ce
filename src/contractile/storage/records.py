"""The record in a folder that this package wrote: by whom, and what was in it. It moves with the folder.

A folder of results (a Zarr) may lie inside of somebody else's Zarr, whose own folders must hold nothing but Zarr. So
what the manifest says of files, a folder says of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from contractile.storage.locks import SAFELY

RECORD = ".contractile.json"
DESCRIBING = frozenset(("zarr.json", ".zarray", ".zattrs", ".zgroup"))  # metadata: their contents count
LARGEST = 2**26  # bytes of metadata, and of a record, that are read
DEEPEST = 32  # folders within folders


def write_record(folder: Path, place: str, by: str) -> None:
    """Write who made a folder, and what is in it now, into `place` in it. Raises OSError."""
    author = {"by": by} if by else {}
    text = json.dumps({**author, "blake2b": digest_folder(folder)}) + "\n"
    found = os.open(folder / place / RECORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFELY, 0o666)
    with open(found, "w", encoding="utf-8") as file:
        file.write(text)


def is_our_folder(folder: Path, by: str) -> bool:
    """Whether `by` wrote this folder, and all in it is as it was written."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):
        now = digest_folder(folder)
        for path in (folder / name for name, _ in _files(folder) if Path(name).name == RECORD):
            entry = json.loads(_read(path))
            if entry["blake2b"] == now and entry.get("by", "") == by:
                return True
    return False


def is_described(folder: Path) -> bool:
    """Whether a folder is a Zarr, or empty: what may be replaced as a whole where somebody asks for it."""
    with suppress(OSError):
        names = set(os.listdir(folder))
        return not names or bool(names & DESCRIBING)
    return False


def digest_folder(folder: Path) -> str:
    """A hash of the names, kinds, sizes and times of all files, and of the contents of metadata. Raises OSError.

    The content of chunks is not read: a folder may hold more than can be read in a reasonable time.
    """
    found = hashlib.blake2b(digest_size=16)
    for name, entry in sorted(_files(folder), key=lambda pair: pair[0]):
        path = folder / name
        if path.name == RECORD:
            continue
        plain = stat.S_ISREG(entry.st_mode)
        described = plain and path.name in DESCRIBING
        what = hashlib.blake2b(_read(path)).hexdigest() if described else str(entry.st_mtime_ns)
        line = (name, str(stat.S_IFMT(entry.st_mode)), str(entry.st_size), what)
        found.update("\0".join(line).encode("utf-8", "surrogateescape") + b"\n")
    return found.hexdigest()


def _files(folder: Path, prefix: str = "", deep: int = DEEPEST) -> Iterator[tuple[str, os.stat_result]]:
    """What is in a folder and in the folders in it, links not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False) and deep:
                yield from _files(folder / entry.name, f"{name}/", deep - 1)
            else:
                yield name, entry.stat(follow_symlinks=False)


def _read(path: Path) -> bytes:
    found = os.open(path, os.O_RDONLY | SAFELY)
    with open(found, "rb") as file:
        size = os.fstat(found)
        return file.read(min(size.st_size, LARGEST)) if stat.S_ISREG(size.st_mode) else b""
