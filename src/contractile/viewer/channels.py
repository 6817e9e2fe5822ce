"""How channels are shown: their names and colours, and what is black and what is bright."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images import Channel, Image
from contractile.viewer.lower import sample

LOW, HIGH = 0.5, 99.8  # percentiles that become black and bright
SAMPLE = 2**16  # pixels of each channel that they are taken from ...
MOST = 2**22  # ... and that are read for them
COLOURED = ("red", "green", "blue")
COLOURS = ("FF0000", "00FF00", "0000FF")
DISTINCT = ("FF00FF", "00FF00", "00FFFF", "FFFF00", "FF8C00", "4080FF", "FF6090", "B0B0B0")  # of fluorescence
GREY = "FFFFFF"


@dataclass(frozen=True)
class ChannelFacts:
    """A channel as it is first shown: `low` is black, `high` has the full `colour`, such as "#00ff00"."""

    name: str
    colour: str
    low: float
    high: float


def describe_channels(image: Image) -> tuple[ChannelFacts, ...]:
    """The channels of an image (C, Y, X): by its file where that says something. Bounded work for any size."""
    count = image.shape[0]
    said = image.channels or (Channel(),) * count
    is_picture = count == len(COLOURED) and image.dtype == np.uint8 and not _are_stained(image.channels)
    ranges = [(0.0, 255.0)] * count if is_picture else [_range(one) for one in _sample(image)]
    shown = zip(_names(said), _colours(said), ranges, strict=True)
    return tuple(ChannelFacts(name, f"#{colour.lower()}", *limits) for name, colour, limits in shown)


def _are_stained(said: Sequence[Channel]) -> bool:
    """Whether a file names stains instead of red, green and blue."""
    named = {one.name.lower() for one in said if one.name}
    coloured = {one.colour for one in said if one.colour}
    return bool(named - set(COLOURED) or coloured - set(COLOURS))


def _names(said: Sequence[Channel]) -> list[str]:
    usual = {1: ("grey",), len(COLOURED): COLOURED}.get(len(said), ())
    if any(one.name or one.colour for one in said):
        usual = ()
    numbered = usual or [f"channel {number}" for number in range(1, len(said) + 1)]
    return [one.name or default for one, default in zip(said, numbered, strict=True)]


def _colours(said: Sequence[Channel]) -> list[str]:
    usual = {1: (GREY,), len(COLOURS): COLOURS}.get(len(said), DISTINCT)
    return [one.colour or usual[number % len(usual)] for number, one in enumerate(said)]


def _sample(image: Image) -> NDArray[Any]:
    """Evenly spread pixels (C, y, x): about SAMPLE of each channel, of the lowest resolution that has so many."""
    level = next((one for one in reversed(image.levels) if math.prod(one.shape[1:]) >= SAMPLE), image)
    _, y, x = level.shape
    factor = max(1, round(math.sqrt(y * x / SAMPLE)))
    region = (slice(0, math.ceil(y / factor)), slice(0, math.ceil(x / factor)))
    units = level.unit
    return sample(level, (units[0], units[1]), region, factor=factor, most=MOST * level.shape[0])


def _range(values: NDArray[Any]) -> tuple[float, float]:
    """What is black and what is bright in pixels (y, x), of which some may be NaN."""
    found = values[np.isfinite(values)].astype(np.float64)
    if not found.size:
        return 0.0, 1.0
    low, high = np.percentile(found, (LOW, HIGH))
    if low >= high:  # few bright spots on a flat background
        low, high = found.min(), found.max()
    return float(low), float(high if high > low else low + 1)
