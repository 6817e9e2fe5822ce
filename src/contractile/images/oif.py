"""OIB and OIF of Olympus -> one raster, read plane by plane.

Each plane is a TIFF. With OIF they lie in a folder beside the file of settings, with OIB in a compound document. No
library is needed beyond that for TIFF.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.channel_names import of_word
from contractile.images.compound import SIGNATURE, Compound
from contractile.images.gate import check_metadata, check_pages, check_piece, limits
from contractile.images.image import Channel
from contractile.images.known import Wanted
from contractile.images.planewise import Place, Planewise
from contractile.images.raster import AGAIN, FILL, Damaged, Raster, one_clear_line
from contractile.images.scale import in_micrometres, in_seconds

PLANE = re.compile(r"(.*?)((?:[A-Z]\d{1,6})+)\.tif", re.IGNORECASE)  # s_C001Z002T003.tif
INDEX = re.compile(r"([A-Z])(\d+)", re.IGNORECASE)
TABLE = "[ColorLUTData]"  # a section of settings that is not text
ORDER = "APQTZLC"  # of letters in the raster; others come first
AXES = 9  # sections of axes in the settings
COMMA = re.compile(r"(-?\d+),(\d+)(\.0*)?")  # a decimal comma, and zeros behind it

Settings = Mapping[str, Mapping[str, str]]
Reader = Callable[[], bytes]


@dataclass(frozen=True)
class _Planes:
    """The planes of a file by their places along `letters`; `lengths` are those that the settings promise."""

    letters: str
    lengths: tuple[int, ...]
    readers: dict[Place, Reader]


def open_oif(path: Path, wanted: Wanted) -> list[Raster]:
    """The image of a file. Raises ContractileError where it is cut off or damaged, and where planes are missing."""
    with one_clear_line(path):
        with path.open("rb") as start:
            compound = start.read(len(SIGNATURE)) == SIGNATURE
        settings, files = _in_document(path, wanted) if compound else _in_folder(path)
        planes = _planes(files, settings)
        count = math.prod(planes.lengths)
        check_pages(count, path)
        notes = _missing(count, len(planes.readers), path)
        first = _decode(next(iter(planes.readers.values())), path)
        array = Planewise(
            planes.lengths, first.shape, first.dtype, partial(_plane, planes, first.shape, first.dtype, path)
        )
        order = settings.get("Axis Parameter Common", {}).get("AxisOrder", "XY")
        axes = planes.letters + (order[1::-1] if re.match("X[A-Z]", order) else "YX")
        scale, interval = _scale(settings)
    if "C" not in axes:
        axes = axes.replace("L", "C")  # of a spectrum each wavelength is a channel
    channels = _channels(settings, array.shape[axes.index("C")] if "C" in axes else 1)
    return [
        Raster.of(
            axes,
            array,
            scale=scale,
            interval_s=interval,
            notes=notes,
            channels=channels,
        )
    ]


def _in_document(path: Path, wanted: Wanted) -> tuple[Settings, dict[str, Reader]]:
    """The settings of an OIB, and its files by their names."""
    document = Compound(wanted.files.enter_context(path.open("rb")), path)
    streams = {name.rsplit("/")[-1]: name for name in document.files}
    if "OibInfo.txt" not in streams:
        problem = "is a compound document, but no OIB (a ZVI, or a file of an office program?)"
        raise ContractileError(problem, "export the image as OME-TIFF", where=path)
    info = _parse(document.read(streams["OibInfo.txt"]), path).get("OibSaveInfo", {})
    named = {info[key]: streams[key] for key in info if key.startswith("Stream") and key in streams}
    main = named.get(info.get(info.get("MainFileName", ""), ""))
    if main is None:
        raise Damaged("its settings are not in it")
    files: dict[str, Reader] = {name.rsplit("/")[-1]: partial(document.read, stream) for name, stream in named.items()}
    return _parse(document.read(main), path), files


def _in_folder(path: Path) -> tuple[Settings, dict[str, Reader]]:
    """The settings of an OIF, and the files in its folder by their names."""
    check_metadata(path.stat().st_size, path)
    settings = _parse(path.read_bytes(), path)
    folder = path.with_name(f"{path.name}.files")
    if not folder.is_dir():
        problem = f"its planes are missing: they belong into the folder {folder.name} beside it"
        raise ContractileError(problem, "copy that folder, too", where=path)
    return settings, {file.name: file.read_bytes for file in sorted(folder.iterdir()) if file.is_file()}


def _parse(content: bytes, path: Path) -> Settings:
    """Sections of names with values, of a text that may end with a table of numbers."""
    check_metadata(len(content), path)
    wide = content.startswith(b"\xff\xfe")
    encoding = "utf-16-le" if wide else "utf-8"
    text = content.split(TABLE.encode(encoding))[0].decode(encoding, "replace").lstrip("\ufeff")
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            section = found.setdefault(line[1:-1], {})
        elif "=" in line and not line.startswith(";"):
            name, value = line.split("=", 1)
            section[name.strip()] = value.strip().strip("\"'")
    if not found:
        raise Damaged("its settings are none")
    return found


def _planes(files: Mapping[str, Reader], settings: Settings) -> _Planes:
    """The planes: the most files whose names are alike but for their numbers. Others are reference images."""
    groups: dict[tuple[str, ...], dict[Place, Reader]] = {}
    for name, read in files.items():
        match = PLANE.fullmatch(name)
        if match:
            named, numbers = zip(*INDEX.findall(match[2].upper()), strict=True)
            groups.setdefault((match[1], *named), {})[tuple(int(one) - 1 for one in numbers)] = read
    if not groups:
        raise Damaged("no plane in it")
    alike, readers = max(groups.items(), key=lambda group: (len(group[1]), "-" not in group[0][0]))
    letters = alike[1:]
    if len(set(letters)) < len(letters) or min(min(place) for place in readers) < 0:
        raise Damaged("the names of its planes say nothing")
    promised = {axis.get("AxisCode", ""): axis for axis in _axes(settings)}
    lengths = []
    for along, letter in enumerate(letters):
        found = max(place[along] for place in readers) + 1
        lengths.append(max(found, int(_number(promised.get(letter, {}).get("MaxSize")) or 0)))
    order = sorted(range(len(letters)), key=lambda along: ORDER.find(letters[along]))
    ordered = {tuple(place[along] for along in order): read for place, read in sorted(readers.items())}
    return _Planes("".join(letters[along] for along in order), tuple(lengths[along] for along in order), ordered)


def _axes(settings: Settings) -> list[Mapping[str, str]]:
    return [settings.get(f"Axis {number} Parameters Common", {}) for number in range(AXES)]


def _missing(count: int, found: int, path: Path) -> tuple[str, ...]:
    """What to tell about planes that are not there. Raises ContractileError, unless the gate allows them."""
    if found >= count:
        return ()
    problem = f"{count - found} of its {count} planes are missing (an acquisition that was stopped?)"
    if not limits().missing:
        raise ContractileError(problem, f"{AGAIN}; {FILL}", where=path)
    return (f"{problem}; 0 is read in their place",)


def _plane(planes: _Planes, shape: Place, dtype: np.dtype[Any], path: Path, place: Place) -> NDArray[Any]:
    if place not in planes.readers:
        return np.zeros(shape, dtype)
    found = _decode(planes.readers[place], path)
    if found.shape != shape or found.dtype != dtype:
        raise Damaged(f"a plane of shape {found.shape} and {found.dtype} among others of {shape} and {dtype}")
    return found


def _decode(read: Reader, path: Path) -> NDArray[Any]:
    """The pixels (Y, X) of a TIFF."""
    with tifffile.TiffFile(io.BytesIO(read())) as tiff:
        page = tiff.pages.first
        if len(page.shape) != 2 or page.dtype is None:
            raise Damaged(f"a plane of shape {page.shape}, which is not grey")
        check_piece("a plane", page.shape, path, pixel_bytes=page.dtype.itemsize)
        found: NDArray[Any] = page.asarray()
        return found


def _number(text: str | None) -> float | None:
    """A number that may have a decimal comma."""
    try:
        value = float(COMMA.sub(r"\1.\2", text or ""))
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 2**31 else None


def _scale(settings: Settings) -> tuple[dict[str, float], float | None]:
    """The size of pixels in micrometres and the time between frames in seconds."""
    reference = settings.get("Reference Image Parameter", {})
    sizes = {
        axis: in_micrometres(_number(reference.get(f"{side}ConvertValue")), reference.get(f"{side}Unit"))
        for axis, side in (("X", "Width"), ("Y", "Height"))
    }
    interval = None
    for axis in _axes(settings):
        code, step, unit = axis.get("AxisCode"), _number(axis.get("Interval")), axis.get("UnitName")
        count = _number(axis.get("MaxSize")) or 0
        start, end = _number(axis.get("StartPosition")), _number(axis.get("EndPosition"))
        if not step and start is not None and end is not None and count > 1:
            step = (end - start) / (count - 1)
        if code == "T":
            interval = in_seconds(step, unit)
        elif code in ("X", "Y", "Z") and not sizes.get(code):
            sizes[code] = in_micrometres(step, unit)
    return {axis: size for axis, size in sizes.items() if size}, interval


def _channels(settings: Settings, count: int) -> tuple[Channel, ...]:
    """The names of the dyes, or else of the channels."""
    found = [settings.get(f"Channel {number} Parameters", {}) for number in range(1, min(count, 64) + 1)]
    return tuple(of_word(one.get("DyeName") or one.get("CH Name"), None) for one in found)
