"""How good a network is after so many minutes of a person at the local page, and a forest that gets the same strokes.

    python benchmarks/annotator.py dsb2018 DATA --out DIR [--minutes 10] [--seed 0]
    python benchmarks/annotator.py dsb2018 DATA --out DIR --rivals everything|outlines

DATA is the folder that `splits.py` made for this dataset. A simulated person (`person.py`) works for ten minutes of
real time, through the same requests as the page, on images of the training part; its eyes are their truth. After 1, 2,
5 and 10 minutes the annotation and the newest network are put aside. When the person has finished they are scored
on the test part, which nobody saw: the network, and a random forest on multiscale features that learned from the same.
`--rivals` trains what a finished session in DIR is compared with, for as many steps: the same network on all images
that the person had (everything), or on images that are drawn by chance, with at least 1.5 times as many objects as the
person touched, all of them outlined (outlines; of classes, one whole image). Nothing else should run during a session.
Results are printed, and written to DIR/results.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import rivals
import tifffile
from numpy.typing import NDArray
from person import Act, Person

from contractile.dataset import Example, load_examples, pair_up
from contractile.labels import diameters, renumber
from contractile.model import load as load_model
from contractile.prediction import Predictor

MARKS = (1.0, 2.0, 5.0, 10.0)  # minutes
POOL = 40  # images of the training part that the person has before it
SCORED = 60  # images of the test part
MOST_TOUCHED = 60  # objects
MOST_ACTS = 8  # in one visit
VIEW = 1000  # pixels along a side of what is on the screen
MORE = 1.5  # times as many objects as the person touched are outlined for a network that is compared with its own
LATE = 10.0  # minutes: the marks from which on outlines are compared


class Refused(RuntimeError):
    """The page said no."""


class Page:
    """The requests of the page to `contractile view`, which runs in a process of its own."""

    def __init__(self, images: Path, out: Path, task: str, *more: str) -> None:
        words = [sys.executable, "-m", "contractile.cli", "view", str(images), "--out", str(out), "--no-browser"]
        words += ["--task", task, *more, *(["--classes", "membrane,inside"] if task == "classes" else [])]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = next(filter(None, (re.search(r"http://([\d.]+):(\d+)/(\S+)", line) for line in self.process.stdout)))
        self.host, self.port = found[1], int(found[2])
        self.cookie = ""
        answer, _ = self.ask("GET", f"/{found[3]}")
        self.cookie = answer.headers["Set-Cookie"].split(";")[0]

    def ask(self, method: str, path: str, body: Any = None) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)
        headers = {"Cookie": self.cookie, "X-Contractile": "1", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if answer.status >= 400:
            raise Refused(f"{method} {path}: {answer.status} {content.decode(errors='replace')[:300]}")
        return answer, content

    def get(self, path: str) -> Any:
        return json.loads(self.ask("GET", path)[1])

    def post(self, path: str, body: Any) -> Any:
        return json.loads(self.ask("POST", path, body)[1])

    def layer(self, image: int, name: str, shape: tuple[int, ...]) -> NDArray[Any] | None:
        """A layer of an image at full resolution; None where there is nothing yet."""
        where = f"level=0&y=0&x=0&h={shape[0]}&w={shape[1]}"
        answer, content = self.ask("GET", f"/api/images/{image}/{name}?{where}")
        if answer.status == 204:
            return None
        size = [int(n) for n in answer.headers["X-Shape"].split(",")]
        return np.frombuffer(content, answer.headers["X-Type"]).reshape(size)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Session:
    """A person at work, with a clock. `ready_at` is when there were strokes of both kinds for the first time."""

    def __init__(self, page: Page, truths: list[NDArray[np.int32]], person: Person, folder: Path) -> None:
        self.page, self.truths, self.person, self.folder = page, truths, person, folder
        self.began, self.touched, self.marked = time.monotonic(), 0, list[dict[str, Any]]()
        self.ready_at: float | None = None
        self._kinds: set[bool] = set()  # of strokes so far: background or not

    @property
    def now(self) -> float:
        """Seconds of the person's time."""
        return time.monotonic() - self.began

    def work(self, marks: tuple[float, ...]) -> None:
        """Annotate until the last mark."""
        waiting, image = list(marks), int(np.argmax([len(np.unique(one)) for one in self.truths]))
        self._look(image)
        while waiting:
            act = None
            if self.touched < MOST_TOUCHED:
                act = self._decide(image)
            pause = act.seconds if act else 1.5
            while waiting and self.now + pause >= 60 * waiting[0]:
                self._rest(60 * waiting[0] - self.now)
                self._put_aside(waiting.pop(0))
            if not waiting:
                break
            self._rest(pause)
            if act is not None:
                self._do(image, act)
            if act is None or self.acts >= MOST_ACTS:
                image = self._go_on(image)

    def _do(self, image: int, act: Act) -> None:
        self.acts += 1
        try:
            self.page.post("/api/strokes", act.fields)
        except Refused:  # what was to be accepted is not shown any more
            if act.fields["kind"] != "accept":
                raise
            return self.person.give_up(image)
        self.touched += act.touches
        self._note(act.fields)

    def _note(self, fields: dict[str, Any]) -> None:
        self._kinds.add(fields.get("value") == 0)
        if self.ready_at is None and len(self._kinds) > 1:
            self.ready_at = time.monotonic()

    def _rest(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))

    def _decide(self, image: int) -> Any:
        shape = self.truths[image].shape
        shown = self.page.layer(image, "prediction", shape)
        painted = self.page.layer(image, "annotation", shape)
        assert painted is not None
        return self.person.decide(image, self.truths[image], painted, shown)

    def _look(self, image: int, place: tuple[slice, slice] | None = None) -> None:
        self.acts = 0
        self.person.begin(place)
        height, width = self.truths[image].shape
        self.page.post("/api/view", {"image": image, "region": [0, height, 0, width]})

    def _go_on(self, image: int) -> int:
        """Where the page suggests; elsewhere by chance while it suggests nothing."""
        found = self.page.get("/api/suggestions?most=10")["suggestions"]
        others = [one for one in found if one["image"] != image]
        if others:
            y0, y1, x0, x1 = others[0]["region"]
            image = others[0]["image"]
            self._look(image, (slice(y0, y1), slice(x0, x1)))
        else:
            image = int(self.person.rng.integers(len(self.truths)))
            self._look(image)
        self._rest(3.0)  # to go there, and until its prediction is there
        return image

    def _put_aside(self, minutes: float) -> None:
        """Keep the newest network and the annotation."""
        place = self.folder / f"after_{minutes:g}"
        place.mkdir(parents=True, exist_ok=True)
        models = self.page.get("/api/models")["models"]
        if models:
            shutil.copy(
                self.folder / "session" / "models" / f"{models[-1]['id']}.safetensors", place / "model.safetensors"
            )
        layers = {str(n): self.page.layer(n, "annotation", one.shape) for n, one in enumerate(self.truths)}
        np.savez_compressed(place / "painted.npz", **{n: one for n, one in layers.items() if (one >= 0).any()})
        status = self.page.get("/api/session")["learning"]
        self.marked.append({"minutes": minutes, "touched": self.touched, "steps": status["steps"]})


def watch(page: Page, stop: threading.Event, news: list[float]) -> None:
    """Note when the page hears of a new prediction."""
    connection = http.client.HTTPConnection(page.host, page.port, timeout=60)
    connection.request("GET", "/api/news", headers={"Cookie": page.cookie})
    answer = connection.getresponse()
    while not stop.is_set():
        line = answer.readline()
        if not line:
            return
        if line.startswith(b"event: predicted"):
            news.append(time.monotonic())


def ask_regions(page: Page, images: int, stop: threading.Event, seconds: list[float]) -> None:
    """Ask for a region of the image every two seconds, as panning does, and note how long it takes."""
    shapes = [one["shape"] for one in page.get("/api/session")["images"]]
    while not stop.wait(2.0):
        number = int(time.monotonic()) % images
        height, width = (min(VIEW, side) for side in shapes[number])
        begun = time.monotonic()
        page.layer(number, "pixels", (height, width))
        seconds.append(time.monotonic() - begun)


def measure(given: argparse.Namespace, data: Data) -> dict[str, Any]:
    """A session of a person, and its scores."""
    folder = given.out
    shutil.rmtree(folder / "session", ignore_errors=True)
    page = Page(data.folder, folder / "session", data.task)
    stop, news, answers = threading.Event(), list[float](), list[float]()
    for work in (lambda: watch(page, stop, news), lambda: ask_regions(page, len(data.truths), stop, answers)):
        threading.Thread(target=work, daemon=True).start()
    person = Person(data.task, data.size, np.random.default_rng(given.seed))
    session = Session(page, data.truths, person, folder)
    marks = tuple(mark for mark in MARKS if mark <= given.minutes)
    session.work(marks)
    stop.set()
    page.close()
    gaps = np.diff(news)
    found: dict[str, Any] = {
        "seconds from the first strokes to a prediction": round(news[0] - (session.ready_at or 0.0), 1),
        "seconds between updates, median": round(float(np.median(gaps)), 1) if len(gaps) else None,
        "region, median ms": round(1000 * statistics.median(answers)),
        "region, 95 % ms": round(1000 * float(np.quantile(answers, 0.95))),
        "marks": session.marked,
    }
    for mark in session.marked:
        mark |= data.score_both(folder / f"after_{mark['minutes']:g}", given.seed)
        print(mark, flush=True)
    return found


def compare(given: argparse.Namespace, data: Data) -> dict[str, Any]:
    """The same network on whole images, for as many steps as in the session. Another run may add to the results."""
    place = given.out / "results.json"
    marks = [mark for mark in json.loads(place.read_text())["marks"] if mark["minutes"] <= given.minutes]
    found: list[dict[str, float]] = [{} for _ in marks]
    if given.rivals == "everything":
        models = data.train(dict(enumerate(data.truths)), [mark["steps"] for mark in marks], given.seed)
        for one, model in zip(found, models, strict=True):
            one |= data.score_model(model)
            print(given.rivals, one, flush=True)
    else:
        for one, mark in zip(found, marks, strict=True):
            if mark["minutes"] >= LATE:
                labels = data.some(round(MORE * mark["touched"]), given.seed)
                [model] = data.train(labels, [mark["steps"]], given.seed)
                one |= {"objects": sum(len(np.unique(each[each > 0])) for each in labels.values())}
                one |= data.score_model(model)
                print(given.rivals, one, flush=True)
    told = json.loads(place.read_text())
    for mark, one in zip(told["marks"], found, strict=False):
        mark[given.rivals] = one or None
    return dict(told)


class Data:
    """The images that the person works on, and those that are scored."""

    def __init__(self, name: str, place: Path, folder: Path, seed: int) -> None:
        self.task = "classes" if name == "isbi2012" else "objects"
        training, self.test = load(place, "train"), load(place, "test", SCORED)
        rng = np.random.default_rng(seed)
        self.pool = [training[n] for n in rng.permutation(len(training))[:POOL]]
        self.truths = [self._truth(one.labels) for one in self.pool]
        self.folder = folder / "images"
        self.folder.mkdir(parents=True, exist_ok=True)
        for number, one in enumerate(self.pool):
            tifffile.imwrite(self.folder / f"{number:03d}.tif", one.pixels[0] if len(one.pixels) == 1 else one.pixels)
        self.size = diameters([one for one in self.truths])[1] if self.task == "objects" else 20.0

    def _truth(self, labels: NDArray[np.int32]) -> NDArray[np.int32]:
        return (labels > 0).astype(np.int32) if self.task == "classes" else renumber(labels)

    def some(self, objects: int, seed: int) -> dict[int, NDArray[np.int32]]:
        """Whole images with as many objects, drawn by chance; of classes, as many whole images."""
        found: dict[int, NDArray[np.int32]] = {}
        for number in np.random.default_rng(seed).permutation(len(self.truths)).tolist():
            found[number] = self.truths[number]
            if sum(int(one.max()) for one in found.values()) >= objects:
                break
        return found

    def train(self, labels: dict[int, NDArray[np.int32]], steps: list[int], seed: int) -> Any:
        return rivals.train(self.folder, labels, self.task, steps, seed)

    def score_model(self, model: Any) -> dict[str, float]:
        predictor = Predictor(model)
        return self._score(lambda pixels: np.asarray(predictor.probabilities(pixels)), model.card.decoding)

    def score_both(self, place: Path, seed: int) -> dict[str, Any]:
        """The network and the forest that were there at a mark."""
        model = place / "model.safetensors"
        found: dict[str, Any] = {"network": self.score_model(load_model(model)) if model.exists() else None}
        painted = np.load(place / "painted.npz")
        images = [self.pool[int(number)].pixels for number in painted.files]
        forest = rivals.grow_forest(images, [painted[number] for number in painted.files], self.task, seed)
        return {**found, "forest": self._score(forest, None)}

    def _score(self, predict: Any, decoding: Any) -> dict[str, float]:
        truths = [self._truth(one.labels) for one in self.test]
        return rivals.score(predict, [one.pixels for one in self.test], truths, self.task, decoding)


def load(place: Path, part: str, most: int | None = None) -> list[Example]:
    """The images of a part that `splits.py` made, with labels; at most so many, evenly spaced."""
    suffix = "" if (place / f"{part}_images").is_dir() else ".tif"
    found = load_examples(pair_up(place / f"{part}_images{suffix}", place / f"{part}_labels{suffix}"))
    return found if most is None else found[:: -(-len(found) // most)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=("dsb2018", "dic-hela", "phc-u373", "isbi2012"))
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rivals", choices=("everything", "outlines"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = Data(given.dataset, given.data, given.out, given.seed)
    found = compare(given, data) if given.rivals else measure(given, data)
    (given.out / "results.json").write_text(json.dumps(found, indent=1))
    print(json.dumps({name: value for name, value in found.items() if name != "marks"}, indent=1))


if __name__ == "__main__":
    main()
