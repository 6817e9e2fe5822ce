"""Places where images are, and labels of them -> the images of a session, and the labels that are known of some.

Files pair as they do for `train` (`dataset.pair_up`). Unlike there, images without labels stay: somebody will annotate
them. No image is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from contractile.dataset import Pair, pair_up
from contractile.errors import ContractileError
from contractile.images import (
    Source,
    find,
    find_joined,
    leave_out_labels,
    list_image_files,
    list_joined,
    say_guesses,
    settle_shapes,
)
from contractile.images.failures import Failures, find_readable
from contractile.images.folders import Place
from contractile.images.joined import open_item, page_name, sources_of
from contractile.images.layouts import Item, list_images, list_items
from contractile.model import ModelCard
from contractile.viewer.remembered import Kept, common_axes

CHANNEL_DIGITS = 5  # of CASE_0000: what follows the name of the case


@dataclass(frozen=True)
class Found:
    """Images, 2-D, each page one; `truths` are the labels of those that have some, by the number of the image."""

    sources: tuple[Source, ...]
    truths: Mapping[int, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Meaning:
    """What labels that are shapes mean, where somebody settled it: the task, and the names of the classes 1 ... K."""

    task: str | None = None
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, card: ModelCard | None, task: str | None = None) -> Meaning:
        """That of a model, where there is one."""
        if card is None:
            return cls(task)
        in_order = card.class_values == tuple(range(len(card.class_names)))
        return cls(card.task, card.class_names[1:] if in_order else ())


def find_images(
    what: Place, axes: str | None = None, *, channels: int = 1, kept: Sequence[Kept] = ()
) -> tuple[Source, ...]:
    """The images at a place, 2-D, each page one; files that cannot be opened are logged and left out.

    For a model of several `channels`, files that hold one each are joined (`find_joined`). What a session has `kept`
    is opened as it was then. Raises ContractileError where nothing can be opened, and as `find`.
    """
    files = leave_out_labels(list_image_files(what))
    place = {_whole(file): number for number, file in enumerate(files)}
    known = [one for one in kept if all(file in place for file in one.files)]
    failures = Failures("opened")
    sources = open_again(known, axes, failures.add)
    sources += _open_others(files, {file for one in known for file in one.files}, axes, channels, failures.add)
    if not sources:
        failures.finish()
    failures.count_result()  # logs the others
    return _named_apart(sorted(sources, key=lambda one: (place[_whole(one.path)], one.page or 0)))


def pair_images(
    images: Place, labels: Place | None, axes: str | None = None, *, meaning: Meaning | None = None
) -> Found:
    """All images at a place, and the labels of those that have some. Raises as `pair_up`.

    Without `labels` the place holds both. Files of images that cannot be opened are logged and left out.
    """
    pairs, images, labels = _pair_readable(images, labels, axes)
    by_file: dict[Path, list[Pair]] = {}
    for pair in pairs:
        by_file.setdefault(pair.image.path, []).append(pair)
    items = list_items(images, labels)[0]
    others = _find_others([item.files[0] for item in items], pairs, axes)
    sources: list[Source] = []
    for item in items:
        own = by_file.get(item.files[0])
        sources += others.get(item.files[0], []) if own is None else _all_pages(own)
    return Found(_named_apart(sources), _truths(pairs, sources, meaning or Meaning()))


def paired_images(
    images: Place, labels: Place | None, axes: str | None, meaning: Meaning, *, last: float = 1.0
) -> Found:
    """The images at a place that have labels; of these the `last`, so large a part of all. Raises as `pair_images`."""
    pairs, *_ = _pair_readable(images, labels, axes)
    pairs = pairs[-max(1, round(last * len(pairs))) :]
    sources = [pair.image for pair in pairs]
    return Found(_named_apart(sources), _truths(pairs, sources, meaning))


def open_again(
    images: Sequence[Kept],
    axes: str | None = None,
    failed: Callable[[Path, ContractileError], None] | None = None,
) -> list[Source]:
    """The images that a session has kept, each page one. `failed` is called for files that cannot be opened.

    Raises as `find` where nobody is called.
    """
    found: dict[Path, list[Source]] = {}
    for letters in dict.fromkeys(one.axes for one in images):
        files = [one.files[0] for one in images if one.axes == letters]
        look = partial(find, axes=axes or letters, quiet=True)
        pages = look(files) if failed is None else find_readable([[file] for file in files], look, failed)
        for source in pages:
            found.setdefault(source.path, []).append(source)
    return [
        _named(source, one.name)
        for one in images
        if one.files[0] in found
        for source in sources_of(_item(one.name, one.files), found)
    ]


def named_as_kept(sources: Iterable[Source], kept: Sequence[Kept]) -> tuple[Source, ...]:
    """The same images, under the names that a session has for them: its annotation is found by these."""
    names = {one.files: one.name for one in kept}
    files = ((source, tuple(map(_whole, source.files))) for source in sources)
    return tuple(_named(source, names[own]) if own in names else source for source, own in files)


def _named_apart(sources: Sequence[Source]) -> tuple[Source, ...]:
    """The same images, under names that tell them apart.

    They are those that their files have for `pair_up`, so that labels under these names belong to them.
    """
    files = list(dict.fromkeys(_whole(file) for source in sources for file in source.files))
    names: dict[Path, str] = {}
    with suppress(ValueError):  # files of one name on several drives
        names = {one.files[0]: one.name for one in list_images(files)}
    cases = {path: name[:-CHANNEL_DIGITS] for path, name in names.items()}
    known = ((cases if len(source.files) > 1 else names).get(_whole(source.path), source.stem) for source in sources)
    return tuple(_named(source, name) for source, name in zip(sources, known, strict=True))


def _named(source: Source, name: str) -> Source:
    return replace(source, name=page_name(_item(name, source.files), source))


def _item(name: str, files: tuple[Path, ...]) -> Item:
    return Item(name, files, together=len(files) > 1)


def _open_others(
    files: Sequence[Path],
    known: Set[Path],
    axes: str | None,
    channels: int,
    failed: Callable[[Path, ContractileError], None],
) -> list[Source]:
    """The images in files, but for those that are `known`. All are looked at together: several may hold one image."""
    if all(_whole(file) in known for file in files):
        return []
    how: dict[str, Any] = {"axes": axes, "quiet": bool(known)}
    if channels > 1:
        groups = [item.files for item in list_joined(files, channels=channels, axes=axes)]
        sources = find_readable(groups, partial(find_joined, channels=channels, **how), failed)
    else:
        sources = find_readable([[file] for file in files], partial(find, **how), failed)
    sources = [one for one in sources if _whole(one.path) not in known]
    if known:
        say_guesses(sources)
    return sources


def _whole(file: Path) -> Path:
    """The absolute path, as sessions keep it."""
    return Path(os.path.abspath(file))


def _pair_readable(images: Place, labels: Place | None, axes: str | None) -> tuple[list[Pair], Place, Place | None]:
    """The pairs, and the places that they come from: those given, or lists without the images that cannot be opened."""
    try:
        return pair_up(images, labels, axes=axes, quiet=True), images, labels
    except ContractileError:
        failures = Failures("opened")
        sides = [[file for item in items for file in item.files] for items in list_items(images, labels)]
        find_readable([[file] for file in sides[0]], partial(find, axes=axes, quiet=True), failures.add)
        good = [file for file in sides[0] if str(file) not in failures.errors]
        if not failures.errors or not good:
            raise
        failures.count_result()  # logs them
    truths = list(dict.fromkeys(sides[1]))
    return pair_up(good, truths, axes=axes, quiet=True), good, truths


def _find_others(files: Sequence[Path], pairs: Sequence[Pair], axes: str | None) -> dict[Path, list[Source]]:
    """The images that have no labels, by their first file. What labels showed of the others holds for them, too."""
    failures = Failures("opened")
    axes = axes or common_axes([pair.image for pair in pairs])
    channels = max(len(pair.image.files) for pair in pairs)
    used = {_whole(file) for pair in pairs for file in pair.image.files}
    found: dict[Path, list[Source]] = {}
    for source in _open_others(files, used, axes, channels, failures.add):
        found.setdefault(source.path, []).append(source)
    failures.count_result()  # logs them
    return found


def _all_pages(pairs: Sequence[Pair]) -> list[Source]:
    """All pages of the file that holds the images of these pairs, whether they have labels or not."""
    image = pairs[0].image
    return [image] if image.page is None else open_item(_item(image.stem, image.files), axes=image.axes)


def _truths(pairs: Sequence[Pair], sources: Sequence[Source], meaning: Meaning) -> dict[int, Source]:
    """The labels of the pairs by the number of their image."""
    places = {(source.files, source.page): number for number, source in enumerate(sources)}
    numbers = [places[pair.image.files, pair.image.page] for pair in pairs]
    labels = settle_shapes(
        [sources[number] for number in numbers],
        [pair.labels for pair in pairs],
        task=meaning.task,
        classes=meaning.classes,
    )
    return dict(sorted(zip(numbers, labels, strict=True), key=lambda one: one[0]))
