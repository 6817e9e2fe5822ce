"""Is a training that was killed and resumed the same, bit for bit? Kills one many times and prints a table.

    python benchmarks/kills.py --moments 20 --seed 0

A small synthetic run of fixed steps is trained undisturbed. Then it is ended at random moments by SIGKILL, SIGTERM and
SIGINT, and by SIGKILL right before and after each file is renamed to its name, and resumed each time. Counted are runs
that ended well afterwards, and of these the ones whose model has the same tensors and card (the date aside), whose
history has the same numbers (the clock aside) and whose folder has the same files. Exits with 1 where one has not.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from safetensors import safe_open

RECIPE = """
steps = 40
validations = 3
device = "cpu"
[network]
width = 8
depth = 2
dropout = 0.2
[samples]
tile = [64, 64]
core = [64, 64]
batch = 2
"""
RUNS = WHOLE, PART = "whole", "part"  # the folders of the undisturbed and of the other runs
SAVED_EVERY = 0.3  # seconds, so that a run of seconds is saved as often as one of hours
LONGEST = 600  # seconds until a run counts as hanging


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20, help="moments of SIGKILL; a third as many of other signals")
    parser.add_argument("--seed", type=int, default=0)
    if sys.argv[1:2] == ["--child"]:
        train_killed(sys.argv[2], sys.argv[3:])
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell in the background ignores it, and so would a run
    with tempfile.TemporaryDirectory() as place:
        rows = measure(Trial(Path(place)), arguments.moments, random.Random(arguments.seed))
    print("| ended by | tried | survived | bit-identical | longest end |\n|---|--:|--:|--:|--:|")
    for row in rows:
        slowest = f"{max(row.seconds, default=0.0):.1f} s" if row.seconds else ""
        print(f"| {row.name} | {row.tried} | {row.survived} | {row.same} | {slowest} |")
    sys.exit(0 if all(row.tried == row.survived == row.same for row in rows) else 1)


@dataclass
class Row:
    """How runs did that were ended in one way; `seconds` from the signal to the end."""

    name: str
    tried: int = 0
    survived: int = 0
    same: int = 0
    seconds: list[float] = field(default_factory=list)


def measure(trial: Trial, moments: int, rng: random.Random) -> list[Row]:
    whole = trial.train(WHOLE)
    renames = trial.count_renames()
    print(f"undisturbed: {whole:.1f} s, {renames} files renamed", file=sys.stderr)
    rows = []
    for name, count in (("SIGKILL", moments), ("SIGTERM", -(-moments // 3)), ("SIGINT", -(-moments // 3))):
        rows.append(Row(f"{name} at random moments"))
        for _ in range(count):
            trial.disturb(rows[-1], number=getattr(signal, name), after=rng.uniform(0, whole))
    for when in ("before", "after"):
        rows.append(Row(f"SIGKILL {when} each rename"))
        for rename in range(1, renames + 1):
            trial.disturb(rows[-1], kill=f"{when}:{rename}")
    return rows


class Trial:
    """Trainings of one recipe on the same images, in folders of one place."""

    def __init__(self, place: Path, *, side: int = 128) -> None:
        from contractile.synthetic import SceneConfig, draw_scene

        self.place = place
        rng = np.random.default_rng(0)
        for number in range(3):
            image, labels = draw_scene(SceneConfig(shape=(side, side)), rng)
            for kind, array in (("images", image[0]), ("labels", labels.astype(np.uint16))):
                (place / kind).mkdir(exist_ok=True)
                tifffile.imwrite(place / kind / f"{number}.tif", array)
        (place / "recipe.toml").write_text(RECIPE)

    def start(self, folder: str, *more: str, kill: str = "never") -> subprocess.Popen[str]:
        words = ["train", "images", "labels", "--out", folder, "--recipe", "recipe.toml", *more]
        command = [sys.executable, str(Path(__file__).resolve()), "--child", kill, *words]
        return subprocess.Popen(
            command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )

    def train(self, folder: str) -> float:
        """Train undisturbed; the seconds that it took."""
        begun = time.monotonic()
        process = self.start(folder)
        text, _ = process.communicate(timeout=LONGEST)
        if process.returncode != 0:
            sys.exit(text)
        return time.monotonic() - begun

    def count_renames(self) -> int:
        """Files that a run renames where it is saved at its validations alone."""
        process = self.start(PART, kill="before:0")
        process.communicate(timeout=LONGEST)
        manifest = self.place / PART / ".contractile.jsonl"
        return len([line for line in manifest.read_text().splitlines() if line.strip()])

    def disturb(self, row: Row, *, number: int | None = None, after: float = 0.0, kill: str = "never") -> None:
        """End a run, resume it as it says, and compare what it leaves with the undisturbed run."""
        shutil.rmtree(self.place / PART, ignore_errors=True)
        process = self.start(PART, kill=kill)
        if number is not None:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                process.send_signal(number)
        sent = time.monotonic()
        told, _ = process.communicate(timeout=LONGEST)
        if number in (signal.SIGTERM, signal.SIGINT):
            row.seconds.append(time.monotonic() - sent)
        begun = (self.place / PART / "state.ckpt").exists()
        resumed = self.start(PART, *(["--resume"] if begun else []))
        text, _ = resumed.communicate(timeout=LONGEST)
        difference = self.compare() if resumed.returncode == 0 else text.strip().splitlines()[-1]
        row.tried += 1
        row.survived += resumed.returncode == 0
        row.same += difference == ""
        if difference or "Traceback" in told:
            print(f"{row.name}, after {after:.2f} s, {kill}: {difference}\n{told[-2000:]}", file=sys.stderr)

    def compare(self) -> str:
        """What differs between the two runs; empty where nothing does."""
        one, other = self.place / "whole", self.place / PART
        names = [sorted(path.name for path in folder.iterdir()) for folder in (one, other)]
        if names[0] != names[1]:
            return f"files {names[1]}"
        for read in (read_tensors, read_card, read_history):
            if read(one) != read(other):
                return f"{read.__name__} differs"
        return ""


def read_tensors(folder: Path) -> dict[str, bytes]:
    with safe_open(folder / "model.safetensors", framework="np") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model, without the moment at which it was made, and the folder's name."""
    with safe_open(folder / "model.safetensors", framework="np") as file:
        card: dict[str, Any] = json.loads(file.metadata()["contractile"])
    provenance = card["provenance"]
    del provenance["date"], card["checksum"]  # it is that of the tensors and the rest of the card
    provenance["command"] = provenance["command"].replace(f"--out {folder.name}", "--out RUN")
    return card


def read_history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def train_killed(kill: str, words: list[str]) -> None:
    """Run the command line in this process, which SIGKILL ends before or after it renames a file of the run.

    `kill` is WHEN:NUMBER, or never; then the state is saved more often.
    """
    from contractile.cli import main as run
    from contractile.cli import verbs

    when, _, number = kill.partition(":")
    real, done = os.replace, 0

    def replace(source: Any, target: Any) -> None:
        nonlocal done
        done += Path(target).parent.name in RUNS
        if when == "before" and done == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)
        if when == "after" and done == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    def begin(*words: Any) -> None:  # not before: PyTorch is imported while the program listens to signals
        from contractile.training import folder

        folder.SAVED_EVERY = SAVED_EVERY if kill == "never" else LONGEST
        refuse_more(*words)

    os.replace = replace  # type: ignore[assignment]
    refuse_more, verbs.refuse_more = verbs.refuse_more, begin
    sys.argv = ["contractile", *words]
    run()


if __name__ == "__main__":
    main()
