"""Probabilities (K, *S) -> objects (*S), block by block, with what is kept of each block in stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode.cores import Cores, choose, find_cores, find_zones
from contractile.decode.faces import sides
from contractile.decode.kept import keep, mark_seeds, reach, unpack
from contractile.decode.piece import Piece, look, look_again
from contractile.decode.settings import Decoding
from contractile.decode.sewing import Sewn, Task
from contractile.grid import Key, Mosaic, as_slices, shared, widened, within

REMEMBERED = 64  # blocks whose seeds are remembered: half a megabyte each
ZONES_REMEMBERED = 4  # blocks whose zones are remembered: 16 megabytes each

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[tuple[Any, Any]]]


def decode_objects(probabilities: Any, decoding: Decoding, *, mosaic: Mosaic | None = None) -> NDArray[np.int32]:
    """Probabilities (K, *S) -> labels (*S), numbered 1..N without gaps.

    Class 0 is outside, every other class inside; class 1 is the core. Connected cores are numbered, and each grows
    over the inside around it, the most certain pixels first. With `split`, a core that joins several objects is split
    before (see `cores`). A connected part of the inside without a core is one object. With two classes, no smoothing,
    no `split` and `core` no higher than `threshold`, the parts are the objects. Pixels connect along axes only (4
    neighbours in 2-D, 6 in 3-D). In the end objects are dropped that are too small or not sure. Numbers follow the
    first pixel of each core (of each part without one), in scan order.

    `probabilities` is anything that slices into arrays; each block of the mosaic is read once, with what smoothing
    looks at around it. The result is the same for every mosaic.
    """
    shape = tuple(probabilities.shape[1:])
    mosaic = mosaic or Mosaic.of(shape)
    kept, labels = np.zeros((2, *shape), np.uint16), np.zeros(shape, np.int32)
    for region in mosaic.regions():
        around = widened(region, reach(decoding), shape)
        part = np.asarray(probabilities[(slice(None), *around)])
        kept[(slice(None), *region)] = keep(part, decoding, within(region, around))
    return np.asarray(Objects(kept, labels, decoding, mosaic=mosaic))


class Objects:
    """The objects of an image: labels (*S) int32, numbered 1..count, read region by region.

    `kept` (2, *S) holds what `keep` gave for all blocks, `labels` (*S) takes the labels of each block: arrays, or
    anything that is sliced like one. `pixels` and `certainty` (count,) are the size and the mean probability of being
    inside of each object. `each(function, tasks)` carries out tasks and gives (task, result) in any order.
    """

    def __init__(
        self, kept: Any, labels: Any, decoding: Decoding, *, mosaic: Mosaic | None = None, each: Each | None = None
    ) -> None:
        self.shape, self.dtype = tuple(labels.shape), np.dtype(np.int32)
        self.mosaic = mosaic or Mosaic.of(self.shape)
        self._labels, each = labels, each or _one_by_one
        looker, blocks = _Looker(kept, labels, self.mosaic, decoding), range(len(self.mosaic))
        seeds: list[NDArray[np.bool_] | None] = [None] * len(blocks)
        if decoding.split:
            cores = dict(each(looker.find_cores, blocks))
            seeds = [*choose(self.mosaic, [cores.pop(block) for block in blocks], decoding.split)]
        pieces = {task.block: piece for task, piece in each(looker, map(_Block, blocks, seeds))}

        def again(tasks: Iterable[Task]) -> Iterable[tuple[int, Piece]]:
            looked = each(looker.again, (_Block(task[0], seeds[task[0]], task) for task in tasks))
            return ((one.block, piece) for one, piece in looked)

        self._sewn = Sewn(self.mosaic, pieces, again, decoding)
        self.count, self.pixels, self.certainty = self._sewn.count, self._sewn.pixels, self._sewn.certainty

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def local(self, block: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """The labels 0 ... n of a block as it counts them, and the number (n + 1,) of each in the image."""
        return np.asarray(self._labels[self.mosaic.region(block)]), self._sewn.numbers(block)

    def __getitem__(self, key: Key | tuple[Key, ...]) -> NDArray[np.int32]:
        slices, taken = as_slices(key, self.shape)
        region = tuple(slice(part.start, max(part.start, part.stop)) for part in slices)
        out = np.zeros([part.stop - part.start for part in region], np.int32)
        if out.size:
            for block in self.mosaic.touching(region):
                both = shared(region, self.mosaic.region(block))
                out[within(both, region)] = self._sewn.numbers(block)[self._labels[both]]
        result: NDArray[np.int32] = out[tuple(slice(None, None, part.step) for part in slices)][taken]
        return result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)


@dataclass(frozen=True, eq=False)
class _Block:
    """A block to be looked at, which of its zones are seeds (None: all cores are), what is to be flooded again."""

    block: int
    seeds: NDArray[np.bool_] | None
    task: Task | None = None

    def __repr__(self) -> str:  # messages of workers name it
        return str(self.block)


class _Looker:
    """Looks at blocks, for the first time or again, and stores their labels."""

    def __init__(self, kept: Any, labels: Any, mosaic: Mosaic, decoding: Decoding) -> None:
        self._kept, self._labels, self._mosaic, self._decoding = kept, labels, mosaic, decoding
        # of blocks that were looked at in this process; others are found again, since a task may run twice anywhere
        self._zones: dict[int, NDArray[np.int32]] = {}
        self._seeds: dict[int, NDArray[np.uint8]] = {}  # as bits

    def find_cores(self, block: int) -> Cores:
        """The cores of a block."""
        zones, cores = find_cores(unpack(self._read(block)), self._decoding, sides(self._mosaic, block))
        if len(self._zones) < ZONES_REMEMBERED:
            self._zones[block] = zones
        return cores

    def __call__(self, one: _Block) -> Piece:
        kept = self._with_seeds(one)
        labels, piece = look(unpack(kept), sides(self._mosaic, one.block))
        self._labels[self._mosaic.region(one.block)] = labels
        return piece

    def again(self, one: _Block) -> Piece:
        assert one.task is not None
        block, piece, dirty, known = one.task
        region, kept = self._mosaic.region(block), self._with_seeds(one)
        labels, piece = look_again(kept, np.asarray(self._labels[region]), piece, dirty, known)
        self._labels[region] = labels
        return piece

    def _read(self, block: int) -> NDArray[np.uint16]:
        return np.asarray(self._kept[(slice(None), *self._mosaic.region(block))])

    def _with_seeds(self, one: _Block) -> NDArray[np.uint16]:
        """What was kept of a block, with cores where seeds are."""
        kept = self._read(one.block)
        if one.seeds is None:
            return kept
        if one.block in self._seeds:
            seeds = np.unpackbits(self._seeds[one.block], count=kept[0].size).astype(bool).reshape(kept.shape[1:])
        else:
            zones = self._zones.pop(one.block, None)
            seeds = one.seeds[find_zones(unpack(kept), self._decoding)[0].numbers if zones is None else zones]
            if len(self._seeds) < REMEMBERED:
                self._seeds[one.block] = np.packbits(seeds)
        return mark_seeds(kept, seeds)


def _one_by_one(function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[tuple[Any, Any]]:
    return ((task, function(task)) for task in tasks)
