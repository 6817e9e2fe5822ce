"""Numbers beyond 32 bits -> 1, 2, ... in their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images.reading import LARGEST

Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Stored:
    """Numbers of any size: the different `values` in their order, and the `place` of each pixel (*S) among them."""

    values: tuple[int, ...]
    place: NDArray[np.intp]

    @property
    def fits(self) -> bool:
        """Whether all values fit into 32 bits."""
        return all(-LARGEST <= value <= LARGEST for value in self.values)

    def numbered(self, numbers: Mapping[int, int]) -> Labels:
        """Labels (*S) with the number of each value."""
        return np.array([numbers[value] for value in self.values], np.int32)[self.place]


def take_apart(values: NDArray[Any], ignore_label: int | None = None) -> Stored:
    """The whole numbers of an array (*S), with -1 in place of `ignore_label`, which no unsigned type can hold."""
    found, place = np.unique(values, return_inverse=True)
    whole = (int(value) for value in found.tolist())
    return Stored(tuple(-1 if value == ignore_label else value for value in whole), place.reshape(values.shape))


def count_up(values: Iterable[int]) -> dict[int, int]:
    """1, 2, ... for the values above 0, in their order; 0 stays 0, and negative values become -1."""
    different = set(values)
    above = sorted(value for value in different if value > 0)
    return {value: -1 if value < 0 else 0 for value in different} | {value: n for n, value in enumerate(above, 1)}
