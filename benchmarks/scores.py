"""How fast the scores are, beside reference implementations in the same run.

    python benchmarks/scores.py [--side 4096] [--objects 5000] [--slices 30] [--isbi FOLDER]

- matching at ten IoU levels against StarDist's `matching` called once per level (where the package
  `stardist` is installed, otherwise the same computation written out: a dense table of overlaps, a dense
  IoU matrix and one Hungarian assignment per level), with the growth of memory of each;
- V_Rand and V_Info after thinning over a stack and eleven thresholds, beside the same scores with
  scikit-image's watershed (which differs in the digits: it floods in another order);
- adapted Rand error and variation of information beside scikit-image's.

`--isbi` names a folder with `train-labels.tif` of ISBI 2012; synthetic membranes otherwise. Compilation
(once per machine, cached on disk) is timed apart.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
from ratios import judge
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from contractile.metrics import isbi, matching, overlap
from contractile.metrics.contingency import select_objects, tabulate


def take_time(label: str, function: Callable[[], Any], repeats: int = 1) -> tuple[float, Any]:
    """Best of some runs, printed; -> seconds, result."""
    seconds = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(repeats):
        start = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - start)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"  {label:<58} {min(seconds):9.3f} s   peak memory +{grown:.0f} MiB", flush=True)
    return min(seconds), result


def draw_labels(side: int, objects: int, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """About `objects` touching cells: the nearest of jittered grid points, with some background."""
    per_side = round(objects**0.5)
    step = side / per_side
    grid = (np.indices((per_side, per_side)).reshape(2, -1).T + 0.5) * step
    seeds = np.zeros((side, side), np.int32)
    points = np.clip(grid + rng.uniform(-step / 4, step / 4, grid.shape), 0, side - 1).astype(int)
    seeds[tuple(points.T)] = np.arange(1, len(points) + 1)
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    labels = seeds[tuple(nearest)]
    labels[distance > step * 0.55] = 0
    return labels


@numba.njit(cache=True)
def count_densely(true: np.ndarray[Any, Any], pred: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    table = np.zeros((true.max() + 1, pred.max() + 1), np.uint32)
    for i in range(true.size):
        table[true[i], pred[i]] += 1
    return table


def match_densely(true: np.ndarray[Any, Any], pred: np.ndarray[Any, Any], level: float) -> int:
    """What StarDist's `matching` computes for one level."""
    table = count_densely(true.ravel(), pred.ravel())
    union = table.sum(0, keepdims=True) + table.sum(1, keepdims=True) - table
    iou = (table / np.maximum(union, 1))[1:, 1:]
    rows, cols = linear_sum_assignment(-(iou >= level).astype(float) - iou / (2 * min(iou.shape)))
    return int((iou[rows, cols] >= level).sum())


def find_reference() -> tuple[str, Callable[[Any, Any, float], int]]:
    try:
        from stardist.matching import matching as stardist_matching
    except ImportError:
        return "dense loop as StarDist's, ten levels", match_densely
    return "StarDist's matching, ten levels", lambda t, p, level: stardist_matching(t, p, thresh=level).tp


def compare_matching(side: int, objects: int) -> float:
    rng = np.random.default_rng(0)
    true = draw_labels(side, objects, rng)
    pred = np.roll(true, (3, -2), axis=(0, 1))
    pred[rng.random(true.shape) < 0.02] = 0
    pred = rng.permutation(true.max() + 1).astype(np.int32)[pred] * (pred > 0)
    print(f"matching: {side} x {side} pixels, {true.max()} objects")
    take_time(
        "contractile, first call (compiles or loads a cache)",
        lambda: tabulate(pred[:64, :64], true[:64, :64]),
    )
    ours, found = take_time("contractile, ten levels", lambda: matching.match(select_objects(tabulate(pred, true))), 3)
    name, reference = find_reference()
    reference(true[:64, :64], pred[:64, :64], 0.5)
    theirs, expected = take_time(name, lambda: [reference(true, pred, level) for level in matching.IOU_LEVELS])
    assert found.true_positives.tolist() == expected, "the two disagree"
    pairs = len(select_objects(tabulate(pred, true)).rows)
    print(f"  {theirs / ours:.0f} times as fast; {pairs} overlapping pairs")
    return theirs / ours


def draw_membranes(slices: int, folder: Path | None) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Noisy probabilities and truth (P, Y, X)."""
    rng = np.random.default_rng(0)
    if folder is not None:
        import tifffile

        truth = tifffile.imread(folder / "train-labels.tif")[:slices] > 0
    else:
        cells = np.stack([draw_labels(512, 400, rng) for _ in range(slices)])
        truth = np.stack([(ndimage.maximum_filter(c, 3) == ndimage.minimum_filter(c, 3)) & (c > 0) for c in cells])
    soft = ndimage.gaussian_filter(truth.astype(np.float32), (0, 1.5, 1.5)) + rng.normal(0, 0.06, truth.shape)
    return np.clip(soft, 0, 1).astype(np.float32), truth.astype(np.uint8)


def score_with_watershed(white: np.ndarray[Any, Any], truth: np.ndarray[Any, Any]) -> None:
    """V_Rand and V_Info of one slice from scikit-image's watershed."""
    from skimage.metrics import adapted_rand_error, variation_of_information
    from skimage.segmentation import watershed

    parts = ndimage.label(truth)[0]
    for threshold in isbi.THRESHOLDS:
        markers = ndimage.label(white > threshold)[0]
        basins = watershed(white <= threshold, markers=markers, connectivity=1, watershed_line=True)
        dams = (basins == 0) & (parts > 0)
        basins[dams] = basins.max() + 1 + np.arange(dams.sum())
        with np.errstate(invalid="ignore"):
            adapted_rand_error(parts, basins, ignore_labels=(0,))
        variation_of_information(parts, basins, ignore_labels=(0,))


def compare_thinned(slices: int, folder: Path | None) -> float:
    probabilities, truth = draw_membranes(slices, folder)
    size = " x ".join(str(n) for n in truth.shape)
    print(f"V_Rand and V_Info: {size} pixels, {len(isbi.THRESHOLDS)} thresholds")

    def score(index: int) -> Any:
        return isbi.measure(probabilities[index], truth[index], names=("v_rand", "v_info"))

    take_time("contractile, first slice (compiles or loads the cache)", lambda: score(0))
    ours, _ = take_time("contractile, one core", lambda: [score(i) for i in range(slices)])
    with ThreadPoolExecutor(2) as pool:
        take_time("contractile, two threads", lambda: list(pool.map(score, range(slices))))
    reference = min(slices, 3)
    theirs, _ = take_time(
        f"scikit-image's watershed, {reference} of the slices",
        lambda: [score_with_watershed(probabilities[i], truth[i]) for i in range(reference)],
    )
    print(f"  {theirs / reference * slices / ours:.1f} times as fast")
    isbi.measure(probabilities[0, :32, :32], truth[0, :32, :32], names=("warping_error",))
    take_time(
        "contractile, warping error, ten thresholds, one core",
        lambda: [isbi.measure(p, t, names=("warping_error",)) for p, t in zip(probabilities, truth, strict=True)],
    )
    return theirs / reference * slices / ours


def compare_rand(side: int, objects: int) -> float:
    from skimage.metrics import adapted_rand_error, variation_of_information

    rng = np.random.default_rng(0)
    true = draw_labels(side, objects, rng)
    pred = np.roll(true, (3, -2), axis=(0, 1))
    print(f"adapted Rand error and variation of information: {side} x {side} pixels, {true.max()} objects")

    def score() -> tuple[Any, Any]:
        table = tabulate(pred, true)
        return overlap.adapted_rand(table), overlap.variation_of_information(table)

    score()
    ours, (rand, information) = take_time("contractile, both", score, 3)
    theirs, (error, voi) = take_time(
        "scikit-image, both",
        lambda: (adapted_rand_error(true, pred)[0], variation_of_information(true, pred)),
    )
    assert abs(rand[0] - error) < 1e-6, "the two disagree"
    assert np.allclose(information, voi, atol=1e-6), "the two disagree"
    print(f"  {theirs / ours:.0f} times as fast")
    return theirs / ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--objects", type=int, default=5000)
    parser.add_argument("--slices", type=int, default=30)
    parser.add_argument("--isbi", type=Path)
    parser.add_argument("--record", action="store_true", help="keep these ratios as the ones to hold")
    arguments = parser.parse_args()
    ratios = {
        "V_Rand and V_Info": compare_thinned(arguments.slices, arguments.isbi),
        "matching": compare_matching(arguments.side, arguments.objects),
        "adapted Rand and variation of information": compare_rand(arguments.side, arguments.objects),
    }
    sys.exit(0 if judge("scores", ratios, record=arguments.record) else 1)


if __name__ == "__main__":
    main()
