"""What `contractile predict` costs beyond the network itself, and what the number types change.

    python benchmarks/prediction.py RUN IMAGES

RUN is a run folder or a model file, IMAGES what it segments (a stack or a folder). Prints the time of whole commands
beside that of the network alone on the same tiles; the time from the start to the end of the first tile, with an empty
and with a filled cache folder; and for each precision the fraction of labels that are those of float32 PyTorch.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np

from contractile.engine import EngineConfig, Placed
from contractile.images import find, read, write_image
from contractile.model import load
from contractile.prediction import Predictor

REPEATS = 3
EXACT = EngineConfig(backend="torch", precision="float32", device="cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--no-labels", action="store_true", help="leave out the comparison of labels")
    arguments = parser.parse_args()
    pages = [read(source).pixels for source in find(arguments.images)]
    compare_times(arguments.run, arguments.images, pages)
    if not arguments.no_labels:
        compare_labels(arguments.run, pages)


def compare_times(run: str, images: str, pages: list[np.ndarray]) -> None:
    """Whole commands and the network alone, in turns."""
    predictor = Predictor(load(run))
    np.asarray(predictor.probabilities(pages[0]))  # places the network
    placed = predictor.placed
    clock = Clock(placed)
    predictor.placed = replace(placed, run=clock)
    commands, networks, first_starts, starts = [], [], [], []
    with tempfile.TemporaryDirectory() as folder:
        small, out = Path(folder) / "small.tif", Path(folder) / "out"
        write_image(small, pages[0][:, :64, :64])
        for repeat in range(REPEATS):
            commands.append(command(run, images, out))
            clock.seconds = 0.0
            for pixels in pages:
                np.asarray(predictor.probabilities(pixels))
            networks.append(clock.seconds)
            cache = Path(folder) / f"cache_{repeat}"
            first_starts.append(command(run, str(small), out, cache=cache))
            starts.append(command(run, str(small), out, cache=cache))
    whole, network, first, start = map(statistics.median, (commands, networks, first_starts, starts))
    print(f"### `contractile predict` of {len(pages)} images, {name(placed)}, medians of {REPEATS}\n")
    print("| what | s |\n|---|--:|")
    print(f"| whole command: start, read, predict, write | {whole:.2f} |")
    print(f"| the network alone on the same tiles | {network:.2f} |")
    print(f"| whole command on one 64 x 64 image, with an empty cache folder | {first:.2f} |")
    print(f"| the same again | {start:.2f} |")
    print(f"\noverhead over the network: {100 * (whole / network - 1):.0f} %; without start-up "
          f"{100 * ((whole - start) / network - 1):.0f} %\n", flush=True)  # fmt: skip


class Clock:
    """A back end that counts the seconds it works."""

    def __init__(self, placed: Placed) -> None:
        self.seconds = 0.0
        self._run = placed.run

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        begun = time.perf_counter()
        values = self._run(batch)
        self.seconds += time.perf_counter() - begun
        return values


def name(placed: Placed) -> str:
    return f"{placed.backend} {placed.precision}"


def command(run: str, images: str, out: Path, *, cache: Path | None = None) -> float:
    """Seconds of one `contractile predict` in a process of its own, with its own cache folder if one is given."""
    words = [sys.executable, "-m", "contractile.cli", "predict", run, images, "--out", str(out)]
    environment = {**os.environ, **({} if cache is None else {"XDG_CACHE_HOME": str(cache)})}
    begun = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, env=environment)
    return time.perf_counter() - begun


def compare_labels(run: str, pages: list[np.ndarray]) -> None:
    exact = Predictor(load(run), engine=EXACT)
    truth = [np.asarray(exact.probabilities(pixels)) for pixels in pages]
    print("| precision | labels unchanged | largest probability difference | engine used |\n|---|--:|--:|---|")
    for precision in ("float32", "bfloat16"):
        fast = Predictor(load(run), engine=EngineConfig(backend="openvino", precision=precision, device="cpu"))
        maps = [np.asarray(fast.probabilities(pixels)) for pixels in pages]
        same = np.mean([(a.argmax(0) == b.argmax(0)).mean() for a, b in zip(maps, truth, strict=True)])
        worst = max(np.abs(a - b).max() for a, b in zip(maps, truth, strict=True))
        print(f"| {precision} | {100 * same:.3f} % | {worst:.3f} | {name(fast.placed)} |", flush=True)


if __name__ == "__main__":
    main()
