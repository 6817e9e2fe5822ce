"""How far the probabilities of a fast back end are from those of float32 PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """What a fast back end changes: the fraction of pixels whose label differs, and at most how much a probability."""

    changed_labels: float
    largest_difference: float


def measure_agreement(fast: NDArray[np.float32], exact: NDArray[np.float32], kept: tuple[slice, ...]) -> Agreement:
    """Compare two maps of probabilities (B, K, *S) in the region `kept` of *S; everywhere if that region is empty."""
    region = (slice(None), slice(None), *kept)
    if exact[region].size:
        fast, exact = fast[region], exact[region]
    changed = fast.argmax(axis=1) != exact.argmax(axis=1)
    return Agreement(float(changed.mean()), float(np.abs(fast - exact).max()))
