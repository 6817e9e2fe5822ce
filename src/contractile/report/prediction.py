"""The page of a prediction: what was found in each image, and how good it is where the truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.evaluate import Evaluation
from contractile.model import ModelCard
from contractile.report.card import describe_card
from contractile.report.page import Command, Page, Text, write_page
from contractile.report.pictures import LEGEND_WITH_TRUTH, MOST_PICTURES, Picture, draw, make_legend
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
    gallery = _Gallery(evaluation, steering)
    found = [_measure(segmentation, card) for segmentation in gallery.watch(segmentations)]
    if not found:
        raise ValueError("segmentations must hold at least one image, got none; predict some images first")
    pictures = gallery.pictures
    scored = count(len(evaluation.images), "image") if evaluation else ""
    page = Page(
        kind="Prediction",
        title=Path(path).stem if len(found) > 1 else found[0].name,
        subtitle=_subtitle(found, card),
        scores=()
        if evaluation is None
        else summarise(evaluation, steering, card.class_values if card else ()),
        scored=f"Measured on {scored} with a known truth.",
        pictures=pictures,
        pictures_title="Images",
        pictures_note=_pictures_note(
            len(pictures), len(found), ranked=steering is not None, truth=gallery.truth
        ),
        legend=_legend(gallery, card),
        tables=(*([tabulate_images(evaluation, steering)] if evaluation else []), _tabulate(found, card)),
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
    """Draws the worst images as they pass by (without scores: the first)."""

    def __init__(self, evaluation: Evaluation | None, steering: str | None) -> None:
        self._steering = steering
        ranked = rank(evaluation.images, steering) if evaluation else []
        self._ranked = {image.name: image for image in ranked[:MOST_PICTURES]}
        self._drawn: dict[str, Picture] = {}
        self.truth = self.bare = False

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """In order of rank, or of appearance."""
        names = [name for name in self._ranked if name in self._drawn] or list(self._drawn)
        return tuple(self._drawn[name] for name in names)

    def watch(self, segmentations: Iterable[Segmentation]) -> Iterator[Segmentation]:
        for item in segmentations:
            wanted = item.name in self._ranked if self._ranked else len(self._drawn) < MOST_PICTURES
            if wanted:
                scores = self._ranked[item.name].scores if self._ranked else {}
                caption = describe_image(scores, self._steering)
                self._drawn[item.name] = draw(
                    item.name, item.pixels, item.labels, truth=item.truth, caption=caption
                )
                self.truth, self.bare = self.truth or item.truth is not None, self.bare or item.truth is None
            yield item


def _measure(item: Segmentation, card: ModelCard | None) -> _Found:
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
        shares=tuple(counts.get(value, 0) / pixels for value in (card.class_values if card else ())),
    )


def _tabulate(found: Sequence[_Found], card: ModelCard | None) -> Table:
    """What was found in each image: objects, or the share of each class."""
    head = [(Cell(item.name), Cell(format_shape(item.shape))) for item in found]
    if card is not None and card.task == "classes":
        columns = tuple(f"class {value}" for value in card.class_values)
        cells = [tuple(Cell(f"{100 * share:.1f} %") for share in item.shares) for item in found]
    else:
        columns = ("objects", "median size", "covered")
        cells = [
            (
                Cell(f"{item.objects:,}"),
                Cell(UNKNOWN if item.median_size is None else f"{item.median_size:,.0f}"),
                Cell(f"{100 * item.covered:.1f} %"),
            )
            for item in found
        ]
    rows = tuple((*first, *rest) for first, rest in zip(head, cells, strict=True))
    return Table("What was found", ("image", "pixels", *columns), rows, lead="Sizes in pixels.")


def _subtitle(found: Sequence[_Found], card: ModelCard | None) -> str:
    images = count(len(found), "image")
    if card is not None and card.task == "classes":
        return f"{len(card.class_values)} classes in {images}"
    return f"{count(sum(item.objects for item in found), 'object')} in {images}"


def _pictures_note(shown: int, total: int, *, ranked: bool, truth: bool) -> str:
    which = f"The {'worst' if ranked else 'first'} {shown} of {total}. " if shown < total else ""
    order = "Worst first. " if ranked and shown == total > 1 else ""
    lines = "A blue line that stands alone was missed, an orange one was invented." if truth else ""
    return f"{which}{order}{lines}".strip()


def _legend(gallery: _Gallery, card: ModelCard | None) -> tuple[Any, ...]:
    with_truth = LEGEND_WITH_TRUTH if gallery.truth else ()
    return with_truth + (make_legend(card.class_values if card else ()) if gallery.bare else ())
