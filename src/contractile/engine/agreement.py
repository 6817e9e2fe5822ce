"""How far the probabilities of a fast back end are from those of float32 PyTorch."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)  # where decoding cuts probabilities


@dataclass(frozen=True)
class Agreement:
    """What a fast back end changes.

    The fraction of pixels whose label differs; at most how much a probability differs; and the fraction of pixels that
    lie on another side of a threshold from 0.3 to 0.7, for the class and the threshold where this is most.
    """

    changed_labels: float
    largest_difference: float
    moved_pixels: float

    def __str__(self) -> str:
        labels, moved = 100 * self.changed_labels, 100 * self.moved_pixels
        return (
            f"{labels:.3f} % of labels changed, {moved:.3f} % of pixels moved across a threshold, "
            f"probabilities off by at most {self.largest_difference:.4f}"
        )

    def __add__(self, other: Agreement) -> Agreement:
        """At most what two changes, one after the other, change together."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Agreement(*(one + another for one, another in pairs))

    def holds(self) -> bool:
        """Whether so much may change. A number that is NaN never may."""
        return (
            self.changed_labels <= ALLOWED.changed_labels
            and self.largest_difference <= ALLOWED.largest_difference
            and self.moved_pixels <= ALLOWED.moved_pixels
        )


# Rounding to bfloat16 changed up to 0.03 % of the labels, moved 0.07 % of the pixels and probabilities by 0.02, for
# networks on images of the kind that they learned from.
ALLOWED = Agreement(changed_labels=1e-3, largest_difference=0.1, moved_pixels=2e-3)


def measure_agreement(fast: NDArray[np.float32], exact: NDArray[np.float32], kept: tuple[slice, ...]) -> Agreement:
    """Compare two maps of probabilities (B, K, *S) in the region `kept` of *S; everywhere if that region is empty."""
    region = (slice(None), slice(None), *kept)
    if exact[region].size:
        fast, exact = fast[region], exact[region]
    changed = fast.argmax(axis=1) != exact.argmax(axis=1)
    one, other = _with_inside(fast), _with_inside(exact)
    pixels = (0, *range(2, one.ndim))
    moved = max(float(((one > cut) != (other > cut)).mean(axis=pixels).max()) for cut in THRESHOLDS)
    return Agreement(float(changed.mean()), float(np.abs(fast - exact).max()), moved)


def _with_inside(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (B, K, *S), and as one more class (B, K + 1, *S) the sum of all but the first: inside an object."""
    return np.concatenate([maps, maps[:, 1:].sum(axis=1, keepdims=True)], axis=1)
