"""How an array lies in an OME-Zarr: the order of its axes, its chunks and shards, its lower resolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

from contractile.errors import ContractileError
from contractile.grid import BLOCK
from contractile.images.image import Shape, Stack

SHARD = BLOCK  # pixels of a shard: those of a block, which one task writes
CHUNK = {2: (512, 512), 3: (32, 128, 128)}  # pixels that a reader gets at least
SMALL = 256  # pixels along Y and X below which there is no lower resolution
RANKS = {"T": 0, "Z": 2, "Y": 2, "X": 2}  # of axes in OME-Zarr: time, then channels and others, then space
MOST_AXES = 5
SPACE = "ZYX"

Region = tuple[slice, ...]
Units = dict[str, float]  # by letter: how large a step along the axis is


@dataclass(frozen=True)
class Level:
    """One resolution: its lengths, and how often each axis was halved."""

    lengths: Shape
    halved: tuple[int, ...]


@dataclass(frozen=True)
class Grid:
    """An array in a file. `axes` are the letters of its axes, `order` says which of the given axes each one is.

    `chunk` is the size of a chunk, `unit` what one write must cover: a shard, or a chunk where there are no shards.
    """

    axes: str
    lengths: Shape
    order: tuple[int, ...]
    chunk: Shape
    unit: Shape

    @property
    def is_sharded(self) -> bool:
        return self.chunk != self.unit

    def resized(self, lengths: Shape) -> Grid:
        """The grid of a lower resolution."""
        chunk = tuple(map(min, self.chunk, lengths))
        sides = zip(self.unit, chunk, lengths, strict=True)
        return replace(self, lengths=lengths, chunk=chunk, unit=tuple(_whole(unit, part, n) for unit, part, n in sides))

    def regions(self) -> Iterator[Region]:
        """The parts of the array that one write must cover, in order."""
        starts = [range(0, n, unit) for n, unit in zip(self.lengths, self.unit, strict=True)]
        for place in product(*starts):
            sides = zip(place, self.unit, self.lengths, strict=True)
            yield tuple(slice(start, min(start + unit, n)) for start, unit, n in sides)


def lay_out(shape: Shape, axes: str, stack: Stack | None, *, sharded: bool) -> Grid:
    """The grid of an array (*page), or (P, *page) with a `stack`, whose page has these `axes`.

    Where it is `sharded` and larger than one block, a shard holds a block. Time comes first, then channels and pages
    without a name, then depth, Y and X.
    Raises ContractileError where axes do not fit the shape, and for those that OME-Zarr does not have.
    """
    stack = stack or Stack("", ())
    page = shape[1:] if stack.axes else shape
    wrong_pages = bool(stack.axes) and shape[:1] != (math.prod(stack.lengths),)
    if len(axes) != len(page) or wrong_pages or not axes.endswith("YX"):
        pages = f"{math.prod(stack.lengths)} pages of " if stack.axes else ""
        problem = f"shape must be that of {pages}axes {axes}, which end with Y and X, got {shape}"
        raise ContractileError(problem, "name each axis of a page, and put all pages along the first axis")
    given, lengths = stack.axes + axes, (*stack.lengths, *page)
    others = [letter for letter in given if letter not in {*RANKS, "C"}]
    if len(given) > MOST_AXES or len(set(given)) < len(given) or len(others) > 1:
        rule = f"an OME-Zarr holds at most {MOST_AXES} axes, each once, and one that is not among T, C, Z, Y, X"
        raise ContractileError(f"{rule}, got {given}", "write TIFF (--format tiff)")
    order = sorted(range(len(given)), key=lambda axis: (RANKS.get(given[axis], 1), SPACE.find(given[axis])))
    space = [axis for axis in range(len(stack.axes), len(given)) if given[axis] != "C"][-3:]
    chunk, unit = [1] * len(given), [1] * len(given)
    sides = list(zip(space, CHUNK[len(space)], SHARD[len(space)], strict=True))
    sharded = sharded and any(lengths[axis] > side for axis, _, side in sides)
    for axis, part, side in sides:
        chunk[axis] = min(part, lengths[axis])
        unit[axis] = _whole(side, chunk[axis], lengths[axis]) if sharded else chunk[axis]
    moved = [tuple(values[axis] for axis in order) for values in (lengths, chunk, unit)]
    return Grid("".join(given[axis] for axis in order), moved[0], tuple(order), moved[1], moved[2])


def _whole(side: int, chunk: int, length: int) -> int:
    """The side of a shard: whole chunks, not more than hold the array."""
    return min(max(1, side // chunk) * chunk, math.ceil(length / chunk) * chunk)


def levels(grid: Grid, sizes: Units) -> list[Level]:
    """All resolutions, the full one first: halved along Y and X, and Z as long as its steps are not the larger ones.

    `sizes` are those of a pixel by letter; where they are not known, steps along Z are as large as along Y.
    """
    found = [Level(grid.lengths, (0,) * len(grid.axes))]
    y, x = grid.axes.index("Y"), grid.axes.index("X")
    while max(found[-1].lengths[y], found[-1].lengths[x]) > SMALL:
        last = found[-1]
        chosen = [axis for axis, letter in enumerate(grid.axes) if letter in "YX" and last.lengths[axis] > 1]
        z = grid.axes.find("Z")
        volume = z >= 0 and grid.unit[z] > 1  # planes that are pages have numbers of their own
        if volume and last.lengths[z] > 1 and _step(sizes, "Z", last.halved[z]) <= _step(sizes, "Y", last.halved[y]):
            chosen.append(z)
        lengths = [math.ceil(n / 2) if axis in chosen else n for axis, n in enumerate(last.lengths)]
        halved = [times + (axis in chosen) for axis, times in enumerate(last.halved)]
        found.append(Level(tuple(lengths), tuple(halved)))
    return found


def _step(sizes: Units, letter: str, halved: int) -> float:
    known = {"Z", "Y"} <= sizes.keys()
    return float((sizes[letter] if known else 1.0) * 2**halved)


def factors(one: Level, other: Level) -> tuple[int, ...]:
    """How many elements along each axis of a level become one of the next."""
    return tuple(2 ** (after - before) for before, after in zip(one.halved, other.halved, strict=True))


def check_aligned(region: Sequence[slice], unit: Shape, lengths: Shape) -> None:
    """Raise ContractileError for a region that does not cover whole units: two such writes may lose one another."""
    for part, side, n in zip(region, unit, lengths, strict=True):
        whole_end = part.stop == n or part.stop % side == 0
        if part.step not in (None, 1) or part.start % side or not whole_end:
            got = ", ".join(f"{one.start}:{one.stop}" for one in region)
            problem = f"region must begin and end at multiples of {tuple(unit)}, or at the end of {lengths}, got {got}"
            raise ContractileError(problem, "write blocks of the size `sink.unit`, or multiples of it")
