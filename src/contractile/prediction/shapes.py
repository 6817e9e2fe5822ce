"""The objects of a prediction as shapes for other programs: GeoJSON, COCO, ROIs of ImageJ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Pixels
from contractile.images import Stack
from contractile.images.coco import Page, write_coco
from contractile.images.geojson import write_geojson
from contractile.images.rois import check_rois, write_rois
from contractile.images.shapes import Mask
from contractile.labels import boxes, connected
from contractile.model import ModelCard

SHAPES = {"geojson": ".geojson", "coco": ".json", "rois": ".zip"}
FIELD = 2048  # pixels along each side of what is read at a time, and the objects that begin there reach beyond
MEASURED = ("area", "volume", "mean_", "confidence")  # columns of the table that go with the shapes begin so

Columns = Mapping[str, NDArray[Any]]  # of the table of objects
Names = Mapping[int, str]  # of the classes, by their value; the value 0 is background


def check_shapes(products: Sequence[str]) -> None:
    """Raise ContractileError where a package is missing that one of the products needs."""
    if "rois" in products:
        check_rois()


def name_values(card: ModelCard) -> dict[int, str]:
    """The names of the classes of a model by their values, but of background (0); empty for objects."""
    names = card.class_names or tuple(f"class {value}" for value in card.class_values)
    named = zip(card.class_values, names, strict=True) if card.task == "classes" else ()
    return {value: name for value, name in named if value != 0}


def write_shapes(
    path: Path, product: str, pages: Sequence[tuple[Pixels, Columns | Names]], *, stack: Stack | None, image: str
) -> None:
    """Write the objects of all pages: labels (*S), and the table of their objects; or the pieces of named classes.

    Objects have their number as their name. Pieces have the value of their class as their group in a zip of ROIs, and
    as their category in COCO.
    Raises NotWritten, NotWritable, and ContractileError for objects that a format cannot hold.
    """
    classes = {str(name): int(value) for _, found in pages[:1] if "id" not in found for value, name in found.items()}
    if product == "coco":
        write_coco(path, list(_pages(pages, stack, image)), classes=classes)
        return
    shapes = (mask.outlined() for labels, table, plane in _planes(pages, stack) for mask in cut(labels, table, plane))
    if product == "geojson":
        write_geojson(path, shapes, classes=list(classes))
    else:
        write_rois(path, shapes, groups=classes)


def _planes(
    pages: Sequence[tuple[Pixels, Columns | Names]], stack: Stack | None
) -> Iterator[tuple[Pixels, Columns | Names, dict[str, int]]]:
    """Each page with its place along T and Z; where other axes count pages, with its number along T and along ""."""
    places = [()] if stack is None else list(np.ndindex(*stack.lengths))
    axes = "" if stack is None else stack.axes
    named = set(axes) <= set("TZ")
    for number, ((labels, table), place) in enumerate(zip(pages, places, strict=True)):
        yield labels, table, dict(zip(axes, place, strict=True)) if named else {"T": number, "": number}


def _pages(pages: Sequence[tuple[Pixels, Columns | Names]], stack: Stack | None, image: str) -> Iterator[Page]:
    """The images of a COCO file: each page, and each plane of a volume, is one."""
    for number, (labels, table, plane) in enumerate(_planes(pages, stack)):
        name = image if stack is None else _marked(image, f"_{number:04d}")
        masks = cut(labels, table, plane)
        if len(labels.shape) == 2:
            yield Page(name, labels.shape, masks)
            continue
        by_depth = {depth: list(found) for depth, found in groupby(masks, key=lambda mask: mask.plane["Z"])}
        for depth in range(labels.shape[0]):
            yield Page(_marked(name, f"_z{depth:04d}"), labels.shape[1:], by_depth.get(depth, []))


def _marked(name: str, mark: str) -> str:
    """The name of a file with a mark behind its stem."""
    suffix = PurePath(name).suffix
    return name.removesuffix(suffix) + mark + suffix


def cut(labels: Pixels, found: Columns | Names, plane: Mapping[str, int]) -> Iterator[Mask]:
    """The masks of the objects of a page, or of the pieces of its classes; of a volume, those in each plane, in order.

    Objects that begin in one field of the image are read together, so that memory follows their reach. Of classes a
    plane is read at a time.
    """
    if "id" not in found:
        yield from _cut_classes(labels, {int(value): str(name) for value, name in found.items()}, plane)
        return
    table: Columns = found  # type: ignore[assignment]
    low, high = (np.stack([table[f"box_{side}_px"] for side in sides], axis=1) for sides in _sides(len(labels.shape)))
    numbers = table["id"]
    if len(labels.shape) == 2:
        yield from _cut(labels, numbers, low, high, table, plane, ())
        return
    for depth in range(labels.shape[0]):
        here = np.flatnonzero((low[:, 0] <= depth) & (depth < high[:, 0]))
        where = _at_depth(plane, depth, labels.shape)
        yield from _cut(labels, numbers[here], low[here, 1:], high[here, 1:], table, where, (depth,))


def _cut_classes(labels: Pixels, names: Names, plane: Mapping[str, int]) -> Iterator[Mask]:
    depths: list[tuple[int, ...]] = [(depth,) for depth in range(labels.shape[0])] if len(labels.shape) == 3 else [()]
    for depth in depths:
        seen = np.asarray(labels[(*depth, slice(None), slice(None))])
        where = _at_depth(plane, depth[0], labels.shape) if depth else plane
        for value, name in names.items():
            pieces = connected(seen == value)
            for number, box in enumerate(boxes(pieces), start=1):
                corner, own = (box[0].start, box[1].start), pieces[box] == number
                area = {"area_px": float(own.sum())}
                yield Mask(own, *corner, kind=name, name=f"{name} {number}", plane=where, measured=area)


def _at_depth(plane: Mapping[str, int], depth: int, shape: Sequence[int]) -> dict[str, int]:
    """The place of a plane of a volume (Z, Y, X); along "" the planes of all volumes are counted."""
    counted = {"": plane[""] * shape[0] + depth} if "" in plane else {}
    return {**plane, "Z": depth, **counted}


def _sides(dims: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return ("front", "top", "left")[3 - dims :], ("back", "bottom", "right")[3 - dims :]


def _cut(
    labels: Pixels,
    numbers: NDArray[Any],
    low: NDArray[Any],
    high: NDArray[Any],
    table: Columns,
    plane: Mapping[str, int],
    depth: tuple[int, ...],
) -> Iterator[Mask]:
    fields = low // FIELD
    order = np.lexsort((numbers, fields[:, 1], fields[:, 0]))
    for _, group in groupby(order.tolist(), key=lambda index: tuple(fields[index])):
        members = list(group)
        (top, left), (bottom, right) = low[members].min(axis=0), high[members].max(axis=0)
        seen = np.asarray(labels[(*depth, slice(int(top), int(bottom)), slice(int(left), int(right)))])
        for index in members:
            own = seen[low[index, 0] - top : high[index, 0] - top, low[index, 1] - left : high[index, 1] - left]
            pixels, number = own == numbers[index], int(numbers[index])
            if pixels.any():
                corner = int(low[index, 0]), int(low[index, 1])
                more: dict[str, Any] = {"plane": plane, "measured": _measured(table, number)}
                yield Mask(pixels, *corner, name=str(number), number=number, **more)


def _measured(table: Columns, number: int) -> dict[str, float]:
    """The columns of an object 1 ... n that say how large, bright and certain it is."""
    return {name: float(column[number - 1]) for name, column in table.items() if name.startswith(MEASURED)}
