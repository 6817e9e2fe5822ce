"""Which objects and strokes no network learns from, so that they can tell how good it is.

Every fifth one: the 3rd, 8th, 13th ... object of a session, in the order in which they are made, and the 3rd, 8th ...
stroke of background, or of each class. That is decided when it is painted, written down, and never changed, so that
nothing which a network has learned from can become a judge of it. What was undone counts, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np

from contractile.errors import ContractileError
from contractile.viewer.canvas import Labels
from contractile.viewer.journal import GIVEN, Entry
from contractile.viewer.sheet import BY_STROKE, FREE

EVERY, FIRST = 5, 3
WHOLE = ("fill", "add", "add_all", GIVEN)  # kinds of changes that make an object with its outline; a brush makes a part
LARGEST = 2**31 - 1  # number of an object, in int32


def is_chosen(place: int) -> bool:
    """Whether the object or stroke in this place, from 1, is held."""
    return place % EVERY == FIRST


class Order:
    """What was ever made in a session, in order: numbers of objects, and strokes of each value."""

    def __init__(self) -> None:
        self._last, self._objects = 0, 0
        self._strokes: Counter[int] = Counter()
        self._chosen: dict[str, set[int]] = {}  # image -> numbers of its objects that are held
        self._whole: dict[str, set[int]] = {}  # image -> numbers of its objects whose outline was drawn

    def note(self, entry: Entry) -> None:
        """Count what an entry of the journal made, whether or not it was undone later."""
        self._last = max(self._last, *entry.new, 0)
        self._objects += entry.objects
        self._strokes.update(entry.values)
        self._chosen.setdefault(entry.image, set()).update(entry.held)
        if entry.kind in WHOLE:
            self._whole.setdefault(entry.image, set()).update(entry.new)

    def next_numbers(self, count: int) -> range:
        """The next numbers for new objects. Raises ContractileError where there are none left."""
        if self._last + count > LARGEST:
            problem = f"numbers of objects must be at most {LARGEST:,}, and the next one would be {self._last + 1:,}"
            raise ContractileError(problem, "renumber the labels that this session began with")
        return range(self._last + 1, self._last + 1 + count)

    def choose_objects(self, numbers: Collection[int]) -> tuple[int, ...]:
        """Those of new objects, in order, that are going to be held."""
        return tuple(n for place, n in enumerate(numbers, start=self._objects + 1) if is_chosen(place))

    def choose_values(self, values: Collection[int]) -> tuple[int, ...]:
        """Those of background (0) and classes whose next stroke is going to be held."""
        return tuple(value for value in values if is_chosen(self._strokes[value] + 1))

    def whole(self, image: str) -> set[int]:
        """The numbers of the objects of an image that were made with their outline: they end where they end."""
        return self._whole.get(image, set())

    def chosen(self, image: str) -> set[int]:
        """The numbers of the objects of an image that were chosen when they were made."""
        return self._chosen.get(image, set())


def hold(held: Labels, before: Labels, after: Labels, *, numbers: Collection[int], values: Collection[int]) -> Labels:
    """What is held in a region after its labels changed: the new pixels of these objects and these values, as well."""
    out, changed = held, before != after
    if numbers:
        out = np.where(changed & np.isin(after, list(numbers)), after, out)
    if values:
        out = np.where(changed & np.isin(after, list(values)) & (out == FREE), np.int32(BY_STROKE), out)
    return out
