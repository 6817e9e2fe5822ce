"""One image -> for each score the terms that add up over images.

Modules that need numba are imported where they are used, so that importing `contractile.evaluation` stays quick.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from contractile.errors import ContractileError, in_one_line
from contractile.evaluation.predictions import Labels, Prediction
from contractile.labels import Meaning, connected
from contractile.metrics import ctc, isbi, matching, overlap, surface
from contractile.metrics.metric import Floats, mean_terms

if TYPE_CHECKING:
    from contractile.metrics.contingency import Contingency, Objects

# for each score the terms to add up over images, or the reason why it is undefined on this image
Measured = dict[str, Floats | str]

Value = Annotated[int, Field(ge=-(2**31), le=2**32 - 1)]  # of labels


@in_one_line
class EvaluateConfig(BaseModel):
    """How to score.

    `dims`: axes of an image in a file; arrays show theirs. `classes`: the class values, where the labels are classes;
    `objects`: true where the labels number objects. Without either, the truth decides (`labels.find_meaning`). `white`:
    index of the channel of probabilities that is the white class, -1 the last; by default all channels together but the
    first, background. `probabilities`: true where predictions are maps also where they are unsigned integers.
    `background`: value of predicted labels that is background, if not 0; a 0 is an object then. `axes`: the letters of
    the axes of files, such as "TYX". `ignore_label`: value of the truth that marks pixels to ignore; negative values
    always do. `border`: objects that lie entirely within so many pixels of the edge are left out of the ctc scores
    (field of interest). `pixel_size`: size of a pixel along each axis, for the surface scores; by default that in the
    file of the truth, or 1. `tolerance`: of the surface Dice, in the unit of the pixel size; one pixel by default.
    `resamples`: number of bootstrap samples and of permutations; 0 for no intervals. `seed`: random seed of both.

    An option that has nothing to act on is refused, or a warning says so. Masks of a Cell Tracking Challenge sequence
    number objects, so `classes`, `white` and `probabilities` are refused there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dims: Literal[2, 3] = 2
    white: int | None = Field(default=None, ge=-4096, le=4095)
    probabilities: bool = False
    background: int | None = Field(default=None, ge=-(2**31), le=2**32 - 1)
    axes: str | None = Field(default=None, examples=["TYX"])
    classes: tuple[Value, ...] | None = Field(default=None, examples=["0,1"])
    objects: bool = False
    ignore_label: int | None = Field(default=None, ge=-(2**31), le=2**32 - 1)
    border: int = Field(default=0, ge=0, le=2**31)
    pixel_size: tuple[float, ...] | None = Field(default=None, examples=["0.5,0.2,0.2"])
    tolerance: float | None = Field(default=None, ge=0, le=1e9)
    resamples: int = Field(default=2000, ge=0, le=10**6)
    seed: int = Field(default=0, ge=0, le=2**63 - 1)

    @model_validator(mode="after")
    def _fit_each_other(self) -> EvaluateConfig:
        values, sizes = self.classes, self.pixel_size
        if values is not None and len(set(values)) < max(2, len(values)):
            raise ContractileError(f"classes must name at least two different values, got {values}", "use e.g. 0,1")
        if values is not None and self.objects:
            raise ContractileError("classes and objects exclude each other, got both", "give one of them")
        if values is not None and self.ignore_label in values:
            problem = f"ignore_label must not be one of the classes {values}, got {self.ignore_label}"
            raise ContractileError(problem, "leave it out of classes")
        if sizes is not None and (len(sizes) not in (2, 3) or not all(0 < size < math.inf for size in sizes)):
            problem = f"pixel_size must hold one positive number for each of 2 or 3 axes, got {sizes}"
            raise ContractileError(problem, "use e.g. 0.5,0.5, or 2,0.5,0.5 for volumes")
        return self


@dataclass(frozen=True)
class Task:
    """What the truth of the whole set holds: objects, classes with these values, or one class on background."""

    kind: Literal["binary", "objects", "classes"]
    values: tuple[int, ...] = ()

    @classmethod
    def of(cls, meaning: Meaning) -> Task:
        """Classes with a single value above 0 are "binary"."""
        binary = meaning.task == "classes" and sum(value > 0 for value in meaning.class_values) == 1
        return cls("binary" if binary else meaning.task, meaning.class_values)


@dataclass(frozen=True)
class Case:
    """One image to measure, and the tables of overlaps, which several groups of scores use."""

    prediction: Prediction
    truth: Labels
    task: Task
    config: EvaluateConfig
    load_pixel_size: Callable[[], tuple[float, ...] | None] = lambda: None

    @cached_property
    def pixel_size(self) -> tuple[float, ...] | None:
        """Size of a pixel along each axis, as the configuration or a file gives it; None where neither does."""
        return self.config.pixel_size or self.load_pixel_size()

    @cached_property
    def labels(self) -> Labels:
        """Predicted labels; from probabilities the most probable class, or white where above 0.5."""
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
        """Probability (*S) of white, which is all but background, or the labels where there are no probabilities."""
        if self.prediction.probabilities is None:
            assert self.prediction.labels is not None
            return self.prediction.labels
        channels, white = self.prediction.probabilities, self.config.white
        if white is None:
            from contractile.decode import inside_probability  # numba is slow to load

            return np.asarray(channels[0] if len(channels) == 1 else np.minimum(inside_probability(channels), 1))
        if not -len(channels) <= white < len(channels):
            raise ContractileError(
                f"white must name one of the channels 0 ... {len(channels) - 1}, got {white}",
                "leave it out where the first channel is background",
            )
        return np.asarray(channels[white])

    @cached_property
    def table(self) -> Contingency:
        from contractile.metrics.contingency import tabulate

        return tabulate(self.labels, self.truth)

    @cached_property
    def object_labels(self) -> tuple[Labels, Labels]:
        """Predicted and true objects; those of a binary map are the connected parts of its white class."""
        if self.task.kind == "objects":
            return self.labels, self.truth
        truth = np.where(self.truth < 0, self.truth, connected(self.truth > 0))
        numbered = np.count_nonzero(np.unique(self.labels) > 0) > 1
        return self.labels if numbered else connected(self.labels > 0), truth

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


def measure(group: str, case: Case, names: Sequence[str]) -> Measured:
    """Terms of the scores `names`, all of one group. Raises ContractileError for input that the group cannot take."""
    return _MEASURES[group](case, names)


def select_in_field(predicted: Labels, truth: Labels, border: int) -> Objects:
    """Overlaps of the objects that reach into the field of interest."""
    from contractile.metrics.contingency import select_objects, tabulate

    return select_objects(tabulate(ctc.clear_border(predicted, border), ctc.clear_border(truth, border)))


def _measure_isbi(case: Case, names: Sequence[str]) -> Measured:
    if case.truth.min(initial=0) < 0:
        return dict.fromkeys(
            names, "the truth holds ignored pixels (negative labels), which the ISBI scores do not know"
        )
    planes = (-1, *case.truth.shape[-2:])  # a volume is scored slice by slice
    slices = zip(case.white_map.reshape(planes), case.truth.reshape(planes), strict=True)
    measured = [isbi.measure(predicted, truth, names=names) for predicted, truth in slices]
    return {name: np.sum([m[name] for m in measured], axis=0) for name in names}


def _measure_overlap(case: Case, names: Sequence[str]) -> Measured:
    if case.task.kind == "classes":
        areas = overlap.class_overlap(case.table, case.task.values)
    else:
        areas = overlap.foreground_overlap(case.table)
    measured: Measured = {"dice": areas.array, "iou": areas.array}
    if reason := _why_no_objects(case):
        measured |= dict.fromkeys(("adapted_rand", "voi_split", "voi_merge"), reason)
    else:
        rand = overlap.adapted_rand(case.object_table)
        split, merge = overlap.variation_of_information(case.object_table) or (np.nan, np.nan)
        measured["adapted_rand"] = mean_terms(rand[0] if rand else np.nan)
        measured |= {"voi_split": mean_terms(split), "voi_merge": mean_terms(merge)}
    return {name: measured[name] for name in names}


def _why_no_objects(case: Case) -> str:
    """Why scores of objects are undefined on an image; empty where they are defined."""
    if case.task.kind == "classes":
        return "needs objects, and the truth holds classes"
    if case.task.kind == "objects" and case.prediction.labels is None:
        return "needs object labels, and the prediction holds probabilities"
    return ""


def _measure_ap(case: Case, names: Sequence[str]) -> Measured:
    reason = _why_no_objects(case)
    return dict.fromkeys(names, reason) if reason else {**matching.measure(case.objects, names)}


def _measure_ctc(case: Case, names: Sequence[str]) -> Measured:
    if reason := _why_no_objects(case):
        return dict.fromkeys(names, reason)
    objects = select_in_field(*case.object_labels, case.config.border) if case.config.border else case.objects
    scores = ctc.score_objects(objects)
    measured: Measured = {
        "seg": np.array([scores.sum(), len(scores)]),
        "det": ctc.count_detection_errors(objects).array,
        "tra": "needs tracks: a Cell Tracking Challenge result with res_track.txt against a folder NN_GT",
    }
    return {name: measured[name] for name in names}


def _measure_surface(case: Case, names: Sequence[str]) -> Measured:
    spacing = case.pixel_size or (1.0,) * case.truth.ndim
    if case.truth.ndim < case.config.dims:  # a slice of a volume
        spacing = spacing[-case.truth.ndim :]
    tolerance = min(spacing) if case.config.tolerance is None else case.config.tolerance
    counted = case.truth >= 0  # ignored pixels belong to neither mask
    values = [v for v in case.task.values if v > 0] if case.task.kind == "classes" else [None]
    found = []
    for value in values:
        pred, true = (((x > 0) if value is None else (x == value)) & counted for x in (case.labels, case.truth))
        found.append(surface.score_surfaces(pred, true, spacing=spacing, tolerance=tolerance))
    defined = [scores for scores in found if scores is not None]
    means = {name: np.mean([scores[name] for scores in defined]) if defined else np.nan for name in names}
    return {name: mean_terms(value) for name, value in means.items()}


_MEASURES: dict[str, Callable[[Case, Sequence[str]], Measured]] = {
    "isbi": _measure_isbi,
    "overlap": _measure_overlap,
    "ap": _measure_ap,
    "ctc": _measure_ctc,
    "surface": _measure_surface,
}
