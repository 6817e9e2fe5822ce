"""Overlap tiles (paper, Fig. 2): integer geometry that cuts an image up and puts the parts together.

Every output pixel has exactly one owner. True neighbours surround each tile; only beyond the image's
own border is context extrapolated, by mirroring. Knows no network: a margin, a stride and a tile size
are all it is told, lengths in pixels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError


@dataclass(frozen=True)
class Block:
    """Where a tile reads and what it owns, as (start, stop) per axis in image coordinates.

    `read` may reach beyond the image (mirrored there); `write` never does, and lies in `read` with at
    least the margin around it.
    """

    read: tuple[tuple[int, int], ...]
    write: tuple[tuple[int, int], ...]

    @property
    def owned(self) -> tuple[slice, ...]:
        """The written region as slices of the image."""
        return tuple(slice(start, stop) for start, stop in self.write)


def plan(shape: Sequence[int], tile: Sequence[int], *, margin: int, stride: int = 1) -> list[Block]:
    """Cover an image of `shape` (*S) by tiles that read `tile` pixels (*S) each, in scan order.

    Block origins differ by multiples of `stride`, so that poolings fall on the same pixels in every tile.
    Raises ValueError when a tile leaves no room for output, or the axes do not agree.
    """
    if len(shape) != len(tile):
        raise ContractileError(
            f"tile must have one size per axis of the image {tuple(shape)}, got {tuple(tile)}",
            f"give {len(shape)} numbers",
        )
    if any(size < 1 for size in shape):
        raise ContractileError(
            f"shape must be at least 1 pixel on every axis, got {tuple(shape)}", "the image is empty"
        )
    if any(size - 2 * margin < 1 for size in tile):
        least = tuple(max(size, 2 * margin + stride) for size in tile)
        raise ContractileError(
            f"tile must exceed 2 x margin = {2 * margin} on every axis, got {tuple(tile)}", f"use at least {least}"
        )
    axes = [list(_spans(n, size, margin, stride)) for n, size in zip(shape, tile, strict=True)]
    return [
        Block(read=tuple(read for read, _ in spans), write=tuple(write for _, write in spans))
        for spans in itertools.product(*axes)
    ]


def _spans(n: int, size: int, margin: int, stride: int) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """(read, write) intervals along one axis of n pixels."""
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
    # The last tile keeps its whole core, which may be longer than a step (388 = 384 + 4 in the paper).
    count = 1 + math.ceil((n - core) / step)
    for index in range(count):
        start = index * step
        stop = n if index == count - 1 else start + step
        yield (start - margin, start - margin + size), (start, stop)


def cut(image: Any, tile: Block) -> NDArray[Any]:
    """The pixels a tile reads: image (C, *S) -> (C, *tile), mirrored beyond the border.

    `image` may be anything that slices into arrays (numpy, memory map, zarr): only the tile's own
    region is read. Mirroring does not repeat the edge pixel and goes to and fro in images narrower
    than the margin.
    """
    indices = [
        mirror(np.arange(start, stop), size) for (start, stop), size in zip(tile.read, image.shape[1:], strict=True)
    ]
    region = tuple(slice(int(index.min()), int(index.max()) + 1) for index in indices)
    part = np.asarray(image[(slice(None), *region)])
    for axis, (index, span) in enumerate(zip(indices, region, strict=True), start=1):
        if part.shape[axis] != index.size or index[0] != span.start or index[-1] != span.stop - 1:
            part = np.take(part, index - span.start, axis=axis)
    return part


def paste(out: Any, tile: Block, values: NDArray[Any]) -> None:
    """Write the part of `values` (K, *core) that the tile owns into `out` (K, *S), in place.

    `values` starts at the first pixel of the tile's core, that is at `tile.write`'s start. `out` may be
    anything that takes slices (numpy, memory map, zarr).
    """
    part = tuple(slice(0, stop - start) for start, stop in tile.write)
    out[(slice(None), *tile.owned)] = values[(slice(None), *part)]


def mirror(index: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    """Fold any integer coordinates into [0, size) by reflection about the edge pixels (numpy's "reflect")."""
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    folded = np.abs(index) % period
    mirrored: NDArray[np.intp] = np.minimum(folded, period - folded)
    return mirrored
