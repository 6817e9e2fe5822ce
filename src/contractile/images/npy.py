"""NumPy's .npy -> a raster without names of axes."""

from __future__ import annotations

import math
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.images.cut import load_cut
from contractile.images.gate import limits
from contractile.images.known import Wanted
from contractile.images.raster import AGAIN, FILL, Raster, one_clear_line


def open_as_npy(path: Path, _: Wanted) -> list[Raster]:
    """`open_npy`, for the tuple of formats."""
    return [open_npy(path)]


def open_npy(path: Path) -> Raster:
    """The array of the file, mapped into memory when it is loaded. Raises ContractileError for Python objects."""
    what = pickled(path)
    if what:
        problem = f"is {what}, not an image; it is not opened, since a pickle can run programs"
        raise ContractileError(problem, "give the image, or the masks as PNG or TIFF", where=path)
    load: Any = partial(np.lib.format.open_memmap, path, "r")  # opens this format alone
    with one_clear_line(path):
        shape, dtype, offset, in_order = _head(path)
        size, there = math.prod(shape) * dtype.itemsize, path.stat().st_size - offset
        if 0 <= there < size:
            problem = f"is cut off: {1 - there / size:.0%} of its pixels are missing"
            if not limits().missing or not in_order:
                raise ContractileError(problem, f"{AGAIN}; {FILL}" if in_order else AGAIN, where=path)
            load = cache(partial(load_cut, path, dtype, offset, shape))
            note = f"{problem}; 0 is read in their place"
            return Raster("Q" * len(shape), shape, dtype, load, guessed=True, notes=(note,))
        array = load()
    return Raster("Q" * array.ndim, array.shape, array.dtype, load, guessed=True)


def _head(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int, bool]:
    """Shape and type of the array, where it begins, and whether it is stored row by row. Raises ValueError, OSError."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, columns_first, dtype = header(file)
        return shape, dtype, file.tell(), not columns_first


def pickled(path: Path) -> str | None:
    """What a .npy file is that holds Python objects instead of pixels; None for others. Reads its head only."""
    try:
        if not path.is_file():
            return None
        holds_objects = _head(path)[1].hasobject
    except Exception:
        return None  # whoever reads the file says what is wrong with it
    if not holds_objects:
        return None
    return "Cellpose's own file (a pickle)" if path.stem.endswith("_seg") else "a pickle of Python objects"
