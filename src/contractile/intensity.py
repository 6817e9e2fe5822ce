"""Grey values of any range -> the values that a network sees: one curve per channel of an image.

The curve is found once per image and never per tile, so that tiles of one image fit together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import ndimage

from contractile.errors import ContractileError, in_one_line
from contractile.grid import Pixels

SAMPLE = 2**20  # pixels per channel that statistics are taken from
AT_ONCE = 2**26  # pixels per channel that one read of the sample spans
BLOCK = {1: 4096, 2: 128, 3: 32}  # side of the blocks that a large image is known by
FLOOR = 8.0  # the range is at least this many standard deviations of the noise
KNEE = 3.0  # compressive: the curve is straight up to this many standard deviations of the noise ...
WIDEST = 30.0  # ... or the range divided by this
LOWEST, HIGHEST = -1.0, 3.0  # of the values that a network sees
FEW = 16  # pixels that may be brighter than the brightest structure: hot pixels, dust
REACH = 6.0  # the range is at most this many times the brightness that three quarters of the structures do not reach
GAP = 20.0  # no lens leaves nothing between a brightness and so many times as much
THIN = 2.0  # what is so many times brighter than the brightest structure is no structure
SHARED = 3.0  # compressive: noise that neighbours share looks like small objects, and counts so many times
FAR = (4, 8, 16)  # pixels between neighbours that share no noise
PADDED = 0.01  # the least part of an image that is padding
SOLID = 0.95  # the least part of its box that a rectangle fills
MOSTLY = 0.8  # the least part of what is not padding that lies in rectangles; the rest is dust or a scale bar
SMALLEST = 64  # pixels along each side of an image that is padded
TRIMMED, TRIMMED_RMS = 0.98, 0.9346  # the root mean square of the smallest 98 % of normal deviates
DARK = 8.0  # the background of a dark image lies in this part of its range
LARGEST, SMALLEST_SPAN = 1e30, 1e-30  # of pixels, and of their range: float32 holds little more
STEP = 0.29  # standard deviation of the rounding to whole numbers: 1 / sqrt(12)


@dataclass(frozen=True, eq=False)
class Intensity:
    """The curve of each channel (C,): relative = (pixels - offset) * scale; values = bend(relative).

    Relative values are linear in light: 0 is the background, 1 the brightest structures. `noise` is the standard
    deviation of their noise. `compressive` values rise with the logarithm of the relative ones above the noise.
    `bounded` values lie between -1 and 3. Pixels of the value `padding` (C,), which is NaN for none, are background.
    """

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]
    noise: NDArray[np.float64]
    compressive: bool = False
    bounded: bool = True
    padding: NDArray[np.float64] | None = None

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (C, *S) of any type -> values (C, *S) float32, the same for a tile as for the whole image."""
        return self.bend(self.relative(pixels), self.noise)

    def relative(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (C, *S) of any type -> relative values (C, *S) float32."""
        pixels = np.asarray(pixels)
        if pixels.shape[0] != len(self.offset):
            problem = f"pixels must have {len(self.offset)} channels, as at the fit, got {pixels.shape}"
            raise ContractileError(problem, "fit again")
        # integers of 16 bits are exact in float32; larger ones would lose digits before the subtraction
        work: Any = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
        offset, scale = (_along(one, pixels.ndim).astype(work) for one in (self.offset, self.scale))
        work = pixels.astype(work)
        if self.bounded:
            steps = _along(self.reach * _inverse(self.scale), pixels.ndim)
            work = np.clip(work, (offset - steps).astype(work.dtype), (offset + steps).astype(work.dtype))
        values: NDArray[np.float32] = ((work - offset) * scale).astype(np.float32, copy=False)
        if self.padding is not None:
            values[pixels == _along(self.padding, pixels.ndim)] = 0
        return values

    def bend(self, relative: NDArray[np.float32], noise: NDArray[np.float64]) -> NDArray[np.float32]:
        """Relative values (C, *S) with `noise` (C,) -> the values that a network sees (C, *S) float32."""
        if not self.bounded:
            return relative
        louder = np.maximum(1.0, FLOOR * noise)  # what does not rise above the noise is not stretched
        values = relative / _along(louder, relative.ndim).astype(np.float32)
        if self.compressive:
            knee = _along(self._knee(noise / louder), relative.ndim).astype(np.float32)
            size = np.abs(values) / knee
            bent = np.log(size + np.sqrt(size * size + 1)) / np.arcsinh(1 / knee)  # asinh, in fast functions
            values = np.copysign(bent, values)
        bounded: NDArray[np.float32] = np.clip(values, np.float32(LOWEST), np.float32(HIGHEST))
        return bounded

    def invert(self, values: NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Values (C, *S) -> pixels (C, *S) of type `dtype`, rounded and clipped: the inverse of `apply`."""
        relative = values.astype(np.float64)
        if self.bounded:
            relative = _unbend(relative, _along(self.knee, values.ndim))
        pixels = relative * _along(_inverse(self.scale), values.ndim) + _along(self.offset, values.ndim)
        if dtype.kind in "iu":
            pixels = np.rint(pixels).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
        result: NDArray[Any] = pixels.astype(dtype)
        return result

    @property
    def knee(self) -> NDArray[np.float64]:
        """The relative value (C,) up to which the curve is straight; infinite where it is straight everywhere."""
        return self._knee(self.noise)

    @property
    def reach(self) -> NDArray[np.float64]:
        """The relative value (C,) from which on, up and down, the values that a network sees do not change any more."""
        return _unbend(np.full_like(self.noise, HIGHEST), self.knee)

    def _knee(self, noise: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.maximum(KNEE * noise, 1 / WIDEST) if self.compressive else np.full_like(noise, np.inf)


@in_one_line
class Normalization(BaseModel):
    """How the curve follows from an image.

    linear: the percentile `low` becomes 0 and the percentile `high` becomes 1. The range between them is at least eight
    times the noise, so that an image without structures is not stretched, and no value lies beyond -1 and 3.
    compressive: for bright structures on a dark background, of which some are far brighter than others. The background
    becomes 0 and the brightest structures become 1, on a curve (asinh) that is straight near the noise and logarithmic
    above it.
    percentile, standard, none: as earlier versions had them. The percentiles, or the mean and the mean plus one
    standard deviation, become 0 and 1; or pixels are not changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["linear", "compressive", "percentile", "standard", "none"] = Field(
        "linear", description="how grey values are scaled"
    )
    low: float = Field(
        1.0, ge=0, le=100, description="percentile of the grey values that becomes 0 (of kinds with percentiles)"
    )
    high: float = Field(
        99.8, ge=0, le=100, description="percentile of the grey values that becomes 1 (of kinds with percentiles)"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Normalization:
        if self.low >= self.high:
            raise ContractileError(f"low must be below high, got {self.low} and {self.high}", "use 1 and 99.8")
        return self

    def fit(self, pixels: Pixels) -> Intensity:
        """The curve for pixels (C, *S), from about 2^20 evenly spread pixels per channel at most.

        A constant channel becomes 0. Raises ContractileError where one of these pixels is NaN or infinite, and for a
        range that float32 cannot hold.
        """
        blocks = list(_blocks(pixels)) if self.kind in ("linear", "compressive") else [_subsample(pixels)]
        if not all(np.isfinite(block).all() for block in blocks):
            raise ContractileError("pixels must be finite numbers, got NaN or infinity", "replace them by 0")
        with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
            if self.kind in ("linear", "compressive"):
                return self._fit_blocks(blocks, whole=pixels.dtype.kind in "iu")
            low, high = self._fit_sample(blocks[0])
            _check_range(low, high - low, np.zeros(len(low)))
        return Intensity(low, _inverse(high - low), np.zeros(len(low)), bounded=False)

    def _fit_sample(self, sample: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What becomes 0 and what becomes 1 (C,), from pixels (C, n)."""
        if self.kind == "none":
            return np.zeros(len(sample)), np.ones(len(sample))
        if self.kind == "standard":
            return sample.mean(axis=1), sample.mean(axis=1) + sample.std(axis=1)
        low, high = np.percentile(sample, (self.low, self.high), axis=1)
        # with few bright spots on a flat background, both percentiles are the background
        flat = high <= low
        return np.where(flat, sample.min(axis=1), low), np.where(flat, sample.max(axis=1), high)

    def _fit_blocks(self, blocks: list[NDArray[Any]], *, whole: bool) -> Intensity:
        """The curve from blocks (C, *B) of pixels; `whole` says that pixels are whole numbers."""
        found = [self._fit_channel([block[c] for block in blocks], whole) for c in range(len(blocks[0]))]
        low, span, noise, padding = np.array(found).T
        _check_range(low, span, noise)
        scale = _inverse(np.maximum(span, FLOOR * noise))
        if self.kind == "linear":
            return Intensity(low, scale, noise * scale)
        return Intensity(low, scale, noise * scale, compressive=True, padding=padding)

    def _fit_channel(self, blocks: list[NDArray[Any]], whole: bool) -> tuple[float, float, float, float]:
        """Background, range, noise and padding of one channel, in its own units."""
        padding = _find_padding(blocks, whole)
        seen = [block != padding for block in blocks]
        clean = [ndimage.median_filter(block, _flat(block.ndim, 3)) for block in blocks]  # without hot pixels
        pixels, brightest = _join(blocks, seen), _join(clean, seen)
        middle = np.median(brightest)
        dark = [here & (one <= middle) for here, one in zip(seen, clean, strict=True)]
        low, high = np.percentile(pixels, (self.low, self.high))
        if self.kind == "compressive":
            inside = [ndimage.minimum_filter(one, _flat(one.ndim, 5)) for one in seen]
            smooth = [ndimage.uniform_filter(one.astype(np.float64), _flat(one.ndim, 5)) for one in clean]
            low = np.percentile(_join(smooth, inside if any(one.any() for one in inside) else seen), self.low)
            high = max(high, np.partition(brightest, -min(FEW, brightest.size))[-min(FEW, brightest.size)])
            near, far = _noise(blocks, dark, 1), max(_noise(blocks, dark, lag) for lag in FAR)
            noise = math.hypot(near, SHARED * math.sqrt(max(0.0, far**2 - near**2)))
        else:
            noise = _noise(blocks, dark, 2)
        noise = max(noise, STEP if whole else 0.0)
        structures = _without_defects(np.sort(brightest[brightest > low + FLOOR * noise] - low))
        top = structures[-min(FEW, structures.size)] if structures.size else FLOOR * noise
        if high <= low and pixels.size:  # a few spots on a flat background
            low, high = pixels.min(), pixels.max()
        elif high - low > THIN * top > 0:  # thin lines, which the median filter takes away
            high = low + top
        if structures.size:
            high = min(high, low + REACH * np.percentile(structures, 75))
        return float(low), float(high - low), noise if high > low else 0.0, padding


def _check_range(low: NDArray[np.float64], span: NDArray[np.float64], noise: NDArray[np.float64]) -> None:
    """Raise ContractileError for a background, a range or a noise (C,) that float32 cannot hold."""
    sizes = np.abs([low, span, noise])
    least = np.where(span > 0, span, 1.0).min()
    if not (np.isfinite(sizes).all() and sizes.max() <= LARGEST and least >= SMALLEST_SPAN):
        problem = (
            f"pixels must have a range of {SMALLEST_SPAN:g} to {LARGEST:g}, got {low[0]:.3g} to {low[0] + span[0]:.3g}"
        )
        raise ContractileError(problem, "rescale them, e.g. to 0 ... 1")


def bright_on_dark(pixels: NDArray[Any], ground: NDArray[np.bool_]) -> bool:
    """Whether the `ground` (*S) of an image (C, *S) is dark in every channel, as in fluorescence.

    Its median then lies in the lowest eighth of the range of the image.
    """
    low, high = np.percentile(pixels.reshape(len(pixels), -1), (1, 99.8), axis=1)
    middle = np.median(pixels[:, ground], axis=1) if ground.any() else high
    return bool(((middle - low) * DARK <= high - low).all() and (high > low).all())


def _noise(blocks: list[NDArray[Any]], dark: list[NDArray[np.bool_]], lag: int) -> float:
    """Standard deviation of the noise where blocks are `dark`, between pixels `lag` apart along Y and X.

    Second differences cancel slopes. The largest are left out: they are edges. Noise that a lens, an interpolation or a
    filter has spread over neighbours shows at a larger lag only.
    """
    found = []
    for block, darker in zip(blocks, dark, strict=True):
        for axis in range(-min(2, block.ndim), 0):
            line, here = np.moveaxis(block.astype(np.float64), axis, -1), np.moveaxis(darker, axis, -1)
            if line.shape[-1] <= 2 * lag:
                continue
            left, centre, right = slice(None, -2 * lag), slice(lag, -lag), slice(2 * lag, None)
            bend = np.abs(line[..., left] - 2 * line[..., centre] + line[..., right]) / math.sqrt(6)
            found.append(bend[here[..., left] & here[..., centre] & here[..., right]])
    sizes = np.sort(np.concatenate(found or [np.zeros(0)]))
    kept = sizes[: math.ceil(TRIMMED * sizes.size)]
    return float(np.sqrt(np.mean(kept**2)) / TRIMMED_RMS) if sizes.size else 0.0


def _find_padding(blocks: list[NDArray[Any]], whole: bool) -> float:
    """The value that fills up an image, and says nothing about its background; NaN where there is none.

    Two kinds are known. Around turned images: the lowest value, in up to half of the image, far below the rest, which
    means farther than half of the other pixels lie apart. Around and between rectangles: any value.
    """
    pixels = np.concatenate([block.ravel() for block in blocks])
    if pixels.size >= SMALLEST**2:
        lowest = pixels.min()
        rest = pixels[pixels > lowest].astype(np.float64)
        if pixels.size / 2 < rest.size < (1 - PADDED) * pixels.size:
            darkest, middle = np.percentile(rest, (1, 50))
            if darkest - float(lowest) > max(middle - darkest, FLOOR * STEP if whole else 0.0):
                return float(lowest)
        for value in {blocks[0].flat[0], blocks[-1].flat[-1]}:  # one of these corners is padding, wherever the rest is
            padded = pixels == value
            inside = pixels[~padded]
            if padded.mean() > PADDED and inside.size and inside.min() < inside.max() and _frames(blocks, value):
                return float(value)
    return math.nan


def _frames(blocks: list[NDArray[Any]], value: Any) -> bool:
    """Whether `value` lies around rectangles, each as large as an image or cut by its block, and hardly within them.

    Little else may lie beside them: dust, a scale bar.
    """
    rest = found = holes = padded = 0
    for block in blocks:
        numbers, _ = ndimage.label(block != value)
        sizes = np.bincount(numbers.ravel())
        padded, rest = padded + int(sizes[0]), rest + int(sizes[1:].sum())
        for box, size in zip(ndimage.find_objects(numbers), sizes[1:], strict=True):
            area = math.prod(one.stop - one.start for one in box)
            sides = list(zip(box, block.shape, strict=True))[-2:]
            large = all(s.stop - s.start >= SMALLEST or s.start == 0 or s.stop == end for s, end in sides)
            if large and size >= SOLID * area:
                found, holes = found + int(size), holes + area - int(size)
    return found >= MOSTLY * rest and holes <= (1 - SOLID) * padded


def _without_defects(structures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sorted brightness of structures -> without those above a gap that no lens leaves: dust, a scale bar."""
    if structures.size <= FEW:
        return structures
    gaps = np.flatnonzero(structures[FEW:] > GAP * structures[FEW - 1 : -1])
    return structures[: FEW + gaps[0]] if gaps.size else structures


def _join(blocks: list[NDArray[Any]], where: list[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """All pixels of the blocks that `where` names, in one row."""
    return np.concatenate([block[one] for block, one in zip(blocks, where, strict=True)]).astype(np.float64)


def _flat(dims: int, size: int) -> tuple[int, ...]:
    """The size of a filter within planes."""
    return (1,) * (dims - 2) + (size,) * min(dims, 2)


def _blocks(pixels: Pixels) -> Iterator[NDArray[Any]]:
    """The whole of a small image, else evenly spread blocks that hold about SAMPLE pixels: (C, *B) each.

    Their places follow from the size of the image alone, not from how it is stored.
    """
    space = pixels.shape[1:]
    if math.prod(space) <= SAMPLE:
        yield _known(np.asarray(pixels[...]))
        return
    side = BLOCK[len(space)]
    number = max(2, round((SAMPLE / side ** len(space)) ** (1 / len(space))))
    starts = [np.unique(np.linspace(0, max(0, size - side), number).astype(int)) for size in space]
    for first in starts[0]:  # a band at a time: a compressed file without tiles is decoded once for each
        whole = (slice(None),) * (len(space) - 1)
        band = _known(np.asarray(pixels[(slice(None), slice(int(first), int(first) + side), *whole)]))
        for rest in np.ndindex(*(len(one) for one in starts[1:])):
            corner = [int(one[n]) for one, n in zip(starts[1:], rest, strict=True)]
            yield band[(slice(None), slice(None), *(slice(at, at + side) for at in corner))]


def _known(pixels: NDArray[Any]) -> NDArray[Any]:
    """The same values in a type that scipy's filters know."""
    return (
        pixels.astype({2: np.float32, 16: np.float64}.get(pixels.dtype.itemsize))
        if pixels.dtype.kind == "f"
        else pixels
    )


def _subsample(pixels: Pixels) -> NDArray[np.float64]:
    """Every k-th pixel along every axis of space, the same k for all: (C, *S) -> (C, n).

    Files in chunks are decoded whole for this: a sample of some chunks would depend on how the image is stored. Lines
    are read in groups, so that no more than the sample and one group are in memory.
    """
    space = pixels.shape[1:]
    step = max(1, math.ceil((math.prod(space) / SAMPLE) ** (1 / len(space))))
    group = step * max(1, AT_ONCE // (step * math.prod(space[1:])))
    rest = (slice(None, None, step),) * (len(space) - 1)
    parts = [np.asarray(pixels[(slice(None), slice(y, y + group, step), *rest)]) for y in range(0, space[0], group)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1).astype(np.float64)


def _unbend(values: NDArray[np.float64], knee: NDArray[np.float64]) -> NDArray[np.float64]:
    """The relative values that become `values`, with the knee of each."""
    straight = np.isinf(knee)
    bent = np.where(straight, 1.0, knee)
    return np.where(straight, values, bent * np.sinh(values * np.arcsinh(1 / bent)))


def _along(one: NDArray[Any], ndim: int) -> NDArray[Any]:
    """(C,) -> (C, 1, ...) with `ndim` axes."""
    return one.reshape(-1, *(1,) * (ndim - 1))


def _inverse(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
