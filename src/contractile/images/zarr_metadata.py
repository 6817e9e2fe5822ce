"""What is known of a Zarr without opening it: its folders, whether an array holds only numbers, letters of axes.

Some codecs of Zarr 2 run code that is stored in the chunks. So metadata are looked at before anything is opened.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.images.gate import read_metadata
from contractile.images.raster import Damaged, one_clear_line

PLAIN = (  # codecs that turn numbers into bytes and back, by their names in Zarr 2 and 3
    "zlib gzip bz2 lzma zstd blosc lz4 delta shuffle fixedscaleoffset quantize packbits bitround astype "
    "crc32 crc32c adler32 fletcher32 jenkins_lookup3 bytes endian transpose sharding_indexed"
)
CODECS = frozenset(PLAIN.split())
TYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64"
NUMBERS = frozenset(TYPES.split())
NAMES = {
    "Y": "y row rows height",
    "X": "x col cols column columns width",
    "Z": "z depth plane planes slice slices",
    "C": "c ch channel channels band bands wavelength wavelengths stain stains",
    "S": "s rgb rgba sample samples",
    "T": "t time times timepoint timepoints frame frames",
}
LETTERS = {name: letter for letter, names in NAMES.items() for name in names.split()}
ROLES = {"channel": "C", "time": "T"}  # OME's types of axes


def is_zarr(path: Path) -> bool:
    return os.path.isdir(path) and any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


def label_groups(path: Path) -> list[Path]:
    """The label images inside an OME-Zarr image, IMAGE.zarr/labels/*, by name; each is opened as an image is.

    Empty for a folder that is no Zarr or has none. Raises ContractileError where the folder cannot be listed.
    """
    folder = path / "labels"
    with one_clear_line(path):
        if not (is_zarr(path) and folder.is_dir()):
            return []
        return sorted(one for one in folder.iterdir() if is_zarr(one) and not one.name.startswith("."))


def check_numbers(folder: Path) -> None:
    """Raise ContractileError where the array in this folder holds more than numbers, or uses a codec that may."""
    with one_clear_line(folder):
        old, new = (read_table(file) if file.exists() else {} for file in (folder / ".zarray", folder / "zarr.json"))
        codecs = [name for metadata in (old, new) for name in _codecs(metadata)]
        types = [_type(found) for found in (old.get("dtype"), new.get("data_type")) if found is not None]
    for codec in codecs:
        if codec not in CODECS:
            problem = f"is stored with the codec {codec!r}, which does not only store numbers or is not read here"
            raise ContractileError(problem, "save the array again with zstd or blosc", where=folder)
    for name in types:
        if name not in NUMBERS:
            problem = f"holds values of type {name!r}, not integers or floats"
            raise ContractileError(problem, "give an array of numbers", where=folder)


def read_table(file: Path) -> dict[str, Any]:
    """The metadata in a file. Raises ContractileError for a file that may not be read, Damaged for no table."""
    found = json.loads(read_metadata(file))
    if not isinstance(found, dict):
        raise Damaged(f"{file.name} in it must hold names and values, but holds a {type(found).__name__}")
    return found


def _codecs(metadata: dict[str, Any]) -> Iterator[str]:
    """The names of all codecs in the metadata of an array, those inside shards, too.

    Zarr 2 calls a name `id`; where an entry has both, both count.
    """
    one = metadata.get("compressor")
    entries = [entry for key in ("codecs", "index_codecs", "filters") for entry in metadata.get(key) or ()]
    for entry in entries if one is None else [*entries, one]:
        if not isinstance(entry, dict):
            yield str(entry).removeprefix("numcodecs.")
            continue
        yield from (str(entry[key]).removeprefix("numcodecs.") for key in ("name", "id") if key in entry)
        yield from _codecs(entry.get("configuration") or {})


def _type(found: Any) -> str:
    """The name of a type of values: uint8 for |u1."""
    try:
        return np.dtype(found).name if isinstance(found, str) else str(found)
    except TypeError:
        return str(found)  # a name of Zarr 3 that numpy has not


def letters_of(names: Sequence[Any], types: Sequence[Any] = ()) -> str | None:
    """A letter for each name of an axis; None where the names do not say which axes are Y and X.

    OME's types come first: of the axes of type space without a known name, the last are Z, Y and X. An axis of which
    nothing is known counts pages: Q.
    """
    kinds = [*types, *[None] * (len(names) - len(types))]
    letters = [
        ROLES.get(kind) or LETTERS.get(str(name).strip().lower()) for name, kind in zip(names, kinds, strict=True)
    ]
    space = [place for place, kind in enumerate(kinds) if kind == "space"]
    if not {"Y", "X"} <= set(letters) and len(space) in (2, 3):
        for place, letter in zip(space, "ZYX"[-len(space) :], strict=True):
            letters[place] = letter
    found = "".join(letter or "Q" for letter in letters)
    return found if found.count("Y") == found.count("X") == 1 else None
