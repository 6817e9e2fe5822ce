"""How a signal ends a run: at once where nothing can be torn, else as soon as the work in hand is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name))


class Stopping:
    """Lets a signal wait while something must not be torn (`whole`), and then calls the handler that was there before.

    That of Python raises KeyboardInterrupt. A signal that would end the process without a word raises SystemExit, and
    `silent` says so. A second signal does not wait; `torn` says that it broke into something.
    """

    def __init__(self) -> None:
        self.number: int | None = None  # of the signal that ends the run
        self.torn = self.silent = False
        self._held = self._waiting = False
        self._former: dict[int, Any] = {}

    def install(self) -> None:
        """Handle signals from now on; those that are ignored, and those that other libraries handle, stay so."""
        for number in SIGNALS:
            former = signal.getsignal(number)
            if former is not None and former is not signal.SIG_IGN:
                self._former[number] = former
                signal.signal(number, self._receive)

    def restore(self) -> None:
        """Put back the handlers that were there before."""
        for number, former in self._former.items():
            if signal.getsignal(number) == self._receive:
                signal.signal(number, former)
        self._former = {}

    @property
    def ends(self) -> bool:
        """Whether a signal ends the run."""
        return self.number is not None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Let a first signal wait until the block has ended."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting and self.number is not None:
            self._end(self.number, None)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        first, self.number = self.number is None, number
        if first and self._held:
            self._waiting = True
            return
        self._end(number, frame)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._waiting = False
        former = self._former[number]
        try:
            if not callable(former):
                self.silent = True
                raise SystemExit(128 + number)
            former(number, frame)
        except BaseException:
            self.torn = self.torn or self._held
            raise
        self.number = None  # the caller's handler wants the run to go on


@contextmanager
def stoppable() -> Iterator[Stopping]:
    """Handle signals while the block runs. Other threads than the main one cannot; there nothing changes."""
    stopping = Stopping()
    try:
        if threading.current_thread() is threading.main_thread():
            stopping.install()
        yield stopping
    finally:
        stopping.restore()
