"""Grey values of any range -> the values that a network sees: one offset and one scale per channel of an image.
They are found once and never per tile, so that tiles of one image fit together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contractile.errors import ContractileError
from contractile.grid import Pixels

SAMPLE = 2**20  # pixels per channel that statistics are taken from
AT_ONCE = 2**26  # pixels per channel that one read of the sample spans


@dataclass(frozen=True, eq=False)
class Affine:
    """values = (pixels - offset) * scale, offset and scale (C,) float64."""

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (C, *S) of any type -> values (C, *S) float32, the same for a tile as for the whole image."""
        pixels = np.asarray(pixels)
        if pixels.shape[0] != len(self.offset):
            problem = f"pixels must have {len(self.offset)} channels, as at the fit, got {pixels.shape}"
            raise ContractileError(problem, "fit again")
        per_channel = (-1, *(1,) * (pixels.ndim - 1))
        # integers of 16 bits are exact in float32; larger ones would lose digits before the subtraction
        work: Any = np.float32 if pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32 else np.float64
        offset, scale = (one.astype(work).reshape(per_channel) for one in (self.offset, self.scale))
        values: NDArray[np.float32] = ((pixels.astype(work) - offset) * scale).astype(np.float32, copy=False)
        return values

    def invert(self, values: NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Values (C, *S) -> pixels (C, *S) of type `dtype`, rounded and clipped: the inverse of `apply`."""
        per_channel = (-1, *(1,) * (values.ndim - 1))
        pixels = values * _inverse(self.scale).reshape(per_channel) + self.offset.reshape(per_channel)
        if dtype.kind in "iu":
            pixels = np.rint(pixels).clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
        return pixels.astype(dtype)


class Normalization(BaseModel):
    """How offset and scale follow from an image.

    percentile: the percentile `low` becomes 0 and the percentile `high` becomes 1; nothing is clipped.
    standard: the mean becomes 0 and the standard deviation 1. none: pixels are not changed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["percentile", "standard", "none"] = "percentile"
    low: float = Field(1.0, ge=0, le=100)
    high: float = Field(99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Normalization:
        if self.low >= self.high:
            raise ContractileError(f"low must be below high, got {self.low} and {self.high}", "use 1 and 99.8")
        return self

    def fit(self, pixels: Pixels) -> Affine:
        """Offset and scale for pixels (C, *S), from about 2^20 evenly spread pixels per channel at most.

        A constant channel becomes 0. Raises ContractileError where one of these pixels is NaN or infinite.
        """
        sample = _subsample(pixels)  # (C, n)
        if not np.isfinite(sample).all():
            raise ContractileError("pixels must be finite numbers, got NaN or infinity", "replace them by 0")
        if self.kind == "none":
            return Affine(np.zeros(len(sample)), np.ones(len(sample)))
        if self.kind == "standard":
            return Affine(sample.mean(axis=1), _inverse(sample.std(axis=1)))
        low, high = np.percentile(sample, (self.low, self.high), axis=1)
        # with few bright spots on a flat background, both percentiles are the background
        flat = high <= low
        low = np.where(flat, sample.min(axis=1), low)
        high = np.where(flat, sample.max(axis=1), high)
        return Affine(low, _inverse(high - low))


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


def _inverse(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
