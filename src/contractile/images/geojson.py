"""GeoJSON as QuPath reads and writes it: a feature for each object.

Coordinates are pixels (x, y) of the full resolution, from its upper left corner, and the last corner of a ring is the
first (https://qupath.readthedocs.io, "Exporting annotations"; RFC 7946). A feature has a class and its colour in
`classification`, numbers in `measurements`, and its plane in the geometry. `page` in a plane is ours: it counts all
planes of a file whose axes have names that GeoJSON does not know.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.images.json_text import fitting, load_json
from contractile.images.notes import say
from contractile.images.shapes import Shape, number_in
from contractile.labels import Ring, polygons
from contractile.storage import replacing

WHAT, AGAIN = "GeoJSON of polygons", "export it again, from QuPath: File > Export objects as GeoJSON"
AREAS = ("Polygon", "MultiPolygon")
KINDS = ("FeatureCollection", "Feature", "GeometryCollection")
NAMESPACE = uuid.UUID("5b0d9a34-5d0c-5f0e-9c5c-3f1d4f7a1c11")  # of the identifiers of features: any will do
COLOURS = (  # that most people can tell apart, whatever colours they see (M. Okabe and K. Ito, 2008)
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
    (240, 228, 66),
)


def write_geojson(path: Path, shapes: Iterable[Shape], *, kind: str = "object", classes: Sequence[str] = ()) -> None:
    """Write shapes whose rings are those of `labels.outline` as a FeatureCollection; `kind` is the class of the others.

    Classes have colours in the order of `classes`, then in that of the shapes; the eighth has the colour of the first.
    Raises NotWritten and NotWritable.
    """
    places = {name: place for place, name in enumerate(classes)}
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as out:
        out.write('{"type": "FeatureCollection", "features": [')
        for number, shape in enumerate(shapes):
            out.write(",\n" if number else "\n")
            place = places.setdefault(shape.kind or kind, len(places))
            feature = _feature(shape, number, shape.kind or kind, COLOURS[place % len(COLOURS)])
            out.write(json.dumps(feature, allow_nan=False))
        out.write("\n]}\n")


def _feature(shape: Shape, number: int, kind: str, colour: tuple[int, int, int]) -> dict[str, Any]:
    pieces = [[_closed(ring) for ring in piece] for piece in polygons(shape.rings)]
    single = len(pieces) == 1
    geometry: dict[str, Any] = {
        "type": "Polygon" if single else "MultiPolygon",
        "coordinates": pieces[0] if single else pieces,
    }
    if shape.plane:
        geometry["plane"] = {"c": -1, "z": shape.plane.get("Z", 0), "t": shape.plane.get("T", 0)}
        geometry["plane"] |= {"page": shape.plane[""]} if "" in shape.plane else {}
    properties: dict[str, Any] = {
        "objectType": "annotation",
        "name": shape.name,
        "classification": {"name": kind, "color": list(colour)},
        "measurements": {name: value for name, value in shape.measured.items() if np.isfinite(value)},
    }
    identifier = str(uuid.uuid5(NAMESPACE, f"{number} {shape.name}"))
    return {"type": "Feature", "id": identifier, "geometry": geometry, "properties": properties}


def _closed(ring: Ring) -> list[list[float]]:
    corners: list[list[float]] = np.asarray(ring)[:, ::-1].tolist()
    return [*corners, corners[0]]


def is_geojson(found: Any) -> bool:
    """Whether the values of a JSON file are GeoJSON: a collection, a feature, a geometry, or a list of them."""
    first = found[0] if isinstance(found, list) and found else found
    return isinstance(first, dict) and first.get("type") in (*KINDS, *AREAS)


def read_geojson(path: Path) -> list[Shape]:
    """The shapes in a file of GeoJSON, as `shapes_of` gives them.

    Raises NotFound, and ContractileError for a file that is not GeoJSON or too large.
    """
    return shapes_of(load_json(path), path)


def shapes_of(found: Any, path: Path) -> list[Shape]:
    """The polygons in the values of a GeoJSON file, and their classes. What has no area is left out, which is said.

    A shape without a plane lies in the first one where others name theirs: QuPath leaves out the first. Raises
    ContractileError for other values.
    """
    with fitting(path, f"the {WHAT}", AGAIN):
        features = list(_features(found))
        shapes = [shape for feature in features for shape in _shapes(feature)]
    if len(shapes) < len(features):
        say(f"{len(features) - len(shapes)} of {len(features)} shapes have no area and are left out", [path])
    axes = {axis for shape in shapes for axis in shape.plane if axis}
    return [
        shape if "" in shape.plane else replace(shape, plane={axis: shape.plane.get(axis, 0) for axis in axes})
        for shape in shapes
    ]


def _features(found: Any) -> Iterator[dict[str, Any]]:
    """Of a FeatureCollection, a list of features, one feature, or a bare geometry."""
    if isinstance(found, list):
        for one in found:
            yield from _features(one)
    elif found["type"] == "FeatureCollection":
        yield from _features(found["features"])
    elif found["type"] == "Feature":
        yield found
    elif "coordinates" in found:
        yield {"geometry": found}
    else:
        raise ContractileError(f"{WHAT} must have features, got type {found['type']!r}", AGAIN)


def _shapes(feature: dict[str, Any]) -> Iterator[Shape]:
    geometry, properties = feature["geometry"], feature.get("properties") or {}
    if not geometry or geometry["type"] not in AREAS:
        return
    polygon = geometry["type"] == "Polygon"
    pieces = [geometry["coordinates"]] if polygon else geometry["coordinates"]
    rings = tuple(_opened(ring) for piece in pieces for ring in piece if len(ring) > 2)
    plane = geometry.get("plane") or {}
    keys = (("", "page"),) if "page" in plane else (("T", "t"), ("Z", "z"))
    name = str(properties.get("name") or "")
    if rings:
        yield Shape(
            rings,
            kind=_class_of(properties),
            name=name,
            plane={axis: int(plane[key]) for axis, key in keys if key in plane},
            number=number_in(name),
        )


def _class_of(properties: dict[str, Any]) -> str:
    """The name of the class; parts of one, such as Tumor: Positive, are joined as QuPath shows them."""
    found = properties.get("classification") or {}
    names: Sequence[str] = found.get("names") or [found.get("name") or ""]
    return ": ".join(map(str, names))


def _opened(ring: Any) -> Ring:
    corners = np.asarray(ring, np.float64)
    if corners.ndim != 2 or corners.shape[1] < 2:
        problem = f"a ring must be a list of points (x, y), got a ring of shape {corners.shape}"
        raise ContractileError(problem, AGAIN)
    corners = corners[:, 1::-1]
    return corners[:-1] if np.array_equal(corners[0], corners[-1]) else corners
