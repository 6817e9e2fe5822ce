"""Pictures (PNG, JPEG, BMP) -> rasters. They are decoded whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image as Pillow

from contractile.images.raster import Raster, one_clear_line


def open_picture(path: Path, indices: bool) -> Raster:
    with one_clear_line(path):
        pixels = _decode_picture(path, indices)
    alpha = 1 if pixels.ndim == 3 and pixels.shape[-1] in (2, 4) else 0
    return Raster("YXS"[: pixels.ndim], pixels.shape, pixels.dtype, lambda: pixels, alpha)


def _decode_picture(path: Path, indices: bool) -> np.ndarray[Any, Any]:
    suffix = path.suffix.lower()
    data = path.read_bytes()
    if suffix in (".jpg", ".jpeg"):
        if b"\xff\xd9" not in data[-4096:]:  # the decoder would fill the missing part with grey
            raise EOFError("no end marker")
        return np.asarray(imagecodecs.jpeg8_decode(data))
    has_palette = data[25:26] == b"\x03"
    if suffix == ".png" and not (has_palette and indices):  # Pillow would reduce 16-bit colour to 8 bits
        return np.asarray(imagecodecs.png_decode(data))
    with Pillow.open(path) as picture:
        if picture.mode == "P" and not indices:
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture)
