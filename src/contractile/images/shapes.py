"""Objects as shapes: the masks that programs found, and the rings that people or programs drew around objects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.labels import Ring, outline

NUMBER = re.compile(r"([1-9][0-9]{0,6})(?: \([0-9]+\))?")
LARGEST_NUMBER = 9_999_999


def number_in(name: str) -> int:
    """The number of an object, where its name is one: 12, or 12 (3) where names had to differ. 0 for other names."""
    found = NUMBER.fullmatch(name)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Shape:
    """The rings (n, 2) around one object, as `labels.draw` takes them: (y, x) in pixels from the corner of the image.

    `kind` is the name of its class, empty where it has none. `plane` are the places of its page along axes such as T
    and Z, from 0; along "" all planes of a file are counted. `measured` are numbers about it, such as its area, by
    their names. `number` is that of its object, which has shapes in several planes of a volume; 0 where none is known.
    A ring inside a ring is a hole; with `pieces`, rings are pieces of the object instead, which may overlap.
    """

    rings: tuple[Ring, ...]
    kind: str = ""
    name: str = ""
    plane: Mapping[str, int] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    number: int = 0
    pieces: bool = False


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
    number: int = 0

    def outlined(self) -> Shape:
        """The same object by the rings around it."""
        found = outline(self.pixels.astype(np.uint8))
        corner = np.array([self.top, self.left])
        rings = (found.points[a:b] + corner for a, b in zip(found.starts[:-1], found.starts[1:], strict=True))
        more: dict[str, Any] = {name: getattr(self, name) for name in ("kind", "name", "plane", "measured", "number")}
        return Shape(tuple(rings), **more)
