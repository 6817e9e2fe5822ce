"""A session: what a person annotates on some images, in a folder that outlives the page, the process and the power.

SESSION/session.json     the task, the classes, the images
SESSION/journal.jsonl    every change, in order: the truth
SESSION/labels/NAME.tif  labels of each annotated image, which `contractile train IMAGES SESSION/labels` takes
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.storage import sole
from contractile.viewer.acts import Action
from contractile.viewer.canvas import Labels, Region, middles
from contractile.viewer.doing import Doing, Task, check_region
from contractile.viewer.held import Order
from contractile.viewer.journal import GIVEN, Entry, Journal
from contractile.viewer.labels_writing import LabelFiles
from contractile.viewer.session_file import JOURNAL, ClassInfo, PageInfo, open_session_file
from contractile.viewer.sheet import FREE, Sheet

LOCK, LABELS = ".contractile.session", "labels"
Factor = tuple[float, float]


@dataclass(frozen=True)
class Change:
    """What an action changed: a region of an image, or nothing (None).

    `number` is that of the object that it made, or that it is about. `changes` counts all changes of the session.
    """

    image: int
    region: Region | None
    number: int | None
    changes: int


@dataclass(frozen=True)
class Counts:
    """What there is in all images: objects, those of them that are held, and changes that were not undone.

    `background` says whether any is painted. `kinds` counts what a network must tell apart: background and objects, or
    the values of classes.
    """

    objects: int
    held: int
    strokes: int
    background: bool
    kinds: int


class Session:
    """The annotation of images, in one folder that this process alone may write. All methods may be called by threads.

    An image is named by its place in `pages`. Regions are slices along Y and X that lie within it. Labels are int32: -1
    unknown, 0 background, above it the number of an object, or the value of a class.
    """

    def __init__(
        self,
        folder: str | Path,
        pages: Sequence[PageInfo],
        *,
        task: Task,
        classes: Sequence[ClassInfo] = (),
        start: Callable[[int], NDArray[Any] | None] | None = None,
    ) -> None:
        """Open a session, or make it. Images that are new in it begin with the labels (Y, X) of `start(image)`.

        Label files are brought up to date. Raises InUse where another process has opened it, ContractileError for a
        folder of other images, of another task, or with a journal that is damaged, AlreadyThere where a label file was
        changed by somebody else, NotWritten and NotWritable.
        """
        self.folder, self.task, self.pages = Path(folder), task, tuple(pages)
        self._ids = {page.name: number for number, page in enumerate(self.pages)}
        self._acting, self._lock = threading.RLock(), threading.RLock()  # one change at a time; what is seen of them
        self._listeners: list[Callable[[Change], None]] = []
        self._sheets = [Sheet(page.shape) for page in self.pages]
        self._order, self._begun = Order(), set[str]()
        with ExitStack() as stack:
            stack.enter_context(sole(self.folder / LOCK, "annotates in this folder"))
            found = open_session_file(self.folder, self.pages, task, classes)
            self.classes = found.classes
            self._values = frozenset(one.value for one in self.classes)
            self._journal = Journal(self.folder / JOURNAL, self._note)
            stack.callback(self._journal.close)
            self._replay()
            self._begin(start)
            marks, mark = dict(self._journal.marks), self._journal.mark
            self._files = LabelFiles(self.folder / LABELS, _View(self), found.id, marks, mark)
            stack.callback(self._files.stop)
            self._files.check([page.name for page in self.pages], anew=self._journal.was_cut)
            self._open = stack.pop_all()
        self._closed = False

    @property
    def changes(self) -> int:
        """Grows with every change, undo and redo, and goes on where it was when the session is opened again."""
        return self._journal.changes

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return self._journal.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether there is a change that was taken back."""
        return self._journal.can_redo

    def act(self, action: Action) -> Change:
        """Do what a person wants. When this returns, it is on the disk.

        Raises ContractileError for an action that cannot be done, NotWritten and NotWritable; nothing has changed then.
        """
        with self._acting:
            page, sheet = self.pages[self._place(action.image)], self._sheets[action.image]
            self._check_open()
            doing = Doing(page.name, sheet, self._order, self.task, self._values)
            found = doing.entry(action)
            if found is None:
                return Change(action.image, None, None, self.changes)
            entry, number = found
            self._journal.add(entry)
            change = self._apply(entry, number)
        return self._tell(change)

    def undo(self) -> Change | None:
        """Take back the last change that was not taken back; None where there is none. Raises as `act`."""
        with self._acting:
            self._check_open()
            entry = self._journal.undo()
            change = None if entry is None else self._apply(entry, None, back=True)
        return None if change is None else self._tell(change)

    def redo(self) -> Change | None:
        """Do the change again that was taken back last; None where there is none. Raises as `act`."""
        with self._acting:
            self._check_open()
            entry = self._journal.redo()
            change = None if entry is None else self._apply(entry, None)
        return None if change is None else self._tell(change)

    def labels(self, image: int, region: Region) -> Labels:
        """Labels (*region). Raises ContractileError for a region that does not lie in the image."""
        sheet = self._sheets[self._place(image)]
        check_region(region, sheet.shape)
        with self._lock:
            return sheet.labels[region]

    def annotation(self, image: int, factor: Factor, region: Region) -> Labels:
        """Labels (*region) at a lower resolution, whose pixels are `factor` (Y, X) times as large.

        The region is in its pixels; each has the label in its middle.
        """
        with self._lock:
            sheet = self._sheets[self._place(image)]
            return sheet.labels.sample(*_places(sheet.shape, factor, region))

    def held(self, image: int, region: Region, *, factor: Factor = (1.0, 1.0)) -> NDArray[np.bool_]:
        """Which pixels (*region) no network may learn from; `factor` as in `annotation`."""
        with self._lock:
            sheet = self._sheets[self._place(image)]
            found: NDArray[np.bool_] = sheet.held.sample(*_places(sheet.shape, factor, region)) != FREE
            return found

    def both(self, image: int, region: Region) -> tuple[Labels, NDArray[np.bool_]]:
        """Labels (*region), and which of these pixels no network may learn from: of one moment. Raises as `labels`."""
        with self._lock:
            return self.labels(image, region), self.held(image, region)

    def held_numbers(self, image: int) -> frozenset[int]:
        """The objects of an image that tell how good a network is: all their pixels are held since they were made."""
        with self._lock:
            sheet, chosen = self._sheets[self._place(image)], self._order.chosen(self.pages[image].name)
            return frozenset(filter(sheet.is_held, chosen)) if self.task == "objects" else frozenset()

    def whole_numbers(self, image: int) -> frozenset[int]:
        """The objects of an image that were drawn with their outline, or accepted: they end where their pixels end."""
        with self._lock:
            self._place(image)
            return frozenset(self._order.whole(self.pages[image].name))

    def annotated(self, image: int) -> list[Region]:
        """The tiles of 256 x 256 pixels, cut at the border, in which something is known."""
        with self._lock:
            return list(self._sheets[self._place(image)].labels.painted())

    def objects(self, image: int) -> list[int]:
        """The numbers of objects in an image, in order; none in a session of classes."""
        with self._lock:
            found = self._sheets[self._place(image)].objects()
        return found if self.task == "objects" else []

    def find(self, image: int, number: int) -> Region | None:
        """The smallest region that holds all pixels of a number above 0; None where it has none."""
        with self._lock:
            return self._sheets[self._place(image)].labels.find(number)

    def counts(self) -> Counts:
        """What there is in all images."""
        with self._lock:
            values = {value for sheet in self._sheets for value in sheet.values()}
            if self.task == "classes":
                return Counts(0, 0, self._journal.strokes, 0 in values, len(values))
            objects = sum(len(sheet.objects()) for sheet in self._sheets)
            held = sum(len(self.held_numbers(image)) for image in range(len(self.pages)))
            return Counts(objects, held, self._journal.strokes, 0 in values, (0 in values) + (objects > 0))

    def on_change(self, tell: Callable[[Change], None]) -> None:
        """Call `tell` after each change, in the thread that made it."""
        self._listeners.append(tell)

    def flush(self) -> None:
        """Wait until the label files hold all changes. Raises AlreadyThere, NotWritten, NotWritable."""
        self._files.flush()

    def close(self) -> None:
        """Write the label files, and let others open the folder. Raises as `flush`."""
        with self._acting:
            if self._closed:
                return
            self._closed = True
        with self._open:
            self._files.close()

    def _note(self, entry: Entry) -> None:
        self._order.note(entry)
        if entry.kind == GIVEN:
            self._begun.add(entry.image)

    def _replay(self) -> None:
        path = self._journal.path
        if unknown := sorted(self._journal.last.keys() - self._ids.keys()):
            problem = f"the journal of this session names the image {unknown[0]}, which session.json does not"
            raise ContractileError(problem, "restore session.json from a copy", where=path)
        for entry in self._journal.entries():
            sheet = self._sheets[self._ids[entry.image]]
            for patch in entry.patches:
                try:
                    check_region(patch.region, sheet.shape)
                except ContractileError as error:
                    raise error.at(path) from None
                sheet.apply(patch, counted=False)
        for sheet in self._sheets:
            sheet.recount()

    def _begin(self, start: Callable[[int], NDArray[Any] | None] | None) -> None:
        """Take over the labels that images begin with; once, and also where a process was killed amid it."""
        empty: list[Entry] = []
        for image, (page, sheet) in enumerate(zip(self.pages, self._sheets, strict=True)):
            if page.name in self._begun:
                continue
            labels = None if start is None else start(image)
            if labels is None:
                empty.append(Entry(page.name, GIVEN, ()))
                continue
            entry = Doing(page.name, sheet, self._order, self.task, self._values).given(np.asarray(labels))
            self._journal.add(entry)
            for patch in entry.patches:
                sheet.apply(patch)
        self._journal.add(*empty)

    def _apply(self, entry: Entry, number: int | None, *, back: bool = False) -> Change:
        image = self._ids[entry.image]
        with self._lock:
            for patch in entry.patches:
                self._sheets[image].apply(patch, back=back)
        self._files.changed(entry.image, [patch.region for patch in entry.patches])
        return Change(image, entry.region, number, self.changes)

    def _tell(self, change: Change) -> Change:
        for tell in self._listeners:
            tell(change)
        return change

    def _place(self, image: int) -> int:
        if not 0 <= image < len(self.pages):
            problem = f"image must be a number from 0 to {len(self.pages) - 1}, got {image}"
            raise ContractileError(problem, "choose an image of this session")
        return image

    def _check_open(self) -> None:
        if self._closed:
            raise ContractileError("this session is closed", "open it again", where=self.folder)


class _View:
    """What the label files read of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def shape(self, name: str) -> tuple[int, int]:
        return self._session._sheets[self._session._ids[name]].shape

    def state(self, name: str) -> tuple[int, Sequence[Region]]:
        session = self._session
        with session._lock:
            return session._journal.last.get(name, 0), session.annotated(session._ids[name])

    def part(self, name: str, region: Region) -> Labels:
        return self._session.labels(self._session._ids[name], region)


def _places(shape: tuple[int, int], factor: Factor, region: Region) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows and columns of the full resolution in the middle of the pixels of a lower one."""
    rows, columns = middles(factor, region)
    return rows.clip(0, shape[0] - 1), columns.clip(0, shape[1] - 1)
