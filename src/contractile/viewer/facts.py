"""What is known of an image, and where it is kept: to open a session again, no image has to be looked at."""

from __future__ import annotations

import hashlib
import logging
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from contractile.images import Source
from contractile.viewer.channels import ChannelFacts
from contractile.viewer.lower import Size

logger = logging.getLogger(__name__)

VERSION = 1  # of how facts are found
LARGEST = 2**26  # bytes of a file of facts
METADATA = (".zarray", ".zattrs", "zarr.json")  # by these files the state of a Zarr is known


@dataclass(frozen=True)
class Facts:
    """What is known of an image. `id` is its number, `name` that of its labels, `file` and `page` where it comes from.

    `shape` and `levels` are (Y, X), the first level being the full resolution; `dtype` is the type of what is served.
    """

    id: int
    name: str
    file: str
    page: int
    pages: int
    shape: Size
    channels: tuple[ChannelFacts, ...]
    dtype: str
    levels: tuple[Size, ...]
    pixel_size_um: tuple[float, float] | None


@dataclass(frozen=True)
class _Line:
    key: str
    facts: Facts


_LINE: TypeAdapter[_Line] = TypeAdapter(_Line)


def state_of(source: Source) -> str:
    """What differs where the files of an image have changed, or are read in another way. Raises OSError."""
    return repr(([_state(path) for path in source.files], source.page, axes_of(source)))


def axes_of(source: Source) -> str | None:
    """The letters by which the axes of the file are read; None for those of the file itself."""
    return source.axes or (source.guess.axes if source.guess else None)


def _state(path: Path) -> tuple[Any, ...]:
    found = [path.stat()] if path.is_file() else [(path / name).stat() for name in METADATA if (path / name).exists()]
    return (str(path.absolute()), *((one.st_size, one.st_mtime_ns) for one in found))


class Remembered:
    """Facts that were found before, in a file with a line for each. Without a file, nothing is remembered.

    The file may be removed at any time. A line that cannot be read is as if it were not there.
    """

    def __init__(self, file: Path | None) -> None:
        self._file, self._lock = file, threading.Lock()
        self._known: dict[str, Facts] = {}
        with suppress(OSError):
            if file is not None and file.stat().st_size > LARGEST:
                file.unlink()
            for line in file.read_bytes().splitlines() if file is not None else ():
                with suppress(ValidationError):
                    found = _LINE.validate_json(line)
                    self._known[found.key] = found.facts

    def find(self, source: Source) -> Facts | None:
        """The facts of an image whose files have not changed; None where there are none."""
        with suppress(OSError):
            return self._known.get(_key(source)) if self._known else None
        return None

    def add(self, source: Source, facts: Facts) -> None:
        """Remember the facts of an image, as far as the disk allows it."""
        if self._file is None:
            return
        try:
            line = _LINE.dump_json(_Line(_key(source), facts)) + b"\n"
            with self._lock:
                self._file.parent.mkdir(parents=True, exist_ok=True)
                with self._file.open("ab") as file:
                    file.write(line)
        except OSError as error:
            logger.info("%s: facts of images are not kept (%s)", self._file, error.strerror)


def _key(source: Source) -> str:
    return hashlib.sha256(repr((VERSION, state_of(source))).encode()).hexdigest()[:32]
