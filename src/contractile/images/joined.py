"""Several files that are one image: those of its channels, as nnU-Net names them, and the masks of its objects."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contractile.errors import ContractileError
from contractile.images.channels import COLOURS, grey_of
from contractile.images.folders import Place
from contractile.images.layouts import Item
from contractile.images.names import bare, some
from contractile.images.notes import say
from contractile.images.reading import open_image
from contractile.images.shape_files import draws_all_pages
from contractile.images.sides import CHANNEL
from contractile.images.sources import Drawn, Source, find, list_files, settle_axes, stem

logger = logging.getLogger(__name__)

MOST_CHANNELS = 16  # more files than this, numbered from 0, are frames
FEW_CHANNELS = 4  # of a single image; more are frames, too
NNUNET = "as nnU-Net names them"


def open_item(item: Item, *, dims: int = 2, axes: str | None = None, labels: bool = False) -> list[Source]:
    """The images in the files of an item, each page one. Guesses of axes are not said. Raises as `find`."""
    if item.entry is not None:
        return sources_of(item, {})
    first = item.files[0]
    return sources_of(item, {first: find(first, dims=dims, axes=axes, labels=labels, quiet=True)})


def sources_of(item: Item, found: Mapping[Path, list[Source]]) -> list[Source]:
    """The images in the files of an item, where `found` says what its first file holds."""
    if item.entry is not None:
        return [Source(item.name.replace("/", "_"), item.files[0], drawn=Drawn(item.entry))]
    sources = found[item.files[0]]
    if not item.together:
        return sources
    return [replace(one, name=page_name(item, one), parts=item.files) for one in sources]


@dataclass(frozen=True)
class Opened:
    """The files of an image, or of its labels, and the pages that they hold."""

    item: Item
    pages: list[Source]


def match_pages(image: Opened, labels: Opened, *, dims: int, axes: str | None) -> tuple[Opened, Opened, str | None]:
    """Both with the pages that belong together, and the axes, where the labels show others than those guessed.

    Where no `axes` are given, and a guess says what those of the image are, the shape of the labels settles it
    (`settle_axes`). Shapes on one side that may lie in all pages are there once for each page of the other. The caller
    asks whether there are as many pages on both sides.
    """
    guess = image.pages[0].guess if axes is None else None
    found = None if guess is None else settle_axes(image.pages[0], labels.pages[0], dims=dims)
    others = None
    if guess is not None and found is not None:
        if not guess.agrees(found) or len(image.pages) != len(labels.pages):
            image = replace(image, pages=open_item(image.item, dims=dims, axes=found))
            labels = replace(labels, pages=open_item(labels.item, dims=dims, axes=found, labels=True))
            others = found
        elif guess.is_open:  # the guess was right, and is one no longer
            image = replace(image, pages=[replace(one, axes=found) for one in image.pages])
    return _for_all_pages(image, labels), _for_all_pages(labels, image), others


def _for_all_pages(shapes: Opened, other: Opened) -> Opened:
    one = shapes.pages[0]
    if len(shapes.pages) == 1 and one.drawn is not None and draws_all_pages(one.path):
        return replace(shapes, pages=shapes.pages * len(other.pages))
    return shapes


def page_name(item: Item, source: Source) -> str:
    """The name of an image: that of its item, which is different for each, and its page."""
    name = item.name.replace("/", "_")
    return name if source.page is None else f"{name}_{source.page:04d}"


def join_channels(images: list[Item], labels: Collection[str]) -> list[Item]:
    """CASE_0000, CASE_0001 ... are the channels of one image where the names of all `labels` are cases.

    Frames are left as they are: images with other names among them, or more files of a case than there are channels.
    Raises ContractileError where cases have different channels.
    """
    cases = _group(images)
    most = max((len(parts) for parts in cases.values()), default=0)
    are_cases = {bare(name) for name in labels} <= {bare(case) for case in cases}
    if not are_cases or most > MOST_CHANNELS or sum(map(len, cases.values())) < len(images):
        return images
    for case, parts in cases.items():
        if not _are_all(parts, most):
            rule = f"each image must have the channels {', '.join(_numbers(most))}, as others have"
            problem = f"{rule}, got {', '.join(one.files[0].name for one in parts)} for {case}"
            raise ContractileError(problem, "add the missing files", where=parts[0].files[0].parent)
    joined = [_join(case, parts) for case, parts in cases.items()]
    _say_joined(joined)
    return joined


def find_joined(
    where: Place, *, channels: int, dims: int = 2, axes: str | None = None, quiet: bool = False
) -> list[Source]:
    """What `find` gives, for a model of so many `channels`: CASE_0000, CASE_0001 ... are its channels.

    They are joined where there are as many as the model takes, and each file holds one. This is said, and also what
    only looks like it. Raises as `find`, and ContractileError for channels with different numbers of pages.
    """
    files = list_files(where)
    found: dict[Path, list[Source]] = {}
    for source in find(files, dims=dims, axes=axes, quiet=quiet):
        found.setdefault(source.path, []).append(source)
    items = list_joined(list(found), channels=channels, dims=dims, axes=axes)
    if not quiet:
        _say_joined(items)
        _say_apart([one.files[0] for one in items if not one.together], channels, any(one.together for one in items))
    for item in items:
        pages = [len(found[file]) for file in item.files]
        if len(set(pages)) > 1:
            problem = f"the files of one image must have the same number of pages, got {some([str(n) for n in pages])}"
            raise ContractileError(problem, "give the same pages of each channel", where=item.files[0])
    return [source for item in items for source in sources_of(item, found)]


def list_joined(files: Sequence[Path], *, channels: int, dims: int = 2, axes: str | None = None) -> list[Item]:
    """The files of each image, in order, as `find_joined` takes them for a model of so many `channels`."""
    items = _named_items(files)
    first: dict[Path, Item] = {}
    others: set[Path] = set()
    for case, parts in _group(items).items() if channels > 1 else ():
        if _are_all(parts, channels) and _has_one_channel(parts[0].files[0], dims, axes):
            joined = _join(Path(case).name, parts)
            first[joined.files[0]] = joined
            others.update(joined.files[1:])
    return [first.get(one.files[0], one) for one in items if one.files[0] not in others]


def say_channels(files: Sequence[Path], why: str = "training joins them, and so does a model of {} channels") -> None:
    """Tell the user of files that are named like the channels of images, but are taken for images of their own.

    {} in `why` is the number of channels.
    """
    cases = _group(_named_items(files))
    most = max((len(parts) for parts in cases.values()), default=0)
    likely = 1 < most <= (MOST_CHANNELS if len(cases) > 1 else FEW_CHANNELS)
    if likely and all(_are_all(parts, most) for parts in cases.values()):
        named = [one.files[0] for parts in cases.values() for one in parts]
        say(f"named like the {most} channels of an image, each is taken for an image ({why.format(most)})", named)


def _say_apart(files: Sequence[Path], channels: int, beside_joined: bool) -> None:
    """Tell the user of files that are not joined, but may have been meant to be."""
    if beside_joined:
        named = [one.files[0] for parts in _group(_named_items(files)).values() for one in parts]
        say(f"not joined, unlike others: the model takes {channels} channels, numbered from 0000", named)
    else:
        say_channels(files, f"the model takes {channels} channel(s)")


def _named_items(files: Sequence[Path]) -> list[Item]:
    return [Item(f"{file.parent / stem(file)}", (file,)) for file in files]


def _group(items: Sequence[Item]) -> dict[str, list[Item]]:
    """The items CASE_0000, CASE_0001 ... by case; others are left out."""
    cases: dict[str, list[Item]] = {}
    for one in items:
        if match := CHANNEL.fullmatch(one.name):
            cases.setdefault(match[1], []).append(one)
    return cases


def _numbers(count: int) -> list[str]:
    return [f"{number:04d}" for number in range(count)]


def _are_all(parts: Sequence[Item], count: int) -> bool:
    """Whether these are the channels of one image: numbered from 0, none missing, none twice."""
    return sorted(one.name[-4:] for one in parts) == _numbers(count)


def _join(case: str, parts: Sequence[Item]) -> Item:
    ordered = sorted(parts, key=lambda one: one.name[-4:])
    return Item(case, tuple(one.files[0] for one in ordered), together=len(parts) > 1)


def _say_joined(items: Sequence[Item]) -> None:
    several = [one for one in items if one.together]
    if several:
        names = ", ".join(file.name for file in several[0].files)
        logger.warning("%s are taken for the channels of one image, %s", names, NNUNET)


def _has_one_channel(file: Path, dims: int, axes: str | None) -> bool:
    """Whether an image holds one channel, or a grey picture stored as colour. Whoever reads it says what is wrong."""
    try:
        with open_image(find(file, dims=dims, axes=axes, quiet=True)[0], dims=dims) as image:
            return image.shape[0] == 1 or (image.shape[0] in COLOURS and grey_of(image.pixels) is not None)
    except ContractileError:
        return True
