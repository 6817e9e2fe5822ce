"""File formats -> rasters: arrays on disk with named axes, in the order of the file. Only slicing reads pixels."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image as Pillow

from contractile.errors import ContractileError, NotFound, OutOfMemory
from contractile.images.axes import guess_axes
from contractile.images.scale import ome_tiff_scale, ome_zarr_scale, tiff_scale

TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
SUPPORTED = (*TIFF, *PICTURES, ".npy", ".zarr")
MICROSCOPE = (".czi", ".nd2", ".lif", ".oib", ".oif", ".lsm", ".vsi", ".ims", ".dv", ".svs", ".mrc")


@dataclass(frozen=True)
class Raster:
    """One array of a file. `load()` gives something that reads from disk only the region it is sliced with.

    The last `alpha` elements of axis S are transparency, not signal. `scale` holds micrometres per pixel by axis
    letter, for the axes whose scale the file gives.
    """

    axes: str
    lengths: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Any]
    alpha: int = 0
    scale: dict[str, float] = field(default_factory=dict)


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
            rasters = _open_zarr(path, dims)
        elif path.is_dir():
            raise ContractileError("is a folder, not an image", "use find() to list the images in it", where=path)
        elif suffix in TIFF:
            rasters = _open_tiff(path, stack)
        elif suffix in PICTURES:
            rasters = [_open_picture(path, indices)]
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


def is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


@contextmanager
def one_clear_line(path: Path) -> Iterator[None]:
    """Turn anything that a decoder raises, and damage that tifffile only logs, into one ContractileError."""
    logger = logging.getLogger("tifffile")
    complaints: list[str] = []
    thread = threading.get_ident()

    def catch(record: logging.LogRecord) -> bool:
        mine = record.thread == thread
        if mine and record.levelno >= logging.ERROR:
            complaints.append(record.getMessage())
        return not mine

    logger.addFilter(catch)
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory("memory ran out while it was read", "close other programs or crop it", where=path) from error
    except Exception as error:
        raise _unreadable(path, str(error)) from error
    finally:
        logger.removeFilter(catch)
    serious = [text for text in complaints if re.search("page|corrupt|reshape|circular", text)]
    if serious:
        raise _unreadable(path, serious[0])


def _unreadable(path: Path, reason: str) -> ContractileError:
    line = re.sub(r"<[^<>]*>:?\s*", "", " ".join(reason.split())) or "empty file"
    problem = f"unreadable or truncated ({line:.120})"
    return ContractileError(problem, "copy the file again or re-export it", where=path)


def _open_tiff(path: Path, stack: ExitStack) -> list[Raster]:
    with one_clear_line(path):
        tiff = stack.enter_context(tifffile.TiffFile(path))
        if not tiff.pages:
            raise EOFError("no page of pixels in it")
        return [_tiff_raster(tiff, series, stack) for series in _main_series(tiff)]


def _main_series(tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """All images of the file, without the thumbnails and overviews that slide scanners add."""
    series = list(tiff.series)
    if series and series[0].kind not in ("generic", "uniform", "shaped", "ome", "imagej"):
        return series[:1]
    full = [one for one in series if not one.keyframe.is_reduced]
    return full or series[:1]


def _tiff_raster(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, stack: ExitStack) -> Raster:
    _check_length(tiff, series)
    samples = [int(kind) for kind in series.keyframe.extrasamples]
    alpha = len(samples) if samples and all(kind in (1, 2) for kind in samples) else 0
    scale = ome_tiff_scale(tiff.ome_metadata) if tiff.is_ome else tiff_scale(tiff)
    dtype = np.dtype(tiff.byteorder + series.dtype.char)

    @cache
    def chunked() -> Any:
        if 1 in series.shape[-2:]:  # tifffile chunks an image one pixel wide in a way it cannot read
            return series.asarray(level=0)
        return zarr.open_array(stack.enter_context(series.aszarr(level=0)), mode="r")

    def load() -> Any:
        if series.dataoffset is None:
            return chunked()
        return np.memmap(tiff.filehandle.path, dtype, "r", series.dataoffset, series.shape)

    return Raster(series.axes, tuple(series.shape), series.dtype, load, alpha, scale)


def _check_length(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Raise EOFError where the file ends before its pixels do: after a copy that broke off, or on a full disk."""
    size = tiff.filehandle.size
    if series.dataoffset is not None:
        ends = [series.dataoffset + series.nbytes]
    else:
        pages = [page for page in (series.pages[0], series.pages[-1]) if page is not None and page.parent is tiff]
        ends = [sum(part) for page in pages for part in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if max(ends, default=0) > size:
        raise EOFError(f"{size} bytes of at least {max(ends)}")


def _open_picture(path: Path, indices: bool) -> Raster:
    with one_clear_line(path):
        pixels = _decode_picture(path, indices)
    alpha = 1 if pixels.ndim == 3 and pixels.shape[-1] in (2, 4) else 0
    return Raster("YXS"[: pixels.ndim], pixels.shape, pixels.dtype, lambda: pixels, alpha)


def _decode_picture(path: Path, indices: bool) -> np.ndarray[Any, Any]:
    suffix = path.suffix.lower()
    data = path.read_bytes()
    if suffix in (".jpg", ".jpeg"):
        if b"\xff\xd9" not in data[-4096:]:  # the decoder would fill the missing part with grey
            raise EOFError("no end marker")
        return np.asarray(imagecodecs.jpeg8_decode(data))
    has_palette = data[25:26] == b"\x03"
    if suffix == ".png" and not (has_palette and indices):  # Pillow would reduce 16-bit colour to 8 bits
        return np.asarray(imagecodecs.png_decode(data))
    with Pillow.open(path) as picture:
        if picture.mode == "P" and not indices:
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture)


def _open_npy(path: Path, dims: int) -> Raster:
    load = partial(np.load, path, mmap_mode="r", allow_pickle=False)
    with one_clear_line(path):
        array = load()
    return Raster(guess_axes(array.shape, dims=dims, file=str(path)), array.shape, array.dtype, load)


def _open_zarr(path: Path, dims: int) -> list[Raster]:
    """The full resolution of an OME-Zarr image, version 0.4 (Zarr 2) or 0.5 (Zarr 3), or a Zarr array without names."""
    with one_clear_line(path):
        node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        axes = guess_axes(node.shape, dims=dims, file=str(path))
        return [Raster(axes, node.shape, node.dtype, lambda: node)]
    ome = node.attrs.get("ome", dict(node.attrs))
    if not isinstance(ome, dict) or not ome.get("multiscales"):
        inside = ", ".join(sorted(node.keys())[:3]) or "nothing"
        problem = f"holds no OME-Zarr image but {inside}"
        raise ContractileError(problem, "give the folder of one image in it", where=path)
    multiscale = ome["multiscales"][0]
    with one_clear_line(path):
        array = node[multiscale["datasets"][0]["path"]]
        names = multiscale.get("axes") or list("tczyx"[-array.ndim :])
        axes = "".join((axis if isinstance(axis, str) else axis["name"])[0].upper() for axis in names)
    if len(axes) != array.ndim:
        problem = f"its metadata must name {array.ndim} axes, one per axis of the array, got {axes}"
        raise ContractileError(problem, "correct the metadata or export the image again", where=path)
    with one_clear_line(path):
        scale = ome_zarr_scale(multiscale, axes)
    return [Raster(axes, array.shape, array.dtype, lambda: array, 0, scale)]
