"""Does a section get the same result in a large image? A real section, mirrored out, against the section by itself.

    python benchmarks/splits.py isbi2012 DATA --out data/isbi2012
    contractile train data/isbi2012/train_images.tif data/isbi2012/train_labels.tif --out run
    python benchmarks/sections.py DATA run [--section 24] [--side 16384] [--engine auto] [--precision auto]

DATA holds train-volume.tif of ISBI 2012. The section is mirrored as prediction mirrors at the border of an image (edge
pixels are not repeated), again and again, into an OME-Zarr of `side` x `side` pixels, tile by tile. So the network sees
the same around its first pixels as around the section by itself. Both are predicted by `predict_files`, with labels and
probabilities. Compared are the pixels of the section: the largest difference of a probability, pixels with another
class (objects: pixels inside of one image's objects alone), and objects that are not the same pixels in both. Left out
are objects at the right and lower border of the section, which go on in the large image, and objects that touch these.

Grey values follow from a sample of each image, and samples differ a little. So there are two rows: each image with its
own grey values, and both with those of the section, where tiles alone can make a difference. Promised for the second:
all labels are the same, and probabilities differ by rounding alone. Exits with 1 otherwise. Takes 10 GB of disk in
--folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import zarr
from memory import TILE

ROUNDING = {"float32": 1e-5, "bfloat16": 1e-2}  # of probabilities
SIDES = {"own": "each its own", "same": "those of the section"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("model")
    parser.add_argument("--section", type=int, default=24, help="0-29; 24-29 are not learned from")
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--child", choices=SIDES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        do_child(given)
        return 0
    given.folder = given.folder or Path(tempfile.mkdtemp())
    given.folder.mkdir(parents=True, exist_ok=True)
    section = tifffile.imread(given.data / "train-volume.tif", key=given.section)
    write(given.folder / "section.zarr", section, section.shape)
    large = given.folder / f"{given.side}.zarr"
    if not large.exists():
        write(large, section, (given.side, given.side))
    same_curve = tell_grey_values(given)
    print("| grey values | largest difference | pixels of another class | objects | not the same | seconds | MB |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    holds = True
    for kind in SIDES:
        if kind == "same" and same_curve:
            print("\nthe grey values are the same, so that the first row is what is promised")
            break
        holds = run(given, kind, section.shape)
    print(f"\nthe section's result is the same in the large image: {'holds' if holds else 'FAILS'}")
    return 0 if holds else 1


def write(path: Path, section: Any, shape: tuple[int, ...]) -> None:
    """An OME-Zarr of `shape`: the section, and its mirror images beyond it."""
    from contractile.grid import Block, cut

    group = zarr.open_group(path, mode="w")
    array = group.create_array("0", shape=shape, dtype=section.dtype, chunks=(TILE, TILE), overwrite=True)
    for y in range(0, shape[0], TILE):
        for x in range(0, shape[1], TILE):
            read = tuple((start, min(start + TILE, size)) for start, size in zip((y, x), shape, strict=True))
            array[y : y + TILE, x : x + TILE] = cut(section[None], Block(read=read, write=read))[0]
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "yx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [4.0, 4.0]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


def tell_grey_values(given: argparse.Namespace) -> bool:
    """Print by how much the curves of the two images differ; whether they are the same."""
    from contractile.model import load

    normalization = load(given.model).card.normalization
    files = (given.folder / "section.zarr/0", given.folder / f"{given.side}.zarr/0")
    one, two = (normalization.fit(Stacked(zarr.open_array(file, mode="r"))) for file in files)
    low, high = (float(curve.offset[0] + 1 / curve.scale[0]) for curve in (one, two))
    print(f"grey values that become 0 and 1: {one.offset[0]:.2f} and {low:.2f} for the section, ", end="")
    print(f"{two.offset[0]:.2f} and {high:.2f} for the large image\n")
    return bool(one.offset == two.offset and one.scale == two.scale and one.noise == two.noise)


class Stacked:
    """An array (Y, X) on disk as an image (1, Y, X); only what is sliced is read."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype = array, (1, *array.shape), array.dtype

    def __getitem__(self, region: Any) -> Any:
        space = region[1:] if isinstance(region, tuple) else ...
        return np.asarray(self.array[space])[None]


def run(given: argparse.Namespace, kind: str, shape: tuple[int, int]) -> bool:
    """Predict both images in a process of its own, compare the results, print a row. Whether they are the same."""
    words = [sys.executable, __file__, str(given.data), given.model, "--child", kind, "--folder", str(given.folder)]
    words += ["--side", str(given.side), "--engine", given.engine, "--precision", given.precision]
    begun = time.monotonic()
    with (given.folder / "told.txt").open("w") as told:
        process = subprocess.Popen(words, stdout=told, stderr=told)
        _, status, usage = os.wait4(process.pid, 0)
    said = (given.folder / "told.txt").read_text()
    if status:
        raise SystemExit(f"{' '.join(words)} did not end well: {said[-2000:]}")
    seconds, (precision, task) = time.monotonic() - begun, said.split()[-2:]
    out, (height, width) = given.folder / kind, shape
    names = ("section", str(given.side))
    maps = [zarr.open(out / f"{name}_probabilities.zarr/0")[:, :height, :width] for name in names]
    labels = [zarr.open(out / f"{name}_labels.zarr/0")[:height, :width].astype(np.int64) for name in names]
    largest = float(np.abs(maps[0] - maps[1]).max())
    one, two = labels if task == "classes" else [image > 0 for image in labels]
    objects, other = ([], []) if task == "classes" else compare_objects(*labels)
    pixels = int((one != two)[inner(labels)].sum()) if task == "objects" else int((one != two).sum())
    counts = ["", ""] if task == "classes" else [str(len(objects)), str(len(other))]
    cells = [SIDES[kind], f"{largest:.2g}", str(pixels), *counts, f"{seconds:.0f}"]
    print(f"| {' | '.join(cells)} | {usage.ru_maxrss / 1024:.0f} |", flush=True)
    return largest <= ROUNDING[precision] and not pixels and not other


def inner(labels: list[Any]) -> Any:
    """Pixels (Y, X) that belong in neither image to an object at the right or lower border of the section."""
    inside = np.ones(labels[0].shape, bool)
    for image in labels:
        inside &= (image == 0) | ~np.isin(image, np.append(image[-1], image[:, -1]))
    return inside


def compare_objects(one: Any, two: Any) -> tuple[list[int], list[int]]:
    """The objects of one label image that are compared, and those of them that are not the same pixels in the other.

    Those at the right or lower border, and those beside an object that is there, are left out.
    """
    from scipy.ndimage import binary_dilation

    inside = inner([one, two])
    beside = np.unique(one[binary_dilation(~inside)])
    compared = [int(number) for number in np.setdiff1d(one, beside) if number]
    different = []
    for number in compared:
        own = one == number
        theirs = np.unique(two[own])
        if len(theirs) != 1 or theirs[0] == 0 or (two == theirs[0]).sum() != own.sum():
            different.append(number)
    return compared, different


def do_child(given: argparse.Namespace) -> None:
    """Predict both images, with the grey values of each or those of the section; print precision and task."""
    from contractile.process import prepare_process

    prepare_process()
    from contractile.engine import EngineConfig
    from contractile.intensity import Normalization
    from contractile.model import load
    from contractile.prediction import Predictor, predict_files

    engine = EngineConfig(backend=given.engine, precision=given.precision)
    predictor = Predictor(load(given.model), engine=engine)
    images = [given.folder / "section.zarr", given.folder / f"{given.side}.zarr"]
    if given.child == "same":
        curve = predictor.card.normalization.fit(Stacked(zarr.open_array(images[0] / "0", mode="r")))
        Normalization.fit = lambda self, pixels: curve  # type: ignore[method-assign]
    list(predict_files(predictor, images, out=given.folder / given.child, products=("labels", "probabilities"),
                       form="ome-zarr"))  # fmt: skip
    assert predictor.placed is not None
    print(predictor.placed.precision, predictor.card.task)


if __name__ == "__main__":
    sys.exit(main())
