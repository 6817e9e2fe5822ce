"""What a dataset looks like, in the few numbers that decide a recipe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.dataset import Example, find_annotated
from contractile.errors import ContractileError
from contractile.intensity import bright_on_dark
from contractile.labels import diameters, find_meaning
from contractile.targets import TargetConfig, unannotated

LOOKED_AT = 16  # images, evenly spaced: enough to know sizes


@dataclass(frozen=True)
class Survey:
    """What was measured. Lengths are in pixels of the finest axis.

    `annotated` of the images have annotated pixels; these hold `pixels` in all, annotated or not, of which about `area`
    are annotated. `shape` is the median size of an image in its own pixels.
    `pixel_size` is the size of a pixel along each axis, relative to the finest axis; 1 everywhere in 2-D.

    `structure` is the size of what is to be found. For objects it is the diameter of a disc (ball) as large as the
    median object, weighted by pixels; for classes, the width of the widest class but the first. `largest` is the
    diameter of large objects, where sizes differ; for classes it is the same. `rarest` is the share of annotated
    pixels that belong to the rarest class (or to all objects together, if fewer); `labelled` is the share of all
    pixels that is annotated. `guessed` says that the labels alone do not settle the task.
    """

    images: int
    annotated: int
    shape: tuple[int, ...]
    channels: int
    pixels: int
    area: int
    task: Literal["classes", "objects"]
    class_values: tuple[int, ...]
    structure: float
    largest: float
    rarest: float
    labelled: float
    guessed: bool = False
    dark: bool = False
    pixel_size: tuple[float, ...] = ()

    @property
    def dims(self) -> Literal[2, 3]:
        return 2 if len(self.shape) == 2 else 3


def survey(
    examples: Sequence[Example],
    *,
    task: str | None = None,
    ignore_label: int | None = None,
    known_around: float | None = None,
    spacing: Sequence[float] = (),
) -> Survey:
    """Measure a dataset. `task` settles what the labels mean where `find_meaning` would guess wrong.

    `ignore_label` and `known_around` say which pixels nobody annotated, `spacing` how large pixels are along each axis
    (default: what the files say), as in `TargetConfig`.
    """
    meaning = find_meaning((e.labels for e in examples), ignore_label=ignore_label, task=task)
    found, values = meaning.task, meaning.class_values
    plain = TargetConfig(ignore_label=ignore_label, known_around=known_around)
    annotated = [examples[n] for n in find_annotated(examples, plain)] or list(examples)
    some = annotated[:: math.ceil(len(annotated) / LOOKED_AT)]
    pixel_size = _relative_size(some, spacing)
    apart = (tuple(spacing) or pixel_size) if known_around else ()
    known = TargetConfig(ignore_label=ignore_label, known_around=known_around, spacing=apart)
    ignored = [unannotated(e.labels, known) for e in some]
    small = np.min_scalar_type(-max(2, len(values)))  # there is one for every pixel of all these images
    kinds = [
        np.where(out, -1, e.labels > 0 if found == "objects" else np.searchsorted(values, e.labels)).astype(small)
        for e, out in zip(some, ignored, strict=True)
    ]
    counts = sum(np.bincount(kind[kind >= 0], minlength=max(2, len(values))) for kind in kinds)
    total, looked_at = sum(e.labels.size for e in examples), sum(kind.size for kind in kinds)
    pixels = sum(e.labels.size for e in annotated)
    area = float(np.sum(counts)) / looked_at * pixels
    if found == "objects":
        sizes = diameters(
            [np.where(out, -1, e.labels) for e, out in zip(some, ignored, strict=True)], spacing=pixel_size
        )
        structure, largest = (d * math.prod(pixel_size) ** (1 / len(pixel_size)) for d in sizes[1:])
    else:
        structure = largest = _class_size(kinds, pixel_size)
    return Survey(
        images=len(examples),
        annotated=len(annotated),
        shape=tuple(int(n) for n in np.median([e.labels.shape for e in examples], axis=0)),
        channels=examples[0].pixels.shape[0],
        pixels=pixels,
        area=int(area),
        task=found,
        class_values=values,
        structure=structure,
        largest=largest,
        rarest=float(np.min(counts) / max(1, np.sum(counts))),
        labelled=area / total,
        guessed=meaning.guessed,
        dark=_is_dark(some, found),
        pixel_size=pixel_size,
    )


def _is_dark(examples: Sequence[Example], task: str) -> bool:
    """Whether structures are bright on a dark background in most images; of classes, any may be the background."""
    found = [bright_on_dark(e.pixels, (e.labels == 0) | (task == "classes")) for e in examples]
    return 2 * sum(found) > len(found)


def _relative_size(examples: Sequence[Example], spacing: Sequence[float]) -> tuple[float, ...]:
    """Size of a pixel along each axis, relative to the finest: the median over the images. All 1 in 2-D.

    An image whose file does not say has isotropic pixels.
    """
    dims = examples[0].labels.ndim
    if spacing and (len(spacing) != dims or not all(0 < size < math.inf for size in spacing)):
        raise ContractileError(
            f"targets.spacing must hold one positive number for each of the {dims} axes, got {tuple(spacing)}",
            "leave it out for isotropic pixels",
        )
    isotropic = (1.0,) * dims
    if dims == 2:
        return isotropic
    sizes = [np.array(spacing or e.pixel_size_um or isotropic) for e in examples]
    return tuple(round(float(n), 6) for n in np.median([size / size.min() for size in sizes], axis=0))


def _class_size(kinds: Sequence[NDArray[np.signedinteger[Any]]], pixel_size: Sequence[float]) -> float:
    """Width of the widest class but the first: twice the distance to its edge that nine tenths of it stay under.

    In a disc of radius r that distance is 0.68 r, in a strip of half width r it is 0.9 r: about 0.8 r.
    """
    widths = [0.0]
    for value in range(1, 1 + max(int(kind.max()) for kind in kinds)):
        inside = [ndimage.distance_transform_edt(kind == value, pixel_size)[kind == value] for kind in kinds]
        depths = np.concatenate([one for one in inside if one.size] or [np.zeros(1)])
        widths.append(2 * float(np.quantile(depths, 0.9)) / 0.8)
    return min(max(widths), float(np.max(np.multiply(pixel_size, kinds[0].shape))))
