"""The only room that imports numba: it compiles sequential loops to machine code, cached on disk between runs."""

from __future__ import annotations

import glob
import hashlib
import logging
import pickle
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.serialize import dumps

Function = TypeVar("Function", bound=Callable[..., Any])

DIGEST = 32  # bytes
ABANDONED = 3600.0  # seconds after which a file that is not finished belongs to a process that was killed

logger = logging.getLogger(__name__)


def compiled(function: Function, **options: Any) -> Function:
    """Compile `function` at its first call and cache the result on disk; it runs without the interpreter lock.

    `options` are those of `numba.njit`, such as fastmath. Where nothing can be kept on disk (a read-only installation
    without a home folder, a full disk, a cache of somebody else), each process compiles anew; so it does where what was
    kept is damaged.
    """
    try:
        dispatcher = numba.njit(cache=True, nogil=True, **options)(function)
    except (RuntimeError, OSError):  # numba: "cannot cache function: no locator available"
        return cast(Function, numba.njit(nogil=True, **options)(function))
    cache: Any = getattr(dispatcher, "_cache", None)
    with suppress(AttributeError):  # a numba that is built in another way keeps files of its own
        cache._cache_file = CodeFiles(cache._cache_file)
    for name in ("load_overload", "save_overload"):
        if hasattr(cache, name):
            setattr(cache, name, _forgiving(getattr(cache, name)))
    return cast(Function, dispatcher)


class CodeFiles:
    """The compiled forms of one function on disk, in numba's folder: one file for each, which begins with a checksum.

    numba's own files have none: a flipped bit in one of them runs as machine code, and a damaged index is never
    mended. The checksum is also that of the source and of the versions, so code of another source does not fit either.
    """

    def __init__(self, files: Any) -> None:
        """`files` are those that numba would use (its IndexDataCacheFile)."""
        self._folder, self._base = Path(files._cache_path), Path(files._index_name).stem
        self._origin = repr((files._source_stamp, numba.__version__))

    def load(self, key: Any) -> Any:
        """What was saved for a key; None where there is nothing, or where it is damaged."""
        path = self._path(key)
        if not path.is_file():
            return None
        content = path.read_bytes()
        if content[:DIGEST] != self._digest(key, content[DIGEST:]):
            logger.info("compiled code is damaged or old, and made again: %s", path)
            return None
        return pickle.loads(content[DIGEST:])

    def save(self, key: Any, data: Any) -> None:
        """Keep `data` for a key. Other processes find the file whole or not at all."""
        content = dumps(data)
        self._remove("part", unused=ABANDONED)
        unfinished = self._folder / f"{self._base}.{secrets.token_hex(8)}.part"
        try:
            with unfinished.open("xb") as file:
                file.write(self._digest(key, content) + content)
            unfinished.replace(self._path(key))
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise

    def flush(self) -> None:
        """Forget all that is kept of this function."""
        self._remove("nbc")

    def _remove(self, kind: str, *, unused: float = 0) -> None:
        """Remove files of this function that nobody wrote to for so many seconds."""
        with suppress(OSError):
            for path in self._folder.glob(f"{glob.escape(self._base)}.{16 * '[0-9a-f]'}.{kind}"):
                if time.time() - path.stat().st_mtime >= unused:
                    path.unlink()

    def _path(self, key: Any) -> Path:
        return self._folder / f"{self._base}.{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.nbc"

    def _digest(self, key: Any, content: bytes) -> bytes:
        digest = hashlib.blake2b(f"{self._origin} {key!r} ".encode(), digest_size=DIGEST)
        digest.update(content)
        return digest.digest()


def _forgiving(use: Callable[..., Any]) -> Callable[..., Any]:
    """A use of the cache that gives None where it fails: numba then compiles, or keeps the result in memory alone."""

    @wraps(use)
    def attempt(*arguments: Any) -> Any:
        try:
            return use(*arguments)
        except Exception as error:  # numba's own errors, and those of a disk
            logger.info("compiled code is not kept: %s", error)
            return None

    return attempt
