"""TIFF, OME-TIFF and ImageJ's TIFF -> rasters."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr

from contractile.images.raster import Raster, one_clear_line
from contractile.images.scale import ome_tiff_scale, tiff_scale


def open_tiff(path: Path, stack: ExitStack) -> list[Raster]:
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
