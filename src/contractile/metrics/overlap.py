"""How well areas agree: Dice and IoU of classes, adapted Rand error, variation of information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from contractile.metrics.metric import Detail, Floats, Ints, Metric, Terms, divide, listed, mean

if TYPE_CHECKING:
    from contractile.metrics.contingency import Contingency


@dataclass(frozen=True)
class ClassOverlap(Terms):
    """Pixels of classes, (..., classes) each: in both, in the prediction, in the truth.

    A class that is absent from both has no score (NaN); a class that is absent from one scores 0.
    """

    shared: Floats
    predicted: Floats
    true: Floats

    @property
    def dice(self) -> Floats:
        """2 |A n B| / (|A| + |B|)."""
        return divide(2 * self.shared, self.predicted + self.true)

    @property
    def iou(self) -> Floats:
        """|A n B| / |A u B|."""
        return divide(self.shared, self.predicted + self.true - self.shared)


def class_overlap(table: Contingency, values: Sequence[int]) -> ClassOverlap:
    """Overlap of each class value (classes,). Ignored pixels (negative truth) are not counted."""
    true_sizes = dict(zip(table.true_values.tolist(), table.true_sizes.tolist(), strict=True))
    pred_sizes = dict(zip(table.pred_values.tolist(), table.pred_sizes.tolist(), strict=True))
    same = table.true_values[table.rows] == table.pred_values[table.cols]
    shared = dict(zip(table.true_values[table.rows[same]].tolist(), table.counts[same].tolist(), strict=True))
    counts = [[sizes.get(v, 0) for v in values] for sizes in (shared, pred_sizes, true_sizes)]
    return ClassOverlap(*np.asarray(counts, np.float64))


def foreground_overlap(table: Contingency) -> ClassOverlap:
    """Overlap (1,) of everything above 0, as one class."""
    true, pred = table.true_values[table.rows] > 0, table.pred_values[table.cols] > 0
    counts = [[table.counts[which].sum()] for which in (true & pred, pred, true)]
    return ClassOverlap(*np.asarray(counts, np.float64))


def adapted_rand(table: Contingency, *, ignore: Sequence[int] = (0,)) -> tuple[float, float, float] | None:
    """(error, precision, recall) of pairs of pixels; error = 1 - F1 (doi:10.3389/fnana.2015.00142).

    error = 1 - 2 sum p_ij^2 / (sum t_i^2 + sum s_j^2). Precision falls with mergers, recall with splits. A pixel is not
    paired with itself (the "- n" correction of scikit-image, which calls our recall "precision" and our precision
    "recall"). True values in `ignore` are left out. None when no true object and no predicted object holds two pixels.
    """
    rows, cols, counts = _without(table, ignore)
    pixels = counts.sum()
    pairs = float((counts.astype(np.float64) ** 2).sum() - pixels)
    true_pairs = float((_totals(rows, counts) ** 2).sum() - pixels)
    pred_pairs = float((_totals(cols, counts) ** 2).sum() - pixels)
    if true_pairs + pred_pairs == 0:
        return None
    error = 1 - 2 * pairs / (true_pairs + pred_pairs)
    return error, pairs / pred_pairs if pred_pairs else 1.0, pairs / true_pairs if true_pairs else 1.0


def variation_of_information(table: Contingency, *, ignore: Sequence[int] = ()) -> tuple[float, float] | None:
    """(split, merge) = H(predicted | true), H(true | predicted) in bits, each >= 0, 0 is perfect.

    Meila 2003 (doi:10.1007/978-3-540-45167-9_14). The background counts as one more object unless 0 is
    in `ignore` (true values left out). None when no pixel is left.
    """
    rows, cols, counts = _without(table, ignore)
    if counts.size == 0:
        return None
    share = counts / counts.sum()
    split = -(share * np.log2(counts / _totals(rows, counts)[rows])).sum()
    merge = -(share * np.log2(counts / _totals(cols, counts)[cols])).sum()
    return float(max(split, 0.0)), float(max(merge, 0.0))


def _without(table: Contingency, ignore: Sequence[int]) -> tuple[Ints, Ints, Ints]:
    """Rows, columns and counts of the pairs whose true value is not in `ignore`."""
    kept = ~np.isin(table.true_values[table.rows], np.asarray(ignore, np.int64))
    return table.rows[kept], table.cols[kept], table.counts[kept]


def _totals(index: Ints, counts: Ints) -> Floats:
    return np.bincount(index, weights=counts).astype(np.float64)


def _class_metric(name: str, short: str, meaning: str) -> Metric:
    """Mean over classes of a score whose pixels are pooled over the set; classes without a score are left out."""

    def by_class(sums: Floats) -> Floats:
        scores: Floats = getattr(ClassOverlap.of(sums), name)
        return scores

    def formula(sums: Floats) -> Floats:
        scores = by_class(sums)
        return divide(np.nansum(scores, axis=-1), np.isfinite(scores).sum(axis=-1))

    def explain(sums: Floats) -> Detail:
        return {"pixels": "pooled over the set", "by_class": listed(by_class(sums))}

    undefined = "truth and prediction are both empty"
    return Metric(name, short, short, meaning, group="overlap", formula=formula, undefined=undefined, explain=explain)


_error = partial(Metric, group="overlap", formula=mean, lower_is_better=True, averaged=True)
_information = partial(_error, undefined="no pixel is left to compare", bounded=False)

METRICS = (
    _class_metric("dice", "Dice", "twice the shared area divided by the sum of both areas"),
    _class_metric("iou", "IoU", "shared area divided by the joint area of prediction and truth"),
    _error(
        "adapted_rand",
        "Adapted Rand error",
        "adapted Rand error",
        "1 - F1 of the pairs of pixels that belong to the same object",
        undefined="no object holds two pixels",
    ),
    _information(
        "voi_split",
        "Splits (bits)",
        "variation of information, split (bits)",
        "variation of information, split part: 0 when no object is cut into pieces",
    ),
    _information(
        "voi_merge",
        "Mergers (bits)",
        "variation of information, merge (bits)",
        "variation of information, merge part: 0 when no objects are joined",
    ),
)
