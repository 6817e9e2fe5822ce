"""Lower resolutions of an array, made region by region: labels by majority, all else by the mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.compiled import compiled

Reduce = Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]
Region = tuple[slice, ...]


def majority(labels: NDArray[Any], factors: tuple[int, ...]) -> NDArray[Any]:
    """The most frequent number among every `factors` elements, which are 1 or 2 per axis, and 1 but for the last three.

    Of equally frequent ones an object wins over the background, so that thin objects stay, and among objects the first.
    """
    lengths = [math.ceil(length / factor) for length, factor in zip(labels.shape, factors, strict=True)]
    out = np.empty(lengths, labels.dtype)
    room, steps = (-1, *((1, 1, *labels.shape)[-3:])), (1, 1, *factors)[-3:]
    _majority(np.ascontiguousarray(labels).reshape(room), steps, out.reshape(-1, *((1, 1, *lengths)[-3:])))
    return out


@compiled
def _majority(labels: Any, factors: Any, out: Any) -> None:
    """Labels and `out` are (N, Z, Y, X). Where an axis has an odd length, its last element stands twice."""
    depth, length, width = labels.shape[1:]
    count = factors[0] * factors[1] * factors[2]
    votes = np.empty(count, labels.dtype)
    for n, z, y in np.ndindex(out.shape[:3]):
        for x in range(out.shape[3]):
            seen, alike = 0, True
            for k in range(factors[0] * z, factors[0] * (z + 1)):
                for j in range(factors[1] * y, factors[1] * (y + 1)):
                    for i in range(factors[2] * x, factors[2] * (x + 1)):
                        votes[seen] = labels[n, min(k, depth - 1), min(j, length - 1), min(i, width - 1)]
                        alike &= votes[seen] == votes[0]
                        seen += 1
            out[n, z, y, x] = votes[0] if alike else _elect(votes)


@compiled
def _elect(votes: Any) -> Any:
    """The vote of the majority; see `majority` for equal ones."""
    best, most = votes[0], 0
    for one in range(len(votes)):
        weight = 1 if votes[one] != 0 else 0
        for other in range(len(votes)):
            weight += 2 if votes[one] == votes[other] else 0
        if weight > most:
            best, most = votes[one], weight
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
