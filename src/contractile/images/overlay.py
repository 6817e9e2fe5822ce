"""A picture of an image with contours drawn over it.

The colours follow Okabe and Ito (2008): colour-blind people can tell them apart. https://jfly.uni-koeln.de/color/
"""

from __future__ import annotations

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
FILL = 0.22  # opacity of an object's colour inside its contour
WIDE_FROM = 400  # pixels on the shorter side from which contours are two pixels wide


def overlay(pixels: NDArray[Any], predicted: NDArray[Any], *, truth: NDArray[Any] | None = None) -> NDArray[np.uint8]:
    """Pixels (C, *S) as a grey or colour picture (Y, X, 3) uint8 with the contours of labels (*S).

    Without truth, the colour of an object follows from its number. With truth, true contours are blue and predicted
    ones orange, drawn on top: a blue contour alone is an object that was missed, an orange one alone is an object
    that is not there. Labels <= 0 are not drawn. For a volume the middle slice is shown.
    Raises ContractileError where the shapes differ.
    """
    for name, labels in (("predicted", predicted), ("truth", truth)):
        if labels is not None and labels.shape != pixels.shape[1:]:
            problem = f"{name} must have the shape of the image {pixels.shape[1:]}, got {labels.shape}"
            raise ContractileError(problem, "give labels of the same image")
    if pixels.ndim == 4:
        middle = pixels.shape[1] // 2
        return overlay(pixels[:, middle], predicted[middle], truth=None if truth is None else truth[middle])
    picture = as_picture(pixels)
    width = 2 if min(picture.shape[:2]) >= WIDE_FROM else 1
    if truth is None:
        return _colour_objects(picture, np.maximum(predicted, 0), width)
    picture = (picture * 0.8).astype(np.uint8)  # bright images would drown the lines
    picture[_contours(truth, width + 1)] = TRUE
    picture[_contours(predicted, width)] = PREDICTED
    return picture


def as_picture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels (C, Y, X) -> (Y, X, 3) uint8. Percentiles 0.5 and 99.5 of each channel become black and white.

    Three channels are red, green and blue. With any other number the first channel is shown in grey.
    """
    shown = pixels if pixels.shape[0] == 3 else pixels[:1]
    low, high = np.percentile(shown, (0.5, 99.5), axis=(1, 2), keepdims=True)
    spread = np.where(high > low, high - low, 1)
    grey = np.clip((shown - low) / spread, 0, 1) * 255
    return np.moveaxis(np.broadcast_to(grey, (3, *pixels.shape[1:])), 0, -1).astype(np.uint8)


def _colour_objects(picture: NDArray[np.uint8], labels: NDArray[Any], width: int) -> NDArray[np.uint8]:
    colours = OBJECTS[labels % len(OBJECTS)]  # (Y, X) -> (Y, X, 3)
    inside = (labels > 0)[..., None]
    mixed = np.where(inside, (1 - FILL) * picture + FILL * colours, picture).astype(np.uint8)
    lines = _contours(labels, width)[..., None]
    return np.where(lines, colours, mixed)


def _contours(labels: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """The outermost `width` pixels of every object."""
    from skimage.segmentation import find_boundaries  # here because it is slow to load and not always needed

    objects = np.maximum(labels, 0)
    lines: NDArray[np.bool_] = find_boundaries(objects, mode="inner")
    if width > 1:
        lines = ndimage.binary_dilation(lines, iterations=width - 1) & (objects > 0)
    return lines
