"""The groups of scores: what each measures on one image, and how sums over images become a score.

Rooms that need numba are imported where they are used: importing `contractile.evaluate` stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.evaluate.pairs import Labels, Prediction

Floats = NDArray[np.float64]
# one image -> for each key the terms to add up over images, or the reason why it is undefined there
Measured = dict[str, Floats | str]

GROUPS: dict[str, tuple[str, ...]] = {
    "isbi": ("pixel_error", "warping_error", "rand_error", "v_rand", "v_info"),
    "overlap": ("dice", "iou", "adapted_rand", "voi_split", "voi_merge"),
}


class EvaluateConfig(BaseModel):
    """How to score. `white`: which class of a probability map is the white one (the last by default).

    `classes`: the class values, when the labels are classes and not objects (found from the truth by
    default). `resamples` bootstrap sets and permutations, drawn from `seed`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dims: Literal[2, 3] = 2
    white: int = -1
    classes: tuple[int, ...] | None = None
    resamples: int = Field(default=2000, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """What the truth of the whole set holds: two values, objects, or classes with these values."""

    kind: Literal["binary", "objects", "classes"]
    values: tuple[int, ...]


@dataclass(frozen=True)
class Key:
    """How one score comes from sums of terms: (..., *terms) -> (...), NaN where undefined."""

    reduce: Callable[[Floats], Floats]
    undefined: str
    lower_is_better: bool = False
    explain: Callable[[Floats], dict[str, Any]] = lambda sums: {}


def measure(
    group: str, prediction: Prediction, truth: Labels, task: Task, config: EvaluateConfig
) -> Callable[[Sequence[str]], Measured]:
    """The function that measures chosen keys of `group` on one image."""
    function = {"isbi": _measure_isbi, "overlap": _measure_overlap}[group]
    return lambda keys: function(prediction, truth, task, config, keys)


def _measure_isbi(
    prediction: Prediction, truth: Labels, task: Task, config: EvaluateConfig, keys: Sequence[str]
) -> Measured:
    from contractile.metrics import isbi

    if truth.min(initial=0) < 0:
        return dict.fromkeys(keys, "the truth holds ignored pixels (negative labels), unknown to the ISBI scores")
    white = _white_map(prediction, config)
    depth = (-1, *truth.shape[-2:])  # a volume is scored slice by slice
    slices = zip(white.reshape(depth), truth.reshape(depth), strict=True)
    measured = [isbi.measure(p, t, names=tuple(keys)) for p, t in slices]
    return {key: np.sum([m[key] for m in measured], axis=0) for key in keys}


def _white_map(prediction: Prediction, config: EvaluateConfig) -> NDArray[Any]:
    if prediction.probabilities is not None:
        classes = len(prediction.probabilities)
        if not -classes <= config.white < classes:
            raise ValueError(f"white must name one of {classes} classes (0 ... {classes - 1}), got {config.white}; correct it")
        return prediction.probabilities[config.white]
    assert prediction.labels is not None
    return prediction.labels


def _measure_overlap(
    prediction: Prediction, truth: Labels, task: Task, config: EvaluateConfig, keys: Sequence[str]
) -> Measured:
    from contractile.metrics import contingency, overlap

    predicted = _labels_of(prediction, task, config)
    table = contingency.tabulate(predicted, truth)
    if task.kind == "classes":
        areas = overlap.class_overlaps(table, task.values)
    else:
        areas = [overlap.foreground_overlap(table)]
    terms = np.array([[a.shared, a.predicted, a.true] for a in areas], np.float64)
    measured: Measured = {"dice": terms, "iou": terms}
    if task.kind != "objects" or prediction.labels is None:
        reason = "needs object labels in both truth and prediction"
        measured |= dict.fromkeys(("adapted_rand", "voi_split", "voi_merge"), reason)
    else:
        rand = overlap.adapted_rand(table)
        information = overlap.variation_of_information(table)
        measured["adapted_rand"] = np.array([rand.error, 1.0]) if rand else np.zeros(2)
        measured["voi_split"] = np.array([information[0], 1.0]) if information else np.zeros(2)
        measured["voi_merge"] = np.array([information[1], 1.0]) if information else np.zeros(2)
    return {key: measured[key] for key in keys}


def _labels_of(prediction: Prediction, task: Task, config: EvaluateConfig) -> NDArray[Any]:
    """Labels as predicted, or decided from probabilities: the likeliest class, white above 0.5."""
    if prediction.labels is not None:
        return prediction.labels
    assert prediction.probabilities is not None
    if task.kind == "classes":
        return np.asarray(task.values)[prediction.probabilities.argmax(axis=0)]
    return np.asarray(_white_map(prediction, config) > 0.5).astype(np.uint8)


def _best_over_thresholds(name: str) -> Key:
    def reduce(sums: Floats) -> Floats:
        from contractile.metrics import isbi

        return isbi.find_best(name, isbi.curve(name, sums))[0]

    def explain(sums: Floats) -> dict[str, Any]:
        from contractile.metrics import isbi

        scores = isbi.curve(name, sums)
        return {
            "threshold": round(isbi.THRESHOLDS[int(isbi.find_best(name, scores)[1])], 1),
            "by_threshold": [None if np.isnan(s) else float(s) for s in scores],
        }

    return Key(reduce, "the truth has no white pixel", name.endswith("error"), explain)


def _mean_over_classes(doubled: bool) -> Key:
    def by_class(sums: Floats) -> Floats:
        shared, predicted, true = np.moveaxis(sums, -1, 0)
        with np.errstate(invalid="ignore", divide="ignore"):
            scores: Floats = 2 * shared / (predicted + true) if doubled else shared / (predicted + true - shared)
        return scores

    def reduce(sums: Floats) -> Floats:
        scores = by_class(sums)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Floats = np.nansum(scores, axis=-1) / np.isfinite(scores).sum(axis=-1)
        return mean

    def explain(sums: Floats) -> dict[str, Any]:
        return {"by_class": [None if np.isnan(s) else float(s) for s in by_class(sums)]}

    return Key(reduce, "no class is present in truth or prediction", False, explain)


def _mean(undefined: str) -> Key:
    def reduce(sums: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean: Floats = sums[..., 0] / sums[..., 1]
        return mean

    return Key(reduce, undefined, lower_is_better=True)


KEYS: dict[str, Key] = {
    **{name: _best_over_thresholds(name) for name in GROUPS["isbi"]},
    "dice": _mean_over_classes(doubled=True),
    "iou": _mean_over_classes(doubled=False),
    "adapted_rand": _mean("no object holds two pixels"),
    "voi_split": _mean("no pixel is left to compare"),
    "voi_merge": _mean("no pixel is left to compare"),
}
