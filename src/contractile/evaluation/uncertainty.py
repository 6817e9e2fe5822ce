"""How certain the score of a set of images is: bootstrap interval over images, paired permutation test.

The score of a set is a function of sums over its images, so all resampled sets are one matrix product.
"""

from __future__ import annotations

import numpy as np

from contractile.metrics.metric import Floats, Formula


def bootstrap(
    sums: Floats, formula: Formula, resamples: int, rng: np.random.Generator, *, other: Floats | None = None
) -> tuple[float, float] | None:
    """95 % percentile interval of the score of the set; images are drawn with replacement (Efron 1979).

    `sums` (N, *terms) are the terms of the N images. With the terms `other` of the same images it is the interval of
    score(sums) - score(other); the same images are drawn for both. None where the score is defined on fewer than two
    images, and where that of every resampled set is undefined.
    """
    images, sets = len(sums), (sums,) if other is None else (sums, other)
    if any(np.count_nonzero(np.isfinite(formula(s))) < 2 for s in sets):  # it would be as if it were certain
        return None
    weights = rng.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)
    found = [formula((weights @ s.reshape(images, -1)).reshape(resamples, *s.shape[1:])) for s in sets]
    scores = found[0] if other is None else found[0] - found[1]
    scores = scores[np.isfinite(scores)]
    if scores.size == 0:
        return None
    low, high = np.quantile(scores, [0.025, 0.975])
    return float(low), float(high)


def permutation_test(
    first: Floats, second: Floats, formula: Formula, resamples: int, rng: np.random.Generator
) -> float | None:
    """Two-sided p-value of score(first) - score(second), if it did not matter which of the two an image came from.

    Paired permutation test (Fisher 1935): the two predictions of an image are swapped or not. All 2**N combinations are
    tried where these are at most `resamples`, otherwise `resamples` random ones, with p = (1 + hits) / (1 + draws). The
    score of the set is tested, whether it is pooled or a mean over images. None where it is undefined.
    """
    images = len(first)
    exact = images < 63 and 2**images <= resamples
    if exact:
        swaps = (np.arange(2**images)[:, None] >> np.arange(images)) & 1
    else:
        swaps = rng.integers(0, 2, (resamples, images))
    gap = formula(first.sum(0)) - formula(second.sum(0))
    one, two = first.reshape(images, -1), second.reshape(images, -1)
    swapped = swaps @ (two - one)
    shape = (len(swaps), *first.shape[1:])
    gaps = formula((one.sum(0) + swapped).reshape(shape)) - formula((two.sum(0) - swapped).reshape(shape))
    gaps = gaps[np.isfinite(gaps)]
    if not np.isfinite(gap) or gaps.size == 0:
        return None
    hits = int((np.abs(gaps) >= abs(gap) - 1e-12).sum())
    return hits / gaps.size if exact else (1 + hits) / (1 + gaps.size)
