"""The page's side of the learner: starts the process, sends what is painted, keeps what it answers."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.grid import within
from contractile.labels import connected
from contractile.viewer.canvas import Region, box, middles, overlap
from contractile.viewer.child import Child
from contractile.viewer.latest import Latest
from contractile.viewer.learner.messages import Begin, Cleared, Do, Look, Painted, Shown, Told
from contractile.viewer.session import Change, Session

logger = logging.getLogger(__name__)

AT_ONCE = 2**22  # pixels of a region that are sent together
RESTARTS = 3  # of a learner that ends by itself
SCORES = "scores.jsonl"  # in the folder of the session: one line for each published model
BACK = "back_to"  # of a line there that names the earlier model that the user went back to
WISHES = ("pause", "resume", "restart", "longer", "go_back")

Tell = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Predicted:
    """An object that the network shows: its region, mask (*region) and mean probability.

    `confidence` is the chance that it is right, where the model can tell, else its mean certainty. `value` is its
    number on the screen; of classes, the value of the class. `cut` says that it reaches a side at which the prediction
    ends, but not the image.
    """

    region: Region
    mask: NDArray[np.bool_]
    probability: float
    confidence: float
    value: int
    cut: bool = False


class Learning:
    """A network that learns from a session in a process of its own, and what it says about the images."""

    def __init__(self, session: Session, begin: Begin) -> None:
        """Start the process. All that is annotated already is sent to it."""
        self._session, self._begin = session, begin
        self._lock, self._sending = threading.RLock(), threading.RLock()
        self._shown = Latest()
        self._status: dict[str, Any] = _status("starting", message=None)
        self._scores = session.folder / SCORES
        self._models, self._back = _read_scores(self._scores)
        self._suggestions: list[dict[str, Any]] = []
        self._listeners: list[Tell] = []
        self._closing = threading.Event()
        self._child: Child | None = None
        self._view: Look | None = None
        session.on_change(self._send_change)
        self._thread = threading.Thread(target=self._keep_alive, name="learner", daemon=True)
        self._thread.start()

    def look_at(self, image: int, region: Region) -> None:
        """Say what the user looks at: it is predicted first."""
        self._view = Look(image, region)
        self._send(self._view)

    def layer(self, image: int, kind: str, factor: tuple[float, float], region: Region) -> NDArray[Any] | None:
        """What is predicted: `prediction` int32, `inside` or `certainty` uint8, every `factor`-th pixel, (*region).

        `region` is in pixels of the level. Outside of what was predicted labels are -1 and other values 0. None where
        nothing is known.
        """
        with self._lock:
            shown = self._shown.get(image)
        if shown is None:
            return None
        layers: dict[str, NDArray[Any]] = {
            "prediction": shown.labels,
            "inside": shown.inside,
            "certainty": shown.certainty,
        }
        values = layers[kind]
        places = [at - whole.start for at, whole in zip(middles(factor, region), shown.region, strict=True)]
        known = [(at >= 0) & (at < size) for at, size in zip(places, values.shape, strict=True)]
        if not (known[0].any() and known[1].any()):
            return None
        out = np.full([len(at) for at in places], -1 if kind == "prediction" else 0, values.dtype)
        found = values[np.ix_(places[0][known[0]], places[1][known[1]])]
        out[np.ix_(known[0], known[1])] = found
        return out

    def object_at(self, image: int, y: int, x: int) -> Predicted | None:
        """The predicted object (of classes: the connected part of one class) under a pixel."""
        with self._lock:
            shown = self._shown.get(image)
        if shown is None:
            return None
        at = y - shown.region[0].start, x - shown.region[1].start
        if not all(0 <= place < size for place, size in zip(at, shown.labels.shape, strict=True)):
            return None
        number = int(shown.labels[at])
        if self._begin.task == "objects":
            found = _cut_out(shown, shown.labels == number) if number else None
            return found and replace(found, cut=bool(np.isin(number, self._at_open_sides(image, shown))))
        pieces = connected(shown.labels == number)
        return _cut_out(shown, pieces == pieces[at])

    def objects_in(self, image: int, region: Region) -> tuple[Region, NDArray[np.int32]]:
        """Predicted objects that lie wholly inside a region, of classes all that is: labels (*region), 0 elsewhere."""
        with self._lock:
            shown = self._shown.get(image)
        out = np.zeros([part.stop - part.start for part in region], np.int32)
        both = None if shown is None else overlap(region, shown.region)
        if shown is None or both is None:
            return region, out
        there = within(both, shown.region)
        inner = shown.labels[there]
        if self._begin.task == "objects":
            outside = shown.labels.copy()
            outside[there] = 0
            cut = np.union1d(outside[outside > 0], self._at_open_sides(image, shown))
            inner = np.where(np.isin(inner, cut), 0, inner)
        out[within(both, region)] = inner
        return region, out

    def _at_open_sides(self, image: int, shown: Shown) -> NDArray[np.int32]:
        """The labels where the prediction ends, and the image goes on."""
        found = [np.zeros(0, np.int32)]
        for axis, (part, size) in enumerate(zip(shown.region, self._session.pages[image].shape, strict=True)):
            found += [np.take(shown.labels, 0, axis)] * (part.start > 0)
            found += [np.take(shown.labels, -1, axis)] * (part.stop < size)
        return np.concatenate(found)

    def command(self, do: str, *, minutes: float = 10.0, model: str = "") -> None:
        """Pause, resume, restart, learn `longer` by so many minutes, or go_back to an earlier `model`.

        Raises ContractileError for another wish, and for a model that is not there.
        """
        if do not in WISHES:
            raise ContractileError(f"do must be one of {', '.join(WISHES)}, got {do!r}", "use pause or resume")
        if do == "longer" and not 0 < minutes <= 24 * 60:
            raise ContractileError(f"minutes must be from 0 to {24 * 60}, got {minutes}", "use 10")
        if do == "go_back" and model not in {one["id"] for one in self.models()}:
            raise ContractileError(f"model must be one of the published ones, got {model!r}", "see the list of models")
        self._send(Do(do, minutes, model))

    def status(self) -> dict[str, Any]:
        with self._lock:
            return dict(self._status)

    def models(self) -> list[dict[str, Any]]:
        """The published models whose files are still there, the first one first."""
        return [
            {"id": one["model"], "seconds": one["seconds"], "steps": one["steps"], "score": one.get("value")}
            for one in self.scores()
            if self._file(one["model"]).is_file()
        ]

    def scores(self) -> list[dict[str, Any]]:
        """One row for each published model: seconds, steps, objects annotated, and the score on what is held out."""
        with self._lock:
            return list(self._models)

    def suggestions(self, most: int = 10) -> list[dict[str, Any]]:
        """Where an annotation would help most, the best first."""
        with self._lock:
            return self._suggestions[:most]

    def model(self) -> Path | None:
        """The file of the newest model, or of the one that the user went back to since then."""
        names = [one["id"] for one in self.models()]
        name = self._back if self._back in names else names[-1] if names else None
        return None if name is None else self._file(name)

    def on_news(self, tell: Tell) -> None:
        self._listeners.append(tell)

    def close(self) -> None:
        """End the process. May be called again, and by another thread."""
        self._closing.set()
        child = self._child
        if child is not None:
            child.end()
        self._thread.join()

    def _keep_alive(self) -> None:
        """Start the process, listen to it, and start it again if it ends by itself."""
        for left in reversed(range(1 + RESTARTS)):
            if self._closing.is_set():
                return
            child = self._start()
            for message in child.listen():
                self._take(message)
            if self._closing.is_set():
                return
            logger.warning("the learner ended with status %s%s", child.status, ": it is started again" if left else "")
        self._child = None  # nobody reads what it would be sent
        self._take(Told("learning", _status("failed", message="the learner ended again and again: see the terminal")))

    def _start(self) -> Child:
        """A process that knows all that was annotated so far."""
        child = Child()
        child.send(self._go_on())
        self._child = child  # from now on it hears of changes
        if self._closing.is_set():
            child.end()
        for image in range(len(self._begin.sources)):
            for region in self._session.annotated(image):
                self._send_painted(image, region)
        if self._view is not None:
            self._send(self._view)
        return child

    def _go_on(self) -> Begin:
        """How to begin: in a session with models, with the one that `model` names."""
        rows, last = self.scores(), self.model()
        if not rows or last is None:
            return self._begin
        return replace(self._begin, start=last, seconds=rows[-1]["seconds"])

    def _take(self, message: Shown | Told) -> None:
        if isinstance(message, Shown):
            with self._lock:
                self._shown.put(message)
            told: dict[str, Any] = {"image": message.image, "region": box(message.region), "steps": message.steps}
            told["expected"] = None if message.expected is None else message.expected._asdict()
            return self._tell("predicted", told)
        with self._lock:
            if message.kind == "learning":
                self._status = message.values
            elif message.kind == "suggestions":
                self._suggestions = message.values["found"]
            elif message.kind == "score":
                row = {**message.values, "objects": self._session.counts().objects, "time": round(time.time(), 1)}
                self._models.append(row)
                self._back = None
                _add_row(self._scores, row)
            elif message.kind == "back":
                self._back = message.values["model"]
                return _add_row(self._scores, {BACK: self._back})
        kinds = {"learning": "learning", "score": "scores", "suggestions": "suggestions", "refused": "refused"}
        self._tell(kinds[message.kind], self._models[-1] if message.kind == "score" else message.values)

    def _file(self, model: str) -> Path:
        return self._begin.folder / f"{model}.safetensors"

    def _tell(self, kind: str, values: dict[str, Any]) -> None:
        for tell in self._listeners:
            tell(kind, values)

    def _send_change(self, change: Change) -> None:
        """Tell what changed; of a large region, such as that of a long stroke, only the tiles with annotation.

        Several threads change a session. What is read is put into the queue before another reads, so that the last
        that the learner hears of a place is the newest. The lock is taken before that of the session, never after it.
        """
        image, region = change.image, change.region
        if region is None:
            return
        if math.prod(part.stop - part.start for part in region) <= AT_ONCE:
            return self._send_painted(image, region)
        with self._sending:
            self._send(Cleared(image, region))
            for tile in self._session.annotated(image):
                part = overlap(tile, region)
                if part is not None:
                    self._send_painted(image, part)

    def _send_painted(self, image: int, region: Region) -> None:
        with self._sending:
            labels, held = self._session.both(image, region)
            whole = self._session.whole_numbers(image)
            there = frozenset(np.unique(labels[labels > 0]).tolist()) & whole if whole else whole
            self._send(Painted(image, region, labels, held, there))

    def _send(self, message: Any) -> None:
        """Send a message. A process that has ended gets everything once more when it is started again."""
        child = self._child  # which another thread may forget
        if child is not None:
            child.send(message)


def _status(state: str, *, message: str | None) -> dict[str, Any]:
    return {
        "state": state, "needs": None, "steps": 0, "loss": 0.0, "seconds": 0.0, "since_update": None,
        "minutes_left": None, "message": message, "model": None,
    }  # fmt: skip


def _read_scores(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """The rows of a file of scores, and the model that the user went back to after the last; None where nobody did.

    A line that was cut off is left out.
    """
    rows, back = list[dict[str, Any]](), None
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        row = None
        with suppress(ValueError):
            row = json.loads(line)
        if isinstance(row, dict) and {"model", "seconds", "steps"} <= row.keys():
            rows, back = [*rows, row], None
        elif isinstance(row, dict) and BACK in row:
            back = str(row[BACK])
    return rows, back


def _add_row(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a file of scores. What cannot be written is only shown: annotations matter more."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        logger.warning("%s: %s", path, error)


def _cut_out(shown: Shown, mask: NDArray[np.bool_]) -> Predicted:
    y, x = (np.flatnonzero(mask.any(axis=1 - axis)) for axis in (0, 1))
    box = slice(int(y[0]), int(y[-1]) + 1), slice(int(x[0]), int(x[-1]) + 1)
    part = mask[box]
    top, left = shown.region[0].start, shown.region[1].start
    region = slice(box[0].start + top, box[0].stop + top), slice(box[1].start + left, box[1].stop + left)
    inside, certainty = (float(values[box][part].mean()) / 255 for values in (shown.inside, shown.certainty))
    value = int(shown.labels[box][part][0])
    return Predicted(region, part, inside, shown.chances.get(value, certainty), value)
