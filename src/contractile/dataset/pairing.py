"""Images and their annotations on disk -> pairs.

`layouts` lists the files of both sides, `images.names` says which belong together; here they are opened, and the pages
of stacks paired.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images import Source, find, say_guesses, settle_shapes
from contractile.images.failures import find_readable
from contractile.images.folders import Place
from contractile.images.joined import Opened, join_channels, match_pages, page_name, sources_of
from contractile.images.layouts import Item, list_items
from contractile.images.names import Match, bare, pair_names, some
from contractile.images.planes import refuse_planes
from contractile.images.reading import name_pages

logger = logging.getLogger(__name__)

Failed = Callable[[Item, Item | None, ContractileError], None]


@dataclass(frozen=True)
class Pair:
    """An image and its labels on disk."""

    name: str
    image: Source
    labels: Source

    @property
    def files(self) -> tuple[Path, ...]:
        return (*self.image.files, *self.labels.files)


def pair_up(
    images: Place,
    labels: Place | None = None,
    *,
    dims: int = 2,
    axes: str | None = None,
    quiet: bool = False,
    failed: Failed | None = None,
) -> list[Pair]:
    """Match images and labels by name, in natural order (t2 before t10).

    Both are folders, globs, files or stacks, or one place is given twice (or once) and holds both: `list_items` knows
    the layouts. Names match as a whole ("a.tif", "a.png"), without words such as image, raw, mask, labels ("a_img",
    "a_mask"), or, which is said, by what differs in them or by their numbers ("ctrl_1", "treated_1"). One image and one
    label file always match. Stacks match page by page, and with label files that are named like their pages. `axes`
    names the axes of the files (`find`); without it, the shape of the labels shows what the axes of an image are that
    does not name them (`settle_axes`), which is said, too.

    Images without labels are left out with a warning, which `quiet` leaves to the caller. With `failed` the result may
    be empty, and a file that cannot be opened is no error: `failed` is called with its item, with the item on
    the other side that belongs to it, and with the error, which names the file; both items are left out.

    Raises ContractileError when nothing matches, when labels have no image, when a stack and its labels have different
    numbers of pages, or when images and labels are the same files; and as `find`.
    """
    places = _place(images), _place(images if labels is None else labels)
    pictures, truths = list_items(images, labels)
    lost: dict[Path, ContractileError] = {}
    look = partial(_find_each, dims=dims, axes=axes, lost=None if failed is None else lost)
    opened = [look(pictures), look(truths, labels=True)]
    known = [found.keys() | lost.keys() for found in opened]
    truths = [one for one in truths if one.entry is not None or one.files[0] in known[1]]
    pictures = [one for one in pictures if one.files[0] in known[0]]
    if all(len(pages) == 1 for pages in opened[1].values()):  # else each channel may have a page of the labels
        pictures = join_channels(pictures, [one.name for one in truths])
    if failed is not None and lost:
        pictures, truths = _without_lost(pictures, truths, lost, failed)
        if not pictures or not truths:
            return []
    match = pair_names([one.name for one in pictures], [one.name for one in truths])
    stacks = any(len(pages) > 1 for pages in opened[0].values())
    unmatched = len(match.partners) < len(truths) and (stacks or 1 in (len(pictures), len(truths)))
    if unmatched or _are_pages(truths, opened):
        pages, true_pages = ([source for one in found.values() for source in one] for found in opened)
        true_pages += [source for one in truths if one.entry is not None for source in sources_of(one, {})]
        return settle_pairs(_pair_pages(pages, true_pages, places))
    truths = _without_unmatched(truths, match)
    _check_all(pictures, truths, match, places)
    _announce(match, truths)
    by_name = {truth.name: truth for truth in truths}
    matched = [(one, by_name[match.partners[one.name]]) for one in pictures if one.name in match.partners]
    sources = [(sources_of(one, opened[0]), sources_of(other, opened[1])) for one, other in matched]
    if len(matched) < len(pictures) and not quiet:
        logger.warning("%d of %d images have no labels and are left out", len(pictures) - len(matched), len(pictures))
    return settle_pairs(_pair_each(matched, sources, dims, axes))


def settle_pairs(pairs: Sequence[Pair], *, task: str | None = None) -> list[Pair]:
    """The pairs that are learned from, with the meaning of labels that are shapes settled (`images.settle_shapes`)."""
    labels = settle_shapes([pair.image for pair in pairs], [pair.labels for pair in pairs], task=task)
    return [replace(pair, labels=one) for pair, one in zip(pairs, labels, strict=True)]


def _without_unmatched(truths: Sequence[Item], match: Match) -> list[Item]:
    """Labels without those in a file for many images of which some are there: it may list images that are not."""
    taken = set(match.partners.values())
    used = {one.files[0] for one in truths if one.entry is not None and one.name in taken}
    left = [one for one in truths if one.entry is not None and one.files[0] in used and one.name not in taken]
    if left:
        logger.warning("%s: its labels of %d other images are left out", left[0].files[0].name, len(left))
    return [one for one in truths if one not in left]


def _place(place: Place) -> str:
    """A place in a message."""
    return f"{place}" if isinstance(place, str | Path) else some([f"{one}" for one in place])


def _find_each(
    items: Sequence[Item],
    *,
    dims: int,
    axes: str | None,
    lost: dict[Path, ContractileError] | None,
    labels: bool = False,
) -> dict[Path, list[Source]]:
    """What the first file of each item holds. Of files that hold one image together only one is there.

    Files that cannot be opened are written down in `lost`; where there is none, the first of them is an error.
    """
    found: dict[Path, list[Source]] = {}
    files = [one.files[0] for one in items if one.entry is None]
    if not files:
        return found
    look = partial(find, dims=dims, axes=axes, labels=labels, quiet=True)
    sources = look(files) if lost is None else find_readable([[file] for file in files], look, lost.__setitem__)
    for source in sources:
        found.setdefault(source.path, []).append(source)
    return found


def _without_lost(
    images: Sequence[Item], labels: Sequence[Item], lost: Mapping[Path, ContractileError], failed: Failed
) -> tuple[list[Item], list[Item]]:
    """The items that can be opened, and whose partner can. `failed` is called for the others."""
    match = pair_names([one.name for one in images], [one.name for one in labels])
    by_name = {one.name: one for one in labels}
    partner = {one: by_name[match.partners[one.name]] for one in images if one.name in match.partners}
    partner |= {label: image for image, label in partner.items()}
    gone: set[Item] = set()
    for one in (*images, *labels):
        for file in (file for file in one.files if file in lost):
            failed(one, partner.get(one), lost[file].at(file))
            gone |= {one, partner.get(one, one)}
    return [one for one in images if one not in gone], [one for one in labels if one not in gone]


def _are_pages(truths: Sequence[Item], opened: Sequence[dict[Path, list[Source]]]) -> bool:
    """Whether each label file holds one page, and has the name of a page of a stack: stack_0007."""
    pages = {one.name for found in opened[0].values() for one in found if one.page is not None}
    return all(len(found) == 1 for found in opened[1].values()) and all(one.name in pages for one in truths)


def _check_all(images: Sequence[Item], labels: Sequence[Item], match: Match, places: tuple[str, str]) -> None:
    """Raise ContractileError unless all labels have an image."""
    image_names, names = [one.name for one in images], [one.name for one in labels]
    taken = set(match.partners.values())
    orphans = [one for one in labels if one.name not in taken]
    shared = {bare(one.name) for one in orphans} & {bare(name) for name in image_names}
    for what, side in (("labels", labels), ("images", images)):
        same = _same_name(side, shared)
        if same:
            problem = f"several {what} for one name: {some(same)}"
            cure = f"keep one of them, or give those of one kind by a pattern ({_kind_of(same)})"
            raise ContractileError(problem, cure, where=places[what == "labels"])
    if not match.partners:
        sides = f"{len(images)} image(s) in {places[0]} ({some(image_names)}) and {len(labels)} label file(s)"
        problem = f"no pairs found: {sides} in {places[1]} ({some(names)}) share no names"
        raise ContractileError(problem, "name each label file like its image", where=places[1])
    if orphans:
        problem = f"labels without an image in {places[0]}: {some([one.name for one in orphans])}"
        problem = f"{problem} ({len(orphans)} of {len(labels)})"
        raise ContractileError(problem, "add the images, or move these label files away", where=places[1])


def _same_name(items: Sequence[Item], wanted: set[str]) -> list[str]:
    """The files of the first of the `wanted` names that several items have."""
    counts = Counter(bare(one.name) for one in items)
    double = [bare(one.name) for one in items if counts[bare(one.name)] > 1 and bare(one.name) in wanted]
    return [one.files[0].name for one in items if double and bare(one.name) == double[0]]


def _kind_of(names: Sequence[str]) -> str:
    """A pattern for the files of one image that are named like the first of these, and not like the second."""
    shared = list(takewhile(lambda pair: pair[0] == pair[1], zip(names[0], names[1], strict=False)))
    return f"*{names[0][len(shared) :]}"


def _announce(match: Match, labels: Sequence[Item]) -> None:
    """Say how images and labels were paired, where their names alone do not say it."""
    challenge = {one.files[0].parent.name for one in labels} == {"SEG"}  # its names, t007 and man_seg007, are agreed
    if match.doubtful and not challenge:
        logger.warning("images and labels are paired %s; rename them if that is wrong", match)


def _pair_pages(images: Sequence[Source], labels: Sequence[Source], places: tuple[str, str]) -> list[Pair]:
    """A stack whose pages are labelled in files of their own, or the other way round."""
    match = pair_names([one.name for one in images], [one.name for one in labels])
    sure = len(match.partners) == len(labels) and not match.doubtful
    if len(images) == len(labels) and not sure and not any(one.drawn for one in labels):
        names = {one.name: other.name for one, other in zip(images, labels, strict=True)}
        _announce(Match(names, "order", tuple(names)), [])
        return [Pair(one.name, one, other) for one, other in zip(images, labels, strict=True)]
    as_items = [[Item(one.name, (one.path,)) for one in side] for side in (images, labels)]
    _check_all(as_items[0], as_items[1], match, places)
    _announce(match, as_items[1])
    by_name = {one.name: one for one in labels}
    return [Pair(one.name, one, by_name[match.partners[one.name]]) for one in images if one.name in match.partners]


def _pair_each(
    matched: Sequence[tuple[Item, Item]],
    opened: Sequence[tuple[list[Source], list[Source]]],
    dims: int,
    axes: str | None,
) -> list[Pair]:
    """The pairs of pages of pairs of files, with axes that the labels settle."""
    pairs: list[Pair] = []
    unsettled: list[Source] = []
    settled: dict[str, list[str]] = {}
    for (picture, truth), (images, labels) in zip(matched, opened, strict=True):
        one_side, other_side, found = match_pages(Opened(picture, images), Opened(truth, labels), dims=dims, axes=axes)
        images, labels = one_side.pages, other_side.pages
        unsettled += [one for one in images if one.axes is None]
        if found is not None:
            settled.setdefault(found, []).append(picture.files[0].name)
        if len(images) != len(labels):
            if planes := name_pages(labels, dims=dims):
                raise refuse_planes(planes, truth.files[0])
            problem = f"has {len(images)} page(s), and its labels {truth.files[0]} have {len(labels)}"
            cure = "give labels for each page, or name the axes if the pages are channels (--axes CYX)"
            if len(images) == 1:
                cure = "save one label image; of a map for each class, save the number of the largest (argmax)"
            raise ContractileError(problem, cure, where=picture.files[0])
        pairs += [Pair(page_name(picture, one), one, other) for one, other in zip(images, labels, strict=True)]
    say_guesses(unsettled)
    for letters, names in settled.items():
        logger.warning("axes %s, from the shape of the labels (--axes settles it otherwise): %s", letters, some(names))
    return pairs
