"""A score as one frozen value, and terms: numbers that add up over images and from which scores follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Detail = dict[str, Any]
Formula = Callable[[Floats], Floats]  # sums (..., *terms) -> scores (...), NaN where undefined


@dataclass(frozen=True)
class Metric:
    """One score: everything that is known about it before anything is measured.

    A score is measured in two steps. Each image gives an array of terms; the terms of several images are added up.
    `formula` then turns sums (..., *terms) into scores (...), NaN where the score is undefined. Leading axes are kept,
    so that many resampled sets of images are scored at once.
    """

    name: str  # on the command line and in JSON
    short: str  # at the head of a column
    title: str  # on a line of its own
    meaning: str  # in plain words, for a reader who has not met the score
    _: KW_ONLY
    group: str
    formula: Formula
    undefined: str  # the reason where `formula` gives NaN
    lower_is_better: bool = False
    bounded: bool = True  # every value lies in [0, 1]
    averaged: bool = False  # it is a mean over the images in which it is defined; else these are pooled
    explain: Callable[[Floats], Detail] = lambda sums: {}  # sums (*terms) -> what is behind the number, ready for JSON

    @property
    def direction(self) -> str:
        """Which values are good, in words."""
        return "lower is better" if self.lower_is_better else "higher is better"

    def score(self, sums: Floats) -> float | None:
        """The score of sums (*terms); None where it is undefined."""
        value = float(self.formula(sums))
        return value if np.isfinite(value) else None


@dataclass(frozen=True)
class Terms:
    """Terms with names: each field is a number or an array, and all fields have the same shape."""

    @classmethod
    def of(cls, sums: Floats) -> Self:
        """From one array (..., fields); further columns are left out."""
        return cls(*np.moveaxis(sums[..., : len(fields(cls))], -1, 0))

    @property
    def array(self) -> Floats:
        """(..., fields), in the order of the fields."""
        return np.stack([np.asarray(getattr(self, field.name), np.float64) for field in fields(self)], axis=-1)

    def __add__(self, other: Self) -> Self:
        """Both as one set of images."""
        return type(self)(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def divide(part: Any, whole: Any) -> Floats:
    """`part / whole`, NaN where `whole` is 0."""
    part, whole = np.asarray(part, np.float64), np.asarray(whole, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole == 0, np.nan, part / whole)


def mean_terms(scores: Any) -> Floats:
    """Scores (...) of one image -> terms (..., 2) of their mean over images; NaN is left out of the mean."""
    scores = np.asarray(scores, np.float64)
    return np.stack([np.nan_to_num(scores), np.isfinite(scores)], axis=-1)


def mean(sums: Floats) -> Floats:
    """Terms (..., 2) of `mean_terms`, added up -> the mean (...)."""
    return divide(sums[..., 0], sums[..., 1])


def listed(values: Floats) -> list[float | None]:
    """(N,) as a list for JSON, None in the place of NaN."""
    return [None if np.isnan(value) else float(value) for value in values]
