"""The requests of the local page: parse, call what is `Shown`, answer. Nothing here waits in the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from contractile.errors import ContractileError
from contractile.viewer import actions
from contractile.viewer.answers import answer, numbers, refusal, refuse
from contractile.viewer.asked import Asked
from contractile.viewer.shown import Shown

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
READERS = 8  # regions that are read at once
LONGEST_NUMBER = 12  # digits of a number in an address

Work = Callable[[Shown, Request, dict[str, Any]], Response]


def build_app(shown: Shown, page: Path | None = None) -> Starlette:
    """The application behind the guard. `page` is the folder with the files of the page, and no other file is given."""
    folder = page or Path(str(files("contractile.viewer"))) / "page"
    given = {file.name: file for file in sorted(folder.iterdir()) if file.suffix in KINDS and file.is_file()}
    reading = CapacityLimiter(READERS)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        shown.news.open()
        yield

    def read(path: str, work: Work, limiter: CapacityLimiter | None = None) -> Route:
        return Route(path, partial(_respond, shown, work, limiter), methods=["GET"])

    def write(path: str, work: Work) -> Route:
        return Route(path, partial(_respond, shown, work, None), methods=["POST"])

    async def listen(request: Request) -> Response:
        try:
            return StreamingResponse(shown.news.listen(), media_type="text/event-stream")
        except ContractileError as error:
            return refusal(str(error), 503)

    routes = [
        Route("/", partial(_give, given, "index.html"), methods=["GET"]),
        Route("/page/{name}", partial(_give, given, None), methods=["GET"]),
        Route("/api/news", listen, methods=["GET"]),
        read("/api/session", lambda shown, *_: answer(shown.describe())),
        read("/api/images/{image:int}/object", _object),
        read("/api/images/{image:int}/{layer}", _layer, reading),
        read("/api/suggestions", _suggestions),
        read("/api/models", lambda shown, *_: answer(Asked(shown).models())),
        read("/api/scores", lambda shown, *_: answer(Asked(shown).scores())),
        read("/api/jobs", lambda shown, *_: answer({"jobs": shown.jobs.list()})),
        write("/api/strokes", lambda shown, _, fields: answer(shown.act(fields))),
        write("/api/undo", lambda shown, *_: answer(shown.say_change(shown.session.undo()))),
        write("/api/redo", lambda shown, *_: answer(shown.say_change(shown.session.redo()))),
        write("/api/view", lambda shown, _, fields: answer(Asked(shown).look(fields))),
        write("/api/learning", lambda shown, _, fields: answer(Asked(shown).learn(fields))),
        write("/api/export", lambda shown, _, fields: answer(Asked(shown).export(fields))),
        write("/api/train", lambda shown, _, fields: answer(Asked(shown).train(fields))),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})
    app.router.redirect_slashes = False
    return app


async def _respond(shown: Shown, work: Work, limiter: CapacityLimiter | None, request: Request) -> Response:
    """Do the work in a thread, so that no request waits for another."""
    body = await request.body() if request.method == "POST" else b""

    def respond() -> Response:
        try:
            return work(shown, request, actions.parse(body))
        except Exception as error:
            return refuse(error)

    return await run_sync(respond, limiter=limiter)


async def _give(given: dict[str, Path], name: str | None, request: Request) -> Response:
    """A file of the page, from the fixed list."""
    file = given.get(name or request.path_params["name"])
    if file is None:
        return refusal("no such file", 404)
    return Response(await run_sync(file.read_bytes), media_type=KINDS[file.suffix])


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.detail.lower(), error.status_code)


def _layer(shown: Shown, request: Request, _: dict[str, Any]) -> Response:
    query = _whole_numbers(request)
    return numbers(shown.layer(request.path_params["image"], request.path_params["layer"], query))


def _object(shown: Shown, request: Request, _: dict[str, Any]) -> Response:
    query = _whole_numbers(request)
    y, x = (actions.whole(query, name) for name in ("y", "x"))
    return answer(shown.object_at(request.path_params["image"], y, x))


def _suggestions(shown: Shown, request: Request, _: dict[str, Any]) -> Response:
    query = _whole_numbers(request)
    most = actions.whole(query, "most", least=1, most=100) if "most" in query else 10
    return answer(Asked(shown).suggestions(most))


def _whole_numbers(request: Request) -> dict[str, Any]:
    """The numbers of an address; others stay texts, which whoever needs them refuses."""
    found = request.query_params
    return {name: int(text) if _is_whole(text) else text for name, text in found.items()}


def _is_whole(text: str) -> bool:
    return text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= LONGEST_NUMBER
