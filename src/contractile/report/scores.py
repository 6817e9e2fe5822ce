"""Scores in words: what each is called and says, and tables of them, ready to be printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contractile.evaluate import Evaluation, ImageScores, Score
from contractile.evaluate.groups import KEYS

# key -> (name, what it says)
NAMES = {
    "iou": ("IoU", "shared area over joint area of prediction and truth"),
    "dice": ("Dice", "twice the shared area over the sum of both areas"),
    "pixel_error": ("Pixel error", "1 − F1 of the white pixels"),
    "warping_error": ("Warping error", "splits and mergers per pixel that no bending of the truth explains"),
    "rand_error": ("Rand error", "1 − F1 of pairs of pixels that belong together"),
    "v_rand": ("V_Rand", "Rand score after thinning the borders: 1 without splits and mergers"),
    "v_info": ("V_Info", "information score after thinning the borders: 1 without splits and mergers"),
    "adapted_rand": ("Adapted Rand error", "1 − F1 of pairs of pixels in one object"),
    "voi_split": ("Information lost to splits", "bits; variation of information, 0 when no object is cut"),
    "voi_merge": ("Information lost to mergers", "bits; variation of information, 0 when no objects are joined"),
    "ap": ("Average precision", "objects found over objects found, missed and invented"),
    "f1": ("F1 of objects", "harmonic mean of precision and recall of objects"),
    "pq": ("Panoptic quality", "F1 of objects times the mean IoU of those found"),
    "aji": ("Aggregated Jaccard", "shared area over joint area, object by object"),
    "seg": ("SEG", "mean IoU of the true objects, 0 for one that was missed (Cell Tracking Challenge)"),
    "det": ("DET", "how well objects are detected (Cell Tracking Challenge)"),
    "tra": ("TRA", "how well objects are tracked (Cell Tracking Challenge)"),
    "hausdorff": ("Hausdorff distance", "the farthest that the surfaces are apart"),
    "hd95": ("Hausdorff distance, 95 %", "how far the surfaces are apart, all but the worst 5 %"),
    "assd": ("Mean surface distance", "how far the surfaces are apart on average"),
    "surface_dice": ("Surface Dice", "share of the surfaces that lie within the tolerance"),
}
UNBOUNDED = frozenset({"voi_split", "voi_merge", "hausdorff", "hd95", "assd"})
UNKNOWN = "–"


@dataclass(frozen=True)
class ScoreRow:
    """One score of the whole set. `band` holds low, value and high in percent of [0, 1], where they lie in it."""

    name: str
    meaning: str
    value: str
    interval: str
    band: tuple[float, float, float] | None = None
    detail: str = ""


@dataclass(frozen=True)
class Cell:
    """One entry of a table; `note` is the number of the table's note that explains it."""

    text: str
    note: int | None = None


@dataclass(frozen=True)
class Table:
    """Rows under named columns; the first column names the row, the others are numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    lead: str = ""
    notes: tuple[str, ...] = ()


def name_of(key: str) -> str:
    """The name of a score; of an unknown one, its key in words."""
    return NAMES[key][0] if key in NAMES else key.replace("_", " ").capitalize()


def is_error(key: str) -> bool:
    """Whether less of this score is better."""
    return key in KEYS and KEYS[key].lower_is_better


def format_number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 100 else f"{value:.5g}"


def pick_steering(evaluation: Evaluation, preferred: str | None = None) -> str | None:
    """The score that ranks the images: `preferred` where it is defined, else the first that is."""
    defined = [key for key, score in evaluation.summary.items() if score.value is not None]
    return preferred if preferred in defined else next(iter(defined), None)


def rank(images: Sequence[ImageScores], steering: str | None) -> list[ImageScores]:
    """Images worst first; those whose score is undefined come last."""

    def badness(image: ImageScores) -> float:
        score = image.scores.get(steering or "")
        if score is None or score.value is None:
            return math.inf
        return -score.value if is_error(steering or "") else score.value

    return sorted(images, key=badness)


def summarise(evaluation: Evaluation, steering: str | None, class_values: Sequence[int] = ()) -> tuple[ScoreRow, ...]:
    """The scores of the set, the steering one first."""
    keys = sorted(evaluation.summary, key=lambda key: key != steering)
    return tuple(_row(key, evaluation.summary[key], class_values) for key in keys)


def tabulate_images(evaluation: Evaluation, steering: str | None) -> Table:
    """The scores image by image, worst first; a note says why one is undefined."""
    keys = sorted(evaluation.summary, key=lambda key: key != steering)
    notes: dict[str, int] = {}
    rows = []
    for image in rank(evaluation.images, steering):
        cells = [_cell(image.scores.get(key), notes) for key in keys]
        rows.append((Cell(image.name), *cells))
    return Table(
        title="Image by image",
        columns=("image", *(name_of(key) for key in keys)),
        rows=tuple(rows),
        lead=f"Worst {name_of(steering)} first." if steering and len(rows) > 1 else "",
        notes=tuple(notes),
    )


def describe_image(scores: Mapping[str, Score], steering: str | None, *, most: int = 4) -> str:
    """The first few scores of an image on one line, the steering one first."""
    keys = sorted(scores, key=lambda key: key != steering)[:most]
    defined = ((name_of(key), scores[key].value) for key in keys)
    return ", ".join(f"{name} {UNKNOWN if value is None else f'{value:.3f}'}" for name, value in defined)


def _row(key: str, score: Score, class_values: Sequence[int]) -> ScoreRow:
    meaning = NAMES[key][1] if key in NAMES else ""
    meaning += ("; " if meaning else "") + ("less is better" if is_error(key) else "more is better")
    if score.value is None:
        return ScoreRow(name_of(key), meaning, "undefined", score.reason or "no reason was given")
    low, high = score.low, score.high
    known = low is not None and high is not None
    bounds = (low, score.value, high) if low is not None and high is not None else (score.value,) * 3
    inside = key not in UNBOUNDED and all(0 <= bound <= 1 for bound in bounds)
    return ScoreRow(
        name_of(key),
        meaning,
        format_number(score.value),
        f"{format_number(bounds[0])} to {format_number(bounds[2])}" if known else "",
        (100 * bounds[0], 100 * bounds[1], 100 * bounds[2]) if inside else None,
        _describe_detail(score.detail, class_values),
    )


def _describe_detail(detail: Mapping[str, Any], class_values: Sequence[int]) -> str:
    """Threshold, rule, counts and scores by class; longer curves are left to the JSON."""
    parts = []
    by_class = detail.get("by_class") or []
    if len(by_class) > 1:
        names = class_values if len(class_values) == len(by_class) else range(len(by_class))
        values = (UNKNOWN if value is None else f"{value:.3f}" for value in by_class)
        parts.append("class " + ", ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True)))
    for name, value in detail.items():
        if isinstance(value, str | int | float):
            shown = f"{value:.4g}" if isinstance(value, float) else value
            parts.append(f"{name.replace('_', ' ')} {shown}")
    return "; ".join(parts)


def _cell(score: Score | None, notes: dict[str, int]) -> Cell:
    if score is None:
        return Cell(UNKNOWN)
    if score.value is None:
        reason = score.reason or "no reason was given"
        return Cell(UNKNOWN, notes.setdefault(reason, len(notes) + 1))
    return Cell(format_number(score.value))
