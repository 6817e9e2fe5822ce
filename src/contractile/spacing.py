"""The size of a pixel along each axis, relative to the others. One number per axis, or `()` for isotropic pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from contractile.errors import ContractileError

MOST_UNLIKE = 1000  # how many times larger pixels can be along one axis than along another


def check_spacing(sizes: Sequence[float]) -> None:
    """Raise ContractileError unless all sizes are positive and about alike."""
    if not all(0 < size < math.inf for size in sizes) or (sizes and max(sizes) / min(sizes) > MOST_UNLIKE):
        raise ContractileError(
            f"spacing must be positive and differ by a factor of at most {MOST_UNLIKE}, got {sizes}",
            "use () for isotropic pixels",
        )


def in_finest(sizes: Sequence[float], dims: int) -> tuple[float, ...]:
    """The sizes in units of the finest axis; () for isotropic pixels.

    Raises ContractileError unless there is one for each of `dims` axes, or none at all.
    """
    if sizes and len(sizes) != dims:
        raise ContractileError(
            f"spacing must hold one number for each of the {dims} axes, got {sizes}", "use () for isotropic pixels"
        )
    return tuple(size / min(sizes) for size in sizes)
