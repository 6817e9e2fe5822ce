"""Lower resolutions of large images, made in the background: block by block, in a process of its own.

The process has the least right to the processor, so that nobody who looks at an image waits for it, and ends with this
one. What it makes is an OME-Zarr in the folder of the cache, which appears as a whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.images import Source, ZarrSink, limited, open_image
from contractile.images.gate import limits
from contractile.images.pyramid import mean, shrink
from contractile.process import apart, end_with_parent
from contractile.storage import sweep
from contractile.viewer.facts import axes_of, state_of
from contractile.viewer.lower import HALF
from contractile.work.local_workers import THREADS

logger = logging.getLogger(__name__)

PROGRAM = (
    "import json, sys; told = json.loads(sys.stdin.buffer.readline()); sys.path[:] = told['path']; "
    "from contractile.viewer.pyramids import serve; serve(told)"
)
BLOCK = 2048  # pixels along Y and X that are made at once
SPARE = 1.5  # times the uncompressed size that must be free on the disk


@dataclass(frozen=True)
class Job:
    """Make the lower resolutions of level `level` of a source, at `path`."""

    source: Source
    level: int
    path: Path


def path_of(source: Source, shape: tuple[int, ...], level: int, folder: Path) -> Path:
    """Where the lower resolutions of an image lie. A file that has changed has another place. Raises OSError."""
    known = repr((state_of(source), shape, level))
    return folder / f"{hashlib.sha256(known.encode()).hexdigest()[:32]}.zarr"


class Maker:
    """Makes lower resolutions one after the other, the one that was asked for last first. `done` is told of each."""

    def __init__(self, done: Callable[[int], None]) -> None:
        self._done = done
        self._waiting: dict[int, Job] = {}
        self._tried: set[int] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def ask(self, number: int, job: Job) -> None:
        """Make these for image `number`. What was tried before is not tried again."""
        with self._changed:
            if self._closed or number in self._tried:
                return
            self._waiting.pop(number, None)
            self._waiting[number] = job
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="contractile pyramids", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """End the process at once; what is unfinished is removed."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            if self._process is not None:
                self._process.kill()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                if self._closed:
                    return
                number, job = self._waiting.popitem()
                self._tried.add(number)
                process = self._process = _start(job)
            assert process.stdin is not None
            assert process.stderr is not None
            complaint = process.stderr.read().decode(errors="replace").strip()
            status = process.wait()
            process.stdin.close()
            process.stderr.close()
            with self._changed:
                self._process = None
                closed = self._closed
            if closed:
                sweep(job.path.parent)
            elif status:
                last = complaint.rpartition("\n")[2] or f"status {status}"
                logger.warning("%s: its lower resolutions could not be made: %s", job.source.path, last)
            else:
                self._done(number)


def _start(job: Job) -> subprocess.Popen[bytes]:
    source, bounds = job.source, limits()
    told = {
        "files": [str(path.absolute()) for path in source.parts],
        "file": str(source.path.absolute()),
        "name": source.name,
        "page": source.page,
        "axes": axes_of(source),
        "level": job.level,
        "to": str(job.path.absolute()),
        "pixels": bounds.pixels,
        "missing": bounds.missing,
        "path": sys.path,
    }
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **dict.fromkeys(THREADS, "1")},
        **apart(),  # Ctrl-C is for this process, which ends the other
    )
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.flush()
    except OSError:
        pass  # it has ended; whoever waits for it says so
    return process


def serve(told: dict[str, Any]) -> None:
    """The work of the process: what `_start` tells it. It ends when the process that started it does."""
    logging.disable(logging.WARNING)  # the other process has said what there is to say about the file
    end_with_parent(1)
    if hasattr(os, "nice"):
        os.nice(19)
    parts = tuple(map(Path, told["files"]))
    source = Source(told["name"], Path(told["file"]), told["page"], told["axes"], parts=parts)
    try:
        with limited(pixels=told["pixels"], missing=told["missing"]):
            make(Job(source, told["level"], Path(told["to"])))
    except ContractileError as error:
        sys.exit(str(error))


def make(job: Job) -> None:
    """Make the lower resolutions of an image: means of 2 x 2 pixels. No more than a few blocks are in memory.

    Raises ContractileError where the image cannot be read, and where the disk has no room or cannot be written.
    """
    with open_image(job.source) as image:
        full = image.levels[job.level]
        channels, (y, x) = full.shape[0], [math.ceil(n / 2) for n in full.shape[1:]]
        _check_room(math.ceil(channels * y * x * full.dtype.itemsize * SPARE), job.path.parent)
        with ZarrSink(job.path, (channels, y, x), full.dtype, axes="CYX") as sink:
            sides = [unit * max(1, BLOCK // unit) for unit in sink.unit[1:]]
            together = channels if channels <= 4 else 1  # samples of a colour lie in one tile
            starts = product(range(0, y, sides[0]), range(0, x, sides[1]), range(0, channels, together))
            for down, across, first in starts:
                region = (
                    slice(first, min(first + together, channels)),
                    slice(down, min(down + sides[0], y)),
                    slice(across, min(across + sides[1], x)),
                )
                shrink(full, sink, region, HALF, mean)


def _check_room(needed: int, folder: Path) -> None:
    """Raise ContractileError where the disk of a folder, or of the folder that it will lie in, has no room."""
    there = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        problem = f"its lower resolutions take up to {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        raise ContractileError(problem, "make room on the disk", where=folder)
