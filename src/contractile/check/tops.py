"""The largest value of a type, 255 or 65535, among small numbers: a mask's white, or what nobody annotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOPS = (255, 65535)
APART = 4  # times that it is larger than all other numbers


def find_mixed(values: Sequence[NDArray[Any]]) -> int | None:
    """The white of some masks where that of others is 1, from the `values` of each label image; None for other sets."""
    whites = [one[one > 0] for one in values]
    found = {int(value) for white in whites for value in white}
    if any(len(white) > 1 for white in whites):
        return None
    return next((top for top in TOPS if found == {1, top}), None)


def find_void(values: Sequence[NDArray[Any]]) -> int | None:
    """The top value that lies beside small numbers, far above all of them; None where there is none."""
    numbers = np.unique(np.concatenate([one[one > 0] for one in values]))
    for top in TOPS:
        beside = any((one == top).any() and ((one > 0) & (one != top)).any() for one in values)
        if beside and numbers[-1] == top and numbers[-2] * APART < top:
            return top
    return None
