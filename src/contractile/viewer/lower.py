"""Lower resolutions that a file does not have: their sizes, and what they show before anybody has computed them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Pixels, as_slices
from contractile.images.pyramid import mean
from contractile.images.zarr_layout import SMALL

Size = tuple[int, int]  # (Y, X)
Part = tuple[slice, slice]
HALF = (1, 2, 2)  # how many pixels (C, Y, X) become one


def halvings(size: Size) -> list[Size]:
    """The sizes of all lower resolutions of an image, each half of the one before, as `ZarrSink` makes them."""
    found = [size]
    while max(found[-1]) > SMALL:
        y, x = found[-1]
        found.append((math.ceil(y / 2), math.ceil(x / 2)))
    return found[1:]


class Halved:
    """Pixels (C, Y, X) of half the resolution of others, which are read by `finer`: means, made where it is sliced."""

    unit = (1, 1)

    def __init__(self, whole: Sequence[int], dtype: np.dtype[Any], finer: Callable[[Part], NDArray[Any]]) -> None:
        self._whole, self.dtype, self._finer = tuple(whole), dtype, finer
        self.shape = (self._whole[0], *(math.ceil(n / 2) for n in self._whole[1:]))

    def __getitem__(self, region: Any) -> NDArray[Any]:
        (channels, *parts), taken = as_slices(region, self.shape)
        y, x = (slice(2 * one.start, min(2 * one.stop, n)) for one, n in zip(parts, self._whole[1:], strict=True))
        found: NDArray[Any] = mean(self._finer((y, x)), HALF)[channels][taken]
        return found


def sample(pixels: Pixels, unit: Size, region: Part, *, factor: int, most: int) -> NDArray[Any]:
    """Every `factor`-th pixel of `pixels` (C, Y, X) along Y and X; `region` counts these. (C, h, w) in their type.

    `unit` says how many pixels along Y and X are read at once. Where more than `most` pixels would be read, only some
    units are, evenly spread, and each of the others shows the pixels of the nearest one.
    """
    spans = [_Span(part.start, part.stop, factor, side) for part, side in zip(region, unit, strict=True)]
    room = max(1, most // (pixels.shape[0] * math.prod(unit)))  # units
    root = max(1, math.isqrt(room))
    few = min(range(2), key=lambda axis: spans[axis].count)
    counts = [0, 0]
    counts[few] = min(spans[few].count, root)
    counts[1 - few] = min(spans[1 - few].count, max(1, room // counts[few]))
    chosen = [span.choose(count) for span, count in zip(spans, counts, strict=True)]
    (down, rows), (across, columns) = chosen
    read = np.concatenate(
        [np.concatenate([np.asarray(pixels[:, y, x]) for x in across], axis=2) for y in down], axis=1
    )  # (C, rows, columns)
    return read[:, spans[0].nearest(rows)[:, None], spans[1].nearest(columns)]


class _Span:
    """Every `factor`-th place along an axis that is read in units: those with numbers `start` to `stop`."""

    def __init__(self, start: int, stop: int, factor: int, unit: int) -> None:
        self._start, self._stop, self._factor, self._unit = start, stop, factor, unit
        self._first, self._last = start * factor // unit, (stop - 1) * factor // unit
        self._alone = unit <= factor  # each place has a unit of its own
        self.count = stop - start if self._alone else self._last - self._first + 1  # of units

    def choose(self, most: int) -> tuple[list[slice], NDArray[np.intp]]:
        """What to read of at most so many units, and the places that this gives, in order."""
        if self._alone or most >= self.count:
            step = math.ceil(self.count / most) if self._alone else 1
            numbers = np.arange(self._start, self._stop, step)
            return [self._slice(numbers)], numbers * self._factor
        units = np.unique(np.rint(np.linspace(self._first, self._last, most + 2)[1:-1]).astype(int))
        parts = [self._within(int(unit)) for unit in units]
        return [self._slice(part) for part in parts], np.concatenate(parts) * self._factor

    def _within(self, unit: int) -> NDArray[np.intp]:
        """The numbers of the places in a unit."""
        first, after = (math.ceil(one * self._unit / self._factor) for one in (unit, unit + 1))
        return np.arange(max(self._start, first), min(self._stop, after))

    def _slice(self, numbers: NDArray[np.intp]) -> slice:
        step = int(numbers[1] - numbers[0]) if len(numbers) > 1 else 1
        return slice(int(numbers[0]) * self._factor, int(numbers[-1]) * self._factor + 1, step * self._factor)

    def nearest(self, places: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each wanted place the index of the nearest that was read."""
        wanted = np.arange(self._start, self._stop) * self._factor
        return np.searchsorted((places[1:] + places[:-1]) / 2, wanted)
