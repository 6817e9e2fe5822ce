"""Grey values for programs that do not have `intensity`: one simple rule, and what of the curve is in the network.

`intensity` finds the curve of an image from its noise, its structures and its padding. Other programs know
percentiles, or no statistics at all. A rule is what they do. The bend of the curve needs no statistics: it goes into
the network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.intensity import Intensity, Normalization

EPS = 1e-6  # added to a range, as BioImage.IO's `scale_range` and `zero_mean_unit_variance` do
BRIGHTEST = 99.9  # compressive: with this percentile in place of `high`, results change least (docs/export.md)

Floats = NDArray[np.float32]
Kind = Literal["percentiles", "mean", "fixed", "none"]


@dataclass(frozen=True, eq=False)
class Rule:
    """How pixels become what an exported network takes.

    percentiles: of each channel of the whole image, percentile `low` becomes 0 and percentile `high` becomes 1.
    mean: of each channel of the whole image, the mean becomes 0, and the mean plus one standard deviation becomes 1.
    fixed: the network takes pixels as they are, and scales all images as one image was scaled: by `curve`.
    none: the network takes pixels as they are, since it learned so.
    `curve` also holds what of the curve is in the network: whether it bends, and from which value on (the noise).
    """

    kind: Kind
    curve: Intensity
    low: float = field(default=0.0)
    high: float = field(default=100.0)

    @classmethod
    def of(cls, normalization: Normalization, curve: Intensity, *, fixed: bool) -> Rule:
        """The rule for a model with this normalization; `curve` is that of a typical image."""
        if normalization.kind == "none":
            return cls("none", curve)
        if fixed:
            return cls("fixed", _without_padding(curve))
        if normalization.kind == "standard":
            return cls("mean", curve)
        high = BRIGHTEST if normalization.kind == "compressive" else normalization.high
        return cls("percentiles", curve, normalization.low, high)

    @property
    def looks_at_image(self) -> bool:
        """Whether a program has to look at the whole image first."""
        return self.kind in ("percentiles", "mean")

    def fit(self, image: NDArray[Any]) -> Intensity:
        """The curve that the rule and the network together give an image (C, *S)."""
        if not self.looks_at_image:
            return self.curve
        pixels = image.reshape(len(image), -1).astype(np.float32)
        if self.kind == "mean":
            low = pixels.mean(axis=1, dtype=np.float64)
            span = pixels.std(axis=1, dtype=np.float64)
        else:
            low, high = np.percentile(pixels, (self.low, self.high), axis=1)
            span = high - low
        one = self.curve
        return Intensity(low, 1 / (span + EPS), one.noise, compressive=one.compressive, bounded=one.bounded)

    def scale(self, pixels: NDArray[Any], curve: Intensity) -> Floats:
        """Pixels (C, *S) of an image whose `curve` the rule found -> what the exported network takes."""
        values = pixels.astype(np.float32)
        if not self.looks_at_image:
            return values
        along = (-1, *(1,) * (values.ndim - 1))
        low, scale = (one.reshape(along).astype(np.float32) for one in (curve.offset, curve.scale))
        return (values - low) * scale

    def __str__(self) -> str:
        whole = "of the whole image (not of a tile)"
        return {
            "percentiles": f"in each channel, subtract percentile {self.low:g} {whole} and divide by the difference "
            f"between percentiles {self.high:g} and {self.low:g}",
            "mean": f"in each channel, subtract the mean {whole} and divide by its standard deviation",
            "fixed": "none: the network takes pixels as they are, and scales each image as the test image was scaled",
            "none": "none: the network takes pixels as they are",
        }[self.kind]


def typical_curve(normalization: Normalization, channels: int) -> Intensity:
    """The curve of images without noise whose pixels lie between 0 and 1, where no image is given."""
    zeros, ones = np.zeros(channels), np.ones(channels)
    newer = normalization.kind in ("linear", "compressive")
    return Intensity(zeros, ones, zeros, compressive=normalization.kind == "compressive", bounded=newer)


def _without_padding(curve: Intensity) -> Intensity:
    return Intensity(curve.offset, curve.scale, curve.noise, compressive=curve.compressive, bounded=curve.bounded)
