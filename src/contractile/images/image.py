"""An image is sliced. Its pixels are in memory, or on disk and read region by region."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Pixels, Region
from contractile.images.gate import check_memory

Shape = tuple[int, ...]
Size = tuple[float, ...] | None  # of a pixel


@dataclass(frozen=True)
class Stack:
    """What the pages of a file are: one letter and one length per axis that counts pages, such as "TZ" and (10, 5).

    `interval_s` is the time between two frames in seconds, `spacing_um` the distance between two planes in
    micrometres; None where the file does not say, or has no such axis.
    """

    axes: str
    lengths: tuple[int, ...]
    interval_s: float | None = None
    spacing_um: float | None = None


@dataclass(frozen=True)
class Channel:
    """What a file says about a channel: its name, and the colour in which to show it, such as "00FF00"."""

    name: str | None = None
    colour: str | None = None


class Image:
    """Pixels (C, *S) in the type and range of their file. `image[region]` is an array, read from disk if need be.

    `pixel_size_um` has one entry per axis of *S; it is None where the file does not give it. So has `origin_um`, the
    place of the first pixel. `np.asarray(image)` is `image.pixels`. `channels` has one entry per channel, or none where
    the file says nothing about them. An image on disk must be closed after use: put it into a `with` statement.

    `lower` opens the lower resolutions that the file has; it is called when somebody asks for `levels`.
    """

    def __init__(
        self,
        name: str,
        pixels: Pixels,
        pixel_size_um: Size = None,
        *,
        origin_um: Size = None,
        file: ExitStack | None = None,
        channels: Sequence[Channel] = (),
        lower: Callable[[], Sequence[Pixels]] | None = None,
    ) -> None:
        self.name, self.pixel_size_um, self.origin_um = name, pixel_size_um, origin_um
        self.channels = tuple(channels)
        self._lower = lower
        self._levels: tuple[Image, ...] | None = None
        self.shape, self.dtype, self.ndim = pixels.shape, pixels.dtype, len(pixels.shape)
        self._pixels, self._file = pixels, file or ExitStack()

    @property
    def sliceable(self) -> NDArray[Any] | Image:
        """What gives the pixels of a region without reading others: the array where it is in memory, else this."""
        return self._pixels if isinstance(self._pixels, np.ndarray) else self

    @property
    def levels(self) -> tuple[Image, ...]:
        """The resolutions of the file, this image first, each (C, *S) with smaller *S; they close with this image."""
        if self._levels is None:
            lower = self._lower() if self._lower else ()
            self._levels = (self, *(Image(self.name, one, self._size_in(one)) for one in lower))
        return self._levels

    def _size_in(self, lower: Pixels) -> Size:
        """The size of a pixel in a lower resolution."""
        if self.pixel_size_um is None:
            return None
        sizes = zip(self.pixel_size_um, self.shape[1:], lower.shape[1:], strict=True)
        return tuple(size * n / few for size, n, few in sizes)

    @property
    def unit(self) -> Shape:
        """Pixels along each axis of *S that are read at once: those of a tile, strip or chunk; 1 in memory."""
        unit: Shape = getattr(self._pixels, "unit", (1,) * (self.ndim - 1))
        return unit

    @property
    def pixels(self) -> NDArray[Any]:
        """The whole image (C, *S): the array itself where it is in memory, else a new array.

        Raises ContractileError where it does not fit into the free memory.
        """
        if isinstance(self._pixels, np.ndarray):
            return self._pixels
        check_memory(math.prod(self.shape) * self.dtype.itemsize, "the image", self.name)
        return self._pixels[...]

    def __getitem__(self, region: Region) -> NDArray[Any]:
        return self._pixels[region]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.pixels, dtype=dtype, copy=copy)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
