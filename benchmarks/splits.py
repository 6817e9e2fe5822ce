"""Write the fixed training and test splits of the benchmark datasets as plain files.

    python benchmarks/splits.py isbi2012 DATA --out data/isbi2012

DATA is the folder that holds the dataset as its providers publish it. Contiguous blocks, never a random
choice: neighbouring sections and frames look alike.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import tifffile

ISBI_BLOCKS = {"train": slice(0, 24), "test": slice(24, 30)}


def split_isbi2012(data: Path, out: Path) -> None:
    """The 30 sections: 0-23 to learn from, 24-29 to score on."""
    for kind, name in (("images", "train-volume.tif"), ("labels", "train-labels.tif")):
        stack = tifffile.imread(data / name)
        for part, pages in ISBI_BLOCKS.items():
            tifffile.imwrite(out / f"{part}_{kind}.tif", stack[pages], photometric="minisblack")


SPLITS = {"isbi2012": split_isbi2012}


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
