"""Lower resolutions of an array, made region by region: labels by majority, all else by the mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reduce = Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]
Region = tuple[slice, ...]


def majority(labels: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """The most frequent number among every `factors` elements, which are 1 or 2 per axis.

    Of equally frequent ones an object wins over the background, so that thin objects stay, and among objects the first.
    """
    parts = list(_parts(labels, factors))
    best = parts[0]
    if all(np.array_equal(best, part) for part in parts[1:]):
        return best.copy()
    most = np.zeros(best.shape, np.uint8)
    for part in parts:
        votes = (part != 0).astype(np.uint8)
        for other in parts:
            votes += (part == other).astype(np.uint8) * np.uint8(2)
        better = votes > most
        best, most = np.where(better, part, best), np.where(better, votes, most)
    return best


def mean(values: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """The mean of every `factors` elements, which are 1 or 2 per axis, in the type of the values."""
    parts = list(_parts(values, factors))
    total = np.zeros(parts[0].shape, np.float32 if values.dtype.itemsize <= 2 or values.dtype == np.float32 else float)
    for part in parts:
        total += part
    total /= len(parts)
    return (total if values.dtype.kind == "f" else np.rint(total)).astype(values.dtype)


def _parts(values: NDArray[Any], factors: tuple[int, ...]) -> Iterator[NDArray[Any]]:
    """One array for each place within `factors`. Where an axis has an odd length, its last element stands twice."""
    odd = [(0, -length % factor) for length, factor in zip(values.shape, factors, strict=True)]
    if any(more for _, more in odd):
        values = np.pad(values, odd, mode="edge")
    for place in product(*map(range, factors)):
        yield values[tuple(slice(start, None, step) for start, step in zip(place, factors, strict=True))]


def shrink(source: Any, target: Any, region: Region, factors: tuple[int, ...], reduce: Reduce) -> None:
    """Write one `region` of `target` from what `source` has there, `factors` times as long along each axis.

    It is read in pieces of the size of the region: twice its memory is enough.
    """
    block = np.zeros([part.stop - part.start for part in region], source.dtype)
    for piece in product(*map(_pieces, region, factors)):
        ends = zip(piece, factors, source.shape, strict=True)
        wanted = tuple(slice(part.start * times, min(part.stop * times, n)) for part, times, n in ends)
        inner = tuple(
            slice(part.start - whole.start, part.stop - whole.start) for part, whole in zip(piece, region, strict=True)
        )
        block[inner] = reduce(np.asarray(source[wanted]), factors)
    target[region] = block


def _pieces(part: slice, factor: int) -> list[slice]:
    """The halves of a part whose source is twice as long."""
    middle = (part.start + part.stop + 1) // 2
    if factor == 1 or middle in (part.start, part.stop):
        return [part]
    return [slice(part.start, middle), slice(middle, part.stop)]
