"""Pictures (PNG, JPEG, BMP, GIF, WebP) -> rasters. Their content says what they are. They are decoded whole.

Pixels are turned as the picture's EXIF orientation says. As an image, a picture has the values that a viewer shows:
grey of 1, 2 or 4 bits reaches from 0 to 255, and palettes and CMYK become colours. As labels, it has the numbers that
it stores: grey of few bits is not stretched, and a palette gives the number of each colour.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, WebPImagePlugin
from PIL import Image as Pillow

from contractile.errors import ContractileError
from contractile.images.gate import check_piece, check_size, limits
from contractile.images.jpeg import decode_jpeg, fill_jpeg
from contractile.images.jpeg_damage import check_data_of_jpeg
from contractile.images.jpeg_markers import scan_jpeg
from contractile.images.known import Wanted
from contractile.images.png import check_data_of_png, decode_png, fill_png, scan_png
from contractile.images.promised import size_of_webp
from contractile.images.raster import Damaged, Raster, one_clear_line

OTHERS = {  # opened directly: `Pillow.open` refuses large pictures
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GI": GifImagePlugin.GifImageFile,
    b"RI": WebPImagePlugin.WebPImageFile,
}
Check = Callable[..., None]
ORIENTATION = 0x0112  # the EXIF tag
TRANSPARENT = "its transparency (alpha channel) is left out"
CMYK = "its CMYK colours are converted to RGB"
TURNED = "turned as its EXIF orientation says"
BEHIND = "only its first picture is read; behind it are others (a preview, a second view)"
WHITE_FIRST = "the first colour of its palette is the brightest, and number 0: background"


@dataclass(frozen=True)
class Decoded:
    """Pixels (Y, X) or (Y, X, S) as they are stored, the EXIF data, the palette (N, 3) and what there is to say."""

    pixels: NDArray[Any]
    exif: bytes = b""
    palette: NDArray[np.uint8] | None = None
    frames: int = 1
    notes: tuple[str, ...] = ()


def open_as_picture(path: Path, wanted: Wanted) -> list[Raster]:
    """`open_picture`, for the tuple of formats."""
    return [open_picture(path, wanted.labels)]


def open_picture(path: Path, indices: bool) -> Raster:
    """The raster of a picture; with `indices` (for labels) it has the numbers that the file stores.

    Raises ContractileError for a picture that is cut off or damaged, for an animation, and for other content.
    """
    with one_clear_line(path):
        check_size(path)
        data = path.read_bytes()
    if not data.startswith((b"\xff\xd8", b"\x89PNG", *OTHERS)):
        problem = "is no picture that is read here, whatever its name: no PNG, JPEG, BMP, GIF or WebP"
        raise ContractileError(problem, "convert it to PNG or TIFF with the program that made it", where=path)
    with one_clear_line(path):
        picture = _decode(data, indices, partial(check_piece, "the picture", path=path))
    if picture.frames > 1:
        problem = f"is an animation of {picture.frames} pictures"
        raise ContractileError(problem, "save its pictures as a TIFF stack", where=path)
    pixels, notes = picture.pixels, list(picture.notes)
    alpha = 1 if pixels.ndim == 3 and pixels.shape[-1] in (2, 4) else 0
    if alpha and not _is_opaque(pixels[..., -1]):
        notes.append(TRANSPARENT)
    if picture.palette is not None and _begins_with_white(picture.palette):
        notes.append(WHITE_FIRST)
    orientation = _orientation(picture.exif)
    if orientation != 1:
        pixels = turn(pixels, orientation)
        notes.append(TURNED)
    return Raster("YXS"[: pixels.ndim], pixels.shape, pixels.dtype, lambda: pixels, alpha, notes=tuple(notes))


def decode_mask(data: bytes, path: Path) -> NDArray[Any]:
    """The pixels (Y, X) of a PNG within another file. Raises ContractileError, which names that file, for others."""
    if not data.startswith(b"\x89PNG"):
        raise ContractileError("holds a mask that is no PNG", "export it again", where=path)
    with one_clear_line(path):
        pixels = _decode(data, True, partial(check_piece, "a mask", path=path)).pixels
    return pixels if pixels.ndim == 2 else pixels[..., 0]


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Pixels (Y, X, ...) the right way up; `orientation` is EXIF's, 1 to 8. Any other number changes nothing."""
    if orientation in (5, 6, 7, 8):  # rows are columns
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _decode(data: bytes, indices: bool, check: Check) -> Decoded:
    """The pixels, once `check` has seen how many rows and columns there are."""
    if data.startswith(b"\xff\xd8"):
        jpeg = scan_jpeg(data)
        check_data_of_jpeg(jpeg)
        check((jpeg.height, jpeg.width), pixel_bytes=len(jpeg.sampling) * (2 if jpeg.bits > 8 else 1))
        notes = ((CMYK,) if len(jpeg.sampling) == 4 else ()) + ((BEHIND,) if jpeg.has_more else ())
        pixels, more = _whole_or_filled(partial(decode_jpeg, jpeg), partial(fill_jpeg, jpeg))
        return Decoded(pixels, jpeg.exif, notes=notes + more)
    if data.startswith(b"\x89PNG"):
        png = scan_png(data)
        check_data_of_png(png)
        check((png.header[1], png.header[0]), pixel_bytes=png.pixel_bytes)
        palette = png.palette if indices else None
        if png.frames > 1:
            return Decoded(np.zeros((1, 1), np.uint8), png.exif, palette, png.frames)
        pixels, more = _whole_or_filled(partial(decode_png, png, indices), lambda: decode_png(fill_png(png), indices))
        return Decoded(pixels, png.exif, palette, notes=more)
    try:
        return _decode_other(data, indices, check)
    except (OSError, EOFError, SyntaxError, ValueError) as error:
        if isinstance(error, ContractileError) or not limits().missing:
            raise
        raise Damaged(f"{error}; pictures of this format cannot be filled") from error


def _decode_other(data: bytes, indices: bool, check: Check) -> Decoded:
    if data.startswith(b"RI") and (size := size_of_webp(data)):
        check(size)  # its decoder makes room for it at once
    with OTHERS[data[:2]](io.BytesIO(data)) as picture:
        check(picture.size[::-1])
        frames = getattr(picture, "n_frames", 1)
        exif = picture.info.get("exif", b"")
        if picture.mode == "P" and indices:
            palette = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
            return Decoded(np.asarray(picture), exif, palette, frames)
        return Decoded(_as_shown(picture, indices), exif, None, frames)


def _whole_or_filled(
    decode: Callable[[], NDArray[Any]], fill: Callable[[], NDArray[Any]]
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """The pixels, and what to say where some are missing: 0 is read in their place where the gate allows that."""
    try:
        return decode(), ()
    except (EOFError, Damaged) as error:
        if not limits().missing:
            raise
        return fill(), (f"{error}; 0 is read in the place of what is missing",)


def _as_shown(picture: Any, indices: bool) -> NDArray[Any]:
    """The pixels of a picture that Pillow has opened; without `indices` in the values that a viewer shows."""
    if picture.mode == "1" and not indices:
        picture = picture.convert("L")
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
    return np.asarray(picture)


def _is_opaque(alpha: NDArray[Any]) -> bool:
    return bool(alpha.min() == np.iinfo(alpha.dtype).max)


def _begins_with_white(palette: NDArray[np.uint8]) -> bool:
    """Whether a palette of greys begins with the brightest: then 0 may not be the background that people see."""
    grey = bool((palette == palette[:, :1]).all())
    return grey and len(palette) > 1 and bool(palette[0, 0] > palette[1:, 0].max())


def _orientation(exif: bytes) -> int:
    """1 to 8; 1 where the EXIF data say nothing that can be understood."""
    if not exif:
        return 1
    tags = Pillow.Exif()
    try:
        tags.load(exif)
        found = tags.get(ORIENTATION, 1)
    except (SyntaxError, OSError, ValueError, KeyError, TypeError):
        return 1
    return found if found in range(1, 9) else 1
