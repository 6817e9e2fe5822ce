"""What the tests of the local page share: a server with a small session, and a client that sends what it likes."""

import http.client
import json
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import tifffile

from contractile.errors import ContractileError
from contractile.images import find
from contractile.viewer.jobs import Jobs
from contractile.viewer.news import Newsroom
from contractile.viewer.pictures import Pictures
from contractile.viewer.serving import Serving
from contractile.viewer.session import Session
from contractile.viewer.session_file import ClassInfo, PageInfo
from contractile.viewer.shown import Shown, Truths

SHAPE = (40, 60)
SQUARE = (slice(10, 20), slice(30, 42))  # of the object that the fake predicts


@dataclass(frozen=True)
class Predicted:
    region: tuple
    mask: np.ndarray
    probability: float
    confidence: float
    value: int = 1
    cut: bool = False


class FakeLearning:
    """Predicts one square in the first image, and remembers what it was told."""

    def __init__(self):
        self.told, self.looked, self.listeners = [], [], []
        self.rows = [{"model": "0001", "seconds": 3.0, "steps": 5, "objects": 2, "value": 0.5, "low": 0.1, "high": 0.9}]

    def look_at(self, image, region):
        self.looked.append((image, region))

    def layer(self, image, kind, factor, region):
        if image:
            return None
        shape = [part.stop - part.start for part in region]
        return np.full(shape, 7, np.int32 if kind == "prediction" else np.uint8)

    def object_at(self, image, y, x):
        inside = image == 0 and all(part.start <= at < part.stop for part, at in zip(SQUARE, (y, x), strict=True))
        return Predicted(SQUARE, np.ones((10, 12), bool), 0.9, 0.8) if inside else None

    def objects_in(self, image, region):
        labels = np.zeros([part.stop - part.start for part in region], np.int32)
        labels[SQUARE[0].start - region[0].start : SQUARE[0].stop - region[0].start, :5] = 3
        return region, labels

    def command(self, do, **more):
        if do == "bad":
            raise ContractileError("do must be pause, got 'bad'", "use pause")
        self.told.append((do, more))

    def status(self):
        return {"state": "learning", "loss": float("nan"), "steps": np.int64(5)}

    def models(self):
        return [{"id": "0001", "seconds": 3.0, "steps": 5, "score": 0.5}]

    def scores(self):
        return self.rows

    def suggestions(self, most):
        return [{"image": 0, "region": [0, 10, 0, 10], "why": "least certain here"}][:most]

    def model(self):
        return None

    def on_news(self, tell):
        self.listeners.append(tell)

    def close(self):
        """Nothing runs."""


@contextmanager
def small_session(folder, *, names=("a", "b"), task="objects", classes=(), learning=None, jobs=None, truths=None):
    """A session of small images, of which the first has ascending pixels."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        pixels = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE) + number
        tifffile.imwrite(folder / "images" / f"{name}.tif", pixels)
    sources = find(folder / "images")
    with ExitStack() as stack:
        pictures = Pictures(sources)
        stack.callback(pictures.close)
        pages = [PageInfo(name=name, shape=SHAPE, source="") for name in pictures.names()]
        named = [ClassInfo(value=n, name=name, colour="#E69F00") for n, name in enumerate(classes)]
        session = Session(folder / "session", pages, task=task, classes=named)
        stack.callback(session.close)
        news = Newsroom()
        running = Jobs(lambda job: news.tell("job", job), **({} if jobs is None else {"command": jobs}))
        stack.callback(running.close)
        shown = Shown(session, pictures, sources, running, news, learning, None, Truths(truths or {}))
        session.on_change(lambda change: news.tell("changed", shown.say_news(change)))
        yield shown


@contextmanager
def served(shown, **options):
    """The server of a session, in a thread."""
    serving = Serving(shown, **options)
    thread = threading.Thread(target=serving.run)
    thread.start()
    try:
        assert serving.wait()
        yield serving
    finally:
        serving.stop()
        thread.join(10)
        assert not thread.is_alive()


class Client:
    """Sends requests with exactly the headers that are given; keeps the cookie that it got."""

    def __init__(self, serving):
        self.port = int(serving.address.again.rsplit(":", 1)[1].strip("/"))
        self.host = f"127.0.0.1:{self.port}"
        self.token = serving.address.link.split("token=")[1]
        self.cookie = None

    def ask(self, method, path, body=None, *, headers=(), host=None, cookie=None):
        """(status, headers, body). Headers are pairs, so that one may come twice; `cookie` "" sends none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for one in [self.host] if host is None else host:
                connection.putheader("Host", one)
            crumb = self.cookie if cookie is None else cookie
            for name, value in [*headers, *([("Cookie", crumb)] if crumb else [])]:
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def enter(self):
        """Show the token, and keep the cookie."""
        status, headers, _ = self.ask("GET", f"/?token={self.token}")
        assert (status, headers["Location"]) == (303, "/")
        self.cookie = headers["Set-Cookie"].split(";")[0]
        return self

    def get(self, path):
        status, _, body = self.ask("GET", path)
        return status, json.loads(body) if body else None

    def post(self, path, fields=None, *, raw=None):
        body = json.dumps(fields or {}).encode() if raw is None else raw
        status, _, answer = self.ask("POST", path, body, headers=[("X-Contractile", "1")])
        return status, json.loads(answer)

    def array(self, path):
        """(status, array or None) of a layer."""
        status, headers, body = self.ask("GET", path)
        if status != 200:
            return status, json.loads(body) if body else None
        shape = [int(side) for side in headers["X-Shape"].split(",")]
        return status, np.frombuffer(body, f"<{np.dtype(headers['X-Type']).str[1:]}").reshape(shape)
