"""Every change, written down before it is shown: so that nothing is lost, and all can be undone, also tomorrow.

The journal is a file of lines that only grows. A line holds what pixels were before and what they are after, so that a
session is opened by doing again all that was not undone. Undo and redo are lines, too. Changes stay on the disk: in
memory is only where they are in the file.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError, NotWritten
from contractile.storage import telling
from contractile.storage.files import flush
from contractile.viewer.canvas import Region
from contractile.viewer.sheet import Patch

logger = logging.getLogger(__name__)

GIVEN = "given"  # what an image began with; it cannot be undone
Mark = tuple[int, int, int]  # of a label file that was written: the change that it holds, its size, its time

# what a line may raise that is damaged
DAMAGED = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, zlib.error)


@dataclass(frozen=True)
class Entry:
    """One change of one image, named by `image`; `kind` is that of the action.

    `new` are the numbers that it gave to new objects. `objects` says how many of them count as new ones (parts of one
    that was split do not), `values` are the background or the classes of which it is a stroke. `held` are those of the
    new numbers that are held.
    """

    image: str
    kind: str
    patches: tuple[Patch, ...]
    new: tuple[int, ...] = ()
    objects: int = 0
    values: tuple[int, ...] = ()
    held: tuple[int, ...] = ()

    @property
    def region(self) -> Region | None:
        """The smallest region that holds all that changes."""
        if not self.patches:
            return None
        y, x = ([patch.region[axis] for patch in self.patches] for axis in (0, 1))
        return _around(y), _around(x)


@dataclass(frozen=True)
class _Line:
    """Where an entry is in the file."""

    start: int
    length: int
    image: str


class Journal:
    """The changes of a session. Several threads may use it."""

    def __init__(self, path: Path, note: Callable[[Entry], None]) -> None:
        """Read what is there, and call `note` for each entry that was ever added.

        A last line that was cut off, as its process was killed, is left out. Raises ContractileError for a journal that
        is damaged before its end, and NotWritten or NotWritable.
        """
        self.path, self.changes, self.was_cut = path, 0, False
        self.last: dict[str, int] = {}  # image -> the last change of it, counted from 1
        self.marks: dict[str, Mark | None] = {}  # image -> its label file
        self._given: list[_Line] = []
        self._done: list[_Line] = []
        self._undone: list[_Line] = []
        self._note, self._lock, self._end = note, threading.Lock(), 0
        with telling(path):
            is_new = not path.exists()
            self._file = path.open("ab", buffering=0)  # a part that could not be written is not tried again later
            if is_new:
                flush(path.parent)
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    @property
    def can_undo(self) -> bool:
        """Whether a change can be taken back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether a change that was taken back can be done again."""
        return bool(self._undone)

    @property
    def strokes(self) -> int:
        """How many changes count: those that were not taken back."""
        return len(self._done)

    def entries(self) -> Iterator[Entry]:
        """What images began with, and all changes that count, in order. Raises ContractileError for a damaged one."""
        return (self._entry(line) for line in (*self._given, *self._done))

    def add(self, *entries: Entry) -> None:
        """Write down changes. When this returns, they are on the disk. Raises NotWritten, NotWritable."""
        texts = [_encode(entry) for entry in entries]
        if not texts:
            return
        with self._lock:
            start = self._write(b"".join(texts))
            for entry, text in zip(entries, texts, strict=True):
                self._place(_Line(start, len(text), entry.image), entry)
                start += len(text)

    def undo(self) -> Entry | None:
        """Take back the last change, and return it; None where there is none. Raises as `add`."""
        with self._lock:
            if not self._done:
                return None
            entry = self._entry(self._done[-1])
            self._write(b'{"do":"undo"}\n')
            self._move(self._done, self._undone)
            return entry

    def redo(self) -> Entry | None:
        """Do the change again that was taken back last, and return it; None where there is none. Raises as `add`."""
        with self._lock:
            if not self._undone:
                return None
            entry = self._entry(self._undone[-1])
            self._write(b'{"do":"redo"}\n')
            self._move(self._undone, self._done)
            return entry

    def mark(self, image: str, mark: Mark | None) -> None:
        """Remember which change the label file of an image holds, and what is known of it; None where it has none."""
        with self._lock, suppress(NotWritten):  # it is found out again otherwise
            self._write(_line({"do": "mark", "image": image, "file": mark}), sure=False)
            self.marks[image] = mark

    def close(self) -> None:
        """Nothing can be added any more."""
        self._file.close()

    def _read(self) -> None:
        start, bad = 0, 0
        with self.path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if bad:
                    problem = f"the journal of this session is damaged in line {bad}"
                    cure = "keep a copy of it, and cut it before that line"
                    raise ContractileError(problem, cure, where=self.path)
                if self._is_played(text, start):
                    start += len(text)
                else:
                    bad = number
        self._end, self.was_cut = start, bool(bad)
        if bad:
            logger.warning("%s: its last line was not written whole, and is left out", self.path)
            with telling(self.path):
                self._file.truncate(start)
                os.fsync(self._file.fileno())

    def _is_played(self, text: bytes, start: int) -> bool:
        """Take a line into account; False where it is damaged."""
        try:
            if text.endswith(b"\n"):
                self._play(json.loads(text), start, len(text))
                return True
        except DAMAGED:
            pass
        return False

    def _play(self, line: dict[str, Any], start: int, length: int) -> None:
        kind = line["do"]
        if kind == "undo":
            self._move(self._done, self._undone)
        elif kind == "redo":
            self._move(self._undone, self._done)
        elif kind == "mark":
            self.marks[str(line["image"])] = None if line["file"] is None else _as_mark(line["file"])
        else:
            entry = _decode(line)
            self._place(_Line(start, length, entry.image), entry)

    def _place(self, line: _Line, entry: Entry) -> None:
        self._note(entry)
        self._count(entry.image)
        if entry.kind == GIVEN:
            self._given.append(line)
        else:
            self._done.append(line)
            self._undone.clear()

    def _move(self, one: list[_Line], other: list[_Line]) -> None:
        other.append(one.pop())
        self._count(other[-1].image)

    def _count(self, image: str) -> None:
        self.changes += 1
        self.last[image] = self.changes

    def _entry(self, line: _Line) -> Entry:
        with self.path.open("rb") as file:
            file.seek(line.start)
            text = file.read(line.length)
        try:
            entry = _decode(json.loads(text))
            for patch in entry.patches:
                patch.open()
        except DAMAGED as error:
            problem = f"the journal of this session is damaged at byte {line.start}"
            raise ContractileError(problem, "keep a copy of it, and cut it there", where=self.path) from error
        return entry

    def _write(self, text: bytes, *, sure: bool = True) -> int:
        """Append a text, and return where it begins. With an error nothing of it stays in the file."""
        start = self._end
        with telling(self.path):
            try:
                rest = memoryview(text)
                while rest:
                    rest = rest[self._file.write(rest) :]
                if sure:
                    os.fsync(self._file.fileno())
            except OSError:
                with suppress(OSError):
                    self._file.truncate(start)
                raise
        self._end += len(text)
        return start


def _encode(entry: Entry) -> bytes:
    patches = [
        {
            "at": [entry_side for part in patch.region for entry_side in (part.start, part.stop)],
            "count": patch.count,
            "holds": patch.holds,
            "data": base64.b64encode(patch.content).decode(),
        }
        for patch in entry.patches
    ]
    numbers = {"new": entry.new, "objects": entry.objects, "values": entry.values, "held": entry.held}
    known = {name: value for name, value in numbers.items() if value}
    return _line({"do": entry.kind, "image": entry.image, **known, "patches": patches})


def _decode(line: dict[str, Any]) -> Entry:
    patches = []
    for one in line["patches"]:
        top, bottom, left, right = map(int, one["at"])
        content = base64.b64decode(one["data"], validate=True)
        region = slice(top, bottom), slice(left, right)
        patches.append(Patch(region, int(one["count"]), bool(one["holds"]), content))
    new, values, held = (tuple(map(int, line.get(name, ()))) for name in ("new", "values", "held"))
    return Entry(str(line["image"]), str(line["do"]), tuple(patches), new, int(line.get("objects", 0)), values, held)


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode() + b"\n"


def _as_mark(values: Any) -> Mark:
    change, size, time = map(int, values)
    return change, size, time


def _around(parts: list[slice]) -> slice:
    return slice(min(part.start for part in parts), max(part.stop for part in parts))
