"""Compound documents (OLE, MS-CFB): a file that holds files. Only what is asked for is read.

A table says for each sector which one follows. Chains that never end, or that leave the file, are damage.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from contractile.images.raster import Damaged

SIGNATURE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
HEAD = struct.Struct("<8s16s5H6x9I")  # up to the first 109 places of the table
FIRST = 109
ENTRY = struct.Struct("<64sHBxIII36xIQ")  # name, its bytes, kind, left, right, child, first sector, size
END, NONE = 0xFFFFFFFE, 0xFFFFFFFF  # of a chain; no entry
STORAGE, STREAM = 1, 2  # kinds of entries: a folder, a file
SMALL = 64  # bytes of a sector of small files


class Compound:
    """The files in a compound document by their paths, such as "Storage00001/Stream00012".

    Raises Damaged where the document contradicts itself, EOFError where it ends too early.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._end = file, path.stat().st_size
        file.seek(0)
        head = file.read(HEAD.size)
        if len(head) < HEAD.size:
            raise EOFError("the file ends too early")
        mark, _, _, _, _, shift, _, _, tables, first, _, self._cutoff, small, _, more, _ = HEAD.unpack(head)
        if mark != SIGNATURE or shift not in (9, 12):
            raise Damaged("no compound document")
        self._sector = 1 << shift
        listed = np.frombuffer(file.read(4 * FIRST), "<u4")
        self._next = self._table(listed, tables, more)
        entries = self._chained(first)
        self._entries = [ENTRY.unpack_from(entries, place) for place in range(0, len(entries) - 127, 128)]
        if not self._entries:
            raise Damaged("a compound document without entries")
        self._small_next = np.frombuffer(self._chained(small), "<u4")
        root = self._entries[0]
        self._small = self._chained(root[6])[: root[7]]
        self.files = self._paths(root[5])

    def read(self, name: str) -> bytes:
        """The content of a file. Raises KeyError for a name that is none of `files`."""
        *_, start, size = self._entries[self.files[name]]
        size &= 0xFFFFFFFF if self._sector == 512 else 2**63 - 1  # version 3 has 32 bits, and anything behind them
        if size > self._end:
            raise EOFError("the file ends within one of its parts")
        found = self._chained(start) if size >= self._cutoff else self._chained_small(start)
        if len(found) < size:
            raise EOFError("the file ends within one of its parts")
        return found[:size]

    def _at(self, sector: int, count: int = 1) -> bytes:
        """The content of sectors behind one another."""
        place, size = (sector + 1) * self._sector, count * self._sector
        if place + size > self._end + self._sector - 1:
            raise EOFError("the file ends too early")
        self._file.seek(place)
        return self._file.read(size).ljust(size, b"\0")

    def _table(self, listed: NDArray[np.uint32], count: int, more: int) -> NDArray[np.uint32]:
        """Which sector follows each one."""
        if count > self._end // self._sector:
            raise Damaged("a table that is larger than the file")
        places = [int(one) for one in listed[:count]]
        while len(places) < count:
            if more >= END:
                raise Damaged("its table is cut off")
            *some, more = struct.unpack(f"<{self._sector // 4}I", self._at(more))
            places += some
        return np.frombuffer(b"".join(map(self._at, places[:count])), "<u4")

    def _sectors(self, start: int, following: NDArray[np.uint32]) -> list[int]:
        found: list[int] = []
        while start < END:
            if start >= len(following) or len(found) >= len(following):
                raise Damaged("a chain of sectors that leads nowhere")
            found.append(start)
            start = int(following[start])
        return found

    def _chained(self, start: int) -> bytes:
        sectors = np.array(self._sectors(start, self._next), np.int64)
        runs = np.split(sectors, np.flatnonzero(np.diff(sectors) != 1) + 1)
        return b"".join(self._at(int(run[0]), len(run)) for run in runs if len(run))

    def _chained_small(self, start: int) -> bytes:
        sectors = self._sectors(start, self._small_next)
        return b"".join(self._small[number * SMALL : (number + 1) * SMALL] for number in sectors)

    def _paths(self, child: int) -> dict[str, int]:
        """The number of the entry of each file, by its path."""
        found: dict[str, int] = {}
        waiting, seen = [(child, "")], set[int]()
        while waiting:
            number, folder = waiting.pop()
            if number == NONE or number in seen:
                continue
            if number >= len(self._entries):
                raise Damaged("an entry that is not there")
            seen.add(number)
            name, length, kind, left, right, inside, _, _ = self._entries[number]
            path = folder + name[: max(0, min(length, 64) - 2)].decode("utf-16-le", "replace")
            if kind == STREAM:
                found[path] = number
            elif kind == STORAGE:
                waiting.append((inside, f"{path}/"))
            waiting += [(left, folder), (right, folder)]
        return found
