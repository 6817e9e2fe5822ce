"""JPEG -> pixels, or an error where not all of them are in the file (`jpeg_markers`, `jpeg_damage`)."""

from __future__ import annotations

import io
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from contractile.images.jpeg_damage import FLAT, check_jpeg, check_restarts
from contractile.images.jpeg_markers import Jpeg


def decode_jpeg(jpeg: Jpeg) -> NDArray[Any]:
    """Pixels (Y, X) or (Y, X, 3), uint8, or uint16 for more than 8 bits. CMYK becomes RGB.

    Raises EOFError or Damaged where data are missing or damaged, with the share of it where that can be known.
    """
    check_restarts(jpeg)
    pixels = _decode(jpeg)
    check_jpeg(jpeg, pixels)
    return pixels


def fill_jpeg(jpeg: Jpeg) -> NDArray[Any]:
    """Pixels as of `decode_jpeg`, with 0 in the rows at the end that decoders fill with grey."""
    pixels = _decode(jpeg).copy()
    flat = (pixels == FLAT).reshape(len(pixels), -1).all(axis=1)
    rows = len(flat) if flat.all() else int(np.argmin(flat[::-1]))
    pixels[len(pixels) - rows :] = 0
    return pixels


def _decode(jpeg: Jpeg) -> NDArray[Any]:
    if len(jpeg.sampling) == 4:
        return np.asarray(JpegImagePlugin.JpegImageFile(io.BytesIO(jpeg.ended)).convert("RGB"))
    return np.asarray(imagecodecs.jpeg8_decode(jpeg.ended))
