"""OME-Zarr written region by region, with its lower resolutions: labels, probabilities, images."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any, Self

import numpy as np
import zarr
from numcodecs import Blosc as OldBlosc  # type: ignore[import-untyped]
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zarr.codecs import BloscCodec

from contractile.errors import ContractileError
from contractile.grid import Region, as_slices
from contractile.images.image import Shape, Stack
from contractile.images.pyramid import majority, mean, shrink
from contractile.images.streaming import check_fit
from contractile.images.zarr_describing import (
    VERSIONS,
    Facts,
    Scale,
    attributes,
    describe_channels,
    describe_image,
    describe_labels,
)
from contractile.images.zarr_layout import SHARD, SPACE, Grid, Level, check_aligned, factors, lay_out, levels
from contractile.images.zarr_place import container_of, register, version_in
from contractile.storage import replacing_folder, telling

logger = logging.getLogger(__name__)

THREADS = 2  # blocks that are in memory at a time; Zarr compresses the chunks of each in more threads
FULL = "0"  # the folder of the full resolution
COMPRESSION = {"cname": "zstd", "clevel": 1, "shuffle": "shuffle"}
OLD_COMPRESSION = {"cname": "zstd", "clevel": 1, "shuffle": OldBlosc.SHUFFLE}
SIZES_DIFFER = "pages have pixels of different sizes, and an OME-Zarr holds one size: none is written"


@dataclass(frozen=True)
class ZarrTarget:
    """The array of a `ZarrSink` that is being written: small, and made to be sent to other processes.

    `target[region] = values` as in the sink; any number of threads and processes may write regions that do not overlap.
    """

    path: Path  # the name that the whole will have
    folder: Path
    shape: Shape
    pages: Shape  # lengths of the axes that count pages; empty where there is one page
    grid: Grid

    @property
    def unit(self) -> Shape:
        """What one write must cover, in the axes of `shape`: blocks that begin and end at multiples of it."""
        of_page = dict(zip(self.grid.order, self.grid.unit, strict=True))
        page = tuple(of_page[axis] for axis in range(len(self.pages), len(of_page)))
        return (1, *page) if self.pages else page

    def __setitem__(self, region: Region, values: ArrayLike) -> None:
        parts, taken = as_slices(region, self.shape)
        check_aligned(parts, self.unit, self.shape)
        lengths = tuple(part.stop - part.start for part in parts)
        block = np.asarray(values)
        if block.ndim == sum(isinstance(key, slice) for key in taken):  # axes given by a number have no place in it
            block = block[tuple(slice(None) if isinstance(key, slice) else None for key in taken)]
        block = np.broadcast_to(block, lengths)
        with telling(self.path):
            array = zarr.open_array(self.folder, mode="r+", use_consolidated=False)
            check_fit(block, array.dtype)
            for index, page in self._pages(parts, block):
                array[index] = page.astype(array.dtype, copy=False)

    def _pages(self, parts: tuple[slice, ...], block: NDArray[Any]) -> Iterator[tuple[Any, NDArray[Any]]]:
        """The places of pages in the file, and their values in the order of its axes."""
        count = len(self.pages)
        inner = parts[1:] if self.pages else parts
        order = [axis - count for axis in self.grid.order if axis >= count]
        for number in range(parts[0].start, parts[0].stop) if self.pages else [None]:
            places = () if number is None else tuple(map(int, np.unravel_index(number, self.pages)))
            given = (*places, *inner)
            page = block if number is None else block[number - parts[0].start]
            yield tuple(given[axis] for axis in self.grid.order), page.transpose(order)


class ZarrSink:
    """An OME-Zarr that is written region by region, and appears as a whole when it is closed.

    `shape` is (*page) or, with a `stack`, (P, *page); `axes` has a letter for each axis of a page, such as "YX" or
    "CZYX". Integers without channels are labels, all else is an image. Regions are in the axes of `shape`; each write
    must cover whole `unit`s, in any order and from any number of threads. Other processes write by `sink.target`.
    What is not written stays 0.

    `sink.facts` may be given as late as before `close`, which makes the lower resolutions (labels by majority, images
    by the mean), writes the metadata and lets the folder appear. So does the end of a `with` block; an exception in it
    leaves nothing. Where the path is IMAGE.zarr/labels/NAME, the label image gets the version of that image and is
    entered into its list. Inside of `Claim.together` all this appears at its end.

    Version 0.5 is Zarr 3, in shards where the array is larger than one block. 0.4 is Zarr 2.
    Raises ContractileError at once for a shape, axes or a version that such a file cannot have, and NotWritten or
    NotWritable where the folder cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: Shape,
        dtype: DTypeLike,
        *,
        axes: str,
        stack: Stack | None = None,
        version: str | None = None,
    ) -> None:
        self.path, self.shape, self.dtype = Path(path), tuple(shape), np.dtype(dtype)
        self.axes, self.stack, self.facts = axes, stack, Facts()
        self._container = container_of(self.path)
        self.version = _choose_version(version, self._container)
        self.is_labels = self.dtype.kind in "ui" and "C" not in axes
        grid = lay_out(self.shape, axes, stack, sharded=self.version == "0.5")
        self._open = ExitStack()
        self._folder = self._open.enter_context(replacing_folder(self.path, record=FULL))
        pages = stack.lengths if stack else ()
        self.target = ZarrTarget(self.path, self._folder / FULL, self.shape, pages, grid)
        try:
            with telling(self.path):
                self._create(FULL, grid)
        except BaseException:
            self.drop()
            raise

    @property
    def unit(self) -> Shape:
        """What one write must cover, in the axes of `shape`: blocks that begin and end at multiples of it."""
        return self.target.unit

    def __setitem__(self, region: Region, values: ArrayLike) -> None:
        self.target[region] = values

    def finished(self, block: object) -> None:
        """Mark a block as done. This sink keeps no record: the folder has no name before all of it is done."""

    def close(self) -> None:
        """Make the lower resolutions and let the folder appear. Raises NotWritten, NotWritable, ContractileError."""
        with self._open.pop_all():
            scale = find_scale(self.facts, self.target.grid.axes, self.stack, self.path)
            found = levels(self.target.grid, dict(scale.sizes))
            self._add_resolutions(found)
            zarr.create_group(
                self._folder,
                zarr_format=3 if self.version == "0.5" else 2,
                attributes=attributes(self._describe(scale, found), self.version),
            )
        if self._container is not None and self.is_labels:
            register(self.path)

    def _describe(self, scale: Scale, found: Sequence[Level]) -> dict[str, Any]:
        method = "majority" if self.is_labels else "mean"
        described = describe_image(self.path.stem, self.target.grid, found, scale, method)
        if self.is_labels:
            return described | describe_labels(self.facts, inside=self._container is not None)
        if not self.facts.channels:
            return described
        count = self.shape[-len(self.axes) :][self.axes.index("C")] if "C" in self.axes else 1
        return described | describe_channels(self.facts.channels, count)

    def _create(self, name: str, grid: Grid) -> zarr.Array:
        """An array of zeros. What is 0 in labels is not stored; of pixels, a reader could not tell it from a loss."""
        old = self.version == "0.4"
        chosen: dict[str, Any] = {
            "zarr_format": 2 if old else 3,
            "chunk_key_encoding": {"name": "v2" if old else "default", "separator": "/"},
            "compressors": OldBlosc(**OLD_COMPRESSION) if old else BloscCodec(**COMPRESSION),
        }
        if not old:
            chosen["dimension_names"] = [letter.lower() for letter in grid.axes]
        return zarr.create_array(
            self._folder / name,
            shape=grid.lengths,
            dtype=self.dtype,
            chunks=grid.chunk,
            shards=grid.unit if grid.is_sharded else None,
            fill_value=0,
            config={"write_empty_chunks": not self.is_labels},
            **chosen,
        )

    def _add_resolutions(self, found: Sequence[Level]) -> None:
        source = zarr.open_array(self._folder / FULL, mode="r")
        for number, (above, level) in enumerate(pairwise(found), start=1):
            grid = self.target.grid.resized(level.lengths)
            target, reduce = self._create(f"{number}", grid), majority if self.is_labels else mean
            _do_all(partial(shrink, source, target, factors=factors(above, level), reduce=reduce), grid.regions())
            source = target

    def drop(self) -> None:
        """Leave nothing of it."""
        self._open.pop_all().__exit__(GeneratorExit, GeneratorExit(), None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close() if kind is None else self.drop()


def pour(values: Any, sink: ZarrSink) -> None:
    """Write all of `values`, of the shape of the sink, block by block. Threads read them by `values[region]`."""
    space = sum(letter != "C" for letter in sink.axes)
    blocks = iter(SHARD[min(space, 3)])  # all channels of a block at once
    of_page = [n if letter == "C" else 0 for n, letter in zip(sink.shape[-len(sink.axes) :], sink.axes, strict=True)]
    sides = [1] * (len(sink.shape) - len(of_page)) + [n or next(blocks) for n in of_page]

    def write(place: Shape) -> None:
        ends = zip(place, sides, sink.shape, strict=True)
        region = tuple(slice(start, min(start + side, n)) for start, side, n in ends)
        sink[region] = values[region]

    _do_all(write, product(*(range(0, n, side) for n, side in zip(sink.shape, sides, strict=True))))


def _do_all(function: Callable[[Any], None], items: Iterable[Any]) -> None:
    """Call a function for all items, in a few threads; nothing is begun any more after an error, which is raised."""
    with ThreadPoolExecutor(THREADS, "contractile") as pool:
        begun = [pool.submit(function, item) for item in items]
        try:
            for one in begun:
                one.result()
        finally:
            pool.shutdown(cancel_futures=True)


def find_scale(facts: Facts, axes: str, stack: Stack | None, path: Path) -> Scale:
    """What is known of steps and places along the axes of the file at `path`."""
    size = facts.pixel_size_um
    if isinstance(size, list):
        if len(set(size)) > 1:
            logger.warning("%s: %s", path, SIZES_DIFFER)
        size = size[0] if len(set(size)) == 1 else None
    known = dict(zip(SPACE, (None, None, None, *(size or (None, None)))[-len(SPACE) :], strict=True))
    known["Z"] = known["Z"] or (stack.spacing_um if stack and "Z" in stack.axes else None)
    known["T"] = facts.interval_s or (stack.interval_s if stack else None)
    sizes = {letter: float(step) for letter, step in known.items() if step and letter in axes}
    origin = facts.origin_um or ()
    places = dict(zip(SPACE[len(SPACE) - len(origin) :], origin, strict=True))
    return Scale(sizes, {letter: float(place) for letter, place in places.items() if letter in sizes})


def _choose_version(version: str | None, container: Path | None) -> str:
    """The version to write: that of the container, else the one that is asked for. Raises ContractileError."""
    if version not in (None, *VERSIONS):
        raise ContractileError(f"version must be one of {', '.join(VERSIONS)}, got {version!r}", "choose one of them")
    if container is None:
        return version or VERSIONS[-1]
    found = version_in(container)
    if version not in (None, found):
        problem = f"labels inside of an OME-Zarr {found} must have its version, got {version}"
        raise ContractileError(problem, "leave the version out, or write beside the image", where=container)
    return found
