"""What `contractile predict` costs beyond the network itself, and what fast number types change.

    python benchmarks/prediction.py RUN IMAGES

RUN is a trained run or model file, IMAGES what it segments (a stack, a folder). Prints whole commands beside the
network's own time on the same tiles, the start-up until the first tile, and for each precision the share of labels
that it leaves as float32 PyTorch gives them.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np

from contractile.engine import EngineConfig
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
    own = NetworkTime(predictor)
    predictor.probabilities(pages[0])
    commands, networks, starts = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.tif"
        write_image(small, pages[0][:, :64, :64])
        for _ in range(REPEATS):
            commands.append(command(run, images, Path(folder) / "out"))
            own.seconds = 0.0
            for pixels in pages:
                predictor.probabilities(pixels)
            networks.append(own.seconds)
            starts.append(command(run, str(small), Path(folder) / "out"))
    whole, network, start = (statistics.median(times) for times in (commands, networks, starts))
    engine = f"{predictor.engine.backend} {predictor.engine.precision}"
    print(f"### `contractile predict` of {len(pages)} images, {engine}, medians of {REPEATS}\n")
    print("| what | s |\n|---|--:|")
    print(f"| whole command: start, read, predict, write | {whole:.2f} |")
    print(f"| the network alone on the same tiles | {network:.2f} |")
    print(f"| whole command on one 64 x 64 image (start-up, first tile, end) | {start:.2f} |")
    print(f"\noverhead over the network: {100 * (whole / network - 1):.0f} %; without start-up "
          f"{100 * ((whole - start) / network - 1):.0f} %\n", flush=True)  # fmt: skip


class NetworkTime:
    """Counts the seconds that a predictor spends in its network."""

    def __init__(self, predictor: Predictor) -> None:
        self.seconds = 0.0
        engine = predictor.engine
        predictor.engine = self  # type: ignore[assignment]
        self._engine = engine

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        begun = time.perf_counter()
        values = self._engine(batch)
        self.seconds += time.perf_counter() - begun
        return values

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)


def command(run: str, images: str, out: Path) -> float:
    words = [sys.executable, "-m", "contractile.cli", "predict", run, images, "--out", str(out)]
    begun = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - begun


def compare_labels(run: str, pages: list[np.ndarray]) -> None:
    exact = Predictor(load(run), engine=EXACT)
    truth = [exact.probabilities(pixels) for pixels in pages]
    print("| precision | labels unchanged | largest probability difference | engine in the end |\n|---|--:|--:|---|")
    for precision in ("bfloat16", "int8"):
        try:
            fast = Predictor(load(run), engine=EngineConfig(backend="openvino", precision=precision, device="cpu"))
            maps = [fast.probabilities(pixels) for pixels in pages]
        except ValueError as error:
            print(f"| {precision} | {error} | | |")
            continue
        same = np.mean([(a.argmax(0) == b.argmax(0)).mean() for a, b in zip(maps, truth, strict=True)])
        worst = max(np.abs(a - b).max() for a, b in zip(maps, truth, strict=True))
        engine = f"{fast.engine.backend} {fast.engine.precision}"
        print(f"| {precision} | {100 * same:.3f} % | {worst:.3f} | {engine} |", flush=True)


if __name__ == "__main__":
    main()
