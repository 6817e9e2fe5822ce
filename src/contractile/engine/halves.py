"""Numbers as sums of two bfloat16 numbers, by NumPy, which has none: images for networks that compute in bfloat16."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def arrange_image(batch: Floats, precision: str) -> Floats:
    """Images (B, C, *S) for an arranged network: in "float32" unchanged, in "bfloat16" three parts (B, 3C, *S)."""
    batch = np.ascontiguousarray(batch)
    if precision == "float32":
        return batch
    high, low = halves(batch)
    return np.concatenate([high, low, high], axis=1)


def halves(values: Floats) -> tuple[Floats, Floats]:
    """Two float32 arrays that hold bfloat16 numbers; their sum equals `values` to 16 bits."""
    high = round_to_bfloat16(values)
    with np.errstate(invalid="ignore"):  # what rounds to infinity
        return high, round_to_bfloat16(values - high)


def round_to_bfloat16(values: Floats) -> Floats:
    """Each number as the nearest one that bfloat16 can hold, of two equally near ones the even one; NaN stays NaN.

    A bfloat16 number is the upper half of a float32. Adding almost half of its last place, and one more where that
    place is odd, carries into the upper half exactly where rounding goes up.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    carried = bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))
    rounded = (carried & np.uint32(0xFFFF0000)).view(np.float32).reshape(values.shape)
    return np.where(np.isnan(values), np.float32(np.nan), rounded)
