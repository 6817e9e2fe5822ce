"""What is wrong with the objects of a set of label images: pieces far apart, specks, outlines, exchanged values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.check.findings import Spot
from contractile.check.greys import find_stray
from contractile.check.odd import find_odd
from contractile.check.pieces import (
    Pieces,
    count_rectangles,
    find_outlines,
    find_pieces,
    find_specks,
    find_split,
    surrounds,
)
from contractile.labels import diameters, find_meaning, object_sizes

Labels = NDArray[np.int32]

NAMED = 5  # numbers in a message
SCALE = 1.7  # times smaller or larger than what is usual
FLAT = 0.01  # share of the image that is black where a part of it may be missing
MANY = 4  # objects, in pixels, that one number hardly stands for
SEEN = 16  # pixels of an object that would show something
MOSTLY = 0.5  # share of the pixels that objects have where background only keeps them apart, as membranes do


def find_task(labels: Iterable[Labels]) -> str:
    """objects, classes, or mask (two classes), by the rule that training uses."""
    meaning = find_meaning(labels)
    return "mask" if len(meaning.class_values) == 2 else meaning.task


def faults_of_objects(good: Sequence[tuple[str, Labels]]) -> Iterator[Spot]:
    """Complaints about label images that can be used, with where they are from."""
    task = find_task(labels for _, labels in good)
    yield from _odd_scales(good, task)
    if task == "classes":
        yield from _stray_values(good)
    sizes = object_sizes([labels for _, labels in good]) if task == "objects" else np.zeros(0)
    for where, labels in good:
        if task == "objects":
            pieces = find_pieces(labels)
            yield from _faults_of_numbers(labels, pieces, where, float(np.median(sizes)))
            yield from _faults_of_pieces(pieces, where)
        elif task == "mask":
            yield from _faults_of_mask(labels, where)


def _faults_of_numbers(labels: Labels, pieces: Pieces, where: str, usual: float) -> Iterator[Spot]:
    """Complaints about how objects are numbered; `usual` is the pixels of the median object of the set."""
    around = surrounds(labels)
    split = find_split(pieces)
    single = len(np.unique(labels[labels > 0])) == 1
    if around:
        yield Spot("inverted", where, f"{around:.0%}")
    elif single and (split or pieces.size[1:].sum() > MANY * usual):
        yield Spot("one number", where, str(len(pieces.size) - 1))
    elif split:
        yield Spot("split", where, ", ".join(str(number) for number in split[:NAMED]))


def _faults_of_pieces(pieces: Pieces, where: str) -> Iterator[Spot]:
    outlines = find_outlines(pieces)
    if len(outlines):
        yield Spot("outlines", where, f"{len(outlines)} of {len(pieces.size) - 1}")
    rectangles = count_rectangles(pieces)
    if rectangles:
        yield Spot("rectangles", where, str(rectangles))
    specks = find_specks(pieces)
    if len(specks):
        yield Spot("specks", where, str(len(specks)))


def _faults_of_mask(labels: Labels, where: str) -> Iterator[Spot]:
    around = surrounds(labels)
    if around:
        yield Spot("inverted", where, f"{around:.0%}")
    if holds_pieces(labels):
        yield Spot("mask", where)
        yield from _faults_of_pieces(find_pieces(labels), where)


def holds_pieces(labels: Labels) -> bool:
    """Whether the pieces of a mask are objects: where most is foreground, they are meshes of what is 0."""
    return bool(0 < np.mean(labels > 0) < MOSTLY)


def faults_of_blank(labels: Labels, pixels: NDArray[Any], where: str) -> Iterator[Spot]:
    """Objects (pieces of one number) of labels (*S) where every channel of pixels (C, *S) has its lowest value."""
    black = (pixels == pixels.min(axis=tuple(range(1, pixels.ndim)), keepdims=True)).all(axis=0)
    if black.shape != labels.shape or (labels != 0).all() or np.mean(black) < FLAT or black.all():
        return
    pieces = find_pieces(labels)
    count = np.bincount(pieces.of[black], minlength=len(pieces.size))
    blank = (count == pieces.size) & (pieces.size >= SEEN)
    if blank[1:].any() and not blank[1:].all():
        yield Spot("blank", where, str(np.count_nonzero(blank[1:])))


def _odd_scales(good: Sequence[tuple[str, Labels]], task: str) -> Iterator[Spot]:
    """Images with objects of quite another size."""
    if task != "objects":  # in masks, clumps would count as large objects
        return
    sizes = [diameters([labels])[1] for _, labels in good]
    for place, ratio in find_odd(sizes, SCALE):
        yield Spot("scale", good[place][0], f"{ratio:.2g} times")


def _stray_values(good: Sequence[tuple[str, Labels]]) -> Iterator[Spot]:
    """Values that are only found between two others, in all images."""
    for value in find_stray([labels for _, labels in good]):
        yield Spot("stray", next(where for where, labels in good if (labels == value).any()), str(value))
