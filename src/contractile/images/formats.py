"""File formats -> rasters: arrays on disk with named axes, not yet read.

Knows no canonical order and no labels; that is for `axes` and `reading`.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
import zarr
from PIL import Image as Pillow

from contractile.errors import ContractileError, NotFound
from contractile.images.axes import guess_axes
from contractile.images.scale import ome_tiff_scale, ome_zarr_scale, tiff_scale

TIFF = (".tif", ".tiff")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")
SUPPORTED = (*TIFF, *PICTURES, ".npy", ".zarr")
MICROSCOPE = (".czi", ".nd2", ".lif", ".oib", ".oif", ".lsm", ".vsi", ".ims", ".dv", ".svs", ".mrc")


@dataclass(frozen=True)
class Raster:
    """One array of a file. `load` gives something that can be sliced and is read where it is sliced.

    The last `alpha` elements of axis S are transparency, not signal. `scale` is micrometres per
    pixel by axis letter, for the axes of which the file tells it.
    """

    axes: str
    lengths: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], Any]
    alpha: int = 0
    scale: dict[str, float] = field(default_factory=dict)


@contextmanager
def open_rasters(path: Path, *, dims: int, indices: bool = False) -> Iterator[list[Raster]]:
    """The rasters of a file, usable until the context closes.

    With `indices` a picture with a palette gives the index of each colour (what labels need)
    instead of the colour.
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
            raise ValueError(f"{path}: {describe_unsupported(suffix)}")
        yield rasters


def describe_unsupported(suffix: str) -> str:
    """What to do with a file of this suffix."""
    if suffix.lower() in MICROSCOPE:
        return f"{suffix} is a microscope maker's format; export it as OME-TIFF (Fiji: Bio-Formats Exporter)"
    return f"unknown format {suffix or '(no suffix)'}; the formats read are {' '.join(SUPPORTED)}"


def is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zarray"))


@contextmanager
def one_clear_line(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises, or tifffile merely logs, into one ValueError naming the file."""
    logger = logging.getLogger("tifffile")
    complaints: list[str] = []
    thread = threading.get_ident()

    def catch(record: logging.LogRecord) -> bool:
        if record.thread != thread:
            return True
        if record.levelno >= logging.ERROR:
            complaints.append(record.getMessage())
        return False

    logger.addFilter(catch)
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(_unreadable(path, f"{error}")) from error
    finally:
        logger.removeFilter(catch)
    serious = [text for text in complaints if re.search("page|corrupt|reshape|circular", text)]
    if serious:
        raise ValueError(_unreadable(path, serious[0]))


def _unreadable(path: Path, reason: str) -> str:
    line = re.sub(r"<[^<>]*>:?\s*", "", " ".join(reason.split())) or "empty file"
    return f"{path}: unreadable or truncated ({line:.120}); copy the file again or re-export it"


def _open_tiff(path: Path, stack: ExitStack) -> list[Raster]:
    with one_clear_line(path):
        tiff = stack.enter_context(tifffile.TiffFile(path))
        if not tiff.pages:
            raise EOFError("no page of pixels in it")
        return [_tiff_raster(tiff, series, stack) for series in _main_series(tiff)]


def _main_series(tiff: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """All images of the file, without the thumbnails and overviews of slide scanners."""
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

    def load() -> Any:
        if series.dataoffset is not None:
            return np.memmap(tiff.filehandle.path, dtype, "r", series.dataoffset, series.shape)
        if 1 in series.shape[-2:]:  # tifffile chunks an image one pixel wide in a way it cannot read
            return series.asarray(level=0)
        store = stack.enter_context(series.aszarr(level=0))
        return zarr.open_array(store, mode="r")

    return Raster(series.axes, tuple(series.shape), series.dtype, load, alpha, scale)


def _check_length(tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """The directory of a TIFF can outlive its pixels: a copy that broke off, a full disk."""
    size = tiff.filehandle.size
    end = 0
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    else:
        for page in (series.pages[0], series.pages[-1]):
            if page is not None and page.parent is tiff:
                end = max([end, *(sum(s) for s in zip(page.dataoffsets, page.databytecounts, strict=False))])
    if end > size:
        raise EOFError(f"{size} bytes of at least {end}")


def _open_picture(path: Path, indices: bool) -> Raster:
    with one_clear_line(path):
        pixels = _decode_picture(path, indices)
    if pixels.ndim == 2:
        return Raster("YX", pixels.shape, pixels.dtype, lambda: pixels)
    alpha = 1 if pixels.shape[-1] in (2, 4) else 0
    return Raster("YXS", pixels.shape, pixels.dtype, lambda: pixels, alpha)


def _decode_picture(path: Path, indices: bool) -> np.ndarray[Any, Any]:
    suffix = path.suffix.lower()
    data = path.read_bytes()
    if suffix in (".jpg", ".jpeg"):
        if b"\xff\xd9" not in data[-4096:]:  # the decoder would fill what is missing with grey
            raise EOFError("no end marker")
        return np.asarray(imagecodecs.jpeg8_decode(data))
    if suffix == ".png":  # Pillow would reduce 16-bit colour to 8 bits
        has_palette = data[25:26] == b"\x03"
        if not (has_palette and indices):
            return np.asarray(imagecodecs.png_decode(data))
    with Pillow.open(path) as picture:
        if picture.mode == "P" and not indices:
            return np.asarray(picture.convert("RGB"))
        return np.asarray(picture)


def _open_npy(path: Path, dims: int) -> Raster:
    with one_clear_line(path):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    return Raster(guess_axes(array.shape, dims=dims, file=str(path)), array.shape, array.dtype, lambda: array)


def _open_zarr(path: Path, dims: int) -> list[Raster]:
    """OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3): the full resolution of the image; or a bare array."""
    with one_clear_line(path):
        node = zarr.open(path, mode="r")
    if isinstance(node, zarr.Array):
        axes = guess_axes(node.shape, dims=dims, file=str(path))
        return [Raster(axes, node.shape, node.dtype, lambda: node)]
    attributes = dict(node.attrs)
    ome = attributes.get("ome", attributes)
    if not isinstance(ome, dict) or not ome.get("multiscales"):
        inside = ", ".join(sorted(node.keys())[:3]) or "nothing"
        raise ContractileError(
            f"holds no OME-Zarr image but {inside}", "give the folder of one image in it", where=path
        )
    multiscale = ome["multiscales"][0]
    with one_clear_line(path):
        array = node[multiscale["datasets"][0]["path"]]
        names = multiscale.get("axes") or list("tczyx"[-array.ndim :])
        axes = "".join((axis if isinstance(axis, str) else axis["name"])[0].upper() for axis in names)
        if len(axes) != array.ndim:
            raise ValueError(f"{len(axes)} axes named for {array.ndim}")
        scale = ome_zarr_scale(multiscale, axes)
    return [Raster(axes, array.shape, array.dtype, lambda: array, 0, scale)]
