"""Distances between outlines (2-D) or surfaces (3-D): Hausdorff, HD95, ASSD, normalised surface Dice.

Two conventions are in use, and the values differ between them:

- `pixels`: the outline is the pixels of the mask that touch the outside of the mask or the edge of the image. Each
  counts once (MedPy). `hausdorff`, `hd95` and `assd` are the maximum, the percentile and the mean of the distances in
  both directions together.
- `contours`: the outline runs between pixels and is sampled at their corners. Each sample is weighted with the length
  or area of the contour in its cell (DeepMind's surface-distance; Nikolov et al. 2018, arXiv:1809.04430).
  `surface_dice` is measured on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.errors import ContractileError
from contractile.labels import boxes
from contractile.metrics.metric import Floats, Ints, Metric, mean

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Distances:
    """Distances between two outlines, in the unit of the spacing, and the weight of each sample.

    `from_pred` (P,): from each sample of the predicted outline to the true one; `from_true` (T,): the other direction.
    """

    from_pred: Floats
    from_true: Floats
    pred_weights: Floats
    true_weights: Floats


def score_surfaces(
    predicted: NDArray[Any], truth: NDArray[Any], *, spacing: Sequence[float] | None = None, tolerance: float = 1.0
) -> dict[str, float] | None:
    """All surface scores of two masks (*S), white where above 0, by name; None when either is empty.

    `spacing` is the size of a pixel along each axis (1 by default). `tolerance`, in the same unit, is the distance up
    to which an outline counts as right in the surface Dice. Raises ContractileError for shapes that differ, a spacing
    that is not above 0 along every axis, and a negative tolerance.
    """
    pred, true = predicted > 0, truth > 0
    if pred.shape != true.shape or pred.ndim not in (2, 3):
        raise ContractileError(
            "predicted and truth must be two- or three-dimensional and of one shape, "
            f"got {pred.shape} and {true.shape}",
            "score the image that the truth was drawn on",
        )
    sizes = tuple(float(s) for s in spacing) if spacing is not None else (1.0,) * pred.ndim
    if len(sizes) != pred.ndim or not all(0 < s < np.inf for s in sizes):
        raise ContractileError(
            f"spacing must be {pred.ndim} sizes above 0, got {sizes}", "give one per axis of the image"
        )
    if not tolerance >= 0:
        raise ContractileError(f"tolerance must be at least 0, got {tolerance}", "use one pixel size if in doubt")
    if not pred.any() or not true.any():
        return None
    pred, true = _crop(pred, true)
    pixels = measure_pixels(pred, true, sizes)
    contours = measure_contours(pred, true, sizes)
    pooled = np.concatenate([pixels.from_pred, pixels.from_true])
    return {
        "hausdorff": float(pooled.max()),
        "hd95": float(np.percentile(pooled, 95)),
        "assd": float(pooled.mean()),
        "surface_dice": find_share_within(contours, tolerance),
    }


def measure_pixels(pred: Mask, true: Mask, spacing: tuple[float, ...]) -> Distances:
    """Distances between the border pixels of two masks, neither empty.

    A pixel is on the border when one of its neighbours along an axis is outside the mask or the image.
    """
    pred_border, true_border = pred & ~ndimage.binary_erosion(pred), true & ~ndimage.binary_erosion(true)
    return _measure(pred_border, true_border, np.ones(pred.shape), np.ones(pred.shape), spacing)


def measure_contours(pred: Mask, true: Mask, spacing: tuple[float, ...]) -> Distances:
    """Distances between the contours of two masks, neither empty, weighted by length (2-D) or area (3-D)."""
    sizes = size_elements(spacing)
    pred_codes, true_codes = _encode_cells(pred), _encode_cells(true)
    outlines = [(codes > 0) & (codes < len(sizes) - 1) for codes in (pred_codes, true_codes)]
    return _measure(outlines[0], outlines[1], sizes[pred_codes], sizes[true_codes], spacing)


def find_share_within(distances: Distances, tolerance: float) -> float:
    """Normalised surface Dice: the share of both outlines that lies within `tolerance` of the other."""
    within = distances.pred_weights[distances.from_pred <= tolerance].sum()
    within += distances.true_weights[distances.from_true <= tolerance].sum()
    return float(within / (distances.pred_weights.sum() + distances.true_weights.sum()))


@lru_cache(maxsize=16)
def size_elements(spacing: tuple[float, ...]) -> Floats:
    """(2**N,) length (N = 2) or area (N = 3) of the contour in a cell of 2**N pixels, by the code of the cell.

    Bit k of a code is the pixel at corner k, in the order of `itertools.product((0, 1), repeat=N)`. In 3-D the area is
    that of marching cubes (Lorensen & Cline 1987, doi:10.1145/37401.37422) around the white or the black pixels,
    whichever are fewer, so that a mask and its inverse have the same surface.
    """
    corners = list(product((0, 1), repeat=len(spacing)))
    sizes = np.zeros(1 << len(corners))
    for code in range(1, len(sizes) - 1):
        members = [corner for k, corner in enumerate(corners) if code >> k & 1]
        if 2 * len(members) > len(corners):
            members = [corner for corner in corners if corner not in members]
        sizes[code] = _measure_area(members, spacing) if len(spacing) == 3 else _measure_length(members, spacing)
    return sizes


def _measure_length(members: list[tuple[int, ...]], spacing: tuple[float, ...]) -> float:
    """Marching squares around one or two of four pixels."""
    half_diagonal = math.hypot(*spacing) / 2
    if len(members) == 1:
        return half_diagonal
    (y, x), (v, u) = members
    if y != v and x != u:
        return 2 * half_diagonal
    return spacing[1] if y == v else spacing[0]


def _measure_area(members: list[tuple[int, ...]], spacing: tuple[float, ...]) -> float:
    from skimage.measure import marching_cubes

    cell = np.zeros((2, 2, 2))
    cell[tuple(np.transpose(members))] = 1
    vertices, faces, _, _ = marching_cubes(cell, 0.5, method="lorensen")
    a, b, c = np.moveaxis((vertices.astype(np.float64) * spacing)[faces], 1, 0)
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _encode_cells(mask: Mask) -> Ints:
    """Mask (*S) -> codes (*S + 1): which of the 2**N pixels around each corner are white; outside the image none."""
    padded = np.pad(mask, 1).astype(np.int64)
    codes = np.zeros([length + 1 for length in mask.shape], np.int64)
    for k, corner in enumerate(product((0, 1), repeat=mask.ndim)):
        codes |= padded[tuple(slice(o, o + n) for o, n in zip(corner, codes.shape, strict=True))] << k
    return codes


def _measure(
    pred_border: Mask, true_border: Mask, pred_weights: Floats, true_weights: Floats, spacing: tuple[float, ...]
) -> Distances:
    to_true = ndimage.distance_transform_edt(~true_border, sampling=spacing)
    to_pred = ndimage.distance_transform_edt(~pred_border, sampling=spacing)
    return Distances(to_true[pred_border], to_pred[true_border], pred_weights[pred_border], true_weights[true_border])


def _crop(pred: Mask, true: Mask) -> tuple[Mask, Mask]:
    """Both cut to the box around both, plus one pixel of background: pixels farther away change no distance."""
    box = boxes((pred | true).astype(np.uint8))[0]
    assert box is not None, "neither mask is empty"
    return np.pad(pred[box], 1), np.pad(true[box], 1)


_distance = partial(
    Metric,
    group="surface",
    formula=mean,
    undefined="truth or prediction is empty: there is no outline to measure to",
    lower_is_better=True,
    bounded=False,
    averaged=True,
)

METRICS = (
    _distance(
        "hausdorff", "Hausdorff distance", "Hausdorff distance", "largest distance from one outline to the other"
    ),
    _distance(
        "hd95",
        "HD95",
        "HD95, pooled border pixels",
        "95 % of the outline pixels are at most this far from the other outline",
    ),
    _distance(
        "assd", "Surface distance", "average symmetric surface distance", "mean distance from one outline to the other"
    ),
    _distance(
        "surface_dice",
        "Surface Dice",
        "normalised surface Dice",
        "share of the outlines that lies within the tolerance of the other outline",
        lower_is_better=False,
        bounded=True,
    ),
)
