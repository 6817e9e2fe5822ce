"""How objects of a trained network are decoded: by score alone, and as training chooses. One row for each way.

    python benchmarks/decodings.py data/dic-hela RUN [RUN ...]
    python benchmarks/decodings.py data/dsb2018 MODEL --choice 2 --pasted 9 --evidence 0.5 0.9

DATA is the folder that `splits.py` made, and each RUN a model of objects that learned from its training part with the
usual tenth held out. The decoding is chosen on that tenth, anew, and scored on the test part. With --choice the model
learned from this choice of an image alone (`one_image.py`, `accuracy.py --annotated 1 --choice N`), with so many copies
pasted: a fifth of the image chooses. --evidence is by how many objects another decoding must be better than the first
one; `inf` keeps the first. With --core, the first one with each of these probabilities of a core is scored, too, not
splitting cores; with --split also with cores that are split into pieces of these shares of the median object.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
from annotator import load as load_part

from contractile.dataset import Example, pasted_copies, split
from contractile.decode import Decoding, decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import object_sizes, renumber
from contractile.model import load
from contractile.prediction import Predictor
from contractile.recipe import derive
from contractile.training.decoding import EVIDENCE, choose_decoding, first_decoding

SCORES = ("ap", "seg", "pq")
HELD_OUT = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--choice", type=int, help="the models learned from this choice of one image")
    parser.add_argument("--pasted", type=int, default=0, help="samples.pasted of these models")
    parser.add_argument("--evidence", type=float, nargs="+", default=[EVIDENCE])
    parser.add_argument("--core", type=float, nargs="+", default=[])
    parser.add_argument("--split", type=float, nargs="+", default=[])
    parser.add_argument("--test", type=int, default=1000, help="at most so many test images, evenly spaced")
    given = parser.parse_args()
    known, test = load_part(given.data, "train"), load_part(given.data, "test", given.test)
    known, seen, copies = hold_out(known, given)
    truths, true = [one.labels for one in (*seen, *copies)], [renumber(one.labels) for one in test]
    first, objects = first_decoding([one.labels for one in known]), len(object_sizes(truths[: len(seen)]))
    ways = [("by score alone", None, 0.0), *((f"evidence {n:g}", first, n / objects) for n in given.evidence)]
    median = float(np.median(object_sizes([one.labels for one in known])))
    for core in given.core:
        for share in (0.0, *given.split):
            changed = first.model_copy(update={"core": core, "split": round(share * median)})
            ways.append((f"core {core:g}" + (f", split {share:g}" if share else ""), changed, math.inf))
    config = EvaluateConfig(objects=True, resamples=0)
    print(f"| run | way | {' | '.join(SCORES)} | {', '.join(Decoding.model_fields)} |\n|---|---|{'--:|' * 3}---|")
    for run in given.runs:
        predictor = Predictor(load(run))
        parts = (test, [*seen, *copies])
        maps, looked_at = ([np.asarray(predictor.probabilities(one.pixels)) for one in part] for part in parts)
        for way, start, least in ways:
            decoding = choose_decoding(looked_at, truths, score="pq", first=start, least=least)
            found = evaluate(
                [decode_objects(one, decoding) for one in maps], true, scores=SCORES, config=config
            ).summary
            values = " | ".join(f"{found[name].value:.3f}" for name in SCORES)
            print(f"| {run} | {way} | {values} | {', '.join(map(str, decoding.model_dump().values()))} |", flush=True)


def hold_out(known: list[Example], given: argparse.Namespace) -> tuple[list[Example], list[Example], list[Example]]:
    """What was annotated, the part of it that chooses, and copies of this part with pasted objects."""
    if given.choice is None:
        return known, split(known, HELD_OUT)[1], []
    known = sorted(known, key=lambda one: one.name)
    one = known[np.random.default_rng(given.choice).permutation(len(known))[0]]
    recipe = derive([one], {"steps": 1, "samples": {"pasted": given.pasted}})
    seen = split([one], HELD_OUT)[1]
    return [one], seen, pasted_copies(seen, recipe.targets, recipe.samples, seed=recipe.seed)


if __name__ == "__main__":
    main()
