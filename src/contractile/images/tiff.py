"""TIFF, OME-TIFF, ImageJ's TIFF and others -> rasters."""

from __future__ import annotations

import json
import math
import mmap
import struct
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import tifffile

from contractile.errors import ContractileError
from contractile.images.bands import Bands
from contractile.images.channel_names import of_imagej, of_ome
from contractile.images.cut import load_cut
from contractile.images.file_sets import check_sets
from contractile.images.gate import check_pages, check_xml
from contractile.images.known import Wanted
from contractile.images.ome import Ome, settle_ome
from contractile.images.photometric import interpret, notes_of_imagej
from contractile.images.raster import AGAIN, Raster, one_clear_line
from contractile.images.scale import lsm_scale, ome_interval, ome_scale, svs_scale, tiff_interval, tiff_scale
from contractile.images.strips import check_end, check_pixels, watch_decoders

PLAIN = ("generic", "uniform", "shaped", "ome", "imagej")  # forms without thumbnails and labels of slides
FEW = 4  # columns of an image that is hardly one
XML_TAGS = (270, 700)  # the description, and XMP
UNNAMED = set("QI")  # tifffile's letters for an axis that counts pages


def open_as_tiff(path: Path, wanted: Wanted) -> list[Raster]:
    """`open_tiff`, for the tuple of formats."""
    return open_tiff(path, wanted.files, indices=wanted.labels)


def open_tiff(path: Path, stack: ExitStack, *, indices: bool = False) -> list[Raster]:
    """The images of a TIFF, or of the set of files that it is part of. They can be used until `stack` ends.

    With `indices` (for labels) a palette gives the number of each colour. Raises ContractileError where pixels or files
    are missing, for what is not read, and for metadata that name files elsewhere.
    """
    with one_clear_line(path):
        tiff = _open(path, stack)
        _check_chain(tiff, path)
        _check_texts(tiff.pages.first, path)
        ome = settle_ome(tiff.ome_metadata or "", path) if tiff.is_ome else Ome()
        if ome.xml is not None:
            tiff = stack.enter_context(tifffile.TiffFile(path, omexml=ome.xml))
        check_sets(tiff, path)
        images = _images(tiff, ome, path)
        rasters = [_raster(tiff, series, image, path, stack) for series, image in images]
        if ome.notes:
            rasters = [replace(rasters[0], notes=(*ome.notes, *rasters[0].notes)), *rasters[1:]]
        form = "imagej" if tiff.is_imagej else "ome" if ome.images else ""
        several = [series for series, _ in images]
        return [
            replace(
                interpret(raster, series.keyframe, path, form=form, indices=indices),
                lower=partial(_lower, series, path, stack, form, indices),
            )
            for raster, series in zip(rasters, several, strict=True)
        ]


def _lower(series: tifffile.TiffPageSeries, path: Path, stack: ExitStack, form: str, indices: bool) -> list[Raster]:
    """The lower resolutions of an image. Raises as `open_tiff`."""
    found = []
    for level in series.levels[1:]:
        page = level.keyframe
        said = page.is_reduced or page.is_subifd or series.kind not in PLAIN
        if not said or len(level.shape) != len(series.shape):
            continue  # tifffile takes any smaller page for a lower resolution
        check_pixels(level, path)
        raster = Raster(series.axes, tuple(level.shape), level.dtype, _loader(level, stack))
        found.append(interpret(raster, page, path, form=form, indices=indices, upright=series.keyframe))
    return found


def _open(path: Path, stack: ExitStack) -> tifffile.TiffFile:
    try:
        tiff = stack.enter_context(tifffile.TiffFile(path))
    except tifffile.TiffFileError as error:
        if "not a TIFF" not in str(error) and "TIFF version" not in str(error):
            raise
        with path.open("rb") as file:
            head = file.read(8)
        problem = f"is no TIFF: it begins with {head!r} (another format, or encrypted?)"
        raise ContractileError(problem, "export the image again as TIFF", where=path) from error
    if not tiff.pages:
        raise EOFError("no page of pixels in it")
    return tiff


def _check_chain(tiff: tifffile.TiffFile, path: Path) -> None:
    """Raise ContractileError where the pages of a file follow one another in a circle, or are too many to list."""
    form, offset, seen = tiff.tiff, tiff.pages.first.offset, set[int]()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while offset and offset not in seen and offset + form.tagnosize <= len(data):
            seen.add(offset)
            [tags] = struct.unpack_from(form.tagnoformat, data, offset)
            end = offset + form.tagnosize + tags * form.tagsize
            if end + form.offsetsize > len(data):
                return  # tifffile says what is missing
            [offset] = struct.unpack_from(form.offsetformat, data, end)
    check_pages(len(seen), path)
    if offset in seen:
        raise ContractileError("its pages follow one another in a circle", "export it again", where=path)


def _check_texts(page: tifffile.TiffPage, path: Path) -> None:
    """Raise ContractileError where a text in which tifffile may look for XML has entities or is too long."""
    for tag in XML_TAGS:
        text = page.tags.valueof(tag)
        if isinstance(text, bytes):
            text = text.decode("utf-8", "replace")
        if isinstance(text, str):
            check_xml(text, path)


def _images(tiff: tifffile.TiffFile, ome: Ome, path: Path) -> list[tuple[tifffile.TiffPageSeries, Element | None]]:
    """All images of the file and their metadata, without the thumbnails and overviews that slide scanners add."""
    series = list(tiff.series)
    if tiff.is_imagej and series[0].kind != "imagej":
        _check_stack(tiff, path)
    if series[0].kind == "ome":
        if len(series) != len(ome.images):
            problem = f"its metadata describe {len(ome.images)} images, but its pages make up {len(series)}"
            raise ContractileError(problem, "export it again", where=path)
        pairs: list[tuple[tifffile.TiffPageSeries, Element | None]] = list(zip(series, ome.images, strict=True))
    else:
        pairs = [(one, ome.images[0] if ome.images else None) for one in series]
    if series[0].kind not in PLAIN:
        return pairs[:1]
    return [pair for pair in pairs if not pair[0].keyframe.is_reduced] or pairs[:1]


def _check_stack(tiff: tifffile.TiffFile, path: Path) -> None:
    """ImageJ writes all planes behind its first page. tifffile gives up on them where the file ends too early."""
    page, facts = tiff.pages.first, tiff.imagej_metadata or {}
    counted = math.prod(int(facts.get(axis, 1)) for axis in ("frames", "slices", "channels"))
    planes = max(counted, int(facts.get("images", 1)))
    if page.is_final:
        cure = f"{AGAIN}; a stack of ImageJ cannot be filled with 0"
        check_end(page, page.dataoffsets[0] + planes * page.nbytes, path, cure)


def _raster(
    tiff: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    image: Element | None,
    path: Path,
    stack: ExitStack,
) -> Raster:
    page = series.keyframe
    facts = _facts(tiff, page)
    notes = (*check_pixels(series, path), *(notes_of_imagej(facts) if tiff.is_imagej else ()))
    if image is None and series.kind == "lsm":
        scale, interval = lsm_scale(tiff.lsm_metadata or {})
    elif image is None:
        scale, interval = tiff_scale(page, facts, imagej=tiff.is_imagej), tiff_interval(facts)
        scale |= svs_scale(page.description) if series.kind == "svs" else {}
    else:
        scale, interval = ome_scale(image), ome_interval(image)
    channels = of_imagej(facts) if tiff.is_imagej else of_ome(image)
    axes = series.axes if max(map(series.axes.count, "YX")) == 1 else "Q" * len(series.axes)  # XYX for one pixel
    return Raster(
        axes,
        tuple(series.shape),
        series.dtype,
        _loader(series, stack),
        scale=scale,
        interval_s=interval,
        guessed=_is_guess(series, facts) or axes != series.axes,
        notes=notes,
        files=_files(series, path),
        channels=channels,
    )


def _loader(series: tifffile.TiffPageSeries, stack: ExitStack) -> Callable[[], Any]:
    """How to get the stored array: mapped into memory where it is plain, else read strip by strip or tile by tile."""
    offset = None if series.is_multifile else series.dataoffset
    if offset is not None:
        file = series.keyframe.parent
        dtype = np.dtype(file.byteorder + series.dtype.char)
        if offset + series.nbytes > file.filehandle.size:  # whoever checks the pixels allows it
            return cache(partial(load_cut, Path(file.filehandle.path), dtype, offset, series.shape))
        return partial(np.memmap, file.filehandle.path, dtype, "r", offset, series.shape)

    @cache
    def chunked() -> Any:
        watch_decoders(series)
        if 1 in series.shape[-2:]:  # tifffile chunks an image one pixel wide in a way it cannot read
            return series.asarray(level=0)
        import zarr  # slow to load, and small files need none

        array = zarr.open_array(stack.enter_context(series.aszarr(level=0)), mode="r")
        y = series.axes.find("Y") if array.ndim == len(series.axes) else -1
        return Bands(array, y) if y >= 0 and array.chunks[y + 1] == array.shape[y + 1] else array

    return chunked


def _facts(tiff: tifffile.TiffFile, page: tifffile.TiffPage) -> Mapping[str, Any]:
    """What ImageJ, or tifffile itself, has written about an image."""
    if tiff.is_imagej:
        return tiff.imagej_metadata or {}
    try:
        facts = json.loads(page.shaped_description or "{}")
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_guess(series: tifffile.TiffPageSeries, facts: Mapping[str, Any]) -> bool:
    """Whether the letters of the axes are tifffile's, not the file's.

    It writes any array as ImageJ's or OME's, too, and takes the last axis for X where nobody names the axes.
    """
    if "axes" in facts:
        return False
    if "S" in series.axes:
        return series.kind == "shaped" and "SYX" in series.axes
    if UNNAMED & set(series.axes):
        return True
    is_thin = len(series.shape) > 2 and series.axes.endswith("YX") and series.shape[-1] <= FEW < min(series.shape[:-1])
    return is_thin and str(series.keyframe.software).startswith("tifffile")


def _files(series: tifffile.TiffPageSeries, path: Path) -> tuple[Path, ...]:
    """All files that hold pixels of an image, in order."""
    if not series.is_multifile:
        return (path.with_name(series.keyframe.parent.filehandle.name),)
    names = {page.parent.filehandle.name: None for page in series.pages if page is not None}
    return tuple(path.with_name(name) for name in names)
