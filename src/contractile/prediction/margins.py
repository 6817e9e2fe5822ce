"""The margin that a network needs: how far the border of what it sees reaches into what it says.

One look at windows with nothing beyond their border tells it for all margins at once: a pixel's distance from the
border is the margin for which it would be kept.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from contractile.prediction.peers import look
from contractile.prediction.tilings import Floats, Part, Region, Sides, Watched

VISIBLE = 1 / 256  # what a map of 8 bits can show


@dataclass(frozen=True, eq=False)
class Margins:
    """Pixels per axis that a tile must drop; `kept` are those that we drop, which no network of this shape exceeds.

    Beyond `needed` differences are at most `rounding`, beyond `visible` they are under 1/256. `curves` hold for each
    axis the largest difference when 0, 1, ... pixels are dropped.
    """

    kept: Sides
    needed: Sides
    visible: Sides
    rounding: float
    curves: tuple[Floats, ...]


def measure_margins(network: Watched, part: Part, whole: Floats, rounding: float) -> Margins:
    """What a network needs in a part of an image; `whole` (K, *S) is what it says about all of it at once.

    Unpadded networks take their margin away themselves; for them it is how far zeros around a window are felt.
    """
    kept = network.config.margin
    raw = [np.zeros(rim + 1, np.float32) for rim in kept]
    for window in border_windows(part):
        there, here = part.overlap(window)
        seen = look(network, part.read(window), "zeros")[(slice(None), *here)]
        differences = np.abs(seen - whole[(slice(None), *there)]).max(axis=0)
        for axis, curve in enumerate(raw):
            _note(curve, differences, here, axis, part)
    curves = tuple(np.maximum.accumulate(curve[::-1])[::-1] for curve in raw)
    rounding = max([rounding, *(float(curve[-1]) for curve in curves)])
    needed = tuple(int(np.argmax(curve <= rounding)) for curve in curves)
    visible = tuple(int(np.argmax(curve <= max(rounding, VISIBLE))) for curve in curves)
    return Margins(kept, needed, visible, rounding, curves)


def _note(curve: Floats, differences: Floats, here: Region, axis: int, part: Part) -> None:
    """Raise a curve to the `differences` at the region `here` of a window, where only borders along `axis` reach."""
    inner = []
    for other, (side, rim, long) in enumerate(zip(here, part.config.margin, part.window, strict=True)):
        low, high = (0, long) if other == axis else (rim, long - rim)
        inner.append(slice(max(low - side.start, 0), max(high - side.start, 0)))
    along = differences[tuple(inner)]
    if along.size:
        profile = along.max(axis=tuple(other for other in range(along.ndim) if other != axis))
        place = here[axis].start + np.arange(len(profile))
        distance = np.minimum(place, part.window[axis] - 1 - place)
        np.maximum.at(curve, np.minimum(distance, len(curve) - 1), profile)


def border_windows(part: Part) -> list[Region]:
    """Windows on the pooling grid whose borders lie in the part, or near enough to be felt there."""
    axes = []
    for n, long, rim, stride in zip(part.size, part.window, part.config.margin, part.config.stride, strict=True):
        starts = set(range(0, n - long + 1, long))
        if not starts:
            last, step = (n - long) // stride * stride, max(1, n // stride) * stride
            starts = {start for by in range(0, max(rim, 1), step) for start in (-by, last + by)}
        axes.append([slice(start, start + long) for start in sorted(starts)])
    return list(itertools.product(*axes))
