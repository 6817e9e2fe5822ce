"""One array of a file, and the one line that a person gets when a file cannot be read."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError, OutOfMemory


@dataclass(frozen=True)
class Raster:
    """One array of a file. `load()` gives something that reads from disk only the region it is sliced with.

    The last `alpha` elements of axis S are transparency, not signal. `scale` holds micrometres per pixel by axis
    letter, for the axes whose scale the file gives. `interval_s` is the time between two frames in seconds.
    `guessed` says that the file does not name its axes. `notes` are lines for the user about what is left out or
    converted.
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


@contextmanager
def one_clear_line(path: Path) -> Iterator[None]:
    """Turn anything that a decoder raises, and damage that tifffile only logs, into one ContractileError."""
    logger = logging.getLogger("tifffile")
    complaints: list[str] = []
    thread = threading.get_ident()

    def catch(record: logging.LogRecord) -> bool:
        mine = record.thread == thread
        if mine and record.levelno >= logging.ERROR:
            complaints.append(record.getMessage())
        return not mine

    logger.addFilter(catch)
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory("memory ran out while it was read", "close other programs or crop it", where=path) from error
    except Exception as error:
        raise _unreadable(path, str(error)) from error
    finally:
        logger.removeFilter(catch)
    serious = [text for text in complaints if re.search("page|corrupt|reshape|circular", text)]
    if serious:
        raise _unreadable(path, serious[0])


def _unreadable(path: Path, reason: str) -> ContractileError:
    line = re.sub(r"<[^<>]*>:?\s*", "", " ".join(reason.split())) or "empty file"
    problem = f"unreadable or truncated ({line:.120})"
    return ContractileError(problem, "copy the file again or re-export it", where=path)
