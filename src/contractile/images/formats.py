"""A file -> rasters: arrays on disk with named axes, in the order of the file. Only slicing reads pixels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from contractile.errors import ContractileError, NotFound
from contractile.images.axes import guess_axes
from contractile.images.pictures import open_picture
from contractile.images.raster import Raster, one_clear_line
from contractile.images.tiff import open_tiff
from contractile.images.zarrs import is_zarr, open_zarr

TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
SUPPORTED = (*TIFF, *PICTURES, ".npy", ".zarr")
MICROSCOPE = (".czi", ".nd2", ".lif", ".oib", ".oif", ".lsm", ".vsi", ".ims", ".dv", ".svs", ".mrc")


@contextmanager
def open_rasters(path: Path, *, dims: int, indices: bool = False) -> Iterator[list[Raster]]:
    """The rasters of a file. They can be used until the `with` block ends.

    With `indices` a picture with a palette gives the number of each colour (labels need it), not the colour.
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
            rasters = open_tiff(path, stack)
        elif suffix in PICTURES:
            rasters = [open_picture(path, indices)]
        elif suffix == ".npy":
            rasters = [_open_npy(path, dims)]
        else:
            raise unsupported(suffix, where=path)
        yield rasters


def unsupported(suffix: str, *, where: object) -> ContractileError:
    """The error for a file with a suffix that is not read."""
    if suffix.lower() in MICROSCOPE:
        cure = "export it as OME-TIFF (Fiji: Bio-Formats Exporter)"
        return ContractileError(f"{suffix} is a microscope maker's format", cure, where=where)
    problem = f"unknown format {suffix or '(no suffix)'}"
    return ContractileError(problem, f"the formats read are {' '.join(SUPPORTED)}: convert it", where=where)


def _open_npy(path: Path, dims: int) -> Raster:
    load = partial(np.load, path, mmap_mode="r", allow_pickle=False)
    with one_clear_line(path):
        array = load()
    return Raster(guess_axes(array.shape, dims=dims, file=str(path)), array.shape, array.dtype, load)
