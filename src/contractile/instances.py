"""Network output -> objects: the inverse of `targets`.

Probabilities (K, *S) float32 in [0, 1] become labels (*S) int32, 0 = background.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

FOREGROUND = 1


class Decoding(BaseModel):
    """How probabilities become objects; stored in the model file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.5, ge=0, lt=1, description="foreground where its probability exceeds this")
    min_size: int = Field(default=0, ge=0, description="objects of fewer pixels are dropped")


def decode_objects(probabilities: NDArray[np.floating[Any]], decoding: Decoding) -> NDArray[np.int32]:
    """Connected parts of the foreground: probabilities (K, *S) -> labels (*S), numbered 1..N in scan order.

    Pixels connect along axes only (4 neighbours in 2-D, 6 in 3-D), so that the one-pixel gap learned
    between touching objects separates them.
    """
    labels: NDArray[np.int32] = np.empty(probabilities.shape[1:], np.int32)
    ndimage.label(probabilities[FOREGROUND] > decoding.threshold, output=labels)
    return _drop_specks(labels, decoding.min_size)


def _drop_specks(labels: NDArray[np.int32], min_size: int) -> NDArray[np.int32]:
    """Labels 1..N without the objects under `min_size` pixels, renumbered without gaps."""
    kept = np.bincount(labels.ravel()) >= max(min_size, 1)
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return number[labels]
