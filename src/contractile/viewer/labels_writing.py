"""Annotation -> label files that `train` takes as they are, written behind the person who paints.

The journal is the truth; these files follow it. An image has a TIFF, which is replaced as a whole. A large one has an
OME-Zarr, of which only the tiles are written that changed, so that a stroke on it costs no more than on a small one.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from contractile.errors import AlreadyThere, ContractileError, NotFinished
from contractile.images import write_labels
from contractile.storage import check_replaceable, replacing_folder, telling
from contractile.storage.files import flush
from contractile.viewer.canvas import TILE, UNKNOWN, Labels, Region
from contractile.viewer.journal import Mark

logger = logging.getLogger(__name__)

IN_MEMORY = 2**26  # pixels of an image; a larger one has an OME-Zarr
DELAY_S = 0.3  # from a change to its file, so that quick ones are written together
REST = 4  # times as long as the last writing took: no processor is kept busy by large files
FULL = "0"  # the folder of the full resolution
OWNER = "contractile_session"  # in the metadata of a Zarr: whose labels it holds


class Annotated(Protocol):
    """What is written, by the name of an image."""

    def shape(self, name: str) -> tuple[int, int]:
        """The size of an image."""
        ...

    def state(self, name: str) -> tuple[int, Sequence[Region]]:
        """The last change of an image, and the tiles in which something is known."""
        ...

    def part(self, name: str, region: Region) -> Labels:
        """The labels of a region."""
        ...


class LabelFiles:
    """The label files of a session, in a folder. `owner` is the session, by a name that no other one has.

    A thread writes what was announced by `changed`; `flush` waits for it. `marks` are what the journal remembers of
    each file, and `mark` writes that down. A file that somebody else wrote or changed is not replaced.
    """

    def __init__(
        self,
        folder: Path,
        source: Annotated,
        owner: str,
        marks: dict[str, Mark | None],
        mark: Callable[[str, Mark | None], None],
    ) -> None:
        self.folder = folder
        self._source, self._owner, self._marks, self._mark = source, owner, marks, mark
        self._waiting: dict[str, list[Region]] = {}  # what changed since it was written
        self._fresh: set[str] = set()  # images whose Zarr holds all but what is waiting
        self._problem: Exception | None = None
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._news, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="contractile-labels", daemon=True)
        self._thread.start()

    def changed(self, name: str, regions: Sequence[Region]) -> None:
        """Announce a change of an image."""
        with self._lock:
            self._waiting.setdefault(name, []).extend(regions)
        self._news.set()

    def check(self, names: Sequence[str], *, anew: bool = False) -> None:
        """Write the files of those images that do not hold their last change, or `anew` of all. Raises as `flush`."""
        for name in names:
            change, tiles = self._source.state(name)
            known = self._marks.get(name)
            is_whole = known is not None and known == self._found(name, change) and not anew
            if tiles and is_whole:
                self._fresh.add(name)
            elif tiles or known is not None or (anew and self.path(name).exists()):
                self._waiting.setdefault(name, [])
        self.flush()

    def flush(self) -> None:
        """Write all that was announced. Raises AlreadyThere, NotWritten, NotWritable, or what else went wrong."""
        self._write_all()
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """End the thread."""
        self._closed = True
        self._news.set()
        self._thread.join()

    def close(self) -> None:
        """Write all that was announced, and end the thread. Raises as `flush`."""
        self.stop()
        self.flush()

    def path(self, name: str) -> Path:
        """The label file of an image."""
        return self.folder / f"{name}{'.zarr' if self._is_large(name) else '.tif'}"

    def _run(self) -> None:
        while not self._closed:
            self._news.wait()
            self._news.clear()
            time.sleep(0 if self._closed else DELAY_S)
            before = time.monotonic()
            self._write_all()
            end = time.monotonic() + REST * (time.monotonic() - before)
            while not self._closed and time.monotonic() < end:
                time.sleep(min(DELAY_S, max(0.0, end - time.monotonic())))

    def _write_all(self) -> None:
        with self._writing:
            with self._lock:
                waiting, self._waiting, former = self._waiting, {}, self._problem
            self._problem = None
            for name, regions in waiting.items():
                try:
                    self._write(name, regions)
                except Exception as error:  # told by `flush`; the journal has it all, and it is tried again
                    self._fail(name, regions, error, former)

    def _fail(self, name: str, regions: list[Region], error: Exception, former: Exception | None) -> None:
        with self._lock:
            self._waiting[name] = regions + self._waiting.get(name, [])
        self._problem = error
        if not isinstance(error, ContractileError):
            logger.exception("the label file of %s could not be written", name)
            self._problem = NotFinished("the label file could not be written", "report it", where=self.path(name))
        elif former is None or str(former) != str(error):
            logger.warning("%s", error)

    def _write(self, name: str, regions: Sequence[Region]) -> None:
        change, tiles = self._source.state(name)
        if self._is_large(name):
            self._write_zarr(name, regions, tiles)
        else:
            self._check_ours(name)
            if tiles:
                write_labels(self.path(name), self._source.part(name, self._all(name)))
            else:
                _remove(self.path(name))
        mark = self._found(name, change)
        self._marks[name] = mark
        self._mark(name, mark)

    def _check_ours(self, name: str) -> None:
        """Raise AlreadyThere where the TIFF of an image is not as it was written."""
        path, known = self.path(name), self._marks.get(name)
        if path.exists() and (known is None or known != self._found(name, known[0])):
            try:
                check_replaceable([path])
            except AlreadyThere as error:
                raise _not_ours(path) from error

    def _found(self, name: str, change: int) -> Mark | None:
        """The mark of a file that holds a change, as it is on the disk now; None where it is not there."""
        with suppress(OSError):
            path = self.path(name)
            found = (path / FULL if self._is_large(name) else path).stat()
            return (change, 0, 0) if self._is_large(name) else (change, found.st_size, found.st_mtime_ns)
        return None

    def _write_zarr(self, name: str, regions: Sequence[Region], tiles: Sequence[Region]) -> None:
        path = self.path(name)
        if path.exists() and _owner_of(path) != self._owner:
            raise _not_ours(path)
        if not tiles:
            with telling(path):
                shutil.rmtree(path, ignore_errors=True)
            self._fresh.discard(name)
        elif name in self._fresh and path.exists():
            with telling(path):
                self._write_tiles(name, path, _tiles_in(regions, self._source.shape(name)))
        else:
            with replacing_folder(path, record=FULL) as folder:
                _create(folder, self._source.shape(name), name, self._owner)
                self._write_tiles(name, folder, tiles)
            self._fresh.add(name)

    def _write_tiles(self, name: str, folder: Path, tiles: Sequence[Region]) -> None:
        import zarr  # slow to load, and small images need none

        array = zarr.open_array(folder / FULL, mode="r+", use_consolidated=False)
        for region in tiles:
            array[region] = self._source.part(name, region)
            chunk = folder / FULL / "c" / f"{region[0].start // TILE}" / f"{region[1].start // TILE}"
            if chunk.exists():  # a tile of which nothing is known has none
                flush(chunk)

    def _is_large(self, name: str) -> bool:
        height, width = self._source.shape(name)
        return height * width > IN_MEMORY

    def _all(self, name: str) -> Region:
        height, width = self._source.shape(name)
        return slice(0, height), slice(0, width)


def _not_ours(path: Path) -> AlreadyThere:
    problem = "this label file was not written by this session, or was changed since, and is not replaced"
    return AlreadyThere(problem, "move it away; a new session can begin with it", where=path)


def _remove(path: Path) -> None:
    with telling(path):
        path.unlink(missing_ok=True)


def _tiles_in(regions: Sequence[Region], shape: tuple[int, int]) -> list[Region]:
    """The tiles that regions touch, each once."""
    found = {
        (y, x)
        for region in regions
        for y in range(region[0].start // TILE, -(-region[0].stop // TILE))
        for x in range(region[1].start // TILE, -(-region[1].stop // TILE))
    }
    sides = [
        [slice(k * TILE, min((k + 1) * TILE, n)) for k, n in zip(key, shape, strict=True)] for key in sorted(found)
    ]
    return [(y, x) for y, x in sides]


def _create(folder: Path, shape: tuple[int, int], name: str, owner: str) -> None:
    """An OME-Zarr of labels, of which nothing is known yet."""
    import zarr
    from zarr.codecs import BloscCodec

    from contractile.images.zarr_describing import Facts, Scale, attributes, describe_image, describe_labels
    from contractile.images.zarr_layout import Level, lay_out

    grid = lay_out(shape, "YX", None, sharded=False)
    image = describe_image(name, grid, [Level(shape, (0, 0))], Scale({}, {}), "nearest")
    described: dict[str, Any] = attributes(image | describe_labels(Facts(), inside=False), "0.5")
    zarr.create_group(folder, zarr_format=3, attributes=described | {OWNER: owner})
    zarr.create_array(
        folder / FULL,
        shape=shape,
        dtype=np.int32,
        chunks=(min(TILE, shape[0]), min(TILE, shape[1])),
        fill_value=UNKNOWN,
        zarr_format=3,
        dimension_names=["y", "x"],
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
    )


def _owner_of(path: Path) -> str | None:
    """The session that wrote a Zarr; None where none did."""
    import zarr

    with suppress(Exception):
        return str(dict(zarr.open_group(path, mode="r").attrs).get(OWNER))
    return None
