"""Look at a dataset, file by file or in memory, and collect what is wrong."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.check.annotation import faults_of_values, read_annotation, swapped
from contractile.check.background import find_instead
from contractile.check.copies import find_copies
from contractile.check.findings import Finding, Spot, by_level, gather
from contractile.check.misplaced import find_misplaced
from contractile.check.objects import faults_of_blank, faults_of_objects
from contractile.check.pixels import Seen, compare, digest, faults_of_pixels, see
from contractile.check.prints import Print, take_print
from contractile.check.tops import find_mixed
from contractile.dataset import Example, Pair, pair_up
from contractile.errors import ContractileError
from contractile.images import Source, describe, find, list_files, open_image, say_rest
from contractile.images.failures import find_readable
from contractile.images.joined import open_item
from contractile.images.layouts import Item, holds_both, list_items
from contractile.images.planes import name_planes
from contractile.images.sides import without_shapes
from contractile.labels import find_mark, without_mark

logger = logging.getLogger(__name__)

Place = str | Path | Sequence[str | Path]
PRINTS = 1000  # pairs, evenly spaced, whose images and labels are compared; each print takes 0.1 MB
LOOKED_AT = 2**27  # pixels of labels that `find_errors` looks at, about
COMPARED = 100  # pairs, evenly spaced, whose objects and places `find_errors` looks at


@dataclass(frozen=True)
class Annotated:
    """Labels (*S) whose values can be labels, and what is kept of their image."""

    where: str
    labels: NDArray[np.int32]
    image: Seen | None


@dataclass
class Notes:
    """What was written down: findings, complaints, images by source, labels that can be used, prints of some pairs.

    `pages` are those labels by their file. `lost` are the files of items that cannot be opened, `alone` what belongs to
    these, and `marked` says whether some pixel has the value that means not annotated.
    """

    findings: list[Finding] = field(default_factory=list)
    spots: list[Spot] = field(default_factory=list)
    seen: dict[Hashable, Seen] = field(default_factory=dict)
    labels: list[Annotated] = field(default_factory=list)
    prints: list[tuple[Seen, Print]] = field(default_factory=list)
    pages: dict[Path, list[NDArray[np.int32]]] = field(default_factory=dict)
    lost: set[Path] = field(default_factory=set)
    alone: list[Item] = field(default_factory=list)
    marked: bool = False

    @contextmanager
    def catch(self, where: object = "") -> Iterator[None]:
        """Turn an error into a finding about `where`, or about the place that the error names."""
        try:
            yield
        except ContractileError as error:
            self.add(where, error)

    def add(self, where: object, error: ContractileError) -> None:
        self.findings.append(Finding("error", str(where) or error.where, error.problem, error.cure))

    def lose(self, item: Item, partner: Item | None, error: ContractileError) -> None:
        """Write down what cannot be opened, and what belongs to it."""
        self.add(error.where, error)
        self.lost.update(item.files)
        self.alone += [] if partner is None else [partner]

    def results(self) -> list[Finding]:
        return by_level([*self.findings, *gather([*self.spots, *compare(self.seen)])])


def check_dataset(
    images: Place,
    labels: Place | None = None,
    *,
    dims: int = 2,
    axes: str | None = None,
    ignore_label: int | None = None,
) -> list[Finding]:
    """The faults of a dataset, worst first; an empty list where there are none.

    `images`, `labels` and `axes` are what training takes: folders, globs, files or stacks, and the letters of their
    axes. Without `labels`, they are looked for among the `images`; where there are none, images are looked at alone.
    Pixels of labels with `ignore_label` are not annotated, like negative ones. A file that cannot be read is a finding,
    not an exception: the other files are still looked at.
    """
    notes = Notes()
    pairs: list[Pair] = []
    if labels is None and holds_both(images):
        labels = images
    if labels is not None:
        with notes.catch():
            pairs = pair_up(images, labels, dims=dims, axes=axes, failed=notes.lose)
        if not pairs:
            _find_each(labels, notes, dims=dims, axes=axes, labels=True, quiet=True)
    partner = {pair.image: pair.labels for pair in pairs}
    how: dict[str, Any] = {"dims": dims, "axes": axes}
    single = _unpaired(images, labels, pairs, notes, **how) if pairs else _find_each(images, notes, **how)
    every = 1 + len(pairs) // PRINTS
    for number, source in enumerate([*partner, *single]):
        pixels = None
        with notes.catch(describe(source)):
            pixels = _look_at_image(source, dims, notes)
        if source in partner:
            with notes.catch(describe(partner[source])):
                found = _read_annotation(partner[source], dims, ignore_label, notes)
                good = _look_at_labels(found, partner[source], pixels, notes.seen.get(source), notes)
                if good and pixels is not None:
                    one = _as_it_seems(notes.labels[-1])
                    notes.spots += faults_of_blank(one.labels, pixels, one.where)
                    notes.prints += _take_prints(pixels, one) if number % every == 0 else []
    for source in _without_images(images, labels, notes, **how):
        with notes.catch(describe(source)):
            _look_at_labels(_read_annotation(source, dims, ignore_label, notes), source, None, None, notes)
    alone = {file for item in notes.alone for file in item.files}
    notes.spots += [Spot("unlabelled", describe(one)) for one in single if pairs and one.path not in alone]
    if len(pairs) == 1:
        notes.spots.append(Spot("few", describe(pairs[0].labels), "1"))
    if _faults_of_set(notes.labels, notes, named=ignore_label is not None):
        notes.spots += faults_of_objects([(one.where, one.labels) for one in notes.labels])
        notes.spots += find_misplaced([one for _, one in notes.prints])
    notes.spots += find_copies([(seen, one.image) for seen, one in notes.prints])
    if ignore_label is not None and labels is None:
        logger.warning("ignore_label changes nothing: images are looked at alone, without labels")
    elif ignore_label is not None and pairs and not notes.marked:
        logger.warning("ignore_label changes nothing: no pixel of the labels is %s", ignore_label)
    say_rest(file for source in (*partner, *partner.values(), *single) for file in source.files)
    return notes.results()


def find_errors(
    pairs: Sequence[Pair], examples: Sequence[Example], *, ignore_label: int | None = None
) -> list[Finding]:
    """The faults that are quickly found in examples that are in memory, worst first; `pairs` name their files.

    Values are looked at in all examples, unless the set is very large; objects, and where they lie, in about a hundred
    evenly spaced ones. Pixels with `ignore_label` are not annotated.
    """
    step = max(1, sum(one.labels.size for one in examples) // LOOKED_AT)
    notes = Notes()
    good: list[Example] = []  # in the order of `notes.labels`
    for pair, example in list(zip(pairs, examples, strict=True))[::step]:
        labels = without_mark(example.labels, ignore_label)
        notes.seen[pair] = see(example.pixels, describe(pair.image), example.pixel_size_um)
        notes.spots += faults_of_pixels(example.pixels, describe(pair.image))
        if _look_at_labels(labels, pair.labels, example.pixels, notes.seen[pair], notes):
            good.append(example)
    if _faults_of_set(notes.labels, notes, named=ignore_label is not None):
        some = list(zip(good, notes.labels, strict=True))[:: 1 + len(good) // COMPARED]
        notes.spots += faults_of_objects([(one.where, one.labels) for _, one in some])
        notes.prints += [found for example, one in some for found in _take_prints(example.pixels, one)]
        notes.spots += find_misplaced([one for _, one in notes.prints])
    return notes.results()


def _find_each(place: Place, notes: Notes, **how: Any) -> list[Source]:
    """The sources at a place, as `find` gives them. A file that cannot be opened becomes a finding."""
    with notes.catch(place if isinstance(place, str | Path) else ""):
        files = without_shapes(list_files(place, shapes=bool(how.get("labels"))))
        return find_readable([[file] for file in files], partial(find, **how), notes.add)
    return []


def _unpaired(
    images: Place, labels: Place | None, pairs: Sequence[Pair], notes: Notes, *, dims: int, axes: str | None
) -> list[Source]:
    """The images that no labels belong to, or none that can be opened."""
    used = {path.resolve() for pair in pairs for path in pair.files}
    items, _ = list_items(images, labels)
    left = [path for item in items for path in item.files if path.resolve() not in used and path not in notes.lost]
    return find(left, dims=dims, axes=axes, quiet=True) if left else []


def _without_images(images: Place, labels: Place | None, notes: Notes, *, dims: int, axes: str | None) -> list[Source]:
    """The labels whose image cannot be opened. Shapes need their image."""
    truths = list_items(images, labels)[1] if notes.alone else []
    left = [one for one in truths if one in notes.alone and one.entry is None and notes.lost.isdisjoint(one.files)]
    return [source for one in left for source in open_item(one, dims=dims, axes=axes, labels=True)]


def _read_annotation(source: Source, dims: int, ignore_label: int | None, notes: Notes) -> NDArray[np.int32] | Spot:
    """As `read_annotation`, which notes whether a pixel had `ignore_label`."""
    found, marked = read_annotation(source, dims=dims, ignore_label=ignore_label)
    notes.marked = notes.marked or marked
    return found


def _look_at_image(source: Source, dims: int, notes: Notes) -> NDArray[Any]:
    """The pixels (C, *S) of an image, once their faults and properties are noted."""
    with open_image(source, dims=dims) as image:
        pixels = image.pixels  # unlike `read`, this takes NaN, so that their place can be named
    where = describe(source)
    notes.spots += faults_of_pixels(pixels, where)
    notes.seen[source] = see(pixels, where, image.pixel_size_um)
    return pixels


def _look_at_labels(
    found: NDArray[np.int32] | Spot, source: Source, pixels: NDArray[Any] | None, image: Seen | None, notes: Notes
) -> bool:
    """Note what is wrong with the values of one label image, or keep it and return true."""
    where = describe(source)
    if isinstance(found, Spot):
        notes.spots.append(swapped(found, pixels))
        return False
    if pixels is not None and pixels.shape[1:] != found.shape:
        turned = " (transposed)" if pixels.shape[:0:-1] == found.shape else ""
        notes.spots.append(Spot("size", where, f"{pixels.shape[1:]} and {found.shape}{turned}"))
    fault = faults_of_values(found, pixels, where)
    if fault is not None:
        notes.spots.append(fault)
        return False
    notes.labels.append(Annotated(where, found, image))
    notes.pages.setdefault(source.path, []).append(found)
    return True


def _take_prints(pixels: NDArray[Any], one: Annotated) -> list[tuple[Seen, Print]]:
    """One print, or none where there is nothing to compare."""
    found = take_print(pixels, one.labels, one.where)
    return [] if found is None or one.image is None else [(one.image, found)]


def _faults_of_set(annotated: Sequence[Annotated], notes: Notes, *, named: bool) -> bool:
    """Note what is wrong with label images of good values, taken together; whether objects are worth a look."""
    planes = {path: name_planes(pages) for path, pages in notes.pages.items() if len(pages) > 1}
    notes.spots += [Spot("planes", str(path), found) for path, found in planes.items() if found]
    instead = find_instead([one.labels for one in annotated], named=named)
    if instead is not None:
        shares = zip(annotated, instead.shares, strict=True)
        notes.spots += [
            Spot("background", one.where, f"{instead.value} covers {share:.0%}") for one, share in shares if share
        ]
        return False
    owns = [np.unique(one.labels) for one in annotated]
    values = {int(value) for own in owns for value in own if value >= 0}
    if len(values) < 2:
        found = str(*values) if values else "-1 (ignored)"
        notes.spots += [Spot("one value", one.where, found) for one in annotated[:1]]
        return False
    if (white := find_mixed(owns)) is not None:
        pairs = zip(annotated, owns, strict=True)
        notes.spots += [Spot("mixed masks", one.where, str(white)) for one, own in pairs if white in own]
        return False
    if (mark := find_mark(owns)) is not None:
        there = [one for one, own in zip(annotated, owns, strict=True) if mark in own]
        notes.spots += [Spot("void", one.where, f"{mark} covers {np.mean(one.labels == mark):.0%}") for one in there]
        _set_aside(mark, notes)
    for one, own in zip(annotated, owns, strict=True):
        if len(own) == 1 and own[0] >= 0:
            notes.spots.append(Spot("empty", one.where, str(own[0])))
        if own[0] < 0:
            notes.spots.append(Spot("ignored", one.where, f"{np.mean(one.labels < 0):.0%}"))
    notes.spots += _copies(annotated)
    return True


def _as_it_seems(one: Annotated) -> Annotated:
    """Labels whose mark, as far as this image alone shows one, is not annotated: what is marked is no object."""
    return replace(one, labels=without_mark(one.labels, find_mark([np.unique(one.labels)])))


def _set_aside(mark: int, notes: Notes) -> None:
    """Make what is marked not annotated in all labels, so that it is not measured as an object.

    In an image that holds the mark alone, `_as_it_seems` has not seen it: what was found of its objects is dropped.
    """
    notes.labels = [replace(one, labels=without_mark(one.labels, mark)) for one in notes.labels]
    bare = {one.where for one in notes.labels if not (one.labels > 0).any()}
    notes.spots = [spot for spot in notes.spots if spot.kind != "blank" or spot.where not in bare]
    notes.prints = [(seen, one) for seen, one in notes.prints if one.where not in bare]


def _copies(annotated: Sequence[Annotated]) -> Iterator[Spot]:
    """Labels that were seen before, of another image."""
    first: dict[bytes, Annotated] = {}
    for one in annotated:
        twin = first.setdefault(digest(one.labels), one)
        same_image = twin.image is not None and one.image is not None and twin.image.digest == one.image.digest
        if twin is not one and not same_image and (one.labels > 0).any():
            yield Spot("duplicate labels", one.where, twin.where)
