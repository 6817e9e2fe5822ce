"""A file of many pages stays open between one page and the next: to open it means to look at all its pages.

Nobody shares an open file. Whoever takes it has it alone; a second reader opens the file again.
"""

from __future__ import annotations

import atexit
import os
import stat
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from contractile.images.formats import open_rasters
from contractile.images.gate import limits
from contractile.images.raster import Raster

MOST = 4  # files that wait for their next page: images, labels, predictions, and one more

Key = tuple[object, ...]


@dataclass(frozen=True)
class Opened:
    """The rasters of an open file, for one reader. Call `close` or `keep` after use.

    `key` says which file it is, and in which state; None for a folder (Zarr), whose state nobody can tell.
    """

    key: Key | None
    rasters: list[Raster]
    stack: ExitStack

    def close(self) -> None:
        """Close the file."""
        self.stack.close()

    def keep(self) -> None:
        """Leave the file open for whoever takes it next. Too many waiting files are closed, the oldest first."""
        if self.key is None:
            return self.close()
        with _lock:
            closing = [_waiting.pop(self.key)] if self.key in _waiting else []
            _waiting[self.key] = self
            closing += [_waiting.pop(next(iter(_waiting))) for _ in range(len(_waiting) - MOST)]
        for one in closing:
            one.close()


_waiting: dict[Key, Opened] = {}
_lock = threading.Lock()


@atexit.register
def _close_all() -> None:
    """Close what still waits while all libraries are there: Python takes them away before it ends."""
    while _waiting:
        _waiting.popitem()[1].close()


def take(path: Path, *, dims: int, indices: bool = False, axes: str | None = None) -> Opened:
    """The rasters of a file, opened now or before. Raises what `open_rasters` raises."""
    key = _key(path, dims, indices, axes)
    if key is not None:
        with _lock:
            opened = _waiting.pop(key, None)
        if opened is not None:
            return opened
    with ExitStack() as stack:
        rasters = stack.enter_context(open_rasters(path, dims=dims, indices=indices, axes=axes))
        return Opened(key, rasters, stack.pop_all())


def _key(path: Path, *how: object) -> Key | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None  # whoever opens the file says what is wrong
    if not stat.S_ISREG(found.st_mode):
        return None
    return (os.getpid(), path.absolute(), found.st_ino, found.st_mtime_ns, found.st_size, limits(), *how)
