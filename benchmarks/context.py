"""Do the pages before and after help? A network that sees three pages beside one that sees one, after equal steps.

    python benchmarks/splits.py isbi2012 DATA --out data/isbi2012
    python benchmarks/context.py isbi2012 data/isbi2012 --steps 300 --seeds 0 1 2 [--ways alone quiet]

- `alone`: the default network, one page.
- `pages`: the page, the one before and the one after are three channels, mirrored at the ends.
- `aligned`: the same; each neighbour is first moved onto the page by its optical flow (TV-L1 of scikit-image).
- `quiet`: as `aligned`, and the first layer starts with zeros for the neighbours, so that learning begins as `alone`.
- `volume`: the pages are one volume of coarse planes (--coarse), and the network is the default one for 3-D. Its
  steps are others: compare seconds.

The pages of the test part are neighbours of one another only, and so are those of the training part. Rows are added to
--out as lines of JSON; rows that are there already are not measured again. One thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import rows
import torch
from annotator import load
from numpy.typing import NDArray
from skimage.registration import optical_flow_tvl1
from skimage.transform import warp

from contractile.dataset import Example, Samples, split
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import renumber
from contractile.prediction import Predictor
from contractile.recipe import derive
from contractile.training.norms import count_batches, measure_statistics
from contractile.training.origin import describe, trace
from contractile.training.state import State, begin, launch, take_step
from contractile.training.validation import Validation

WAYS = ("alone", "pages", "aligned", "quiet", "volume")
SCORES = {"isbi2012": ("v_rand", "v_info"), "phc-u373": ("seg", "ap")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=SCORES)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--coarse", type=float, default=12.5, help="distance of pages in pixels of a page")
    parser.add_argument("--out", type=Path, default=Path("runs/context.jsonl"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    known, test = load(given.data, "train"), load(given.data, "test")
    for seed in given.seeds:
        for way in given.ways:
            row = {"dataset": given.dataset, "way": way, "seed": seed, "steps": given.steps}
            if not rows.is_there(given.out, row):
                rows.add(given.out, row | measure(given, way, seed, known, test))


def measure(
    given: argparse.Namespace, way: str, seed: int, known: Sequence[Example], test: Sequence[Example]
) -> dict[str, Any]:
    """Train and score one way: cells of a row."""
    known, seen = arrange(known, way, given.coarse), arrange(test, way, given.coarse)
    training, validation = split(known, 0.1)
    changes: dict[str, Any] = {"steps": given.steps, "seed": seed}
    if way == "volume":
        changes |= {"network": {"dims": 3}}
    recipe = derive(training, changes)
    samples = Samples(training, recipe.targets, recipe.samples, seed=seed)
    state = begin(recipe, launch(recipe))
    if way == "quiet":
        silence(state)
    begun = time.process_time()
    for number in range(given.steps):
        take_step(state, samples.batch(number))
    seconds = time.process_time() - begun
    model = state.model(describe(recipe, training, validation, trace(recipe, training, validation)))
    images = (samples.batch(number).image for number in range(count_batches(model.network, state.step)))
    measure_statistics(model.network, images, shared=recipe.network.symmetry == "square")
    model, _ = Validation(recipe, validation, training).conclude(model)
    predictor = Predictor(model)
    maps = [np.asarray(predictor.probabilities(one.pixels)) for one in seen]
    return {"seconds": round(seconds), **score(given.dataset, way, predictor, maps, test)}


def score(
    dataset: str, way: str, predictor: Predictor, maps: Sequence[NDArray[np.float32]], test: Sequence[Example]
) -> dict[str, float]:
    """Scores of the pages, one by one."""
    if way == "volume":
        maps = [maps[0][:, number] for number in range(len(test))]
    classes = predictor.card.task == "classes"
    found = list(maps) if classes else [predictor.decode(one) for one in maps]
    truths = [(one.labels > 0).astype(np.int32) if classes else renumber(one.labels) for one in test]
    config = EvaluateConfig(objects=not classes, resamples=0)
    summary = evaluate(found, truths, scores=SCORES[dataset], config=config).summary
    return {name: round(summary[name].value, 4) for name in SCORES[dataset]}


def arrange(pages: Sequence[Example], way: str, coarse: float) -> list[Example]:
    """Pages, in the order of their names, as a way has them seen."""
    if way == "alone":
        return list(pages)
    if way == "volume":
        pixels = np.stack([one.pixels for one in pages], axis=1)  # (C, Z, Y, X)
        return [Example("pages", pixels, np.stack([one.labels for one in pages]), (coarse, 1.0, 1.0))]
    last, together = len(pages) - 1, []
    for number, one in enumerate(pages):
        others = [pages[abs(number - 1)], pages[last - abs(last - number - 1)]]
        near = [each.pixels if way == "pages" else align(each.pixels, one.pixels) for each in others]
        together.append(replace(one, pixels=np.concatenate([one.pixels, *near])))
    return together


def align(moving: NDArray[Any], fixed: NDArray[Any]) -> NDArray[Any]:
    """A page (1, Y, X) moved onto another one."""
    low, high = np.percentile(fixed, (1, 99))
    first, second = ((one[0].astype(np.float32) - low) / max(high - low, 1) for one in (fixed, moving))
    rows, columns = optical_flow_tvl1(first, second)
    grid = np.indices(first.shape).astype(np.float32)
    moved = warp(moving[0].astype(np.float32), grid + np.stack([rows, columns]), mode="reflect", order=1)
    return moved[None].astype(moving.dtype)


@torch.no_grad()
def silence(state: State) -> None:
    """Zeros for the neighbours in the first layer."""
    for parameter in state.network.contract[0][0].parameters():
        if parameter.ndim > 2:
            parameter[:, 1:] = 0


if __name__ == "__main__":
    main()
