"""Chunks that a Zarr on disk lacks. Zarr reads them as the fill value and does not say so.

A writer may leave a chunk out because all of it is the fill value, so a missing chunk alone proves no loss. Three
things do: a fill value that means nothing (null in Zarr 2, NaN), a lower resolution of the same image with pixels
there, and chunks beside it that are not the fill value up to its very edge. The chunks beside a plane that is missing
as a whole prove nothing: a plane may be blank.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from contractile.images.gate import Limits, limits
from contractile.images.zarr_store import open_array

Place = tuple[int, ...]  # of a chunk in the grid of chunks

CHUNK = re.compile(r"c?[0-9.]*")  # names of chunks and of folders with chunks
KEPT_S = 10
MOST_FILES = 200_000  # chunks that are listed; of larger arrays nothing is said
MOST_PLACES = 10_000  # missing chunks that are compared with a lower resolution
MOST_BYTES = 2**24  # of a lower resolution that is read for that
RIM = 2  # of its pixels, into which resampling may carry the neighbours
MOST_FACES = 24  # between a missing chunk and one that is there, that are looked at


@dataclass(frozen=True)
class Gaps:
    """`missing` of `total` chunks. `proof` says why pixels are lost; empty where the chunks may be meant as empty.

    `harmless` says that a lower resolution is as empty there.
    """

    missing: int
    total: int
    fill: Any
    proof: str = ""
    harmless: bool = False

    def __str__(self) -> str:
        share = f"{self.missing} of its {self.total} chunks are missing ({self.missing / self.total:.0%} of it)"
        return f"{share}; {self.proof}" if self.proof else f"{share} and read as {self.fill}"


def find_gaps(
    folder: Path, lower: Sequence[Path] = (), channels: tuple[int, ...] = (), *, labels: bool = False
) -> Gaps | None:
    """The chunks that the array in a folder lacks; None for none, or where that cannot be known cheaply.

    A shard counts as a chunk: it is a file. `lower` are the folders of the lower resolutions of the same image,
    `channels` the axes, such as channels and time, along which neighbours say nothing of one another. Of `labels`
    neighbours never do.
    """
    moment = int(time.monotonic() // KEPT_S)
    return _find_gaps(folder, tuple(lower), None if labels else channels, limits(), moment)


@lru_cache(maxsize=256)
def _find_gaps(
    folder: Path, lower: tuple[Path, ...], channels: tuple[int, ...] | None, bounds: Limits, moment: int
) -> Gaps | None:
    """What was found is kept for a `moment`: each page of a stack opens the array anew."""
    array = open_array(folder)
    grid = tuple(math.ceil(n / size) for n, size in zip(array.shape, array.shards or array.chunks, strict=True))
    total, there = math.prod(grid), _places(folder, grid)
    if there is None or len(there) >= total:
        return None
    fill, missing = array.fill_value, total - len(there)
    if fill is None:
        return Gaps(missing, total, fill, "nothing says what belongs there (fill_value is null)")
    if isinstance(fill, np.floating) and not np.isfinite(fill):
        return Gaps(missing, total, fill, f"{fill} stands in their place")
    pixels = _lowest(lower)
    if pixels is not None and pixels.ndim == array.ndim and missing <= MOST_PLACES:
        places = (place for place in product(*map(range, grid)) if place not in there)
        parts = [_part(pixels, place, array) for place in places]
        lost = sum(bool((part != fill).any()) for part in parts)
        if lost:
            return Gaps(missing, total, fill, f"a lower resolution has pixels where {lost} of them were")
        if all(part.size for part in parts):
            return Gaps(missing, total, fill, harmless=True)
    if channels is not None and _are_cut_off(array, there, grid, channels):
        return Gaps(missing, total, fill, f"the chunks beside them do not fade to {fill}")
    return Gaps(missing, total, fill)


def _are_cut_off(array: zarr.Array, there: set[Place], grid: Place, channels: tuple[int, ...]) -> bool:
    """Whether chunks beside missing ones are mostly not the fill value on the faces that they share with these."""
    axes = [axis for axis in range(len(grid)) if axis not in channels]
    sides = axes[-2:]  # Y and X
    planes = {_plane_of(place, sides) for place in there}
    faces = [
        (place, axis, step > 0)
        for place in sorted(there)
        for axis in axes
        for step, beside in _missing_beside(place, axis, there, grid)
        if _plane_of(beside, sides) in planes
    ]
    chosen = faces[:: max(1, math.ceil(len(faces) / MOST_FACES))]
    full = sum(bool(np.mean(_face(array, *face) != array.fill_value) > 0.5) for face in chosen)
    return 2 * full > len(chosen)


def _plane_of(place: Place, sides: Sequence[int]) -> Place:
    """The place of the plane that a chunk lies in."""
    return tuple(index for axis, index in enumerate(place) if axis not in sides)


def _missing_beside(place: Place, axis: int, there: set[Place], grid: Place) -> Iterator[tuple[int, Place]]:
    """The missing chunks before (-1) and behind (1) a chunk along an axis."""
    for step in (-1, 1):
        beside = (*place[:axis], place[axis] + step, *place[axis + 1 :])
        if 0 <= beside[axis] < grid[axis] and beside not in there:
            yield step, beside


def _face(array: zarr.Array, place: Place, axis: int, far: bool) -> NDArray[Any]:
    """The outermost values of a chunk on one side."""
    region = []
    for one, (index, size, n) in enumerate(zip(place, array.shards or array.chunks, array.shape, strict=True)):
        start, stop = index * size, min((index + 1) * size, n)
        if one == axis:
            start, stop = (stop - 1, stop) if far else (start, start + 1)
        region.append(slice(start, stop))
    return np.asarray(array[tuple(region)])


def _places(folder: Path, grid: Place) -> set[Place] | None:
    """The places of the chunks that are there; None for too many files."""
    places: set[Place] = set()
    for number, name in enumerate(_files(folder, "", len(grid) + 1)):
        if number > MOST_FILES:
            return None
        found = tuple(int(part) for part in re.split(r"[./]", name.removeprefix("c")) if part.isdecimal())
        if len(found) == len(grid) and all(one < n for one, n in zip(found, grid, strict=True)):
            places.add(found)
    return places


def _files(folder: Path, prefix: str, depth: int) -> Iterator[str]:
    """The files of chunks below a folder, such as 0.3, c/0/3 or 0/3."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not CHUNK.fullmatch(entry.name):
                continue
            if not entry.is_dir():
                yield prefix + entry.name
            elif depth:
                yield from _files(Path(entry), f"{prefix}{entry.name}/", depth - 1)


def _lowest(lower: Sequence[Path]) -> NDArray[Any] | None:
    """The pixels of the lowest resolution, where there is a small one that can be read."""
    with suppress(Exception):
        arrays = [open_array(one) for one in lower]
        smallest = min(arrays, key=lambda one: one.nbytes)
        if smallest.nbytes <= MOST_BYTES:
            return np.asarray(smallest[...])
    return None


def _part(pixels: NDArray[Any], place: Place, array: zarr.Array) -> NDArray[Any]:
    """What a lower resolution shows where a chunk is missing, without a rim."""
    cut = []
    for index, size, n, few in zip(place, array.shards or array.chunks, array.shape, pixels.shape, strict=True):
        start, stop = index * size * few / n, min((index + 1) * size, n) * few / n
        rim = RIM if few < n else 0
        cut.append(slice(math.ceil(start) + rim, max(0, math.floor(stop) - rim)))
    return pixels[tuple(cut)]
