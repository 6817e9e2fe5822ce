"""The learner's loop: messages first, then what is on the screen, then a step of training, then a look around."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, BinaryIO

from contractile.errors import ContractileError
from contractile.images import limited
from contractile.model import load
from contractile.viewer.canvas import box
from contractile.viewer.latest import Latest
from contractile.viewer.learner.doubting import Doubt, Doubter
from contractile.viewer.learner.growing import Growing
from contractile.viewer.learner.judging import Judge
from contractile.viewer.learner.looking import Looker, enough
from contractile.viewer.learner.messages import Begin, Cleared, Do, Inbox, Look, Painted, Region, Told, write
from contractile.viewer.learner.opened import Images
from contractile.viewer.learner.painted import Annotated
from contractile.viewer.learner.published import Published
from contractile.viewer.learner.scoring import score

FIRST_STEPS, FIRST_S = 20, 4.5  # the first prediction is shown after so many steps, or so many seconds of training
SHOWN_S, PUBLISHED_S, TOLD_S, AROUND_S = 2.0, 15.0, 1.0, 6.0  # seconds between two of a kind
SHARE = 0.25  # of the time that looking may take, at most
GATHERED_S = 0.3  # strokes that come this quickly are learned together
SUGGESTED = 40  # places that are kept
STALE = 8  # publications without a better score: no longer improving


class Clock:
    """When something of a kind is due: after so many seconds, and so that it takes at most a share of the time.

    `trouble` says what went wrong the last time; "" where nothing did.
    """

    def __init__(self, every: float, share: float = SHARE) -> None:
        self._every, self._share, self._next = every, share, 0.0
        self.trouble = ""

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._next

    def took(self, seconds: float) -> None:
        self._next = time.monotonic() + max(self._every, seconds / self._share)

    def now(self) -> None:
        """Be due at once."""
        self._next = 0.0


def run(told: BinaryIO, answers: BinaryIO) -> None:
    """Learn, until the other process closes its end. Errors that a user can mend are told; others end this process."""
    inbox = Inbox(told)
    first = inbox.take(wait=None)
    if not first:
        return
    bounds = first[0].bounds
    with limited(pixels=bounds.pixels, missing=bounds.missing):
        images = Images(first[0])
        learner = Learning(first[0], images, answers)
        waiting: list[Any] = first[1:]
        with suppress(BrokenPipeError):  # the other process was killed
            while not inbox.ended:
                for message in waiting:
                    learner.take(message)
                idle = not learner.work()
                waiting = inbox.take(wait=0.5 if idle else 0.0)
        learner.close()
        images.close()


class Learning:
    """Everything that the process holds."""

    def __init__(self, begin: Begin, images: Images, answers: BinaryIO) -> None:
        self._begin, self._images, self._answers = begin, images, answers
        self._annotated = Annotated(self._images.open)
        self._growing = Growing(begin, self._images.curve)
        self._doubter: Doubter | None = None
        self._judge = Judge(begin.truths, lambda number: images.open(number).shape[1:])
        self._looker: Looker | None = None
        self._looked = -1  # steps of the network in `_looker`
        self._view: Look | None = None
        self._shown = Latest()
        self._painted_at: float | None = None
        self._show, self._publish, self._tell = Clock(SHOWN_S), Clock(PUBLISHED_S, 0.1), Clock(TOLD_S)
        self._around, self._compare = Clock(AROUND_S, 0.1), Clock(0.0, 0.5)
        self._paused, self._failure = False, ""
        self._unread: dict[int, str] = {}  # images that cannot be read, and why
        self._hint: str | None = None  # what would help most, though the network learns
        self._seconds, self._left = begin.seconds, 60 * begin.minutes
        self._models = Published(begin.folder)
        self._best, self._since_best = 0.0, 0
        self._ripe = self._growing.knows  # whether the network is worth a look
        self._publish.took(0)  # a network that was known before is published already
        self._trained = 0.0  # seconds, since it began from nothing
        self._updated: float | None = None

    def close(self) -> None:
        """End what runs beside the loop."""
        self._growing.close()

    def take(self, message: Any) -> None:
        """Do what a message says; what takes long is only noted."""
        if isinstance(message, Painted):
            self._take_painted(message)
        elif isinstance(message, Cleared):
            self._annotated.clear(message)
            self._painted_at = time.monotonic()
        elif isinstance(message, Look):
            if self._view is None or self._view != message:
                self._show.now()
            self._view = message
        elif isinstance(message, Do):
            self._obey(message)

    def _take_painted(self, painted: Painted) -> None:
        """Remember what was painted. That an image cannot be read is told; the others are learned from."""
        try:
            self._annotated.take(painted)
        except ContractileError as error:
            self._unread[painted.image] = str(error)
            return self._tell.now()
        self._unread.pop(painted.image, None)
        if self._doubter is not None and (painted.labels >= 0).any():
            self._doubter.forget(painted.image, painted.region)
        self._painted_at = time.monotonic()
        self._left = max(self._left, 60 * self._begin.minutes)

    def work(self) -> bool:
        """Do the next thing that is due. False where there is nothing to do but wait."""
        started = time.monotonic()
        if self._painted_at is not None and started - self._painted_at > GATHERED_S:
            self._learn_anew()
        if self._growing.knows and self._view is not None and self._show.due and self._is_new(self._view):
            self._try(partial(self._show_view, self._view), self._show)
        elif self._learns and self._ripe and self._publish.due:
            self._try(self._publish_model, self._publish)
        elif self._growing.knows and self._compares and not self._judge.is_done and self._compare.due:
            self._try(self._compare_next, self._compare)
        elif self._growing.knows and not self._compares and self._around.due:
            self._try(self._look_around, self._around)
        elif self._learns:
            self._step()
        else:
            self._report()
            return False
        self._report()
        return True

    @property
    def _learns(self) -> bool:
        return self._growing.ready and not self._paused and not self._failure and self._left > 0

    def _try(self, look: Callable[[], None], clock: Clock) -> None:
        """Look at images. What cannot be read or written is told; the network goes on learning."""
        started = time.monotonic()
        try:
            look()
            clock.trouble = ""
        except ContractileError as error:
            clock.trouble = str(error)
        clock.took(time.monotonic() - started)

    def _learn_anew(self) -> None:
        self._painted_at, self._failure = None, ""
        try:
            self._growing.learn_from(self._annotated.examples())
            self._note_unread()
        except ContractileError as error:
            self._failure = str(error)
        lacks = self._begin.task == "objects" and self._growing.ready and not self._annotated.has_background
        self._hint = "paint some background, too" if lacks else None
        self._since_best = 0
        self._tell.now()

    def _note_unread(self) -> None:
        """Which painted images are not learned from now, since they cannot be read."""
        read = set(self._annotated.images()) - set(self._annotated.unread)
        others = {number: why for number, why in self._unread.items() if number not in read}
        self._unread = {**others, **self._annotated.unread}

    def _step(self) -> None:
        started = time.monotonic()
        try:
            self._growing.step()
        except ContractileError as error:
            self._failure = str(error)
        took = time.monotonic() - started
        self._seconds, self._left, self._trained = self._seconds + took, self._left - took, self._trained + took
        if not self._ripe and (self._growing.steps >= FIRST_STEPS or self._trained >= FIRST_S):
            self._ripe = True
            self._show.now()
            self._publish.took(0)

    def _network(self) -> Looker:
        if self._looker is None or self._looked != self._growing.steps:
            self._looker = Looker(self._growing.model(), self._images.open, self._images.curve)
            self._looked = self._growing.steps
        return self._looker

    def _is_new(self, view: Look) -> bool:
        """Whether what is on the screen was not predicted by this network yet."""
        shown = self._shown.get(view.image)
        if shown is None:
            return self._ripe or not self._learns
        wanted = enough(view.region, self._images.open(view.image).shape[1:])  # of a huge region, the middle
        return shown.steps != self._growing.steps or not _covers(shown.region, wanted)

    def _show_view(self, view: Look) -> None:
        shown = self._network().show(
            view.image, view.region, before=self._shown.get(view.image), steps=self._growing.steps
        )
        self._shown.put(shown)
        self._updated = time.monotonic()
        write(self._answers, shown)

    @property
    def _compares(self) -> bool:
        """Whether the worst images are sought among those with a truth, until something is annotated."""
        return bool(self._begin.truths) and not self._annotated.images()

    def _compare_next(self) -> None:
        self._judge.look(self._network())
        self._suggest(self._judge.worst(SUGGESTED))

    def _look_around(self) -> None:
        if self._doubter is None:
            self._doubter = Doubter(self._shapes(), self._images.open, seed=self._begin.seed)
        self._doubter.look(self._network(), self._annotated)
        self._suggest(self._doubter.best(SUGGESTED))

    def _shapes(self) -> dict[int, Sequence[int]]:
        """The (Y, X) of each image that can be read; that another one cannot is told."""
        shapes: dict[int, Sequence[int]] = {}
        for number in range(len(self._begin.sources)):
            try:
                shapes[number] = self._images.open(number).shape[1:]
            except ContractileError as error:
                self._unread[number] = str(error)
        return shapes

    def _suggest(self, doubts: Sequence[Doubt]) -> None:
        write(self._answers, Told("suggestions", {"found": [_as_json(one) for one in doubts]}))

    def _publish_model(self) -> None:
        """Write the network as a model file, and score it on what is held out, where that can be read."""
        found, trouble = None, None
        try:
            found = score(self._network(), self._annotated, seed=self._begin.seed)
        except ContractileError as error:
            trouble = error
        if found is not None:
            self._since_best = 0 if found.value > self._best else self._since_best + 1
            self._best = max(self._best, found.value)
        entry = self._models.add(self._network().model, found, seconds=self._seconds, steps=self._growing.steps)
        write(self._answers, Told("score", entry))
        if trouble is not None:
            raise trouble

    def _report(self) -> None:
        if self._tell.due:
            write(self._answers, Told("learning", self._status()))
            self._tell.took(0)

    def _status(self) -> dict[str, Any]:
        growing = self._growing
        state = "learning" if self._learns else "paused" if self._paused and growing.ready else "waiting"
        if self._failure:
            state = "failed"
        elif growing.ready and not self._paused and self._left <= 0:
            state = "done"
        troubles = (clock.trouble for clock in (self._show, self._publish, self._around, self._compare))
        message = self._failure or next(filter(None, (*self._unread.values(), *troubles)), None)
        if message is None and self._since_best >= STALE:
            message = "no longer improving: annotate more, where the key N leads"
        since = None if self._updated is None else round(time.monotonic() - self._updated, 1)
        return {
            "state": state,
            "needs": growing.needs or self._hint,
            "steps": growing.steps,
            "loss": round(growing.loss, 4),
            "seconds": round(self._seconds, 1),
            "since_update": since,
            "minutes_left": round(max(0.0, self._left) / 60, 2),
            "message": message,
            "model": self._models.last,
        }

    def _obey(self, wish: Do) -> None:
        if wish.what in ("pause", "resume"):
            self._paused = wish.what == "pause"
        elif wish.what == "restart":
            self._restart()
        elif wish.what == "longer":
            self._left, self._paused = self._left + 60 * wish.minutes, False
        elif wish.what == "go_back":
            self._go_back(wish.model)
        self._tell.now()

    def _restart(self) -> None:
        self._shown.clear()
        self._best, self._since_best = 0.0, 0
        self._ripe, self._trained = False, 0.0
        try:
            self._growing.restart()
        except ContractileError as error:
            self._failure = str(error)

    def _go_back(self, name: str) -> None:
        try:
            self._growing.go_back(load(self._models.path(name)))
        except ContractileError as error:
            write(self._answers, Told("refused", {"message": str(error)}))
            return
        self._paused, self._looker, self._models.last = True, None, name
        self._shown.clear()
        self._show.now()
        write(self._answers, Told("back", {"model": name}))


def _as_json(doubt: Doubt) -> dict[str, Any]:
    return {"image": doubt.image, "region": box(doubt.region), "value": round(doubt.value, 4), "why": doubt.why}


def _covers(outer: Region, inner: Region) -> bool:
    return all(a.start <= b.start and b.stop <= a.stop for a, b in zip(outer, inner, strict=True))
