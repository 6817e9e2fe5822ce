"""The segments of a CZI file: its directory of blocks, its metadata, and the pixels of one block.

The layout is that of Zeiss's ZISRAW files: segments of a 32-byte head (name, bytes allocated, bytes used) and a body.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.gate import check_chunks, check_metadata, check_piece
from contractile.images.promised import size_of_jpeg, size_of_jpegxr
from contractile.images.raster import Damaged
from contractile.images.unpacking import unpack

HEAD = struct.Struct("<16sqq")  # of a segment
FILE = struct.Struct("<2i8x16s16siqqiq")  # version, GUIDs, part, places of directory and metadata, ...
ENTRY = struct.Struct("<2siqiiB5xi")  # schema, pixel type, place, part, compression, pyramid, dimensions
DIMENSION = struct.Struct("<4siifi")  # letter, start, length, coordinate, stored length
BLOCK = struct.Struct("<iiq")  # bytes of the metadata, of attachments, of pixels
SPARE = 124  # bytes behind the count of a directory
FIXED = 256  # bytes of a block before its metadata, at least
XML = 256  # bytes of a metadata segment before its text
MOST_DIMENSIONS = 32
PIXELS = {  # type of the numbers, samples of a pixel
    0: ("<u1", 1),
    1: ("<u2", 1),
    2: ("<f4", 1),
    3: ("<u1", 3),
    4: ("<u2", 3),
    8: ("<f4", 3),
    9: ("<u1", 4),
    12: ("<i4", 1),
}
PLAIN, JPEG, LZW, JPEG_XR, ZSTD, ZSTD_1 = 0, 1, 2, 4, 5, 6  # compressions
PACKED = 1  # the flag of bytes that are stored apart, all low ones first


@dataclass(frozen=True)
class Block:
    """One rectangle of pixels: where it lies along each dimension, and where its pixels are in the file.

    `starts` and `sizes` have a number for each letter. `stored` are rows and columns as they are stored: fewer than
    the rectangle has, in a lower resolution.
    """

    place: int
    pixels: int
    compression: int
    starts: dict[str, int]
    sizes: dict[str, int]
    stored: tuple[int, int]

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(PIXELS[self.pixels][0])

    @property
    def samples(self) -> int:
        return PIXELS[self.pixels][1]

    @property
    def factor(self) -> int:
        """How many pixels of the full resolution one stored pixel stands for, along Y and X."""
        rows, columns = self.stored
        return max(1, round(math.sqrt(self.sizes["Y"] * self.sizes["X"] / (rows * columns))))


def read_directory(file: BinaryIO, path: Path) -> tuple[list[Block], str]:
    """All blocks of a file, and its metadata, an XML.

    Raises Damaged where the file is cut off or contradicts itself, ContractileError for what is not read.
    """
    size = path.stat().st_size
    _, _, _, _, part, directory, metadata, _, _ = FILE.unpack(_read(file, HEAD.size, FILE.size))
    _enter(file, directory, b"ZISRAWDIRECTORY", size)
    place = directory + HEAD.size
    (count,) = struct.unpack("<i", _read(file, place, 4))
    check_chunks("blocks", count, path)
    place += 4 + SPARE
    blocks = []
    for _ in range(count):
        block, length, in_part = _entry(file, place, path)
        place += length
        part = max(part, in_part)
        blocks.append(block)
    if part:
        problem = "is one of several files that hold an image together"
        raise ContractileError(problem, "save it as one file in ZEN, or as OME-TIFF", where=path)
    if not blocks:
        raise Damaged("no pixels in it")
    cut = sum(not 0 < block.place < size - HEAD.size for block in blocks)
    if cut:
        raise Damaged(f"{cut} of its {len(blocks)} blocks lie beyond its end")
    return blocks, _metadata(file, metadata, path)


def _enter(file: BinaryIO, place: int, name: bytes, size: int) -> None:
    """Check that a segment of this name begins at a place."""
    if not 0 < place <= size - HEAD.size:
        raise Damaged(f"its {name.decode()} lies beyond its end")
    found, _, _ = HEAD.unpack(_read(file, place, HEAD.size))
    if found.rstrip(b"\0") != name:
        raise Damaged(f"no {name.decode()} where it should be")


def _read(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    data = file.read(count)
    if len(data) < count:
        raise EOFError("the file ends too early")
    return data


def _entry(file: BinaryIO, place: int, path: Path) -> tuple[Block, int, int]:
    """A block, the bytes of its entry, and the number of the file that it lies in."""
    schema, pixels, where, part, compression, _, count = ENTRY.unpack(_read(file, place, ENTRY.size))
    if schema != b"DV" or not 0 < count <= MOST_DIMENSIONS:
        raise Damaged("an entry of its directory is none")
    if pixels not in PIXELS:
        problem = f"has pixels of a kind that is not read (number {pixels}: complex ones or doubles)"
        raise ContractileError(problem, "export it as OME-TIFF", where=path)
    data = _read(file, place + ENTRY.size, count * DIMENSION.size)
    starts, sizes, stored = {}, {}, {}
    for letter, start, size, _, kept in DIMENSION.iter_unpack(data):
        name = letter.rstrip(b"\0").decode("ascii", "replace")
        starts[name], sizes[name], stored[name] = start, size, kept or size
        if not (size > 0 and stored[name] > 0):
            raise Damaged(f"a block has the length {size} along {name!r}")
    if not {"X", "Y"} <= sizes.keys():
        raise Damaged("a block has no rows or no columns")
    shape = stored["Y"], stored["X"]
    check_piece("a block", shape, path, pixel_bytes=np.dtype(PIXELS[pixels][0]).itemsize * PIXELS[pixels][1])
    return Block(where, pixels, compression, starts, sizes, shape), ENTRY.size + len(data), part


def _metadata(file: BinaryIO, place: int, path: Path) -> str:
    if not place:
        return ""
    _enter(file, place, b"ZISRAWMETADATA", path.stat().st_size)
    (size,) = struct.unpack("<i", _read(file, place + HEAD.size, 4))
    check_metadata(size, path)
    return _read(file, place + HEAD.size + XML, max(0, size)).decode("utf-8", "replace")


def read_block(file: BinaryIO, block: Block, path: Path) -> NDArray[Any]:
    """The stored pixels (rows, columns, samples) of a block, colours in the order red, green, blue.

    Raises Damaged, EOFError, and what the decoders raise; ContractileError for a compression that is not read.
    """
    name, _, _ = HEAD.unpack(_read(file, block.place, HEAD.size))
    if name.rstrip(b"\0") != b"ZISRAWSUBBLOCK":
        raise Damaged("no block where its directory says one")
    place = block.place + HEAD.size
    metadata, _, size = BLOCK.unpack(_read(file, place, BLOCK.size))
    (dimensions,) = struct.unpack("<i", _read(file, place + BLOCK.size + ENTRY.size - 4, 4))
    fixed = max(FIXED, BLOCK.size + ENTRY.size + max(0, dimensions) * DIMENSION.size)
    expected = math.prod(block.stored) * block.samples * block.dtype.itemsize
    place += fixed + max(0, metadata)
    if not 0 <= size <= path.stat().st_size - place:
        raise EOFError("the file ends within its pixels")
    data = _read(file, place, size if block.compression != PLAIN else min(size, expected))
    pixels = _decode(data, block, expected, path)
    shape = (*block.stored, block.samples)
    if pixels.size != math.prod(shape):
        raise Damaged(f"a block holds {pixels.size} numbers where {math.prod(shape)} were declared")
    pixels = pixels.reshape(shape)
    if block.samples > 1 and block.compression != JPEG_XR:  # blue comes first
        pixels = pixels[..., [2, 1, 0, *range(3, block.samples)]]
    return pixels


def _decode(data: bytes, block: Block, expected: int, path: Path) -> NDArray[Any]:
    kind = block.compression
    if kind in (JPEG, JPEG_XR):
        return _decode_picture(data, block)
    if kind == PLAIN:
        found = data
    elif kind == LZW:
        found = bytes(imagecodecs.lzw_decode(data, out=expected))
    elif kind == ZSTD:
        found = unpack("zstd", data, expected, {})
    elif kind == ZSTD_1:
        found = _unpack_zstd_1(data, expected)
    else:
        problem = f"its pixels are compressed in a way that is not read (number {kind})"
        raise ContractileError(problem, "export it as OME-TIFF", where=path)
    if len(found) < expected:
        raise EOFError("the file ends within its pixels")
    return np.frombuffer(found[:expected], block.dtype)


def _decode_picture(data: bytes, block: Block) -> NDArray[Any]:
    """Pixels that are a JPEG or a JPEG XR, whose own size must be that of the block."""
    size = (size_of_jpeg if block.compression == JPEG else size_of_jpegxr)(data)
    if size != block.stored:
        raise Damaged(f"a block is a picture of {size} pixels, where {block.stored} were declared")
    decode = imagecodecs.jpeg8_decode if block.compression == JPEG else imagecodecs.jpegxr_decode
    found: NDArray[Any] = np.asarray(decode(data))
    if found.dtype != block.dtype:
        raise Damaged(f"a block holds {found.dtype}, where {block.dtype} was declared")
    return found


def _unpack_zstd_1(data: bytes, expected: int) -> bytes:
    """Zstandard behind a short head, which says whether low and high bytes of 16-bit numbers are stored apart."""
    length = data[0] if data else 0
    if length not in (1, 3) or len(data) < length:
        raise Damaged("a block begins with an unknown head")
    apart = length == 3 and data[1] == 1 and data[2] & PACKED
    found = unpack("zstd", data[length:], expected, {})
    if not apart:
        return found
    halves = np.frombuffer(found[: len(found) // 2 * 2], np.uint8).reshape(2, -1)
    return halves.T.tobytes()
