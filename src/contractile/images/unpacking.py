"""Compressed bytes -> bytes, never more than are expected.

Each decoder stops at the limit: data that would give more are refused without being decoded in full.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import imagecodecs
from numcodecs import get_codec  # type: ignore[import-untyped]

from contractile.images.raster import Damaged

MEMORY = 2**28  # bytes that the decoder of LZMA may use for itself
HEADS = {"lz4": slice(0, 4), "blosc": slice(4, 8)}  # where these say how many bytes they hold
BLOSC_SIZE = slice(12, 16)  # where Blosc says how many bytes it takes itself; its decoder believes that
ENDED = "compressed data end too early"
COMPRESSORS = ("zlib", "gzip", "bz2", "lzma", "zstd", *HEADS)


class _Stream(Protocol):
    """A decoder of the standard library that takes data piece by piece."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def unpack(name: str, data: bytes, most: int, settings: Mapping[str, Any]) -> bytes:
    """The bytes that were compressed with the codec `name`, one of COMPRESSORS, with its `settings`.

    Raises Damaged where they are more than `most`, EOFError where data end too early, and what the decoders raise.
    """
    if name == "zstd":
        return _unpack_zstd(data, most)
    if name in HEADS:
        if int.from_bytes(data[HEADS[name]], "little") > most:
            raise excess(most)
        if name == "blosc" and (len(data) < 16 or int.from_bytes(data[BLOSC_SIZE], "little") > len(data)):
            raise EOFError(ENDED)
        return bytes(get_codec({"id": name}).decode(data))
    return _unpack_stream(_streams(name, settings), data, most)


def size_of_xz(data: bytes) -> int | None:
    """The bytes that the index at the end of XZ data (LZMA) promises; None where there is none."""
    back = 4 * (int.from_bytes(data[-8:-4], "little") + 1)
    index = data[-12 - back : -12]
    if not data.endswith(b"YZ") or len(index) != back or index[0]:
        return None
    numbers: list[int] = []
    place = 1
    while place < back and (not numbers or len(numbers) < 1 + 2 * numbers[0]):
        value = shift = 0
        while place < back:
            byte, place = index[place], place + 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 63:
                break
        numbers.append(value)
    return sum(numbers[2::2])


def excess(most: int) -> Damaged:
    """What is wrong with data that decode to more than `most` bytes."""
    return Damaged(f"its data decode to more than the {most} bytes that were declared")


def _unpack_zstd(data: bytes, most: int) -> bytes:
    try:
        return bytes(imagecodecs.zstd_decode(data, out=most))
    except imagecodecs.ZstdError as error:
        if "too small" in str(error):
            raise excess(most) from error
        raise


def _streams(name: str, settings: Mapping[str, Any]) -> Callable[[], _Stream]:
    if name == "bz2":
        return bz2.BZ2Decompressor
    if name == "lzma":
        kind = settings.get("format", lzma.FORMAT_XZ)
        if kind == lzma.FORMAT_RAW:
            return lambda: lzma.LZMADecompressor(kind, filters=settings.get("filters"))
        return lambda: lzma.LZMADecompressor(kind, memlimit=MEMORY)
    return lambda: zlib.decompressobj(wbits=31 if name == "gzip" else 15)


def _unpack_stream(new: Callable[[], _Stream], data: bytes, most: int) -> bytes:
    """All streams in the data, one behind the other. What lies behind them and is none does not count."""
    parts: list[bytes] = []
    left = most + 1
    while data:
        stream = new()
        try:
            part = stream.decompress(data, left)
        except (zlib.error, lzma.LZMAError, OSError):
            if parts:
                break
            raise
        if parts and not part:
            break
        left -= len(part)
        parts.append(part)
        if left <= 0:
            raise excess(most)
        if not stream.eof:
            raise EOFError(ENDED)
        data = stream.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)
