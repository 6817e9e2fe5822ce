"""Sets of TIFFs by Micro-Manager: tifffile opens the files that their metadata name, and believes their sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile

from contractile.images.gate import check_metadata, check_pages, check_regular
from contractile.images.ome import check_names
from contractile.images.raster import Damaged

INDEX = "NDTiff.index"
STACK = "_MMStack"


def check_sets(tiff: tifffile.TiffFile, path: Path) -> None:
    """Raise ContractileError where a set names files elsewhere, no plain files, or more pages than are read."""
    if tiff.is_ndtiff:
        _check_ndtiff(path)
    if tiff.is_micromanager or tiff.is_mmstack:
        _check_stack(tiff, path)


def _check_ndtiff(path: Path) -> None:
    """NDTiff keeps the names of all files of a set, and the place of each plane, in one index."""
    index = path.with_name(INDEX)
    check_regular(index)
    if not index.is_file():
        return
    check_metadata(index.stat().st_size, index)
    entries = [(entry[0], entry[1]) for entry in tifffile.read_ndtiff_index(index)]
    check_names((name for _, name in entries), path)
    largest: dict[str, int] = {}
    for axes, _ in entries:
        for axis, place in axes.items():
            if isinstance(place, int):
                largest[axis] = max(largest.get(axis, 0), place)
    _check_count((n + 1 for n in largest.values()), path)


def _check_stack(tiff: tifffile.TiffFile, path: Path) -> None:
    """Stacks of Micro-Manager are found by their names, and say in a table where each plane belongs."""
    for file in path.parent.iterdir():
        if STACK in file.name and file.suffix.lower() == ".tif":
            check_regular(file)
    table = (tiff.micromanager_metadata or {}).get("IndexMap")
    if table is not None and np.size(table):
        places = np.asarray(table)[:, :4]
        if places.min() < 0:
            raise Damaged("its index has negative places")
        _check_count((int(n) + 1 for n in places.max(axis=0)), path)


def _check_count(lengths: Iterable[int], path: Path) -> None:
    check_pages(math.prod(lengths), path)
