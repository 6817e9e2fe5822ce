"""One label file -> labels, or what is wrong with its values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.check.colours import find_colours, list_colours
from contractile.check.findings import Spot
from contractile.check.fractions import can_mend
from contractile.check.greys import count_greys, name_greys, ramps
from contractile.errors import ContractileError
from contractile.images import Source, describe, read, read_labels
from contractile.images.planes import name_channels
from contractile.images.reading import LARGEST
from contractile.labels import without_mark


class Read(NamedTuple):
    """Labels (*S), or the complaint about a file whose values cannot be labels; whether a pixel had the ignored one."""

    found: NDArray[np.int32] | Spot
    marked: bool = False


def read_annotation(source: Source, *, dims: int = 2, ignore_label: int | None = None) -> Read:
    """The labels of a file, with -1 in place of `ignore_label`, or what is wrong with its values.

    Raises ContractileError for everything that concerns the file: unreadable, truncated, NaN.
    """
    try:
        labels = read_labels(source, dims=dims)
        return Read(without_mark(labels, ignore_label), bool((labels == ignore_label).any()))
    except ContractileError:
        if source.drawn is not None:
            raise
        pixels = read(source, dims=dims).pixels
        complaint = _name_values(pixels, describe(source))
        if complaint is None:
            raise
        return _without_large(pixels, ignore_label, complaint) if complaint.kind == "large numbers" else Read(complaint)


def _without_large(pixels: NDArray[Any], ignore_label: int | None, complaint: Spot) -> Read:
    """Pixels (1, *S) with large numbers, of which `ignore_label` may be one: then the others count."""
    marked = pixels == ignore_label
    if ignore_label is None or not marked.any():
        return Read(complaint)
    others = np.where(marked, 0, pixels)
    left = _name_values(others, complaint.where)
    return Read(np.where(marked, -1, others.astype(np.int32))[0] if left is None else left, marked=True)


def _name_values(pixels: NDArray[Any], where: str) -> Spot | None:
    """Why pixels (C, *S) are no labels."""
    if len(pixels) > 1:
        if planes := name_channels(pixels):
            return Spot("one-hot", where, planes)
        codes = find_colours(pixels)
        if codes is None:
            return Spot("picture", where, f"{len(np.unique(pixels))}") if len(pixels) <= 3 else None
        found = np.unique(codes).tolist()
        return Spot("colour", where, f"{len(found)} colour(s): {list_colours(found, len(pixels))}")
    values = pixels[0]
    fractions = float(np.mean(values != np.rint(values))) if values.dtype.kind == "f" else 0.0
    if fractions:
        return Spot("fractions" if can_mend(values) else "no numbers", where, f"{fractions:.1%}")
    extreme = int(max(values.max(), -int(values.min())))
    return Spot("large numbers", where, str(extreme)) if extreme > LARGEST else None


def faults_of_values(labels: NDArray[np.int32], pixels: NDArray[Any] | None, where: str) -> Spot | None:
    """The complaint about labels (*S) that are no areas of one value, or that are the pixels (C, *S) of their image."""
    image = pixels if pixels is not None and pixels.shape[1:] == labels.shape else np.zeros((0, *labels.shape))
    if labels.any() and any(np.array_equal(channel, labels) for channel in image):
        return Spot("same", where)
    greys = count_greys(labels)
    if not greys:
        return None
    kind = name_greys(labels)
    if kind == "mixed":
        return Spot(kind, where, f"{ramps(labels):.0%}")
    return Spot("swapped" if len(image) == 1 and _are_areas(image[0]) else kind, where, str(greys))


def swapped(complaint: Spot, pixels: NDArray[Any] | None) -> Spot:
    """The complaint about a colour photograph in place of labels; another one where the image (C, *S) is the labels."""
    if complaint.kind == "picture" and pixels is not None and len(pixels) == 1 and _are_areas(pixels[0]):
        return complaint._replace(kind="swapped")
    return complaint


def _are_areas(channel: NDArray[Any]) -> bool:
    """Whether one channel (*S) of an image looks like labels."""
    return channel.dtype.kind in "iu" and bool((channel != channel.flat[0]).any()) and not count_greys(channel)
