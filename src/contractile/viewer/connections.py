"""Connections that cannot tie up the server: so many at once, and each sends its request in time."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

from contractile.viewer.guard import security_headers

MOST_CONNECTIONS = 96  # a browser opens six for each address
HEAD_S = 10.0  # seconds in which the head of a request must have come
LARGEST_HEAD = 2**15  # bytes
NOT_HTTP = b"this is no request of HTTP"


class PromptProtocol(H11Protocol):
    """A connection that is closed where the head of a request does not come in time, or where there are too many."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_between_requests():
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Answer to what is no HTTP, with our headers: our own application never sees it."""
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close"), *security_headers()]
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        length = str(len(NOT_HTTP)).encode()
        self.transport.write(
            b"HTTP/1.1 400 Bad Request\r\n" + lines + b"content-length: " + length + b"\r\n\r\n" + NOT_HTTP
        )
        self.transport.close()

    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if self._is_between_requests() and not self.transport.is_closing():
            self.transport.close()
