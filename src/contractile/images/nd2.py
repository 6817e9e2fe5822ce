"""ND2 of Nikon -> rasters: one for each position. The library `nd2` (BSD) reads it; it is the extra `nd2`.

Planes that are not compressed are mapped into memory: a region reads what it touches. Compressed ones are read whole.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.channel_names import of_rgb
from contractile.images.extras import heard, load_extra
from contractile.images.gate import check_metadata, check_pages, check_piece, limits
from contractile.images.image import Channel
from contractile.images.known import Wanted
from contractile.images.planewise import Place, Planewise
from contractile.images.raster import AGAIN, FILL, Damaged, Raster, one_clear_line

OLD = b"\0\0\0\x0c"  # the first bytes of ND2 files that are JPEG 2000
MAP, MAP_CHUNK = b"ND2 CHUNK MAP SIGNATURE 0000001!", b"ND2 FILEMAP SIGNATURE NAME 0001!"
CHUNK = struct.Struct("<IIQ")  # mark, bytes of the name, bytes of the content
ENTRY = struct.Struct("<QQ")  # place and size of a chunk
MAGIC = 0x0ABECEDA
FRAME, BEFORE = b"ImageDataSeq|", 24 + 4072  # the names of planes, and the bytes in front of their pixels
LETTERS = {"TimeLoop": "T", "NETimeLoop": "T", "XYPosLoop": "P", "ZStackLoop": "Z"}  # of what was repeated
COLOURS = 3  # samples of a pixel in colour


@dataclass(frozen=True)
class _Loops:
    """What was repeated, the outermost first: a letter and a count of each, and the time between two frames."""

    letters: str
    counts: tuple[int, ...]
    interval_s: float | None


def open_nd2(path: Path, wanted: Wanted) -> list[Raster]:
    """The positions of a file.

    Raises ContractileError where it is cut off or damaged, for the old kind of ND2, and where `nd2` is missing.
    """
    library = load_extra("nd2", "nd2", path)
    with one_clear_line(path):
        with path.open("rb") as file:
            planes = _planes(file, path)
        with heard() as warned:
            opened = wanted.files.enter_context(library.ND2File(path))
            loops, facts = _loops(opened), opened.attributes
            scale, channels, said = _described(opened)
        sides = (facts.heightPx, facts.widthPx)
        check_piece("a plane", sides, path, pixel_bytes=facts.componentCount * opened.dtype.itemsize)
        check_pages(math.prod(loops.counts), path)
        shape = (facts.channelCount or 1, *sides, facts.componentCount // (facts.channelCount or 1))
        if min(shape) < 1 or facts.componentCount % shape[0]:
            raise Damaged(f"its planes are said to have the shape {shape}")
        stored = 1 if facts.compressionType == "lossless" else math.prod(shape) * opened.dtype.itemsize
        notes = (*warned, *said, *_missing(planes, math.prod(loops.counts), stored, path))
        positions = loops.counts[loops.letters.index("P")] if "P" in loops.letters else 1
        make = partial(_position, opened, loops, shape, wanted)
        arrays = [make(number) for number in range(positions)]
    return [
        Raster.of(
            axes,
            array,
            scale=scale,
            interval_s=loops.interval_s,
            notes=notes,
            channels=channels,
        )
        for axes, array in arrays
    ]


def _planes(file: BinaryIO, path: Path) -> dict[int, int]:
    """The planes by their numbers, with the bytes that the file has from the begin of their pixels on.

    The library takes zeros for planes that are not there. So it is looked at here, before any of them is asked for.
    """
    if file.read(len(OLD)) == OLD:
        problem = "is an ND2 file of the old kind (JPEG 2000), which is not read"
        raise ContractileError(problem, "save it again with NIS-Elements, or as OME-TIFF", where=path)
    end = path.stat().st_size
    if end < CHUNK.size + len(MAP) + 8:
        raise EOFError("the file ends too early")
    file.seek(end - len(MAP) - 8)
    tail = file.read()
    if not tail.startswith(MAP):
        raise EOFError("the map of its parts, which is the end of the file, is missing")
    (place,) = struct.unpack_from("<Q", tail, len(MAP))
    if place >= end - CHUNK.size:
        raise Damaged("the map of its parts lies beyond its end")
    file.seek(place)
    mark, name, size = CHUNK.unpack(file.read(CHUNK.size))
    if mark != MAGIC or not file.read(min(name, 2**16)).startswith(MAP_CHUNK):
        raise Damaged("no map of its parts where it should be")
    check_metadata(size, path)
    return _frames(file.read(size), end)


def _frames(parts: bytes, end: int) -> dict[int, int]:
    found: dict[int, int] = {}
    place = 0
    while True:
        stop = parts.find(b"!", place) + 1
        if not stop or stop + ENTRY.size > len(parts):
            raise Damaged("the map of its parts is cut off")
        name = parts[place:stop]
        if name == MAP:
            return found
        where, _ = ENTRY.unpack_from(parts, stop)
        number = name.removeprefix(FRAME).removesuffix(b"!")
        if name.startswith(FRAME) and number.isdigit():
            found[int(number)] = end - where - BEFORE
        place = stop + ENTRY.size


def _missing(planes: dict[int, int], count: int, stored: int, path: Path) -> tuple[str, ...]:
    """What to tell about planes that are not there. Raises ContractileError, unless the gate allows them."""
    missing = count - sum(planes.get(number, 0) >= stored for number in range(count))
    if not missing:
        return ()
    problem = f"{missing} of its {count} planes are missing (an acquisition that was stopped?)"
    if not limits().missing or missing == count:
        raise ContractileError(problem, AGAIN if missing == count else f"{AGAIN}; {FILL}", where=path)
    return (f"{problem}; 0 is read in their place",)


def _loops(opened: Any) -> _Loops:
    letters, counts, interval = "", [], None
    for loop in opened.experiment:
        letter = LETTERS.get(loop.type, "Q")
        if letter == "T":
            interval = interval or _interval(loop.parameters)
        letters += "Q" if letter in letters else letter
        counts.append(int(loop.count))
    if not letters and opened.attributes.sequenceCount > 1:
        letters, counts = "Q", [int(opened.attributes.sequenceCount)]
    return _Loops(letters, tuple(counts), interval)


def _interval(facts: Any) -> float | None:
    """Seconds between two frames: as they were taken, else as they were asked for; None where that changes."""
    periods = getattr(facts, "periods", None)
    if periods is not None and len(periods) != 1:
        return None
    one = facts if periods is None else periods[0]
    milliseconds = float(one.periodDiff.avg or one.periodMs or 0)
    return milliseconds / 1000 if math.isfinite(milliseconds) and milliseconds > 0 else None


def _position(opened: Any, loops: _Loops, shape: Place, wanted: Wanted, position: int) -> tuple[str, Planewise]:
    """The axes and the array of one position. `shape` is that of a plane (C, Y, X, samples)."""
    outer = [(letter, count) for letter, count in zip(loops.letters, loops.counts, strict=True) if letter != "P"]
    letters, counts = "".join(letter for letter, _ in outer), tuple(count for _, count in outer)
    channels, *sides, samples = shape
    coloured = samples == COLOURS
    plane = shape if coloured else (channels * samples, *sides)

    def read(place: Place) -> NDArray[Any]:
        whole = list(place)
        if "P" in loops.letters:
            whole.insert(loops.letters.index("P"), position)
        number = int(np.ravel_multi_index(whole, loops.counts)) if whole else 0
        frame: NDArray[Any] = opened.read_frame(number).reshape(shape)
        return frame if coloured else np.moveaxis(frame, -1, 1).reshape(plane)

    array = Planewise(counts, plane, opened.dtype, read)
    wanted.files.callback(array.forget)
    return f"{letters}CYXS" if coloured else f"{letters}CYX", array


def _described(opened: Any) -> tuple[dict[str, float], tuple[Channel, ...], tuple[str, ...]]:
    """The size of pixels in micrometres where the file was calibrated, what is known of channels, and notes."""
    try:
        found: Sequence[Any] = (opened.metadata.channels if opened.metadata else None) or ()
    except Exception as error:  # of the library, which does not know every microscope: pixels can be read all the same
        return {}, (), (f"its pixel size and channels are not read ({type(error).__name__} in its metadata)",)
    channels = tuple(
        of_rgb(one.channel.name, (one.channel.color.r, one.channel.color.g, one.channel.color.b)) for one in found
    )
    if not found:
        return {}, (), ()
    known = zip("XYZ", found[0].volume.axesCalibration, found[0].volume.axesCalibrated, strict=True)
    return {axis: float(size) for axis, size, sure in known if sure and math.isfinite(size) and size > 0}, channels, ()
