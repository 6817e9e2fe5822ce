"""Whether an image is like those that a network learned from.

An image is known by a few numbers for each channel: its range and noise of grey values, how light is spread, and how
much there is of structures of each size. An image whose numbers are far from those of all training images is unlike
them: nobody knows how good the network is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contractile.errors import ContractileError, in_one_line

Floats = NDArray[np.float64]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Row = tuple[Number, ...]

SIZES = (1, 2, 4, 8, 16, 32)  # pixels: structures of these sizes are looked for
NAMES = ("range", "noise", "light", "skew", *(f"size {size}" for size in SIZES))  # of a channel
LEAST = 1e-4  # of the range: less is nothing
EMPTY = 2.0  # the distance of an image with an empty channel, where no training image has one
MOST = 256  # training images that are kept, those that differ most from one another
NEAREST = 0.98  # share of the training images that count as like the others
WIDEN = 1.4  # times their distance: an image farther off is unlike them
SHRINK = 0.3  # is added to the variances of what training images vary in together; more where they are few
BLUNT = 0.05  # logarithm to 10: what differs by less does not differ
DIGITS = 4


class Unlike(NamedTuple):
    """How far an image is from the training images: 1 is the limit. `reason` says in what, in words."""

    score: float
    reason: str

    @property
    def is_far(self) -> bool:
        """Whether the image is beyond the limit, so that worse results are to be expected."""
        return self.score > 1


def statistics(values: NDArray[Any], span: Floats, noise: Floats) -> Floats:
    """The numbers (C * N,) that an image is known by.

    `values` (C, *S) are those that the network sees; `span` (C,) is the range of grey values that became 1, and `noise`
    (C,) the standard deviation of their noise, both in grey values. An empty channel has range 0 and numbers of NaN.
    """
    found = []
    for channel, wide, loud in zip(values.astype(np.float32), span, noise, strict=True):
        if wide <= 0:
            found += [math.nan] * len(NAMES)
            continue
        mean, spread = float(channel.mean()), float(channel.std())
        skew = float((((channel - mean) / max(spread, LEAST)) ** 3).mean())
        found += [_log(wide), _log(max(loud, LEAST * wide)), mean, float(np.clip(skew, -5, 5)) / 5, *_sizes(channel)]
    return np.array(found)


def _sizes(channel: NDArray[np.float32]) -> list[float]:
    """The logarithm of how much light varies between neighbours of each size (Haar wavelets along Y and X)."""
    found: list[float] = []
    for _ in SIZES:
        if min(channel.shape[-2:]) < 2:  # as the largest structures that there are
            found.append(found[-1] if found else math.log10(LEAST))
            continue
        height, width = (n // 2 for n in channel.shape[-2:])
        cut = channel[..., : 2 * height, : 2 * width]
        channel = cut.reshape(*cut.shape[:-2], height, 2, width, 2).mean(axis=(-3, -1))
        varied = _mean_square(cut) - _mean_square(channel)
        found.append(0.5 * math.log10(max(varied, LEAST**2)))
    return found


def _mean_square(values: NDArray[np.float32]) -> float:
    return float(np.mean(np.square(values), dtype=np.float64))


def _log(value: float) -> float:
    return math.log10(max(float(value), 1e-30))


@in_one_line
class Likeness(BaseModel):
    """What training images are known by: some of them, and how to measure the distance from them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scales: Row = Field(description="of each number, the difference that counts as 1")
    axes: tuple[Row, ...] = Field(
        description="(N, N): differences of numbers / scales -> what is independent of others"
    )
    images: tuple[Row, ...] = Field(min_length=1, max_length=MOST, description="the numbers of some training images")
    limit: float = Field(gt=0, le=1e9, description="an image that is farther from all of them is unlike them")
    empty: tuple[int, ...] = Field(default=(), description="channels that are empty in some of the training images")

    @model_validator(mode="after")
    def _check(self) -> Likeness:
        number, rows = len(self.scales), (*self.axes, *self.images)
        if len(self.axes) != number or any(len(row) != number for row in rows):
            problem = f"axes and images must have {number} numbers in each row, as many as scales, and as many axes"
            found = sorted({len(row) for row in rows} | {len(self.axes)})
            raise ContractileError(f"{problem}, got {', '.join(map(str, found))}", "train again")
        if min(self.scales, default=0) <= 0:
            raise ContractileError(f"scales must be above 0, got {min(self.scales, default=0)}", "train again")
        return self

    def judge(self, found: Floats) -> Unlike | None:
        """How far the numbers (C * N,) of an image are from those of the training images; None for other channels."""
        known = np.array(self.images)
        if known.shape[1] != len(found):
            return None
        empty = _empty(found)
        odd = [channel for channel in empty if channel not in self.empty]
        if odd:
            one_of = f"channel {odd[0]}" if len(found) > len(NAMES) else "it"
            return Unlike(EMPTY, f"{one_of} is empty")
        if len(empty) * len(NAMES) == len(found):
            return None
        found = np.where(np.isnan(found), known, found)  # an empty channel is as far away as in any training image
        apart = (found - known) / np.array(self.scales)
        distance = _length(apart @ np.array(self.axes))
        nearest = int(distance.argmin())
        score = float(distance[nearest]) / self.limit
        return Unlike(score, _explain(apart[nearest], (found - known)[nearest]))


def _empty(numbers: Floats) -> list[int]:
    """The channels that are empty in numbers (..., C * N)."""
    channels = numbers.reshape(-1, numbers.shape[-1] // len(NAMES), len(NAMES))
    return np.flatnonzero(np.isnan(channels).any(axis=(0, 2))).tolist()


def _length(apart: Floats) -> Floats:
    """Differences (..., N) -> their root mean square (...,)."""
    result: Floats = np.sqrt(np.mean(apart**2, axis=-1))
    return result


def _explain(apart: Floats, differences: Floats) -> str:
    """In what an image differs most from the nearest training image."""
    worst = int(np.abs(apart).argmax())
    which, by = worst % len(NAMES), float(differences[worst])
    times = f"{10 ** abs(by):.2g} times {'higher' if by > 0 else 'lower'}"
    if NAMES[which] in ("range", "noise"):
        return f"{'contrast' if NAMES[which] == 'range' else 'noise'} {times}"
    if NAMES[which] in ("light", "skew"):
        return f"more of it is {'bright' if by > 0 else 'dark'}" if NAMES[which] == "light" else "other grey values"
    size = SIZES[which - len(NAMES) + len(SIZES)]
    return f"structures of {size} to {2 * size} pixels {times} in contrast"


def fit_likeness(rows: Sequence[Floats]) -> Likeness | None:
    """What training images are known by: one row of numbers (N,) each, as `statistics` gives them. None without any."""
    if not len(rows):
        return None
    every = np.array(rows)
    known = every[~np.isnan(every).all(axis=1)]
    if not len(known):
        return None
    missing = np.isnan(known)
    known = np.where(missing, np.where(missing, 0, known).sum(axis=0) / np.maximum(1, (~missing).sum(axis=0)), known)
    scales = np.maximum(known.std(axis=0), BLUNT)
    axes = _independent((known - known.mean(axis=0)) / scales)
    seen = known / scales @ axes
    kept = _spread_out(seen)
    near = np.full(len(seen), np.inf)
    for one in kept:
        apart = _length(seen - seen[one])
        apart[one] = np.inf  # from itself
        near = np.minimum(near, apart)
    near = near[np.isfinite(near)]  # one that is the only one kept has no other
    limit = WIDEN * max(float(np.quantile(near, NEAREST)) if len(near) else 1.0, 0.5)
    return Likeness(
        scales=_rounded(scales),
        axes=tuple(map(_rounded, axes)),
        images=tuple(map(_rounded, known[kept])),
        limit=round(limit, DIGITS),
        empty=tuple(_empty(every)),
    )


def _rounded(values: Floats) -> Row:
    return tuple(round(float(value), DIGITS) for value in values)


def _independent(apart: Floats) -> Floats:
    """Axes (N, N) along which rows (n, N) of mean 0 vary independently, with a variance of about 1 along each."""
    variances, axes = np.linalg.eigh(apart.T @ apart / max(1, len(apart) - 1))
    result: Floats = axes / np.sqrt(np.maximum(variances, 0) + SHRINK + len(axes) / len(apart))
    return result


def _spread_out(known: Floats) -> list[int]:
    """Indices of at most MOST rows, each as far from the ones before as can be; the first one is the middle one."""
    chosen = [int(_length(known - np.median(known, axis=0)).argmin())]
    far = _length(known - known[chosen[0]])
    while len(chosen) < min(MOST, len(known)) and far.max() > 0:
        chosen.append(int(far.argmax()))
        far = np.minimum(far, _length(known - known[chosen[-1]]))
    return chosen
