"""How signals end a command: with one line, within seconds, and twice at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

ENDING = ("SIGINT", "SIGTERM", "SIGHUP")  # they end a command
SIGNALLED = 128  # and the number of the signal: the status
PATIENCE_S = 4.0  # work that cannot be interrupted is left after that
LEFT = "contractile: stopped without waiting; what was saved is whole, and a training goes on with --resume"
SHOWN_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Ending:
    """The handler: temporary files go, and a line is said. A second signal does not wait for that."""

    def __init__(self) -> None:
        self._first = True
        self._timer: threading.Timer | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self._first:
            self._leave(number)
        self._first = False
        self._timer = threading.Timer(PATIENCE_S, self._leave, (number,))
        self._timer.daemon = True
        self._timer.start()
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(SIGNALLED + number)

    def _leave(self, number: int) -> None:
        cursor = SHOWN_CURSOR if sys.stderr.isatty() else ""
        os.write(2, f"{cursor}{LEFT}\n".encode())
        os._exit(SIGNALLED + number)

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals end the block: Ctrl-C with KeyboardInterrupt, others with SystemExit.

    A signal that is ignored (nohup) stays so. Threads other than the main one cannot handle signals.
    """
    ending, former = Ending(), dict[int, Any]()
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        former = {number: signal.getsignal(number) for number in numbers}
        former = {n: handler for n, handler in former.items() if handler not in (None, signal.SIG_IGN)}
        for number in former:
            signal.signal(number, ending)
    try:
        yield
    finally:
        ending.cancel()
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def keeping_notes() -> Iterator[None]:
    """Typer forgets a KeyboardInterrupt, and its notes say how to go on: let SystemExit carry them."""
    try:
        yield
    except KeyboardInterrupt as stop:
        ending = SystemExit(SIGNALLED + signal.SIGINT)
        for note in getattr(stop, "__notes__", ()):
            ending.add_note(note)
        raise ending from stop
