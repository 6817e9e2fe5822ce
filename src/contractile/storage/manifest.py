"""The manifest of a folder: a line of JSON for each file that this package wrote into it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from contractile.errors import AlreadyThere
from contractile.storage.locks import SAFELY
from contractile.storage.records import is_described, is_our_folder

MANIFEST = ".contractile.jsonl"
LARGEST = 2**26  # bytes of a manifest that are read: the last ones
PIECE = 2**20  # bytes that are hashed at once
NAMED = 3  # files in an error

Entries = dict[str, set[tuple[str, str]]]  # name -> the hash and the command of all that was written under it


def check_replaceable(
    paths: Iterable[Path], *, overwrite: bool = False, by: str = "", folders: Collection[Path] = ()
) -> None:
    """Raise AlreadyThere where a file exists that `by` did not write (`Claim.by`), or that has changed since.

    `folders` are those of the paths that are going to be folders. With `overwrite` only for folders in the place of
    files, files in the place of folders, and folders that are no Zarr. Call it before any work whose results would
    have no place.
    """
    known: dict[Path, Entries] = {}
    foreign: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            continue
        _check_kind(path, path in folders)
        if overwrite:
            continue
        if path in folders:
            ours = is_our_folder(path, by)
        else:
            known[path.parent] = known.get(path.parent) or _read(path.parent)
            ours = _is_ours(path, known[path.parent].get(path.name, set()), by)
        if not ours:
            foreign.append(path)
    if foreign:
        names = ", ".join(str(path) for path in foreign[:NAMED]) + (", ..." if len(foreign) > NAMED else "")
        raise AlreadyThere(
            f"results must not replace files that this command did not write, or that have changed since, got {names}",
            "choose another place, or replace them with --overwrite (overwrite=True)",
        )


def _check_kind(path: Path, becomes_folder: bool) -> None:
    """Raise AlreadyThere where there is a folder in the place of a file, a file in that of a folder, or no Zarr."""
    is_folder = path.is_dir() and not path.is_symlink()
    if is_folder and not becomes_folder:
        raise AlreadyThere("a file must be written here, and there is a folder", "name another file", where=path)
    if becomes_folder and not is_folder:
        raise AlreadyThere("a folder must be written here, and there is a file", "name another folder", where=path)
    if becomes_folder and not is_described(path):
        problem = "a Zarr must be written here, and there is a folder that is none"
        raise AlreadyThere(problem, "name another folder, or move it away", where=path)


def enter(folder: Path, files: Mapping[str, Path], by: str) -> None:
    """Add a line for each file, by its name, and the temporary one that holds its content.

    It is there before the file is: a kill between them loses no file.
    """
    author = {"by": by} if by else {}
    lines = [json.dumps({"file": name, **author, "blake2b": _digest(path)}) for name, path in files.items()]
    _append(folder / MANIFEST, "\n".join(["", *lines, ""]).encode())  # the last line there may be cut short


def _append(path: Path, text: bytes) -> None:
    found = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | SAFELY, 0o666)
    try:
        while text:
            text = text[os.write(found, text) :]  # a disk that is nearly full takes a part
        os.fsync(found)
    finally:
        os.close(found)


def _is_ours(path: Path, written: Iterable[tuple[str, str]], by: str) -> bool:
    hashes = {found for found, author in written if author == by}
    if not hashes or path.is_symlink() or not path.is_file():
        return False
    with suppress(OSError):
        return _digest(path) in hashes
    return False


def _read(folder: Path) -> Entries:
    written: Entries = {}
    for line in _last_lines(folder / MANIFEST):
        with suppress(ValueError, TypeError, KeyError, RecursionError):  # a line that a kill cut short
            entry: Mapping[str, object] = json.loads(line)
            author = str(entry["by"]) if "by" in entry else ""
            written.setdefault(str(entry["file"]), set()).add((str(entry["blake2b"]), author))
    return written


def _last_lines(path: Path) -> list[bytes]:
    with suppress(OSError):
        found = os.lstat(path)
        if stat.S_ISREG(found.st_mode):
            with path.open("rb") as file:
                file.seek(max(0, found.st_size - LARGEST))
                return file.read(min(found.st_size, LARGEST)).splitlines()
    return []


def _digest(path: Path) -> str:
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            found.update(piece)
    return found.hexdigest()
