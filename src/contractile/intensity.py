"""Grey values of any range -> values a network learns from: one offset and one scale per image
and channel, never per tile, so that tiles of one image fit together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contractile.errors import ContractileError

SAMPLE = 2**20  # pixels per channel that the statistics look at


class Pixels(Protocol):
    """(C, *S): an array, or an image left on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    def __getitem__(self, key: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class Affine:
    """values = (pixels - offset) * scale, offset and scale (C,) float64."""

    offset: NDArray[np.float64]
    scale: NDArray[np.float64]

    def apply(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """(C, *S) of any type -> (C, *S) float32; the same for a tile as for the whole image."""
        pixels = np.asarray(pixels)
        if pixels.shape[0] != len(self.offset):
            raise ContractileError(
                f"pixels must have {len(self.offset)} channels as at the fit, got {pixels.shape}", "fit again"
            )
        per_channel = (-1, *(1,) * (pixels.ndim - 1))
        # small integers are exact in float32; the others would lose digits before the subtraction
        exact = pixels.dtype.itemsize <= 2 or pixels.dtype == np.float32
        work = np.float32 if exact else np.float64
        offset: NDArray[Any] = self.offset.astype(work).reshape(per_channel)
        scale: NDArray[Any] = self.scale.astype(work).reshape(per_channel)
        values: NDArray[np.float32] = ((pixels.astype(work) - offset) * scale).astype(np.float32, copy=False)
        return values

    def invert(self, values: NDArray[np.floating[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
        """(C, *S) -> the pixels (C, *S) of type `dtype` that `apply` makes the values of, to rounding and range."""
        per_channel = (-1, *(1,) * (values.ndim - 1))
        pixels = values * _inverse(self.scale).reshape(per_channel) + self.offset.reshape(per_channel)
        if dtype.kind in "iu":
            limits = np.iinfo(dtype)
            pixels = np.rint(pixels).clip(limits.min, limits.max)
        return pixels.astype(dtype)


class Normalization(BaseModel):
    """How offset and scale follow from an image.

    percentile: the `low` percentile becomes 0, the `high` one 1; nothing is clipped.
    standard: mean 0 and standard deviation 1. none: the pixels as they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["percentile", "standard", "none"] = "percentile"
    low: float = Field(1.0, ge=0, le=100)
    high: float = Field(99.8, ge=0, le=100)

    @model_validator(mode="after")
    def _ordered(self) -> Normalization:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")
        return self

    def fit(self, pixels: Pixels) -> Affine:
        """Offset and scale for pixels (C, *S), from at most about 2^20 of them per channel, evenly
        spread. A constant channel becomes 0. Raises ValueError where pixels are NaN or infinite."""
        sample = _subsample(pixels)  # (C, n)
        if not np.isfinite(sample).all():
            raise ContractileError("pixels must be finite numbers, got NaN or infinity", "replace them by 0")
        if self.kind == "none":
            return Affine(np.zeros(len(sample)), np.ones(len(sample)))
        if self.kind == "standard":
            return Affine(sample.mean(axis=1), _inverse(sample.std(axis=1)))
        low, high = np.percentile(sample, (self.low, self.high), axis=1)
        # few bright spots on a flat ground: both percentiles fall on the ground
        flat = high <= low
        low = np.where(flat, sample.min(axis=1), low)
        high = np.where(flat, sample.max(axis=1), high)
        return Affine(low, _inverse(high - low))


def _subsample(pixels: Pixels) -> NDArray[np.float64]:
    """Every k-th pixel along every axis of space, k the same for all: (C, *S) -> (C, n)."""
    space = pixels.shape[1:]
    step = max(1, int(np.ceil((np.prod(space, dtype=float) / SAMPLE) ** (1 / len(space)))))
    sample = np.asarray(pixels[(slice(None), *(slice(None, None, step),) * len(space))])
    return sample.reshape(len(sample), -1).astype(np.float64)


def _inverse(spread: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
