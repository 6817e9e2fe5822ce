"""Objects and regions that people or programs drew -> labels, by one rule for all formats of shapes.

Where shapes overlap, a pixel belongs to the smaller one: what was drawn inside a larger shape is seen. An object keeps
the number that its shape has, where all numbers in a plane differ. Shapes of the class `Ignore` are not annotated.
What no shape covers is background, but not annotated where there are shapes of a class `Background` (in any file of
the set), or outside all shapes of the class `Region` (of the same image).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images.shapes import Mask, Shape
from contractile.labels import FARTHEST, draw, signed_area

IGNORED, BACKGROUND, REGION = RESERVED = "ignore", "background", "region"  # QuPath writes Ignore*, Region*
SHOWN = 3  # shapes that a message names
Drawn = Shape | Mask


@dataclass(frozen=True)
class Drawing:
    """What a file holds of one image: objects that are drawn when they are loaded.

    `name` is that of the image, or of the file where it names none. `size` is (Y, X), or None where the file does not
    say it. `kinds` are the classes of the objects, in order.
    """

    name: str
    size: tuple[int, int] | None
    kinds: tuple[str, ...]
    load: Callable[[], Sequence[Drawn]]


@dataclass(frozen=True)
class Numbering:
    """What numbers shapes get: their own, or 1 ... n in the order of their file; or those of their class, 1 ... K.

    `classes` are the names of the classes, empty for objects. With `sparse` what no shape covers is not annotated.
    """

    classes: tuple[str, ...] = ()
    sparse: bool = False


def plain_kind(kind: str) -> str:
    """The name of a class without the case and the asterisk by which QuPath marks classes that are no objects."""
    return kind.strip().rstrip("*").strip().casefold()


def find_numbering(kinds: Sequence[str], *, task: str | None = None) -> Numbering:
    """What the shapes of a dataset mean, whose classes are `kinds`.

    They are classes where there are two at least, or where the `task` is "classes"; they are objects where there are
    fewer, or where the `task` is "objects". Classes are in the order of the alphabet, and "class 2" before "class 10".
    """
    plain = {plain_kind(kind) for kind in kinds}
    names = sorted({kind for kind in kinds if plain_kind(kind) not in ("", *RESERVED)}, key=_alphabetical)
    by_class = task == "classes" or (task is None and len(names) > 1)
    return Numbering(tuple(names or ["object"]) if by_class else (), BACKGROUND in plain)


def _alphabetical(name: str) -> tuple[list[tuple[int, str]], str]:
    """A key that sorts runs of digits as numbers, however long they are."""
    parts = [part.lstrip("0") if place % 2 else part for place, part in enumerate(re.split("([0-9]+)", name))]
    return [(len(part) if place % 2 else 0, part) for place, part in enumerate(parts)], name


def settle_numbers(pages: Sequence[Sequence[Drawn]]) -> list[list[Drawn]]:
    """The shapes in the planes of one image, without their numbers where two objects of a plane have the same."""
    for page in pages:
        numbers = [one.number for one in page if one.number and plain_kind(one.kind) not in RESERVED]
        if len(set(numbers)) < len(numbers):
            return [[replace(one, number=0) for one in each] for each in pages]
    return [list(page) for page in pages]


@dataclass(frozen=True)
class Outcome:
    """Labels (Y, X), and the names of shapes that have no pixel in them.

    They are `outside` the image, too `small` to hold the centre of a pixel, or `hidden` by others.
    """

    labels: NDArray[np.int32]
    outside: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    unnamed: int = 0  # shapes without a class, where classes are learned


def fill(drawn: Sequence[Drawn], shape: tuple[int, int], numbering: Numbering, *, known: int | None = None) -> Outcome:
    """Draw the shapes of one image (Y, X).

    Objects without a number get those after `known`; None stands for the largest number that a shape has. Raises
    ContractileError for corners that are no finite numbers.
    """
    drawn = _within_reach(drawn)
    regions = [one for one in drawn if plain_kind(one.kind) == REGION]
    rest = [one for one in drawn if plain_kind(one.kind) != REGION]
    numbered = list(_numbered(rest, numbering, known))
    shown = [one for one, _ in numbered]
    areas = [_as_one_area(one, shape) for one in shown]
    order = sorted(range(len(areas)), key=lambda index: _extent(areas[index]))
    places = _paint([areas[index] for index in order], shape)
    labels = np.full(shape, -1 if numbering.sparse else 0, np.int32)
    if regions:
        labels[...] = np.where(_paint([_as_one_area(one, shape) for one in regions], shape) > 0, labels, -1)
    values = np.array([0, *(numbered[index][1] for index in order)], np.int32)
    labels[...] = np.where(places > 0, values[places], labels)
    there = np.bincount(places.ravel(), minlength=len(order) + 1)[1:]
    gone = sorted(index for index, pixels in zip(order, there.tolist(), strict=True) if not pixels)
    why = {index: _why_gone(shown[index], areas[index], shape) for index in gone}
    names = {
        reason: tuple(shown[index].name or f"number {index + 1}" for index in gone if why[index] == reason)
        for reason in ("outside", "hidden", "small")
    }
    return Outcome(labels, **names, unnamed=len(rest) - len(shown))


def _numbered(drawn: Sequence[Drawn], numbering: Numbering, known: int | None) -> Iterator[tuple[Drawn, int]]:
    """Each shape with the value of its pixels; shapes without a class are left out where others have one."""
    fresh = count(1 + (max((one.number for one in drawn), default=0) if known is None else known))
    numbers = {name: number for number, name in enumerate(numbering.classes, start=1)}
    for one in drawn:
        kind = plain_kind(one.kind)
        if kind in (IGNORED, BACKGROUND):
            yield one, -1 if kind == IGNORED else 0
        elif not numbering.classes:
            yield one, one.number or next(fresh)
        elif one.kind in numbers or len(numbers) == 1:
            yield one, numbers.get(one.kind, 1)


def _as_one_area(one: Drawn, shape: tuple[int, int]) -> Drawn:
    """A shape whose pieces may overlap as a mask: even-odd filling would leave a hole where they do."""
    if isinstance(one, Mask) or not one.pieces or len(one.rings) < 2:
        return one
    mask = as_mask(one, shape)
    for ring in one.rings:
        part = as_mask(Shape((ring,)), shape)
        top, left = part.top - mask.top, part.left - mask.left
        mask.pixels[top : top + part.pixels.shape[0], left : left + part.pixels.shape[1]] |= part.pixels
    return mask


def _why_gone(one: Drawn, area: Drawn, shape: tuple[int, int]) -> str:
    """Why a shape has no pixel in the labels; `area` is the same as `_as_one_area`."""
    if not isinstance(one, Mask) and not _meets(one, shape):
        return "outside"
    mask = area if isinstance(area, Mask) else as_mask(area, shape)
    if not mask.pixels.any():
        return "small"
    return "hidden" if _meets(one, shape) else "outside"


def _within_reach(drawn: Sequence[Drawn]) -> list[Drawn]:
    """The same objects; corners that are absurdly far off are near enough to reckon with."""
    rings = [ring for one in drawn if isinstance(one, Shape) for ring in one.rings]
    every = np.concatenate([np.zeros((0, 2)), *rings])
    if np.isfinite(every).all() and np.abs(every).max(initial=0) <= FARTHEST:
        return list(drawn)
    return [one if isinstance(one, Mask) else _clipped(one) for one in drawn]


def _clipped(one: Shape) -> Shape:
    if not all(np.isfinite(ring).all() for ring in one.rings):
        problem = f"corners must be finite numbers, got others in shape {one.name or one.kind or 'without a name'}"
        raise ContractileError(problem, "export the shapes again")
    return replace(one, rings=tuple(np.clip(ring, -FARTHEST, FARTHEST) for ring in one.rings))


def _extent(one: Drawn) -> float:
    """The area of a mask, or that within the largest ring of a shape."""
    if isinstance(one, Mask):
        return float(one.pixels.sum())
    return max((abs(signed_area(ring)) for ring in one.rings if len(ring)), default=0.0)


def _paint(drawn: Sequence[Drawn], shape: tuple[int, int]) -> NDArray[np.int32]:
    """The place 1 ... n of the first object at each pixel (Y, X), 0 where there is none."""
    if not any(isinstance(one, Mask) for one in drawn):
        return draw([one.rings for one in drawn if isinstance(one, Shape)], shape)
    labels = np.zeros(shape, np.int32)
    for number, one in enumerate(drawn, start=1):
        mask = one if isinstance(one, Mask) else as_mask(one, shape)
        top, left = max(mask.top, 0), max(mask.left, 0)
        bottom, right = mask.top + mask.pixels.shape[0], mask.left + mask.pixels.shape[1]
        part = labels[top : max(bottom, top), left : max(right, left)]
        seen = mask.pixels[top - mask.top :, left - mask.left :][: part.shape[0], : part.shape[1]]
        part[seen & (part == 0)] = number
    return labels


def as_mask(one: Shape, shape: tuple[int, int]) -> Mask:
    """The pixels of a shape within an image (Y, X)."""
    box = _box(one)
    low = np.clip(np.floor(box[0]), 0, shape).astype(np.int64)
    high = np.clip(np.ceil(box[1]), low, shape).astype(np.int64)
    size = int(high[0] - low[0]), int(high[1] - low[1])
    return Mask(draw([[ring - low for ring in one.rings]], size) > 0, int(low[0]), int(low[1]))


def _box(one: Drawn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and the highest corner (y, x)."""
    if isinstance(one, Mask):
        corner = np.array([one.top, one.left], np.float64)
        return corner, corner + one.pixels.shape
    corners = np.concatenate([np.zeros((0, 2)), *(np.asarray(ring, np.float64) for ring in one.rings)])
    if not len(corners):
        return np.zeros(2), np.zeros(2)
    return corners.min(axis=0), corners.max(axis=0)


def _meets(one: Drawn, shape: tuple[int, int]) -> bool:
    low, high = _box(one)
    return bool((low < np.asarray(shape)).all() and (high > 0).all())


def count_pages(drawn: Sequence[Drawn]) -> list[Drawn]:
    """The same shapes, for an image whose pages have no axis with a name.

    Programs call such pages T or Z, and the other of the two is 0.
    """

    def counted(one: Drawn) -> Drawn:
        if "" in one.plane or not one.plane.keys() & {"T", "Z"}:
            return one
        return replace(one, plane={"": max(one.plane.get("T", 0), one.plane.get("Z", 0))})

    return [counted(one) for one in drawn]


def on_page(drawn: Sequence[Drawn], place: Mapping[str, int]) -> list[Drawn]:
    """The shapes that lie in a plane, which is at `place` along axes such as T and Z, and along "" for its number.

    A shape lies in all places along the axes that it does not name.
    """
    return [one for one in drawn if all(one.plane.get(axis, at) == at for axis, at in place.items())]


def count_elsewhere(drawn: Sequence[Drawn], lengths: Mapping[str, int]) -> int:
    """How many shapes lie in planes that their image lacks, which has so many `lengths` along axes such as T and Z."""
    return sum(any(one.plane.get(axis, 0) >= length for axis, length in lengths.items()) for one in drawn)


def refuse_elsewhere(count: int, lengths: Mapping[str, int], where: object) -> ContractileError:
    """The error for shapes all of which lie in planes that their image lacks."""
    found = ", ".join(f"{length} along {axis}" if axis else f"{length} pages" for axis, length in lengths.items())
    problem = f"all of its {count} shapes lie on planes that the image lacks, which has {found}"
    return ContractileError(problem, "give the stack that they were drawn on, or draw them on this image", where=where)


def refuse_outside(count: int, shape: tuple[int, ...], where: object) -> ContractileError:
    """The error for shapes none of which lies in the image (Y, X)."""
    problem = f"none of its {count} shapes lies in the image of {shape[-2]} x {shape[-1]} pixels (height x width)"
    return ContractileError(problem, "give the image that they were drawn on, in its full resolution", where=where)
