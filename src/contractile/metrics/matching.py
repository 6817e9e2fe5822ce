"""Objects matched one to one: average precision, F1, panoptic quality, aggregated Jaccard index.

Terms add up over images: summed over a set they give the pooled score, image by image the mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from contractile.errors import ContractileError
from contractile.metrics.contingency import Floats, Objects

# literal values: arange(0.5, 1, 0.05) would give 0.6000000000000001, which an IoU of 3/5 does not reach
IOU_LEVELS: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True)
class Matches:
    """Matches at one IoU level, of one image or pooled over several. Scores are None where 0 / 0."""

    true_positives: int
    iou_sum: float
    true_objects: int
    pred_objects: int

    @property
    def false_positives(self) -> int:
        return self.pred_objects - self.true_positives

    @property
    def false_negatives(self) -> int:
        return self.true_objects - self.true_positives

    @property
    def precision(self) -> float | None:
        return self.true_positives / self.pred_objects if self.pred_objects else None

    @property
    def recall(self) -> float | None:
        return self.true_positives / self.true_objects if self.true_objects else None

    @property
    def ap(self) -> float | None:
        """TP / (TP + FP + FN), the "average precision" of StarDist, Cellpose and the Data Science Bowl."""
        either = self.true_objects + self.pred_objects - self.true_positives
        return self.true_positives / either if either else None

    @property
    def f1(self) -> float | None:
        """2 TP / (2 TP + FP + FN)."""
        both = self.true_objects + self.pred_objects
        return 2 * self.true_positives / both if both else None

    @property
    def pq(self) -> float | None:
        """Panoptic quality, sum of IoU / (TP + FP / 2 + FN / 2) (Kirillov et al. 2019, arXiv:1801.00868)."""
        both = self.true_objects + self.pred_objects
        return 2 * self.iou_sum / both if both else None

    @property
    def mean_matched_iou(self) -> float | None:
        """Mean IoU of the matched pairs."""
        return self.iou_sum / self.true_positives if self.true_positives else None

    @property
    def mean_true_iou(self) -> float | None:
        """Mean IoU over all true objects, an unmatched one counting 0."""
        return self.iou_sum / self.true_objects if self.true_objects else None


@dataclass(frozen=True)
class Areas:
    """Intersection over union in pixels, of one image or pooled over several."""

    shared: int
    union: int

    @property
    def score(self) -> float | None:
        """None when neither holds an object."""
        return self.shared / self.union if self.union else None


def match(objects: Objects, levels: Sequence[float] = IOU_LEVELS) -> list[Matches]:
    """Match objects one to one at each IoU level: IoU >= level, most matches, then most IoU.

    Raises ValueError for levels outside (0, 1].
    """
    wrong = [level for level in levels if not 0 < level <= 1]
    if wrong:
        raise ContractileError(f"levels must lie in (0, 1], got {wrong[0]}", "use for example 0.5")
    iou = objects.iou
    results = []
    for level in levels:
        chosen = _choose_pairs(objects, iou, level)
        counts = len(objects.true_ids), len(objects.pred_ids)
        results.append(Matches(len(chosen), float(iou[chosen].sum()), *counts))
    return results


def pool(matches: Sequence[Matches]) -> Matches:
    """The same level of several images as one set."""
    return Matches(
        sum(m.true_positives for m in matches),
        sum(m.iou_sum for m in matches),
        sum(m.true_objects for m in matches),
        sum(m.pred_objects for m in matches),
    )


def sum_jaccard(objects: Objects) -> Areas:
    """Areas of the aggregated Jaccard index of Kumar et al. 2017 (doi:10.1109/TMI.2017.2677499).

    Every true object is paired with the predicted one of highest IoU (one prediction may serve several;
    of equals the lowest id), unmatched areas of both kinds are added to the union.
    """
    order = np.lexsort((objects.cols, -objects.iou, objects.rows))
    rows, first = np.unique(objects.rows[order], return_index=True)
    best = order[first]
    cols, shared = objects.cols[best], objects.shared[best]
    union = int((objects.true_sizes[rows] + objects.pred_sizes[cols] - shared).sum())
    missed = objects.true_sizes.sum() - objects.true_sizes[rows].sum()
    unused = objects.pred_sizes.sum() - objects.pred_sizes[np.unique(cols)].sum()
    return Areas(int(shared.sum()), union + int(missed) + int(unused))


def sum_matched_jaccard(objects: Objects) -> Areas:
    """Areas of Cellpose's "aggregated_jaccard_index": pixels of one-to-one matches over either foreground.

    Not Kumar's index: unmatched areas enter through the union of the foregrounds only.
    """
    chosen = _assign(objects, objects.iou, 0.5)
    either = int(objects.true_sizes.sum() + objects.pred_sizes.sum() - objects.shared.sum())
    return Areas(int(objects.shared[chosen].sum()), either)


def _choose_pairs(objects: Objects, iou: Floats, level: float) -> NDArray[np.intp]:
    """Indices of the matched pairs at one level."""
    if level < 0.5:
        chosen = _assign(objects, iou, level)
        return chosen[iou[chosen] >= level]
    # above one half an object has one partner at most; at exactly one half, one object may be halved by
    # two others that touch nothing else: either of the two pairs is as good
    candidates = np.flatnonzero(iou >= level)
    _, first = np.unique(objects.rows[candidates], return_index=True)
    candidates = candidates[first]
    _, first = np.unique(objects.cols[candidates], return_index=True)
    return candidates[first]


def _assign(objects: Objects, iou: Floats, level: float) -> NDArray[np.intp]:
    """One-to-one pairs with the most IoU >= level, then the most IoU in all; memory follows the pairs."""
    true, pred = len(objects.true_ids), len(objects.pred_ids)
    if len(iou) == 0:
        return np.empty(0, np.intp)
    # every true object may also go to a stand-in of its own that gains nothing: a full matching exists
    gain = 1 + (iou >= level) + iou / (2 * min(true, pred))
    rows = np.concatenate([objects.rows, np.arange(true)])
    cols = np.concatenate([objects.cols, pred + np.arange(true)])
    graph = sparse.csr_array((np.concatenate([gain, np.ones(true)]), (rows, cols)), shape=(true, pred + true))
    matched_rows, matched_cols = min_weight_full_bipartite_matching(graph, maximize=True)
    partner = np.full(true, -1, np.int64)
    partner[matched_rows] = matched_cols
    return np.flatnonzero(partner[objects.rows] == objects.cols)
