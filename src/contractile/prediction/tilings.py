"""A part of an image under a network: all of it at once, or tile by tile on a grid that may be shifted."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine import Placed, fit_tile
from contractile.grid import Block, cut, plan
from contractile.unet import UNetConfig

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Sides = tuple[int, ...]
Region = tuple[slice, ...]

PART = {2: (1024, 1024), 3: (32, 128, 128)}  # pixels of an image that are looked at, at most
CORE = {2: 256, 3: 48}  # pixels along each side that a tile gives, at most
ENDLESS = 2**30


@dataclass(frozen=True)
class Watched:
    """A placed network; `tick` is told how many pixels it has seen after each batch."""

    placed: Placed
    tick: Callable[[int], None]

    @property
    def config(self) -> UNetConfig:
        return self.placed.config

    def __call__(self, batch: Floats) -> Floats:
        values = self.placed(batch)
        self.tick(math.prod(batch.shape[2:]))
        return values


@dataclass(frozen=True, eq=False)
class Part:
    """A part of an image, *S pixels from `start` on; coordinates count from its first pixel.

    The network sees `tile` (*S) pixels at a time, of which it gives `core` (*S). A `window` (*T) is more than two
    margins long. `values` (C, *S and `around` more on all sides) are what the network sees, with the true pixels around
    the part; `pixels` (C, *S) are those of the part itself.
    """

    config: UNetConfig
    start: Sides
    size: Sides
    tile: Sides
    core: Sides
    window: Sides
    around: Sides
    values: Floats
    pixels: NDArray[Any]

    def read(self, region: Region) -> Floats:
        """The values (C, *region), mirrored where even those around the part end."""
        sides = tuple((side.start + rim, side.stop + rim) for side, rim in zip(region, self.around, strict=True))
        return cut(self.values, Block(read=sides, write=sides))

    def overlap(self, region: Region) -> tuple[Region, Region]:
        """What of a region lies in the part: in coordinates of the part, and of the region."""
        there = [slice(max(side.start, 0), min(side.stop, n)) for side, n in zip(region, self.size, strict=True)]
        here = [slice(a.start - b.start, a.stop - b.start) for a, b in zip(there, region, strict=True)]
        return tuple(there), tuple(here)


def take_part(
    image: Any, config: UNetConfig, apply: Callable[[NDArray[Any]], Floats], *, limit: int | None, most: int
) -> Part:
    """The middle of an image (C, *S); `apply` gives what the network sees.

    `limit` is the largest side of a tile, None for one that suits the part; `most` that of all that the network may be
    given at once.
    """
    sides = zip(image.shape[1:], PART[config.dims], config.margin, config.stride, strict=True)
    size = tuple(min(n, part, max(most - 2 * rim, 2 * step + 1)) for n, part, rim, step in sides)
    places = zip(image.shape[1:], size, config.stride, strict=True)
    start = tuple((n - taken) // 2 // step * step for n, taken, step in places)  # on the pooling grid of the image
    tile = _choose_tile(config, size, limit)
    core = _core(config, tile)
    window = _window(config, tile)
    rims = zip(size, window, config.margin, config.stride, strict=True)
    around = tuple(math.ceil(max(rim, long - n + step) / step) * step for n, long, rim, step in rims)
    inside = tuple(slice(first, first + n) for first, n in zip(start, size, strict=True))
    read = tuple((side.start - rim, side.stop + rim) for side, rim in zip(inside, around, strict=True))
    values = apply(cut(image, Block(read=read, write=read)))
    pixels = np.asarray(image[(slice(None), *inside)])
    return Part(config, start, size, tile, core, window, around, values, pixels)


def _choose_tile(config: UNetConfig, size: Sides, limit: int | None) -> Sides:
    sides = zip(size, config.stride, strict=True)
    core = [max(2, min(CORE[config.dims], n // 3) // stride) * stride for n, stride in sides]
    own = fit_tile(config, core, ENDLESS)
    if limit is None:
        return own
    tile = fit_tile(config, size, limit)
    if tile != fit_tile(config, size, ENDLESS):
        return tile
    problem = "tiles of %d pixels would hold all %s pixels that are measured: tiles of %s are taken"
    logger.warning(problem, limit, by(size), by(own))
    return own


def _core(config: UNetConfig, tile: Sides) -> Sides:
    return tuple(side.stop - side.start for side in config.kept(tile))


def _window(config: UNetConfig, tile: Sides) -> Sides:
    """Sides (*T) of a window with a middle that nothing beyond its border reaches."""
    if config.padding == "same":
        return tile
    sides = zip(_core(config, tile), config.margin, config.stride, strict=True)
    return _core(config, fit_tile(config, [max(core, 2 * rim + step) for core, rim, step in sides], ENDLESS))


def all_at_once(config: UNetConfig, size: Sides) -> Region:
    """What the network sees to give a part of `size` (*S) in one step."""
    whole = fit_tile(config, size, ENDLESS)
    return tuple(slice(-rim, long - rim) for rim, long in zip(config.margin, whole, strict=True))


def see_all(network: Watched, part: Part) -> Floats:
    """Probabilities (K, *S) of a part, without tiles."""
    config = network.config
    batch = part.read(all_at_once(config, part.size))[None]
    kept: tuple[Any, ...] = (0, slice(None), *config.kept(batch.shape[2:]))
    return np.asarray(network(batch)[kept][(slice(None), *(slice(0, n) for n in part.size))])


def shifted_plan(part: Part, shift: Sides) -> list[tuple[Region, Region]]:
    """What each tile reads and writes, for a grid that begins `shift` (*S) pixels before the part."""
    config = part.config
    covered = [n + by for n, by in zip(part.size, shift, strict=True)]
    blocks = plan(covered, part.tile, margin=config.margin, stride=config.stride)
    moved = [(_back(block.read, shift), _back(block.write, shift)) for block in blocks]
    return [(read, write) for read, write in moved if all(side.stop > 0 for side in write)]


def _back(sides: Sequence[tuple[int, int]], shift: Sides) -> Region:
    return tuple(slice(start - by, stop - by) for (start, stop), by in zip(sides, shift, strict=True))


def see_tiles(network: Watched, part: Part, shift: Sides) -> Floats:
    """Probabilities (K, *S) of a part, by our tiles on a grid that begins `shift` (*S) pixels before it."""
    kept: tuple[Any, ...] = (0, slice(None), *network.config.kept(part.tile))
    out = np.empty((network.config.maps, *part.size), np.float32)
    for read, write in shifted_plan(part, shift):
        core = network(part.read(read)[None])[kept]
        there, here = part.overlap(write)
        out[(slice(None), *there)] = core[(slice(None), *here)]
    return out


def lines_of(regions: Sequence[Region], size: Sides) -> tuple[Sides, ...]:
    """For each axis, where regions end inside a part of `size` (*S)."""
    ends = [{end for region in regions for end in (region[axis].start, region[axis].stop)} for axis in range(len(size))]
    return tuple(tuple(sorted(end for end in along if 0 < end < n)) for along, n in zip(ends, size, strict=True))


def by(size: Sequence[int]) -> str:
    """`256 x 256`"""
    return " x ".join(str(n) for n in size)
