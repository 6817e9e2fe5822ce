"""Converted and compiled networks kept on disk between starts. The folder may be deleted at any time.

Each entry is one file that begins with a checksum: what is damaged is not used, but made again. The folder is one that
this package made and marked, and only names of its own pattern are ever deleted there.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import secrets
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

LARGEST_CACHE = 2**30  # bytes
DIGEST = 32  # bytes
ABANDONED = 3600.0  # seconds after which a file that is not finished belongs to a process that was killed
ENTRY = re.compile(r"[0-9a-f]{64}\.(network|compiled|agreement)")
UNFINISHED = re.compile(rf"{ENTRY.pattern}\.[0-9a-f]{{16}}\.part")
# By this file programs know a cache (bford.info/cachedir), and we our own.
MARKER = "CACHEDIR.TAG"
MARK = b"Signature: 8a477f597d28d172789f06886806bc55\n# Made by contractile, which deletes its old networks here.\n"

logger = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/contractile/networks` (default `~/.cache/contractile/networks`), made and marked.

    None where no file can be written there, where the user has no home folder, or where the folder is somebody else's:
    it holds files, and not our mark.
    """
    with suppress(OSError, RuntimeError):  # RuntimeError: a user who is in no list of users
        named = os.environ.get("XDG_CACHE_HOME", "")
        folder = (Path(named) if os.path.isabs(named) else Path.home() / ".cache") / "contractile" / "networks"
        folder.mkdir(parents=True, exist_ok=True)
        if not _is_marked(folder) and not _mark(folder):
            logger.info("networks are not kept: %s holds files, and was not made by contractile", folder)
            return None
        tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not tell
        return folder
    return None


def read_entry(folder: Path, name: str) -> bytes | None:
    """What was written under a name; None where there is nothing, or where it is damaged."""
    path = folder / name
    with suppress(OSError):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > LARGEST_CACHE:
            return None
        content = path.read_bytes()
        if content[:DIGEST] == _digest(name, content[DIGEST:]):
            return content[DIGEST:]
        logger.info("a network that was kept is damaged, and made again: %s", path)
    return None


def write_entry(folder: Path, name: str, content: bytes) -> None:
    """Keep `content` under a name that `ENTRY` matches, and forget the oldest entries. A full disk only costs time.

    Other processes find an entry whole or not at all.
    """
    path = folder / name
    unfinished = path.with_name(f"{name}.{secrets.token_hex(8)}.part")
    try:
        with unfinished.open("xb") as file:
            file.write(_digest(name, content))
            file.write(content)
        unfinished.replace(path)  # not flushed: after a power cut the checksum tells
    except OSError as error:
        logger.info("a network is not kept: %s", error)
        with suppress(OSError):
            unfinished.unlink()
    prune(folder, LARGEST_CACHE)


def prune(folder: Path, limit: int) -> None:
    """Delete the oldest entries of a marked folder until the rest has at most `limit` bytes, and what was abandoned."""
    found: list[tuple[float, int, Path]] = []
    with suppress(OSError):
        for path in folder.iterdir() if _is_marked(folder) else ():
            about = _look(path)
            if about is None:
                continue
            if ENTRY.fullmatch(path.name):
                found.append((about.st_mtime, about.st_size, path))
            elif UNFINISHED.fullmatch(path.name) and time.time() - about.st_mtime > ABANDONED:
                _delete(path)
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total > limit:
            _delete(path)
            total -= size


def _look(path: Path) -> os.stat_result | None:
    """What is known of a regular file; None for anything else, and where another process has deleted it."""
    with suppress(OSError):
        about = path.lstat()
        return about if stat.S_ISREG(about.st_mode) else None
    return None


def _delete(path: Path) -> None:
    with suppress(OSError):  # another process has, or has it open
        path.unlink()


def _is_marked(folder: Path) -> bool:
    marker = folder / MARKER
    return _look(marker) is not None and marker.stat().st_size == len(MARK) and marker.read_bytes() == MARK


def _mark(folder: Path) -> bool:
    """Mark a folder that is empty, or that a full disk has left with the beginning of a mark. False for any other."""
    marker = folder / MARKER
    if any(path.name != MARKER for path in folder.iterdir()):
        return _is_marked(folder)  # another process may just have made it
    if os.path.lexists(marker) and (_look(marker) is None or not MARK.startswith(marker.read_bytes()[: len(MARK)])):
        return False
    marker.write_bytes(MARK)
    return True


def _digest(name: str, content: bytes) -> bytes:
    digest = hashlib.blake2b(name.encode(), digest_size=DIGEST)  # an entry under another's name does not fit
    digest.update(content)
    return digest.digest()
