"""One array of a file, and the one line that a person gets when a file cannot be read."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, OutOfMemory
from contractile.grid import Region, as_slices
from contractile.images.gate import limits
from contractile.images.image import Channel

logger = logging.getLogger(__name__)

AGAIN = "copy the file again or re-export it"
FILL = "--allow-missing reads 0 in the place of what is missing"
DECODERS = ("tifffile", "imagecodecs")  # libraries that log what they find
PAGE = 4096  # bytes that a system reads at once
HARMLESS = re.compile("PNG warning: [a-z]")  # of blocks that no pixel depends on: their names begin so
# what tifffile logs where pixels are lost: it goes on with fewer pages, or with zeros
LOST = re.compile(
    "zeroed|index out of range|reshape|circular|corrupted (file|tag list of page)|invalid (page offset|offset to)"
)


@dataclass(frozen=True)
class Raster:
    """One array of a file. `load()` gives something that reads from disk only the region it is sliced with.

    The last `alpha` elements of axis S are transparency, not signal. `scale` holds micrometres per pixel by axis
    letter, for the axes whose scale the file gives, and `origin` the place of the first pixel, in the same way.
    `interval_s` is the time between two frames in seconds.
    `guessed` says that the file does not name its axes. `notes` are lines for the user about what is left out or
    converted. `files` are all files that hold pixels of this array, where there may be several. `lower()` opens the
    lower resolutions: their axes are those of the file. `channels` says what the file knows of its channels.
    """

    axes: str
    lengths: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Any]
    alpha: int = 0
    scale: dict[str, float] = field(default_factory=dict)
    interval_s: float | None = None
    guessed: bool = False
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    origin: dict[str, float] = field(default_factory=dict)
    lower: Callable[[], Sequence[Raster]] = tuple
    channels: tuple[Channel, ...] = ()

    @classmethod
    def of(cls, axes: str, array: Any, **more: Any) -> Raster:
        """The raster of an array that is open already, and reads only what it is sliced with; `more` are its fields."""
        return cls(axes, tuple(array.shape), array.dtype, partial(_given, array), **more)


def _given(array: Any) -> Any:
    return array


def chunks_of(stored: Any) -> tuple[int, ...]:
    """How many elements along each axis of a stored array are read at once: 1 in memory, a page of a mapped one."""
    found = getattr(stored, "chunks", None)
    if found is not None:
        return tuple(found)
    if not isinstance(stored, np.memmap):
        return (1,) * len(stored.shape)
    pairs = zip(stored.shape, stored.strides, strict=True)
    return tuple(max(1, min(n, PAGE // max(1, abs(step)))) for n, step in pairs)


class Recoloured:
    """An array whose numbers mean something else than pixels: only what is sliced is read and converted.

    `convert` makes new numbers of an array of numbers. Where the array has an axis of samples, `samples` is its place,
    and `convert` gets it behind all others. `new_samples` is its place, and the last of `shape` its length, in the
    result; both are None where there are no samples.
    """

    def __init__(
        self,
        stored: Any,
        shape: tuple[int, ...],
        convert: Callable[[NDArray[Any]], NDArray[Any]],
        samples: int | None = None,
        new_samples: int | None = None,
    ) -> None:
        self.shape = shape
        self._stored, self._convert, self._old, self._new = stored, convert, samples, new_samples
        sides = [*chunks_of(stored)]
        if samples is not None:
            del sides[samples]
        if new_samples is not None:
            sides.insert(new_samples, shape[new_samples])
        self.chunks = tuple(sides)

    def __getitem__(self, region: Region) -> NDArray[Any]:
        parts, taken = as_slices(region, self.shape)
        wanted = [*parts]
        chosen = slice(None) if self._new is None else wanted.pop(self._new)
        if self._old is not None:
            wanted.insert(self._old, slice(None))
        block = np.asarray(self._stored[tuple(wanted)])
        if self._old is not None:
            block = np.moveaxis(block, self._old, -1)
        block = self._convert(block)
        if self._new is not None:
            block = np.moveaxis(block[..., chosen], -1, self._new)
        return block[taken]


class Turned:
    """An array whose first row is no top, or whose first column is no left side. Only what is sliced is read.

    `orientation` is that of TIFF and EXIF: from 5 on axes `y` and `x` are swapped, then some are mirrored. `shape` is
    that of the result.
    """

    def __init__(self, stored: Any, shape: tuple[int, ...], y: int, x: int, *, orientation: int) -> None:
        self.shape = shape
        self._stored, self._swapped = stored, (y, x) if orientation >= 5 else (0, 0)
        sides = [*chunks_of(stored)]
        one, other = self._swapped
        sides[one], sides[other] = sides[other], sides[one]
        self.chunks = tuple(sides)
        self._mirrored = [axis for axis, kinds in ((y, (3, 4, 7, 8)), (x, (2, 3, 6, 7))) if orientation in kinds]

    def __getitem__(self, region: Region) -> NDArray[Any]:
        parts, taken = as_slices(region, self.shape)
        wanted = [*parts]
        for axis in self._mirrored:
            places = range(self.shape[axis])[::-1][parts[axis]]  # from the far end
            wanted[axis] = slice(places[-1], places[0] + 1, -places.step) if places else slice(0, 0)
        one, other = self._swapped
        wanted[one], wanted[other] = wanted[other], wanted[one]
        block = np.asarray(self._stored[tuple(wanted)]).swapaxes(one, other)
        turned: NDArray[Any] = np.flip(block, tuple(self._mirrored))[taken]
        return turned


class Damaged(Exception):
    """What is wrong within a file; `one_clear_line` turns it into the ContractileError that names the file."""


class _Ear(logging.Filter):
    """Keeps what the decoders log in a thread while it reads a file: lines for each file that is being read."""

    def __init__(self) -> None:
        super().__init__()
        self._local = threading.local()
        for name in DECODERS:
            logging.getLogger(name).addFilter(self)

    @property
    def files(self) -> list[list[str]]:
        """What was heard about each of the files that this thread reads, the innermost last."""
        found: list[list[str]] = self._local.__dict__.setdefault("files", [])
        return found

    def filter(self, record: logging.LogRecord) -> bool:
        files, text = self.files, _plain(record.getMessage())
        if files and record.levelno >= logging.WARNING and not HARMLESS.match(text):
            files[-1].append(text)
        return not files


_ear = _Ear()


class _ClearLine:
    """A block that reads a file. A class, since it is entered ten times for a small picture."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heard: list[str] = []

    def __enter__(self) -> None:
        _ear.files.append(self._heard)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        _ear.files.pop()
        if isinstance(error, ContractileError):
            return
        if isinstance(error, MemoryError):
            problem = "memory ran out while it was read"
            raise OutOfMemory(problem, "close other programs or crop it", where=self._path) from error
        if isinstance(error, Exception):
            raise _unreadable(self._path, error) from error
        if error is None and self._heard:
            lost = [text for text in self._heard if LOST.search(text)]
            if lost and not limits().missing:
                raise _unreadable(self._path, lost[0])
            for text in self._heard:
                _warn(self._path, text)


def one_clear_line(path: Path) -> _ClearLine:
    """Turn anything that a decoder raises, and loss that tifffile only logs, into one ContractileError.

    Whatever else a decoder logs becomes a warning that names the file, once.
    """
    return _ClearLine(path)


def _unreadable(path: Path, reason: object) -> ContractileError:
    if isinstance(reason, RecursionError):
        return ContractileError("its metadata are nested too deeply", "export it again", where=path)
    line = f"{_plain(str(reason)) or 'empty file':.120}"
    if isinstance(reason, OSError) and reason.errno is not None:
        return ContractileError(f"cannot be read ({line})", "check the disk and the permissions", where=path)
    if isinstance(reason, NotImplementedError):
        return ContractileError(f"is not read ({line})", "save it in a simpler form", where=path)
    return ContractileError(f"unreadable or truncated ({line})", AGAIN, where=path)


def _plain(text: str) -> str:
    """A library's message on one line, without the names of its objects."""
    return re.sub(r"<[^<>]*>:?\s*", "", " ".join(text.split()))


@lru_cache(maxsize=1024)
def _warn(path: Path, text: str) -> None:
    logger.warning("%s: %s", path, text)
