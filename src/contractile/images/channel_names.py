"""What a file says about its channels: their names, and the colours in which to show them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element

import numpy as np

from contractile.images.axes import Layout
from contractile.images.image import Channel

if TYPE_CHECKING:
    from contractile.images.raster import Raster

COLOURS = (Channel("red", "FF0000"), Channel("green", "00FF00"), Channel("blue", "0000FF"))  # of a colour picture
HEX = re.compile(r"#?([0-9a-fA-F]{6})")
LONGEST = 80  # letters of a name


def channels_of(raster: Raster, layout: Layout, count: int) -> tuple[Channel, ...]:
    """What the file of a raster says about its `count` channels; nothing where it speaks of another number of them."""
    if layout.channel_axis is not None and raster.axes[layout.channel_axis] == "S":
        return COLOURS if count == len(COLOURS) else ()
    return raster.channels if len(raster.channels) == count else ()


def of_ome(image: Element | None) -> tuple[Channel, ...]:
    """From the elements <Channel> of an <Image>. A colour there is a signed number: red, green, blue, opacity."""
    found = [] if image is None else image.findall("{*}Pixels/{*}Channel")
    return tuple(Channel(_name(one.get("Name")), _colour_of(one.get("Color"))) for one in found)


def _colour_of(number: str | None) -> str | None:
    try:
        return f"{int(number or '') & 0xFFFFFFFF:08X}"[:6]
    except ValueError:
        return None


def of_omero(omero: Any) -> tuple[Channel, ...]:
    """From the part `omero` of OME-Zarr's metadata. What is no list of tables says nothing."""
    found = omero.get("channels") if isinstance(omero, dict) else None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        return ()
    return tuple(Channel(_name(one.get("label")), _hex(one.get("color"))) for one in found)


def of_imagej(facts: Mapping[str, Any]) -> tuple[Channel, ...]:
    """From the lookup tables (3, 256) of ImageJ: the brightest colour of each."""
    tables = facts.get("LUTs", ())
    tables = [tables] if isinstance(tables, np.ndarray) and tables.ndim == 2 else tables
    return tuple(Channel(None, "{:02X}{:02X}{:02X}".format(*(int(one) for one in table[:, -1]))) for table in tables)


def _hex(colour: Any) -> str | None:
    match = HEX.fullmatch(colour) if isinstance(colour, str) else None
    return match[1].upper() if match else None


def _name(name: Any) -> str | None:
    return " ".join(name.split())[:LONGEST] or None if isinstance(name, str) else None


def of_argb(*elements: Element | None) -> Channel:
    """From elements <Channel Name=""> with a <Color>#AARRGGBB</Color>: what the first one lacks, the next may have."""
    there = [one for one in elements if one is not None]
    names = [_name(one.get("Name")) for one in there]
    colours = [_hex((one.findtext("Color") or "")[-6:]) for one in there]
    return Channel(next(filter(None, names), None), next(filter(None, colours), None))


WORDS = {
    "red": "FF0000",
    "green": "00FF00",
    "blue": "0000FF",
    "cyan": "00FFFF",
    "magenta": "FF00FF",
    "yellow": "FFFF00",
    "gray": "FFFFFF",
    "grey": "FFFFFF",
}


def of_word(name: Any, colour: Any) -> Channel:
    """From a name and the English word for a colour, as makers have them for their lookup tables."""
    return Channel(_name(name), WORDS.get(str(colour).lower()))


def of_rgb(name: Any, colour: tuple[int, int, int]) -> Channel:
    """From a name and a colour of three numbers up to 255; black says nothing, since it would not show."""
    return Channel(_name(name), "{:02X}{:02X}{:02X}".format(*colour) if any(colour) else None)
