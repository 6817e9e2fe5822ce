"""What the page's process and the learner tell each other, one message after the other through two pipes."""

from __future__ import annotations

import pickle
import queue
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.images import Source
from contractile.images.gate import Limits, limits
from contractile.quality import Expected

Region = tuple[slice, slice]  # Y and X of the full resolution, with start and stop


@dataclass(frozen=True)
class Begin:
    """The first message: the images by their numbers, and how to learn. `start` is a model that learning starts from.

    `minutes` is how long to learn after the last change of the annotation. Models are written into `folder`. `seconds`
    is how long was learned before, in this session. `truths` are images by number with their labels, which nobody
    learns from: they show where the model is worst. `bounds` say what is read of images at most: those of this process.
    `class_names` has a name for each of `class_values`, or none.
    """

    sources: tuple[Source, ...]
    task: Literal["objects", "classes"]
    class_values: tuple[int, ...]
    folder: Path
    start: Path | None = None
    minutes: float = 10.0
    device: str = "auto"
    seed: int = 0
    seconds: float = 0.0
    truths: tuple[tuple[int, Source], ...] = ()
    bounds: Limits = field(default_factory=limits)
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Painted:
    """The labels (*region) of a part of an image, -1 unknown, and which of its pixels are held out for scoring.

    `whole` are the numbers of objects that end where their pixels end; of others, a part may be painted.
    """

    image: int
    region: Region
    labels: NDArray[np.int32]
    held: NDArray[np.bool_]
    whole: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Cleared:
    """Nothing is painted in a part of an image any more; what is, follows."""

    image: int
    region: Region


@dataclass(frozen=True)
class Look:
    """What the user looks at now."""

    image: int
    region: Region


@dataclass(frozen=True)
class Do:
    """A wish of the user: pause, resume, restart, longer (by `minutes`), go_back (to `model`)."""

    what: str
    minutes: float = 0.0
    model: str = ""


@dataclass(frozen=True)
class Shown:
    """What the network says about a region: `labels` int32, `inside` and `certainty` uint8 (255 is 1), (*region) each.

    `steps` is the age of the network. `chances` are those of objects to be right, by number, and `expected` what is
    expected of all of them together; where the model can tell.
    """

    image: int
    region: Region
    labels: NDArray[np.int32]
    inside: NDArray[np.uint8]
    certainty: NDArray[np.uint8]
    steps: int
    chances: dict[int, float] = field(default_factory=dict)
    expected: Expected | None = None


@dataclass(frozen=True)
class Told:
    """Facts for the page. `kind` is learning, score, suggestions, or failed."""

    kind: str
    values: dict[str, Any] = field(default_factory=dict)


def write(stream: IO[bytes], message: Any) -> None:
    """Write a message, so that the other side can read it at once."""
    pickle.dump(message, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()


class Inbox:
    """Messages that a thread reads from a stream. Both ends are ours: nobody else can write into these pipes."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stream = stream
        self.ended = False
        threading.Thread(target=self._read, name="inbox", daemon=True).start()

    def take(self, *, wait: float | None = 0.0) -> list[Any]:
        """All messages that are there. Waits for the first one for at most `wait` seconds; None waits for ever."""
        found = []
        try:
            found.append(self._queue.get(block=wait != 0, timeout=wait))
            while True:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        if any(one is None for one in found):
            self.ended = True
        return [one for one in found if one is not None]

    def _read(self) -> None:
        try:
            while True:
                self._queue.put(pickle.load(self._stream))
        except (EOFError, OSError, pickle.UnpicklingError):
            self._queue.put(None)
