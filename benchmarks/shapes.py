"""Seconds from labels to shapes in a file and back, at 10,000 objects; the labels must come back exactly.

    python benchmarks/shapes.py [--objects 10000] [--repeats 5]

Objects are discs of many sizes, some of which touch. Written is what `predict --save` writes, and read is what LABELS
takes. Exits with 1 where labels differ, or where a format takes longer than 2 seconds (the median of both).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import contractile

contractile.prepare_process()

# isort: split
import numpy as np
from numpy.typing import NDArray

from contractile.images.drawings import Numbering
from contractile.images.shape_files import Canvas, draw_labels
from contractile.labels import boxes, draw, outline
from contractile.prediction.shapes import write_shapes

PROMISED_S = 2.0
SPACING = 40  # pixels between the middles of objects
FORMATS = {"geojson": "a.geojson", "coco": "a.json", "rois": "a.zip"}


def scene(objects: int) -> NDArray[np.int32]:
    """Labels (Y, X) of discs of many sizes on a grid; large ones touch."""
    side = int(np.ceil(objects**0.5))
    rng, labels = np.random.default_rng(0), np.zeros((side * SPACING, side * SPACING), np.int32)
    y, x = np.mgrid[:SPACING, :SPACING] - SPACING / 2 + 0.5
    for number in range(1, objects + 1):
        row, column = divmod(number - 1, side)
        disc = np.hypot(y * rng.uniform(1, 1.5), x) < rng.uniform(8, SPACING / 2 + 1)
        labels[row * SPACING : (row + 1) * SPACING, column * SPACING : (column + 1) * SPACING][disc] = number
    return labels


def table_of(labels: NDArray[np.int32]) -> dict[str, NDArray[np.int64]]:
    """The columns of the table of objects that say where they are."""
    found = boxes(labels)
    table = {"id": np.arange(1, len(found) + 1), "area_px": np.bincount(labels.ravel())[1:]}
    for axis, (low, high) in enumerate((("top", "bottom"), ("left", "right"))):
        table[f"box_{low}_px"] = np.array([box[axis].start for box in found])
        table[f"box_{high}_px"] = np.array([box[axis].stop for box in found])
    return table


def timed(work: Callable[[], object], repeats: int) -> float:
    work()  # compiled, and what it reads is in memory
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    labels = scene(given.objects)
    shape = (labels.shape[0], labels.shape[1])
    table, broken = table_of(labels), False

    def rings() -> NDArray[np.int32]:
        return draw([found for _, found in outline(labels).objects()], shape)

    print(f"{given.objects} objects, {shape[0]} x {shape[1]} pixels, medians of {given.repeats}")
    print("| format | write, s | read, s | both, s | file, MB |\n|---|--:|--:|--:|--:|")
    both = timed(rings, given.repeats)
    broken |= both > PROMISED_S or not np.array_equal(rings(), labels)
    print(f"| outlines in memory | - | - | {both:.2f} | - |")
    with tempfile.TemporaryDirectory() as folder:
        for product, name in FORMATS.items():
            path = Path(folder, name)

            def write(path: Path = path, product: str = product) -> None:
                write_shapes(path, product, [(labels, table)], stack=None, image="a.tif")

            def read(path: Path = path) -> NDArray[np.int32]:
                path.touch()  # what was read of it before is not taken again
                return draw_labels(path, 0, Numbering(), Canvas(shape))

            wrote, took = timed(write, given.repeats), timed(read, given.repeats)
            broken |= wrote + took > PROMISED_S or not np.array_equal(read(), labels)
            print(f"| {product} | {wrote:.2f} | {took:.2f} | {wrote + took:.2f} | {path.stat().st_size / 1e6:.1f} |")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
