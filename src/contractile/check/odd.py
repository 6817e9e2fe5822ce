"""Which members of a set are unlike the rest in one measure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

FEWEST = 5  # members: what is usual among fewer is not known
DEVIATIONS = 5  # robust standard deviations, as many as chance hardly gives
SMALLEST = 0.1  # deviation of the logarithm that every set may have


def find_odd(values: Sequence[float], factor: float) -> list[tuple[int, float]]:
    """(place, ratio to the median) of positive values that differ from the median by more than `factor`.

    What counts is the spread of the set, too: where values differ anyway, none is odd. Values of 0 are left out.
    """
    known = np.array([value for value in values if value > 0])
    if len(known) < FEWEST:
        return []
    middle = float(np.median(np.log(known)))
    spread = 1.4826 * float(np.median(np.abs(np.log(known) - middle)))  # of a normal distribution: its deviation
    limit = max(math.log(factor), DEVIATIONS * max(spread, SMALLEST))
    ratios = [math.exp(math.log(value) - middle) if value > 0 else 1.0 for value in values]
    return [(place, ratio) for place, ratio in enumerate(ratios) if abs(math.log(ratio)) > limit]
