"""Results of many pages that wait until all pages are predicted: in memory where they are few, else in a file."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile

from contractile.prediction.blocks import IN_MEMORY
from contractile.storage import telling


class Spool:
    """Pieces of bytes, which are given back in the order in which they came.

    Those that exceed `in_memory` bytes together lie in a file in `folder`. It has no name, so that nothing is left of
    it when the process ends.
    """

    def __init__(self, folder: Path, *, in_memory: int = IN_MEMORY) -> None:
        self._folder, self._in_memory = folder, in_memory
        self._sizes: list[int] = []
        self._open()

    def add(self, piece: bytes) -> None:
        """Take the next piece. Raises NotWritten and NotWritable."""
        with telling(self._folder):
            self._file.seek(0, os.SEEK_END)
            self._file.write(piece)
        self._sizes.append(len(piece))

    def __len__(self) -> int:
        return len(self._sizes)

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for size in self._sizes:
            self._file.seek(start)
            yield self._file.read(size)
            start += size

    def clear(self) -> None:
        """Forget all pieces."""
        self._sizes.clear()
        self._close()
        self._open()

    def _open(self) -> None:
        self._file = SpooledTemporaryFile(self._in_memory, dir=str(self._folder))  # noqa: SIM115 - closed with this
        self._close = weakref.finalize(self, self._file.close)
