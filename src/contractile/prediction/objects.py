"""A table of the objects found: where each lies, how large and bright it is, how sure the network was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled
from contractile.decode import CERTAIN
from contractile.grid import Pixels
from contractile.work import here

AXES = ("z", "y", "x")


class Block(NamedTuple):
    """A block of an image: where it is, its labels (*B) 0 ... n as it counts them, the number (n + 1,) of each in the
    image (0: none), and how certainly each pixel (*B) is inside, in steps of 1 / CERTAIN.
    """

    region: tuple[slice, ...]
    labels: NDArray[np.int32]
    numbers: NDArray[np.int32]
    inside: NDArray[np.uint16]


def tabulate_objects(
    blocks: Iterable[Block], pixels: Pixels, count: int, *, pixel_size_um: Sequence[float] | None = None
) -> dict[str, NDArray[Any]]:
    """Columns of equal length, one entry per object 1 ... count, of an image (C, *S) that is read block by block:

    `id`; `area_px` (in 3-D `volume_px`); `centroid_y_px`, ...; `box_top_px`, `box_left_px`, `box_bottom_px`,
    `box_right_px` (in 3-D first `box_front_px`, `box_back_px`), the last ones beyond the object;
    `mean_intensity` (of each channel, where there are several); `mean_probability` of being inside an object, in
    [0, 1]. With a pixel size, area and centroid follow in micrometres.
    """
    channels, dims = pixels.shape[0], len(pixels.shape) - 1
    sums = _Sums(count, dims, channels)
    with closing(here(ahead=1).each(lambda block: pixels[(slice(None), *block.region)], blocks, name="pixels")) as read:
        for block, seen in read:
            sums.add(block, seen)
    area, axes = sums.pixels[1:], AXES[-dims:]
    size = "area" if dims == 2 else "volume"
    centroids = {axis: sums.places[i, 1:] / area for i, axis in enumerate(axes)}
    columns: dict[str, NDArray[Any]] = {"id": np.arange(1, count + 1), f"{size}_px": area}
    columns |= {f"centroid_{axis}_px": centroid for axis, centroid in centroids.items()}
    sides = (("front", "back"), ("top", "bottom"), ("left", "right"))[-dims:]
    for end, corner in enumerate((sums.low, sums.high)):
        columns |= {f"box_{pair[end]}_px": corner[i, 1:] for i, pair in enumerate(sides)}
    for channel in range(channels):
        name = "mean_intensity" if channels == 1 else f"mean_intensity_{channel}"
        columns[name] = sums.light[channel, 1:] / area
    columns["mean_probability"] = sums.inside[1:] / area / CERTAIN
    if pixel_size_um is not None:
        columns[f"{size}_um{dims}"] = area * np.prod(pixel_size_um)
        columns |= {f"centroid_{axis}_um": centroids[axis] * pixel_size_um[i] for i, axis in enumerate(axes)}
    return columns


class _Sums:
    """Sums over the pixels of objects 0 ... count, joined across blocks; of object 0 there are none.

    Whole numbers add up alike in any order.
    """

    def __init__(self, count: int, dims: int, channels: int) -> None:
        self._whole = np.zeros((5, count + 1), np.int64)
        self._low = np.full((3, count + 1), np.iinfo(np.int64).max)
        self._high = np.zeros((3, count + 1), np.int64)
        self.light = np.zeros((channels, count + 1))
        self.pixels, self.inside, self.places = self._whole[0], self._whole[1], self._whole[5 - dims :]
        self.low, self.high = self._low[3 - dims :], self._high[3 - dims :]

    def add(self, block: Block, pixels: NDArray[Any]) -> None:
        """Add a block, whose pixels are (C, *B)."""
        room = (1,) * (3 - block.labels.ndim) + block.labels.shape  # (Z, Y, X)
        start = np.array([0] * (3 - block.labels.ndim) + [part.start for part in block.region])
        known = pixels.dtype.kind in "ui" or pixels.dtype.itemsize in (4, 8)
        values = pixels.astype(pixels.dtype.newbyteorder("=") if known else np.float64, copy=False)  # for numba
        seen = (block.inside.reshape(room), values.reshape(-1, *room))
        _add(block.labels.reshape(room), block.numbers, seen, start, (self._whole, self._low, self._high, self.light))


@compiled
def _add(labels: Any, numbers: Any, seen: Any, start: Any, sums: Any) -> None:
    """Add the pixels of a block, run by run along X: those in a row that have one label."""
    inside, pixels = seen
    whole, lows, highs, light = sums
    depth, length, width = labels.shape
    for z in range(depth):
        for y in range(length):
            end = 0
            while end < width:
                x, label = end, labels[z, y, end]
                while end < width and labels[z, y, end] == label:
                    end += 1
                number = numbers[label]
                if number == 0:
                    continue
                count = end - x
                whole[0, number] += count
                for place in range(x, end):
                    whole[1, number] += inside[z, y, place]
                for channel in range(len(pixels)):
                    total = 0.0
                    for place in range(x, end):
                        total += pixels[channel, z, y, place]
                    light[channel, number] += total
                whole[2, number] += count * (z + start[0])
                whole[3, number] += count * (y + start[1])
                whole[4, number] += (x + end - 1) * count // 2 + count * start[2]
                low, high = (z + start[0], y + start[1], x + start[2]), (z + start[0], y + start[1], end - 1 + start[2])
                for axis in range(3):
                    lows[axis, number] = min(lows[axis, number], low[axis])
                    highs[axis, number] = max(highs[axis, number], high[axis] + 1)
