"""One image -> for each score the terms that add up over images.

Rooms that need numba are imported where they are used: importing `contractile.evaluation` stays cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.errors import ContractileError
from contractile.evaluation.pairs import Labels, Prediction
from contractile.labels import connected

if TYPE_CHECKING:
    from contractile.metrics.contingency import Contingency, Objects
    from contractile.metrics.matching import Areas, Matches

Floats = NDArray[np.float64]
# for each key the terms to add up over images, or the reason why the score is undefined on this one
Measured = dict[str, Floats | str]

GROUPS: dict[str, tuple[str, ...]] = {
    "isbi": ("pixel_error", "warping_error", "rand_error", "v_rand", "v_info"),
    "overlap": ("dice", "iou", "adapted_rand", "voi_split", "voi_merge"),
    "ap": (
        "ap",
        "ap_image_mean",
        "f1",
        "f1_image_mean",
        "pq",
        "pq_image_mean",
        "aji",
        "aji_image_mean",
        "matched_jaccard",
    ),
    "ctc": ("seg", "det", "tra"),
    "surface": ("hausdorff", "hd95", "assd", "surface_dice"),
}


class EvaluateConfig(BaseModel):
    """How to score.

    `white`: which class of a probability map is the white one (the last by default). `classes`: the class
    values, when the labels are classes and not objects; `objects`: that the labels number objects (both seen from the
    truth by default). `ignore_label`: the
    value of the truth that marks pixels to ignore, besides negative ones. `border`: objects
    wholly within so many pixels of the edge are left out of the ctc scores (field of interest).
    `pixel_size`: size of a pixel along each axis (from the truth's file by default, else 1); `tolerance`
    of the surface Dice in the same unit (one pixel by default). `resamples` bootstrap sets and
    permutations are drawn from `seed`; 0 for no intervals.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dims: Literal[2, 3] = 2
    white: int = -1
    classes: tuple[int, ...] | None = None
    objects: bool = False
    ignore_label: int | None = None
    border: int = Field(default=0, ge=0)
    pixel_size: tuple[float, ...] | None = None
    tolerance: float | None = Field(default=None, ge=0)
    resamples: int = Field(default=2000, ge=0)
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """What the truth of the whole set holds: two values, objects, or classes with these values."""

    kind: Literal["binary", "objects", "classes"]
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class Case:
    """One image to measure, with the tables of overlaps that several groups share."""

    prediction: Prediction
    truth: Labels
    task: Task
    config: EvaluateConfig
    load_pixel_size: Callable[[], tuple[float, ...] | None] = lambda: None

    @cached_property
    def labels(self) -> Labels:
        """Labels as predicted, or decided from probabilities: the likeliest class, white above 0.5."""
        if self.prediction.labels is not None:
            return self.prediction.labels
        assert self.prediction.probabilities is not None
        if self.task.kind != "classes":
            return np.asarray(self.white_map > 0.5).astype(np.uint8)
        classes = len(self.prediction.probabilities)
        if classes != len(self.task.values):
            raise ContractileError(
                f"probabilities must hold one class for each value of {self.task.values}, got {classes}",
                "give `classes` in the order of the model's classes",
            )
        decided: Labels = np.asarray(self.task.values)[self.prediction.probabilities.argmax(axis=0)]
        return decided

    @cached_property
    def white_map(self) -> NDArray[Any]:
        """P(white) of one class of the probabilities, else the labels."""
        if self.prediction.probabilities is None:
            assert self.prediction.labels is not None
            return self.prediction.labels
        classes = len(self.prediction.probabilities)
        if not -classes <= self.config.white < classes:
            raise ContractileError(
                f"white must name one of the classes 0 ... {classes - 1}, got {self.config.white}", "correct it"
            )
        white: NDArray[Any] = self.prediction.probabilities[self.config.white]
        return white

    @cached_property
    def table(self) -> Contingency:
        from contractile.metrics.contingency import tabulate

        return tabulate(self.labels, self.truth)

    @cached_property
    def object_labels(self) -> tuple[Labels, Labels]:
        """Predicted and true objects; in two-valued maps: the connected parts of the white class."""
        if self.task.kind == "objects":
            return self.labels, self.truth
        truth = np.where(self.truth < 0, self.truth, _label_parts(self.truth))
        numbered = np.count_nonzero(np.unique(self.labels) > 0) > 1
        return self.labels if numbered else _label_parts(self.labels), truth

    @cached_property
    def object_table(self) -> Contingency:
        """Overlaps of objects and background."""
        from contractile.metrics.contingency import tabulate

        return self.table if self.task.kind == "objects" else tabulate(*self.object_labels)

    @cached_property
    def objects(self) -> Objects:
        """Overlaps of objects alone."""
        from contractile.metrics.contingency import select_objects

        return select_objects(self.object_table)


def measure(group: str, case: Case, keys: Sequence[str]) -> Measured:
    """Terms of the chosen keys of one group. Raises ValueError for input that the group cannot take."""
    return _MEASURES[group](case, keys)


def _measure_isbi(case: Case, keys: Sequence[str]) -> Measured:
    from contractile.metrics import isbi

    if case.truth.min(initial=0) < 0:
        return dict.fromkeys(keys, "the truth holds ignored pixels (negative labels), unknown to the ISBI scores")
    planes = (-1, *case.truth.shape[-2:])  # a volume is scored slice by slice
    slices = zip(case.white_map.reshape(planes), case.truth.reshape(planes), strict=True)
    measured = [isbi.measure(predicted, truth, names=tuple(keys)) for predicted, truth in slices]
    return {key: np.sum([m[key] for m in measured], axis=0) for key in keys}


def _measure_overlap(case: Case, keys: Sequence[str]) -> Measured:
    from contractile.metrics import overlap

    if case.task.kind == "classes":
        areas = overlap.class_overlaps(case.table, case.task.values)
    else:
        areas = [overlap.foreground_overlap(case.table)]
    terms = np.array([[a.shared, a.predicted, a.true] for a in areas], np.float64)
    measured: Measured = {"dice": terms, "iou": terms}
    reason = _why_no_objects(case)
    if reason:
        measured |= dict.fromkeys(("adapted_rand", "voi_split", "voi_merge"), reason)
    else:
        rand = overlap.adapted_rand(case.object_table)
        split, merge = overlap.variation_of_information(case.object_table) or (None, None)
        measured["adapted_rand"] = _mean_term(rand.error if rand else None)
        measured |= {"voi_split": _mean_term(split), "voi_merge": _mean_term(merge)}
    return {key: measured[key] for key in keys}


def _why_no_objects(case: Case) -> str:
    """Why scores of objects are undefined on an image; empty when they are not."""
    if case.task.kind == "classes":
        return "needs objects, and the truth holds classes"
    if case.task.kind == "objects" and case.prediction.labels is None:
        return "needs object labels, and the prediction holds probabilities"
    return ""


def _measure_ap(case: Case, keys: Sequence[str]) -> Measured:
    from contractile.metrics import matching

    if reason := _why_no_objects(case):
        return dict.fromkeys(keys, reason)
    matches = matching.match(case.objects)
    measured: Measured = {}
    for score in ("ap", "f1", "pq"):
        measured[score] = measured[f"{score}_image_mean"] = np.array([_match_terms(m, score) for m in matches])
    measured["aji"] = measured["aji_image_mean"] = _area_terms(matching.sum_jaccard(case.objects))
    if "matched_jaccard" in keys:
        measured["matched_jaccard"] = _area_terms(matching.sum_matched_jaccard(case.objects))
    return {key: measured[key] for key in keys}


def _measure_ctc(case: Case, keys: Sequence[str]) -> Measured:
    from contractile.metrics import ctc

    if reason := _why_no_objects(case):
        return dict.fromkeys(keys, reason)
    objects = select_in_field(*case.object_labels, case.config.border) if case.config.border else case.objects
    scores = ctc.score_objects(objects)
    measured: Measured = {
        "seg": np.array([scores.sum(), len(scores)]),
        "det": np.array(ctc.count_detection_errors(objects).as_tuple(), np.float64),
        "tra": "needs tracks: a Cell Tracking Challenge result with res_track.txt against a folder NN_GT",
    }
    return {key: measured[key] for key in keys}


def select_in_field(predicted: Labels, truth: Labels, border: int) -> Objects:
    """Overlaps of the objects that reach into the field of interest."""
    from contractile.metrics.contingency import select_objects, tabulate
    from contractile.metrics.ctc import clear_border

    return select_objects(tabulate(clear_border(predicted, border), clear_border(truth, border)))


def _measure_surface(case: Case, keys: Sequence[str]) -> Measured:
    from contractile.metrics.surface import score_surfaces

    spacing = case.config.pixel_size or case.load_pixel_size() or (1.0,) * case.truth.ndim
    tolerance = min(spacing) if case.config.tolerance is None else case.config.tolerance
    counted = case.truth >= 0  # ignored pixels belong to neither mask
    values = [v for v in case.task.values if v > 0] if case.task.kind == "classes" else [None]
    found = []
    for value in values:
        pred, true = (((x > 0) if value is None else (x == value)) & counted for x in (case.labels, case.truth))
        found.append(score_surfaces(pred, true, spacing=spacing, tolerance=tolerance))
    defined = [scores for scores in found if scores is not None]
    means = {key: np.mean([getattr(scores, key) for scores in defined]) if defined else None for key in keys}
    return {key: _mean_term(value) for key, value in means.items()}


_MEASURES: dict[str, Callable[[Case, Sequence[str]], Measured]] = {
    "isbi": _measure_isbi,
    "overlap": _measure_overlap,
    "ap": _measure_ap,
    "ctc": _measure_ctc,
    "surface": _measure_surface,
}


def _mean_term(value: Any) -> Floats:
    """(sum, count) of one value that may be undefined."""
    return np.zeros(2) if value is None else np.array([float(value), 1.0])


def _match_terms(matches: Matches, score: str) -> list[float]:
    pooled = [matches.true_positives, matches.iou_sum, matches.true_objects, matches.pred_objects]
    return [*pooled, *_mean_term(getattr(matches, score))]


def _area_terms(areas: Areas) -> Floats:
    return np.array([areas.shared, areas.union, *_mean_term(areas.score)])


def _label_parts(labels: Labels) -> Labels:
    return connected(labels > 0)
