"""How exact can outlines be? The outlines of a model beside those that people drew, and what their habits cost.

    python benchmarks/outlines.py MODEL data/dsb2018 [--test 56]

DATA is the folder that `splits.py` made; the test part is read. Four rows, with AP at IoU 0.5, 0.75 and 0.9 over the
objects of all images:

- `model`: objects as the model decodes them.
- `one threshold for each image`: of each image, the threshold that its own truth likes best (the mean of the three).
  No network can know it from the image if it is a habit of whoever drew the outlines.
- `truth, moved as people differ`: the true objects, all outlines of an image moved outwards by one distance. It is
  drawn from a normal distribution with the spread that is measured between images (below), three times; the mean.
  A second annotator who differs from the first as images of this set differ from one another would score so.
- `truth, moved by half a pixel`: the same with half a pixel, inwards and outwards in turn.

Distances are those between circles of the same area, of objects that match at an IoU of 0.5: first the median of each
image, of which mean and standard deviation between images are printed, then what is left within images. The spread
between images holds errors of the network as well as habits of people, so the third row is rather too low.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
from annotator import load as load_part
from numpy.typing import NDArray
from scipy import ndimage

from contractile.decode import decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import renumber
from contractile.metrics.contingency import select_objects, tabulate
from contractile.model import load
from contractile.prediction import Predictor

LEVELS = (0.5, 0.75, 0.9)
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
FINER = 8  # outlines are moved on a grid so many times finer
DRAWN = 3
Labels = NDArray[np.int32]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--test", type=int, default=56, help="at most so many images, evenly spaced")
    given = parser.parse_args()
    examples = load_part(given.data, "test", given.test)
    truths, model = [renumber(one.labels) for one in examples], load(given.model)
    predictor, decoding = Predictor(model), model.card.decoding
    maps = [np.asarray(predictor.probabilities(one.pixels)) for one in examples]
    found = [decode_objects(one, decoding) for one in maps]
    print("| objects | AP at 0.5 | 0.75 | 0.9 |\n|---|--:|--:|--:|")
    show("model", rate(found, truths))
    best = []
    for each, truth in zip(maps, truths, strict=True):
        tried = [decode_objects(each, decoding.model_copy(update={"threshold": one})) for one in THRESHOLDS]
        best.append(max(tried, key=lambda labels, truth=truth: np.mean(rate([labels], [truth]))))
    show("one threshold for each image", rate(best, truths))
    steps = [distances(labels, truth) for labels, truth in zip(found, truths, strict=True)]
    medians = np.array([np.median(one) for one in steps if len(one)])
    within = np.concatenate([one - np.median(one) for one in steps if len(one)])
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(DRAWN):
        by = rng.normal(0, medians.std(), len(truths))
        rows.append(rate([move(truth, one) for truth, one in zip(truths, by, strict=True)], truths))
    show("truth, moved as people differ", np.mean(rows, axis=0))
    turns = [0.5 if number % 2 else -0.5 for number in range(len(truths))]
    show("truth, moved by half a pixel", rate([move(t, by) for t, by in zip(truths, turns, strict=True)], truths))
    print(f"\noutlines of the model lie {medians.mean():+.2f} pixels outside (median of an image; standard deviation")
    print(f"between images {medians.std():.2f}, within images {within.std():.2f}); true objects have a median area of")
    print(f"{np.median(np.concatenate([np.bincount(t.ravel())[1:] for t in truths])):.0f} pixels")


def rate(found: Sequence[Labels], truths: Sequence[Labels]) -> list[float]:
    """AP at each of LEVELS, over the objects of all images; 0 where there is none."""
    config = EvaluateConfig(objects=True, resamples=0)
    detail = evaluate(list(found), list(truths), scores=("ap",), config=config).summary["ap"].detail
    by_iou = dict(zip(detail["iou"], detail["by_iou"], strict=True))
    return [float(by_iou[level] or 0.0) for level in LEVELS]


def show(name: str, values: Sequence[float]) -> None:
    print(f"| {name} | {' | '.join(f'{one:.3f}' for one in values)} |", flush=True)


def distances(labels: Labels, truth: Labels) -> NDArray[np.float64]:
    """How many pixels each matched object is larger than the true one, as radii of circles of the same area."""
    table = select_objects(tabulate(labels, truth))
    hits = table.iou >= LEVELS[0]
    radii = [np.sqrt(sizes / np.pi) for sizes in (table.pred_sizes, table.true_sizes)]
    return np.asarray(radii[0][table.cols[hits]] - radii[1][table.rows[hits]], np.float64)


def move(truth: Labels, by: float) -> Labels:
    """True objects (*S) whose outlines are moved outwards by so many pixels; no pixel of another object is taken."""
    moved = np.zeros_like(truth)
    reach = int(np.ceil(abs(by))) + 1
    padded = np.pad(truth, reach)
    for number, box in enumerate(ndimage.find_objects(padded), start=1):
        around = tuple(slice(max(0, side.start - reach), side.stop + reach) for side in box)
        fine = np.kron(padded[around] == number, np.ones((FINER, FINER), bool))
        outside, inside = ndimage.distance_transform_edt(~fine), ndimage.distance_transform_edt(fine)
        grown = np.where(fine, -inside, outside) <= by * FINER
        rows, columns = (side // FINER for side in grown.shape)
        share = grown.reshape(rows, FINER, columns, FINER).mean(axis=(1, 3))
        place = tuple(slice(side.start - reach, side.stop - reach) for side in around)
        clipped = tuple(slice(max(0, s.start), min(n, s.stop)) for s, n in zip(place, truth.shape, strict=True))
        part = share[tuple(slice(c.start - p.start, c.stop - p.start) for c, p in zip(clipped, place, strict=True))]
        free = (truth[clipped] == number) | ((truth[clipped] == 0) & (moved[clipped] == 0))
        moved[clipped][(part >= 0.5) & free] = number
    return moved


if __name__ == "__main__":
    main()
