"""The requests of the local page, against a real server with a real session and real pictures."""

import http.client
import json
import socket
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from viewer_server import SHAPE, SQUARE, Client, FakeLearning, served, small_session

from contractile.images import find
from contractile.images.gate import limits
from contractile.viewer import actions, news
from contractile.viewer.actions import MOST_POINTS
from contractile.viewer.acts import Paint
from contractile.viewer.asked import Asked
from contractile.viewer.jobs import Jobs

DOT = {"kind": "paint", "image": 0, "points": [[5, 5]], "radius": 2, "value": "new"}
HELD = "held"
ALL = "level=0&y=0&x=0&h=40&w=60"


@pytest.fixture
def learning():
    return FakeLearning()


@pytest.fixture
def shown(tmp_path, learning):
    with small_session(tmp_path, learning=learning) as shown:
        yield shown


@pytest.fixture
def client(shown):
    with served(shown) as running:
        yield Client(running).enter()


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    """The client of a server in whose session nothing ever changes."""
    with small_session(tmp_path_factory.mktemp("calm"), learning=FakeLearning()) as shown, served(shown) as running:
        client = Client(running).enter()
        client.session = shown.session
        yield client


class News:
    """The news of a server, as a page hears them."""

    opened: ClassVar[list] = []

    def __init__(self, client):
        self.opened.append(self)
        self.connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
        self.connection.request("GET", "/api/news", headers={"Cookie": client.cookie, "Host": client.host})
        self.answer = self.connection.getresponse()
        if self.answer.status == 200:
            assert self.answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert self.line() == "retry: 2000"
            assert self.line() == ""

    def line(self):
        return self.answer.readline().decode().rstrip("\n")

    def next(self):
        """(kind, fields) of the next piece of news."""
        while not (kind := self.line()).startswith("event: "):
            assert kind == "" or kind.startswith(":")
        return kind.removeprefix("event: "), json.loads(self.line().removeprefix("data: "))

    def close(self):
        self.answer.close()
        self.connection.close()


@pytest.fixture(autouse=True)
def all_closed():
    yield
    while News.opened:
        News.opened.pop().close()


# the page


def test_the_files_of_the_page_are_a_fixed_list(calm):
    status, headers, body = calm.ask("GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"<html" in body
    kinds = {
        "main.js": "text/javascript; charset=utf-8",
        "style.css": "text/css; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
    for name, kind in kinds.items():
        status, headers, _ = calm.ask("GET", f"/page/{name}")
        assert (status, headers["Content-Type"]) == (200, kind)


@pytest.mark.parametrize(
    "path",
    [
        "/page/",
        "/page/nothing.js",
        "/page/../guard.py",
        "/page/..%2fguard.py",
        "/page/%2e%2e/guard.py",
        "/page/%2e%2e%2fguard.py",
        "/page/..%5cguard.py",
        "/page/..\\guard.py",
        "/page/%2fetc%2fpasswd",
        "/page//etc/passwd",
        "/page/main.js%00.css",
        "/page/main.js%00",
        "/page/main.js/",
        "/page/MAIN.JS",
        "/page/.",
        "/page/%252e%252e/guard.py",
        "/page/file:%2f%2f%2fetc%2fpasswd",
        "/page/C:%5cmain.js",
        "/page/__init__.py",
        "//page/main.js",
        "/etc/passwd",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/page",
        "/session/session.json",
        "/favicon.ico",
    ],
)
def test_no_other_file_is_given(calm, path):
    status, _, body = calm.ask("GET", path)
    assert status in (404, 400)
    if status == 404:
        assert json.loads(body)["error"] in ("no such file", "not found")


def test_files_beside_the_page_are_not_given(shown, tmp_path):
    from contractile.viewer.server import build_app

    page = tmp_path / "page"
    page.mkdir()
    for name in ("index.html", "secret.txt", "notes.py", "main.js~", ".hidden.js.swp"):
        (page / name).write_text(name)
    app = build_app(shown, page)
    [route] = [route for route in app.routes if route.path == "/page/{name}"]
    assert list(route.endpoint.args[0]) == ["index.html"]


# the session


def test_what_a_page_begins_with(calm):
    status, found = calm.get("/api/session")
    assert status == 200
    images = found.pop("images")
    assert found == {
        "name": "session",
        "task": "objects",
        "classes": [],
        "writable": True,
        "changes": 2,
        "undo": False,
        "redo": False,
        "learning": {"state": "learning", "loss": None, "steps": 5},
    }
    assert [image["name"] for image in images] == ["a", "b"]
    first = images[0]
    assert (first["id"], first["shape"], first["type"], first["levels"]) == (0, [40, 60], "uint16", [[40, 60]])
    assert (first["objects"], first["truth"], first["pixel_size_um"], first["pages"]) == (0, False, None, 1)
    assert first["file"].endswith("a.tif")
    assert set(first["channels"][0]) == {"name", "colour", "low", "high"}


def test_names_with_markup_come_back_as_text(tmp_path):
    bad, named = '<img src=x onerror="alert(1)">&amp;', ["background", "<script>alert(2)</script>"]
    with small_session(tmp_path, names=[bad], task="classes", classes=named) as shown, served(shown) as running:
        client = Client(running).enter()
        status, headers, body = client.ask("GET", "/api/session")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        found = json.loads(body)
        assert found["images"][0]["name"] == bad
        assert found["classes"][1]["name"] == named[1]
        status, answer = client.post("/api/strokes", DOT | {"kind": "<b>x</b>"})
        assert status == 400
        assert "'<b>x</b>'" in answer["error"]


# layers


def test_pixels_of_a_region(calm):
    status, found = calm.array("/api/images/0/pixels?level=0&y=2&x=3&h=4&w=5")
    assert status == 200
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, np.arange(2400).reshape(1, *SHAPE)[:, 2:6, 3:8])
    status, found = calm.array("/api/images/1/pixels?level=0&y=38&x=58&h=100&w=100")  # cut off at the border
    np.testing.assert_array_equal(found, np.arange(2400).reshape(1, *SHAPE)[:, 38:, 58:] + 1)


def test_what_is_annotated(client):
    client.post("/api/strokes", DOT | {"value": 0})
    status, found = client.array(f"/api/images/0/annotation?{ALL}")
    assert (status, found.dtype, found.shape) == (200, np.int32, SHAPE)
    assert sorted(np.unique(found)) == [-1, 0]
    assert (found == 0).sum() == 13
    status, found = client.array(f"/api/images/0/held?{ALL}")
    assert (status, found.dtype, int(found.sum())) == (200, np.uint8, 0)


def test_what_is_predicted(calm):
    for layer, kind in (("prediction", np.int32), ("inside", np.uint8), ("certainty", np.uint8)):
        status, found = calm.array(f"/api/images/0/{layer}?{ALL}")
        assert (status, found.dtype, found.shape) == (200, kind, SHAPE)
        assert calm.array(f"/api/images/1/{layer}?{ALL}") == (204, None)
    assert calm.array(f"/api/images/0/truth?{ALL}") == (204, None)


def test_the_truth(tmp_path):
    import tifffile

    (tmp_path / "truth").mkdir()
    truth = np.zeros(SHAPE, np.int32)
    truth[3:9, 4:8] = 2
    tifffile.imwrite(tmp_path / "truth" / "a.tif", truth)
    with small_session(tmp_path, truths={0: find(tmp_path / "truth")[0]}) as shown, served(shown) as running:
        client = Client(running).enter()
        assert [image["truth"] for image in client.get("/api/session")[1]["images"]] == [True, False]
        _, found = client.array("/api/images/0/truth?level=0&y=2&x=2&h=10&w=10")
        np.testing.assert_array_equal(found, truth[2:12, 2:12])
        assert client.array(f"/api/images/1/truth?{ALL}") == (204, None)
        assert client.array(f"/api/images/0/prediction?{ALL}") == (204, None)  # nothing learns
        assert client.get("/api/session")[1]["learning"] is None


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "level must be a whole number from 0 to 0, got None"),
        ("level=1&y=0&x=0&h=1&w=1", "level must be a whole number from 0 to 0, got 1"),
        ("level=-1&y=0&x=0&h=1&w=1", "level must be a whole number from 0 to 0, got -1"),
        ("level=0&y=40&x=0&h=1&w=1", "y must be a whole number from 0 to 39, got 40"),
        ("level=0&y=-1&x=0&h=1&w=1", "y must be a whole number from 0 to 39, got -1"),
        ("level=0&y=0&x=60&h=1&w=1", "x must be a whole number from 0 to 59, got 60"),
        ("level=0&y=0&x=0&h=0&w=1", "h must be a whole number from 1 to"),
        ("level=0&y=0&x=0&h=1&w=-5", "w must be a whole number from 1 to"),
        ("level=0&y=0&x=0&h=1.5&w=1", "h must be a whole number from 1 to 1,073,741,824, got '1.5'"),
        ("level=0&y=nan&x=0&h=1&w=1", "y must be a whole number from 0 to 39, got 'nan'"),
        ("level=0&y=true&x=0&h=1&w=1", "y must be a whole number from 0 to 39, got 'true'"),
        ("level=0&y=%D9%A3&x=0&h=1&w=1", "y must be a whole number"),
        (f"level=0&y={'9' * 5000}&x=0&h=1&w=1", "y must be a whole number"),
        ("level=0&y=0&x=0&h=2049&w=2048", "a request gives at most 4,194,304 pixels, got h 2,049 and w 2,048"),
        ("level=0&y=0&x=0&h=1000000000&w=1000000000", "a request gives at most 4,194,304 pixels"),
    ],
)
def test_a_region_that_cannot_be(calm, query, words):
    for layer in ("pixels", "annotation", "prediction"):
        status, found = calm.get(f"/api/images/0/{layer}?{query}")
        assert status == 400
        assert words in found["error"]


@pytest.mark.parametrize(
    "path",
    [
        f"/api/images/2/pixels?{ALL}",
        f"/api/images/99999999999999999999/pixels?{ALL}",
        f"/api/images/-1/pixels?{ALL}",
        f"/api/images/a/pixels?{ALL}",
        f"/api/images/0/nothing?{ALL}",
        f"/api/images/0/..%2fpixels?{ALL}",
        "/api/images/7/object?y=0&x=0",
        "/api",
        "/api/nothing",
    ],
)
def test_what_is_not_there(calm, path):
    status, found = calm.get(path)
    assert status == 404
    assert len(found["error"].splitlines()) == 1


# strokes


def test_a_stroke_and_back(client):
    status, found = client.post("/api/strokes", DOT)
    assert (status, found) == (200, {"image": 0, "changed": [3, 8, 3, 8], "number": 1, "changes": 3})
    session = client.get("/api/session")[1]
    assert (session["undo"], session["redo"], session["images"][0]["objects"]) == (True, False, 1)
    status, found = client.post("/api/undo")
    assert (status, found["image"], found["changed"]) == (200, 0, [3, 8, 3, 8])
    assert client.post("/api/undo")[1] == {"image": None, "changed": None, "number": None, "changes": 4}
    status, found = client.post("/api/redo")
    assert (status, found["changed"]) == (200, [3, 8, 3, 8])
    assert client.post("/api/strokes", DOT)[1]["number"] == 2


@pytest.mark.parametrize("kind", ["flood", "delete", "background", "merge", "split", "fill"])
def test_every_kind_of_stroke(client, kind):
    for column in (5, 15):
        client.post("/api/strokes", DOT | {"points": [[5, column]]})
    fields = {
        "flood": {"point": [5, 5], "value": 2},
        "delete": {"number": 1},
        "background": {"number": 1},
        "merge": {"numbers": [1, 2]},
        "split": {"number": 1, "points": [[0, 5], [10, 5]]},
        "fill": {"points": [[20, 20], [20, 30], [30, 30]], "value": "new", "over": False},
    }[kind]
    status, found = client.post("/api/strokes", {"kind": kind, "image": 0, **fields})
    assert (status, found["image"], found["changes"]) == (200, 0, 5)


NAN, INF, HUGE = float("nan"), float("inf"), 10**400


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"points": [[NAN, 1]]}, "numbers must be finite, got NaN"),
        ({"points": [[1, INF]]}, "numbers must be finite, got Infinity"),
        ({"radius": -INF}, "numbers must be finite, got -Infinity"),
        ({"radius": NAN}, "numbers must be finite, got NaN"),
        ({"points": [[1, HUGE]]}, "points must be finite numbers up to"),
        ({"points": [[1e308, 1]]}, "points must be finite numbers up to"),
        ({"points": [[-(2**40), 1]]}, "points must be finite numbers up to"),
        ({"points": [["1", 1]]}, "points must be finite numbers up to 1,073,741,824, got '1'"),
        ({"points": [[True, 1]]}, "points must be finite numbers up to 1,073,741,824, got True"),
        ({"points": [[None, 1]]}, "points must be finite numbers"),
        ({"points": [[1]]}, "points.0"),
        ({"points": [[1, 2, 3]]}, "points.0"),
        ({"points": [[[1], 2]]}, "points must be finite numbers"),
        ({"points": [1, 2]}, "points.0"),
        ({"points": []}, "points"),
        ({"points": {}}, "points must be finite numbers"),
        ({"points": "12"}, "points must be finite numbers"),
        ({"points": [[1, 1]] * (MOST_POINTS + 1)}, "points must hold at most 20,000 points, got 20,001"),
        ({"radius": -1}, "radius"),
        ({"radius": 2**30}, "radius"),
        ({"radius": True}, "radius must be finite numbers up to 1,073,741,824, got True"),
        ({"radius": "2"}, "radius must be finite numbers up to 1,073,741,824, got '2'"),
        ({"value": -2}, "value"),
        ({"value": 2**31}, "value"),
        ({"value": HUGE}, "value must be finite numbers"),
        ({"value": 1.5}, "value"),
        ({"value": True}, "value must be finite numbers"),
        ({"value": "old"}, "value must be finite numbers"),
        ({"value": 77}, "77"),
        ({"image": 2}, "there is no image 2, there are 2"),
        ({"image": -1}, "image must be a whole number from 0"),
        ({"image": True}, "image must be a whole number from 0"),
        ({"image": 0.0}, "image must be a whole number from 0"),
        ({"image": "0"}, "image must be a whole number from 0"),
        ({"image": None}, "image must be a whole number from 0"),
        (
            {"kind": "pant"},
            "kind must be one of paint, fill, flood, merge, split, delete, background, accept, accept_all",
        ),
        ({"kind": ["paint"]}, "kind must be one of"),
        ({"kind": None}, "kind must be one of"),
        ({"kind": "add"}, "kind must be one of"),
        ({"kind": "add_all"}, "kind must be one of"),
        ({"extra": 1}, "extra"),
        ({"kind": "fill", "radius": 2}, "points"),
        ({"kind": "flood"}, "point"),
        ({"kind": "accept", "point": [1]}, "point must be [y, x], got [1]"),
        ({"kind": "accept", "point": [1, True]}, "point must be [y, x], got [1, True]"),
        ({"kind": "accept", "point": [1, 1e300]}, "point must be [y, x]"),
        ({"kind": "accept_all", "region": [0, 10, 0]}, "region must be [y0, y1, x0, x1] within the image of 40 x 60"),
        ({"kind": "accept_all", "region": [5, 5, 0, 1]}, "region must be [y0, y1, x0, x1] within the image of 40 x 60"),
        ({"kind": "accept_all", "region": [100, 200, 0, 9]}, "region must be [y0, y1, x0, x1] within the image"),
        ({"kind": "accept_all", "region": "abcd"}, "region must be [y0, y1, x0, x1] within the image"),
    ],
)
def test_a_stroke_that_cannot_be(calm, change, words):
    before = calm.session.changes
    status, found = calm.post("/api/strokes", DOT | change)
    assert status in (400, 404)
    assert words in found["error"]
    assert len(found["error"]) < 1000
    assert calm.session.changes == before
    assert calm.session.annotated(0) == calm.session.annotated(1) == []


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"null",
        b"[]",
        b'"paint"',
        b"{} {}",
        b"\xff\xfe",
        b"\0",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"kind": "paint", "points": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"image": ' + b"9" * 100_000 + b"}",
        b'{"kind": "paint", "image": 1e999999, "points": [], "radius": 1, "value": 1}',
        json.dumps({str(n): n for n in range(10_000)}).encode(),
        json.dumps(DOT).encode("utf-16"),
    ],
)
def test_what_is_no_json_changes_nothing(calm, raw):
    status, found = calm.post("/api/strokes", raw=raw)
    assert status == 400
    assert len(found["error"].splitlines()) == 1
    assert calm.session.annotated(0) == []
    assert calm.get("/api/session")[0] == 200


def test_points_by_the_million_are_refused(calm):
    raw = json.dumps(DOT | {"points": [[1, 1]] * 1_000_000}, separators=(",", ":")).encode()
    with suppress(OSError):  # closed before all was sent
        assert calm.ask("POST", "/api/strokes", raw, headers=[("X-Contractile", "1")])[0] == 413
    few = b'{"kind":"paint","image":0,"radius":1,"value":0,"points":[%s]}' % b",".join([b"[1,1]"] * 300_000)
    status, found = calm.post("/api/strokes", raw=few)
    assert (status, found["error"][:56]) == (400, "points must hold at most 20,000 points, got 300,000; dra")
    assert calm.session.annotated(0) == []


def test_a_long_stroke_within_the_bound(client):
    points = [[20 + 10 * np.sin(n), n * 60 / MOST_POINTS] for n in range(MOST_POINTS)]
    status, found = client.post("/api/strokes", DOT | {"points": points, "radius": 1})
    assert (status, found["number"]) == (200, 1)


def test_strokes_of_many_pages_at_once(shown, client):
    answers = []

    def paint(row):
        for column in range(5):
            answers.append(client.post("/api/strokes", DOT | {"points": [[row, 8 * column + 4]], "radius": 1}))

    threads = [threading.Thread(target=paint, args=(8 * row + 4,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert sorted(answer["number"] for _, answer in answers) == list(range(1, 21))
    assert len(shown.session.objects(0)) == 20


# what the network shows


def test_a_predicted_object_is_accepted(client):
    status, found = client.post("/api/strokes", {"kind": "accept", "image": 0, "point": [12, 33.4]})
    assert (status, found) == (200, {"image": 0, "changed": [10, 20, 30, 42], "number": 1, "changes": 3})
    labels = client.array(f"/api/images/0/annotation?{ALL}")[1]
    assert (labels == 1).sum() == 120
    status, found = client.post("/api/strokes", {"kind": "accept", "image": 0, "point": [0, 0]})
    assert (status, found["error"]) == (400, "no predicted object is there; point at one, or wait for a prediction")


def test_a_predicted_object_that_is_cut_off_is_not_accepted(client, learning, monkeypatch):
    cut = replace(learning.object_at(0, SQUARE[0].start, SQUARE[1].start), cut=True)
    monkeypatch.setattr(learning, "object_at", lambda *_: cut)
    status, found = client.post("/api/strokes", {"kind": "accept", "image": 0, "point": [0, 0]})
    assert status == 400
    assert found["error"] == (
        "the predicted object is cut off, since the prediction ends there; move it to the middle of the view, and wait "
        "for a prediction"
    )


def test_all_predicted_objects_in_view_are_accepted(client):
    status, found = client.post("/api/strokes", {"kind": "accept_all", "image": 0, "region": [2, 38, 3, 50]})
    assert (status, found["changed"]) == (200, [10, 20, 3, 8])
    status, found = client.post("/api/strokes", {"kind": "accept_all", "image": 0, "region": [30, 38, 0, 50]})
    assert (status, found["error"][:44]) == (400, "no predicted object lies wholly in view; zoo")


def test_the_object_under_the_pointer(client):
    client.post("/api/strokes", DOT)
    status, found = client.get("/api/images/0/object?y=5&x=5")
    assert (status, found["values"], found["predicted"]) == (200, [305], None)
    assert found["annotated"] == {"number": 1, "area_px": 13, "area_um2": None, "held": False}
    found = client.get(f"/api/images/0/object?y={SQUARE[0].start}&x={SQUARE[1].start}")[1]
    assert found["annotated"] is None
    assert found["predicted"] == {"area_px": 120, "area_um2": None, "probability": 0.9, "confidence": 0.8}
    for place in ("y=40&x=0", "y=0&x=60", "y=-1&x=0", "y=0", "y=a&x=0"):
        assert client.get(f"/api/images/0/object?{place}")[0] == 400


def test_every_fifth_object_says_that_it_is_held(client):
    for column in range(5):
        client.post("/api/strokes", DOT | {"points": [[5, 10 * column + 5]]})
    held = [client.get(f"/api/images/0/object?y=5&x={10 * column + 5}")[1]["annotated"]["held"] for column in range(5)]
    assert held == [False, False, True, False, False]
    assert client.array(f"/api/images/0/held?{ALL}")[1].sum() == 13


def test_what_is_looked_at(client, learning):
    assert client.post("/api/view", {"image": 1, "region": [-5, 20.7, 3, 1000]})[0] == 200
    assert learning.looked == [(1, (slice(0, 20), slice(3, 60)))]
    assert client.post("/api/view", {"image": 1, "region": [0, 0, 0, 0]})[0] == 400
    assert client.post("/api/view", {"image": 5, "region": [0, 1, 0, 1]})[0] == 404


def test_wishes_of_the_learner(client, learning):
    status, found = client.post("/api/learning", {"do": "longer", "minutes": 10})
    assert (status, found["state"]) == (200, "learning")
    client.post("/api/learning", {"do": "go_back", "model": "0003"})
    assert learning.told == [("longer", {"minutes": 10.0}), ("go_back", {"model": "0003"})]
    for wrong, words in (
        ({"do": "bad"}, "do must be pause"),
        ({"do": 3}, "do must be a list"),
        ({}, "do must be"),
        ({"do": "longer", "minutes": "10"}, "minutes must be a number from 0"),
        ({"do": "longer", "minutes": True}, "minutes must be a number from 0"),
        ({"do": "longer", "minutes": -1}, "minutes must be a number from 0"),
        ({"do": "longer", "minutes": 1e9}, "minutes must be a number from 0"),
        ({"do": "go_back", "model": ["../x"]}, "model must be"),
    ):
        status, found = client.post("/api/learning", wrong)
        assert status == 400
        assert words in found["error"]
    assert len(learning.told) == 2


def test_lists_of_the_learner(calm):
    assert calm.get("/api/models")[1] == {"models": [{"id": "0001", "seconds": 3.0, "steps": 5, "score": 0.5}]}
    found = calm.get("/api/scores")[1]
    assert found["name"] == "fit of held-out objects"
    assert "never learned from" in found["meaning"]
    assert found["scores"] == [
        {"seconds": 3.0, "steps": 5, "objects": 2, "low": 0.1, "high": 0.9, "model": "0001", "score": 0.5}
    ]
    place = {"image": 0, "region": [0, 10, 0, 10], "why": "least certain here"}
    for query in ("", "?most=1"):
        assert calm.get(f"/api/suggestions{query}") == (200, {"suggestions": [place]})
    assert calm.get("/api/suggestions?most=0")[0] == 400
    assert calm.get("/api/suggestions?most=1000")[0] == 400


def test_a_session_in_which_nothing_learns(tmp_path):
    with small_session(tmp_path) as shown, served(shown) as running:
        client = Client(running).enter()
        assert client.get("/api/models") == (200, {"models": []})
        assert client.get("/api/scores")[1]["scores"] == []
        assert client.get("/api/suggestions") == (200, {"suggestions": []})
        assert client.post("/api/view", {"image": 0, "region": [0, 1, 0, 1]})[0] == 200
        for fields in (
            {"kind": "accept", "image": 0, "point": [1, 1]},
            {"kind": "accept_all", "image": 0, "region": [0, 9, 0, 9]},
        ):
            assert client.post("/api/strokes", fields)[0] == 400
        status, found = client.post("/api/learning", {"do": "pause"})
        assert (status, found["error"]) == (400, "nothing learns in this session; start the page anew")
        status, found = client.post("/api/export", {"save": ["labels"]})
        assert (status, found["error"][:48]) == (400, "there is no network yet that could predict; pain")


# news


def test_two_pages_see_the_strokes_of_each_other(client):
    first, second = News(client), News(client)
    client.post("/api/strokes", DOT)
    for page in (first, second):
        assert page.next() == ("changed", {"image": 0, "region": [3, 8, 3, 8], "changes": 3})
    client.post("/api/undo")
    assert first.next() == ("changed", {"image": 0, "region": [3, 8, 3, 8], "changes": 4})


def test_news_of_the_learner_and_nan(shown, client):
    page = News(client)
    shown.news.tell("learning", {"loss": float("nan"), "steps": np.int64(3), "message": "a\nb\r\n\r\nevent: x"})
    assert page.next() == ("learning", {"loss": None, "steps": 3, "message": "a\nb\r\n\r\nevent: x"})


def test_a_line_keeps_the_connection_open(client, monkeypatch):
    monkeypatch.setattr(news, "PAUSE_S", 0.05)
    page = News(client)
    assert (page.line(), page.line()) == (": still here", "")


def test_a_bounded_number_of_pages(client, monkeypatch):
    monkeypatch.setattr(news, "MOST_LISTENERS", 2)
    monkeypatch.setattr(news, "PAUSE_S", 0.05)
    pages = [News(client), News(client)]
    refused = News(client)
    assert refused.answer.status == 503
    assert json.loads(refused.answer.read())["error"] == "at most 2 pages may be open at once; close some of them"
    pages.pop().close()
    for _ in range(100):
        again = News(client)
        if again.answer.status == 200:
            break
        again.close()
    assert again.answer.status == 200


def test_a_page_that_does_not_read_is_let_go(shown, client, monkeypatch):
    monkeypatch.setattr(news, "MOST_WAITING", 4)
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.sendall(f"GET /api/news HTTP/1.1\r\nHost: {client.host}\r\nCookie: {client.cookie}\r\n\r\n".encode())
        assert b" 200 " in link.recv(100)
        for _ in range(400):
            shown.news.tell("learning", {"message": "x" * 100_000})
        page = News(client)  # others still hear
        shown.news.tell("learning", {"message": "end"})
        assert page.next() == ("learning", {"message": "end"})
        assert len(shown.news._listeners) == 1


def test_the_server_ends_while_pages_listen(shown):
    with served(shown) as running:
        client = Client(running).enter()
        page = News(client)
    assert page.answer.read() == b""
    shown.news.tell("learning", {})  # nobody is there any more: no error


# long jobs


JOB = """
import json, sys, time
job = json.loads(sys.stdin.readline())
print("a library says something")
print(json.dumps({"message": "a.tif", "done": 1, "total": 2, "other": 3}), flush=True)
if "objects" in job.get("save", ()):
    sys.stdin.read()
if "overlay" in job.get("save", ()):
    print(json.dumps({"error": "<b>no</b>"})); sys.exit(2)
if "probabilities" in job.get("save", ()):
    print("Traceback: it broke"); sys.exit(1)
print(json.dumps({"message": json.dumps(job, sort_keys=True)}))
"""


@pytest.fixture
def working(tmp_path, learning):
    with small_session(tmp_path, learning=learning, jobs=[sys.executable, "-c", JOB]) as shown:
        learning.model = lambda: tmp_path / "0001.safetensors"
        with served(shown) as running:
            yield Client(running).enter()


def follow(page, state):
    """The news of a job until it is in this state."""
    while True:
        kind, job = page.next()
        assert kind == "job"
        if job["state"] == state:
            return job


def test_export(working, tmp_path):
    page = News(working)
    assert working.get("/api/jobs") == (200, {"jobs": []})
    assert working.post("/api/export", {"save": ["labels"], "images": [1]}) == (200, {"job": 1})
    job = follow(page, "done")
    assert (job["id"], job["kind"], job["done"], job["total"]) == (1, "export", 1, 2)
    assert json.loads(job["message"]) == {
        "kind": "export",
        "model": str(tmp_path / "0001.safetensors"),
        "images": [str(tmp_path / "images" / "b.tif")],
        "total": 1,
        "out": str(tmp_path / "session" / "predicted"),
        "save": ["labels"],
        "bounds": {"pixels": limits().pixels, "missing": False},
    }
    assert working.get("/api/jobs")[1]["jobs"] == [job]


def test_a_job_that_fails_says_why(working):
    page = News(working)
    working.post("/api/export", {"save": ["overlay"]})
    assert follow(page, "failed")["message"] == "<b>no</b>"
    working.post("/api/export", {"save": ["probabilities"], "images": "all"})
    assert follow(page, "failed")["message"] == "Traceback: it broke"


def test_one_job_at_a_time_and_its_end_with_the_server(tmp_path, learning):
    with small_session(tmp_path, learning=learning, jobs=[sys.executable, "-c", JOB]) as shown:
        learning.model = lambda: tmp_path / "0001.safetensors"
        with served(shown) as running:
            client = Client(running).enter()
            assert client.post("/api/export", {"save": ["objects"]})[0] == 200
            status, found = client.post("/api/export", {"save": ["labels"]})
            assert (status, found["error"]) == (409, "another job runs (export); wait until it ends")
            process = shown.jobs._process
    assert process.wait(10) != 0
    assert shown.jobs.list()[0]["state"] == "stopped"


def test_train_properly_now(working, learning, tmp_path):
    status, found = working.post("/api/train", {"minutes": 10})
    assert (status, found["error"]) == (400, "nothing is annotated yet; paint an object and some background")
    working.post("/api/strokes", DOT)
    page = News(working)
    assert working.post("/api/train", {"minutes": 2})[0] == 200
    job = follow(page, "done")
    assert json.loads(job["message"]) == {
        "kind": "train",
        "images": [str(tmp_path / "images" / "a.tif"), str(tmp_path / "images" / "b.tif")],
        "labels": str(tmp_path / "session" / "labels"),
        "minutes": 2.0,
        "task": "objects",
        "axes": None,
        "classes": [],
        "out": str(tmp_path / "session" / "run"),
        "bounds": {"pixels": limits().pixels, "missing": False},
    }
    assert (tmp_path / "session" / "labels" / "a.tif").is_file()
    assert learning.told == [("pause", {}), ("resume", {})]
    (tmp_path / "session" / "run").mkdir()
    working.post("/api/train", {"minutes": 2})
    assert follow(page, "done")["out"].endswith("run2")


@pytest.mark.parametrize(
    ("classes", "named"), [(("membrane", "inside"), [(0, "membrane"), (1, "inside")]), (("background", "class 1"), [])]
)
def test_a_run_gets_the_names_that_somebody_gave_the_classes(tmp_path, learning, classes, named, monkeypatch):
    told = []
    monkeypatch.setattr(Jobs, "train", lambda self, training, after: told.append(training) or 1)
    with small_session(tmp_path, task="classes", classes=classes, learning=learning) as shown:
        shown.session.act(Paint(image=0, points=[(5, 5)], radius=2, value=1))
        assert Asked(shown).train({"minutes": 1}) == {"job": 1}
    assert (told[0].task, told[0].classes) == ("classes", named)


@pytest.mark.parametrize(
    ("path", "fields", "words"),
    [
        (
            "/api/export",
            {"save": []},
            "save must be among labels, probabilities, overlay, objects, geojson, coco, rois, ctc, got nothing",
        ),
        (
            "/api/export",
            {"save": ["labels", "all"]},
            "save must be among labels, probabilities, overlay, objects, geojson, coco, rois, ctc, got 'all'",
        ),
        ("/api/export", {"save": "labels"}, "save must be a list of at most 16 texts, got 'labels'"),
        ("/api/export", {"save": [1]}, "save must be a list of at most 16 texts, got [1]"),
        ("/api/export", {}, "save must be a list of at most 16 texts, got None"),
        ("/api/export", {"save": ["labels"], "images": []}, 'images must be "all" or a list of numbers of images'),
        ("/api/export", {"save": ["labels"], "images": "a"}, 'images must be "all" or a list of numbers of images'),
        ("/api/export", {"save": ["labels"], "images": ["../a"]}, "images must be a whole number from 0"),
        ("/api/export", {"save": ["labels"], "images": [9]}, "there is no image 9, there are 2"),
        ("/api/train", {}, "minutes must be a number from 0.1 to 10,080, got None"),
        ("/api/train", {"minutes": 0}, "minutes must be a number from 0.1 to 10,080, got 0"),
        ("/api/train", {"minutes": "10; rm -rf"}, "minutes must be a number from 0.1 to 10,080, got '10; rm -rf'"),
    ],
)
def test_a_job_that_cannot_be(working, path, fields, words):
    status, found = working.post(path, fields)
    assert status in (400, 404)
    assert words in found["error"]
    assert working.get("/api/jobs") == (200, {"jobs": []})


# pieces


def test_kinds_of_strokes_are_those_of_the_session():
    from contractile.viewer import acts

    kinds = {one.model_fields["kind"].default for one in (acts.Paint, acts.Fill, acts.Flood, acts.Merge, acts.Split)}
    kinds |= {one.model_fields["kind"].default for one in (acts.Delete, acts.Background)}
    assert kinds == set(actions.PLAIN)


def test_numbers_are_little_endian():
    from contractile.viewer.answers import numbers

    answer = numbers(np.arange(3, dtype=">u2"))
    assert (answer.body, answer.headers["X-Type"], answer.headers["X-Shape"]) == (b"\0\0\1\0\2\0", "uint16", "3")
    assert numbers(np.array([[True, False]])).body == b"\1\0"
    assert numbers(None).status_code == 204
