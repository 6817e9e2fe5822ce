"""Values over space that are computed where they are sliced: above all, what a network says about an image.

A field has the shape (K, *S), and `field[region]` gives the values there, for instance class probabilities as float32
in [0, 1]. Fields are built from fields: a network's own (`NetworkField`), the mean of several (`Mean`), one brought to
another size (`scaling.Resampled`), one turned or mirrored (`views`). Only the region that is asked for is in memory.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine import Placed, fit_tile
from contractile.errors import OutOfMemory
from contractile.grid import Block, Key, as_slices, cut, plan
from contractile.intensity import Intensity
from contractile.prediction.arrays import check_finite
from contractile.work import here

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]
Region = tuple[slice, ...]


class Field(ABC):
    """Values (K, *S) that are computed when a region of them is asked for.

    `field[key]` takes numbers, slices and `...`, as an array does; `np.asarray(field)` gives all values. `scale` says
    by how much the image was enlarged before the network saw it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any] = np.dtype(np.float32)
    scale: float = 1.0

    @abstractmethod
    def compute(self, region: Region) -> NDArray[Any]:
        """All channels of a region of *S: one slice per axis of space, start < stop, step 1."""

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, key: Key | tuple[Key, ...]) -> NDArray[Any]:
        slices, taken = as_slices(key, self.shape)
        if any(part.start >= part.stop for part in slices):
            return np.empty([len(range(part.start, part.stop, part.step)) for part in slices], self.dtype)[taken]
        values = self.compute(tuple(slice(part.start, part.stop) for part in slices[1:]))
        steps = tuple(slice(None, None, part.step) for part in slices[1:])
        return values[(slices[0], *steps)][taken]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def hold(self) -> Field:
        """The same field, computed once and kept in memory."""
        return Held(self[...], scale=self.scale)


class Held(Field):
    """A field whose values (K, *S) are in memory."""

    def __init__(self, values: NDArray[Any], *, scale: float = 1.0) -> None:
        self.values, self.shape, self.dtype, self.scale = values, values.shape, values.dtype, scale

    def compute(self, region: Region) -> NDArray[Any]:
        return self.values[(slice(None), *region)]

    def hold(self) -> Field:
        return self


class Mean(Field):
    """The mean of fields of one shape: several views of an image, or several models."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.shape, self.scale = self.fields[0].shape, self.fields[0].scale

    def compute(self, region: Region) -> Floats:
        total = np.array(self.fields[0].compute(region), np.float32)
        for field in self.fields[1:]:
            total += field.compute(region)
        return total / np.float32(len(self.fields))


class TileLimit:
    """The largest side of a tile in pixels: `tile`, or what fits in memory; less where memory has run out.

    Fields share it, and threads may: at worst one of them tries a tile that is too large once more.
    """

    def __init__(self, tile: int | None = None) -> None:
        self._tile = tile
        self._fits: int | None = None  # what is left to try, once memory has run out

    def of(self, placed: Placed) -> int:
        """The largest side of a tile for this network."""
        most = self._tile or placed.largest_tile()
        return most if self._fits is None else min(most, self._fits)

    def lower(self, side: int) -> None:
        """Say that only smaller tiles fit: those of this side, perhaps."""
        self._fits = side if self._fits is None else min(side, self._fits)


class NetworkField(Field):
    """What a network says about an image (C, *S), tile by tile.

    Tiled and untiled results agree to rounding: tiles read real pixels around them, mirrored only at the image's own
    border, and all tiles lie on one pooling grid, wherever a region begins. `intensity` is that of the whole image.
    `limit` is that of the side of a tile. When memory runs out, tiles are halved, and stay so for all that share the
    limit. `progress(done, total)` counts the tiles of a region.
    """

    def __init__(
        self,
        image: Any,
        placed: Placed,
        intensity: Intensity,
        *,
        limit: TileLimit | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.image, self.placed, self.intensity = image, placed, intensity
        self.shape = (placed.config.maps, *image.shape[1:])
        self._limit, self._progress = limit or TileLimit(), progress

    def compute(self, region: Region) -> Floats:
        size = tuple(part.stop - part.start for part in region)
        while True:
            tile = fit_tile(self.placed.config, size, self._limit.of(self.placed))
            try:
                return self._run(region, tile)
            except OutOfMemory:
                smaller = max(tile) // 2
                if fit_tile(self.placed.config, size, smaller) == tile:
                    raise
                logger.warning("out of memory with tiles of %s pixels; trying %d", tile, smaller)
                self._limit.lower(smaller)

    def _run(self, region: Region, tile: tuple[int, ...]) -> Floats:
        config = self.placed.config
        origin = [part.start // stride * stride for part, stride in zip(region, config.stride, strict=True)]
        covered = [part.stop - start for part, start in zip(region, origin, strict=True)]
        blocks = [_shift(block, origin) for block in plan(covered, tile, margin=config.margin, stride=config.stride)]
        kept: tuple[Any, ...] = (0, slice(None), *config.kept(tile))
        out = np.empty((self.shape[0], *(part.stop - part.start for part in region)), np.float32)
        with closing(here(ahead=1).each(self._prepare, blocks, name="tiles")) as prepared:
            for done, (block, batch) in enumerate(prepared, start=1):
                _paste(out, region, block, self.placed(batch)[kept])
                if self._progress is not None:
                    self._progress(done, len(blocks))
        return out

    def _prepare(self, block: Block) -> Floats:
        pixels = cut(self.image, block)
        check_finite(pixels, whole=False)
        return self.intensity.apply(pixels)[None]  # (1, C, *tile)


def _shift(block: Block, origin: Sequence[int]) -> Block:
    """A block planned from 0, moved to `origin`."""
    read, write = (
        tuple((start + by, stop + by) for (start, stop), by in zip(spans, origin, strict=True))
        for spans in (block.read, block.write)
    )
    return Block(read=read, write=write)


def _paste(out: Floats, region: Region, block: Block, values: Floats) -> None:
    """Write what a block gives, values (K, *core), into `out` (K, *region), where the two overlap."""
    there, here = [slice(None)], [slice(None)]
    for part, (start, stop) in zip(region, block.write, strict=True):
        low, high = max(part.start, start), min(part.stop, stop)
        there.append(slice(low - part.start, high - part.start))
        here.append(slice(low - start, high - start))
    out[tuple(there)] = values[tuple(here)]
