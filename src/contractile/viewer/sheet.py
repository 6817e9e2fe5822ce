"""All that is known of one image: what was painted, and which of it no network may learn from.

The second is a canvas, too. Where it is not -1, the pixel is held: by an object (its number), or by a stroke of
background or of a class (0).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.viewer.canvas import UNKNOWN, Canvas, Labels, Region, tally

FREE = UNKNOWN  # in the canvas of what is held
BY_STROKE = 0

Both = tuple[Labels, Labels]  # what is painted in a region, and what is held in it
Values = NDArray[np.int32]  # (N,) or (2, N)


@dataclass(frozen=True)
class Patch:
    """What a change does to the pixels of a region, so that it can be done and undone.

    `content` is compressed: one bit for each pixel of the region, whether it changes; then for the `count` pixels that
    do, in scan order, the labels before and after, and with `holds` also what is held before and after.
    """

    region: Region
    count: int
    holds: bool
    content: bytes

    @classmethod
    def of(cls, region: Region, before: Both, after: Both) -> Self | None:
        """The patch that turns `before` into `after`, each two arrays (*region); None where nothing changes."""
        changed = (before[0] != after[0]) | (before[1] != after[1])
        lines, columns = changed.any(axis=1).nonzero()[0], changed.any(axis=0).nonzero()[0]
        if not len(lines):
            return None
        inner = slice(int(lines[0]), int(lines[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        y, x = (
            slice(all_.start + part.start, all_.start + part.stop) for all_, part in zip(region, inner, strict=True)
        )
        mask = changed[inner]
        layers = [one[inner][mask] for one in (before[0], after[0], before[1], after[1])]
        holds = bool((layers[2] != layers[3]).any())
        values = np.stack(layers if holds else layers[:2]).astype("<i4")
        content = np.packbits(mask).tobytes() + values.tobytes()
        return cls((y, x), int(mask.sum()), holds, zlib.compress(content, 1))

    def open(self) -> tuple[NDArray[np.bool_], Values, Values]:
        """Which pixels change (*region), and their values (layers, N) before and after.

        Raises ContractileError or zlib.error where the content is damaged.
        """
        shape = tuple(part.stop - part.start for part in self.region)
        bits, layers = -(-shape[0] * shape[1] // 8), 4 if self.holds else 2
        size = bits + 4 * layers * self.count
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(self.content, size + 1)
        if len(content) != size or not unpacking.eof:
            raise ContractileError(f"a change must hold {size} bytes, got {len(content)}", "open a copy of the journal")
        mask = np.unpackbits(np.frombuffer(content, np.uint8, bits), count=shape[0] * shape[1]).reshape(shape) > 0
        values = np.frombuffer(content, "<i4", offset=bits).reshape(-1, 2, self.count).astype(np.int32)
        if int(mask.sum()) != self.count:
            problem = f"a change must hold {self.count} pixels, got {int(mask.sum())}"
            raise ContractileError(problem, "open a copy of the journal")
        return mask, values[:, 0], values[:, 1]


class Sheet:
    """What is painted on one image of a shape (Y, X), and what of it is held; changed by patches alone."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.labels, self.held = Canvas(shape), Canvas(shape)
        self._pixels: dict[int, list[int]] = {}  # number or class -> its pixels, and how many of them are held

    def both(self, region: Region) -> Both:
        """What is painted in a region, and what is held in it."""
        return self.labels[region], self.held[region]

    def apply(self, patch: Patch, *, back: bool = False, counted: bool = True) -> None:
        """Do a change, or with `back` undo it. Many at once need not be `counted`, where `recount` follows."""
        mask, before, after = patch.open()
        old, new = (after, before) if back else (before, after)
        labels, held = self.both(patch.region)
        holder = held[mask]
        if counted:
            self._count(old[0], holder, -1)
            self._count(new[0], new[1] if patch.holds else holder, 1)
        labels[mask] = new[0]
        self.labels[patch.region] = labels
        if patch.holds:
            held[mask] = new[1]
            self.held[patch.region] = held

    def recount(self) -> None:
        """Count the pixels of all numbers anew."""
        self._pixels = {}
        for region in self.labels.painted():
            labels, held = self.both(region)
            self._count(labels.ravel(), held.ravel(), 1)

    def pixels(self, number: int) -> int:
        """How many pixels a number or class has."""
        return self._pixels.get(number, [0, 0])[0]

    def is_held(self, number: int) -> bool:
        """Whether all pixels of a number are held, and there are some."""
        total, held = self._pixels.get(number, [0, 0])
        return 0 < total == held

    def values(self) -> list[int]:
        """All labels from 0 on that occur, in order."""
        return sorted(self._pixels)

    def objects(self) -> list[int]:
        """All numbers above 0 that occur, in order."""
        return [number for number in self.values() if number > 0]

    def held_by(self, number: int) -> Iterator[Region]:
        """The regions of tiles that hold pixels of an object, or pixels that are held by it."""
        found = {_corner(one): one for one in (*self.labels.tiles_of(number), *self.held.tiles_of(number))}
        return (found[corner] for corner in sorted(found))

    def _count(self, labels: Values, held: Values, sign: int) -> None:
        for place, chosen in enumerate((labels, labels[held != FREE])):
            for number, count in zip(*(found.tolist() for found in tally(chosen)), strict=True):
                if number != UNKNOWN:
                    self._pixels.setdefault(number, [0, 0])[place] += sign * count
        for number in [number for number, known in self._pixels.items() if not known[0]] if sign < 0 else ():
            del self._pixels[number]


def _corner(region: Region) -> tuple[int, int]:
    return region[0].start, region[1].start
