"""Labels -> what the network learns: class map, gap between touching objects, weight map.

Knows neither files nor networks. Labels are (*S) integers, *S = (Y, X) or (Z, Y, X): 0 is background, one
number per object (task `objects`) or per class (task `classes`), and every negative value is a pixel that
nobody annotated. Lengths are in pixels of the finest axis.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numba  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import ndimage

IGNORE = -1
_NEGLIGIBLE = 1e-5  # separation weights below this are not computed

_F = TypeVar("_F", bound=Callable[..., Any])


def _compiled(function: _F) -> _F:
    """Machine code that runs without the GIL, kept on disk where some folder can be written."""
    try:
        return cast(_F, numba.njit(nogil=True, cache=True)(function))
    except RuntimeError:  # numba finds no writable folder for its cache
        return cast(_F, numba.njit(nogil=True)(function))


class TargetConfig(BaseModel):
    """What the network is asked to learn, and how much each pixel counts.

    `task` is `objects` (touching things get different numbers) or `classes` (every pixel gets a class);
    `class_values` are the numbers in the file in class order, e.g. (0, 255), for `classes` only.
    `w0`, `sigma` (pixels) are those of equation 2 of the paper, w0 = 0 switches the separation weight off;
    `balance` evens out class frequencies; `gap` puts background between touching objects;
    `ignore_label` is a number in the file that means "not annotated", beside all negative ones;
    `spacing` is the relative size of a pixel along each axis, e.g. (5, 1, 1), and () means isotropic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Literal["classes", "objects"] = "objects"
    class_values: tuple[int, ...] = ()
    w0: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    sigma: float = Field(default=5.0, gt=0, allow_inf_nan=False)
    balance: bool = True
    gap: bool = True
    ignore_label: int | None = None
    spacing: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _values_fit_task(self) -> TargetConfig:
        values = self.class_values
        if self.task == "classes" and (len(values) < 2 or len(set(values)) < len(values)):
            raise ValueError(
                f"class_values must name at least two different label values for task 'classes', got {values}; "
                "list the numbers of the label files in class order, e.g. (0, 255)"
            )
        if self.task == "objects" and values:
            raise ValueError(
                f"class_values must be empty for task 'objects', got {values}; drop it or use task 'classes'"
            )
        if self.ignore_label is not None and self.ignore_label in values:
            raise ValueError(
                f"ignore_label must not be one of class_values {values}, got {self.ignore_label}; drop one of them"
            )
        return self

    @property
    def n_classes(self) -> int:
        """Number of channels the network needs."""
        return len(self.class_values) or 2


@dataclass(frozen=True)
class Target:
    """`classes` (*S) int16 with -1 where ignored; `weight` (*S) float32, 0 where ignored."""

    classes: NDArray[np.int16]
    weight: NDArray[np.float32]


def make_target(
    labels: NDArray[Any], config: TargetConfig, *, class_weights: Sequence[float] | None = None
) -> Target:
    """Class map and weight map `w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2))` of one labelled image.

    (*S) -> (*S) twice. Equation 2 of Ronneberger, Fischer, Brox 2015, doi:10.1007/978-3-319-24574-4_28, with
    the second term on background pixels only, as in Falk et al. 2019, doi:10.1038/s41592-018-0261-2: there the
    two nearest objects must not grow together. Objects of a two-class `classes` map are the connected parts
    (4 neighbours, in 3-D 6) of class 1; with more classes the second term is left out.

    `class_weights` (K,) replaces the balance of this image, for instance by that of the whole dataset.
    Raises TypeError for labels that are not integers, ValueError for a wrong number of axes or a value
    that is not among `class_values`.
    """
    _check_labels(labels)
    ignored = (labels < 0) if config.ignore_label is None else (labels < 0) | (labels == config.ignore_label)
    if config.task == "objects":
        objects = np.where(ignored, 0, labels).astype(np.int32)
        objects = separate(objects) if config.gap else objects
        classes = (objects > 0).astype(np.int16)
    else:
        classes = _class_indices(labels, ignored, values=config.class_values)
        objects = connected(classes == 1) if config.n_classes == 2 else np.zeros(labels.shape, np.int32)
    classes[ignored] = IGNORE

    w_c = np.ones(config.n_classes, np.float32)
    if class_weights is not None:
        w_c = _check_class_weights(class_weights, n=config.n_classes)
    elif config.balance:
        w_c = class_balance(classes, config.n_classes)
    weight = np.append(w_c, np.float32(0))[classes]  # class -1 finds the 0 at the end
    if config.w0 > 0:
        separation = separation_weight(objects, w0=config.w0, sigma=config.sigma, spacing=config.spacing)
        weight += np.where(classes == 0, separation, np.float32(0))
    return Target(classes=classes, weight=weight)


def separate(labels: NDArray[Any]) -> NDArray[np.int32]:
    """Labels (*S) with background, one pixel wide, between touching objects.

    A pixel is cleared when one of its neighbours (8 in 2-D, 26 in 3-D) that comes earlier in scan order
    belongs to another object, the rule of Falk et al. 2019 (doi:10.1038/s41592-018-0261-2). Afterwards no two
    objects touch, not even by a corner. An object thinner than the gap can vanish.
    """
    _check_labels(labels)
    separated = labels.astype(np.int32)
    for step in itertools.product((-1, 0, 1), repeat=labels.ndim):
        if step >= (0,) * labels.ndim:
            continue  # the pixel itself, and neighbours later in scan order
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, labels.shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, labels.shape, strict=True))
        touches = (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)
        separated[here][touches] = 0
    return separated


def connected(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Number the parts of `mask` (*S) that hang together through faces: 4 neighbours in 2-D, 6 in 3-D."""
    parts: NDArray[np.int32] = ndimage.label(mask)[0]
    return parts.astype(np.int32, copy=False)


def class_balance(classes: NDArray[Any] | Sequence[NDArray[Any]], n: int) -> NDArray[np.float32]:
    """Weight of each of `n` classes (n,): every class that occurs weighs the same in total.

    For one class map or a list of them: w_k = N / (P N_k), with N labelled pixels, N_k of them in class k, and
    P classes that occur, so that the mean weight over labelled pixels is 1. A class that does not occur has
    weight 1. Negative classes are not counted.
    """
    maps = [classes] if isinstance(classes, np.ndarray) else classes
    counts = np.zeros(n, np.int64)
    for each in maps:
        counts += np.bincount(each[each >= 0].ravel(), minlength=n)
    present = counts > 0
    weights = np.ones(n, np.float64)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights.astype(np.float32)


def separation_weight(
    labels: NDArray[Any], *, w0: float, sigma: float, spacing: Sequence[float] = ()
) -> NDArray[np.float32]:
    """`w0 exp(-(d1 + d2)^2 / (2 sigma^2))` on background pixels, 0 inside objects; (*S) -> (*S).

    d1 and d2 are the Euclidean distances from the pixel to the nearest and to the second nearest *object* (not
    to the two nearest pixels). Values under 1e-5 are given as 0. See `make_target` for the source.

    Insight: the two nearest objects can be found one axis at a time. If an object is not among the two
    nearest of a pixel's row, two others are nearer, so it cannot be among the two nearest overall; each
    axis therefore hands two candidates per pixel to the next one, and no distance map per object is needed.
    """
    _check_labels(labels)
    steps = tuple(spacing) or (1.0,) * labels.ndim
    if len(steps) != labels.ndim or min(steps) <= 0:
        raise ValueError(
            f"spacing must hold one positive number for each of the {labels.ndim} axes, got {tuple(spacing)}; "
            "leave it empty for isotropic pixels"
        )
    if w0 <= _NEGLIGIBLE or labels.size == 0:
        return np.zeros(labels.shape, np.float32)
    reach = sigma * math.sqrt(2 * math.log(w0 / _NEGLIGIBLE))
    found = _along_lines(np.maximum(labels, 0).astype(np.int32).reshape(-1, labels.shape[-1]), steps[-1])
    for axis in range(labels.ndim - 1):
        lines = (math.prod(labels.shape[:axis]), labels.shape[axis], -1)  # (*S) -> (before, axis, after)
        state = tuple(a.reshape(lines) for a in found)
        found = _across_lines(state, steps[axis], reach, axis == labels.ndim - 2)
    _, _, first, second = (a.reshape(labels.shape) for a in found)  # squared distances, inf = none
    near = np.isfinite(second) & (labels <= 0)
    total = np.sqrt(first[near]) + np.sqrt(second[near])  # d1 + d2
    values = np.float32(w0) * np.exp(total**2 / np.float32(-2 * sigma**2))
    weight = np.zeros(labels.shape, np.float32)
    weight[near] = np.where(values < _NEGLIGIBLE, np.float32(0), values)
    return weight


@_compiled
def _insert(found, c, d):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Offer object `c` at squared distance `d` to the two nearest: (nearest, second, d1^2, d2^2)."""
    a, b, da, db = found
    if c == 0 or d >= db:
        return found
    if c == a:
        return a, b, min(d, da), db
    if d < da:
        return c, a, d, da
    return a, c, da, d


@_compiled
def _along_lines(labels, step):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Last axis, one sweep in each direction: (lines, n) -> four arrays like what `_insert` returns."""
    nothing = np.float32(np.inf)
    nearest, other = labels.copy(), np.zeros_like(labels)
    first = np.where(labels > 0, np.float32(0), nothing)
    second = np.full(labels.shape, nothing, np.float32)
    lines, n = labels.shape
    for i in range(lines):
        for direction in (1, -1):
            a, b, at, bt = 0, 0, 0, 0  # the two objects met last, and where
            for t in range(n):
                j = t if direction == 1 else n - 1 - t
                if labels[i, j] > 0:
                    if labels[i, j] != a:
                        a, b, bt = labels[i, j], a, at
                    at = t
                found = (nearest[i, j], other[i, j], first[i, j], second[i, j])
                found = _insert(found, a, np.float32(((t - at) * step) ** 2))
                found = _insert(found, b, np.float32(((t - bt) * step) ** 2))
                nearest[i, j], other[i, j], first[i, j], second[i, j] = found
    return nearest, other, first, second


@_compiled
def _across_lines(state, step, reach, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Another axis: the four arrays (before, axis, after) with each pixel's candidates of other lines merged."""
    nearest, other, first, second = state
    to_nearest, to_other, to_first, to_second = nearest.copy(), other.copy(), first.copy(), second.copy()
    before, n, after = nearest.shape
    for i in range(before):
        for j in range(n):
            for k in range(after):
                if last and first[i, j, k] == 0:
                    continue  # inside an object, where no weight is wanted
                found = _search(state, (i, j, k), step, reach, last)
                to_nearest[i, j, k], to_other[i, j, k], to_first[i, j, k], to_second[i, j, k] = found
    return to_nearest, to_other, to_first, to_second


@_compiled
def _search(state, pixel, step, reach, last):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Look outward from one pixel, along the middle axis, until nothing further out can matter."""
    nearest, other, first, second = state
    i, j, k = pixel
    found = (nearest[i, j, k], other[i, j, k], first[i, j, k], second[i, j, k])
    n = nearest.shape[1]
    for distance in range(1, n):
        square = np.float32((distance * step) ** 2)
        limit = min(found[3], np.float32(reach**2))
        if last:  # d1 + d2 beyond the reach is not wanted: bound d1 by half of it, then d2 by the rest
            rest = max(np.float32(reach) - np.sqrt(found[2]), np.float32(reach / 2))
            limit = min(limit, rest * rest)
        if square >= limit:
            break
        for m in (j - distance, j + distance):
            if 0 <= m < n and first[i, m, k] + square < found[3]:
                found = _insert(found, nearest[i, m, k], first[i, m, k] + square)
                found = _insert(found, other[i, m, k], second[i, m, k] + square)
    return found


def _class_indices(
    labels: NDArray[Any], ignored: NDArray[np.bool_], *, values: tuple[int, ...]
) -> NDArray[np.int16]:
    """Index of each label in `values`; ignored pixels get some index that the caller overwrites."""
    order = np.argsort(values)
    place = np.searchsorted(np.asarray(values)[order], labels).clip(max=len(values) - 1)
    classes = order[place].astype(np.int16)
    unknown = (np.asarray(values)[classes] != labels) & ~ignored
    if unknown.any():
        found = np.unique(labels[unknown])[:5].tolist()
        raise ValueError(
            f"labels must hold only the class_values {values} or negative numbers, got also {found}; "
            "add them to class_values, or set ignore_label"
        )
    return classes


def _check_labels(labels: NDArray[Any]) -> None:
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}; round them and convert, e.g. to int32")
    if labels.ndim not in (2, 3):
        raise ValueError(f"labels must be (Y, X) or (Z, Y, X), got shape {labels.shape}; drop or add axes")


def _check_class_weights(class_weights: Sequence[float], *, n: int) -> NDArray[np.float32]:
    weights = np.asarray(class_weights, np.float32)
    if weights.shape != (n,) or not (np.isfinite(weights) & (weights >= 0)).all():
        raise ValueError(
            f"class_weights must hold {n} finite numbers >= 0, one per class, got {tuple(class_weights)}; "
            "see class_balance"
        )
    return weights
