"""LabelMe's JSON: a file for each image, with its shapes.

Points are (x, y) in pixels from the upper left corner. Shapes of one label and one group are the pieces of one object.
A mask is a PNG within the box of its two points (https://github.com/wkentaro/labelme).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images.notes import say
from contractile.images.pictures import decode_mask
from contractile.images.shapes import Mask, Shape
from contractile.labels import Ring

RINGS = {"polygon": 3, "rectangle": 2, "circle": 2, "rotation": 3}  # the points that each has at least
SIDES = 64  # of the polygon that stands for a circle


def is_labelme(found: Any) -> bool:
    """Whether the values of a JSON file are those of LabelMe."""
    return isinstance(found, dict) and isinstance(found.get("shapes"), list) and "imagePath" in found


def size_of(found: Mapping[str, Any]) -> tuple[int, int] | None:
    """(Y, X) of the image; None where the file does not say it."""
    height, width = found.get("imageHeight"), found.get("imageWidth")
    return (int(height), int(width)) if height and width else None


def shapes_of(found: Mapping[str, Any], path: Path) -> list[Shape | Mask]:
    """The objects of the image; `path` is the file. Lines and points have no area and are left out, which is said.

    Raises ContractileError for a mask that cannot be read, and KeyError, TypeError or ValueError for other values.
    """
    groups: dict[tuple[str, Any], list[Ring]] = {}
    masks: list[Shape | Mask] = []
    left = 0
    for number, one in enumerate(found["shapes"]):
        kind, label = one.get("shape_type") or "polygon", str(one.get("label") or "")
        points = np.asarray(one["points"], np.float64).reshape(-1, 2)[:, ::-1]  # (y, x)
        if kind == "mask":
            masks.append(_mask(one["mask"], points, label, path))
        elif len(points) >= RINGS.get(kind, len(points) + 1):
            group = one.get("group_id")
            key = (label, ("alone", number) if group is None else ("group", str(group)))
            groups.setdefault(key, []).append(_ring(kind, points))
        else:
            left += 1
    if left:
        say(f"{left} of {len(found['shapes'])} shapes have no area and are left out", [path])
    rings: Iterator[Shape | Mask] = (
        Shape(tuple(of_one), kind=label, name=_name(label, key), pieces=True) for (label, key), of_one in groups.items()
    )
    return [*rings, *masks]


def _name(label: str, key: tuple[str, Any]) -> str:
    return f"{label} {key[1] + 1}" if key[0] == "alone" else f"{label} of group {key[1]}"


def _ring(kind: str, points: NDArray[np.float64]) -> Ring:
    if kind == "rectangle" and len(points) == 2:
        (top, left), (bottom, right) = points
        return np.array([[top, left], [top, right], [bottom, right], [bottom, left]])
    if kind == "circle":
        centre, edge = points[:2]
        angles = np.arange(SIDES) * (2 * np.pi / SIDES)
        around = np.stack([np.sin(angles), np.cos(angles)], axis=1)
        return np.asarray(centre + around * np.hypot(*(edge - centre)))
    return points


def _mask(text: str, points: NDArray[np.float64], label: str, path: Path) -> Mask:
    data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    top, left = (math.floor(value) for value in points.min(axis=0).tolist())  # raises for what is not finite
    return Mask(decode_mask(data, path) > 0, top, left, kind=label, name=label)
