"""Shapes that people or programs drew around objects, as files hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from contractile.labels import Ring


@dataclass(frozen=True)
class Shape:
    """The rings (n, 2) around one object, as `labels.draw` takes them: (y, x) in pixels from the corner of the image.

    `kind` is the name of its class, empty where it has none. `plane` are the places of its page along axes such as T
    and Z. `measured` are numbers about it, such as its area, by their names.
    """

    rings: tuple[Ring, ...]
    kind: str = ""
    name: str = ""
    plane: Mapping[str, int] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
