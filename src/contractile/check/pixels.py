"""Faults of an image's pixels, each channel by itself, and of images that do not fit together."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.check.findings import Spot
from contractile.check.odd import find_odd

SATURATED = 0.01  # share of pixels at the upper limit above which it is a fault
LIMITS = {2**bits - 1 for bits in (8, 10, 12, 14, 16)}  # upper limits of cameras
EXPOSURE = 32  # times more or less than what is usual, as 8 bits beside 16; dim images exist
ALIKE = 1.1  # pixel sizes may differ by this factor
SAMPLE = 2**14  # pixels that show the range of an image
USUAL = (0.5, 99.5)  # percentiles of the range of the other pixels
FAR = 100  # so many times that range away, a value is no signal
FEW = 1e-4  # share of the pixels that such values are, at most
DOT = 4  # pixels of a spot that is too small for an object
NO_DATA = {-9999, -99999, -32768, -2147483648, -999}  # what map makers and exporters write where nothing was measured
HUGE = 1e30
STRIPE = 0.02  # share of the lines, and at least 3, that hold one value
RARE = 0.2  # share of that value among the other pixels, at most: else it is a dark background


@dataclass(frozen=True)
class Seen:
    """The properties of an image that are kept once its pixels are gone."""

    where: str
    shape: tuple[int, ...]  # (C, *S)
    dtype: str
    digest: bytes
    pixel_size_um: tuple[float, ...] | None
    span: float  # of the grey values, but a few


def see(pixels: NDArray[Any], where: str, pixel_size_um: tuple[float, ...] | None) -> Seen:
    """The properties of pixels (C, *S)."""
    with np.errstate(invalid="ignore"):  # of NaN, which another complaint names
        sample = pixels.reshape(len(pixels), -1)[:, :: max(1, pixels[0].size // SAMPLE)].astype(np.float64)
    span = float(np.ptp(np.percentile(sample, USUAL, axis=1), axis=0).max()) if np.isfinite(sample).all() else 0.0
    return Seen(where, pixels.shape, str(pixels.dtype), digest(pixels), pixel_size_um, span)


class Found(NamedTuple):
    """Pixels of one extreme value, or of several: their mask (*S), and the range of the others."""

    value: float
    mask: NDArray[np.bool_]
    usual: tuple[float, float]


def digest(array: NDArray[Any]) -> bytes:
    """A fingerprint of the values and the shape of an array."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, key=str(array.shape).encode(), digest_size=16).digest()


def faults_of_pixels(pixels: NDArray[Any], where: str) -> Iterator[Spot]:
    """What is wrong with the pixels (C, *S) of one image; a channel that is not finite is not looked at further."""
    for number, channel in enumerate(pixels):
        bad = ~np.isfinite(channel) if channel.dtype.kind == "f" else np.zeros((), bool)
        if bad.any():
            yield Spot("not finite", where, f"{bad.sum()} of {channel.size} pixels, the first at {_first(bad)}")
            continue
        low, high = channel.min(), channel.max()
        if low == high:
            yield Spot("constant", where, str(number))
            continue
        far = _find_far(channel, float(low), float(high))
        if far is not None:
            usual = "from {:.4g} to {:.4g}".format(*far.usual)
            found = f"{np.count_nonzero(far.mask)} pixel(s) of {far.value:.4g}, the first at {_first(far.mask)}"
            yield Spot("far value", where, f"{found} (nearly all are {usual})")
        yield from _find_stripes(channel, where)
        limited = channel.dtype.kind == "f" or int(high) in LIMITS
        share = float(np.mean(channel == high)) if limited and far is None else 0.0
        if share > SATURATED:
            yield Spot("saturated", where, f"{share:.0%}")


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """The place of the first pixel of a mask that is not empty."""
    return tuple(int(at) for at in np.unravel_index(int(mask.argmax()), mask.shape))


def _find_far(channel: NDArray[Any], low: float, high: float) -> Found | None:
    """Pixels of a channel (*S) that hold no signal: a few dots far outside the range, or a value for "no data"."""
    sample = channel.ravel()[:: max(1, channel.size // SAMPLE)].astype(np.float64)
    for value in (low, high):
        others = sample[sample != value]
        if not others.size:
            continue
        usual = tuple(float(one) for one in np.percentile(others, USUAL))
        width, beyond = usual[1] - usual[0], max(usual[0] - value, value - usual[1])
        if abs(value) > HUGE or (value in NO_DATA and beyond > width):
            return Found(value, channel == value, (usual[0], usual[1]))
        if beyond > FAR * width:
            # halfway to the extreme value, so that several dots of different brightness count together
            limit = (value + usual[int(value == high)]) / 2
            mask = channel > limit if value == high else channel < limit
            if _are_dots(mask):
                return Found(value, mask, (usual[0], usual[1]))
    return None


def _are_dots(mask: NDArray[np.bool_]) -> bool:
    if np.count_nonzero(mask) > max(1.0, FEW * mask.size):
        return False
    pieces, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return bool(np.bincount(pieces.ravel())[1:].max() <= DOT)


def _find_stripes(channel: NDArray[Any], where: str) -> Iterator[Spot]:
    """Lines (planes) of a channel (*S) that hold one value, which is rare elsewhere."""
    names = ("planes", "rows", "columns")[-channel.ndim :]
    for axis, name in enumerate(names):
        across = tuple(other for other in range(channel.ndim) if other != axis)
        low, high = channel.min(axis=across), channel.max(axis=across)
        lines = low == high
        count = int(np.count_nonzero(lines))
        if count < max(3, STRIPE * channel.shape[axis]) or len(np.unique(low[lines])) > 1:
            continue
        rest = channel.compress(~lines, axis)
        if rest.size and np.mean(rest == low[lines][0]) < RARE:
            yield Spot("stripe", where, f"{count} of {channel.shape[axis]} {name}")


def _compare_sizes(sizes: Sequence[tuple[tuple[float, ...], str]]) -> Iterator[Spot]:
    """Pixel sizes that differ, along the axis where they differ most; the image with the largest one is named."""
    ratios = [max(axis) / min(axis) for axis in zip(*(size for size, _ in sizes), strict=True)]
    if not ratios or max(ratios) <= ALIKE:
        return
    axis = max(range(-len(ratios), 0), key=lambda one: (ratios[one], one))
    along = [(size[axis], where) for size, where in sizes]
    (low, _), (high, where) = min(along), max(along)
    yield Spot("pixel sizes", where, f"{low:.4g} to {high:.4g} um along {'ZYX'[axis]}")


def compare(seen: Mapping[Hashable, Seen]) -> Iterator[Spot]:
    """Images of a dataset must be of one kind. Where they are of several, one of the rarest kind is named."""
    kinds = {
        "channels": {key: str(one.shape[0]) for key, one in seen.items()},
        "types": {key: one.dtype for key, one in seen.items()},
    }
    for kind, values in kinds.items():
        counts = Counter(values.values()).most_common()
        if len(counts) > 1:
            rare = next(key for key, value in values.items() if value == counts[-1][0])
            yield Spot(kind, seen[rare].where, ", ".join(f"{n} x {value}" for value, n in counts))
    usual = Counter(one.dtype for one in seen.values()).most_common(1)
    alike = [one for one in seen.values() if one.dtype == usual[0][0]]
    for place, ratio in find_odd([one.span for one in alike], EXPOSURE):
        yield Spot("exposure", alike[place].where, f"{ratio:.2g} times")
    yield from _compare_sizes([(one.pixel_size_um, one.where) for one in seen.values() if one.pixel_size_um])
    first: dict[bytes, str] = {}
    for one in seen.values():
        if first.setdefault(one.digest, one.where) != one.where:
            yield Spot("duplicate", one.where, first[one.digest])
