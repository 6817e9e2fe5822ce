"""Pairs -> annotated images in memory, and which of them validate."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.dataset.pairing import Pair
from contractile.errors import ContractileError
from contractile.images import describe, grey_of, read, read_labels, say_rest
from contractile.targets import TargetConfig, unannotated

logger = logging.getLogger(__name__)

SMALLEST_PART = 0.2  # about this share of an example, or more, is cut off for validation


@dataclass(frozen=True)
class Example:
    """A pair in memory: pixels (C, *S) of the type of their file, labels (*S) int32.

    `class_names` are those of the classes 1 ... K, where shapes have names of classes. `rest` is true of a part that
    was cut off for validation: the other part of the image is another example (`count_images`).
    """

    name: str
    pixels: NDArray[Any]
    labels: NDArray[np.int32]
    pixel_size_um: tuple[float, ...] | None = None
    class_names: tuple[str, ...] = ()
    rest: bool = False


def load_examples(pairs: Sequence[Pair], *, dims: int = 2) -> list[Example]:
    """Read pairs into memory and check that they fit together.

    Grey pictures that are stored as colour, with three equal channels, become one channel where all images are grey;
    this is said once. Raises ContractileError for an image and labels of different sizes, for images with different
    numbers of channels, and for labels that hold a single value in the whole set; and as `read` and `read_labels`.
    """
    loaded = [_load(pair, dims) for pair in pairs]
    say_rest(file for pair in pairs for file in pair.files)
    examples = _grey(loaded)
    channels = {example.pixels.shape[0]: example.name for example in examples}
    if len(channels) > 1:
        counts = ", ".join(f"{name}: {count}" for count, name in sorted(channels.items()))
        problem = f"images must all have the same number of channels, got {counts}"
        raise ContractileError(problem, "convert them to one kind, or move the odd ones away")
    check_values(examples)
    return examples


def check_values(examples: Sequence[Example]) -> None:
    """Raise ContractileError for labels that hold a single value in the whole set."""
    values = sorted({int(v) for example in examples for v in np.unique(example.labels) if v >= 0})
    if len(values) < 2:
        found = f"the value {values[0]}" if values else "pixels to ignore"
        rule = "labels must hold at least two classes (or background and objects)"
        problem = f"{rule}, got only {found} in all {len(examples)} file(s)"
        raise ContractileError(problem, "check that these are the annotations")


def _grey(examples: Sequence[Example]) -> list[Example]:
    """The same examples. One channel is left of grey pictures stored as colour, where no other image is coloured."""
    grey = [example.pixels if len(example.pixels) == 1 else grey_of(example.pixels) for example in examples]
    stored = [example.name for example in examples if len(example.pixels) > 1]
    single = [pixels for pixels in grey if pixels is not None]
    if not stored or len(single) < len(examples):
        return list(examples)
    which = "all images" if len(stored) == len(examples) else f"{len(stored)} of {len(examples)} images ({stored[0]})"
    logger.warning("%s are grey pictures stored as colour: their channels are equal, one is taken", which)
    return [replace(one, pixels=np.ascontiguousarray(pixels)) for one, pixels in zip(examples, single, strict=True)]


def _load(pair: Pair, dims: int) -> Example:
    image = read(pair.image, dims=dims)
    labels = read_labels(pair.labels, dims=dims)
    if image.shape[1:] != labels.shape:
        found = f"image {pair.image.name} {image.shape[1:]} and labels {pair.labels.name} {labels.shape}"
        problem = f"labels must have the size of their image, got {found}"
        raise ContractileError(problem, "crop or resample one of them", where=describe(pair.labels))
    drawn = pair.labels.drawn
    return Example(pair.name, image.pixels, labels, image.pixel_size_um, drawn.numbering.classes if drawn else ())


def find_annotated(examples: Sequence[Example], targets: TargetConfig) -> list[int]:
    """The places of the examples that have an annotated pixel."""
    return [number for number, one in enumerate(examples) if not unannotated(one.labels, targets).all()]


def split(
    examples: Sequence[Example], fraction: float, targets: TargetConfig | None = None
) -> tuple[list[Example], list[Example]]:
    """(training, validation): the last annotated examples validate, a `fraction` of all annotated ones.

    The choice is not random: neighbouring frames and sections look alike, and would make the score too good. Where
    that is less than one example, the last annotated one is cut across an axis, and about a fifth of its annotated
    pixels validate, or more. Both parts hold annotated pixels. `targets` say which labels are annotated (by default
    all >= 0). Raises ContractileError unless 0 < fraction < 1, or when fewer than two pixels are annotated.
    """
    if not 0 < fraction < 1:
        raise ContractileError(f"val_fraction must lie between 0 and 1, got {fraction}", "use 0.1")
    targets = targets or TargetConfig()
    annotated = find_annotated(examples, targets)
    if not annotated:
        problem = f"labels of the {len(examples)} image(s) must hold annotated pixels, got only ignored ones"
        raise ContractileError(problem, "annotate at least one image")
    wanted = fraction * len(annotated)
    if wanted >= 1:
        held_out = annotated[-min(round(wanted), len(annotated) - 1) :]
        return [e for n, e in enumerate(examples) if n not in held_out], [examples[n] for n in held_out]
    for number in reversed(annotated):
        place = _find_cut(_known_by_itself(examples[number].labels, targets), max(wanted, SMALLEST_PART))
        if place is not None:
            first, second = _cut(examples[number], *place)
            return [*examples[:number], first, *examples[number + 1 :]], [replace(second, rest=True)]
    problem = "labels must hold annotated pixels to train on and others to validate on, got a single one"
    cure = "annotate more, or name images for validation"
    raise ContractileError(problem, cure, where=f"image {examples[annotated[-1]].name}")


def count_images(examples: Iterable[Example]) -> int:
    """How many images these examples are of; an image that `split` cut in two is one."""
    return sum(not one.rest for one in examples)


def _known_by_itself(labels: NDArray[np.int32], targets: TargetConfig) -> NDArray[np.bool_]:
    """Pixels (*S) that are annotated whatever lies beside them: not the background that is known around objects."""
    known = ~unannotated(labels, targets)
    return known if targets.known_around is None else known & (labels > 0)


def _find_cut(known: NDArray[np.bool_], share: float) -> tuple[int, int] | None:
    """(axis, place): a cut with about `share` of the pixels that are `known` (*S) behind it, and the others before it.

    The axis is the longest on which each side gets at least half of what it should, else the one where `share` is met
    best. Of equally good places, as between two annotated planes, the middle one is taken. None where no cut leaves
    known pixels on both sides.
    """
    found: list[tuple[float, int, int]] = []
    for axis in sorted(range(known.ndim), key=lambda axis: -known.shape[axis]):
        others = tuple(other for other in range(known.ndim) if other != axis)
        behind = 1 - np.cumsum(known.sum(axis=others))[:-1] / known.sum()
        off = np.where((behind > 0) & (behind < 1), np.abs(behind - share), np.inf)
        if np.isfinite(off).any():
            best = np.flatnonzero(off == off.min())
            at = int(best[len(best) // 2])
            fits = share / 2 <= behind[at] <= (1 + share) / 2
            found.append((0.0 if fits else float(off[at]), axis, 1 + at))
    return min(found, key=lambda one: one[0])[1:] if found else None


def _cut(example: Example, axis: int, at: int) -> tuple[Example, Example]:
    """An example in two: what lies before pixel `at` of an axis, and the rest."""

    def part(along: slice) -> Example:
        index = tuple(along if a == axis else slice(None) for a in range(example.labels.ndim))
        pixels, labels = example.pixels[(slice(None), *index)], example.labels[index]
        return replace(example, pixels=np.ascontiguousarray(pixels), labels=np.ascontiguousarray(labels))

    return part(slice(0, at)), part(slice(at, None))
