"""What a model learns about the quality of its own results, from images that its network never learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.dataset import Example
from contractile.intensity import Intensity
from contractile.metrics.contingency import select_objects, tabulate
from contractile.model import ModelCard
from contractile.prediction.blocks import Segmented, segment
from contractile.prediction.field import Held
from contractile.prediction.unlike import known_by
from contractile.quality import Calibration, Confidence, Known, Likeness, fit_calibration, fit_confidence, fit_likeness

IOU = 0.5  # from which an object is right
MOSTLY = 0.5  # of an object: the share that must be annotated, or lie in another one
FEW = 16  # images: with fewer, the quarters of each are looked at, too
SMALLEST = 64  # pixels along each side of a quarter


def learn_confidence(
    card: ModelCard, maps: Sequence[NDArray[np.float32]], truths: Sequence[NDArray[np.int32]]
) -> Confidence | None:
    """How likely objects are right, from maps (K, *S) of images with a truth (*S, -1 where it is not known).

    None for a model of classes, and where there are too few objects.
    """
    if card.task != "objects" or card.diameter is None:
        return None
    typical = area_of(card.diameter, card.network.dims)
    known = [compare(segment(Held(one), card), truth, typical) for one, truth in zip(maps, truths, strict=True)]
    return fit_confidence(known, typical=typical)


def learn_calibration(
    card: ModelCard, maps: Sequence[NDArray[np.float32]], truths: Sequence[NDArray[np.int32]]
) -> Calibration | None:
    """How often pixels have the class that they are given, from maps (K, *S) of images with a truth, as scored (*S).

    None for a model of objects.
    """
    if card.task != "classes":
        return None
    values = (0, 1) if len(card.class_values) == 2 else card.class_values  # two classes are scored as 0 and 1
    return fit_calibration(maps, [_numbered(truth, values) for truth in truths])


def _numbered(truth: NDArray[np.int32], values: Sequence[int]) -> NDArray[np.int32]:
    """Values of classes (*S) -> their numbers (*S); -1 for any other value."""
    numbers = np.full(truth.shape, -1, np.int32)
    for number, value in enumerate(values):
        numbers[truth == value] = number
    return numbers


def area_of(diameter: float, dims: int) -> float:
    """The area of a disc, or the volume of a ball, with this diameter."""
    return math.pi * diameter**2 / 4 if dims == 2 else math.pi * diameter**3 / 6


def compare(found: Segmented, truth: NDArray[np.int32], typical: float) -> Known:
    """What an image shows beside what is true. Objects that lie mostly where the truth is not known are left out."""
    labels, shown = np.asarray(found), found.shown(typical)
    table = select_objects(tabulate(labels, truth))
    counted = np.zeros(found.count + 1)
    counted[table.pred_ids] = table.pred_sizes
    judged = (counted > MOSTLY * np.bincount(labels.ravel(), minlength=found.count + 1))[1:]
    right, hits = np.zeros(found.count + 1, bool), table.iou >= IOU
    right[table.pred_ids[table.cols[hits]]] = True
    free = np.ones(len(table.true_ids), bool)
    free[table.rows[hits]] = False
    missed, alone = np.zeros(found.count + 1), 0
    for number in np.flatnonzero(free):
        pairs = np.flatnonzero(table.rows == number)
        if table.shared[pairs].sum() <= MOSTLY * table.true_sizes[number]:
            alone += 1
        else:
            missed[table.pred_ids[table.cols[pairs[table.shared[pairs].argmax()]]]] += 1
    total = int(judged.sum()) + int(free.sum())
    ap = float((right[1:] & judged).sum()) / total if total else None
    return Known(shown._replace(features=shown.features[judged]), right[1:][judged], missed[1:][judged], alone, ap)


def learn_likeness(examples: Sequence[Example], curves: Sequence[Intensity]) -> Likeness | None:
    """What images are known by; of few images, their quarters too."""
    rows = []
    for example, curve in zip(examples, curves, strict=True):
        parts = chain([example.pixels], _quarters(example.pixels) if len(examples) < FEW else ())
        rows += [known_by(part, curve) for part in parts]
    return fit_likeness(rows)


def _quarters(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """The quarters of an image (C, *S) along its last two axes; none of a small image."""
    height, width = (n // 2 for n in pixels.shape[-2:])
    if min(height, width) < SMALLEST:
        return []
    sides = (slice(None, height), slice(height, None)), (slice(None, width), slice(width, None))
    return [pixels[..., y, x] for y in sides[0] for x in sides[1]]
