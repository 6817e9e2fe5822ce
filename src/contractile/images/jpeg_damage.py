"""Whether all pixels of a JPEG are in its data: decoders fill what is missing with grey and do not say so."""

from __future__ import annotations

import io
import math
import re
import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import JpegImagePlugin

from contractile.images.jpeg_markers import Jpeg
from contractile.images.raster import Damaged

RESTART = re.compile(rb"\xff([\xd0-\xd7])")
NO_CODE = b"\xff\x00" * 8  # bits that no symbol begins with
SPARE = 32  # bytes that an encoder may leave behind its last pixel
WINDOW, STEP = 128, 4  # bytes; 32 of so many bytes, one in four, are never all below 128, nor all above
FLAT = 128  # the grey of pixels without data
MOST_RESTARTS = 4096  # that are looked at one by one
WIDEST = 65500  # pixels of a row in a JPEG
ARITHMETIC = 0xC9  # the first kind that is not coded with whole bits


def check_data_of_jpeg(jpeg: Jpeg) -> None:
    """Raise EOFError where there are far too few data for its pixels."""
    data = sum(scan.stop - scan.start for scan in jpeg.scans)
    if jpeg.kind < ARITHMETIC and 8 * data < jpeg.units:  # a unit takes at least one bit
        raise EOFError(f"{data} bytes of data cannot hold {jpeg.height} x {jpeg.width} pixels")


def check_jpeg(jpeg: Jpeg, pixels: NDArray[Any]) -> None:
    """Raise Damaged where the decoded `pixels`, (Y, X) or (Y, X, 3), are not all in the data."""
    data, strange = sum(scan.stop - scan.start for scan in jpeg.scans), _strange_bytes(jpeg)
    if strange and strange > 2 * _flat_blocks(pixels):
        raise Damaged(f"at least {max(0.01, strange / data):.0%} of its data are overwritten")
    if (strange or not _looks_whole(jpeg, pixels)) and not _is_whole(jpeg):
        raise Damaged(_describe_damage(pixels))


def check_restarts(jpeg: Jpeg) -> None:
    """Raise EOFError where a piece of a scan is missing: they are numbered."""
    scan = jpeg.scans[0]
    if not jpeg.is_plain or not scan.restart:
        return
    numbers = [mark[0] & 7 for mark in RESTART.findall(jpeg.data, scan.start, scan.stop)]
    expected = math.ceil(jpeg.units / scan.restart) - 1
    if len(numbers) == expected + 1:
        del numbers[-1]  # some cameras write one too many
    if numbers != [number % 8 for number in range(expected)]:
        share = 1 - (len(numbers) + 1) / (expected + 1)
        what = f"{share:.0%} of its data are missing" if share > 0 else "its data are damaged"
        raise EOFError(f"{what}: {len(numbers) + 1} of {expected + 1} pieces")


def _looks_whole(jpeg: Jpeg, pixels: NDArray[Any]) -> bool:
    """Whether nothing speaks of damage. What does may be chance, and `_is_whole` finds out.

    Pixels without data are grey: a cut leaves them at the end of some row of blocks, or in the last corner.
    """
    if jpeg.stop is None or not jpeg.is_plain or len(jpeg.sampling) == 4:
        return False
    flat = (pixels[:, -2:] == FLAT).reshape(len(pixels), -1).all(axis=1)
    blocks = flat[: len(flat) // 8 * 8].reshape(-1, 8)[:, 2:6]  # the colours of a block's other rows may be mixed
    return not (flat[-1] or blocks.all(axis=1).any())


def _strange_bytes(jpeg: Jpeg) -> int:
    """So many bytes are hardly compressed data: what is written over it (zeros, ones, text) has bytes of one half only.

    Where the pixels are flat, so are the data; therefore such a scan of flat brightness does not count.
    """
    windows = 0
    for scan in jpeg.scans:
        if scan.band or jpeg.is_plain:
            data = np.frombuffer(jpeg.data, np.uint8, (scan.stop - scan.start) // WINDOW * WINDOW, scan.start)
            high = np.packbits(data[::STEP] >= 128).view(np.uint32)  # a bit for each of 32 bytes of a window
            windows += int(((high == 0) | (high == 2**32 - 1)).sum())
    return windows * WINDOW


def _flat_blocks(pixels: NDArray[Any]) -> int:
    """Blocks of 8 x 8 pixels of one colour. Each takes at most some 2 bytes."""
    height, width = pixels.shape[0] // 8, pixels.shape[1] // 8
    blocks = pixels[: 8 * height, : 8 * width].reshape(height, 8, width, -1)
    colours = 1 if pixels.ndim == 2 else pixels.shape[2]
    blocks = blocks.reshape(height, 8, width, 8, colours)
    return int((blocks == blocks[:, :1, :, :1]).all(axis=(1, 3, 4)).sum())


def _is_whole(jpeg: Jpeg) -> bool:
    """Whether the data end where the pixels do; True where that cannot be found out."""
    if not jpeg.is_plain:
        return _can_be_coded_again(jpeg)
    [scan] = jpeg.scans
    head, data = jpeg.data[: scan.start], jpeg.data[scan.start : scan.stop]
    if not scan.restart:
        return _is_spent(head, data)
    count = math.ceil(jpeg.units / scan.restart)
    if count > MOST_RESTARTS or scan.restart * jpeg.unit[1] > WIDEST:
        return True
    pieces = RESTART.split(data)[: 2 * count : 2]  # numbers lie between the pieces
    sizes = [scan.restart] * (count - 1) + [jpeg.units - scan.restart * (count - 1)]
    return all(_is_spent(_head_of_piece(jpeg, size), piece) for size, piece in zip(sizes, pieces, strict=True))


def _head_of_piece(jpeg: Jpeg, units: int) -> bytes:
    """The header of a JPEG that is one row of so many units, without restarts."""
    down, across = jpeg.unit
    head = bytearray(jpeg.data[: jpeg.scans[0].start])
    head[jpeg.size_at : jpeg.size_at + 4] = down.to_bytes(2) + (units * across).to_bytes(2)
    place = head.rfind(b"\xff\xdd\0\4")
    head[place + 4 : place + 6] = b"\0\0"
    return bytes(head)


class _Watched(io.BytesIO):
    """A stream that is read up to `edge` first, so that `tell` shows whether a reader wanted more."""

    edge = 0

    def read(self, size: int | None = -1, /) -> bytes:
        left = self.edge - self.tell()
        return super().read(left if left > 0 and (size is None or size < 0 or size > left) else size)


def _is_spent(head: bytes, data: bytes) -> bool:
    """Whether a decoder needs all of the data, and no more, for its last pixel.

    Without an end marker Pillow's decoder asks for more data until it has all pixels, and stops asking then.
    """
    stream = _Watched(head + data + NO_CODE)
    stream.edge = max(len(head), len(head) + len(data) - SPARE)
    try:
        JpegImagePlugin.JpegImageFile(stream).load()
    except OSError:
        return False
    except (SyntaxError, ValueError, LookupError, struct.error):  # a header that this decoder does not understand
        return True
    return stream.tell() > stream.edge


def _can_be_coded_again(jpeg: Jpeg) -> bool:
    """JPEG XL keeps the very bits of a JPEG, of up to 8 bits in one or three channels, and refuses one with gaps."""
    known = jpeg.kind in (0xC0, 0xC1, 0xC2) and jpeg.bits == 8 and len(jpeg.sampling) in (1, 3)
    if not known or not imagecodecs.JPEGXL.available:
        return jpeg.stop is not None
    try:
        imagecodecs.jpegxl_encode_jpeg(jpeg.ended)
    except imagecodecs.JpegxlError:
        return False
    return True


def _describe_damage(pixels: NDArray[Any]) -> str:
    flat = (pixels == FLAT).reshape(len(pixels), -1).all(axis=1)
    rows = int(np.argmin(flat[::-1])) if not flat.all() else len(flat)
    if rows:
        return f"its data end too early: about {rows / len(flat):.0%} of its rows are missing"
    return "its data are damaged: they do not end where its pixels do"
