"""Masks in colour -> numbers, one for each colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.check.greys import AREAS, count_greys, find_flat
from contractile.images.names import some

SMALLEST = 4  # pixels with neighbours of their colour that a colour of a mask has
EVEN = 0.1  # share of the range by which neighbours in one area of a compressed mask may differ, in every channel
NEAR = 0.3  # ... within which colours of a compressed mask are one
EXACT = 0.05  # ... within which most pixels are of the colour of their area
FULL = 0.5  # share of the pixels that have neighbours of their colour, and of those that have it exactly
RARE = 0.002  # share of the pixels below which a colour of a compressed mask is a mixture at edges
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
    exact = find_flat(codes)
    common = codes == _most_common(codes)
    if np.count_nonzero(exact & ~common) >= AREAS * np.count_nonzero(~common):
        found, counts = np.unique(codes[exact], return_counts=True)
        return _spread(codes, exact & np.isin(codes, found[counts >= SMALLEST]))
    return _merge_near(codes, pixels)


def _most_common(codes: NDArray[np.int64]) -> Any:
    found, counts = np.unique(codes, return_counts=True)
    return found[counts.argmax()]


def _spread(codes: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The colours in which each pixel that is not kept has that of the nearest kept one."""
    nearest = ndimage.distance_transform_edt(~kept, return_distances=False, return_indices=True)
    spread: NDArray[np.int64] = codes[tuple(nearest)]
    return spread


def _merge_near(codes: NDArray[np.int64], pixels: NDArray[Any]) -> NDArray[np.int64] | None:
    """The colours of a compressed mask: near ones become one, and edges get the nearest of them.

    None where areas are not of one colour, as in a photograph.
    """
    span = max(1.0, float(pixels.max()))
    flat = np.logical_and.reduce([find_flat(channel.astype(float), reach=EVEN * span) for channel in pixels])
    found, place, counts = np.unique(codes[flat], return_inverse=True, return_counts=True)
    colours = np.array([unpack(int(code), len(pixels)) for code in found], float)  # (n, C)
    target, distance = _merge(colours, counts, NEAR * span)
    close = counts[distance <= EXACT * span].sum()
    if flat.mean() < FULL or close < FULL * counts.sum():
        return None
    shares = np.bincount(target, counts, len(found)) / flat.sum()
    clean = np.zeros_like(codes)
    clean[flat] = found[target[place]]
    flat[flat] = shares[target[place]] >= RARE
    return _spread(clean, flat)


def unpack(code: int, channels: int) -> Colour:
    """The colour of a number that `find_colours` gave."""
    return tuple((code >> BITS * n) & (2**BITS - 1) for n in reversed(range(channels)))


def _merge(
    colours: NDArray[np.float64], counts: NDArray[Any], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each of the colours (n, C): the place of the most common one within `reach`, and how far it is."""
    target, distance = np.arange(len(colours)), np.zeros(len(colours))
    kept: list[int] = []
    for one in np.argsort(-counts, kind="stable").tolist():
        away = np.abs(colours[kept] - colours[one]).max(axis=1)
        if kept and away.min() <= reach:
            target[one], distance[one] = kept[int(away.argmin())], away.min()
        else:
            kept.append(one)
    return target, distance


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
    return some([_name(code, channels) for code in codes], SHOWN)


def list_numbers(numbers: Mapping[int, int], channels: int) -> str:
    """The first few colours with their numbers, in words."""
    return some([f"{_name(code, channels)} = {number}" for code, number in numbers.items()], SHOWN)


def _name(code: int, channels: int) -> str:
    """#rrggbb, or the values where there are other channels or more than 8 bits."""
    colour = unpack(code, channels)
    return f"#{bytes(colour).hex()}" if channels == CHANNELS and max(colour) < 256 else f"{colour}"
