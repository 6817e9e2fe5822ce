"""An image and its contours as pictures that are small enough for a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import overlay, read
from contractile.images.overlay import PREDICTED, TRUE, as_picture
from contractile.report.scores import format_shape

MOST_PICTURES = 12
# Longer pictures are shrunk to the first, in pixels; shorter ones are enlarged, by a whole factor, up to the second.
LARGEST_SIDE, SMALLEST_SIDE = 768, 512
PICTURE_BYTES = 140_000  # twelve pairs of this size stay below 5 MB in base64
QUALITIES = (92, 85, 75, 60, 40, 20)


@dataclass(frozen=True)
class Picture:
    """An image without and with contours, as data URIs. `caption` holds its scores, `note` how it is shown."""

    name: str
    raw: str
    drawn: str
    width: int
    height: int
    caption: str = ""
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """A picture that is there already, as a data URI; `note` says how it is shown."""

    name: str
    drawn: str
    width: int
    height: int
    note: str = ""


@dataclass(frozen=True)
class Swatch:
    """A colour of contours, as CSS, and its meaning."""

    colour: str
    text: str


LEGEND = (Swatch(f"rgb{PREDICTED}", "predicted"), Swatch(f"rgb{TRUE}", "true"))


def draw(name: str, pixels: NDArray[Any], labels: NDArray[Any], *, truth: NDArray[Any], caption: str = "") -> Picture:
    """Pixels (C, *S), predicted labels (*S) and true labels (*S) as a picture; of a volume the middle slice.

    Raises ContractileError where the shapes differ.
    """
    for kind, array in (("labels", labels), ("truth", truth)):
        if array.shape != pixels.shape[1:]:
            raise ContractileError(
                f"{kind} of {name} must have the shape of the image {pixels.shape[1:]}, got {array.shape}",
                "give labels of the same image",
            )
    notes = [f"{format_shape(labels.shape)} pixels"]
    if labels.ndim == 3:
        middle = labels.shape[0] // 2
        notes.append(f"slice {middle + 1} of {labels.shape[0]}")
        pixels, labels, truth = pixels[:, middle], labels[middle], truth[middle]
    shape = _shown_shape(labels.shape)
    if shape[0] < labels.shape[0]:
        notes.append(f"shown at {format_shape(shape)}")
    raw = _resize_picture(as_picture(pixels), shape)
    drawn = overlay(np.moveaxis(raw, -1, 0), _resize_labels(labels, shape), truth=_resize_labels(truth, shape))
    return Picture(name, _encode(raw), _encode(drawn), shape[1], shape[0], caption, ", ".join(notes))


def show(name: str, file: Path) -> Shown:
    """The picture in a PNG file, small enough for a page. Raises ContractileError where it cannot be read."""
    rgb = np.ascontiguousarray(np.moveaxis(read(file).pixels, 0, -1))  # (3, Y, X) -> (Y, X, 3)
    shape = _shown_shape(rgb.shape[:2])
    notes = [f"{format_shape(rgb.shape[:2])} pixels"]
    if shape[0] < rgb.shape[0]:
        notes.append(f"shown at {format_shape(shape)}")
    return Shown(name, _encode(_resize_picture(rgb, shape)), shape[1], shape[0], ", ".join(notes))


def _shown_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of the picture of an image."""
    height, width = shape
    longest = max(shape)
    if longest > LARGEST_SIDE:
        return max(1, height * LARGEST_SIDE // longest), max(1, width * LARGEST_SIDE // longest)
    factor = max(1, SMALLEST_SIDE // longest)
    return factor * height, factor * width


def _resize_picture(rgb: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    from PIL import Image

    if shape == rgb.shape[:2]:
        return rgb
    method = Image.Resampling.NEAREST if shape[0] > rgb.shape[0] else Image.Resampling.BOX
    return np.asarray(Image.fromarray(rgb).resize(shape[::-1], method))


def _resize_labels(labels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """Labels (Y, X) at another shape: each pixel gets the label at its middle."""
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(shape, labels.shape, strict=True))
    return labels[np.ix_(rows, columns)]


def _encode(rgb: NDArray[np.uint8]) -> str:
    """(Y, X, 3) as a data URI: PNG where that is small enough, otherwise JPEG of the best quality that is."""
    grey = bool((rgb == rgb[..., :1]).all())
    shown = np.ascontiguousarray(rgb[..., 0] if grey else rgb)
    data, kind = imagecodecs.png_encode(shown, level=9), "png"
    for quality in QUALITIES:
        if len(data) <= PICTURE_BYTES:
            break
        # full colour resolution: contours are a pixel or two wide
        data, kind = imagecodecs.jpeg8_encode(shown, level=quality, subsampling="444", optimize=True), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
