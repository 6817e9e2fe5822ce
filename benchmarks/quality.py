"""How well a model knows the quality of its own results, on images that it never learned from.

    python benchmarks/quality.py MODEL DATA/dsb2018 --others DATA/dic-hela DATA/isbi2012

DATA/... are folders that `splits.py` made. Of the test part: the error of the expected AP of each image and its rank
correlation with the true one, the calibration of confidence (ten bins), how often intervals hold the truth, and how
well images that are changed (darkened, noisy, blurred, rescaled, inverted) or of other sets are told from it (AUROC).
At last the time that this adds to a prediction, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
from annotator import load
from numpy.typing import NDArray
from scipy import ndimage
from scipy.stats import rankdata, spearmanr

from contractile.labels import renumber
from contractile.model import load as load_model
from contractile.prediction import Predictor
from contractile.prediction.blocks import segment
from contractile.prediction.scaling import scaled
from contractile.prediction.unlike import find_unlike
from contractile.quality import Confidence, Known, fit_confidence
from contractile.training.quality import compare

BINS = 10
HALVES = 3  # random halves of the test images that are learned from, too: what more such images would give
Pixels = NDArray[Any]


def auroc(ordinary: list[float], odd: list[float]) -> float:
    """The chance that an odd image has a higher score than an ordinary one."""
    ranks = rankdata(ordinary + odd)
    return float((ranks[len(ordinary) :].sum() - len(odd) * (len(odd) + 1) / 2) / (len(ordinary) * len(odd)))


def calibration_error(chances: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The expected calibration error: |mean chance - share that is right| of ten bins, weighted by their objects."""
    bins = np.minimum((chances * BINS).astype(int), BINS - 1)
    parts = [(bins == one).mean() * abs(chances[bins == one].mean() - right[bins == one].mean()) for one in set(bins)]
    return float(sum(parts))


def changed(pixels: Pixels, rng: np.random.Generator) -> dict[str, Pixels]:
    """An image (C, *S) in five ways that spoil a prediction. Grey values stay of their type."""
    known, low, high = np.iinfo(pixels.dtype), float(pixels.min()), float(pixels.max())

    def stored(values: Any) -> Pixels:
        return np.clip(np.rint(values), known.min, known.max).astype(pixels.dtype)

    values = pixels.astype(np.float64)
    noise = rng.normal(0, 0.2 * (high - low), values.shape)
    return {
        "darkened": stored(low + (values - low) / 8),
        "noisy": stored(values + noise),
        "blurred": stored(ndimage.gaussian_filter(values, (0, 4, 4))),
        "rescaled": stored(ndimage.zoom(values, (1, 3, 3), order=1)),
        "inverted": stored(high - (values - low)),
    }


def score_of(predictor: Predictor, pixels: Pixels) -> float:
    curve = predictor.card.normalization.fit(pixels)
    found = find_unlike(predictor.card, scaled(pixels, 1 / predictor.card.shrunk), curve)
    return np.inf if found is None else found.score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--others", type=Path, nargs="*", default=[])
    given = parser.parse_args()
    predictor = Predictor(load_model(given.model))
    test, card = load(given.data, "test"), predictor.card
    if card.confidence is not None:
        judge_objects(predictor, test)
    rng, ordinary = np.random.default_rng(0), [score_of(predictor, one.pixels) for one in test]
    print(f"unlike: {np.mean(np.array(ordinary) > 1):.3f} of the test images count as such")
    odd: dict[str, list[float]] = {}
    for one in test:
        for name, pixels in changed(one.pixels, rng).items():
            odd.setdefault(name, []).append(score_of(predictor, pixels))
    for place in given.others:
        odd[place.name] = [score_of(predictor, one.pixels) for one in load(place, "test")]
    for name, scores in odd.items():
        print(f"unlike, {name}: AUROC {auroc(ordinary, scores):.3f}, {np.mean(np.array(scores) > 1):.2f} are named")
    time_it(predictor, [one.pixels for one in test])


def judge_objects(predictor: Predictor, test: list[Any]) -> None:
    confidence = predictor.card.confidence
    assert confidence is not None
    found = []
    for one in test:
        field = predictor.probabilities(one.pixels)
        typical = confidence.typical / field.scale ** (field.ndim - 1)
        found.append(compare(segment(field, predictor.card), renumber(one.labels), typical))
    describe(found, confidence, "the model")
    for seed in range(HALVES):
        order = np.random.default_rng(seed).permutation(len(found))
        learned, rest = ([found[index] for index in half] for half in np.array_split(order, 2))
        own = fit_confidence(learned, typical=confidence.typical)
        if own is not None:
            describe(rest, own, f"learned from half of the test images, choice {seed}")


def describe(found: list[Known], confidence: Confidence, title: str) -> None:
    rows = []
    for known in found:
        expected = confidence.expect(known.shown)
        if expected is not None and known.ap is not None:
            total = int(known.right.sum() + known.missed.sum() + known.alone)
            inside = expected.ap_low <= known.ap <= expected.ap_high
            rows.append((expected.ap, known.ap, inside, expected.objects_low <= total <= expected.objects_high))
    means, truths, holds, counts = np.array(rows, float).T
    error, rank = np.abs(means - truths).mean(), spearmanr(means, truths).statistic
    usual = np.abs(truths - np.median(truths)).mean()
    right = np.concatenate([known.right for known in found])
    chances = np.concatenate([confidence.of(known.shown.features) for known in found])
    print(f"{title}: {len(rows)} images, {len(right)} objects")
    print(f"  expected AP: mean absolute error {error:.3f} (of the median {usual:.3f}), Spearman {rank:.3f}", end="; ")
    print(f"the set: expected {means.mean():.3f}, true {truths.mean():.3f}")
    print(f"  intervals hold the AP of {holds.mean():.2f} and the count of {counts.mean():.2f} of the images")
    print(f"  confidence: calibration error {calibration_error(chances, right):.3f}")


def time_it(predictor: Predictor, images: list[Pixels]) -> None:
    """Seconds of a prediction of all images without and with all of this, in turns."""

    def without(pixels: Pixels) -> None:
        np.asarray(segment(predictor.probabilities(pixels), predictor.card))

    def within(pixels: Pixels) -> None:
        curve = predictor.card.normalization.fit(pixels)
        field = predictor.probabilities(pixels, curve=curve)
        find_unlike(predictor.card, scaled(pixels, field.scale), curve)
        found = segment(field, predictor.card)
        np.asarray(found)
        if predictor.card.confidence is not None:
            predictor.card.confidence.expect(found.shown(predictor.card.confidence.typical))

    ratios = [seconds(within, images) / seconds(without, images) for _ in range(5)]
    print(f"time: {statistics.median(ratios):.3f} of that without (median of five turns)")


def seconds(work: Callable[[Pixels], None], images: list[Pixels]) -> float:
    begun = time.perf_counter()
    for pixels in images:
        work(pixels)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
