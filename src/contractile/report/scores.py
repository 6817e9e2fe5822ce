"""Measured scores as words and tables, ready to be shown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contractile.evaluation import Evaluation, ImageScores, Score
from contractile.metrics import METRICS

UNKNOWN = "\N{EN DASH}"
COUNTS = {"tp": "found", "fn": "missed", "fp": "invented"}  # lists over IoU levels, 0.5 first
COUNTED = "ap"  # the score that these counts are shown with
FIRST = ("iou", "f1")  # the scores to look at first, as the README says
DETAILS = {"threshold": "best threshold", "mean_over_iou": "mean over IoU 0.5 to 0.95:"}
NO_REASON = "no reason was given"


@dataclass(frozen=True)
class ScoreRow:
    """One score of the set. `band` is (low, value, high) in percent of [0, 1], for scores that are bounded so."""

    name: str
    meaning: str
    value: str
    interval: str = ""
    reason: str = ""  # why it is undefined
    band: tuple[float, float, float] | None = None
    detail: str = ""

    @property
    def note(self) -> str:
        """What to show below the value."""
        return self.reason or (f"95 % interval {self.interval}" if self.interval else "one image, so no interval")


@dataclass(frozen=True)
class Cell:
    """One entry of a table; `note` is the number of the note that explains it."""

    text: str
    note: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows under named columns: the first column is the name of the row, the others are numbers."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    lead: str = ""
    notes: tuple[str, ...] = ()


def name_of(key: str) -> str:
    """The short name of a score; of an unknown one, its key in words."""
    return METRICS[key].short if key in METRICS else key.replace("_", " ").capitalize()


def is_error(key: str) -> bool:
    """Whether a lower value of this score is better."""
    return key in METRICS and METRICS[key].lower_is_better


def format_number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.5g}"


def format_shape(shape: Sequence[float]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(str(size) for size in shape)


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def pick_steering(evaluation: Evaluation, preferred: str | None = None) -> str | None:
    """The score that ranks the images: `preferred` where it is defined, otherwise the first score that is."""
    defined = [key for key, score in evaluation.summary.items() if score.value is not None]
    return preferred if preferred in defined else next(iter(defined), None)


def rank(images: Sequence[ImageScores], steering: str | None) -> list[ImageScores]:
    """Images, the worst first; those whose score is undefined come last."""

    def goodness(image: ImageScores) -> float:
        value = image.scores.get(steering or "", Score(value=None)).value
        return math.inf if value is None else value * (-1 if is_error(steering or "") else 1)

    return sorted(images, key=goodness)


def summarise(evaluation: Evaluation, steering: str | None, class_values: Sequence[int] = ()) -> tuple[ScoreRow, ...]:
    """The scores of the set: those of `FIRST`, then `steering`, then the others."""
    known = [key for key in dict.fromkeys((*FIRST, steering)) if key in evaluation.summary]
    keys = [*known, *(key for key in evaluation.summary if key not in known)]
    return tuple(_row(key, evaluation.summary[key], class_values) for key in keys)


def tabulate_images(evaluation: Evaluation, steering: str | None) -> Table:
    """The scores of each image, the worst image first; notes say why a score is undefined."""
    keys = sorted(evaluation.summary, key=lambda key: key != steering)
    notes: dict[str, int] = {}
    rows = []
    for image in rank(evaluation.images, steering):
        cells = [_cell(image.scores.get(key), notes) for key in keys]
        rows.append((Cell(image.name), *cells))
    return Table(
        columns=("image", *(name_of(key) for key in keys)),
        rows=tuple(rows),
        lead=f"The image with the worst {name_of(steering)} comes first." if steering and len(rows) > 1 else "",
        notes=tuple(notes),
    )


def describe_image(scores: Mapping[str, Score], steering: str | None, *, most: int = 4) -> str:
    """The first few scores of an image on one line, `steering` first."""
    keys = sorted(scores, key=lambda key: key != steering)[:most]
    defined = ((name_of(key), scores[key].value) for key in keys)
    return ", ".join(f"{name} {UNKNOWN if value is None else f'{value:.3f}'}" for name, value in defined)


def _row(key: str, score: Score, class_values: Sequence[int]) -> ScoreRow:
    metric = METRICS.get(key)
    meaning = f"{metric.meaning}; {metric.direction}" if metric else ""
    if score.value is None:
        return ScoreRow(name_of(key), meaning, "undefined", reason=score.reason or NO_REASON)
    low, high = score.low, score.high
    band = (score.value if low is None else low, score.value, score.value if high is None else high)
    drawn = (metric is None or metric.bounded) and all(0 <= bound <= 1 for bound in band)
    return ScoreRow(
        name_of(key),
        meaning,
        format_number(score.value),
        interval="" if low is None or high is None else f"{format_number(low)} to {format_number(high)}",
        band=(100 * band[0], 100 * band[1], 100 * band[2]) if drawn else None,
        detail=_describe_detail(key, score.detail, class_values),
    )


def _describe_detail(key: str, detail: Mapping[str, Any], class_values: Sequence[int]) -> str:
    """Rule, threshold, counts and scores by class. Curves are not shown; the JSON of an evaluation holds them."""
    parts = []
    by_class = detail.get("by_class") or []
    if len(by_class) > 1:
        names = class_values if len(class_values) == len(by_class) else range(len(by_class))
        values = (UNKNOWN if value is None else f"{value:.3f}" for value in by_class)
        parts.append(", ".join(f"class {name}: {value}" for name, value in zip(names, values, strict=True)))
    counts = [f"{detail[name][0]:,} {word}" for name, word in COUNTS.items() if key == COUNTED and name in detail]
    parts += [", ".join(counts)] if counts else []
    for name, value in detail.items():
        if isinstance(value, str):
            parts.append(value)
        elif isinstance(value, int | float):
            parts.append(f"{DETAILS.get(name, name.replace('_', ' '))} {value:.4g}")
    return "; ".join(parts)


def _cell(score: Score | None, notes: dict[str, int]) -> Cell:
    if score is None:
        return Cell(UNKNOWN)
    if score.value is None:
        return Cell(UNKNOWN, notes.setdefault(score.reason or NO_REASON, len(notes) + 1))
    return Cell(format_number(score.value))
