"""The results of a prediction as one page, the least certain image first: `write_predictions`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contractile.prediction import Written
from contractile.report.page import write_html
from contractile.report.pictures import MOST_PICTURES, Shown, show
from contractile.report.scores import UNKNOWN, count
from contractile.storage import check_replaceable

OVERLAY = "_overlay.png"


@dataclass(frozen=True)
class Row:
    """An image in words: its name, the number of its objects, what is expected of them, and what is odd about it.

    Of classes, the Dice score of each is expected.
    """

    name: str
    objects: str
    expected: str
    true: str
    odd: str


@dataclass(frozen=True)
class Predictions:
    """Everything on the page. All strings are plain text."""

    title: str
    subtitle: str
    cards: tuple[tuple[str, str, str], ...]  # name, value, note
    score: str
    rows: tuple[Row, ...]
    pictures: tuple[Shown, ...]
    pictures_note: str
    footer: str


def write_predictions(found: Sequence[Written], path: Path, *, model: str, overwrite: bool = False) -> Path:
    """Write the page of the files that were predicted; `model` says by what. Pictures are those of the overlays.

    Raises AlreadyThere for a file that must not be replaced; NotWritten or NotWritable when it cannot be written.
    """
    check_replaceable([path], overwrite=overwrite)
    ranked = sorted(found, key=_certainty)
    seen = [(_caption(one), overlays[0]) for one in ranked if (overlays := _overlays(one))]
    pictures = [show(name, overlay) for name, overlay in seen[:MOST_PICTURES]]
    page = Predictions(
        title=path.parent.resolve().name,
        subtitle=f"{count(len(found), 'file')} predicted by {model}",
        cards=_cards(found),
        score="expected Dice of each class" if any(one.dice for one in found) else "expected AP at IoU 0.5",
        rows=tuple(map(_row, ranked)),
        pictures=tuple(pictures),
        pictures_note=_pictures_note(len(pictures), found),
        footer="The expected values are estimated from images that the model did not learn from. They are valid only "
        "for images similar to the training images.",
    )
    return write_html(path, "predictions.html.j2", page=page)


def _certainty(one: Written) -> tuple[float, float]:
    odd = 0.0 if one.unlike is None else one.unlike.score
    dice = min((found.value for found in one.dice if not math.isnan(found.value)), default=math.inf)
    return (dice if one.expected is None else one.expected.ap, -odd)


def _caption(one: Written) -> str:
    """What the picture of an image shows; of a stack there is one of the first page."""
    return one.name if one.pages == 1 else f"{one.name}, the first of {one.pages:,} pages"


def _overlays(one: Written) -> list[Path]:
    return [file for file in one.files if file.name.endswith(OVERLAY)]


def _pictures_note(shown: int, found: Sequence[Written]) -> str:
    which = f"The {shown} least certain images" if shown < len(found) else "All images"
    objects = any(one.count is not None for one in found)
    colours = " Colours only tell neighbouring objects apart." if objects else ""
    return f"{which}, the least certain first.{colours}"


def _cards(found: Sequence[Written]) -> tuple[tuple[str, str, str], ...]:
    cards = [("files", f"{len(found):,}", "")]
    counts = [one.count for one in found if one.count is not None]
    if counts:
        cards.append(("objects", f"{sum(counts):,}", ""))
    expected = [one.expected for one in found if one.expected is not None]
    if expected:
        mean = float(np.mean([one.ap for one in expected]))
        error = _together([(one.ap_low, one.ap, one.ap_high) for one in expected]) / len(expected)
        interval = f"95 % interval {max(0.0, mean - error):.2f} to {min(1.0, mean + error):.2f}"
        cards.append(("expected AP at IoU 0.5", f"{mean:.2f}", f"mean of the images, {interval}"))
        total = sum(one.objects for one in expected)
        error = _together([(one.objects_low, one.objects, one.objects_high) for one in expected])
        interval = f"95 % interval {max(0.0, total - error):,.0f} to {total + error:,.0f}"
        cards.append(("estimated true number of objects", f"{total:,.0f}", interval))
    odd = sum(one.unlike is not None and one.unlike.is_far for one in found)
    if odd:
        cards.append(("unlike the training images", f"{odd}", "expect worse there"))
    return tuple(cards)


def _together(intervals: Sequence[tuple[float, float, float]]) -> float:
    """Half the width of the interval of a sum, from (low, value, high) of its parts, which are independent.

    A side that was cut off where no value can lie is as long as the other one.
    """
    return math.sqrt(sum(max(high - value, value - low) ** 2 for low, value, high in intervals))


def _row(one: Written) -> Row:
    expected, odd = one.expected, one.unlike
    scores = list(map(str, one.dice))
    scores += [] if expected is None else [f"{expected.ap:.2f} ({expected.ap_low:.2f} to {expected.ap_high:.2f})"]
    return Row(
        name=one.name,
        objects=UNKNOWN if one.count is None else f"{one.count:,}",
        expected="; ".join(scores) or UNKNOWN,
        true=UNKNOWN if expected is None else f"{expected.objects_low:,.0f} to {expected.objects_high:,.0f}",
        odd=odd.reason if odd is not None and odd.is_far else "",
    )
