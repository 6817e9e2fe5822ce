"""Overlap tiles (paper, Fig. 2): integer geometry that cuts an image into tiles and says which pixels each one writes.

Every output pixel has exactly one owner. Around each tile lie its true neighbours; only beyond the border of the image
itself are pixels mirrored. This room knows no network: it is given margins, strides and tile sizes, in pixels per axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError

Interval = tuple[int, int]  # start, stop
Key = int | slice | EllipsisType
Region = Key | tuple[Key, ...]


class Pixels(Protocol):
    """Values (C, *S) that can be sliced: an array, an image on disk, what a network says about one."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, region: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Block:
    """What one tile reads and what it writes: (start, stop) per axis in coordinates of the image.

    `read` may reach beyond the image, where pixels are mirrored. `write` never does; it lies inside `read`, at least
    the margin away from its ends.
    """

    read: tuple[Interval, ...]
    write: tuple[Interval, ...]

    @property
    def owned(self) -> tuple[slice, ...]:
        """The written region as slices of the image."""
        return tuple(slice(start, stop) for start, stop in self.write)


BLOCK = {2: (2048, 2048), 3: (64, 256, 256)}  # pixels per axis of the blocks of a mosaic


@dataclass(frozen=True)
class Mosaic:
    """An image (*S) cut into blocks of `side` pixels per axis, the last ones smaller. They have numbers in scan order.

    Where the blocks lie follows from the shape alone, so that nothing that is computed block by block depends on the
    memory of the machine.
    """

    shape: tuple[int, ...]
    side: tuple[int, ...]

    @classmethod
    def of(cls, shape: Sequence[int]) -> Mosaic:
        """The mosaic that every image of this shape has."""
        return cls(tuple(shape), BLOCK[len(shape)])

    @property
    def counts(self) -> tuple[int, ...]:
        """Blocks along each axis."""
        return tuple(math.ceil(size / side) for size, side in zip(self.shape, self.side, strict=True))

    def __len__(self) -> int:
        return math.prod(self.counts)

    def region(self, number: int) -> tuple[slice, ...]:
        """The pixels of a block."""
        places = np.unravel_index(number, self.counts)
        axes = zip(places, self.side, self.shape, strict=True)
        return tuple(slice(int(place) * side, min(int(place + 1) * side, size)) for place, side, size in axes)

    def regions(self) -> Iterator[tuple[slice, ...]]:
        """The pixels of all blocks."""
        return (self.region(number) for number in range(len(self)))

    def after(self, number: int, axis: int) -> int | None:
        """The next block along an axis; None at the border."""
        places = list(np.unravel_index(number, self.counts))
        places[axis] += 1
        return None if places[axis] == self.counts[axis] else int(np.ravel_multi_index(places, self.counts))

    def touching(self, region: Sequence[slice]) -> Iterator[int]:
        """The blocks that share pixels with a region: one slice with a start and a stop per axis."""
        spans = [
            range(part.start // side, math.ceil(part.stop / side)) for part, side in zip(region, self.side, strict=True)
        ]
        return (int(np.ravel_multi_index(place, self.counts)) for place in itertools.product(*spans))


def widened(region: Sequence[slice], reach: int, shape: Sequence[int]) -> tuple[slice, ...]:
    """A region with `reach` more pixels on every side, as far as an image of `shape` (*S) has them."""
    sides = zip(region, shape, strict=True)
    return tuple(slice(max(0, part.start - reach), min(size, part.stop + reach)) for part, size in sides)


def shared(region: Sequence[slice], other: Sequence[slice]) -> tuple[slice, ...]:
    """The pixels that two regions share, which overlap."""
    pairs = zip(region, other, strict=True)
    return tuple(slice(max(one.start, two.start), min(one.stop, two.stop)) for one, two in pairs)


def within(region: Sequence[slice], outer: Sequence[slice]) -> tuple[slice, ...]:
    """A region as seen from the first pixel of a region `outer` that holds it."""
    pairs = zip(region, outer, strict=True)
    return tuple(slice(part.start - whole.start, part.stop - whole.start) for part, whole in pairs)


def plan(shape: Sequence[int], tile: Sequence[int], *, margin: Sequence[int], stride: Sequence[int]) -> list[Block]:
    """Cover an image of `shape` (*S) with blocks that read `tile` (*S) pixels each, in scan order.

    `margin` and `stride` are one number per axis, as a `UNetConfig` gives them. The origins of all blocks differ by
    multiples of `stride`, so that poolings meet the same groups of pixels in every tile.
    Raises ContractileError where a tile leaves no room for output, or where the numbers of axes differ.
    """
    if not len(shape) == len(tile) == len(margin) == len(stride):
        raise ContractileError(
            f"tile, margin and stride must have one number per axis of the image {tuple(shape)}, got {tuple(tile)}, "
            f"{tuple(margin)} and {tuple(stride)}",
            f"give {len(shape)} numbers for each",
        )
    if any(size < 1 for size in shape):
        raise ContractileError(
            f"shape must be at least 1 pixel on every axis, got {tuple(shape)}", "leave the empty image out"
        )
    least = [2 * rim + step for rim, step in zip(margin, stride, strict=True)]
    if any(size <= 2 * rim for size, rim in zip(tile, margin, strict=True)):
        raise ContractileError(
            f"tile must exceed 2 x margin = {tuple(2 * rim for rim in margin)} on every axis, got {tuple(tile)}",
            f"use at least {tuple(map(max, tile, least))}",
        )
    axes = [list(_intervals(*axis)) for axis in zip(shape, tile, margin, stride, strict=True)]
    return [
        Block(read=tuple(read for read, _ in pairs), write=tuple(write for _, write in pairs))
        for pairs in itertools.product(*axes)
    ]


def _intervals(n: int, size: int, margin: int, stride: int) -> Iterator[tuple[Interval, Interval]]:
    """(read, write) of each block along one axis of n pixels."""
    core = size - 2 * margin
    if n <= core:
        yield (-margin, size - margin), (0, n)
        return
    step = core // stride * stride
    if step == 0:
        raise ContractileError(
            f"tile must leave at least one stride = {stride} inside its margins, got {size}",
            f"use at least {2 * margin + stride}",
        )
    # The last block keeps its whole core, which may be longer than a step (388 = 384 + 4 in the paper).
    count = 1 + math.ceil((n - core) / step)
    for index in range(count):
        start = index * step
        stop = n if index == count - 1 else start + step
        yield (start - margin, start - margin + size), (start, stop)


def cut(image: Pixels, block: Block) -> NDArray[Any]:
    """The pixels that a block reads: image (C, *S) -> (C, *tile), mirrored beyond the border.

    `image` may be anything that slices into arrays (numpy, memory map, zarr); only the region of the block is read.
    Mirroring does not repeat the edge pixel. Where the margin is longer than the image, pixels are mirrored repeatedly.
    """
    indices = [
        mirror(np.arange(start, stop), size) for (start, stop), size in zip(block.read, image.shape[1:], strict=True)
    ]
    region = tuple(slice(int(index.min()), int(index.max()) + 1) for index in indices)
    part = np.asarray(image[(slice(None), *region)])
    for axis, (index, span) in enumerate(zip(indices, region, strict=True), start=1):
        if part.shape[axis] != index.size or index[0] != span.start or index[-1] != span.stop - 1:
            part = np.take(part, index - span.start, axis=axis)
    return part


def mirror(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Map any integer coordinates into [0, size) by reflection about the edge pixels (numpy's "reflect")."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    folded = np.abs(index) % period
    mirrored: NDArray[np.intp] = np.minimum(folded, period - folded)
    return mirrored


def as_slices(region: Region, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[int | slice, ...]]:
    """A region of `shape` -> one slice per axis, and the index that then removes the axes given by a number.

    The slices have absolute bounds: they never reach beyond `shape`. Raises IndexError, as arrays do, for too many
    indices, a number beyond the shape, and steps under 1.
    """
    keys = [*region] if isinstance(region, tuple) else [region]
    if Ellipsis not in keys:
        keys.append(Ellipsis)
    at = keys.index(Ellipsis)
    keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
    if len(keys) != len(shape):
        raise IndexError(f"an image of shape {shape} takes at most {len(shape)} indices, got {len(keys)}")
    slices: list[slice] = []
    for key, length in zip(keys, shape, strict=True):
        if not isinstance(key, slice):
            place = range(length)[key]  # type: ignore[index]
            key = slice(place, place + 1)
        elif key.step is not None and key.step < 1:
            raise IndexError(f"an image is sliced in steps of at least 1, got {key.step}")
        slices.append(slice(*key.indices(length)))
    return tuple(slices), tuple(slice(None) if isinstance(key, slice) else 0 for key in keys)
