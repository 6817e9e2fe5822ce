"""Do holes in objects, filled after decoding, bring outlines nearer to the truth?

    python benchmarks/holes.py MODEL data/phc-u373 [--test 20]

DATA is the folder that `splits.py` made; the test part is read. A hole is background that an object encloses, and it is
filled where it is smaller than a share of the object. For each share: AP at IoU 0.5 and 0.75, SEG and PQ, and how many
holes were filled. The last row says how many holes the annotated objects have.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
from accuracy import value
from annotator import load as load_part
from numpy.typing import NDArray
from scipy import ndimage

from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import boxes, renumber
from contractile.model import load
from contractile.prediction import Predictor

SHARES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("--test", type=int, default=56, help="at most so many images, evenly spaced")
    given = parser.parse_args()
    examples, predictor = load_part(given.data, "test", given.test), Predictor(load(given.model))
    truths = [renumber(one.labels) for one in examples]
    found = [predictor.decode(np.asarray(predictor.probabilities(one.pixels))) for one in examples]
    config = EvaluateConfig.model_validate({"dims": 2, "objects": True, "resamples": 0})
    for share in SHARES:
        pairs = [fill(labels, share) for labels in found]
        scored = evaluate([labels for labels, _ in pairs], truths, scores=["ap", "seg", "pq"], config=config)
        scores = ", ".join(f"{name} {value(scored, name):.3f}" for name in ("ap", "ap75", "seg", "pq"))
        print(f"holes below {share:4.0%} of the object: {scores}, {sum(n for _, n in pairs)} filled")
    objects = sum(int(labels.max()) for labels in truths)
    small, every = (sum(fill(labels, share)[1] for labels in truths) for share in (0.03, 1.0))
    print(f"truth: {objects} objects, {small} holes below 3 % of the object, {every} holes in all")


def fill(labels: NDArray[np.int32], share: float) -> tuple[NDArray[np.int32], int]:
    """Labels (Y, X) whose objects have no holes below this share of their size, and how many holes were filled."""
    filled, number = labels.copy(), 0
    for each, box in enumerate(boxes(labels), start=1):
        own = labels[box] == each
        holes, count = ndimage.label(ndimage.binary_fill_holes(own) & ~own)
        for hole in range(1, count + 1):
            pixels = holes == hole
            if pixels.sum() < share * own.sum() and not labels[box][pixels].any():
                filled[box][pixels] = each
                number += 1
    return filled, number


if __name__ == "__main__":
    main()
