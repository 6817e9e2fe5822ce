"""How large the objects of an image are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHARES = (0.05, 0.5, 0.95)  # of the object pixels lie in objects smaller than a small, typical, large one


def object_sizes(labels: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """Pixels of each object in labels (*S) of one image or several; an id in two images counts as two objects."""
    return np.concatenate([np.unique(one[one > 0], return_counts=True)[1] for one in labels])


def diameters(labels: Sequence[NDArray[Any]]) -> tuple[float, float, float]:
    """Diameters in pixels of small, typical and large objects: of discs (balls) of their size; 0 of none.

    Labels (*S) of one image or several, 0 or less where there is no object. Counted by pixels, not by objects, so that
    specks have no say: 5 %, half and 95 % of all object pixels lie in smaller objects.
    """
    sizes = np.sort(object_sizes(labels))
    if len(sizes) == 0:
        return 0.0, 0.0, 0.0
    small, typical, large = sizes[np.searchsorted(np.cumsum(sizes), np.array(SHARES) * sizes.sum())]
    dims = labels[0].ndim
    return _diameter(small, dims), _diameter(typical, dims), _diameter(large, dims)


def typical_diameter(labels: Sequence[NDArray[Any]]) -> float:
    """That of typical objects alone, see `diameters`."""
    return diameters(labels)[1]


def _diameter(size: np.intp, dims: int) -> float:
    return float(2 * math.sqrt(size / math.pi) if dims == 2 else (6 * size / math.pi) ** (1 / 3))
