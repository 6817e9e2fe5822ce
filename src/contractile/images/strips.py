"""Whether the pixels of a TIFF are all there: tifffile reads as zeros what its tables do not list."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from contractile.errors import ContractileError
from contractile.images.jpeg import check_jpeg, scan_jpeg
from contractile.images.raster import AGAIN

FORMS = ("generic", "uniform", "shaped", "ome", "imagej")  # slide scanners leave tiles out where there is no tissue
STRIPS, TILES = 273, 324  # the tags that list where the pixels are
JPEG = (7, 33007, 34892)  # compressions
SAVE = "save it uncompressed or with zlib (deflate)"


def check_pixels(series: tifffile.TiffPageSeries, path: Path) -> tuple[str, ...]:
    """Raise ContractileError where pixels of the image are missing or cannot be decoded.

    Returns notes for the user: of tiles that the file leaves out on purpose, which are zeros.
    """
    _check_decoders(series.keyframe, path)
    if not series.keyframe.size:
        return ()  # whoever arranges its axes says that it holds no pixels
    offset = None if series.is_multifile else series.dataoffset
    if offset:
        check_end(series.keyframe, offset + series.nbytes, path)
        return ()
    pages = [*series.pages]
    planes = math.prod(series.get_shape(squeeze=False)) // series.keyframe.size
    missing = max(planes - len(pages), 0) + sum(page is None for page in pages)
    if missing:
        problem = f"{missing} of its {planes} planes are missing"
        raise ContractileError(problem, "export it again, or crop it to the planes that are there", where=path)
    if not {STRIPS, TILES} & {tag.code for tag in series.keyframe.tags}:
        return ()
    return _check_tables(series, pages, path)


def _check_decoders(page: tifffile.TiffPage, path: Path) -> None:
    if page.dtype is None:
        problem = f"its pixels (sample format {int(page.sampleformat)}, {page.bitspersample} bits) are not read"
        raise ContractileError(problem, "save it with 8 or 16 bits", where=path)
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError:
        name = getattr(page.compression, "name", "of unknown kind")
        problem = f"its compression ({name}, number {int(page.compression)}) is not read"
        raise ContractileError(problem, SAVE, where=path) from None


def check_end(page: tifffile.TiffPage, end: int, path: Path) -> None:
    """Raise ContractileError where the file of a page, which lies beside `path`, is shorter than `end` bytes."""
    file = page.parent.filehandle
    if end > file.size:
        raise ContractileError(
            f"is cut off (it has {file.size} of at least {end} bytes)", AGAIN, where=path.with_name(file.name)
        )


def _check_tables(series: tifffile.TiffPageSeries, pages: list[Any], path: Path) -> tuple[str, ...]:
    """A strip or tile that is nowhere is left out on purpose (a sparse file). One of 0 bytes somewhere is lost."""
    needed = math.prod(series.keyframe.chunked)
    lost = empty = 0
    for page in pages:
        listed = min(len(page.dataoffsets), len(page.databytecounts), needed)
        offsets, counts = (np.asarray(table[:listed], np.int64) for table in (page.dataoffsets, page.databytecounts))
        check_end(page, int((offsets + counts).max(initial=0)), path)
        empty += int(((offsets == 0) & (counts == 0)).sum())
        lost += int(((offsets == 0) ^ (counts == 0)).sum()) + needed - listed
    total = needed * len(pages)
    what = "tiles" if TILES in series.keyframe.tags else "strips"
    if (lost and series.kind in FORMS) or empty == total:
        problem = f"{(lost + empty) / total:.0%} of its pixels are missing: {lost + empty} of {total} {what}"
        raise ContractileError(problem, "copy or export it again", where=path)
    if not lost + empty:
        return ()
    share = (lost + empty) / total
    return (f"{share:.0%} of its {what} are left out in the file, and read as {series.keyframe.nodata}",)


def watch_jpeg(series: tifffile.TiffPageSeries) -> None:
    """Let the decoder of JPEG raise Damaged where data are missing: it fills the hole with grey, without a word."""
    if series.keyframe.compression in JPEG:
        for page in {id(page.keyframe): page.keyframe for page in series.pages}.values():
            page.decode = partial(_decode_watched, page.decode)


def _decode_watched(decode: Any, data: bytes | None, index: int, **more: Any) -> Any:
    """What tifffile's decoder gives: the pixels (1, Y, X, S) of a strip or tile, its place and its shape."""
    decoded = decode(data, index, **more)
    if data is not None and "jpegheader" not in more:
        tables = more.get("jpegtables")
        jpeg = scan_jpeg(data if tables is None else tables[:-2] + data[2:])  # their end, its beginning
        pixels = decoded[0][0]
        check_jpeg(jpeg, pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    return decoded
