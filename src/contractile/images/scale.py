"""The physical size of a pixel in micrometres, in the many ways in which files give it."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import tifffile

SPELLINGS = {  # of a unit, by its size in micrometres; the two kinds of \u00b5m are the micro sign and the Greek letter
    1e6: "m meter metre",
    1e5: "dm",
    1e4: "cm centimeter",
    1e3: "mm millimeter",
    1.0: "um \u00b5m \u03bcm micron microns micrometer micrometre",
    1e-3: "nm nanometer nanometre",
    1e-4: "å angstrom",
    1e-6: "pm",
    25400.0: "inch in",
}
MICROMETRES = {name: size for size, names in SPELLINGS.items() for name in names.split()}


def in_micrometres(value: Any, unit: Any) -> float | None:
    """`value` in micrometres; None where it is no size or the unit is unknown."""
    factor = MICROMETRES.get(str(unit).replace("\\u00B5", "u").strip().lower())
    try:
        size = float(value) * (factor or 0.0)
    except (TypeError, ValueError):
        return None
    return size if math.isfinite(size) and size > 0 else None


def _known(**sizes: float | None) -> dict[str, float]:
    return {axis: size for axis, size in sizes.items() if size is not None}


def tiff_scale(tiff: tifffile.TiffFile) -> dict[str, float]:
    """From ImageJ's unit, or from a resolution in pixels per centimetre.

    A resolution per inch is not used: it is nearly always the 72 or 300 dpi of a printer.
    """
    tags = tiff.pages.first.tags
    resolutions = [tags.valueof(f"{axis}Resolution") for axis in "XY"]
    if not all(isinstance(one, tuple) and len(one) == 2 and all(one) for one in resolutions):
        return {}
    x, y = (denominator / numerator for numerator, denominator in resolutions)
    if tiff.is_imagej:
        meta = tiff.imagej_metadata or {}
        unit = meta.get("unit")
        sizes = {"X": x, "Y": y, "Z": meta.get("spacing")}
        return _known(**{axis: in_micrometres(size, unit) for axis, size in sizes.items()})
    if tags.valueof("ResolutionUnit") == 3:  # centimetre
        return _known(X=in_micrometres(x, "cm"), Y=in_micrometres(y, "cm"))
    return {}


def ome_tiff_scale(xml: str | None) -> dict[str, float]:
    """From PhysicalSizeX, Y and Z of the first image, in micrometres where no unit is given."""
    try:
        root = ElementTree.fromstring(xml or "")
    except ElementTree.ParseError:
        return {}
    pixels = root.find(".//{*}Pixels")
    if pixels is None:
        return {}
    sizes = {
        axis: in_micrometres(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "um"))
        for axis in "XYZ"
    }
    return _known(**sizes)


def ome_zarr_scale(multiscale: dict[str, Any], axes: str) -> dict[str, float]:
    """From the scale of the full resolution times the scale of all resolutions."""
    sizes = [1.0] * len(axes)
    steps = [
        *multiscale["datasets"][0].get("coordinateTransformations", []),
        *multiscale.get("coordinateTransformations", []),
    ]
    for step in steps:
        if step.get("type") == "scale" and len(step.get("scale", [])) == len(axes):
            sizes = [size * factor for size, factor in zip(sizes, step["scale"], strict=True)]
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in multiscale.get("axes", axes)]
    named = zip(axes, sizes, units, strict=True)
    return _known(**{axis: in_micrometres(size, unit) for axis, size, unit in named if axis in "XYZ"})
