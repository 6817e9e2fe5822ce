"""The scores of the ISBI 2012 challenge: pixel, warping and Rand error, V_Rand and V_Info after thinning.

Arganda-Carreras et al. 2015 (doi:10.3389/fnana.2015.00142); the values are those of the challenge's own code, digit by
digit. White (1) is the inside of cells, black (0) is membrane. A prediction is the map P(white) of one 2-D slice.

`measure` turns one slice into terms that add up over slices, `curve` turns sums of terms into the score at each
threshold. The score of a set is that of the best threshold, which is the same for all slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.labels import connected
from contractile.metrics.metric import Detail, Floats, Metric, divide, listed, mean

if TYPE_CHECKING:
    from contractile.metrics.contingency import Contingency

# 0, 0.1, ... added up as in the challenge's loop: the eleventh is below 1, so that the value 1.0 exceeds it
THRESHOLDS: tuple[float, ...] = tuple(accumulate([0.0] + [0.1] * 10))

# the scores after thinning use all eleven thresholds, the older ones the first ten
LEVELS = {"pixel_error": 10, "warping_error": 10, "rand_error": 10, "v_rand": 11, "v_info": 11}
ERRORS = frozenset({"pixel_error", "warping_error", "rand_error"})  # lower is better


def measure(predicted: NDArray[Any], truth: NDArray[Any], *, names: Sequence[str] = tuple(LEVELS)) -> dict[str, Floats]:
    """Terms (thresholds, terms) of one slice for each of the scores `names`.

    predicted (Y, X): P(white) in [0, 1], or integers or booleans (white where above 0). truth (Y, X): integers, white
    where above 0. Raises ContractileError for shapes that differ or are not two-dimensional, and for ignored pixels
    (negative truth), which these scores do not support.
    """
    from contractile.metrics.contingency import tabulate
    from contractile.metrics.thinning import thin

    _check(predicted, truth)
    white = truth > 0
    maps = _threshold(predicted)
    # column by column, so that sums run in the order of the challenge's code; black pixels of the truth are not counted
    parts = np.where(white, connected(white.T).T, -1)
    sums: dict[str, Floats] = {}
    if "pixel_error" in names:
        counts = [[(m & white).sum(), white.sum(), m.sum()] for m in maps]
        sums["pixel_error"] = _spread(counts, "pixel_error")
    if "warping_error" in names:
        sums["warping_error"] = _measure_warping(predicted, white)
    if "rand_error" in names:
        tables = [tabulate(connected(m), parts) for m in maps[: LEVELS["rand_error"]]]
        sums["rand_error"] = _spread([_sum_pairs(t) for t in tables], "rand_error")
    if "v_rand" in names or "v_info" in names:
        tables = [tabulate(thin(m), parts) for m in maps]
        defined = float(white.any())
        sums["v_rand"] = _spread([[_score_rand(t), defined] for t in tables], "v_rand")
        sums["v_info"] = _spread([[_score_information(t), defined] for t in tables], "v_info")
    return {name: sums[name] for name in names}


def curve(name: str, sums: Floats) -> Floats:
    """Score at each threshold, (..., thresholds, terms) -> (..., thresholds); NaN where undefined."""
    if name in ("v_rand", "v_info", "warping_error"):
        return mean(sums)
    shared, true, pred = np.moveaxis(sums, -1, 0)
    f_score = divide(2 * shared, true + pred)  # = 2 P R / (P + R), P = shared / pred, R = shared / true
    if name == "pixel_error":
        # nothing white in either: no false positive and no false negative
        f_score = np.where(true + pred == 0, 1.0, f_score)
    error: Floats = 1 - f_score
    return error


def find_best(name: str, scores: Floats) -> tuple[Floats, NDArray[np.intp]]:
    """(..., thresholds) -> best score (...) and index (...) of the first threshold that reaches it."""
    index = np.argmin(scores, axis=-1) if name in ERRORS else np.argmax(scores, axis=-1)
    return np.take_along_axis(scores, index[..., None], axis=-1)[..., 0], index


def _check(predicted: NDArray[Any], truth: NDArray[Any]) -> None:
    if predicted.shape != truth.shape or truth.ndim != 2:
        raise ContractileError(
            "predicted and truth must be two-dimensional slices of one shape for the ISBI scores, "
            f"got {predicted.shape} and {truth.shape}",
            "score a stack slice by slice",
        )
    if truth.size and truth.min() < 0:
        raise ContractileError(
            f"truth must not hold ignored pixels (negative labels) for the ISBI scores, got {truth.min()}",
            "leave the isbi scores out or complete the annotation",
        )


def _threshold(predicted: NDArray[Any]) -> list[NDArray[np.bool_]]:
    """The map at every threshold; one map where the prediction is binary."""
    if predicted.dtype.kind in "iub":
        return [predicted > 0]
    # double precision, as the thresholds: 0.1 in single precision is another number
    proposal = predicted.astype(np.float64)
    return [proposal > level for level in THRESHOLDS]


def _spread(rows: Sequence[Sequence[float]], name: str) -> Floats:
    """(thresholds, terms) of the rows of all thresholds; a single row is repeated for every threshold."""
    terms = np.asarray(rows, np.float64)[: LEVELS[name]]
    return np.broadcast_to(terms, (LEVELS[name], terms.shape[1])).copy()


def _sum_pairs(table: Contingency) -> list[float]:
    """Ordered pairs of white true pixels in the same object: in both, in the truth, in the prediction.

    Each predicted 0 (dam, or black pixel) is an object of one pixel: it pairs only with itself.
    """
    alone = _count_alone(table)
    own = table.pred_values[table.cols] > 0
    sizes = table.pred_sizes[table.pred_values > 0].astype(np.float64)
    return [
        float((table.counts[own].astype(np.float64) ** 2).sum() + alone),
        float((table.true_sizes.astype(np.float64) ** 2).sum()),
        float((sizes**2).sum() + alone),
    ]


def _score_rand(table: Contingency) -> float:
    """V_Rand of one slice, eq. 3 of the paper with alpha = 1/2; 0 where the truth is empty."""
    shared, true, pred = _sum_pairs(table)
    return 2 * shared / (true + pred) if true + pred else 0.0


def _score_information(table: Contingency) -> float:
    """V_Info of one slice, 2 I(S; T) / (H(S) + H(T)); 0 where an entropy is 0, as in the challenge's code."""
    total = table.total
    if total == 0:
        return 0.0
    singles = _count_alone(table) / total * np.log(total)
    own = table.pred_values[table.cols] > 0
    true_entropy = _sum_entropy(table.true_sizes / total)
    pred_entropy = _sum_entropy(table.pred_sizes[table.pred_values > 0] / total) + singles
    joint_entropy = _sum_entropy(table.counts[own] / total) + singles
    if true_entropy == 0 or pred_entropy == 0:
        return 0.0
    return float(2 * (true_entropy + pred_entropy - joint_entropy) / (true_entropy + pred_entropy))


def _sum_entropy(share: Floats) -> float:
    return float(-(share * np.log(share)).sum())


def _count_alone(table: Contingency) -> int:
    return int(table.counts[table.pred_values[table.cols] == 0].sum())


def _measure_warping(predicted: NDArray[Any], white: NDArray[np.bool_]) -> Floats:
    """(thresholds, 2): pixels of splits and mergers, pixels of the slice.

    A binary map needs all thresholds, too: the distance to the threshold decides which pixel flips first.
    """
    from contractile.metrics.warping import count_topology_errors

    proposal = predicted.astype(np.float64) if predicted.dtype.kind == "f" else (predicted > 0).astype(np.float64)
    counts = [count_topology_errors(proposal, white, level) for level in THRESHOLDS[: LEVELS["warping_error"]]]
    return np.array([[c.splits + c.mergers, white.size] for c in counts], np.float64)


def _metric(name: str, short: str, title: str, meaning: str) -> Metric:
    """A score at its best threshold, the same for all images of the set."""

    def formula(sums: Floats) -> Floats:
        return find_best(name, curve(name, sums))[0]

    def explain(sums: Floats) -> Detail:
        scores = curve(name, sums)
        threshold = THRESHOLDS[int(find_best(name, scores)[1])]
        return {"threshold": round(threshold, 1), "by_threshold": listed(scores)}

    return Metric(
        name,
        short,
        title,
        meaning,
        group="isbi",
        formula=formula,
        undefined="the truth has no white pixel",
        lower_is_better=name in ERRORS,
        explain=explain,
    )


METRICS = (
    _metric("pixel_error", "Pixel error", "pixel error", "1 - F1 of the white pixels"),
    _metric(
        "warping_error",
        "Warping error",
        "warping error (splits and mergers per pixel)",
        "share of pixels at which objects are split or merged, after the truth was bent to fit the prediction",
    ),
    _metric(
        "rand_error",
        "Rand error",
        "Rand error, white class",
        "1 - F1 of the pairs of white pixels that belong to the same object",
    ),
    _metric(
        "v_rand", "V_Rand", "V_Rand, thinned", "Rand score after thinning the borders: 1 without splits and mergers"
    ),
    _metric(
        "v_info",
        "V_Info",
        "V_Info, thinned",
        "information score after thinning the borders: 1 without splits and mergers",
    ),
)
