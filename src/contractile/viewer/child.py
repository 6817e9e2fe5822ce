"""The learner's process, as the page's process sees it: started, told, listened to, ended. Nobody waits for it."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from contractile.process import apart
from contractile.viewer.learner.messages import Inbox, write

PROGRAM = (
    "import json, runpy, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "runpy.run_module('contractile.viewer.learner', run_name='__main__')"
)
ENDING_S = 2.0  # it may take a step to notice


class Child:
    """A process that learns. What is sent waits in a queue: a thread writes it as fast as the process reads."""

    def __init__(self) -> None:
        """Start the process."""
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            **apart(),  # Ctrl-C is for the page, which ends the learner
        )
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._write_all, name="to the learner", daemon=True)
        self._sender.start()

    @property
    def status(self) -> int | None:
        """How the process ended; None while it lives."""
        return self._process.poll()

    def send(self, message: Any) -> None:
        """Send a message. A process that has ended reads none."""
        self._queue.put(message)

    def listen(self) -> Iterator[Any]:
        """All that the process says, until it ends and is gone."""
        assert self._process.stdout is not None
        inbox = Inbox(self._process.stdout)
        while not inbox.ended:
            yield from inbox.take(wait=None)
        self._process.wait()
        self._queue.put(None)
        self._sender.join()
        self._process.stdout.close()

    def end(self) -> None:
        """Ask the process to end, and make it end where it does not. May be called again."""
        self._queue.put(None)
        try:
            self._process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()

    def _write_all(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            while (message := self._queue.get()) is not None:
                write(self._process.stdin, message)
        with suppress(OSError):
            self._process.stdin.close()
