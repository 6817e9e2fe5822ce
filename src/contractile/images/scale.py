"""The size of a pixel in micrometres and the time between frames in seconds, as the many kinds of files give them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

import tifffile

from contractile.images.tiff_forms import SOFTWARE, is_by_tifffile

INCHES = ("inch", "in")

# spellings of units by their size; the two kinds of \u00b5 are the micro sign and the Greek letter
LENGTHS = {  # in micrometres
    1e9: "km kilometer kilometre",
    1e6: "m meter metre",
    1e5: "dm",
    1e4: "cm centimeter centimetre",
    1e3: "mm millimeter millimetre",
    1.0: "um \u00b5m \u03bcm micron microns micrometer micrometers micrometre micrometres",
    1e-3: "nm nanometer nanometers nanometre",
    1e-4: "å angstrom angstroms",
    1e-6: "pm picometer",
    25400.0: " ".join(INCHES),
}
TIMES = {  # in seconds
    86400.0: "d day days",
    3600.0: "h hr hour hours",
    60.0: "min minute minutes",
    1.0: "s sec second seconds",
    1e-3: "ms msec millisecond milliseconds",
    1e-6: "us \u00b5s \u03bcs microsecond microseconds",
    1e-9: "ns nanosecond nanoseconds",
}
MICROMETRES = {name: size for size, names in LENGTHS.items() for name in names.split()}
SECONDS = {name: size for size, names in TIMES.items() for name in names.split()}
MPP = re.compile(r"\|\s*MPP\s*=\s*([0-9.]+)")
CENTIMETRE = 3  # of the tag ResolutionUnit
PRINTED = (*(dots / 2.54 for dots in (72, 96, 150, 300, 600)), 10.0)  # usual resolutions of printers, per centimetre
ROUNDING = 1e-3


def in_micrometres(value: Any, unit: Any) -> float | None:
    """`value` in micrometres; None where it is no size or the unit is unknown."""
    return _times(value, MICROMETRES.get(_spelled(unit)))


def micrometres(place: Any, unit: Any) -> float | None:
    """A place, which may be negative, in micrometres; None where it is no number or the unit is unknown."""
    factor = MICROMETRES.get(_spelled(unit))
    if factor is None or not isinstance(place, int | float) or not math.isfinite(place):
        return None
    return place * factor


def in_seconds(value: Any, unit: Any) -> float | None:
    """`value` in seconds; None where it is no time or the unit is unknown."""
    return _times(value, SECONDS.get(_spelled(unit)))


def _spelled(unit: Any) -> str:
    return str(unit).replace("\\u00B5", "u").strip().strip('"').lower()


def _times(value: Any, factor: float | None) -> float | None:
    try:
        size = abs(float(value)) * (factor or 0.0)  # ImageJ gives planes in falling order a negative distance
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None


def _known(**sizes: float | None) -> dict[str, float]:
    return {axis: size for axis, size in sizes.items() if size is not None}


def tiff_scale(page: tifffile.TiffPage, facts: Mapping[str, Any], *, imagej: bool) -> dict[str, float]:
    """From the resolution in the tags of a page, and from `facts` (ImageJ's or tifffile's) with their unit.

    A resolution per inch is not used: it is nearly always the 72 or 300 dpi of a printer, which ImageJ keeps as its
    unit. Nor is that of a printer per centimetre, unless tifffile or this package wrote it. Otherwise ImageJ counts
    pixels per unit, whatever the tag says of the unit.
    """
    x, y = (_step(page.tags.valueof(f"{axis}Resolution")) for axis in "XY")
    unit = facts.get("unit")
    kind = page.tags.valueof("ResolutionUnit")
    if not imagej and kind != CENTIMETRE and x == y == 1:
        x = y = None  # tifffile writes this where it knows nothing
    z = _not_of_a_printer(facts.get("spacing"), facts.get("zunit", unit))
    if unit is not None and (imagej or kind != CENTIMETRE):
        return _known(X=_not_of_a_printer(x, unit), Y=_not_of_a_printer(y, facts.get("yunit", unit)), Z=z)
    if kind == CENTIMETRE and (facts or _makes_up_nothing(page) or not (_is_of_a_printer(x) and _is_of_a_printer(y))):
        return _known(X=in_micrometres(x, "cm"), Y=in_micrometres(y, "cm"), Z=z)
    return _known(Z=z)


def _not_of_a_printer(value: Any, unit: Any) -> float | None:
    """`value` in micrometres; None also where it is in inches."""
    return None if _spelled(unit) in INCHES else in_micrometres(value, unit)


def _is_of_a_printer(step: float | None) -> bool:
    """Whether so many centimetres per pixel are a usual resolution of printers, which may be rounded."""
    return step is not None and any(abs(1 / step - one) < ROUNDING * one or 1 / step == round(one) for one in PRINTED)


def _makes_up_nothing(page: tifffile.TiffPage) -> bool:
    """Whether tifffile wrote a page, perhaps for this package: it makes up no resolution of its own."""
    return is_by_tifffile(page) or str(page.software).startswith(SOFTWARE)


def _step(resolution: Any) -> float | None:
    """Units per pixel, of a tag that gives pixels per unit as a fraction."""
    if not (isinstance(resolution, tuple) and len(resolution) == 2 and all(resolution)):
        return None
    return float(resolution[1]) / float(resolution[0])


def tiff_interval(facts: Mapping[str, Any]) -> float | None:
    """From ImageJ's `finterval`, in seconds where it names no other unit of time."""
    return in_seconds(facts.get("finterval"), facts.get("tunit", "s"))


def svs_scale(description: str) -> dict[str, float]:
    """From `MPP = 0.2525` in the description of a slide of Aperio: micrometres per pixel."""
    found = MPP.search(description)
    size = in_micrometres(found[1], "um") if found else None
    return _known(Y=size, X=size)


def lsm_scale(facts: Mapping[str, Any]) -> tuple[dict[str, float], float | None]:
    """From the table of Zeiss's LSM: metres per pixel, and the seconds between two frames."""
    sizes = {axis: in_micrometres(facts.get(f"VoxelSize{axis}"), "m") for axis in "XYZ"}
    return _known(**sizes), in_seconds(facts.get("TimeInterval") or facts.get("TimeIntervall"), "s")


def ome_scale(image: Element) -> dict[str, float]:
    """From PhysicalSizeX, Y and Z of an <Image>, in micrometres where it names no other unit."""
    pixels = image.find("{*}Pixels")
    if pixels is None:
        return {}
    sizes = {axis: f"PhysicalSize{axis}" for axis in "XYZ"}
    return _known(
        **{axis: in_micrometres(pixels.get(name), pixels.get(f"{name}Unit", "um")) for axis, name in sizes.items()}
    )


def ome_interval(image: Element) -> float | None:
    """From TimeIncrement of an <Image>, else from the times of its planes (DeltaT): the mean over the whole series."""
    pixels = image.find("{*}Pixels")
    if pixels is None:
        return None
    increment = in_seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    return increment or _mean_interval(pixels)


def _mean_interval(pixels: Element) -> float | None:
    first = [one for one in pixels.findall("{*}Plane") if one.get("TheZ") == "0" and one.get("TheC") == "0"]
    try:
        times = {int(one.get("TheT", "")): float(one.get("DeltaT", "")) for one in first}
    except ValueError:
        return None
    if len(times) < 2:
        return None
    start, end = min(times), max(times)
    return in_seconds((times[end] - times[start]) / (end - start), first[0].get("DeltaTUnit", "s"))
