"""How much memory and time images of any size take, from file to files: `contractile predict` on OME-Zarr images.

    python benchmarks/memory.py [--sides 4096 16384] [--model nuclei] [--diameter 15] [--folder DIR]

For each side an OME-Zarr of cells is made, tile by tile, and predicted into OME-Zarr labels with lower resolutions and
a table of objects, by the command line in a process of its own. Printed are the largest memory that the process used,
its seconds, and those that the network alone takes for so many pixels: measured in another process on 4096 x 4096
pixels in memory. Promised: memory differs by less than 10 % between sides and stays below 1500 MB; time is at most 15 %
beyond the network's own for sides from 16384. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import zarr

TILE = 1024
MOST_MB, SAME, BEYOND = 1500, 1.10, 1.15
FAIR = 16384  # from this side on the start of the process does not count


def make(path: Path, side: int) -> None:
    """An OME-Zarr of `side` x `side` pixels of half a micrometre, a fifth of which are cells."""
    from contractile.synthetic import SceneConfig, draw_scene

    rng = np.random.default_rng(0)
    tiles = [draw_scene(SceneConfig(shape=(TILE, TILE), coverage=0.2), rng)[0] for _ in range(6)]
    group = zarr.open_group(path, mode="w")
    array = group.create_array("0", shape=(side, side), dtype="uint16", chunks=(TILE, TILE))
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            tile = np.asarray(tiles[rng.integers(len(tiles))]).reshape(TILE, TILE)
            array[y : y + TILE, x : x + TILE] = tile[: side - y, : side - x].astype(np.uint16)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


def network_alone(model: str, diameter: str) -> float:
    """Seconds of the network for a million pixels, tiles and grey values included."""
    from contractile.model import load
    from contractile.prediction import Predictor

    image = np.random.default_rng(0).integers(0, 4000, (1, 4096, 4096)).astype(np.uint16)
    predictor = Predictor(load(model), diameter=float(diameter) if diameter else None)
    field = predictor.probabilities(image)
    field[:, :2048, :2048]
    begun = time.perf_counter()
    for y in (0, 2048):
        for x in (0, 2048):
            field[:, y : y + 2048, x : x + 2048]
    return (time.perf_counter() - begun) / (image.size / 1e6)


def measure(words: list[str]) -> tuple[float, float]:
    """Seconds and largest memory in MB of a command."""
    begun = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)} ended with {status}")
    return time.perf_counter() - begun, usage.ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--diameter", default="15")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--network", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.network:
        print(network_alone(given.model, given.diameter))
        return 0
    folder = given.folder or Path(tempfile.mkdtemp())
    own = [sys.executable, __file__, "--network", "--model", given.model, "--diameter", given.diameter]
    a_million = float(subprocess.run(own, capture_output=True, text=True, check=True).stdout)
    print(f"the network alone: {a_million:.3f} s a million pixels\n")
    print("| side | memory, MB | seconds | of the network alone | beyond it | objects |\n|--:|--:|--:|--:|--:|--:|")
    memories, late = [], []
    for side in given.sides:
        image = folder / f"{side}.zarr"
        if not image.exists():
            make(image, side)
        words = [sys.executable, "-m", "contractile.cli", "predict", given.model, str(image), "--out"]
        words += [str(folder / f"out{side}"), "--format", "ome-zarr", "--save", "labels,objects"]
        words += ["--diameter", given.diameter] if given.diameter else []
        seconds, memory = measure(words)
        alone = a_million * side**2 / 1e6
        objects = sum(1 for _ in (folder / f"out{side}" / f"{side}_objects.csv").open()) - 1
        beyond = f"{seconds / alone - 1:+.0%}"
        print(f"| {side} | {memory:.0f} | {seconds:.1f} | {alone:.1f} | {beyond} | {objects} |", flush=True)
        memories.append(memory)
        late += [side] if side >= FAIR and seconds > BEYOND * alone else []
    steady = max(memories) < SAME * min(memories) and max(memories) < MOST_MB
    print(f"\nmemory {'holds' if steady else 'FAILS'}; time {'FAILS at ' + str(late) if late else 'holds'}")
    return 0 if steady and not late else 1


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(main())
