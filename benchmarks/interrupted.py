"""Is a large image predicted alike however it is done, also where processes are killed? And what do two workers gain?

    python benchmarks/interrupted.py [--side 8192] [--model nuclei] [--diameter 15] [--kills 5] [--folder DIR]

An OME-Zarr of cells is predicted into OME-Zarr labels and a table of objects: by the command line at once; with all in
memory; of an array in Python; by Dask with one and with two workers of one thread each; by the command line, ended by
SIGKILL at random moments and resumed (predictions that are ended once each, and one that is ended so many times); by
two workers, of which one is ended by SIGKILL after a third and after two thirds of the blocks. Each is compared with
the first one: the values of the labels, also up to renumbering, and the bytes of all files. Promised: all are the same,
and two workers are at least 1.8 times as fast as one, in the network's stage and as a whole. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from memory import make

LEAST = 4097  # pixels along a side; what is kept of smaller images lies in memory
FASTER = 1.8  # two workers than one
BAND = 1024  # rows that are compared at once


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--diameter", default="15", help="of the objects in pixels; empty: none")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    for name in ("--child", "--out"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side < LEAST or given.kills < 1:
        parser.error(f"--side must be at least {LEAST} (less is kept in memory, and not resumed), --kills at least 1")
    given.folder = given.folder or Path(tempfile.mkdtemp())
    if given.child:
        print(json.dumps(do_child(given)))
        return 0
    given.folder.mkdir(parents=True, exist_ok=True)
    trial = Trial(given)
    if not trial.image.exists():
        make(trial.image, given.side)
    rows = trial.measure(random.Random(given.seed))
    return report(rows)


@dataclass
class Row:
    """One way of predicting: what of its results is the same as of the first way, and its seconds."""

    name: str
    seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    same: dict[str, bool | None] = field(default_factory=dict)
    note: str = ""


class Trial:
    """Predictions of one image into folders beside it."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.folder = given, given.folder
        self.image = self.folder / f"{given.side}.zarr"

    def measure(self, rng: random.Random) -> list[Row]:
        """One row for each way, printed at once."""
        whole = self.time(self.command("at_once"))
        print("| predicted | seconds | network | objects | renumbered | values | table | files | |")
        print("|---|--:|--:|--:|:-:|:-:|:-:|:-:|---|")
        rows = [self.row("at once", "at_once", whole)]
        rows += [self.child("all in memory", "memory"), self.child("of an array in Python", "array")]
        rows += [self.child("one worker", "workers-1-0"), self.child("two workers", "workers-2-0")]
        moments = [whole * (n + rng.random()) / self.given.kills for n in range(self.given.kills)]
        rows += [self.killed([moment]) for moment in moments]
        rows.append(self.killed(np.diff([0.0, *moments]).tolist()))
        rows.append(self.child("two workers, one killed twice", "workers-2-2"))
        return rows

    def command(self, out: str, *more: str) -> list[str]:
        words = [sys.executable, "-m", "contractile.cli", "predict", self.given.model, str(self.image)]
        words += ["--out", str(self.folder / out), "--format", "ome-zarr", "--save", "labels,objects", *more]
        return words + (["--diameter", self.given.diameter] if self.given.diameter else [])

    def time(self, words: list[str]) -> float:
        """Seconds of a command."""
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
        begun = time.monotonic()
        self.call(words)
        return time.monotonic() - begun

    def call(self, words: list[str]) -> str:
        """What a command prints; it must end well."""
        with (self.folder / "told.txt").open("w+", encoding="utf-8") as told:
            done = subprocess.run(words, stdout=subprocess.PIPE, stderr=told, text=True)
            told.seek(0)
            if done.returncode:
                raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {told.read()[-2000:]}")
        return done.stdout

    def child(self, name: str, kind: str) -> Row:
        """A prediction by Python, in a process of its own."""
        out, given = self.folder / kind, self.given
        shutil.rmtree(out, ignore_errors=True)
        words = [sys.executable, __file__, "--child", kind, "--out", str(out), "--folder", str(self.folder)]
        words += ["--side", str(given.side), "--model", given.model, "--diameter", given.diameter]
        begun = time.monotonic()
        known = json.loads(self.call(words).splitlines()[-1])
        seconds = time.monotonic() - begun
        kills = known.pop("kills", 0)
        return self.row(name, kind, seconds, stages=known, note=f"{kills:.0f} kill(s)" if kills else "")

    def killed(self, pauses: list[float]) -> Row:
        """A prediction that is ended after each of so many seconds, resumed at once, and ends at last.

        Where it ends before it is killed, it begins anew, with shorter pauses.
        """
        shutil.rmtree(self.folder / "killed", ignore_errors=True)
        begun, there, words = time.monotonic(), list[int](), self.command("killed", "--resume")
        for pause in pauses:
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(pause)
            process.kill()
            if process.wait() != -signal.SIGKILL:
                return self.killed([0.6 * pause for pause in pauses])
            there.append(len(list((self.folder / "killed").glob(".*/0000/kept/*.block"))))
        self.call(words)
        name = f"killed {len(pauses)} times" if len(pauses) > 1 else f"killed after {pauses[0]:.1f} s"
        note = f"blocks that were there: {', '.join(map(str, there))}"
        return self.row(f"{name}, resumed", "killed", time.monotonic() - begun, note=note)

    def row(self, name: str, out: str, seconds: float, **more: Any) -> Row:
        first, second = self.folder / "at_once", self.folder / out
        row = Row(name, seconds, **more)
        row.same["renumbered"], row.same["values"] = compare(self.labels(first), self.labels(second))
        table = f"{self.given.side}_objects.csv"
        if (second / table).exists():
            row.same["table"] = (first / table).read_bytes() == (second / table).read_bytes()
            row.same["files"] = digests(first) == digests(second)
        cells = [row.name, f"{seconds:.1f}", *(shown(row.stages.get(stage)) for stage in ("network", "objects"))]
        cells += [{True: "yes", False: "NO", None: ""}[row.same.get(kind)] for kind in KINDS]
        print(f"| {' | '.join(cells)} | {row.note} |", flush=True)
        return row

    def labels(self, out: Path) -> Any:
        file = out / "labels.npy"
        return np.load(file, mmap_mode="r") if file.exists() else zarr.open(out / f"{self.given.side}_labels.zarr/0")


KINDS = ("renumbered", "values", "table", "files")


def shown(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"


def report(rows: list[Row]) -> int:
    """How much faster two workers were, and whether all that is promised holds."""
    one, two = (next(row for row in rows if row.name == name) for name in ("one worker", "two workers"))
    network, whole = one.stages["network"] / two.stages["network"], one.seconds / two.seconds
    fast = min(network, whole) >= FASTER
    print(f"\ntwo workers: {network:.2f} times as fast in the network's stage, {whole:.2f} times as a whole", end="")
    print(f" ({'holds' if fast else 'FAILS'}: {FASTER} promised)")
    different = [row.name for row in rows if not all(same is not False for same in row.same.values())]
    print(f"not the same: {', '.join(different)}" if different else "all are the same")
    return 0 if fast and not different else 1


def compare(first: Any, second: Any) -> tuple[bool, bool]:
    """Whether two label images (Y, X) are the same up to their numbers, and in their values."""
    if first.shape != second.shape:
        return False, False
    pairs, equal = np.zeros(0, np.int64), True
    for y in range(0, first.shape[0], BAND):
        one, two = (np.asarray(labels[y : y + BAND]).astype(np.int64) for labels in (first, second))
        equal = equal and bool((one == two).all())
        pairs = np.union1d(pairs, one * 2**32 + two)
    ones, twos = (len(np.unique(part)) for part in (pairs >> 32, pairs % 2**32))
    background = bool((((pairs >> 32) == 0) == (pairs % 2**32 == 0)).all())
    return ones == twos == len(pairs) and background, equal


def digests(folder: Path) -> dict[str, str]:
    """The hash of each file of a result; hidden ones hold moments."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


# in a process of its own


def do_child(given: argparse.Namespace) -> dict[str, float]:
    """Predict in one of the ways; the seconds of its stages, and how many workers were killed."""
    from contractile.process import prepare_process

    prepare_process()
    from contractile.model import load
    from contractile.prediction import Predictor, blocks, inputs, predict_files, unfinished

    image, out = given.folder / f"{given.side}.zarr", Path(given.out)
    predictor = Predictor(load(given.model), diameter=float(given.diameter) if given.diameter else None)
    predict = partial(predict_files, predictor, image, out=out, products=("labels", "objects"), form="ome-zarr")
    kind, *counts = given.child.split("-")
    if kind == "array":
        out.mkdir()
        np.save(out / "labels.npy", predictor.segment(zarr.open(image / "0")[:]))
        return {}
    if kind == "memory":
        for room in (blocks, inputs, unfinished):
            room.IN_MEMORY = 2**62
        list(predict())
        return {}
    from contractile.work import connect

    workers, kills = map(int, counts)
    with connect("local", workers=workers, threads=1) as work:
        watched = Watched(work, kills)
        list(predict(work=watched))
    return {**watched.seconds, "kills": float(watched.killed)}


class Watched:
    """A place of work whose stages are timed, and whose workers are killed in mid-run, `kills` times."""

    def __init__(self, work: Any, kills: int) -> None:
        self.work, self.kills, self.killed = work, kills, 0
        self.seconds: dict[str, float] = {}

    def each(self, function: Any, items: Any, *, name: str) -> Iterator[tuple[Any, Any]]:
        items = list(items)
        moments = [len(items) * (n + 1) // (self.kills + 1) for n in range(self.kills)] if name == "network" else []
        begun = time.monotonic()
        for done, pair in enumerate(self.work.each(function, items, name=name), 1):
            if done in moments:
                os.kill(next(iter(self.work.client.run(os.getpid).values())), signal.SIGKILL)
                self.killed += 1
            yield pair
        self.seconds[name] = self.seconds.get(name, 0) + time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
