"""Texts of HDF5 lie in heaps: lists of pieces, each of which says where the next one begins.

The library for HDF5 follows such a list without end where a piece has no length, and nothing stops it. So heaps are
looked at before it opens a file. It reads them for texts of any length, such as the axistags of vigra.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from contractile.images.raster import Damaged

MARK = b"GCOL\x01"
HEAD, PIECE = struct.Struct("<8xQ"), struct.Struct("<H6xQ")  # size of the heap; number and size of a piece
SEEN = 2**26  # bytes from each end of the file that are looked at: heaps lie before or behind the pixels


def check_heaps(path: Path) -> None:
    """Raise Damaged for a heap whose pieces do not follow one another up to its end."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for start, end in ((0, min(size, SEEN)), (max(SEEN, size - SEEN), size)):
            place = data.find(MARK, start, end)
            while place >= 0:
                _check(data, place, size)
                place = data.find(MARK, place + len(MARK), end)


def _check(data: mmap.mmap, start: int, size: int) -> None:
    if start + HEAD.size > size:
        raise EOFError("the file ends within a heap of texts")
    (length,) = HEAD.unpack_from(data, start)
    end, place = start + length, start + HEAD.size
    if end > size:
        raise EOFError("the file ends within a heap of texts")
    while place + PIECE.size <= end:
        number, piece = PIECE.unpack_from(data, place)
        step = PIECE.size + (piece + 7) // 8 * 8 if number else piece  # number 0 is what is free, with its head
        if step < PIECE.size or place + step > end:
            raise Damaged("a heap of texts whose pieces do not fit")
        place += step
