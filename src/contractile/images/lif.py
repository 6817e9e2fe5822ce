"""LIF of Leica -> rasters: one for each image, and for each tile of a mosaic. The file is mapped into memory.

No library is needed: behind a short head an XML says how many bytes lie between two elements along each axis, and the
pixels are plain numbers.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from contractile.errors import ContractileError
from contractile.images.channel_names import of_word
from contractile.images.gate import check_metadata, check_pages, check_xml
from contractile.images.known import Wanted
from contractile.images.raster import AGAIN, Damaged, Raster, one_clear_line
from contractile.images.scale import in_micrometres, in_seconds

BEGIN, TEXT = 0x70, 0x2A  # marks of a chunk, and of what follows in it
LETTERS = {1: "X", 2: "Y", 3: "Z", 4: "T", 5: "L", 10: "M"}  # by DimID; L are wavelengths, M tiles of a mosaic
COLOURS = (1, 2, 3)  # ChannelTags of red, green, blue
ORDER = "MQTLCZYXS"
MOST_BLOCKS = 10**6
DEEPEST = 64  # folders of images in one another


class _Skipped(Exception):
    """Why an image is left out: the file may hold others that can be read."""


@dataclass(frozen=True)
class _Axis:
    """A letter, the number of elements, and the bytes from one to the next."""

    letter: str
    count: int
    step: int


@dataclass(frozen=True)
class _Memory:
    """Where the pixels of an image are."""

    place: int
    size: int


def open_lif(path: Path, wanted: Wanted) -> list[Raster]:
    """The images of a file. Raises ContractileError where it is cut off or damaged, and where it holds no image."""
    rasters: list[Raster] = []
    notes: list[str] = []
    with one_clear_line(path), path.open("rb") as file:
        root = ElementTree.fromstring(check_xml(_header(file, path), path))
        blocks = _memories(file, path)
        for image in _images(root, 0):
            try:
                rasters += _rasters(image, blocks, path)
            except _Skipped as reason:
                notes.append(f"its image {image.get('Name', '')!r:.80} is left out: {reason}")
    if not rasters:
        problem = notes[0] if notes else "holds no image"
        raise ContractileError(problem, "export the images from LAS X as TIFF", where=path)
    check_pages(len(rasters), path)
    return [replace(rasters[0], notes=tuple(notes)), *rasters[1:]]


def _take(file: BinaryIO, form: str) -> tuple[Any, ...]:
    data = file.read(struct.calcsize(form))
    if len(data) < struct.calcsize(form):
        raise EOFError("the file ends too early")
    return struct.unpack(form, data)


def _header(file: BinaryIO, path: Path) -> str:
    """The XML at the begin of the file."""
    begin, _, mark, letters = _take(file, "<iiBi")
    if begin != BEGIN or mark != TEXT or letters < 0:
        raise Damaged("no LIF file, whatever its name")
    check_metadata(2 * letters, path)
    data = file.read(2 * letters)
    if len(data) < 2 * letters:
        raise EOFError("the file ends within its metadata")
    return data.decode("utf-16-le")


def _memories(file: BinaryIO, path: Path) -> dict[str, _Memory]:
    """The blocks of pixels by their names; one that is cut off is left out, since it may be that of no image."""
    end = path.stat().st_size
    found: dict[str, _Memory] = {}
    while file.tell() + 9 < end and len(found) < MOST_BLOCKS:
        begin, _, mark = _take(file, "<iiB")
        if begin != BEGIN or mark != TEXT:
            raise Damaged("no block of pixels where one should begin")
        start = file.tell()
        (size,) = _take(file, "<q")  # 4 bytes in the first version
        (mark,) = _take(file, "<B")
        if mark != TEXT:
            file.seek(start)
            size, mark = _take(file, "<iB")
        (letters,) = _take(file, "<i")
        if mark != TEXT or size < 0 or not 0 <= letters < 2**16:
            raise Damaged("a block of pixels begins with an unknown head")
        name = file.read(2 * letters).decode("utf-16-le", "replace")
        found[name] = _Memory(file.tell(), min(size, end - file.tell()))
        file.seek(size, 1)
    return found


def _images(element: Element, deep: int) -> Iterator[Element]:
    """The elements that are images, in the order of the file, whatever folders they lie in."""
    if deep > DEEPEST:
        raise Damaged("its images lie in too many folders")
    if element.find("Data/Image/ImageDescription") is not None:
        yield element
    for child in element.iterfind("Element" if deep == 0 else "Children/Element"):
        yield from _images(child, deep + 1)


def _rasters(image: Element, blocks: dict[str, _Memory], path: Path) -> list[Raster]:
    """One raster, or one for each tile of a mosaic; none where the image was never filled."""
    memory = image.find("Memory")
    if memory is None or not int(memory.get("Size", "0")):
        return []
    dimensions = image.findall("Data/Image/ImageDescription/Dimensions/DimensionDescription")
    samples = image.findall("Data/Image/ImageDescription/Channels/ChannelDescription")
    samples.sort(key=lambda one: int(one.get("BytesInc", "0")))
    dtype = _dtype(samples)
    axes, first = _axes(dimensions, samples, dtype.itemsize)
    begin = _begin(image, blocks.get(memory.get("MemoryBlockID", "")), axes, first, path)
    mosaic = next((axis for axis in axes if axis.letter == "M"), _Axis("M", 1, 0))
    check_pages(mosaic.count, path)
    inner = [axis for axis in axes if axis.letter != "M"]
    letters, lengths = "".join(axis.letter for axis in inner), tuple(axis.count for axis in inner)
    steps = tuple(axis.step for axis in inner)
    sizes, interval = _scale(dimensions)
    places = [begin + number * mosaic.step for number in range(mosaic.count)]
    names = [
        next((one.findtext("Value") for one in sample if one.findtext("Key") == "DyeName"), None) for sample in samples
    ]
    colours = [sample.get("LUTName") for sample in samples]
    channels = () if "S" in letters else tuple(map(of_word, names, colours))
    return [
        Raster(
            letters,
            lengths,
            dtype,
            partial(_map, path, place, dtype, lengths, steps),
            scale=sizes,
            interval_s=interval,
            channels=channels,
        )
        for place in places
    ]


def _dtype(samples: list[Element]) -> np.dtype[Any]:
    """The type of the numbers of an image."""
    kinds = {(one.get("DataType"), _bytes(int(one.get("Resolution", "0")))) for one in samples}
    if len(kinds) != 1:
        raise _Skipped("its channels have numbers of different types" if kinds else "it has no channels")
    kind, size = kinds.pop()
    if kind == "1" and size == 1:
        raise Damaged("floats of 8 bits")
    return np.dtype(f"<{'f' if kind == '1' else 'u'}{size}")


def _bytes(bits: int) -> int:
    if not 0 < bits <= 64:
        raise Damaged(f"numbers of {bits} bits")
    return next(size for size in (1, 2, 4, 8) if bits <= 8 * size)


def _axes(dimensions: list[Element], samples: list[Element], size: int) -> tuple[list[_Axis], int]:
    """The axes of an image in the order of the room, and where its first number is, in bytes of its block."""
    found: dict[str, _Axis] = {}
    for one in dimensions:
        letter = LETTERS.get(int(one.get("DimID", "0")), "Q")
        count, step = int(one.get("NumberOfElements", "0")), int(one.get("BytesInc", "0"))
        if count < 1 or letter in found:
            raise Damaged(f"an axis {letter} of {count} elements")
        if count > 1 or letter in "YX":
            found[letter] = _Axis(letter, count, step)
    if not {"Y", "X"} <= found.keys():
        raise _Skipped(f"it has no rows and columns but axes {''.join(found)}")
    tags = [int(one.get("ChannelTag", "0")) for one in samples]
    letter, order = "C", [*range(len(samples))]
    if sorted(tags) == [*COLOURS]:
        letter, order = "S", [tags.index(tag) for tag in COLOURS]
    places = [int(samples[number].get("BytesInc", "0")) for number in order]
    steps = {after - before for before, after in itertools.pairwise(places)}
    if len(steps) > 1:
        raise _Skipped("its channels do not lie at equal distances")
    if steps:
        found[letter] = _Axis(letter, len(places), steps.pop())
    elif "L" in found:  # of a spectrum each wavelength is a channel
        found["C"] = replace(found.pop("L"), letter="C")
    _check_apart(found.values(), size)
    return sorted(found.values(), key=lambda axis: ORDER.index(axis.letter)), places[0]


def _check_apart(axes: Collection[_Axis], size: int) -> None:
    """Raise Damaged where two elements of an array would lie over one another."""
    reach = size
    for axis in sorted(axes, key=lambda axis: abs(axis.step)):
        if axis.count > 1 and abs(axis.step) < reach:
            raise Damaged(f"the elements along {axis.letter} lie over one another")
        reach = max(reach, abs(axis.step) * (axis.count - 1) + reach)


def _begin(image: Element, block: _Memory | None, axes: list[_Axis], first: int, path: Path) -> int:
    """Where the first number of an image is in the file. Raises ContractileError where not all of it is there."""
    name = f"{image.get('Name', '')!r:.80}"
    if block is None:
        raise ContractileError(f"is cut off: the pixels of its image {name} are missing", AGAIN, where=path)
    low = first + sum(min(0, axis.step) * (axis.count - 1) for axis in axes)
    high = first + sum(max(0, axis.step) * (axis.count - 1) for axis in axes)
    if low < 0 or first < 0:
        raise Damaged(f"its image {name} begins before its block")
    if high >= block.size:
        share = 1 - max(0, block.size) / (high + 1)
        raise ContractileError(f"is cut off: {share:.0%} of its image {name} are missing", AGAIN, where=path)
    return block.place + first


def _map(path: Path, place: int, dtype: np.dtype[Any], lengths: tuple[int, ...], steps: tuple[int, ...]) -> Any:
    """The array of an image, mapped into memory."""
    mapped = np.memmap(path, np.uint8, "r")
    return np.ndarray(lengths, dtype, mapped, place, steps).view(np.memmap)


def _scale(dimensions: list[Element]) -> tuple[dict[str, float], float | None]:
    """The size of pixels in micrometres and the time between frames in seconds: an axis reaches to its last element."""
    steps: dict[str, tuple[float, str]] = {}
    for one in dimensions:
        count, length = int(one.get("NumberOfElements", "0")), float(one.get("Length", "nan"))
        letter = LETTERS.get(int(one.get("DimID", "0")), "Q")
        if count > 1 and letter in "ZYXT":
            steps[letter] = (length / (count - 1), one.get("Unit", ""))
    sizes = {letter: in_micrometres(*step) for letter, step in steps.items() if letter != "T"}
    known = {letter: size for letter, size in sizes.items() if size is not None}
    return known, in_seconds(*steps["T"]) if "T" in steps else None
