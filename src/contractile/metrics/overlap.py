"""How well areas agree: Dice and IoU per class, adapted Rand error, variation of information.

A score that is undefined is None; each docstring says when.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from contractile.metrics.contingency import Contingency, Floats, Ints


@dataclass(frozen=True)
class ClassOverlap:
    """Pixels of one class: `shared` by both, `predicted`, `true`."""

    value: int
    shared: int
    predicted: int
    true: int

    @property
    def dice(self) -> float | None:
        """2 |A n B| / (|A| + |B|); None when the class is absent from both."""
        both = self.predicted + self.true
        return 2 * self.shared / both if both else None

    @property
    def iou(self) -> float | None:
        """|A n B| / |A u B|; None when the class is absent from both."""
        union = self.predicted + self.true - self.shared
        return self.shared / union if union else None


@dataclass(frozen=True)
class RandScore:
    """Adapted Rand error = 1 - F; `precision` falls with mergers, `recall` with splits."""

    error: float
    precision: float
    recall: float


def class_overlaps(table: Contingency, values: Sequence[int] | None = None) -> list[ClassOverlap]:
    """Overlap of every class value; by default the values met in the truth.

    Rule for absent classes: absent from both, the class is undefined (None) and left out of a mean;
    absent from one only, it scores 0. Ignored pixels (negative truth) are in no count.
    """
    chosen = [int(v) for v in table.true_values] if values is None else list(values)
    true_sizes = dict(zip(table.true_values.tolist(), table.true_sizes.tolist(), strict=True))
    pred_sizes = dict(zip(table.pred_values.tolist(), table.pred_sizes.tolist(), strict=True))
    same = table.true_values[table.rows] == table.pred_values[table.cols]
    shared = dict(zip(table.true_values[table.rows[same]].tolist(), table.counts[same].tolist(), strict=True))
    return [ClassOverlap(v, shared.get(v, 0), pred_sizes.get(v, 0), true_sizes.get(v, 0)) for v in chosen]


def foreground_overlap(table: Contingency) -> ClassOverlap:
    """Overlap of everything above 0, as one class with the value 1."""
    true, pred = table.true_values[table.rows] > 0, table.pred_values[table.cols] > 0
    shared, predicted, in_truth = (int(table.counts[which].sum()) for which in (true & pred, pred, true))
    return ClassOverlap(1, shared, predicted, in_truth)


def mean_defined(values: Sequence[float | None]) -> float | None:
    """Mean of the values that are defined; None when none is."""
    defined = [v for v in values if v is not None]
    return float(np.mean(defined)) if defined else None


def adapted_rand(table: Contingency, *, ignore: Sequence[int] = (0,)) -> RandScore | None:
    """Adapted Rand error of Arganda-Carreras et al. 2015 (doi:10.3389/fnana.2015.00142), on pairs of pixels.

    error = 1 - 2 sum p_ij^2 / (sum t_i^2 + sum s_j^2), a pixel never paired with itself (the "- n"
    correction of scikit-image, whose "precision" is our recall and the reverse). True values in
    `ignore` are left out. None when no true object and no predicted object holds two pixels.
    """
    rows, cols, counts = _without(table, ignore)
    pixels = counts.sum()
    pairs = float((counts.astype(np.float64) ** 2).sum() - pixels)
    true_pairs = float((_totals(rows, counts) ** 2).sum() - pixels)
    pred_pairs = float((_totals(cols, counts) ** 2).sum() - pixels)
    if true_pairs + pred_pairs == 0:
        return None
    return RandScore(
        error=1 - 2 * pairs / (true_pairs + pred_pairs),
        precision=pairs / pred_pairs if pred_pairs else 1.0,
        recall=pairs / true_pairs if true_pairs else 1.0,
    )


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
    kept = ~np.isin(table.true_values[table.rows], np.asarray(ignore, np.int64))
    return table.rows[kept], table.cols[kept], table.counts[kept]


def _totals(index: Ints, counts: Ints) -> Floats:
    return np.bincount(index, weights=counts).astype(np.float64)
