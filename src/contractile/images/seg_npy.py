"""The `_seg.npy` of Cellpose, which is a pickle: read by a reader that can make NumPy arrays and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.gate import check_regular, limits
from contractile.images.raster import one_clear_line

# What pickles of arrays name, in the versions of NumPy since 1.13. None of it runs anything of the file.
ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
    ("_codecs", "encode"),  # of the bytes of old pickles
}
BYTES = 16  # of one pixel, in all arrays of the file: image, masks, outlines, flows
AGAIN = "in Cellpose, save the masks as PNG or TIFF (File > Save masks as PNG/tif)"


class _Arrays(pickle.Unpickler):
    """Makes arrays, numbers, text, lists and dictionaries, and refuses all else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError(f"it asks for what lies elsewhere, {pid!r}")


def read_masks(path: Path) -> NDArray[np.int32]:
    """The labels (Y, X) or (Z, Y, X) in a `_seg.npy`.

    Raises NotFound, and ContractileError for a file that holds no masks, asks for anything but arrays, or is too large.
    """
    check_regular(path)
    with one_clear_line(path):
        size, most = path.stat().st_size, limits().pixels * BYTES
        if size > most:
            problem = f"must have at most {most:,} bytes, got {size:,}"
            raise ContractileError(problem, "if the file is what it should be, --max-pixels allows more", where=path)
        with path.open("rb") as file:
            try:
                version = np.lib.format.read_magic(file)
                head = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                head(file)
                found = _Arrays(file).load()
                kept = found.item() if isinstance(found, np.ndarray) and found.size == 1 else found
                masks = np.asarray(kept["masks"])
            except MemoryError:
                raise
            except Exception as error:  # a damaged pickle raises almost anything
                told = f"{type(error).__name__}: {error}"
                raise ContractileError(
                    f"is no _seg.npy of Cellpose that can be read ({told})", AGAIN, where=path
                ) from error
    if masks.dtype.kind not in "iu" or masks.ndim not in (2, 3) or masks.max(initial=0) >= 2**31:
        problem = f"masks must be whole numbers (Y, X) or (Z, Y, X), got {masks.dtype} {masks.shape}"
        raise ContractileError(problem, AGAIN, where=path)
    return masks.astype(np.int32)
