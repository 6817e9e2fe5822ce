"""Several files that are one image: a file for each channel, or a file for each object of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.image import Image
from contractile.images.layouts import Item
from contractile.images.reading import grey_of, read, read_labels
from contractile.images.sources import Source, find


@dataclass(frozen=True)
class Joined(Source):
    """One image in several files, the `parts`: of an image each holds channels, of labels each holds one object.

    `path` is the first of them.
    """

    parts: tuple[Path, ...] = ()


def open_item(item: Item, *, dims: int = 2, axes: str | None = None, labels: bool = False) -> list[Source]:
    """The images in the files of an item, each page one. Guesses of axes are not said. Raises as `find`."""
    first = item.files[0]
    return sources_of(item, {first: find(first, dims=dims, axes=axes, labels=labels, quiet=True)})


def sources_of(item: Item, found: Mapping[Path, list[Source]]) -> list[Source]:
    """The images in the files of an item, where `found` says what its first file holds."""
    sources = found[item.files[0]]
    if not item.together:
        return sources
    return [Joined(page_name(item, one), one.path, one.page, one.axes, parts=item.files) for one in sources]


def page_name(item: Item, source: Source) -> str:
    """The name of an image: that of its item, which is different for each, and its page."""
    name = item.name.replace("/", "_")
    return name if source.page is None else f"{name}_{source.page:04d}"


def read_joined(source: Source, *, dims: int = 2) -> Image:
    """What `read` gives; the channels of a `Joined` source are those of its parts, in order.

    Raises ContractileError for parts of different sizes, and as `read`.
    """
    if not isinstance(source, Joined):
        return read(source, dims=dims)
    images = [read(part, dims=dims) for part in _sources(source)]
    _check_sizes(source, [image.shape[1:] for image in images])
    grey = [grey_of(image.pixels) for image in images]  # a channel may be stored as a colour picture
    channels = [image.pixels if one is None else one for image, one in zip(images, grey, strict=True)]
    pixels = np.concatenate(channels)  # (C, *S)
    return Image(source.name, pixels, images[0].pixel_size_um)


def read_joined_labels(source: Source, *, dims: int = 2) -> NDArray[np.int32]:
    """What `read_labels` gives; of a `Joined` source, part number n is object n, where it is brighter than half.

    A pixel that several parts show belongs to the first of them. Raises as `read_joined` and `read_labels`.
    """
    if not isinstance(source, Joined):
        return read_labels(source, dims=dims)
    masks = [read(part, dims=dims).pixels.max(axis=0) for part in _sources(source)]
    _check_sizes(source, [mask.shape for mask in masks])
    labels = np.zeros(masks[0].shape, np.int32)
    for number, mask in enumerate(masks, start=1):
        labels[(labels == 0) & (mask > mask.max(initial=0) / 2)] = number
    return labels


def _sources(source: Joined) -> list[Source]:
    """The parts as sources, with the page and the axes of all."""
    return [Source(part.stem, part, source.page, source.axes) for part in source.parts]


def _check_sizes(source: Joined, sizes: Sequence[tuple[int, ...]]) -> None:
    for part, size in zip(source.parts, sizes, strict=True):
        if size != sizes[0]:
            found = f"{size} beside {sizes[0]} ({source.parts[0].name})"
            problem = f"the files of one image must have the same size, got {found}"
            raise ContractileError(problem, "crop them, or move the odd one away", where=part)
