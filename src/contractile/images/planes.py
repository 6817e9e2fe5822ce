"""Several planes or channels where one label image is wanted: what they look like, and the cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError

FIX = "`contractile check IMAGES LABELS --fix DIR`"
SUMS = (1, 255)  # of all planes at a pixel, where one plane is set
COLOUR = 3  # channels: red, green and blue of 255 are a colour each
CLOSE = 1e-3  # of the sum, by which rounded fractions may miss it
ARGMAX = "give each pixel the number of its largest plane (argmax along the axis of the planes)"


def name_planes(planes: Iterable[NDArray[Any]]) -> str:
    """`3 planes that sum to 1 at every pixel, so they look one-hot`; empty for planes (*S) that do not."""
    total: NDArray[Any] | None = None
    count, whole = 0, True
    for plane in planes:
        if not plane.size or plane.min() < 0 or (total is not None and plane.shape != total.shape):
            return ""
        total = plane.astype(np.float64) if total is None else total + plane
        whole = whole and bool(np.isin(plane, (0, *SUMS)).all())
        count += 1
    if total is None or count < 2:
        return ""
    sums = [one for one in SUMS if np.abs(total - one).max() <= CLOSE * one]
    look = "one-hot" if whole else "like probabilities of classes"
    return f"{count} planes that sum to {sums[0]} at every pixel, so they look {look}" if sums else ""


def name_channels(pixels: NDArray[Any]) -> str:
    """As `name_planes`, of channels (C, *S): up to three with values above 1 are colours instead."""
    return "" if len(pixels) <= COLOUR and pixels.max(initial=0) > 1 else name_planes(pixels)


def refuse_planes(found: str, where: object) -> ContractileError:
    """The error for planes that `name_planes` or `name_channels` found."""
    return ContractileError(f"labels must be one number for each pixel, got {found}", ARGMAX, where=where)


def refuse_channels(pixels: NDArray[Any], where: str, other_axes: str | None) -> ContractileError:
    """The error for labels of several channels (C, *S). `other_axes` are letters with which these are pages."""
    if found := name_channels(pixels):
        return refuse_planes(found, where)
    problem = f"labels must have one channel, got {len(pixels)} (a colour picture?)"
    cure = f"where each colour is a class or an object, {FIX} gives it a number; else save the numbers as grey TIFF"
    if other_axes is not None:
        cure = f"name the axes if these are pages (--axes {other_axes}); {cure}"
    return ContractileError(problem, cure, where=where)
