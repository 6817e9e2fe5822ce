"""Arrays of the size of an image while it is predicted: in memory where they are small, else a file for each block.

A block is written under another name, flushed and renamed. So a file that is there is a block that is finished, and a
prediction that was killed goes on from there. Several processes may write at once, each block once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs.blosc import Blosc  # type: ignore[import-untyped]
from numpy.typing import NDArray

from contractile.errors import NotWritten
from contractile.grid import Key, Mosaic, as_slices, shared, within

DIGEST = 16  # bytes in front of a block that tell whether it is whole


class Scratch:
    """Values (*front, *S) in a folder, `front` being channels, block by block of a mosaic of *S.

    Sliced like an array; blocks that were not written are 0. Assignments are to the space of one whole block.
    """

    def __init__(
        self, folder: Path, mosaic: Mosaic, dtype: Any, front: Sequence[int] = (), *, durable: bool = True
    ) -> None:
        """Blocks that are not `durable` are not flushed: a resumed prediction computes them again."""
        self.folder, self.mosaic, self.dtype, self.front = folder, mosaic, np.dtype(dtype), tuple(front)
        self.shape = (*self.front, *mosaic.shape)
        self._durable = durable
        self._last: tuple[int, NDArray[Any]] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def __getstate__(self) -> dict[str, Any]:
        """For other processes: without values."""
        return {**self.__dict__, "_last": None}

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[...].astype(dtype or self.dtype, copy=False)

    def finished(self) -> set[int]:
        """The blocks that are there."""
        return {int(path.stem) for path in self.folder.glob("*.block") if path.stem.isdecimal()}

    def typical_size(self) -> float:
        """Mean bytes of the files of the blocks that are there."""
        sizes = [path.stat().st_size for path in self.folder.glob("*.block")]
        return sum(sizes) / max(1, len(sizes))

    def __getitem__(self, key: Key | tuple[Key, ...]) -> NDArray[Any]:
        slices, taken = as_slices(key, self.shape)
        front, space = slices[: len(self.front)], slices[len(self.front) :]
        region = tuple(slice(part.start, max(part.start, part.stop)) for part in space)
        out = np.zeros([*self.front, *(part.stop - part.start for part in region)], self.dtype)
        for number in self.mosaic.touching(region) if out.size else ():
            block = self.mosaic.region(number)
            both = shared(region, block)
            here: tuple[Any, ...] = (..., *within(both, region))
            there: tuple[Any, ...] = (..., *within(both, block))
            out[here] = self._load(number)[there]
        index: tuple[Any, ...] = (*front, *(slice(None, None, part.step) for part in space))
        found: NDArray[Any] = out[index][taken]
        return found

    def __setitem__(self, key: Key | tuple[Key, ...], values: NDArray[Any]) -> None:
        slices, _ = as_slices(key, self.shape)
        space = slices[len(self.front) :]
        (number,) = self.mosaic.touching(space)
        if tuple(self.mosaic.region(number)) != tuple(slice(part.start, part.stop) for part in space):
            raise AssertionError("blocks are written whole")
        self._save(number, np.ascontiguousarray(values, self.dtype))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.block"

    def _load(self, number: int) -> NDArray[Any]:
        if self._last is not None and self._last[0] == number:
            return self._last[1]
        shape = (*self.front, *(part.stop - part.start for part in self.mosaic.region(number)))
        try:
            stored = self._path(number).read_bytes()
        except FileNotFoundError:
            return np.zeros(shape, self.dtype)
        if hashlib.blake2b(stored[DIGEST:], digest_size=DIGEST).digest() != stored[:DIGEST]:
            self._path(number).unlink()
            problem, cure = (
                "a block of an unfinished prediction is damaged",
                "the same command with --resume does it again",
            )
            raise NotWritten(problem, cure, where=self._path(number))
        values = np.frombuffer(Blosc().decode(stored[DIGEST:]), self.dtype).reshape(shape)
        self._last = (number, values)
        return values

    def _save(self, number: int, values: NDArray[Any]) -> None:
        packed = Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE).encode(values)
        path = self._path(number)
        partial = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            with partial.open("wb") as file:
                file.write(hashlib.blake2b(packed, digest_size=DIGEST).digest() + packed)
                if self._durable:
                    file.flush()
                    os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            cure = "choose a folder on a disk with free space; what is done goes on with --resume"
            raise NotWritten(f"cannot be written ({error.strerror or error})", cure, where=self.folder) from error
        self._last = (number, values)
