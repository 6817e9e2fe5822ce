"""Converted and compiled networks kept on disk between starts. The folder may be deleted at any time."""

from __future__ import annotations

import os
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

LARGEST_CACHE = 2**30  # bytes


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/contractile` (default `~/.cache/contractile`), made and pruned.

    None where no file can be written there, or the user has no home folder.
    """
    with suppress(OSError, RuntimeError):  # RuntimeError: a user who is in no list of users
        named = os.environ.get("XDG_CACHE_HOME", "")
        folder = (Path(named) if os.path.isabs(named) else Path.home() / ".cache") / "contractile"
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not tell
        prune(folder, LARGEST_CACHE)
        return folder
    return None


def prune(folder: Path, limit: int) -> None:
    """Delete the oldest files of a folder and its subfolders until the rest has at most `limit` bytes."""
    with suppress(OSError):  # another process may prune at the same time, or have a file open
        newest = sorted(filter(Path.is_file, folder.rglob("*")), key=lambda path: path.stat().st_mtime, reverse=True)
        total = sum(path.stat().st_size for path in newest)
        while total > limit:
            oldest = newest.pop()
            total -= oldest.stat().st_size
            oldest.unlink()


def read_model(path: Path) -> Any:
    """The `openvino.Model` that `write_model` wrote; None if there is none, or if it is damaged."""
    import openvino

    with suppress(OSError, RuntimeError):
        if path.with_suffix(".sum").read_bytes() == _checksum(path):
            return openvino.Core().read_model(path)
    return None


def write_model(model: Any, path: Path) -> None:
    """Write an `openvino.Model` as `path` (.xml), with weights (.bin) and checksum (.sum) beside it."""
    import openvino

    with suppress(OSError, RuntimeError), tempfile.TemporaryDirectory(dir=path.parent) as folder:  # a disk may be full
        unfinished = Path(folder) / path.name
        openvino.save_model(model, unfinished, compress_to_fp16=False)
        unfinished.with_suffix(".sum").write_bytes(_checksum(unfinished))
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)  # other processes never see an unfinished file


def _checksum(path: Path) -> bytes:
    return str([zlib.crc32(path.with_suffix(suffix).read_bytes()) for suffix in (".xml", ".bin")]).encode()
