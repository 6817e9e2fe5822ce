"""Does a change of the code change a prediction? Predicts with two states of the package and compares.

    git worktree add /tmp/before COMMIT
    python benchmarks/same.py /tmp/before/src IMAGE... --models nuclei runs/isbi/run --options= --options=--tta

Both states run `contractile predict` in float32 with PyTorch on the processor, on the same images and model files. The
largest difference of a probability must stay under 1e-5, and every label must be the same. Exits with 1 otherwise.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tifffile

HERE = Path(__file__).parents[1] / "src"
EXACT = ("--engine", "torch", "--precision", "float32", "--device", "cpu", "--save", "labels,probabilities")
ALLOWED = 1e-5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the src folder of another state of the package")
    parser.add_argument("images", nargs="+")
    parser.add_argument("--models", nargs="+", default=["nuclei"])
    parser.add_argument("--options", action="append", help="of contractile predict, one run for each --options=")
    arguments = parser.parse_args()
    same = True
    print("| model | options | image | largest difference | labels that differ |\n|---|---|---|--:|--:|")
    for model in arguments.models:
        for options in arguments.options or [""]:
            with tempfile.TemporaryDirectory() as folder:
                outs = [Path(folder, name) for name in ("before", "now")]
                for source, out in zip((arguments.before, HERE), outs, strict=True):
                    predict(source, model, arguments.images, options, out)
                for file in sorted(outs[0].glob("*_labels.tif")):
                    maps = file.name.replace("_labels", "_probabilities")
                    one, other = (tifffile.imread(out / maps) for out in outs)
                    difference = float(np.abs(one - other).max())
                    changed = int((tifffile.imread(file) != tifffile.imread(outs[1] / file.name)).sum())
                    print(f"| {Path(model).name} | {options} | {file.name[:40]} | {difference:.1e} | {changed} |")
                    same = same and difference <= ALLOWED and changed == 0
    sys.exit(0 if same else 1)


def predict(source: Path, model: str, images: list[str], options: str, out: Path) -> None:
    command = [sys.executable, "-m", "contractile.cli", "predict", model, *images, "--out", str(out), *EXACT]
    environment = {**os.environ, "PYTHONPATH": str(source.resolve())}
    subprocess.run([*command, *shlex.split(options)], check=True, env=environment, capture_output=True)


if __name__ == "__main__":
    main()
