"""NumPy's .npy -> a raster without names of axes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.images.raster import Raster, one_clear_line


def open_npy(path: Path) -> Raster:
    """The array of the file, mapped into memory when it is loaded. Raises ContractileError for Python objects."""
    what = pickled(path)
    if what:
        problem = f"is {what}, not an image; it is not opened, since a pickle can run programs"
        raise ContractileError(problem, "give the image, or the masks as PNG or TIFF", where=path)
    load: Any = partial(np.lib.format.open_memmap, path, "r")  # opens this format alone
    with one_clear_line(path):
        array = load()
    return Raster("Q" * array.ndim, array.shape, array.dtype, load, guessed=True)


def pickled(path: Path) -> str | None:
    """What a .npy file is that holds Python objects instead of pixels; None for others. Reads its head only."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            holds_objects = header(file)[-1].hasobject
    except Exception:
        return None  # whoever reads the file says what is wrong with it
    if not holds_objects:
        return None
    return "Cellpose's own file (a pickle)" if path.stem.endswith("_seg") else "a pickle of Python objects"
