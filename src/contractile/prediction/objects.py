"""A table of the objects found: where each lies, how large and bright it is, how sure the network was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.decode import CERTAIN
from contractile.grid import Pixels

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
    for block in blocks:
        sums.add(block, pixels[(slice(None), *block.region)])
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
    """Sums over the pixels of objects 0 ... count, joined across blocks. Whole numbers add up alike in any order."""

    def __init__(self, count: int, dims: int, channels: int) -> None:
        self.pixels, self.inside = np.zeros(count + 1, np.int64), np.zeros(count + 1, np.int64)
        self.places, self.light = np.zeros((dims, count + 1), np.int64), np.zeros((channels, count + 1))
        self.low = np.full((dims, count + 1), np.iinfo(np.int64).max)
        self.high = np.zeros((dims, count + 1), np.int64)

    def add(self, block: Block, pixels: NDArray[Any]) -> None:
        """Add a block, whose pixels are (C, *B)."""
        flat, size = block.labels.ravel(), len(block.numbers)
        where = np.flatnonzero(flat)
        own, numbers = flat[where], block.numbers
        np.add.at(self.pixels, numbers, np.bincount(own, minlength=size))
        np.add.at(self.inside, numbers, np.bincount(own, block.inside.ravel()[where], size).astype(np.int64))
        for channel, values in enumerate(pixels):
            np.add.at(self.light[channel], numbers, np.bincount(own, values.ravel()[where].astype(np.float64), size))
        for axis, place in enumerate(np.unravel_index(where, block.labels.shape)):
            places = np.bincount(own, place + block.region[axis].start, size)
            np.add.at(self.places[axis], numbers, places.astype(np.int64))
        for label, box in enumerate(ndimage.find_objects(block.labels), start=1):
            if box is not None:
                self._widen(numbers[label], box, block.region)

    def _widen(self, number: int, box: tuple[slice, ...], region: tuple[slice, ...]) -> None:
        """Let the box of an object hold a box of a block."""
        for axis, (side, part) in enumerate(zip(box, region, strict=True)):
            self.low[axis, number] = min(self.low[axis, number], side.start + part.start)
            self.high[axis, number] = max(self.high[axis, number], side.stop + part.start)
