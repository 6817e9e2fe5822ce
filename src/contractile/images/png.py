"""PNG -> pixels. libpng decodes them and checks every block; what is wrong is found out for the message."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from contractile.images.raster import Damaged

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3  # kinds of colour
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a pixel, by the kind of colour
MOST = 1032  # times that deflate can shorten
TOO_MANY = 4  # times that data may be longer than the pixels
MOST_BLOCKS = 2**18
KEPT = (b"IHDR", b"PLTE", b"tRNS", b"eXIf")  # blocks in front of the pixels, which say what they mean
PIECE = 2**20  # bytes that are unpacked at once


class Chunk(NamedTuple):
    """`data[start:stop]` is the body of a block; its name and length lie before it, its checksum behind it."""

    name: bytes
    start: int
    stop: int


@dataclass(frozen=True)
class Png:
    """A PNG by its blocks. `header`: width, height, bits of a sample, kind of colour."""

    data: bytes
    chunks: tuple[Chunk, ...]
    header: tuple[int, int, int, int]

    def body(self, name: bytes) -> bytes:
        """Of the first block with this name; empty where there is none."""
        for found, start, stop in self.chunks:
            if found == name:
                return self.data[start:stop]
        return b""

    @property
    def frames(self) -> int:
        """The pictures of an animation."""
        body = self.body(b"acTL")
        return int.from_bytes(body[:4]) if len(body) >= 4 else 1

    @property
    def exif(self) -> bytes:
        return self.body(b"eXIf")

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """Colours (N, 3) of a picture that stores their numbers."""
        colours = self.body(b"PLTE") if self.header[3] == PALETTE else b""
        return np.frombuffer(colours[: len(colours) // 3 * 3], np.uint8).reshape(-1, 3) if colours else None

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a decoded pixel; a palette becomes colours."""
        _, _, bits, colour = self.header
        return 4 if colour == PALETTE else SAMPLES.get(colour, 1) * (2 if bits > 8 else 1)

    @property
    def expected(self) -> int:
        """Bytes of all rows, each with its filter byte; a little less than those of an interlaced picture."""
        width, height, bits, colour = self.header
        return height * (1 + (width * bits * SAMPLES.get(colour, 1) + 7) // 8)


def scan_png(data: bytes) -> Png:
    """The blocks of a PNG, up to its end or as far as they follow one another. Raises EOFError without a header."""
    chunks: list[Chunk] = []
    place = len(SIGNATURE)
    while place + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        if not name.isalpha():
            break
        chunks.append(Chunk(name, place + 8, min(place + 8 + length, len(data))))
        place += 12 + length
        if len(chunks) > MOST_BLOCKS:
            raise Damaged(f"it has more than {MOST_BLOCKS} blocks")
        if name == b"IEND":
            break
    if not chunks or chunks[0].name != b"IHDR" or chunks[0].stop - chunks[0].start < 13:
        raise EOFError("it ends within its header")
    return Png(data, tuple(chunks), struct.unpack_from(">IIBB", data, chunks[0].start))


def check_data_of_png(png: Png) -> None:
    """Raise EOFError or Damaged where there are far too few data for its pixels, or far too many."""
    stored = sum(stop - start for name, start, stop in png.chunks if name == b"IDAT")
    if stored * MOST < png.expected:
        raise EOFError(f"{stored} bytes of data cannot hold {png.header[1]} x {png.header[0]} pixels")
    if stored > TOO_MANY * png.expected + PIECE // 16:  # unpacking it could take for ever
        raise Damaged(f"its data are {stored // max(1, png.expected)} times as long as its pixels")


def decode_png(png: Png, indices: bool) -> NDArray[Any]:
    """Pixels (Y, X) or (Y, X, S), uint8 or uint16. With `indices` the numbers that are stored, as labels need them.

    Raises EOFError or Damaged where data are missing or damaged, with the share of it where that can be known.
    """
    _, _, bits, colour = png.header
    as_numbers = indices and colour in (GREY, PALETTE)
    try:
        pixels = np.asarray(imagecodecs.png_decode(_as_grey(png) if as_numbers else png.data))
    except imagecodecs.PngError as error:
        raise Damaged(_describe_damage(png, str(error))) from error
    return pixels // (255 // (2**bits - 1)) if as_numbers and bits < 8 else pixels


def _as_grey(png: Png) -> bytes:
    """The same data as a PNG whose numbers are greys, so that no palette and no transparent colour is applied."""
    header = bytearray(png.body(b"IHDR"))
    header[9] = GREY
    blocks = [png.data[start - 8 : stop + 4] for name, start, stop in png.chunks if name in (b"IDAT", b"IEND")]
    first = struct.pack(">I4s", len(header), b"IHDR") + header
    return SIGNATURE + first + struct.pack(">I", zlib.crc32(first[4:])) + b"".join(blocks)


def _describe_damage(png: Png, error: str) -> str:
    """What is wrong: the file ends too early, or a block of it was overwritten; with the share that is left."""
    last = png.chunks[-1]
    for number, (name, start, stop) in enumerate(png.chunks, start=1):
        checksum = png.data[stop : stop + 4]
        if len(checksum) == 4 and zlib.crc32(name + png.data[start:stop]) != int.from_bytes(checksum):
            block = f"block {number} ({name.decode()}, bytes {start} to {stop} of {len(png.data)})"
            return f"damaged: the checksum of {block} does not fit"
    try:
        missing = max(0.0, 1 - _unpacked_size(png) / png.expected)
    except zlib.error:
        missing = 0.0
    if not missing:
        return f"damaged ({error})"
    return f"{'cut off' if last.name != b'IEND' else 'incomplete'}: {missing:.0%} of its rows are missing"


def _unpacked_size(png: Png) -> int:
    """Bytes of the rows that are there."""
    return sum(map(len, _unpacked(png)))


def _unpacked(png: Png) -> Iterator[bytes]:
    """The rows that are there, piece by piece. Raises zlib.error where data are damaged."""
    unpack = zlib.decompressobj()
    for name, start, stop in png.chunks:
        rest = png.data[start:stop] if name == b"IDAT" else b""
        while rest:
            yield unpack.decompress(rest, PIECE)
            rest = unpack.unconsumed_tail


def fill_png(png: Png) -> Png:
    """The same picture, with rows of 0 behind those that are there.

    Raises Damaged for an interlaced picture, which has parts of all rows at its beginning.
    """
    header = bytearray(png.body(b"IHDR"))
    if header[12]:
        raise Damaged("it is interlaced, and cannot be filled where data are missing")
    there = bytearray()
    with suppress(zlib.error):
        for piece in _unpacked(png):
            there += piece
            if len(there) > png.expected:
                break
    row = png.expected // max(1, png.header[1])
    whole = min(len(there), png.expected) // row * row
    rows = bytes(there[:whole]) + bytes(png.expected - whole)
    kept = [(name, png.data[start:stop]) for name, start, stop in png.chunks if name in KEPT]
    blocks = [*kept, (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")]
    return scan_png(SIGNATURE + b"".join(_block(name, body) for name, body in blocks))


def _block(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
