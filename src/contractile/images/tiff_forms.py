"""Arrays with named axes -> a TIFF, in the form that most programs understand and that keeps what is known.

An ImageJ TIFF where ImageJ knows the type and the order of the axes; else an OME-TIFF; else a TIFF of tifffile's own
form, which holds any letters and axes of length 1. ImageJ and OME drop such axes. Large images are tiled, which
ImageJ's form is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from contractile.images.streaming import Deferred

SOFTWARE = "contractile"  # the mark by which files of this package are known from others
IMAGEJ_TYPES = ("uint8", "uint16", "float32")
IMAGEJ_BYTES = 2**31  # an ImageJ TIFF cannot be a BigTIFF
BIG_BYTES = 2**32 - 2**25  # from here on a file is a BigTIFF
OME_TYPES = ("int8", "int16", "int32", "uint8", "uint16", "uint32", "float32", "float64")
IMAGEJ_ORDER = "TZCYX"
BUFFER = 2**25  # bytes of tiles that are compressed at once
SMALLEST, LARGEST = 1e-5, 1e9  # pixel sizes in micrometres that the tags of a TIFF can hold


@dataclass(frozen=True)
class Part:
    """One image of a TIFF, with a letter for each axis of its values; the last two are Y and X.

    `size_um` is that of a pixel along Z, Y and X, `interval_s` the time between two frames; None where not known.
    """

    values: NDArray[Any] | Deferred
    axes: str
    size_um: tuple[float | None, float | None, float | None] = (None, None, None)
    interval_s: float | None = None

    @property
    def has_thin_axis(self) -> bool:
        """Whether an axis other than Y has length 1."""
        return 1 in (*self.values.shape[:-2], self.values.shape[-1])

    @property
    def has_tag_size(self) -> bool:
        """Whether the tags of a TIFF can hold the size along Y and X."""
        return all(size is not None and SMALLEST <= size <= LARGEST for size in self.size_um[1:])

    @property
    def fits_ome(self) -> bool:
        """Whether an OME-TIFF gives back its axes, in whatever order."""
        return set(self.axes) <= set(IMAGEJ_ORDER) and not self.has_thin_axis and self.values.dtype.name in OME_TYPES

    @property
    def fits_imagej(self) -> bool:
        letters = iter(IMAGEJ_ORDER)
        ordered = all(axis in letters for axis in self.axes) and not isinstance(self.values, Deferred)
        small = self.values.nbytes < IMAGEJ_BYTES and self.values.dtype.name in IMAGEJ_TYPES
        sized = self.has_tag_size or not any(self.size_um)  # ImageJ has one unit for all axes
        return ordered and small and sized and self.fits_ome


def write_parts(path: Path, parts: Sequence[Part]) -> None:
    """Write the images of one TIFF, compressed. Raises OSError."""
    imagej = len(parts) == 1 and parts[0].fits_imagej
    ome = not imagej and all(part.fits_ome for part in parts)
    describe = _for_imagej if imagej else _for_ome if ome else _for_tifffile
    big = sum(part.values.nbytes for part in parts) >= BIG_BYTES
    with tifffile.TiffWriter(path, imagej=imagej, ome=ome, bigtiff=big) as writer:
        for part in parts:
            writer.write(
                **_content(part.values),
                photometric="minisblack",
                compression="zlib",
                software=SOFTWARE,
                metadata={"axes": part.axes, **describe(part)},
                **_resolution(part, per_um=imagej),
            )


def _content(values: NDArray[Any] | Deferred) -> dict[str, Any]:
    if not isinstance(values, Deferred):
        return {"data": values}
    described = {"shape": values.shape, "dtype": values.dtype, "tile": values.tile, "buffersize": BUFFER}
    return {"data": values.tiles(), **described}


def _for_imagej(part: Part) -> dict[str, Any]:
    """The names of ImageJ: `spacing` is in `unit`, `finterval` in seconds."""
    z = part.size_um[0]
    known = {"unit": "um" if any(part.size_um) else None, "spacing": z, "finterval": part.interval_s}
    return {name: value for name, value in known.items() if value is not None}


def _for_ome(part: Part) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for axis, size in zip("ZYX", part.size_um, strict=True):
        known |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"} if size else {}
    return known | ({"TimeIncrement": part.interval_s, "TimeIncrementUnit": "s"} if part.interval_s else {})


def _for_tifffile(part: Part) -> dict[str, Any]:
    """There are no rules for names here, so they are those of ImageJ."""
    return _for_imagej(part)


def _resolution(part: Part, *, per_um: bool) -> dict[str, Any]:
    """The tags of pixels per micrometre (ImageJ's unit), or per centimetre."""
    _, y, x = part.size_um
    if not (part.has_tag_size and y and x):
        return {}
    if per_um:
        return {"resolution": (1 / x, 1 / y)}
    return {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}


def is_by_tifffile(page: tifffile.TiffPage) -> bool:
    """Whether tifffile wrote a page under its own name, or in its own form."""
    return str(page.software).startswith("tifffile") or page.shaped_description is not None
