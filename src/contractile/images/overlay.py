"""A picture of an image with contours drawn over it.

The colours follow Okabe and Ito (2008): colour-blind people can tell them apart. https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.errors import ContractileError

PREDICTED = (255, 140, 0)
TRUE = (0, 190, 255)
OBJECTS = np.array(
    [(255, 170, 0), (80, 190, 255), (0, 210, 150), (255, 235, 60), (60, 120, 255), (255, 90, 30), (255, 120, 210)],
    np.uint8,
)
DIMMED = (np.arange(256) * 0.8).astype(np.uint8)
FILL = 0.22  # opacity of an object's colour inside its contour
LONGEST = 4096  # pixels along Y and X of a picture; larger images become thumbnails
SAMPLED = 2048  # pixels along Y and X that are looked at for the range of grey values
PART = 2048  # pixels along Y and X of a large image that are read at once
ROWS = 128  # rows that are drawn at once
WIDE_FROM = 400  # pixels on the shorter side from which contours are two pixels wide


def overlay(pixels: Any, predicted: Any, *, truth: Any = None) -> NDArray[np.uint8]:
    """Pixels (C, *S) as a grey or colour picture (Y, X, 3) uint8 with the contours of labels (*S).

    Without truth, the colour of an object follows from its number. With truth, true contours are blue and predicted
    ones orange, drawn on top: a blue contour alone is an object that was missed, an orange one alone is an object
    that is not there. Labels <= 0 are not drawn. For a volume the middle slice is shown.

    All three are arrays, or anything with `shape`, `dtype` and `[region]`. An image of more than 4096 pixels along Y or
    X becomes a thumbnail of at most as many, read part by part: its pixels are means, its labels those in the middle of
    them, so that objects smaller than a pixel of it may be missing.
    Raises ContractileError where the shapes differ.
    """
    shape = tuple(pixels.shape)
    for name, labels in (("predicted", predicted), ("truth", truth)):
        if labels is not None and tuple(labels.shape) != shape[1:]:
            problem = f"{name} must have the shape of the image {shape[1:]}, got {tuple(labels.shape)}"
            raise ContractileError(problem, "give labels of the same image")
    plane = () if len(shape) == 3 else (shape[1] // 2,)
    step = math.ceil(max(shape[-2:]) / LONGEST)
    channels = slice(0, 3 if shape[0] == 3 else 1)
    picture = as_picture(_shrunk(pixels, (channels, *plane), step, mean=True))
    drawn = _shrunk(predicted, plane, step)
    wide = min(picture.shape[:2]) >= WIDE_FROM
    if truth is None:
        return _by_rows(_colour_objects, picture, drawn, 2 if wide else 1)
    picture = DIMMED[picture]  # bright images would drown the lines
    picture[_by_rows(_contours_of, picture, _shrunk(truth, plane, step), 3 if wide else 2)] = TRUE
    picture[_by_rows(_contours_of, picture, drawn, 2 if wide else 1)] = PREDICTED
    return picture


def _shrunk(values: Any, place: tuple[Any, ...], step: int, *, mean: bool = False) -> NDArray[Any]:
    """The plane at `place`, or every `step` pixels of it as one: their mean, or the one in the middle of them."""
    length, width = values.shape[-2:]
    if step == 1:
        return np.asarray(values[(*place, slice(0, length), slice(0, width))])
    leading = (place[0].stop,) if mean else ()  # of pixels the first is a slice of channels
    found = np.empty((*leading, -(-length // step), -(-width // step)), np.float32 if mean else values.dtype)
    side = max(1, PART // step)  # pixels of the thumbnail that are made at once
    for y, x in product(range(0, found.shape[-2], side), range(0, found.shape[-1], side)):
        rows, columns = slice(y * step, min((y + side) * step, length)), slice(x * step, min((x + side) * step, width))
        part = np.asarray(values[(*place, rows, columns)])
        if mean:
            small = _means(part, step)
        else:
            ys, xs = (np.minimum(np.arange(step // 2, n + step // 2, step), n - 1) for n in part.shape[-2:])
            small = part[..., ys[:, None], xs]
        found[..., y : y + side, x : x + side] = small[..., : found.shape[-2] - y, : found.shape[-1] - x]
    return found


def _means(part: NDArray[Any], step: int) -> NDArray[np.float32]:
    """The mean of every `step` x `step` pixels; of fewer at the end."""
    found = part.astype(np.float32)
    for axis in (-2, -1):
        starts = np.arange(0, part.shape[axis], step)
        counts = np.diff(np.append(starts, part.shape[axis])).astype(np.float32)
        sums: NDArray[np.float32] = np.add.reduceat(found, starts, axis=axis)
        found = (sums / (counts if axis == -1 else counts[:, None])).astype(np.float32)
    return found


def as_picture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels (C, Y, X) -> (Y, X, 3) uint8. Percentiles 0.5 and 99.5 of each channel become black and white.

    Three channels are red, green and blue. With any other number the first channel is shown in grey. Of large images
    every second, third ... row and column is looked at for the percentiles.
    """
    shown = pixels if pixels.shape[0] == 3 else pixels[:1]
    thin = math.ceil(max(shown.shape[1:]) / SAMPLED)
    low, high = np.percentile(shown[:, ::thin, ::thin], (0.5, 99.5), axis=(1, 2), keepdims=True)
    spread = np.where(high > low, high - low, 1)
    picture = np.empty((*pixels.shape[1:], 3), np.uint8)
    for top in range(0, len(picture), ROWS):
        rows = slice(top, top + ROWS)
        grey = np.clip((shown[:, rows] - low) / spread, 0, 1) * 255
        picture[rows] = np.moveaxis(np.broadcast_to(grey, (3, *grey.shape[1:])), 0, -1)
    return picture


def _by_rows(draw: Any, picture: NDArray[np.uint8], labels: NDArray[Any], width: int) -> NDArray[Any]:
    """What `draw` makes of some rows at a time, with as many around them as a line is wide: its memory is bounded."""
    found: NDArray[Any] | None = None
    for top in range(0, len(labels), ROWS):
        start, stop = max(0, top - width - 1), min(len(labels), top + ROWS + width + 1)
        drawn = draw(picture[start:stop], labels[start:stop], width)
        if found is None:
            found = np.empty((len(labels), *drawn.shape[1:]), drawn.dtype)
        end = min(top + ROWS, len(labels))
        found[top:end] = drawn[top - start : end - start]
    return np.zeros_like(picture) if found is None else found


def _colour_objects(picture: NDArray[np.uint8], labels: NDArray[Any], width: int) -> NDArray[np.uint8]:
    labels = np.maximum(labels, 0)
    colours = OBJECTS[labels % len(OBJECTS)]  # (Y, X) -> (Y, X, 3)
    inside = (labels > 0)[..., None]
    mixed = np.where(inside, (1 - FILL) * picture + FILL * colours, picture).astype(np.uint8)
    lines = _contours(labels, width)[..., None]
    return np.where(lines, colours, mixed)


def _contours_of(_: NDArray[np.uint8], labels: NDArray[Any], width: int) -> NDArray[np.bool_]:
    return _contours(labels, width)


def _contours(labels: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """The outermost `width` pixels of every object."""
    from skimage.segmentation import find_boundaries  # here because it is slow to load and not always needed

    objects = np.maximum(labels, 0)
    lines: NDArray[np.bool_] = find_boundaries(objects, mode="inner")
    if width > 1:
        lines = ndimage.binary_dilation(lines, iterations=width - 1) & (objects > 0)
    return lines
