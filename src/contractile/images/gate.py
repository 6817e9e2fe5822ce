"""The gate in front of all readers: what may be opened, and how much of it, before any decoder sees it.

A small file can declare, or decode to, more than any machine holds. So sizes are looked at first, and a decoder gets
the size that was declared as its limit. Only plain files are opened: a pipe or a device may never end.
"""

from __future__ import annotations

import math
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from contractile.errors import ContractileError
from contractile.memory import free_memory

KINDS = {
    stat.S_IFIFO: "a named pipe (FIFO)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
SPARE = 2**26  # bytes of a picture's file that are no pixels
BYTES = 8  # of one pixel, in all its samples; larger pixels count as several
SMALL = 2**26  # bytes that are always there: asking the system takes longer than reading a page of them
CURE = "if the file is what it should be"


@dataclass(frozen=True)
class Limits:
    """What is read at most.

    `pixels` are those of one piece that is decoded at once: a whole picture, or a strip, tile or chunk. An image that
    is read region by region may be larger as a whole. `pages` are those of a file, `chunks` those of an array (the
    files of a Zarr, the strips or tiles of a page), `metadata` the bytes of one text of metadata (JSON, XML). With
    `missing` parts that a file lacks are read as 0 and said; else such a file is refused.
    """

    pixels: int = 2**28
    pages: int = 2**20
    chunks: int = 2**22
    metadata: int = 2**26
    missing: bool = False

    def __post_init__(self) -> None:
        for name in ("pixels", "pages", "chunks", "metadata"):
            if getattr(self, name) < 1:
                raise ContractileError(f"{name} must be at least 1, got {getattr(self, name)}", "leave it out")


_current = Limits()
_lock = threading.Lock()


def limits() -> Limits:
    """What is read at most at this moment."""
    return _current


@contextmanager
def limited(*, pixels: int | None = None, missing: bool | None = None) -> Iterator[Limits]:
    """Other limits within the `with` block, in all threads of the process. None leaves a limit as it is.

    Raises ContractileError for `pixels` below 1.
    """
    global _current
    with _lock:
        before = _current
        changes = {"pixels": pixels, "missing": missing}
        _current = replace(before, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
        now = _current
    try:
        yield now
    finally:
        with _lock:
            _current = before


def what_is(mode: int) -> str | None:
    """What something is that is neither a file nor a folder, by the mode that `os.stat` gives; None for these two."""
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else KINDS.get(stat.S_IFMT(mode), "no file")


def check_regular(path: Path) -> None:
    """Raise ContractileError where `path` is neither a file nor a folder. What is not there passes."""
    try:
        what = what_is(os.stat(path).st_mode)
    except OSError:
        return  # whoever opens it says why it cannot
    if what is not None:
        raise refuse_special(what, path)


def refuse_special(what: str, path: Path) -> ContractileError:
    """The error for a pipe, a device or a socket."""
    link = " (by a link)" if path.is_symlink() else ""
    return ContractileError(f"is {what}{link}, not a file, and is not opened", "give a file", where=path)


def check_piece(what: str, sides: Sequence[int], path: Path, *, pixel_bytes: int = 1) -> None:
    """Raise ContractileError where one piece that is decoded at once, such as "a tile", has too many pixels.

    `sides` are its lengths along the axes of space, `pixel_bytes` the bytes of all samples of a pixel.
    """
    pixels, most = math.prod(sides) * math.ceil(pixel_bytes / BYTES), limits().pixels
    if pixels <= most:
        return
    size = " x ".join(str(n) for n in sides)
    heavy = f" of {pixel_bytes} bytes" if pixel_bytes > BYTES else ""
    problem = f"{what} has {size} pixels{heavy}; at most {most} pixels are decoded at once"
    raise ContractileError(problem, f"{CURE}, allow them with --max-pixels {pixels}", where=path)


def check_size(path: Path) -> None:
    """Raise ContractileError for a file of more bytes than a picture of the allowed pixels can have. Raises OSError."""
    size, most = os.stat(path).st_size, BYTES * limits().pixels + SPARE
    if size > most:
        problem = f"has {size} bytes, more than the {most} of the largest picture that is read"
        raise ContractileError(problem, f"{CURE}, save it as TIFF in tiles", where=path)


def check_pages(pages: int, path: Path) -> None:
    """Raise ContractileError for a file of too many pages, before anybody lists them."""
    if pages > limits().pages:
        problem = f"has {pages} pages; at most {limits().pages} are read from a file"
        raise ContractileError(problem, f"{CURE}, save it as several files", where=path)


def check_chunks(what: str, count: int, path: Path) -> None:
    """Raise ContractileError for an array of too many pieces; `what` is "chunks", say."""
    if count > limits().chunks:
        problem = f"is stored in {count} {what}; at most {limits().chunks} are read"
        raise ContractileError(problem, f"{CURE}, save it with larger {what}", where=path)


def check_metadata(size: int, path: Path) -> None:
    """Raise ContractileError for metadata of too many bytes."""
    if size > limits().metadata:
        problem = f"has {size} bytes of metadata; at most {limits().metadata} are read"
        raise ContractileError(problem, "export the image again", where=path)


def read_metadata(file: Path) -> bytes:
    """What is in a file of metadata. Raises ContractileError for one that is too large or no file, OSError."""
    found = os.stat(file)
    what = what_is(found.st_mode)
    if what is not None:
        raise refuse_special(what, file)
    check_metadata(found.st_size, file)
    return file.read_bytes()


def check_memory(size: int, what: str, where: object) -> None:
    """Raise ContractileError where `size` bytes are more than the free memory; `what` needs them: "the image"."""
    if size <= SMALL:
        return
    free = free_memory()
    if size > free:
        problem = f"{what} takes {size / 1e9:,.1f} GB of memory, and {free / 1e9:,.1f} GB are free"
        raise ContractileError(problem, "crop it, or use a machine with more memory", where=where)


def check_xml(text: str, path: Path) -> str:
    """The text of an XML, which may be parsed. Raises ContractileError for entities: they can grow without end."""
    check_metadata(len(text), path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        problem = "its XML defines a document type or entities, which are not read"
        raise ContractileError(problem, "export the image again with another program", where=path)
    return text
