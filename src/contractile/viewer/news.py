"""News for the open pages: what changed, what was predicted, how far the learning is (server-sent events)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from contractile.errors import ContractileError
from contractile.viewer.answers import json_bytes

MOST_LISTENERS = 16  # open pages
MOST_WAITING = 256  # news of a page that does not read; it is let go then, and asks anew
PAUSE_S = 10.0  # after so long without news a line keeps the connection open
ALIVE = b": still here\n\n"


class Newsroom:
    """Passes news on to all listeners. `tell` may be called from any thread; all else belongs to the event loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: set[asyncio.Queue[bytes | None]] = set()

    def open(self) -> None:
        """Begin, in the thread of the event loop. News before that reach nobody."""
        self._loop = asyncio.get_running_loop()

    def tell(self, kind: str, fields: Mapping[str, Any]) -> None:
        """Send news to all who listen. Never waits, and never raises where the server has ended."""
        loop = self._loop
        if loop is None or loop.is_closed():
            return
        event = f"event: {kind}\ndata: ".encode() + json_bytes(fields) + b"\n\n"
        try:
            loop.call_soon_threadsafe(self._pass_on, event)
        except RuntimeError:  # closed meanwhile
            return

    def close(self) -> None:
        """End all streams."""
        self._pass_on(None)
        self._loop = None

    def listen(self) -> AsyncIterator[bytes]:
        """The stream of one page, from now on. Raises ContractileError where too many pages are open."""
        if self._loop is None or len(self._listeners) >= MOST_LISTENERS:
            problem = f"at most {MOST_LISTENERS} pages may be open at once"
            raise ContractileError(problem, "close some of them")
        return self._stream()

    async def _stream(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MOST_WAITING)
        self._listeners.add(queue)  # only here: a stream that never begins is never ended
        try:
            yield b"retry: 2000\n\n"
            while queue in self._listeners or not queue.empty():
                try:
                    event = await asyncio.wait_for(queue.get(), PAUSE_S)
                except TimeoutError:
                    event = ALIVE
                if event is None:
                    return
                yield event
        finally:
            self._listeners.discard(queue)

    def _pass_on(self, event: bytes | None) -> None:
        for queue in list(self._listeners):
            try:
                queue.put_nowait(event)
            except asyncio.QueueFull:
                self._listeners.discard(queue)
