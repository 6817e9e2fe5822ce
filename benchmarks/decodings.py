"""How objects of a trained network are decoded: by score alone, and as training chooses. One row for each way.

    python benchmarks/decodings.py data/dic-hela RUN [RUN ...]

DATA is the folder that `splits.py` made, and each RUN a model of objects that learned from its training part with the
usual tenth held out. The decoding is chosen on that tenth, anew, and scored on the test part.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
from annotator import load as load_part

from contractile.dataset import split
from contractile.decode import decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import object_sizes, renumber
from contractile.model import load
from contractile.prediction import Predictor
from contractile.training.decoding import EVIDENCE, choose_decoding, first_decoding

SCORES = ("ap", "seg", "pq")
HELD_OUT = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args()
    known, test = load_part(given.data, "train"), load_part(given.data, "test")
    seen = split(known, HELD_OUT)[1]
    truths, true = [one.labels for one in seen], [renumber(one.labels) for one in test]
    first, objects = first_decoding([one.labels for one in known]), len(object_sizes(truths))
    config = EvaluateConfig(objects=True, resamples=0)
    print(f"| run | way | {' | '.join(SCORES)} | threshold, core, smooth, min_size, sure |\n|---|---|{'--:|' * 3}---|")
    for run in given.runs:
        predictor = Predictor(load(run))
        maps, looked_at = ([np.asarray(predictor.probabilities(one.pixels)) for one in part] for part in (test, seen))
        for way, start, least in (("by score alone", None, 0.0), ("chosen", first, EVIDENCE / objects)):
            decoding = choose_decoding(looked_at, truths, score="pq", first=start, least=least)
            found = evaluate(
                [decode_objects(one, decoding) for one in maps], true, scores=SCORES, config=config
            ).summary
            values = " | ".join(f"{found[name].value:.3f}" for name in SCORES)
            print(f"| {run} | {way} | {values} | {', '.join(map(str, decoding.model_dump().values()))} |", flush=True)


if __name__ == "__main__":
    main()
