"""The parts of a JPEG by their markers. What lies behind the end marker (a second picture) is no part of it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from contractile.images.raster import Damaged

SOS, EOI, DRI, APP1, APP2 = 0xDA, 0xD9, 0xDD, 0xE1, 0xE2
SIZES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # the markers of a frame header
ALONE = {0x01, 0xD8, *range(0xD0, 0xD8)}  # markers without a length
BETWEEN = {0xC4, 0xDB, 0xDC, DRI, SOS, EOI, *range(0xE0, 0xF0), 0xFE}  # what may follow a scan
MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
MARKER_IN_SCAN = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
MOST_SCANS = 256


@dataclass(frozen=True)
class Scan:
    """Compressed data: `data[start:stop]`, in pieces of `restart` units (0: in one piece).

    `band` is the first frequency in it: above 0 in most scans of a progressive JPEG.
    """

    start: int
    stop: int
    restart: int
    band: int


@dataclass(frozen=True)
class Jpeg:
    """A JPEG file by its markers. `size_at` is where its height and width are, `sampling` how its channels are sampled.

    `stop` is behind the end marker; None where the file has none, or holds something else before it.
    """

    data: bytes
    kind: int = 0
    bits: int = 0
    size_at: int = 0
    sampling: tuple[tuple[int, int], ...] = ()
    scans: tuple[Scan, ...] = ()
    exif: bytes = b""
    pictures: bool = False
    stop: int | None = None

    @property
    def height(self) -> int:
        return int.from_bytes(self.data[self.size_at : self.size_at + 2])

    @property
    def width(self) -> int:
        return int.from_bytes(self.data[self.size_at + 2 : self.size_at + 4])

    @property
    def unit(self) -> tuple[int, int]:
        """Rows and columns of pixels that are compressed together."""
        if len(self.sampling) == 1:
            return 8, 8
        return 8 * max(down for _, down in self.sampling), 8 * max(across for across, _ in self.sampling)

    @property
    def units(self) -> int:
        return math.ceil(self.height / self.unit[0]) * math.ceil(self.width / self.unit[1])

    @property
    def ended(self) -> bytes:
        """The data, with an end marker."""
        return self.data[: self.scans[-1].stop] + b"\xff\xd9" if self.stop is None else self.data

    @property
    def has_more(self) -> bool:
        """Whether another picture lies behind the first one."""
        return self.pictures and self.stop is not None and b"\xff\xd8\xff" in self.data[self.stop :]

    @property
    def is_plain(self) -> bool:
        """One scan of Huffman codes with 8 bits, the usual kind."""
        return self.kind in (0xC0, 0xC1) and self.bits == 8 and len(self.scans) == 1


def scan_jpeg(data: bytes) -> Jpeg:
    """The parts of a JPEG. Raises EOFError where it ends before its pixels begin."""
    jpeg, place, restart = Jpeg(data), 2, 0
    while found := (MARKER_IN_SCAN if jpeg.scans else MARKER).search(data, place):
        marker, place = found.group(1)[0], found.end()
        if jpeg.scans and marker not in BETWEEN:
            break
        if marker == EOI:
            jpeg = replace(jpeg, stop=place)
            break
        if marker in ALONE:
            continue
        body, place = place + 2, place + int.from_bytes(data[place : place + 2])
        if place > len(data):
            break
        if marker == DRI:
            restart = int.from_bytes(data[body : body + 2])
        elif marker == SOS:
            following = MARKER_IN_SCAN.search(data, place)
            scan = Scan(place, following.start() if following else len(data), restart, data[place - 3])
            jpeg, place = replace(jpeg, scans=(*jpeg.scans, scan)), scan.stop
            if len(jpeg.scans) > MOST_SCANS:
                raise Damaged(f"it has more than {MOST_SCANS} scans, each of which is decoded")
        else:
            jpeg = _with_segment(jpeg, marker, body, place)
    if not jpeg.sampling or not jpeg.scans:
        raise EOFError("it ends before its pixels begin")
    return jpeg


def _with_segment(jpeg: Jpeg, marker: int, start: int, stop: int) -> Jpeg:
    body = jpeg.data[start:stop]
    if marker in SIZES and len(body) > 5:
        sampling = tuple((pair >> 4, pair & 15) for pair in body[7::3])
        return replace(jpeg, kind=marker, bits=body[0], size_at=start + 1, sampling=sampling)
    if marker == APP1 and body.startswith(b"Exif\0\0") and not jpeg.exif:
        return replace(jpeg, exif=body)
    if marker == APP2 and body.startswith(b"MPF\0"):
        return replace(jpeg, pictures=True)
    return jpeg
