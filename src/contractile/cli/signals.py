"""How signals end a command: with one line, within seconds, and twice at once."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # they end a command; the last is of Windows
SIGNALLED = 128  # and the number of the signal: the status
PATIENCE_S = 4.0  # work that cannot be interrupted is left after that
LEFT = "contractile: stopped without waiting; what was saved is whole, and a training goes on with --resume"
SHOWN_CURSOR = "\x1b[?25h"  # a progress bar hides it


class Watch(threading.Thread):
    """Ends the process where it does not end in time after a signal, or at a second one.

    Python handles signals between two lines of Python. This thread learns of them from the system, also while the main
    thread computes.
    """

    def __init__(self, numbers: list[int]) -> None:
        super().__init__(daemon=True)
        self._numbers = numbers
        self._here, self._there = socket.socketpair()
        self._there.setblocking(False)
        self._former = signal.set_wakeup_fd(self._there.fileno(), warn_on_full_buffer=False)

    def run(self) -> None:
        number = self._next(None)
        if number and self._next(time.monotonic() + PATIENCE_S) != 0:
            cursor = SHOWN_CURSOR if sys.stderr.isatty() else ""
            os.write(2, f"{cursor}{LEFT}\n".encode())
            os._exit(SIGNALLED + number)

    def close(self) -> None:
        signal.set_wakeup_fd(self._former)
        self._there.close()  # ends the thread
        self.join()
        self._here.close()

    def _next(self, end: float | None) -> int | None:
        """The number of the next signal that ends a command; None where none comes until `end`, 0 at the close."""
        while True:
            self._here.settimeout(None if end is None else max(0.01, end - time.monotonic()))
            try:
                received = self._here.recv(1)
            except TimeoutError:
                return None
            if not received or received[0] in self._numbers:
                return received[0] if received else 0


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let signals end the block: Ctrl-C with KeyboardInterrupt, others with SystemExit.

    A signal that is ignored (nohup) stays so. Threads other than the main one cannot handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in (getattr(signal, n) for n in ENDING if hasattr(signal, n))}
    former = {number: handler for number, handler in former.items() if handler not in (None, signal.SIG_IGN)}
    for number in former:
        signal.signal(number, _end)
    watch = Watch(list(former))
    watch.start()
    try:
        yield
    finally:
        watch.close()
        for number, handler in former.items():
            signal.signal(number, handler)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(SIGNALLED + number)


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
