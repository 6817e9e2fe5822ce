"""The splits that results are quoted on: what is learned from, and what is scored.

    python benchmarks/splits.py isbi2012 DATA --out data/isbi2012

DATA is the folder that holds the dataset as its providers publish it. Contiguous blocks, never a random
choice: neighbouring sections and frames look alike. `out` gets train_images, train_labels, test_images and
test_labels: stacks for isbi2012, folders for the others.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Container
from pathlib import Path

import tifffile

ISBI_BLOCKS = {"train": slice(0, 24), "test": slice(24, 30)}


def split_isbi2012(data: Path, out: Path, *, sections: int = 24) -> None:
    """The 30 sections: the last `sections` of 0-23 to learn from, 24-29 to score on."""
    for kind, name in (("images", "train-volume.tif"), ("labels", "train-labels.tif")):
        stack = tifffile.imread(data / name)
        for part, pages in ISBI_BLOCKS.items():
            block = stack[pages][-sections:] if part == "train" else stack[pages]
            tifffile.imwrite(out / f"{part}_{kind}.tif", block, photometric="minisblack")


def split_dic_hela(data: Path, out: Path) -> None:
    """Sequence 01 with silver truth: the 15 even frames 0-28 to learn from, 32-41 to score on."""
    for part, frames in {"train": range(0, 29, 2), "test": range(32, 42)}.items():
        _copy(data / "01", out / f"{part}_images", frames)
        _copy(data / "01_ST" / "SEG", out / f"{part}_labels", frames)


def split_phc_u373(data: Path, out: Path) -> None:
    """Sequence 02: frames 0-34 with silver truth to learn from, those of 40-59 that have gold truth to score on."""
    gold = data / "02_GT" / "SEG"
    scored = [frame for frame in map(_number, sorted(gold.iterdir())) if 40 <= frame <= 59]
    for part, frames, labels in (("train", range(35), data / "02_ST" / "SEG"), ("test", scored, gold)):
        _copy(data / "02", out / f"{part}_images", frames)
        _copy(labels, out / f"{part}_labels", frames)


def split_dsb2018(data: Path, out: Path) -> None:
    """The dataset's own folders: train to learn from, val to score on."""
    for part, folder in {"train": "train", "test": "val"}.items():
        for kind in ("images", "labels"):
            shutil.copytree(data / folder / kind, out / f"{part}_{kind}", dirs_exist_ok=True)


def _copy(source: Path, to: Path, frames: Container[int]) -> None:
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if _number(path) in frames:
            shutil.copy(path, to)


def _number(path: Path) -> int:
    """The frame in t007.tif or man_seg007.tif."""
    return int(re.findall(r"\d+", path.stem)[-1])


SPLITS = {
    "isbi2012": split_isbi2012,
    "dic-hela": split_dic_hela,
    "phc-u373": split_phc_u373,
    "dsb2018": split_dsb2018,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=SPLITS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    SPLITS[arguments.dataset](arguments.data, arguments.out)


if __name__ == "__main__":
    main()
