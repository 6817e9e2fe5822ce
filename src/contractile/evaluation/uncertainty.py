"""How sure a score of a set of images is: bootstrap interval over images, paired permutation test.

Every score of a set is a function of sums over its images, so a resampled set is one matrix product.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Reduce = Callable[[Floats], Floats]  # sums (..., *terms) -> scores (...), NaN where undefined


def bootstrap(sums: Floats, reduce: Reduce, resamples: int, rng: np.random.Generator) -> tuple[float, float] | None:
    """95 % percentile interval of the set's score, drawing images with replacement (Efron 1979).

    sums (N, *terms) of the N images. None for fewer than two images, or if no resample is defined.
    """
    scores = _resample([sums], reduce, resamples, rng)[0] if len(sums) > 1 else np.empty(0)
    return _interval(scores)


def bootstrap_difference(
    first: Floats, second: Floats, reduce: Reduce, resamples: int, rng: np.random.Generator
) -> tuple[float, float] | None:
    """95 % interval of score(first) - score(second), the same images drawn for both."""
    if len(first) < 2:
        return None
    one, two = _resample([first, second], reduce, resamples, rng)
    return _interval(one - two)


def permutation_test(
    first: Floats, second: Floats, reduce: Reduce, resamples: int, rng: np.random.Generator
) -> float | None:
    """Two-sided p-value of score(first) - score(second) when the two may be exchanged in every image.

    Paired permutation test (Fisher 1935): swap the two predictions of an image or not. All 2**N swaps
    when these are at most `resamples`, otherwise `resamples` random ones, p = (1 + hits) / (1 + draws).
    The set's own score is tested, so pooled scores and the mean over images are treated alike.
    """
    images = len(first)
    exact = images < 63 and 2**images <= resamples
    if exact:
        swaps = (np.arange(2**images)[:, None] >> np.arange(images)) & 1
    else:
        swaps = rng.integers(0, 2, (resamples, images))
    gap = reduce(first.sum(0)) - reduce(second.sum(0))
    one, two = first.reshape(images, -1), second.reshape(images, -1)
    swapped = (one - two).T @ np.zeros((images, 0)) if images == 0 else swaps @ (two - one)
    shape = (len(swaps), *first.shape[1:])
    gaps = reduce((one.sum(0) + swapped).reshape(shape)) - reduce((two.sum(0) - swapped).reshape(shape))
    gaps = gaps[np.isfinite(gaps)]
    if not np.isfinite(gap) or gaps.size == 0:
        return None
    hits = int((np.abs(gaps) >= abs(gap) - 1e-12).sum())
    return hits / gaps.size if exact else (1 + hits) / (1 + gaps.size)


def _resample(sets: list[Floats], reduce: Reduce, resamples: int, rng: np.random.Generator) -> list[Floats]:
    images = len(sets[0])
    weights = rng.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)
    return [reduce((weights @ s.reshape(images, -1)).reshape(resamples, *s.shape[1:])) for s in sets]


def _interval(scores: Floats) -> tuple[float, float] | None:
    scores = scores[np.isfinite(scores)]
    if scores.size == 0:
        return None
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)
