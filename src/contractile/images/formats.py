"""A file -> rasters: arrays on disk with named axes, in the order of the file. Only slicing reads pixels."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from contractile.errors import ContractileError, NotFound
from contractile.images.naming import name_axes
from contractile.images.pictures import open_picture
from contractile.images.raster import Raster, one_clear_line
from contractile.images.tiff import open_tiff
from contractile.images.zarrs import is_zarr, open_zarr

TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
SUPPORTED = (*TIFF, *PICTURES, ".npy", ".zarr")
TAKES_INDICES = "indices" in inspect.signature(open_tiff).parameters
MICROSCOPE = (".czi", ".nd2", ".lif", ".oib", ".oif", ".lsm", ".vsi", ".ims", ".dv", ".svs", ".mrc")


@contextmanager
def open_rasters(path: Path, *, dims: int, indices: bool = False, axes: str | None = None) -> Iterator[list[Raster]]:
    """The rasters of a file, with names for all axes. They can be used until the `with` block ends.

    With `indices` (for labels) a palette gives the number of each colour, not the colour, and no axis that the file
    does not name is channels. `axes` are letters that somebody gives for the axes of the file; a picture needs none.
    """
    if not path.exists():
        raise NotFound("no such file", "check the spelling and the working folder", where=path)
    suffix = path.suffix.lower()
    with ExitStack() as stack:
        if is_zarr(path):
            rasters = open_zarr(path, dims)
        elif path.is_dir():
            raise ContractileError("is a folder, not an image", "use find() to list the images in it", where=path)
        elif suffix in TIFF:
            rasters = open_tiff(path, stack, **({"indices": indices} if TAKES_INDICES else {}))
        elif suffix in PICTURES:
            rasters = [open_picture(path, indices)]
        elif suffix == ".npy":
            rasters = [_open_npy(path)]
        else:
            raise unsupported(suffix, where=path)
        if suffix not in PICTURES:
            names = partial(name_axes, axes=axes, dims=dims, file=str(path), pages_first=suffix in TIFF, labels=indices)
            rasters = [names(raster) for raster in rasters]
        yield rasters


def unsupported(suffix: str, *, where: object) -> ContractileError:
    """The error for a file with a suffix that is not read."""
    if suffix.lower() in MICROSCOPE:
        cure = "export it as OME-TIFF (Fiji: Bio-Formats Exporter)"
        return ContractileError(f"{suffix} is a microscope maker's format", cure, where=where)
    problem = f"unknown format {suffix or '(no suffix)'}"
    return ContractileError(problem, f"the formats read are {' '.join(SUPPORTED)}: convert it", where=where)


def _open_npy(path: Path) -> Raster:
    load = partial(np.load, path, mmap_mode="r", allow_pickle=False)
    with one_clear_line(path):
        array = load()
    return Raster("Q" * array.ndim, array.shape, array.dtype, load, guessed=True)
