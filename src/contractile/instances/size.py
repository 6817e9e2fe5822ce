"""How large the objects of an image are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SMALL, LARGE = 0.05, 0.95  # of the object pixels lie in smaller objects


def object_sizes(labels: Sequence[NDArray[Any]]) -> NDArray[np.intp]:
    """Pixels of each object in labels (*S) of one image or several; an id in two images counts as two objects."""
    return np.concatenate([np.unique(one[one > 0], return_counts=True)[1] for one in labels])


def typical_diameter(labels: Sequence[NDArray[Any]], *, share: float = 0.5) -> float:
    """Diameter in pixels of the disc (ball) as large as the object that the middle object pixel lies in; 0 of none.

    Labels (*S) of one image or several, 0 or less where there is no object. Counted by pixels, not by objects, so that
    specks have no say. `share` of the object pixels lie in smaller objects: LARGE asks for that of the large ones.
    """
    sizes = np.sort(object_sizes(labels))
    if len(sizes) == 0:
        return 0.0
    size = sizes[np.searchsorted(np.cumsum(sizes), share * sizes.sum())]
    return float(2 * math.sqrt(size / math.pi) if labels[0].ndim == 2 else (6 * size / math.pi) ** (1 / 3))
