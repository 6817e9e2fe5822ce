"""What a 3-D network learns from one volume, scored on another one. Prints a row for each seed.

    python benchmarks/volumes.py --minutes 5 [--coarse 4] [--annotated every-10th] [--set network.width=24]
    python benchmarks/volumes.py --steps 100 --seeds 0 1 2

The volumes are drawn: touching cells of about 14 pixels (--radius 7) in 100 x 100 x 100 pixels, blurred and noisy.
With --coarse n, planes lie n times as far apart as the pixels of a plane, and the size of pixels says so. With
--annotated every-10th, only every tenth plane has labels (Cicek et al. 2016, doi:10.1007/978-3-319-46723-8_49).
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
from scipy import ndimage

from contractile.dataset import Example, split
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import renumber
from contractile.prediction import Predictor
from contractile.recipe import derive, merge
from contractile.synthetic import SceneConfig, draw_scene
from contractile.training import fit

SIDE, TEST_SEED = 100, 10**6
SPREAD = 1.5  # sigma of the blur along Z, in planes of a coarse volume, times a half
SCORES = ("ap", "pq", "seg", "iou")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--radius", type=float, default=7.0, help="of the cells, in pixels")
    parser.add_argument("--coarse", type=int, default=1, help="distance of planes in pixels of a plane")
    parser.add_argument("--annotated", choices=("all", "every-10th"), default="all")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="such as network.width=24")
    given = parser.parse_args()
    print(f"| seed | steps | training, s | {' | '.join(SCORES)} | objects |\n|--:|--:|--:|{'--:|' * len(SCORES)}--:|")
    for seed in given.seeds:
        print(f"| {' | '.join(measure(given, seed))} |", flush=True)


def measure(given: argparse.Namespace, seed: int) -> list[str]:
    """The cells of a row."""
    example, other = (draw(given.radius, given.coarse, one) for one in (seed, TEST_SEED + seed))
    if given.annotated != "all":
        labels = np.full_like(example.labels, -1)
        step = max(1, 10 // given.coarse)
        labels[::step] = example.labels[::step]
        example = Example(example.name, example.pixels, labels, example.pixel_size_um)
    changes: Any = {"steps": given.steps} if given.steps else {"minutes": given.minutes}
    changes |= {"seed": seed, "network": {"dims": 3}}
    for assignment in given.set:
        changes = merge(changes, tomllib.loads(assignment))
    recipe = derive([example], changes)
    training, validation = split([example], recipe.val_fraction, recipe.targets)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        run = fit(training, validation, recipe, folder=Path(folder))
    seconds = time.monotonic() - begun
    predicted = Predictor(run.model).segment(other.pixels)
    config = EvaluateConfig(dims=3, objects=True, resamples=0)
    summary = evaluate(predicted, other.labels, scores=SCORES, config=config).summary
    scores = [f"{summary[name].value:.3f}" for name in SCORES]
    return [f"{seed}", f"{run.recipe.steps}", f"{seconds:.0f}", *scores, f"{predicted.max()} of {other.labels.max()}"]


def draw(radius: float, coarse: int, seed: int) -> Example:
    """A volume, and the same seen in planes that lie `coarse` pixels apart."""
    config = SceneConfig(shape=(SIDE, SIDE, SIDE), radius=radius, coverage=0.35)
    image, labels = draw_scene(config, np.random.default_rng(seed))
    pixels = image if image.ndim == 4 else image[None]
    if coarse > 1:
        pixels = ndimage.gaussian_filter1d(pixels, SPREAD * coarse / 2, axis=1)[:, ::coarse]
        labels = renumber(labels[::coarse])
    return Example(f"volume {seed}", pixels, labels, (float(coarse), 1.0, 1.0))


if __name__ == "__main__":
    main()
