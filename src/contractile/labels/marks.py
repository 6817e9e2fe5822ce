"""A number that marks what nobody annotated: the largest value of a type, 255 or 65535, among small numbers.

Negative numbers always mean "not annotated". A file of an unsigned type cannot hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.labels.numbers import as_int32

TOPS = (255, 65535)
APART = 4  # times that a mark is larger than all other numbers


def find_mark(values: Sequence[NDArray[Any]]) -> int | None:
    """The value that looks like a mark, in the different `values` of each label image of a set; None without one.

    It is a top value, it lies beside other numbers above 0 in one image at least, and it is far above all of them.
    """
    if not values:
        return None
    numbers = np.unique(np.concatenate([one[one > 0] for one in values]))
    for top in TOPS:
        beside = any((one == top).any() and ((one > 0) & (one != top)).any() for one in values)
        if beside and numbers[-1] == top and numbers[-2] * APART < top:
            return top
    return None


def without_mark(labels: NDArray[Any], mark: int | None) -> NDArray[np.int32]:
    """Labels (*S) with -1, not annotated, in place of `mark`; None changes nothing.

    Raises ContractileError for numbers that int32 cannot hold.
    """
    numbers = as_int32(labels)
    return numbers if mark is None else np.where(numbers == mark, np.int32(-1), numbers)
