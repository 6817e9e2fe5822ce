"""Who may speak to the local page: this machine's own browser, after it has shown a token once.

A page in another tab, a site that the user visits, or another user of the machine can all send requests to a loopback
address. So each request must name exactly this host, come from this page or from nobody, and carry a cookie that only
the holder of the token got. Requests that change something carry a header that other sites cannot send.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = dict[str, list[str]]

LOOPBACK = ("127.0.0.1", "localhost")
WRITE_HEADER = "x-contractile"
LARGEST_BODY = 2**21  # bytes of a request: a long stroke or the outline of a large object takes some hundred thousand
BODY_S = 20.0  # seconds in which a body must have come
READS = ("GET", "HEAD")
METHODS = (*READS, "POST")
OWN_SITE = ("same-origin", "none")  # Sec-Fetch-Site: this page, or an address that was typed
MOST_FIELDS = 16  # of a query
JUPYTER = "http://localhost:* http://127.0.0.1:*"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
)
OPEN_IT = "open the address that contractile printed; it works once, and more windows of the same browser need none"

logger = logging.getLogger(__name__)


def security_headers(*, framed: bool = False) -> list[tuple[bytes, bytes]]:
    """The headers of each answer; with `framed` a page of this machine (Jupyter) may show ours in a frame."""
    policy = POLICY.format(ancestors=JUPYTER if framed else "'none'")
    return [
        (b"content-security-policy", policy.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


class Refusal(NamedTuple):
    """Status, one line, and headers of an answer to a request that goes no further."""

    status: int
    words: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


HOME = ((b"location", b"/"),)
CLOSING = ((b"connection", b"close"),)  # the rest of the body is not read
TOO_LARGE = Refusal(413, f"a request holds at most {LARGEST_BODY:,} bytes", CLOSING)
TOO_SLOW = Refusal(408, f"a request must be here within {BODY_S:.0f} seconds", CLOSING)
FAULT = Refusal(500, "this is a fault in contractile, please report it with the lines in the terminal", CLOSING)
BROKEN_OFF = Refusal(400, "the request broke off", CLOSING)


class Guard:
    """An ASGI application around another one. `token` is what the first request must show: `/?token=...`.

    `port` and `hosts` are where the page is served, and nothing else is. The token works once and gives a cookie. The
    name of the cookie holds the port: browsers keep one set of cookies for all ports of a machine.
    """

    def __init__(self, app: App, *, port: int, hosts: Sequence[str] = LOOPBACK, framed: bool = False) -> None:
        self._app, self._framed = app, framed
        self._hosts = {f"{host}:{port}".lower() for host in hosts}
        self._name = f"contractile-{port}"
        self._secret, self._shown = secrets.token_urlsafe(32), False
        self._headers = security_headers(framed=framed)
        self.token = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        headers: Headers = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        refusal = self._refuse(scope, headers) or self._welcome(scope, headers)
        if refusal is None and scope["method"] not in READS:
            body = await _read_body(receive)
            refusal, receive = (body, receive) if isinstance(body, Refusal) else (None, _replayed(body, receive))
        if refusal is not None:
            return await self._answer(send, scope, refusal)
        await self._ask(scope, receive, send)

    async def _ask(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer; a fault in it is logged, and answered with our headers, too."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, self._guarded(sending))
        except Exception:
            logger.exception("a request of the local page failed: %s", scope["path"])
            if begun:
                raise
            await self._answer(send, scope, FAULT)

    def _refuse(self, scope: Scope, headers: Headers) -> Refusal | None:
        """Why a request cannot come from our page; None for one that can."""
        host, origin = headers.get("host", []), headers.get("origin", [])
        if len(host) != 1 or host[0].lower() not in self._hosts:
            return Refusal(403, "this address is not served here")
        if origin and (len(origin) != 1 or origin[0].lower() != f"http://{host[0].lower()}"):
            return Refusal(403, "requests from other pages are refused")
        site, to = headers.get("sec-fetch-site", ["none"]), headers.get("sec-fetch-dest", [])
        into_frame = self._framed and to == ["iframe"] and site == ["same-site"]
        if not into_frame and (len(site) != 1 or site[0] not in OWN_SITE):
            return Refusal(403, "requests from other sites are refused")
        if "upgrade" in headers:
            return Refusal(400, "only plain HTTP is spoken here", CLOSING)
        if scope["method"] not in METHODS:
            return Refusal(405, f"the methods are {', '.join(METHODS)}", ((b"allow", ", ".join(METHODS).encode()),))
        if scope["method"] not in READS and headers.get(WRITE_HEADER) != ["1"]:
            return Refusal(403, "requests that change something carry the header X-Contractile: 1")
        length = headers.get("content-length", ["0"])[0]
        return TOO_LARGE if not length.isdecimal() or int(length[:20]) > LARGEST_BODY else None

    def _welcome(self, scope: Scope, headers: Headers) -> Refusal | None:
        """None for who has the cookie. Whoever shows the token first gets it; all others are sent away."""
        first = scope["path"] == "/" and scope["method"] == "GET"
        given = _token(scope["query_string"]) if first else None
        if self._has_cookie(headers):
            return (
                None if given is None else Refusal(303, "", ((b"location", b"/"),))
            )  # the address holds no token then
        if given is None or self._shown or not hmac.compare_digest(given.encode(), self.token.encode()):
            return Refusal(401, OPEN_IT)
        self._shown = True
        cookie = f"{self._name}={self._secret}; HttpOnly; SameSite=Strict; Path=/"
        return Refusal(303, "", ((b"set-cookie", cookie.encode()), *HOME))

    def _has_cookie(self, headers: Headers) -> bool:
        pairs = (part.strip().partition("=") for line in headers.get("cookie", []) for part in line.split(";"))
        values = [value for name, _, value in pairs if name == self._name]
        secret = self._secret.encode()
        return any(hmac.compare_digest(value.encode("latin-1"), secret) for value in values)

    async def _answer(self, send: Send, scope: Scope, refusal: Refusal) -> None:
        is_data = scope["path"].startswith("/api/")
        body = json.dumps({"error": refusal.words}).encode() if is_data else refusal.words.encode()
        kind = b"application/json" if is_data else b"text/plain; charset=utf-8"
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        headers += [*self._headers, *refusal.headers]
        await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _guarded(self, send: Send) -> Send:
        """`send`, which adds our headers to each answer."""
        ours = {name for name, _ in self._headers}

        async def add(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in ours]
                message = {**message, "headers": [*kept, *self._headers]}
            await send(message)

        return add


def _token(query: bytes) -> str | None:
    """The token in a query, where there is exactly one."""
    try:
        fields = parse_qsl(query.decode("latin-1"), max_num_fields=MOST_FIELDS)
    except ValueError:
        return None
    found = [value for name, value in fields if name == "token"]
    return found[0] if len(found) == 1 else None


async def _read_body(receive: Receive) -> bytes | Refusal:
    """The whole body, of bounded size, also where its length was not declared."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            while True:
                message = await receive()
                body += message.get("body", b"")
                if len(body) > LARGEST_BODY:
                    return TOO_LARGE
                if message["type"] == "http.disconnect":
                    return BROKEN_OFF
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return TOO_SLOW


def _replayed(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body which was read already, and then what comes."""
    waiting = [body]

    async def again() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return again
