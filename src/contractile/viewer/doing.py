"""An action -> what it changes: an entry for the journal, with the number that a new object got.

Whoever acts in a session of objects may use numbers that the image has; in one of classes, the values of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from contractile.errors import ContractileError
from contractile.viewer import acts, strokes
from contractile.viewer.canvas import UNKNOWN, Labels, Region
from contractile.viewer.held import Order, hold
from contractile.viewer.journal import GIVEN, Entry
from contractile.viewer.sheet import FREE, Patch, Sheet
from contractile.viewer.strokes import BLOCK, Piece

Task = Literal["objects", "classes"]

MOST_PIXELS = 2**26  # that one change may change
MOSTLY = 0.5  # of a predicted object must be free, for it to be accepted along with others


@dataclass(frozen=True)
class Doing:
    """Where an action is done: on which image of a session, whose `values` (of classes) may be used."""

    image: str
    sheet: Sheet
    order: Order
    task: Task
    values: frozenset[int]

    def entry(self, action: acts.Action) -> tuple[Entry, int | None] | None:
        """What an action changes, and the number of the object that it is about; None where it changes nothing.

        Raises ContractileError for an action that cannot be done here.
        """
        kinds: dict[type, Callable[[Any], tuple[Entry, int | None]]] = {
            acts.Paint: self._stroke,
            acts.Fill: self._stroke,
            acts.Flood: self._stroke,
            acts.Add: self._add,
            acts.AddAll: self._add_all,
            acts.Merge: self._merge,
            acts.Split: self._split,
            acts.Delete: self._delete,
            acts.Background: self._background,
        }
        entry, number = kinds[type(action)](action)
        return (entry, number) if entry.patches else None

    def judges(self, number: int) -> bool:
        """Whether an object was chosen when it was made, and all of it is held: no network knows a part of it."""
        return number in self.order.chosen(self.image) and self.sheet.is_held(number)

    def given(self, labels: Labels) -> Entry:
        """What an image begins with: labels (Y, X); all below 0 is unknown. Raises ContractileError."""
        if labels.shape != self.sheet.shape:
            problem = f"labels must have the size of their image {self.image} {self.sheet.shape}, got {labels.shape}"
            raise ContractileError(problem, "crop or resample one of them")
        known = np.unique(labels)
        known = known[known >= 0]
        if self.task == "classes":
            self._check_classes(known.tolist())
        numbers = tuple(known[known > 0].tolist()) if self.task == "objects" else ()
        values = known.tolist() if self.task == "classes" else known[known == 0].tolist()
        pieces = ((region, labels[region].clip(UNKNOWN).astype(np.int32)) for region in _grid(labels.shape))
        return self._made(GIVEN, pieces, new=numbers, values=values)

    def _stroke(self, action: acts.Paint | acts.Fill | acts.Flood) -> tuple[Entry, int | None]:
        value = self._value(action.value)
        labels = self.sheet.labels
        if isinstance(action, acts.Paint):
            pieces = strokes.paint(labels, action.points, action.radius, value)
        elif isinstance(action, acts.Fill):
            pieces = strokes.fill(labels, action.points, value, over=action.over)
        else:
            pieces = strokes.flood(labels, action.point, value)
        return self._valued(action.kind, pieces, value, is_new=action.value == "new")

    def _add(self, action: acts.Add) -> tuple[Entry, int | None]:
        value = self._value(action.value)
        if value == UNKNOWN:
            raise ContractileError("an object to accept must become known, got the value -1", "give another value")
        region = self._region(action.region, action.mask.shape, "mask")
        shapes = np.where(action.mask, np.int32(value), np.int32(UNKNOWN))
        pieces = strokes.accept(self.sheet.labels, region, shapes, action.mask)
        return self._valued(action.kind, pieces, value, is_new=action.value == "new")

    def _add_all(self, action: acts.AddAll) -> tuple[Entry, int | None]:
        region = self._region(action.region, action.labels.shape, "labels")
        shapes = action.labels.clip(0).astype(np.int32)
        found = np.unique(shapes[shapes > 0])
        if self.task == "classes":
            self._check_classes(found.tolist())
            pieces = strokes.accept(self.sheet.labels, region, shapes, shapes > 0)
            return self._made(action.kind, pieces, values=found.tolist()), None
        place = np.searchsorted(found, shapes)  # 1, 2, ... in `sizes`; what is no object is in place 0
        place = np.where(shapes > 0, place + 1, 0)
        sizes = np.bincount(place.ravel(), minlength=len(found) + 1)
        free = np.bincount(place[self.sheet.labels[region] == UNKNOWN], minlength=len(found) + 1)
        taken = (free > MOSTLY * sizes) & (np.arange(len(sizes)) > 0)
        numbers = self.order.next_numbers(int(taken.sum()))
        table = np.zeros(len(sizes), np.int32)
        table[taken] = list(numbers)
        pieces = strokes.accept(self.sheet.labels, region, table[place], taken[place])
        return self._made(action.kind, pieces, new=tuple(numbers)), None

    def _merge(self, action: acts.Merge) -> tuple[Entry, int | None]:
        target, *others = dict.fromkeys(map(self._object, action.numbers))
        if not others:
            problem = f"objects to merge must be at least two, got {target} alone"
            raise ContractileError(problem, "choose another object as well")
        both: dict[tuple[int, int], Region] = {}
        for number in others:
            both |= {(one[0].start, one[1].start): one for one in self.sheet.labels.tiles_of(number)}
        pieces = ((region, _renamed(self.sheet.labels[region], others, target)) for region in both.values())
        is_held = all(map(self.sheet.is_held, action.numbers))  # else a network knows a part of it
        return self._made(action.kind, pieces, kept=[target] if is_held else []), target

    def _split(self, action: acts.Split) -> tuple[Entry, int | None]:
        number = self._object(action.number)
        first = self.order.next_numbers(len(action.points) + 1)[0]
        pieces = list(strokes.split(self.sheet.labels, number, action.points, first))
        if not pieces:
            return Entry(self.image, action.kind, ()), None
        [(_, labels)] = pieces
        new = tuple(n for n in np.unique(labels).tolist() if n >= first)
        self.order.next_numbers(len(new))
        held = new if self.judges(number) else ()
        entry = self._made(action.kind, pieces, new=new, held=held, kept=held)
        return entry, new[0]

    def _delete(self, action: acts.Delete) -> tuple[Entry, int | None]:
        number, patches = self._object(action.number), []
        for region in self.sheet.held_by(number):
            labels, held = before = self.sheet.both(region)
            after = np.where(labels == number, np.int32(UNKNOWN), labels), np.where(held == number, FREE, held)
            patches.append(Patch.of(region, before, after))
        return Entry(self.image, action.kind, tuple(filter(None, patches))), number

    def _background(self, action: acts.Background) -> tuple[Entry, int | None]:
        number = self._object(action.number)
        return self._made(action.kind, strokes.replace(self.sheet.labels, number, 0)), number

    def _valued(self, kind: str, pieces: Iterable[Piece], value: int, *, is_new: bool) -> tuple[Entry, int | None]:
        """A stroke of one value."""
        if is_new:
            return self._made(kind, pieces, new=(value,)), value
        if self.task == "objects" and value > 0:
            return self._made(kind, pieces, kept=[value] if self.judges(value) else []), value
        return self._made(kind, pieces, values=[value] if value >= 0 else []), None

    def _made(
        self,
        kind: str,
        pieces: Iterable[Piece],
        *,
        new: tuple[int, ...] = (),
        values: Collection[int] = (),
        held: tuple[int, ...] | None = None,
        kept: Collection[int] = (),
    ) -> Entry:
        """An entry. The pixels of `kept` objects are held, as are those of `new` ones whose turn it is.

        Where it is known which of the new ones are `held`, as of parts of an object, they do not count as new.
        """
        chosen = self.order.choose_objects(new) if held is None else held
        numbers, strokes_held = {*kept, *chosen}, self.order.choose_values(values)
        patches, total = [], 0
        for region, after in pieces:
            before, held_before = self.sheet.both(region)
            held_after = hold(held_before, before, after, numbers=numbers, values=strokes_held)
            patch = Patch.of(region, (before, held_before), (after, held_after))
            if patch is None:
                continue
            patches.append(patch)
            total += patch.count
            if total > MOST_PIXELS and kind != GIVEN:
                problem = f"one change must change at most {MOST_PIXELS:,} pixels, got more"
                raise ContractileError(problem, "zoom in, and draw smaller parts")
        objects = len(new) if held is None else 0
        return Entry(self.image, kind, tuple(patches), new, objects, tuple(values), tuple(chosen))

    def _value(self, value: int | str) -> int:
        if self.task == "objects":
            if value == "new":
                return self.order.next_numbers(1)[0]
            return int(value) if int(value) <= 0 else self._object(int(value))
        if value == "new":
            raise ContractileError('value must be that of a class, got "new"', "objects are of the other task")
        if int(value) != UNKNOWN:
            self._check_classes([int(value)])
        return int(value)

    def _object(self, number: int) -> int:
        """The number of an object of this image. Raises ContractileError for any other."""
        if self.task != "objects":
            raise ContractileError("classes have no objects to change", "paint over them")
        if not self.sheet.pixels(number):
            raise ContractileError(f"no object {number} is in image {self.image}", "choose one that is there")
        return number

    def _check_classes(self, values: Iterable[int]) -> None:
        for value in values:
            if value not in self.values:
                known = ", ".join(map(str, sorted(self.values)))
                raise ContractileError(f"value must be that of a class ({known}), got {value}", "add the class")

    def _region(self, box: acts.Box, shape: tuple[int, ...], name: str) -> Region:
        """The region of an image. Raises ContractileError where it lies outside, or has another size than `shape`."""
        region = slice(box[0], box[1]), slice(box[2], box[3])
        check_region(region, self.sheet.shape)
        sides = (box[1] - box[0], box[3] - box[2])
        if shape != sides:
            raise ContractileError(f"{name} must have the size of their region {sides}, got {shape}", "cut them")
        return region


def check_region(region: Region, shape: tuple[int, int]) -> None:
    """Raise ContractileError where a region is empty, or does not lie in an image of this shape."""
    sides = zip(region, shape, strict=True)
    if not all(0 <= part.start < part.stop <= n for part, n in sides):
        got = [part_side for part in region for part_side in (part.start, part.stop)]
        raise ContractileError(f"region must lie within the image {shape}, got {got}", "cut it at the border")


def _renamed(labels: Labels, numbers: Collection[int], target: int) -> Labels:
    return np.where(np.isin(labels, list(numbers)), np.int32(target), labels)


def _grid(shape: tuple[int, int]) -> Iterator[Region]:
    """All parts of an image."""
    for top in range(0, shape[0], BLOCK):
        for left in range(0, shape[1], BLOCK):
            yield slice(top, min(top + BLOCK, shape[0])), slice(left, min(left + BLOCK, shape[1]))
