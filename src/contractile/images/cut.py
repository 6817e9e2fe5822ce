"""Uncompressed pixels whose file ends too early: what is there, and 0 behind it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images.gate import check_piece


def load_cut(path: Path, dtype: np.dtype[Any], offset: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array that begins at byte `offset` of a file, in memory; 0 where the file has no more bytes.

    Raises ContractileError for an array that is too large for that, OSError.
    """
    check_piece("what would be filled", shape, path)
    whole = np.zeros(shape, dtype)
    there = max(0, path.stat().st_size - offset) // dtype.itemsize
    count = min(there, math.prod(shape))
    whole.reshape(-1)[:count] = np.fromfile(path, dtype, count, offset=offset)
    return whole
