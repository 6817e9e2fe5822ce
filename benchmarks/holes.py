"""Do holes in objects, filled after decoding, bring outlines nearer to the truth?

    python benchmarks/holes.py MODEL data/phc-u373 [--test 20]

DATA is the folder that `splits.py` made; the test part is read. A hole is background that an object encloses, and it is
filled where it is smaller than a share of the object. For each share: AP at IoU 0.5 and 0.75, SEG and PQ, and how many
holes were filled. The last rows say how many holes the annotated objects have, and of what size.
"""

from __future__ import annotations

import argparse
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
    examples = load_part(given.data, "test")
    examples = examples[:: -(-len(examples) // given.test)]
    truths, model = [renumber(one.labels) for one in examples], load(given.model)
    predictor = Predictor(model)
    found = [decode_objects(predictor.probabilities(one.pixels), model.card.decoding) for one in examples]
    config = EvaluateConfig.model_validate({"dims": 2, "objects": True, "resamples": 0})
    for share in SHARES:
        pairs = [fill(labels, share) for labels in found]
        scored = evaluate([labels for labels, _ in pairs], truths, scores=["ap", "seg", "pq"], config=config).summary
        detail = scored["ap"].detail
        levels = dict(zip(detail["iou"], detail["by_iou"], strict=True))
        print(
            f"holes below {share:4.0%} of the object: AP {levels[0.5]:.3f} / {levels[0.75]:.3f}, "
            f"SEG {scored['seg'].value:.3f}, PQ {scored['pq'].value:.3f}, {sum(n for _, n in pairs)} filled"
        )
    counts = [fill(labels, share)[1] for labels in truths for share in (0.03, 1.0)]
    objects = sum(int(labels.max()) for labels in truths)
    print(f"truth: {objects} objects, {sum(counts[::2])} holes below 3 % of theirs, {sum(counts[1::2])} in all")


def fill(labels: NDArray[np.int32], share: float) -> tuple[NDArray[np.int32], int]:
    """Labels (Y, X) whose objects have no holes below this share of their size, and how many holes were filled."""
    filled, number = labels.copy(), 0
    for value, box in enumerate(boxes(labels), start=1):
        own = labels[box] == value
        holes, count = ndimage.label(ndimage.binary_fill_holes(own) & ~own)
        for hole in range(1, count + 1):
            pixels = holes == hole
            if pixels.sum() < share * own.sum() and not labels[box][pixels].any():
                filled[box][pixels] = value
                number += 1
    return filled, number


if __name__ == "__main__":
    main()
