"""One image, block by block: probabilities -> what is kept of them -> labels, which are read region by region."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode import Decoding, Each, Objects, keep, reach, unpack
from contractile.grid import Mosaic, widened, within
from contractile.model import ModelCard
from contractile.prediction.features import BEYOND, Seen, describe_objects
from contractile.prediction.field import Field
from contractile.prediction.objects import Block
from contractile.prediction.scratch import Scratch
from contractile.quality import Shown
from contractile.work import here

THREADS = 2  # blocks that are decoded at a time
IN_MEMORY = 2**25  # bytes of an array that is kept in memory; larger ones lie in files


class Segmented:
    """The labels (*S) of one image, which are computed block by block and then read region by region.

    `maps` are its probabilities (K, *S), where they were asked for, and `inside` gives those of being inside an object.
    `count` is the number of objects.
    """

    def __init__(
        self,
        field: Field,
        card: ModelCard,
        *,
        folder: Path | None = None,
        with_maps: bool = False,
        in_memory: int = IN_MEMORY,
    ) -> None:
        """Call `predict` for all blocks in `todo`, then `sew`, then read labels.

        Arrays of more than `in_memory` bytes lie in `folder`, where there is one.
        """
        self._in_memory = in_memory
        self.field: Field | None = field
        self.card = card
        self.shape, self.dtype = tuple(field.shape[1:]), np.dtype(np.int32)
        self.mosaic = Mosaic.of(self.shape)
        self.scale = field.scale
        self.decoding: Decoding = card.decoding.scaled(1 / self.scale, len(self.shape))
        self._objects = card.task == "objects"
        self._folder = folder
        self.maps = self._store("maps", np.float32, (field.shape[0],)) if with_maps else None
        self._kept = self._store("kept", np.uint16, (2,)) if self._objects else None
        self._tallies = None if card.calibration is None else self._store_tallies(field.shape[0])
        self._labels: Any = self._store("labels", np.int32, durable=not self._objects)
        self._sewn: Objects | None = None
        self.count = 0

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def largest(self) -> int | None:
        """The largest label; None where some are negative."""
        values = self.card.class_values
        return self.count if self._objects else None if min(values) < 0 else max(values)

    @property
    def place(self) -> Path:
        """The folder of the arrays that are large."""
        assert self._folder is not None
        return self._folder.absolute()

    def size_on_disk(self) -> float:
        """Bytes of a typical block in all files: those that are there, the labels as large as what was kept."""
        kept = self._labels if self._kept is None else self._kept
        return 2.0 * sum(one.typical_size() for one in (self.maps, kept) if isinstance(one, Scratch))

    def todo(self) -> list[int]:
        """The blocks that were not predicted yet."""
        last = self._kept if self._objects else self._labels
        there: set[int] = last.finished() if isinstance(last, Scratch) else set()
        return [number for number in range(len(self.mosaic)) if number not in there]

    def predict(self, number: int) -> None:
        """Compute one block and store what is needed of it."""
        self.store(number, self.compute(number))

    def compute(self, number: int) -> NDArray[Any]:
        """The probabilities (K, *B) of a block, and of what smoothing looks at around it."""
        assert self.field is not None
        return self.field[(slice(None), *self._around(number))]

    def store(self, number: int, probabilities: NDArray[Any]) -> None:
        """Store what is needed of what `compute` gave for a block."""
        region = self.mosaic.region(number)
        inner = within(region, self._around(number))
        if self.maps is not None:
            self.maps[(slice(None), *region)] = probabilities[(slice(None), *inner)]
        if self._kept is not None:
            self._kept[(slice(None), *region)] = keep(probabilities, self.decoding, inner)
        else:
            if self._tallies is not None and self.card.calibration is not None:
                tally = self.card.calibration.tally(probabilities)
                self._tallies[..., number : number + 1] = tally[..., None]
            values = np.asarray(self.card.class_values, np.int32)
            self._labels[region] = values[probabilities.argmax(axis=0)]

    def _around(self, number: int) -> tuple[slice, ...]:
        reached = reach(self.decoding) if self._objects else 0
        return widened(self.mosaic.region(number), reached, self.shape)

    def sew(self, each: Each | None = None) -> None:
        """Find the objects, once all blocks are predicted; `each(function, tasks)` carries out tasks."""
        if self._kept is not None:
            if each is None and len(self.mosaic) > 1:
                each = partial(here(threads=THREADS).each, name="objects")
            self._sewn = Objects(self._kept, self._labels, self.decoding, mosaic=self.mosaic, each=each)
            self.count = self._sewn.count

    def settle(self) -> None:
        """Forget what was kept to find the objects, where it is in memory. Only labels and maps can be read then."""
        if isinstance(self._labels, np.ndarray) and self._sewn is not None:
            self._labels = np.asarray(self._sewn)
            self._sewn = self._kept = None
        self.field = None  # with the image that it reads

    def __getitem__(self, key: Any) -> NDArray[np.int32]:
        found: NDArray[np.int32] = (self._sewn or self._labels)[key]
        return found

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...]).astype(dtype or self.dtype, copy=False)

    def blocks(self) -> Iterator[Block]:
        """The blocks with their objects, for a table of them."""
        numbers = range(len(self.mosaic))
        with closing(here(threads=min(THREADS, len(numbers))).each(self._block, numbers, name="blocks")) as read:
            yield from (block for _, block in read)

    @property
    def tally(self) -> NDArray[np.float64] | None:
        """What counts for the Dice scores that are to be expected (K, 3); None where the model does not know."""
        return None if self._tallies is None else np.asarray(self._tallies[...]).sum(axis=-1)

    def shown(self, typical: float) -> Shown:
        """What the objects show of themselves; `typical` is the area of a typical one, in pixels of the image."""
        numbers = range(len(self.mosaic))
        with closing(here(threads=min(THREADS, len(numbers))).each(self._see, numbers, name="blocks")) as seen:
            return describe_objects((block for _, block in seen), self.count, typical=typical)

    def _see(self, number: int) -> Seen:
        assert self._kept is not None
        region = self.mosaic.region(number)
        around = widened(region, 1, self.shape)
        labels = np.full([part.stop - part.start + 2 for part in region], BEYOND, np.int32)
        inner = (slice(a.start - r.start + 1, a.stop - r.start + 1) for a, r in zip(around, region, strict=True))
        labels[tuple(inner)] = self[around]
        kept = unpack(np.asarray(self._kept[(slice(None), *region)]))
        return Seen(labels, kept.inside, kept.level, tuple(part.start for part in region))

    def _block(self, number: int) -> Block:
        assert self._sewn is not None
        assert self._kept is not None
        region = self.mosaic.region(number)
        return Block(region, *self._sewn.local(number), self._kept[(0, *region)])

    def _store_tallies(self, classes: int) -> Any:
        """(K, 3, blocks), where the labels are."""
        blocks, large = Mosaic((len(self.mosaic),), (1,)), math.prod(self.shape) * 4 > self._in_memory
        if self._folder is None or not large:
            return np.zeros((classes, 3, len(self.mosaic)))
        return Scratch(self._folder / "tallies", blocks, np.float64, (classes, 3))

    def _store(self, name: str, dtype: Any, front: tuple[int, ...] = (), *, durable: bool = True) -> Any:
        shape = (*front, *self.shape)
        if self._folder is None or math.prod(shape) * np.dtype(dtype).itemsize <= self._in_memory:
            return np.zeros(shape, dtype)
        return Scratch(self._folder / name, self.mosaic, dtype, front, durable=durable)


def segment(field: Field, card: ModelCard) -> Segmented:
    """The labels of an image whose field of probabilities is given; what is kept of it is in memory."""
    found = Segmented(field, card)
    for number in found.todo():
        found.predict(number)
    found.sew()
    return found
