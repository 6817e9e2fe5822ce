"""Imaris (.ims), which is HDF5 -> one raster with its lower resolutions. A region reads the chunks that it touches."""

from __future__ import annotations

import math
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.images.channel_names import of_rgb
from contractile.images.gate import check_pages
from contractile.images.hdf5_datasets import check_dataset
from contractile.images.image import Channel
from contractile.images.planewise import Place, Planewise
from contractile.images.raster import AGAIN, Damaged, Raster
from contractile.images.scale import in_micrometres

DATA, FACTS = "DataSet", "DataSetInfo"
AXES = "TCZYX"
MOST_LEVELS = 32


def is_ims(file: Any) -> bool:
    """Whether an open HDF5 file is one of Imaris."""
    return f"{DATA}/ResolutionLevel 0" in file and FACTS in file


def open_ims(file: Any, path: Path) -> list[Raster]:
    """The image of an open file. Raises ContractileError where parts of it are missing, Damaged."""
    times, channels = (_count(file[place], name) for place, name in _numbered())
    full = _level(file, 0, times, channels, path)
    scale, interval = _scale(file, full.shape[2:])
    return [
        Raster.of(
            AXES,
            full,
            scale=scale,
            interval_s=interval,
            lower=partial(_lower, file, times, channels, path),
            channels=tuple(_channel(file.get(f"{FACTS}/Channel {number}")) for number in range(channels)),
        )
    ]


def _numbered() -> tuple[tuple[str, str], ...]:
    first = f"{DATA}/ResolutionLevel 0"
    return ((first, "TimePoint"), (f"{first}/TimePoint 0", "Channel"))


def _count(group: Any, name: str) -> int:
    count: int = sum(key.startswith(f"{name} ") for key in group)
    if not count:
        raise Damaged(f"no {name} in it")
    return count


def _level(file: Any, level: int, times: int, channels: int, path: Path) -> Planewise:
    """One resolution as an array (T, C, Z, Y, X)."""
    check_pages(times * channels, path)

    def of(place: Place) -> Any:
        return file[f"{DATA}/ResolutionLevel {level}/TimePoint {place[0]}/Channel {place[1]}"]

    shape: Place | None = None
    dtype, chunk = np.dtype(np.uint8), None
    for place in np.ndindex(times, channels):
        try:
            group = of(place)
            data = group["Data"]
        except KeyError as error:
            problem = f"its resolution {level} lacks channel {place[1]} at time {place[0]}"
            raise ContractileError(problem, AGAIN, where=path) from error
        if data.ndim != 3 or data.dtype.kind not in "uif":
            raise Damaged(f"a volume of shape {data.shape} and type {data.dtype}")
        check_dataset(data, path)
        sides = tuple(int(_text(group, f"ImageSize{axis}", str(n))) for axis, n in zip("ZYX", data.shape, strict=True))
        if shape is None:
            shape, dtype, chunk = sides, data.dtype, data.chunks
        if sides != shape or data.dtype != dtype or any(few > n for few, n in zip(sides, data.shape, strict=True)):
            raise Damaged(f"its channels have different sizes, {sides} beside {shape}")
    assert shape is not None
    return Planewise((times, channels), shape, dtype, lambda place: of(place)["Data"], chunk)


def _lower(file: Any, times: int, channels: int, path: Path) -> list[Raster]:
    """The lower resolutions."""
    found = []
    for level in range(1, MOST_LEVELS):
        if f"{DATA}/ResolutionLevel {level}" not in file:
            break
        array = _level(file, level, times, channels, path)
        found.append(Raster.of(AXES, array))
    return found


def _text(group: Any, name: str, otherwise: str = "") -> str:
    """An attribute, which Imaris stores as an array of letters."""
    found = None if group is None else group.attrs.get(name)
    if found is None:
        return otherwise
    letters = np.atleast_1d(found)
    return b"".join(letters.tolist()).decode("utf-8", "replace") if letters.dtype.kind == "S" else str(letters[0])


def _scale(file: Any, sides: Place) -> tuple[dict[str, float], float | None]:
    """The size of pixels in micrometres, from the ends of the image, and the time between frames in seconds."""
    facts = file.get(f"{FACTS}/Image")
    unit = _text(facts, "Unit", "um")
    scale = {}
    for number, (axis, count) in enumerate(zip("XYZ", sides[::-1], strict=True)):
        start, end = (_number(_text(facts, f"Ext{side}{number}")) for side in ("Min", "Max"))
        size = None if start is None or end is None else in_micrometres((end - start) / count, unit)
        if size:
            scale[axis] = size
    return scale, _interval(file.get(f"{FACTS}/TimeInfo"))


def _interval(facts: Any) -> float | None:
    """The mean time between frames, of which each has a date."""
    count = _number(_text(facts, "DatasetTimePoints")) or 0
    if count < 2:
        return None
    try:
        first, last = (datetime.fromisoformat(_text(facts, f"TimePoint{number}")) for number in (1, int(count)))
    except ValueError:
        return None
    seconds = (last - first).total_seconds() / (count - 1)
    return seconds if seconds > 0 else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _channel(facts: Any) -> Channel:
    parts = [_number(one) for one in _text(facts, "Color").split()]
    colour = tuple(round(255 * min(1.0, max(0.0, one))) for one in parts if one is not None)
    return of_rgb(_text(facts, "Name"), (colour[0], colour[1], colour[2]) if len(colour) == 3 else (0, 0, 0))
