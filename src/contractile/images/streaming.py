"""Values that are read when they are written: anything with `shape`, `dtype` and `[region]`, of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, WrongType
from contractile.images.image import Shape, Stack

LARGE = 2048  # pixels along Y or X beyond which a file is tiled, and read and written part by part
WHOLE = 2**26  # bytes of smaller images that are read at once
BLOCK = 2048  # pixels along Y and X that are read at once, of one plane
DEPTH = 64  # planes that are read at once
READ = 2**23  # pixels that are read at once
STRIP = 2**26  # bytes that are held, as far as one row of tiles allows
TILE = 512


@dataclass(frozen=True)
class Deferred:
    """An array of `shape` whose values are those of `source`, read part by part. The last two axes are Y and X.

    The first `counting` axes count the pages of `source`, which then has one axis for all of them. `first` is the
    number of the first page.
    """

    source: Any
    shape: Shape
    dtype: np.dtype[Any]
    counting: int = 0
    first: int | None = None

    @classmethod
    def of(cls, source: Any, dtype: np.dtype[Any], stack: Stack | None) -> Self:
        """All of a source (*page), or (P, *page) with a stack."""
        if stack is None:
            return cls(source, tuple(source.shape), dtype)
        return cls(source, (*stack.lengths, *source.shape[1:]), dtype, len(stack.lengths), 0)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Self]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> Self:
        """What lies at a place of the first axis, which counts pages."""
        step = math.prod(self.shape[1 : self.counting])
        first = (self.first or 0) + index * step
        return replace(self, shape=self.shape[1:], counting=self.counting - 1, first=first)

    @property
    def tile(self) -> tuple[int, int]:
        """The size of tiles: sides of TIFF are multiples of 16."""
        y, x = (min(TILE, math.ceil(side / 16) * 16) for side in self.shape[-2:])
        return y, x

    def tiles(self) -> Iterator[NDArray[Any]]:
        """All tiles in the order of a TIFF; those at the border are smaller. Each value is asked for once."""
        y, x = self.tile
        for strip in self._strips():
            for top in range(0, strip.shape[0], y):
                for left in range(0, strip.shape[1], x):
                    yield strip[top : top + y, left : left + x]

    def _strips(self) -> Iterator[NDArray[Any]]:
        """Rows of all planes, as many at once as fit; where whole planes fit, several of them are read together."""
        *outer, length, width = self.shape
        fitting = STRIP // (width * self.dtype.itemsize)
        height = length if fitting >= length else max(self.tile[0], fitting // self.tile[0] * self.tile[0])
        deep = outer[-1] if outer else 1
        depth = max(1, min(deep, DEPTH, fitting // height))
        for place in np.ndindex(*outer[:-1]):
            for front, top in product(range(0, deep, depth), range(0, length, height)):
                planes, rows = slice(front, min(front + depth, deep)), slice(top, min(top + height, length))
                yield from self._read(place, planes, rows)

    def _read(self, place: Shape, planes: slice, rows: slice) -> NDArray[Any]:
        """Rows of some planes, read block by block."""
        width, count = self.shape[-1], planes.stop - planes.start
        held = np.empty((count, rows.stop - rows.start, width), self.dtype)
        side = max(16, min(BLOCK, int((READ / count) ** 0.5) // 256 * 256))
        where = self._where(place, planes)
        for y, x in product(range(rows.start, rows.stop, side), range(0, width, side)):
            lines, columns = slice(y, min(y + side, rows.stop)), slice(x, min(x + side, width))
            block = np.asarray(self.source[(*where, lines, columns)])
            check_fit(block, self.dtype)
            held[:, y - rows.start : lines.stop - rows.start, columns] = block
        return held

    def _where(self, place: Shape, planes: slice) -> tuple[int | slice, ...]:
        """Where planes are in the source: `place` is that along all axes but the last one in front of Y and X."""
        outer = len(self.shape) - 2
        if self.first is None:
            return (*place, planes) if outer else ()
        at = (*place, planes.start) if outer else ()
        inside = at[: self.counting]
        page = self.first + (int(np.ravel_multi_index(inside, self.shape[: self.counting])) if inside else 0)
        if self.counting == outer:  # planes are pages
            return (slice(page, page + planes.stop - planes.start),) if outer else (page,)
        return (page, *place[self.counting :], planes)


def is_sliceable(values: Any) -> bool:
    """Whether values are read by `values[region]`, and are no array in memory."""
    return not isinstance(values, np.ndarray) and hasattr(values, "shape") and hasattr(values, "dtype")


def is_large(shape: Shape) -> bool:
    return max(shape[-2:], default=0) > LARGE


def span(source: Any) -> tuple[int, int]:
    """The smallest and the largest number in integers of any size."""
    low, high = 0, 0
    for strip in Deferred(source, tuple(source.shape), np.dtype(np.int64))._strips():
        low, high = min(low, int(strip.min())), max(high, int(strip.max()))
    return low, high


def smallest_type(largest: int) -> np.dtype[Any]:
    """The smallest unsigned type of 8, 16 or 32 bits that holds labels up to `largest`. Raises ContractileError."""
    if not 0 <= largest < 2**32:
        raise ContractileError(f"labels must fit into 32 bits, got {largest}", "renumber the objects")
    return np.dtype(np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.uint32)


def check_fit(block: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Raise ContractileError where an integer type would change the values."""
    if dtype.kind not in "ui" or not block.size:
        return
    if block.dtype.kind not in "uib":
        raise WrongType(f"values must be integers for an array of {dtype}, got {block.dtype}", "round them")
    low, high, bounds = int(block.min()), int(block.max()), np.iinfo(dtype)
    if low < bounds.min or high > bounds.max:
        cure = "give the type, or the count, that belongs to the largest number"
        raise ContractileError(f"values must fit into {dtype}, got {low} to {high}", cure)
