"""What a dataset looks like, in the few numbers that decide a recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.dataset import Example
from contractile.labels import diameters, find_meaning
from contractile.targets import TargetConfig, unannotated

LOOKED_AT = 16  # images, evenly spaced: enough to know sizes


@dataclass(frozen=True)
class Survey:
    """`shape` is the median size of an image; `area` all annotated pixels together.

    `structure` is the diameter in pixels of what is to be found: of the disc (ball) of the area that half of all
    object pixels are exceeded by, or, for classes, of the widest disc that fits almost everywhere in one. `largest`
    is that of large objects, where sizes differ; for classes it is the same. `rarest` is the share of annotated
    pixels that the rarest class (or all objects together, if fewer) takes; `labelled` is the share of all pixels
    that is annotated. `guessed`: the task is, from labels of a few values above 0 that could be of either.
    """

    images: int
    shape: tuple[int, ...]
    channels: int
    area: int
    task: Literal["classes", "objects"]
    class_values: tuple[int, ...]
    structure: float
    largest: float
    rarest: float
    labelled: float
    guessed: bool = False


def survey(
    examples: Sequence[Example],
    *,
    task: str | None = None,
    ignore_label: int | None = None,
    known_around: float | None = None,
) -> Survey:
    """Measure a dataset; `task` settles what the labels mean where `find_meaning` would guess wrong.

    `ignore_label` and `known_around` say which pixels nobody annotated, as in `TargetConfig`.
    """
    meaning = find_meaning((e.labels for e in examples), ignore_label=ignore_label, task=task)
    found, values = meaning.task, meaning.class_values
    some = examples[:: math.ceil(len(examples) / LOOKED_AT)]
    known = TargetConfig(ignore_label=ignore_label, known_around=known_around)
    ignored = [unannotated(e.labels, known) for e in some]
    kinds = [
        np.where(out, -1, e.labels > 0 if found == "objects" else np.searchsorted(values, e.labels))
        for e, out in zip(some, ignored, strict=True)
    ]
    counts = sum(np.bincount(kind[kind >= 0], minlength=max(2, len(values))) for kind in kinds)
    labelled = float(np.sum(counts)) / sum(kind.size for kind in kinds)
    if found == "objects":
        objects = [np.where(out, 0, e.labels) for e, out in zip(some, ignored, strict=True)]
        _, structure, largest = diameters(objects)
    else:
        structure = largest = _class_size(kinds)
    return Survey(
        images=len(examples),
        shape=tuple(int(n) for n in np.median([e.labels.shape for e in examples], axis=0)),
        channels=examples[0].pixels.shape[0],
        area=int(labelled * sum(e.labels.size for e in examples)),
        task=found,
        class_values=values,
        structure=structure,
        largest=largest,
        rarest=float(np.min(counts) / max(1, np.sum(counts))),
        labelled=labelled,
        guessed=meaning.guessed,
    )


def _class_size(kinds: Sequence[NDArray[np.int64]]) -> float:
    """Width of the widest class but the first: twice the distance to its edge that nine tenths of it stay under.

    Of a disc of radius r that distance is 0.68 r, of a strip of half width r 0.9 r: 0.8 r in between.
    """
    widths = [0.0]
    for value in range(1, 1 + max(int(kind.max()) for kind in kinds)):
        inside = [ndimage.distance_transform_edt(kind == value)[kind == value] for kind in kinds]
        depths = np.concatenate([one for one in inside if one.size] or [np.zeros(1)])
        widths.append(2 * float(np.quantile(depths, 0.9)) / 0.8)
    return min(max(widths), float(max(kinds[0].shape)))
