"""What every tool of `peers.py` is given and gives back, and objects as classes of pixels. Runs without contractile.

A tool that tells classes of pixels apart learns three: background, inside, border. Its objects are the connected
pieces of the inside, grown back over the border. A script of a tool runs in the environment of that tool, where
NumPy, SciPy, scikit-image and tifffile are found.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.measure import label
from skimage.morphology import remove_small_objects
from skimage.segmentation import find_boundaries

Pixels = NDArray[Any]
BACKGROUND, INSIDE, BORDER = 0, 1, 2
THICKNESS = 0.04  # of a border, per square root of the median area of an object


class Task(NamedTuple):
    """Images (Y, X) to learn from, their annotations, and images to predict by name; `seconds` to train."""

    images: list[Pixels]
    truths: list[Pixels]
    tests: dict[str, Pixels]
    membranes: bool
    seconds: float
    out: Path


def read_task() -> Task:
    """The task that the command line names: `--data` holds train_images, train_labels and test_images, TIFFs of a page.

    The annotations are objects by number, or with `--membranes` 0 on a membrane and 1 in a cell.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--membranes", action="store_true")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    images, truths, tests = (
        {path.stem: tifffile.imread(path) for path in sorted((given.data / part).glob("*.tif"))}
        for part in ("train_images", "train_labels", "test_images")
    )
    return Task(list(images.values()), list(truths.values()), tests, given.membranes, given.seconds, given.out)


class Clock:
    """Seconds of training, then of prediction, and how many steps: what a tool tells about its run."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.trained = 0.0
        self.steps = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.begun

    def end_training(self, steps: int) -> None:
        self.trained, self.steps = self.seconds, steps

    def tell(self, out: Path) -> None:
        """Write the file that the caller reads, when all images are predicted."""
        told = {"steps": self.steps, "train_seconds": self.trained, "predict_seconds": self.seconds - self.trained}
        (out / "told.json").write_text(json.dumps(told), encoding="utf-8")


def write_labels(out: Path, name: str, labels: Pixels) -> None:
    """Objects (Y, X) as contractile names them."""
    tifffile.imwrite(out / f"{name}_labels.tif", labels.astype(np.int32))


def write_inside(out: Path, name: str, chances: Pixels) -> None:
    """The probability (Y, X) that a pixel is in a cell, not on a membrane."""
    tifffile.imwrite(out / f"{name}_probabilities.tif", chances.astype(np.float32))


class Classes(NamedTuple):
    """How objects become classes: a border of `thickness` pixels; objects of fewer than `least` pixels are noise."""

    thickness: int
    least: int

    @classmethod
    def of(cls, truths: list[Pixels]) -> Classes:
        """By the sizes of annotated objects: half the smallest one is the least."""
        areas = np.concatenate([np.bincount(one.ravel())[1:] for one in truths])
        areas = areas[areas > 0]
        return cls(max(1, round(THICKNESS * float(np.median(areas)) ** 0.5)), max(1, int(areas.min()) // 2))

    def of_labels(self, labels: Pixels) -> NDArray[np.uint8]:
        """0 background, 1 inside, 2 border. An object that is all border is inside, or it would be lost."""
        inner = labels.copy()
        for _ in range(self.thickness):
            inner[find_boundaries(inner, connectivity=2, mode="inner")] = 0
        lost = np.setdiff1d(labels, inner)
        inside = (inner > 0) | (np.isin(labels, lost) & (labels > 0))
        return np.where(inside, INSIDE, np.where(labels > 0, BORDER, BACKGROUND)).astype(np.uint8)

    def to_labels(self, classes: Pixels) -> NDArray[np.int32]:
        """Connected pieces of the inside, each with the border that is nearest to it, up to twice the thickness."""
        pieces = label(classes == INSIDE, connectivity=1)
        far, nearest = distance_transform_edt(classes != INSIDE, return_indices=True)
        taken = (classes != BACKGROUND) & (far <= 2 * self.thickness)
        grown = np.where(taken, pieces[tuple(nearest)], 0)
        kept: NDArray[np.int32] = remove_small_objects(grown, max_size=self.least - 1).astype(np.int32)
        return kept
