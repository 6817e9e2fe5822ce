"""Whether the pixels of a TIFF are all there: tifffile reads as zeros what its tables do not list."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import partial
from lzma import FORMAT_AUTO
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.gate import check_chunks, check_piece, limits
from contractile.images.jpeg_damage import check_jpeg
from contractile.images.jpeg_markers import scan_jpeg
from contractile.images.promised import SIZES, Size, size_of_jpeg
from contractile.images.raster import AGAIN, FILL, Damaged
from contractile.images.unpacking import size_of_xz, unpack

logger = logging.getLogger(__name__)

FORMS = ("generic", "uniform", "shaped", "ome", "imagej")  # slide scanners leave tiles out where there is no tissue
TILES, JPEG_PLACE = 324, 513  # tags that list where the pixels are; without them strips are
JPEG, LZMA = (7, 33007, 34892), 34925  # compressions
LARGER, SPARE = 2, 2**16  # times, and pixels, by which a picture may be larger than the strip that it is in
SAVE = "save it uncompressed or with zlib (deflate)"


def check_pixels(series: tifffile.TiffPageSeries, path: Path) -> tuple[str, ...]:
    """Raise ContractileError where pixels of the image are missing or cannot be decoded, or a strip is too large.

    Returns notes for the user: of tiles that the file leaves out on purpose, which are zeros. What else is missing is
    read as zeros, too, and noted, where the gate allows it.
    """
    page = series.keyframe
    _check_decoders(page, path)
    if not page.size:
        return ()  # whoever arranges its axes says that it holds no pixels
    offset = None if series.is_multifile else series.dataoffset
    if offset:
        return say_cut(page, offset, series.nbytes, path)
    _check_pieces(page, path)
    pages = [*series.pages]
    planes = math.prod(series.shape) // page.size
    missing = max(planes - len(pages), 0) + sum(one is None for one in pages)
    problem = f"{missing} of its {planes} planes are missing ({missing / planes:.0%} of it)"
    if missing and not limits().missing:
        cure = f"export it again, or crop it to the planes that are there; {FILL}"
        raise ContractileError(problem, cure, where=path)
    notes = (f"{problem}; 0 is read in their place",) if missing else ()
    if JPEG_PLACE in page.tags:
        return notes
    return (*notes, *_check_tables(series, [one for one in pages if one is not None], path))


def say_cut(page: tifffile.TiffPage, offset: int, size: int, path: Path) -> tuple[str, ...]:
    """What to say where the file of a page ends before `offset` + `size` bytes: `Cut` reads such a file.

    Raises ContractileError where the gate does not allow that.
    """
    file = page.parent.filehandle
    if offset + size <= file.size:
        return ()
    if not limits().missing:
        check_end(page, offset + size, path)
    share = 1 - max(0, file.size - offset) / size
    return (f"is cut off: {share:.0%} of its pixels are missing; 0 is read in their place",)


def _check_pieces(page: tifffile.TiffPage, path: Path) -> None:
    """Raise ContractileError for a strip or tile of too many pixels, and for too many of them."""
    sides = _sides(page) if page.tiledepth == 1 or not page.is_tiled else (page.tiledepth, *_sides(page))
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    what = "tile" if page.is_tiled else "strip"
    check_piece(f"a {what} of it", sides, path, pixel_bytes=samples * page.dtype.itemsize)
    check_chunks(f"{what}s", math.prod(page.chunked), path)


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


def check_end(page: tifffile.TiffPage, end: int, path: Path, cure: str = f"{AGAIN}; {FILL}") -> None:
    """Raise ContractileError where the file of a page, which lies beside `path`, is shorter than `end` bytes."""
    file = page.parent.filehandle
    if end > file.size:
        problem = f"is cut off (it has {file.size} of at least {end} bytes)"
        raise ContractileError(problem, cure, where=path.with_name(file.name))


def _check_tables(series: tifffile.TiffPageSeries, pages: list[Any], path: Path) -> tuple[str, ...]:
    """A strip or tile that is nowhere is left out on purpose (a sparse file). One of 0 bytes somewhere is lost."""
    needed = math.prod(series.keyframe.chunked)
    lost = empty = 0
    for page in pages:
        listed = min(len(page.dataoffsets), len(page.databytecounts), needed)
        offsets, counts = (np.asarray(table[:listed], np.int64) for table in (page.dataoffsets, page.databytecounts))
        ends = offsets + counts
        if limits().missing:
            beyond = (ends > page.parent.filehandle.size) & (counts > 0)
            _leave_out(page, offsets, counts, beyond)
        else:
            check_end(page, int(ends.max(initial=0)), path)
        empty += int(((offsets == 0) & (counts == 0)).sum())
        lost += int(((offsets == 0) ^ (counts == 0)).sum()) + needed - listed
    total = needed * len(pages)
    what = "tiles" if TILES in series.keyframe.tags else "strips"
    share = (lost + empty) / total if total else 0
    if (lost and series.kind in FORMS) or share == 1:
        problem = f"{share:.0%} of its pixels are missing: {lost + empty} of {total} {what}"
        if not limits().missing or share == 1:
            cure = "copy or export it again"
            raise ContractileError(problem, cure if share == 1 else f"{cure}; {FILL}", where=path)
        return (f"{problem}; {series.keyframe.nodata} is read in their place",)
    return (
        (f"{share:.0%} of its {what} are left out in the file, and read as {series.keyframe.nodata}",) if share else ()
    )


def _leave_out(page: Any, offsets: NDArray[np.int64], counts: NDArray[np.int64], beyond: NDArray[np.bool_]) -> None:
    """Take the strips `beyond` the end of the file out of the tables of a page; they count as lost."""
    if beyond.any():
        counts[beyond] = 0
        page.dataoffsets, page.databytecounts = tuple(offsets.tolist()), tuple(counts.tolist())


def watch_decoders(series: tifffile.TiffPageSeries) -> None:
    """Let decoders raise Damaged where they would go on.

    These are pictures in a strip that are larger than the strip, a JPEG with a hole, which is filled with grey, and
    LZMA that gives more than was asked for.
    """
    compression = int(series.keyframe.compression)
    if compression in JPEG:
        watch: Any = _decode_jpeg
    elif compression in SIZES:
        watch = partial(_decode_picture, SIZES[compression])
    elif compression == LZMA:
        watch = _decode_lzma
    else:
        return  # these stop at the size of the strip, and say so
    for page in {id(page.keyframe): page.keyframe for page in series.pages if page is not None}.values():
        page.decode = partial(watch, page.decode, page)


def _decode_picture(
    measure: Callable[[bytes], Size], decode: Any, page: tifffile.TiffPage, data: bytes | None, index: int, **more: Any
) -> Any:
    if data is not None:
        _check_size(measure(data), page)
    return decode(data, index, **more)


def _decode_lzma(decode: Any, page: tifffile.TiffPage, data: bytes | None, index: int, **more: Any) -> Any:
    most = _bytes_of(page)
    if data is not None and ((size := size_of_xz(data)) is None or size > most):
        unpack("lzma", data, most, {"format": FORMAT_AUTO})
    return decode(data, index, **more)


def _decode_jpeg(decode: Any, page: tifffile.TiffPage, data: bytes | None, index: int, **more: Any) -> Any:
    """What tifffile's decoder gives: the pixels (1, Y, X, S) of a strip or tile, its place and its shape."""
    if data is None or "jpegheader" in more:
        if data is not None:
            _check_size(size_of_jpeg(more["jpegheader"] or data), page)
        return decode(data, index, **more)
    tables = more.get("jpegtables")
    jpeg = scan_jpeg(data if tables is None else tables[:-2] + data[2:])  # their end, its beginning
    _check_size((jpeg.height, jpeg.width), page)
    decoded = decode(data, index, **more)
    pixels = decoded[0][0]
    try:
        check_jpeg(jpeg, pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    except Damaged as error:
        if not limits().missing:
            raise
        logger.warning("%s: strip or tile %d: %s", page.parent.filehandle.name, index, error)
    return decoded


def _check_size(size: Size, page: tifffile.TiffPage) -> None:
    """Raise Damaged for a picture in a strip or tile that has more pixels than that, or does not say how many."""
    rows, columns = _sides(page)
    if size is None:
        raise Damaged("a strip or tile of it does not say how many pixels it has")
    if math.prod(size) > LARGER * rows * columns + SPARE:
        problem = f"a strip or tile of {rows} x {columns} pixels holds a picture of {size[0]} x {size[1]}"
        raise Damaged(problem)


def _sides(page: tifffile.TiffPage) -> tuple[int, ...]:
    """Rows and columns of a strip or tile."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _bytes_of(page: tifffile.TiffPage) -> int:
    """Bytes of a whole strip or tile."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    deep = page.tiledepth if page.is_tiled else 1
    return int(math.prod(_sides(page)) * deep * samples * page.dtype.itemsize)
