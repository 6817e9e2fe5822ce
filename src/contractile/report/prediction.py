"""The page of a prediction: what was found in each image, and how good it is where the truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.evaluation import Evaluation
from contractile.model import ModelCard
from contractile.report.card import describe_card
from contractile.report.page import Command, Page, Text, write_page
from contractile.report.pictures import LEGEND_WITH_TRUTH, MOST_PICTURES, Picture, Swatch, draw, make_legend
from contractile.report.scores import (
    UNKNOWN,
    Cell,
    Table,
    count,
    describe_image,
    format_shape,
    pick_steering,
    rank,
    summarise,
    tabulate_images,
)


@dataclass(frozen=True)
class Segmentation:
    """An image and what was found in it: pixels (C, *S), labels (*S), and true labels (*S) where known."""

    name: str
    pixels: NDArray[Any]
    labels: NDArray[Any]
    truth: NDArray[Any] | None = None


def write_prediction_report(
    path: str | Path,
    segmentations: Iterable[Segmentation],
    *,
    evaluation: Evaluation | None = None,
    card: ModelCard | None = None,
    command: str = "",
) -> Path:
    """Write one page about predicted images, taken one by one, so that they need not fit into memory.

    With an `evaluation` the scores are shown, and the worst images; without, the first. `card` is that of
    the model, `command` what was typed. Raises ValueError for no images or labels of another shape,
    OSError when the page cannot be written.
    """
    steering = None if evaluation is None else pick_steering(evaluation)
    values = card.class_values if card else ()
    gallery = _Gallery(evaluation, steering)
    found = [_measure(segmentation, values) for segmentation in gallery.watch(segmentations)]
    if not found:
        raise ContractileError("segmentations must hold at least one image, got none", "predict some images first")
    page = Page(
        kind="Prediction",
        title=Path(path).stem if len(found) > 1 else found[0].name,
        subtitle=_subtitle(found, values),
        scores=summarise(evaluation, steering, values) if evaluation else (),
        scored=f"Measured on {count(len(evaluation.images), 'image')} with a known truth." if evaluation else "",
        tables=(*([tabulate_images(evaluation, steering)] if evaluation else []), _tabulate(found, values)),
        pictures=gallery.pictures,
        pictures_title="Images",
        pictures_note=gallery.note(len(found)),
        legend=gallery.legend(values),
        command=Command(command, "") if command else None,
        facts=describe_card(card) if card else (),
        texts=(Text("Model card", card.model_dump_json(indent=2)),) if card else (),
        footer="contractile",
    )
    return write_page(page, Path(path))


@dataclass(frozen=True)
class _Found:
    """What labels hold: how many different ones, their median size, the share of pixels of each class."""

    name: str
    shape: tuple[int, ...]
    objects: int
    median_size: float | None
    covered: float
    shares: tuple[float, ...]


class _Gallery:
    """Draws the worst images as they pass by, and the first of those without scores."""

    def __init__(self, evaluation: Evaluation | None, steering: str | None) -> None:
        self._steering = steering
        self._ranked = rank(evaluation.images, steering) if evaluation else []
        self._scores = {image.name: image.scores for image in self._ranked}
        self._worst = [image.name for image in self._ranked[:MOST_PICTURES]]
        self._scored: dict[str, Picture] = {}
        self._others: list[Picture] = []
        self._truth = self._bare = False

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Worst first, then in order of appearance."""
        scored = [self._scored[name] for name in self._worst if name in self._scored]
        return tuple([*scored, *self._others][:MOST_PICTURES])

    def watch(self, segmentations: Iterable[Segmentation]) -> Iterator[Segmentation]:
        for item in segmentations:
            if item.name in self._worst:
                self._scored[item.name] = self._draw(item)
            elif item.name not in self._scores and len(self._others) < MOST_PICTURES:
                self._others.append(self._draw(item))
            yield item

    def note(self, total: int) -> str:
        """Which images are shown, and how to read the lines."""
        shown = len(self.pictures)
        ranked = self._steering is not None and bool(self._scored)
        which = f"The {'worst' if ranked else 'first'} {shown} of {total}. " if shown < total else ""
        order = "Worst first. " if ranked and shown == total > 1 else ""
        lines = "A blue line that stands alone was missed, an orange one was invented." if self._truth else ""
        return f"{which}{order}{lines}".strip()

    def legend(self, values: Sequence[int]) -> tuple[Swatch, ...]:
        return (LEGEND_WITH_TRUTH if self._truth else ()) + (make_legend(values) if self._bare else ())

    def _draw(self, item: Segmentation) -> Picture:
        self._truth, self._bare = self._truth or item.truth is not None, self._bare or item.truth is None
        caption = describe_image(self._scores.get(item.name, {}), self._steering)
        return draw(item.name, item.pixels, item.labels, truth=item.truth, caption=caption)


def _measure(item: Segmentation, class_values: Sequence[int]) -> _Found:
    values, sizes = np.unique(item.labels, return_counts=True)
    inside = sizes[values > 0]
    counts = dict(zip(values.tolist(), sizes.tolist(), strict=True))
    pixels = max(item.labels.size, 1)
    return _Found(
        name=item.name,
        shape=item.labels.shape,
        objects=len(inside),
        median_size=float(np.median(inside)) if len(inside) else None,
        covered=float(inside.sum()) / pixels,
        shares=tuple(counts.get(value, 0) / pixels for value in class_values),
    )


def _tabulate(found: Sequence[_Found], class_values: Sequence[int]) -> Table:
    """What was found in each image: objects, or the share of each class."""
    head = [(Cell(item.name), Cell(format_shape(item.shape))) for item in found]
    if class_values:
        columns = tuple(f"class {value}" for value in class_values)
        cells = [tuple(Cell(f"{100 * share:.1f} %") for share in item.shares) for item in found]
    else:
        columns = ("objects", "median size (pixels)", "covered")
        cells = [
            (
                Cell(f"{item.objects:,}"),
                Cell(UNKNOWN if item.median_size is None else f"{item.median_size:,.0f}"),
                Cell(f"{100 * item.covered:.1f} %"),
            )
            for item in found
        ]
    rows = tuple((*first, *rest) for first, rest in zip(head, cells, strict=True))
    return Table("What was found", ("image", "size (pixels)", *columns), rows)


def _subtitle(found: Sequence[_Found], class_values: Sequence[int]) -> str:
    images = count(len(found), "image")
    if class_values:
        return f"{len(class_values)} classes in {images}"
    return f"{count(sum(item.objects for item in found), 'object')} in {images}"
