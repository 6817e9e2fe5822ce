"""Can a 3-D network learn touching objects from every tenth plane of a volume? Prints one row per seed.

    python benchmarks/planes.py --steps 200 --seeds 0

A synthetic volume of 40 x 96 x 96 is annotated in planes 0, 10, 20 and 30; an object keeps its number through them. The
network is scored on the complete truth of the same volume, most of which it never learned from.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

import numpy as np

from contractile.dataset import Example, split
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.prediction import Predictor
from contractile.recipe import derive
from contractile.synthetic import SceneConfig, draw_scene
from contractile.training import fit

SCORES = ("iou", "f1", "pq", "seg")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    arguments = parser.parse_args()
    print(f"| seed | steps | {' | '.join(SCORES)} |\n|--:|--:|{'--:|' * len(SCORES)}")
    for seed in arguments.seeds:
        print(f"| {seed} | {arguments.steps} | {' | '.join(score(seed, arguments.steps))} |", flush=True)


def score(seed: int, steps: int) -> list[str]:
    """Scores, as text, of a network that learned from every tenth plane of a volume."""
    image, truth = draw_scene(SceneConfig(shape=(40, 96, 96), radius=12), np.random.default_rng(seed))
    labels = np.full_like(truth, -1)
    labels[::10] = truth[::10]
    examples = [Example("volume", image, labels)]
    recipe = derive(examples, {"steps": steps, "seed": seed, "samples": {"batch": 1}})
    training, validation = split(examples, recipe.val_fraction, recipe.targets)
    with tempfile.TemporaryDirectory() as folder:
        run = fit(training, validation, recipe, folder=Path(folder))
    predicted = Predictor(run.model).segment(image)
    config = EvaluateConfig(dims=3, objects=True, resamples=0)
    summary = evaluate(predicted, truth, scores=SCORES, config=config).summary
    return [f"{summary[name].value:.3f}" for name in SCORES]


if __name__ == "__main__":
    main()
