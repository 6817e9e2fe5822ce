"""What is wrong with the objects of a set of label images: pieces far apart, specks, outlines, exchanged values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from contractile.check.findings import Spot
from contractile.check.pieces import Pieces, find_outlines, find_pieces, find_specks, find_split, surrounds
from contractile.labels import find_meaning

Labels = NDArray[np.int32]

NAMED = 5  # numbers in a message
MOSTLY = 0.5  # share of the pixels that objects have where background only keeps them apart, as membranes do


def find_task(labels: Iterable[Labels]) -> str:
    """objects, classes, or mask (two classes), by the rule that training uses."""
    meaning = find_meaning(labels)
    return "mask" if len(meaning.class_values) == 2 else meaning.task


def faults_of_objects(good: Sequence[tuple[str, Labels]]) -> Iterator[Spot]:
    """Complaints about label images that can be used, with where they are from."""
    task = find_task(labels for _, labels in good)
    for where, labels in good:
        if task == "objects":
            pieces = find_pieces(labels)
            yield from _faults_of_numbers(labels, pieces, where)
            yield from _faults_of_pieces(pieces, where)
        elif task == "mask":
            yield from _faults_of_mask(labels, where)


def _faults_of_numbers(labels: Labels, pieces: Pieces, where: str) -> Iterator[Spot]:
    around = surrounds(labels)
    split = find_split(pieces)
    if around:
        yield Spot("inverted", where, f"{around:.0%}")
    elif split and len(np.unique(labels[labels > 0])) == 1:
        yield Spot("one number", where, str(len(pieces.size) - 1))
    elif split:
        yield Spot("split", where, ", ".join(str(number) for number in split[:NAMED]))


def _faults_of_pieces(pieces: Pieces, where: str) -> Iterator[Spot]:
    outlines = find_outlines(pieces)
    if len(outlines):
        yield Spot("outlines", where, f"{len(outlines)} of {len(pieces.size) - 1}")
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
