"""What the numbers in a TIFF mean: grey from black or from white, colours in several systems, transparency.

ImageJ and OME keep lookup tables for display beside grey values. Those are no colours, and an inverting one does not
turn values over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.raster import Raster, Recoloured, Turned
from contractile.images.tiff_forms import is_by_tifffile

WHITE_IS_ZERO, RGB, PALETTE, INKS, YCBCR = 0, 2, 3, 5, 6
GREY, FEW_BITS = (WHITE_IS_ZERO, 1, None), (1, 2, 4)
REFUSED = {8: "CIE L*a*b*", 9: "ICC L*a*b*", 10: "ITU L*a*b*", 32844: "LogL", 32845: "LogLuv"}
TRANSPARENCY = (1, 2)  # kinds of extra samples
OPAQUE = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
MOSTLY, NEARLY_ALL = 0.5, 0.98  # share of the pixels that are opaque, opaque or clear, in a picture with transparency
ROWS, COLUMNS = 8, 4096  # of the first page that are looked at
PHOTOMETRIC, ORIENTATION, INK_SET, WEIGHTS, REFERENCE = 262, 274, 332, 529, 532  # tags
JPEG = (6, 7, 33007, 34892)  # compressions

TRANSPARENT = "its transparency (alpha channel) is left out"
OPAQUE_NOT = "its last sample is marked as transparency, but does not look like it: it is read as a channel"
CMYK = "its CMYK colours are converted to RGB"
OTHER_INKS = "its inks are not CMYK: each is read as a channel"
TURNED = "turned as its orientation tag says"
FROM_WHITE = "its values are marked as min-is-white and turned over"
BITS_FROM_WHITE = (
    "its bits are marked as min-is-white, as tifffile marks every boolean array, and turned over; save masks as uint8"
)
NUMBERS_FROM_WHITE = "its values are marked as min-is-white; as numbers of labels, they are kept"
NOT_FROM_WHITE = "its values are marked as min-is-white; as floats, or with ImageJ's inverted display, they are kept"
LOOKUP = "its lookup table is taken for a display of grey values, not for colours"
INVERTED = "its lookup table shows small values as bright; the values are kept as they are"
CALIBRATED = "its calibration (value = {} + {} x stored number) is not applied: the stored numbers are read"
MOSAIC = "its pixels lie behind a mosaic of colour filters; they are read as grey values"

Convert = Callable[[NDArray[Any]], NDArray[Any]]


def notes_of_imagej(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """What ImageJ would show in another way than the stored numbers are, by its metadata."""
    notes = []
    tables = facts.get("LUTs", ())
    tables = [tables] if isinstance(tables, np.ndarray) else tables  # tifffile gives a single one as it is
    if any(len(table) == 3 and (table == table[0]).all() and table[0, 0] > table[0, -1] for table in tables):
        notes.append(INVERTED)
    line = (facts.get("c0", 0), facts.get("c1", 1))
    if facts.get("cf") == 0 and line != (0, 1):
        notes.append(CALIBRATED.format(*line))
    return tuple(notes)


def interpret(
    raster: Raster,
    page: tifffile.TiffPage,
    path: Path,
    *,
    form: str,
    indices: bool,
    upright: tifffile.TiffPage | None = None,
) -> Raster:
    """The raster with the values that the tags of its page mean, converted where it is sliced.

    `form` is that of its metadata: "imagej", "ome" or another. With `indices` (for labels) a palette gives the number
    of each colour, and values from white are kept, except for bits: a mask is what viewers show. `upright` is the page
    that says which side is up, where it is another.
    Raises ContractileError for colours in a system that is not read.
    """
    kind = int(page.photometric) if PHOTOMETRIC in page.tags else None
    if kind in REFUSED:
        raise ContractileError(f"its colours are {REFUSED[kind]}, which is not read", "save it as RGB", where=path)
    if kind == WHITE_IS_ZERO:
        raster = _from_white(raster, page, form, indices=indices)
    elif kind == PALETTE and not indices:
        raster = _with_colours(raster, page, form)
    elif kind == INKS:
        raster = _without_inks(raster, page)
    elif kind == YCBCR and not _is_rgb_when_decoded(page):
        raster = _from_luminance(raster, page, path)
    elif kind == 32803:
        raster = _with_note(raster, MOSAIC)
    if kind in GREY and page.bitspersample in FEW_BITS and not indices:
        raster = _stretched(raster, page.bitspersample)
    raster = _without_transparency(raster, page, kind)
    return _turned(raster, upright or page)


def _with_note(raster: Raster, note: str) -> Raster:
    return replace(raster, notes=(*raster.notes, note))


def _from_white(raster: Raster, page: tifffile.TiffPage, form: str, *, indices: bool) -> Raster:
    if indices and page.bitspersample != 1:
        return _with_note(raster, NUMBERS_FROM_WHITE)
    if raster.dtype.kind == "f" or (form == "imagej" and page.bitspersample != 1):
        return _with_note(raster, NOT_FROM_WHITE)
    note = BITS_FROM_WHITE if page.bitspersample == 1 and is_by_tifffile(page) else FROM_WHITE
    whole = raster.dtype.kind == "b" or page.bitspersample == 8 * raster.dtype.itemsize
    convert: Convert = np.invert if whole else partial(np.subtract, raster.dtype.type(2**page.bitspersample - 1))
    samples = raster.axes.find("S")
    if samples >= 0:
        return _with_note(_recoloured(raster, partial(_first_sample, convert)), note)
    load, shape = raster.load, raster.lengths
    return _with_note(replace(raster, load=lambda: Recoloured(load(), shape, convert)), note)


def _stretched(raster: Raster, bits: int) -> Raster:
    """Grey of few bits from 0 to 255, as viewers show it."""
    load, shape, step = raster.load, raster.lengths, np.uint8(255 // (2**bits - 1))
    stretch = partial(np.multiply, step, dtype=np.uint8, casting="unsafe")
    return replace(raster, dtype=np.dtype(np.uint8), load=lambda: Recoloured(load(), shape, stretch))


def _first_sample(convert: Convert, values: NDArray[Any]) -> NDArray[Any]:
    """Only the first sample is grey; the others are transparency or further channels."""
    return np.concatenate([convert(values[..., :1]), values[..., 1:]], axis=-1)


def _with_colours(raster: Raster, page: tifffile.TiffPage, form: str) -> Raster:
    table = page.colormap
    if table is None or form in ("imagej", "ome") or set("CS") & set(raster.axes):
        return _with_note(raster, LOOKUP)
    bits = 8 if table.max() > 255 else 0  # some programs write 8 bits into the table of 16
    colours = (table >> bits).astype(np.uint8).T  # (N, 3)
    shape = (*raster.lengths, 3)
    load = raster.load
    return replace(
        raster,
        axes=f"{raster.axes}S",
        lengths=shape,
        dtype=colours.dtype,
        load=lambda: Recoloured(
            load(), shape, partial(np.take, colours, axis=0, mode="clip"), new_samples=len(shape) - 1
        ),
    )


def _recoloured(raster: Raster, convert: Convert, count: int | None = None) -> Raster:
    """The raster with `count` new samples in each pixel (None: as many as before), made by `convert` of its own."""
    place, load = raster.axes.index("S"), raster.load
    shape = tuple(count or n if axis == place else n for axis, n in enumerate(raster.lengths))
    return replace(raster, lengths=shape, load=lambda: Recoloured(load(), shape, convert, place, place))


def _without_inks(raster: Raster, page: tifffile.TiffPage) -> Raster:
    extra = len(page.extrasamples)
    is_cmyk = page.tags.valueof(INK_SET, 1) == 1 and page.samplesperpixel - extra == 4
    if not is_cmyk or "S" not in raster.axes or raster.dtype.kind != "u":
        return _with_note(raster, OTHER_INKS)
    raster = _recoloured(raster, _cmyk_to_rgb, 3)
    return replace(raster, notes=(*raster.notes, CMYK, *([TRANSPARENT] if extra else [])))


def _cmyk_to_rgb(inks: NDArray[Any]) -> NDArray[Any]:
    """(..., 4 and more) -> (..., 3) of the same type, as a printer without colour management would mix them."""
    full = np.iinfo(inks.dtype).max
    light = full - inks[..., :4].astype(np.uint64)
    mixed = (light[..., :3] * light[..., 3:] + full // 2) // full
    return mixed.astype(inks.dtype)


def _is_rgb_when_decoded(page: tifffile.TiffPage) -> bool:
    """Whether the decoder converts YCbCr: those of pictures do, that of JPEG neither planes nor beside transparency."""
    is_plain = page.planarconfig == 1 and not page.extrasamples
    return page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS and (is_plain or page.compression not in JPEG)


def _from_luminance(raster: Raster, page: tifffile.TiffPage, path: Path) -> Raster:
    if raster.dtype != np.uint8 or "S" not in raster.axes or page.samplesperpixel != 3:
        raise ContractileError("its YCbCr colours are not of 3 x 8 bits", "save it as RGB", where=path)
    weights = _fractions(page.tags.valueof(WEIGHTS), (0.299, 0.587, 0.114))
    usual = (0, 255, 128, 255, 128, 255)
    reference = _fractions(page.tags.valueof(REFERENCE), usual)
    if (reference[::2] == reference[1::2]).any():
        reference = np.asarray(usual, np.float32)
    return _recoloured(raster, partial(_ycbcr_to_rgb, weights=weights, reference=reference))


def _fractions(value: Any, default: tuple[float, ...]) -> NDArray[np.float32]:
    """A tag of fractions as floats."""
    pairs = np.asarray(value if value is not None else (), np.float64)
    if pairs.size != 2 * len(default) or not pairs[1::2].all():
        return np.asarray(default, np.float32)
    return (pairs[::2] / pairs[1::2]).astype(np.float32)


def _ycbcr_to_rgb(
    values: NDArray[Any], *, weights: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """(..., 3) -> (..., 3), by the formulas of TIFF 6.0, section 21."""
    black, white = reference[::2], reference[1::2]
    span = np.array([255, 127, 127], np.float32)
    y, blue, red = np.moveaxis((values - black) * span / (white - black), -1, 0)
    r = red * (2 - 2 * weights[0]) + y
    b = blue * (2 - 2 * weights[2]) + y
    g = (y - weights[2] * b - weights[0] * r) / weights[1]
    rgb: NDArray[np.uint8] = np.rint(np.stack([r, g, b], axis=-1)).clip(0, 255).astype(np.uint8)
    return rgb


def _without_transparency(raster: Raster, page: tifffile.TiffPage, kind: int | None) -> Raster:
    """The number of samples that are transparency. What does not look like it is a channel."""
    marked = [int(extra) in TRANSPARENCY for extra in page.extrasamples]
    unmarked = kind == RGB and page.samplesperpixel == 4 and 338 not in page.tags
    if kind == INKS or "S" not in raster.axes or not (marked == [False] * (len(marked) - 1) + [True] or unmarked):
        return raster
    if (unmarked or (kind == RGB and _marks_by_default(page))) and not _looks_transparent(raster):
        return raster if unmarked else _with_note(raster, OPAQUE_NOT)
    return _with_note(replace(raster, alpha=1), TRANSPARENT)


def _marks_by_default(page: tifffile.TiffPage) -> bool:
    """Whether tifffile may have marked the last of any four samples as transparency: its mark is 2, not 1."""
    return (is_by_tifffile(page) or page.is_imagej) and [int(extra) for extra in page.extrasamples] == [2]


def _looks_transparent(raster: Raster) -> bool:
    """Whether the last sample of the first page is opaque in many pixels, and hardly anywhere between."""
    if raster.dtype.kind != "u" or 0 in raster.lengths:
        return False
    y, x = (raster.lengths[raster.axes.index(axis)] for axis in "YX")
    rows = slice(0, y, max(y // ROWS, 1))
    region: dict[str, Any] = {"Y": rows, "X": slice(0, min(x, COLUMNS)), "S": -1}
    alpha = np.asarray(raster.load()[tuple(region.get(axis, 0) for axis in raster.axes)])
    opaque = max(float(np.mean(alpha == full)) for full in OPAQUE if full <= np.iinfo(alpha.dtype).max)
    return opaque >= MOSTLY or (opaque > 0 and opaque + float(np.mean(alpha == 0)) >= NEARLY_ALL)


def _turned(raster: Raster, page: tifffile.TiffPage) -> Raster:
    orientation = page.tags.valueof(ORIENTATION)
    if orientation not in range(2, 9):
        return raster
    y, x = raster.axes.index("Y"), raster.axes.index("X")
    lengths, scale, load = [*raster.lengths], dict(raster.scale), raster.load
    if orientation >= 5:
        lengths[y], lengths[x] = lengths[x], lengths[y]
        scale = {{"X": "Y", "Y": "X"}.get(axis, axis): size for axis, size in scale.items()}
    shape = tuple(lengths)
    turned = replace(
        raster, lengths=shape, scale=scale, load=lambda: Turned(load(), shape, y, x, orientation=orientation)
    )
    return _with_note(turned, TURNED)
