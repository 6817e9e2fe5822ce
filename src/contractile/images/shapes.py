"""Objects as shapes: the masks that programs found, and the rings that people or programs drew around objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.labels import Ring, outline


@dataclass(frozen=True)
class Shape:
    """The rings (n, 2) around one object, as `labels.draw` takes them: (y, x) in pixels from the corner of the image.

    `kind` is the name of its class, empty where it has none. `plane` are the places of its page along axes such as T
    and Z, from 0; along "" the pages of a file are counted. `measured` are numbers about it, such as its area, by
    their names.
    """

    rings: tuple[Ring, ...]
    kind: str = ""
    name: str = ""
    plane: Mapping[str, int] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Mask:
    """An object of one plane: its pixels (Y, X) within its box, whose corner is (top, left). The rest as of `Shape`."""

    pixels: NDArray[np.bool_]
    top: int
    left: int
    kind: str = ""
    name: str = ""
    plane: Mapping[str, int] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)

    def outlined(self) -> Shape:
        """The same object by the rings around it."""
        found = outline(self.pixels.astype(np.uint8))
        corner = np.array([self.top, self.left])
        rings = (found.points[a:b] + corner for a, b in zip(found.starts[:-1], found.starts[1:], strict=True))
        more: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "name", "plane", "measured")}
        return Shape(tuple(rings), **more)
