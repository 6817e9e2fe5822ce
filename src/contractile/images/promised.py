"""The size that a compressed picture promises in its first bytes, so that none is decoded which is too large.

Such pictures lie in the strips and tiles of TIFFs. Each function gives rows and columns; None where the data say
nothing that is understood, and then no decoder should see them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

Size = tuple[int, int] | None  # rows, columns

RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}  # of JPEG XL: width to height
BITS = (9, 13, 18, 30)  # of a side in JPEG XL
JXR_WIDTH, JXR_HEIGHT = 0xBC80, 0xBC81  # tags of the container of JPEG XR
MOST_TAGS = 64
FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of JPEG, before the size
ALONE = {0x01, *range(0xD0, 0xD9)}  # those without a length


def size_of_webp(data: bytes) -> Size:
    kind, body = data[12:16], data[20:30]
    if not data.startswith(b"RIFF") or len(body) < 10:
        return None
    if kind == b"VP8X":
        return int.from_bytes(body[7:10], "little") + 1, int.from_bytes(body[4:7], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack("<HH", body[6:10])
        return height & 0x3FFF, width & 0x3FFF
    return None


def size_of_png(data: bytes) -> Size:
    if not data.startswith(b"\x89PNG") or len(data) < 24:
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def size_of_jpeg(data: bytes) -> Size:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return height, width
        if marker == 0xFF or marker in ALONE:
            place += 1 if marker == 0xFF else 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4])
    return None


def size_of_jpeg2000(data: bytes) -> Size:
    """Of the first codestream, with all of its components as columns more."""
    place = data.find(b"\xff\x4f\xff\x51")
    if place < 0 or len(data) < place + 42:
        return None
    width, height, left, top = struct.unpack_from(">4I", data, place + 8)
    parts = int.from_bytes(data[place + 40 : place + 42])
    return max(0, height - top), max(0, width - left) * max(1, -(-parts // 8))


def size_of_jpegxl(data: bytes) -> Size:
    for box, skip in ((b"jxlc", 4), (b"jxlp", 8)):
        if data.startswith(b"\0\0\0\x0cJXL ") and (place := data.find(box)) >= 0:
            data = data[place + skip :]
            break
    if not data.startswith(b"\xff\x0a"):
        return None
    bits = int.from_bytes(data[2:18], "little")

    def take(count: int) -> int:
        nonlocal bits
        found = bits & ((1 << count) - 1)
        bits >>= count
        return found

    small = take(1)
    height = 8 * (take(5) + 1) if small else take(BITS[take(2)]) + 1
    ratio = take(3)
    if ratio:
        return height, height * RATIOS[ratio][0] // RATIOS[ratio][1]
    return height, 8 * (take(5) + 1) if small else take(BITS[take(2)]) + 1


def size_of_jpegxr(data: bytes) -> Size:
    if not data.startswith(b"II\xbc") or len(data) < 8:
        return None
    place = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[place : place + 2], "little")
    tags = {}
    for start in range(place + 2, place + 2 + 12 * min(count, MOST_TAGS), 12):
        if len(data) >= start + 12:
            tag, kind, _, value = struct.unpack_from("<HHII", data, start)
            tags[tag] = value & 0xFFFF if kind == 3 else value
    return (tags[JXR_HEIGHT], tags[JXR_WIDTH]) if {JXR_HEIGHT, JXR_WIDTH} <= tags.keys() else None


def size_of_lerc(data: bytes) -> Size:
    """Of the first of its bands."""
    if not data.startswith(b"Lerc2 ") or len(data) < 26:
        return None
    version = int.from_bytes(data[6:10], "little")
    rows, columns, deep = struct.unpack_from("<3I", data, 14 if version >= 3 else 10)
    return rows, columns * (deep if version >= 4 else 1)


SIZES: dict[int, Callable[[bytes], Size]] = {  # by TIFF's number of the compression
    6: size_of_jpeg,
    **dict.fromkeys((33003, 33004, 33005, 34712), size_of_jpeg2000),
    **dict.fromkeys((50001, 34927), size_of_webp),
    **dict.fromkeys((50002, 52546), size_of_jpegxl),
    **dict.fromkeys((34934, 22610), size_of_jpegxr),
    34933: size_of_png,
    34887: size_of_lerc,
}
