"""Masks in colour -> numbers, one for each colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.check.greys import count_greys, snap

NEAR = 0.1  # colours of a compressed mask closer than this share of the range, in every channel, are one
SHOWN = 8  # colours that are named
BITS = 16  # of one channel of a colour
CHANNELS = 3

Colour = tuple[int, ...]


def find_colours(pixels: NDArray[Any]) -> NDArray[np.int64] | None:
    """The colour of each pixel of a mask (C, *S), packed into one number; smoothed edges get the nearest full colour.

    None for a picture with hardly any area of one colour, and for one that is not of up to three channels of integers
    of 16 bits.
    """
    if pixels.dtype.kind not in "iu" or len(pixels) > CHANNELS or pixels.min() < 0 or pixels.max() >= 2**BITS:
        return None
    codes = np.zeros(pixels.shape[1:], np.int64)
    for channel in pixels:
        codes = (codes << BITS) | channel.astype(np.int64)
    if not any(count_greys(channel) for channel in pixels):
        return codes
    found, place = np.unique(codes, return_inverse=True)
    snapped = snap(place.reshape(codes.shape))
    if snapped is None:
        return None
    counts = np.bincount(snapped.ravel(), minlength=len(found))
    return found[_merge(found, counts, len(pixels))[snapped]]


def unpack(code: int, channels: int) -> Colour:
    """The colour of a number that `find_colours` gave."""
    return tuple((code >> BITS * n) & (2**BITS - 1) for n in reversed(range(channels)))


def _merge(codes: NDArray[np.int64], counts: NDArray[Any], channels: int) -> NDArray[np.int64]:
    """For each colour: the place of the most common one among those near it."""
    colours = np.array([unpack(int(code), channels) for code in codes], float)  # (n, C)
    near = NEAR * max(1.0, float(colours.max()))
    target = np.arange(len(codes))
    kept: list[int] = []
    for one in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]:
        distances = np.abs(colours[kept] - colours[one]).max(axis=1)
        if kept and distances.min() <= near:
            target[one] = kept[int(distances.argmin())]
        else:
            kept.append(int(one))
    return target


def number_colours(masks: Iterable[NDArray[np.int64]]) -> dict[int, int]:
    """A number for each colour in masks of packed colours: 0 for black, or the most common where there is no black.

    The others are numbered in the order of their red, green and blue.
    """
    counts: Counter[int] = Counter()
    for codes in masks:
        found, sizes = np.unique(codes, return_counts=True)
        counts.update(dict(zip(found.tolist(), sizes.tolist(), strict=True)))
    if not counts:
        return {}
    background = 0 if 0 in counts else counts.most_common(1)[0][0]
    return {code: number for number, code in enumerate([background, *sorted(set(counts) - {background})])}


def apply_numbers(codes: NDArray[np.int64], numbers: Mapping[int, int]) -> NDArray[np.int32]:
    """A mask of packed colours as labels (*S)."""
    found, place = np.unique(codes, return_inverse=True)
    return np.array([numbers[code] for code in found.tolist()], np.int32)[place].reshape(codes.shape)


def list_colours(codes: Sequence[int], channels: int) -> str:
    """The first few colours in words: #ff0000, #00ff00 and 3 more."""
    return _some([_name(code, channels) for code in codes])


def list_numbers(numbers: Mapping[int, int], channels: int) -> str:
    """The first few colours with their numbers, in words."""
    return _some([f"{_name(code, channels)} = {number}" for code, number in numbers.items()])


def _name(code: int, channels: int) -> str:
    """#rrggbb, or the values where there are other channels or more than 8 bits."""
    colour = unpack(code, channels)
    return f"#{bytes(colour).hex()}" if channels == CHANNELS and max(colour) < 256 else f"{colour}"


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
