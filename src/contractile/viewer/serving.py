"""The local page is served: a session is opened, a free port found, the browser opened; Ctrl-C ends it cleanly."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from contractile.errors import ContractileError
from contractile.viewer.opening import Opening
from contractile.viewer.remembered import remember

try:
    import uvicorn

    from contractile.viewer.connections import LARGEST_HEAD, PromptProtocol
    from contractile.viewer.guard import LOOPBACK, Guard
    from contractile.viewer.jobs import Jobs
    from contractile.viewer.news import Newsroom
    from contractile.viewer.server import build_app
    from contractile.viewer.shown import Shown, Truths
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing not in ("starlette", "uvicorn", "anyio", "h11"):
        raise
    problem = f"the local page needs {missing}, which is not installed"
    raise ContractileError(problem, 'run: pip install "contractile[view]"') from error

if TYPE_CHECKING:
    from contractile.viewer.pictures import Pictures
    from contractile.viewer.session import Session

CONSENT = "--anyone-who-reaches-this-machine-may-knock"
PORTS = range(1024, 65536)
ENDING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # signals that end the server
SIGNALLED = 128  # and the number of the signal: the status
ENDING_S = 1  # whole seconds that open requests get at the end
ALIVE_S = 30  # seconds that a browser may keep a connection without using it
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#F0E442", "#56B4E9", "#999999")  # Okabe and Ito

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Address:
    """Where the page is: `link` opens it once, `again` opens more windows of the same browser."""

    link: str
    again: str


@contextmanager
def opened(opening: Opening, *, minutes: float = 10.0, device: str = "auto") -> Iterator[Shown]:
    """The session of an opening, with all that shows it and learns from it; all of it is closed at the end.

    Raises InUse where another process has the session open, ContractileError for a model that does not fit, and what
    opening images and sessions raises.
    """
    from contractile.viewer.learner.messages import Begin
    from contractile.viewer.learning import Learning
    from contractile.viewer.session_file import given_names
    from contractile.viewer.starting import check_model

    with ExitStack() as stack:
        opening, pictures = _open_pictures(opening, stack)
        if opening.model is not None:
            channels = len(pictures.facts(0).channels)
            check_model(opening.model, opening.task, tuple(sorted(opening.classes)), channels, learns=opening.begins)
        news, truths = Newsroom(), Truths(opening.truths)
        pictures.on_better(lambda image: news.tell("better", {"image": image}))
        session = _open_session(opening, pictures, truths, stack)
        jobs = Jobs(lambda job: news.tell("job", job))
        stack.callback(jobs.close)
        begin = Begin(
            sources=tuple(opening.sources),
            task=opening.task,
            class_values=tuple(one.value for one in session.classes),
            class_names=given_names(session.classes),
            folder=opening.folder / "models",
            start=opening.model,
            minutes=minutes,
            device=device,
            truths=() if opening.begins else tuple(opening.truths.items()),
        )
        learning = Learning(session, begin)
        stack.callback(learning.close)
        learning.on_news(news.tell)
        shown = Shown(session, pictures, opening.sources, jobs, news, learning, opening.model, truths)
        session.on_change(lambda change: news.tell("changed", shown.say_news(change)))
        stack.callback(session.flush)  # first of all: whatever else fails at the end, the label files are there
        yield shown


def _open_pictures(opening: Opening, stack: ExitStack) -> tuple[Opening, Pictures]:
    """The images that can be read. Others are left out, which is said.

    Raises ContractileError where none can be read, and for images with different numbers of channels: one network
    learns from all of them.
    """
    from contractile.viewer.pictures import Pictures

    cache = opening.folder / "cache"
    pictures, channels = Pictures(opening.sources, cache=cache), dict[int, int]()
    failure: ContractileError | None = None
    for number in range(len(opening.sources)):
        try:
            channels[number] = len(pictures.facts(number).channels)
        except ContractileError as error:
            failure = error
            logger.warning("%s: this image is left out", error)
    if failure is not None and not channels:
        pictures.close()
        raise failure
    if len(set(channels.values())) > 1:
        pictures.close()
        shown = ", ".join(f"{opening.sources[number].name}: {count}" for number, count in list(channels.items())[:5])
        problem = f"the images of a session must have the same number of channels, got {shown}"
        raise ContractileError(problem, "open each kind in a session of its own")
    if len(channels) < len(opening.sources):
        pictures.close()
        kept = list(channels)
        truths = {place: opening.truths[number] for place, number in enumerate(kept) if number in opening.truths}
        opening = replace(opening, sources=tuple(opening.sources[number] for number in kept), truths=truths)
        pictures = Pictures(opening.sources, cache=cache)
    stack.callback(pictures.close)
    return opening, pictures


def _open_session(opening: Opening, pictures: Pictures, truths: Truths, stack: ExitStack) -> Session:
    from contractile.viewer.session import Session
    from contractile.viewer.session_file import ClassInfo, PageInfo

    def begin_with(image: int) -> Any:
        return truths[image] if opening.begins and image in truths else None

    pages = [
        PageInfo(name=name, shape=pictures.facts(number).shape, source=source.path.name)
        for number, (name, source) in enumerate(zip(pictures.names(), opening.sources, strict=True))
    ]
    named = enumerate(sorted(opening.classes.items()))
    classes = [ClassInfo(value=value, name=name, colour=COLOURS[n % len(COLOURS)]) for n, (value, name) in named]
    session = Session(opening.folder, pages, task=opening.task, classes=classes, start=begin_with)
    stack.callback(session.close)
    remember(opening.folder, opening.sources)
    return session


class _Server(uvicorn.Server):
    """Says when it is there. When it ends, it lets go of pages that wait for news, and of the learner.

    `ended_by` is the signal that ended it. Unlike the server of the library it does not raise the signal once more:
    whoever counts signals would take that for a second one of the user, who does not want to wait.
    """

    def __init__(self, config: uvicorn.Config, shown: Shown, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._shown, self._ready = shown, ready
        self.ended_by: int | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._shown.news.close()
        if self._shown.learning is not None:  # in the middle of a step it takes a while, and so do open requests
            threading.Thread(target=self._shown.learning.close).start()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
        heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]  # as nohup wants it
        former = {number: signal.signal(number, self.handle_exit) for number in heard}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.ended_by = sig
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


class Serving:
    """The page of a session at an address of this machine. `run` serves until Ctrl-C or `stop`.

    `host` is where it listens, `port` 0 takes a free one; with `framed` a notebook of this machine may show it. The
    address is taken at once. Raises ContractileError for a host that others can reach without `consent`, and for a port
    that is not free.
    """

    def __init__(
        self, shown: Shown, *, host: str = LOOPBACK[0], port: int = 0, consent: bool = False, framed: bool = False
    ) -> None:
        check_place(host, port, consent)
        self._socket = listen(host, port)
        port = self._socket.getsockname()[1]
        self._guard = Guard(build_app(shown), port=port, hosts=names_of(host), framed=framed)
        config = uvicorn.Config(
            self._guard,
            http=PromptProtocol,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=ALIVE_S,
            timeout_graceful_shutdown=ENDING_S,
        )
        self._is_there = threading.Event()
        self._server = _Server(config, shown, self._say)
        self._told: Callable[[], None] | None = None
        name = "localhost" if framed else reachable_name(host)  # a frame of another host gets no cookie
        self.address = Address(f"http://{name}:{port}/?token={self._guard.token}", f"http://{name}:{port}/")

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve in this thread; `ready` is called once the page is there.

        Ctrl-C ends it as `stop` does. Raises SystemExit after another signal, with its status.
        """
        self._told = ready
        with self._socket, suppress(KeyboardInterrupt):
            asyncio.run(self._server.serve([self._socket]))
        if self._server.ended_by not in (None, signal.SIGINT):
            raise SystemExit(SIGNALLED + self._server.ended_by)

    def _say(self) -> None:
        self._is_there.set()
        if self._told is not None:
            self._told()

    def wait(self, seconds: float = 10.0) -> bool:
        """Wait until the page is there, in another thread than that of `run`; False where it is not."""
        return self._is_there.wait(seconds)

    def stop(self) -> None:
        self._server.should_exit = True

    def open_browser(self) -> None:
        """Open the page in the browser once it is there; never waits for it."""

        def open_it() -> None:
            if self.wait():
                webbrowser.open(self.address.link)

        if has_screen():
            threading.Thread(target=open_it, daemon=True).start()


def check_place(host: str, port: int, consent: bool) -> None:
    """Raise ContractileError where others can reach the host and nobody said that they may, and for a wrong port."""
    if host not in LOOPBACK and not consent:
        problem = f"other machines can reach {host}: whoever reads the traffic there can see and change everything"
        raise ContractileError(problem, f"leave out --host, and use ssh -L from elsewhere; or add {CONSENT}")
    if port and port not in PORTS:
        problem = f"port must be from {PORTS.start:,} to {PORTS[-1]:,}, got {port}"
        raise ContractileError(problem, "leave it out: a free one is taken")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises ContractileError for a port that is not free, or a host that is not ours."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        what = f"port {port}" if port else "any port"
        reason = getattr(error, "strerror", None) or error
        raise ContractileError(f"cannot listen at {what} of {host} ({reason})", "leave out --port and --host") from None


def names_of(host: str) -> Sequence[str]:
    """The names by which requests may call the host: exactly these, so that no foreign name leads here."""
    if host in LOOPBACK:
        return LOOPBACK
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_unspecified:
            return (*LOOPBACK, *_own_names())
    return (f"[{host}]" if ":" in host else host,)


def _own_names() -> list[str]:
    """The names and addresses of this machine."""
    import psutil

    found = [one.address for net in psutil.net_if_addrs().values() for one in net if one.family == socket.AF_INET]
    return [*found, socket.gethostname(), socket.getfqdn()]


def reachable_name(host: str) -> str:
    """The name in the address that is shown."""
    with suppress(ValueError):
        if ipaddress.ip_address(host).is_unspecified:
            return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def has_screen() -> bool:
    """Whether a browser can open a window here; a browser in the terminal would take it away."""
    if sys.platform in ("win32", "darwin"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
