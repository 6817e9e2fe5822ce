"""Masks that do not fit together: white is 255 or 65535 in some files, and 1 in others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from contractile.labels import TOPS


def find_mixed(values: Sequence[NDArray[Any]]) -> int | None:
    """The white of some masks where that of others is 1, from the `values` of each label image; None for other sets."""
    whites = [one[one > 0] for one in values]
    found = {int(value) for white in whites for value in white}
    if any(len(white) > 1 for white in whites):
        return None
    return next((top for top in TOPS if found == {1, top}), None)
