"""COCO's JSON of objects: written as run lengths, which are exact; read as run lengths or polygons.

A mask is the lengths of its runs of 0 and 1 in turns, which begin with 0, column by column. Programs also pack them
into text: five bits a character (from "0" on), whose sixth bit says that more follow; from the fourth run on it is the
difference from the last but one (https://github.com/cocodataset/cocoapi, common/maskApi.c). `object_number` is ours:
the number of the object in its labels, which is the same in all planes of a volume.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.drawings import Drawing, Drawn
from contractile.images.gate import limits
from contractile.images.json_text import fitting, load_json
from contractile.images.notes import say
from contractile.images.shapes import LARGEST_NUMBER, Mask, Shape
from contractile.storage import replacing

CATEGORY = 1
WHAT, CURE = "COCO's JSON of objects", "export it again as COCO with masks or polygons"


@dataclass(frozen=True)
class Page:
    """An image to be written: its name, its shape (Y, X), and its objects."""

    name: str
    shape: tuple[int, ...]
    masks: Iterable[Mask]


def write_coco(
    path: Path, pages: Sequence[Page], *, kind: str = "object", classes: Mapping[str, int] | None = None
) -> None:
    """Write the objects of images; `kind` is the class of those without one.

    With `classes` (name -> value) all of these are categories, whose ids are their values: the same in each file.
    Raises NotWritten and NotWritable.
    """
    numbers = dict(classes) if classes else {kind: CATEGORY}
    with replacing(path) as partial, partial.open("w", encoding="utf-8") as out:
        images = [
            {"id": number, "file_name": page.name, "height": page.shape[0], "width": page.shape[1]}
            for number, page in enumerate(pages, start=1)
        ]
        out.write(f'{{"images": {json.dumps(images)},\n"annotations": [')
        masks = ((number, page.shape, mask) for number, page in enumerate(pages, start=1) for mask in page.masks)
        for written, (number, shape, mask) in enumerate(masks):
            category = numbers.setdefault(mask.kind or kind, max(numbers.values()) + 1)
            annotation = {"id": written + 1, "image_id": number, "category_id": category, **_annotate(mask, shape)}
            out.write(",\n" if written else "\n")
            out.write(json.dumps(annotation))
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        out.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')


def _annotate(mask: Mask, shape: tuple[int, ...]) -> dict[str, Any]:
    rows, columns = (np.flatnonzero(mask.pixels.any(axis=axis)) for axis in (1, 0))
    if len(rows):  # the box of an object of a volume can be larger than this plane of it
        box = [mask.left + columns[0], mask.top + rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
    else:
        box = [mask.left, mask.top, 0, 0]
    found: dict[str, Any] = {
        "segmentation": {"size": list(shape), "counts": _runs(mask.pixels, mask.top, mask.left, shape)},
        "area": int(mask.pixels.sum()),
        "bbox": [int(one) for one in box],
        "iscrowd": 0,
    }
    if mask.number:
        found["object_number"] = mask.number
    if "confidence" in mask.measured:
        found["score"] = round(mask.measured["confidence"], 4)
    return found


def _runs(mask: NDArray[np.bool_], top: int, left: int, shape: tuple[int, ...]) -> list[int]:
    """The lengths of the runs of an image of this shape that shows a mask at (top, left) and else 0."""
    columns, rows = np.nonzero(mask.T)
    places = (columns + left) * shape[0] + rows + top  # ascending
    if not len(places):
        return [shape[0] * shape[1]]
    breaks = np.flatnonzero(np.diff(places) > 1)
    starts, ends = places[[0, *(breaks + 1)]], places[[*breaks, -1]] + 1
    edges = np.stack([starts, ends], axis=1).ravel()
    found: list[int] = np.diff(edges, prepend=0).tolist()
    rest = shape[0] * shape[1] - int(edges[-1])
    return [*found, rest] if rest else found


def is_coco(found: Any) -> bool:
    """Whether the values of a JSON file are those of COCO."""
    return isinstance(found, dict) and isinstance(found.get("images"), list) and "annotations" in found


def read_coco(path: Path) -> list[Drawing]:
    """The objects of all images in a COCO file, in the order of the file, each drawn when it is loaded.

    Raises NotFound, and ContractileError for a file that is not COCO, too large, or holds masks that do not fit their
    image.
    """
    return drawings_of(load_json(path), path)


def drawings_of(found: Any, path: Path) -> list[Drawing]:
    """As `read_coco`, from the values of the file."""
    with fitting(path, WHAT, CURE):
        kinds = {one["id"]: str(one.get("name", one["id"])) for one in found.get("categories", [])}
        names, owners = [one["id"] for one in found["images"]], [one["image_id"] for one in found["annotations"]]
        if not set(owners) <= set(names) and set(map(str, owners)) <= set(map(str, names)):
            names, owners = [*map(str, names)], [*map(str, owners)]
        objects: dict[Any, list[Mapping[str, Any]]] = {name: [] for name in names}
        fitting_ones = [one for one in zip(owners, found["annotations"], strict=True) if one[0] in objects]
        for owner, one in fitting_ones:
            objects[owner].append(one)
        if left := len(owners) - len(fitting_ones):
            say(f"{left} of {len(owners)} annotations belong to no image in the file", [path])
        return [_drawing(one, objects[name], kinds, path) for name, one in zip(names, found["images"], strict=True)]


def _drawing(
    image: Mapping[str, Any], objects: Sequence[Mapping[str, Any]], kinds: Mapping[Any, str], path: Path
) -> Drawing:
    name, sides = str(image["file_name"]), (image["height"], image["width"])
    if None in sides:
        problem = f"image {name} must have a height and a width, got {sides[0]} x {sides[1]}"
        raise ContractileError(problem, "write its size in pixels into the file, or export it again")
    shape = int(sides[0]), int(sides[1])
    pixels = shape[0] * shape[1]
    if min(shape) < 1 or pixels > limits().pixels:
        problem = f"image {name} must have 1 to {limits().pixels:,} pixels, got {shape[0]} x {shape[1]}"
        raise ContractileError(problem, "correct its height and width; --max-pixels allows more")
    outlined = [one for one in objects if _has_outline(one)]
    classes = tuple(kinds.get(one.get("category_id"), "") for one in outlined)

    def load() -> list[Drawn]:
        with fitting(path, WHAT, CURE):
            if objects and not outlined:
                problem = f"the objects of image {name} have boxes alone, no masks or polygons"
                raise ContractileError(problem, "export segmentations, not detections")
            drawn = [_drawn(one, kind, shape, name) for one, kind in zip(outlined, classes, strict=True)]
            drawn = [one for one in drawn if isinstance(one, Shape) or one.pixels.size]
            if left := len(objects) - len(drawn):
                say(f"{left} of {len(objects)} annotations of {name} have no outline and are left out", [path])
            return drawn

    return Drawing(name, shape, classes, load)


def _has_outline(one: Mapping[str, Any]) -> bool:
    """Whether an annotation has a mask, or a polygon with corners, and not a box alone."""
    found = one.get("segmentation")
    return any(found) if isinstance(found, list) else bool(found)


def _drawn(one: Mapping[str, Any], kind: str, shape: tuple[int, int], image: str) -> Drawn:
    """An annotation as an object of the image of this shape (Y, X)."""
    found, name, number = one["segmentation"], f"{one.get('id', '')}", one.get("object_number")
    known = number if isinstance(number, int) and 0 < number <= LARGEST_NUMBER else 0
    if not isinstance(found, list):
        return _mask(_places(found, shape, image), shape[0], kind=kind, name=name, number=known)
    pieces = tuple(np.asarray(piece, np.float64).reshape(-1, 2)[:, ::-1] for piece in found if len(piece))
    if not all(np.isfinite(piece).all() for piece in pieces):
        raise ContractileError("has a polygon with a corner that is not a number", CURE)
    return Shape(pieces, kind=kind, name=name, number=known, pieces=True)  # (x, y, x, y, ...) each


def _mask(places: NDArray[np.int64], height: int, **more: Any) -> Mask:
    """The mask of pixels that are counted column by column."""
    if not len(places):
        return Mask(np.zeros((0, 0), np.bool_), 0, 0, **more)
    rows, columns = places % height, places // height
    top, left = int(rows.min()), int(columns.min())
    pixels = np.zeros((int(rows.max()) - top + 1, int(columns.max()) - left + 1), np.bool_)
    pixels[rows - top, columns - left] = True
    return Mask(pixels, top, left, **more)


def _places(segmentation: Any, shape: tuple[int, int], image: str) -> NDArray[np.int64]:
    """Where the pixels of a mask lie, counted column by column."""
    counts = segmentation["counts"]
    runs = np.array(list(_unpacked(counts)) if isinstance(counts, str) else counts, np.int64)
    if tuple(segmentation["size"]) != shape or (runs < 0).any() or runs.sum() != shape[0] * shape[1]:
        problem = f"a mask of image {image} must have {shape[0]} x {shape[1]} pixels, got {int(runs.sum())}"
        raise ContractileError(problem, "export the file again")
    starts = np.concatenate([[0], np.cumsum(runs)])[:-1][1::2]
    lengths = runs[1::2]
    steps = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    found: NDArray[np.int64] = np.repeat(starts, lengths) + steps
    return found


def _unpacked(text: str) -> Iterator[int]:
    """The runs that are packed into text."""
    runs: list[int] = []
    value, shift = 0, 0
    for letter in text:
        bits = ord(letter) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift  # the highest bit is the sign
        if len(runs) > 2:
            value += runs[-2]
        runs.append(value)
        yield value
        value, shift = 0, 0
