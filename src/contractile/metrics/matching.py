"""Objects matched one to one: average precision, F1, panoptic quality, aggregated Jaccard index.

Each score comes in two ways: of the objects of all images together (pooled), and as the mean of the images' scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.metrics.metric import Detail, Floats, Formula, Metric, Terms, divide, listed, mean, mean_terms

if TYPE_CHECKING:
    from contractile.metrics.contingency import Objects

# literal values: arange(0.5, 1, 0.05) would give 0.6000000000000001, which an IoU of 3/5 does not reach
IOU_LEVELS: tuple[float, ...] = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
IMAGE_MEAN = "_image_mean"  # ends the name of a score that is averaged over images


@dataclass(frozen=True)
class Matches(Terms):
    """Matches at each IoU level, (..., levels) each. Scores are NaN where 0 / 0."""

    true_positives: Floats
    iou_sum: Floats
    true_objects: Floats
    pred_objects: Floats

    @property
    def false_positives(self) -> Floats:
        return self.pred_objects - self.true_positives

    @property
    def false_negatives(self) -> Floats:
        return self.true_objects - self.true_positives

    @property
    def precision(self) -> Floats:
        return divide(self.true_positives, self.pred_objects)

    @property
    def recall(self) -> Floats:
        return divide(self.true_positives, self.true_objects)

    @property
    def ap(self) -> Floats:
        """TP / (TP + FP + FN), the "average precision" of StarDist, Cellpose and the Data Science Bowl."""
        return divide(self.true_positives, self.true_objects + self.pred_objects - self.true_positives)

    @property
    def f1(self) -> Floats:
        """2 TP / (2 TP + FP + FN)."""
        return divide(2 * self.true_positives, self.true_objects + self.pred_objects)

    @property
    def pq(self) -> Floats:
        """Panoptic quality, sum of IoU / (TP + FP / 2 + FN / 2) (Kirillov et al. 2019, arXiv:1801.00868)."""
        return divide(2 * self.iou_sum, self.true_objects + self.pred_objects)

    @property
    def mean_matched_iou(self) -> Floats:
        """Mean IoU of the matched pairs."""
        return divide(self.iou_sum, self.true_positives)

    @property
    def mean_true_iou(self) -> Floats:
        """Mean IoU over all true objects; an unmatched one counts 0."""
        return divide(self.iou_sum, self.true_objects)


@dataclass(frozen=True)
class Areas(Terms):
    """Pixels in the intersection and in the union, (..., 1) each."""

    shared: Floats
    union: Floats

    @property
    def iou(self) -> Floats:
        """Intersection over union; NaN when neither holds an object."""
        return divide(self.shared, self.union)


def measure(objects: Objects, names: Sequence[str]) -> dict[str, Floats]:
    """Terms of one image for the scores `names` of this group."""
    matches, areas = match(objects), {"aji": sum_jaccard, "matched_jaccard": sum_matched_jaccard}
    terms = {}
    for name in names:
        plain = name.removesuffix(IMAGE_MEAN)
        found = areas[plain](objects) if plain in areas else matches
        score = mean_terms(getattr(found, "iou" if plain in areas else plain))
        terms[name] = found.array if name == plain else np.concatenate([found.array, score], axis=-1)
    return terms


def match(objects: Objects, levels: Sequence[float] = IOU_LEVELS) -> Matches:
    """Match objects one to one at each of the `levels`: IoU >= level, most matches, then the largest sum of IoU.

    Raises ContractileError for levels outside (0, 1].
    """
    wrong = [level for level in levels if not 0 < level <= 1]
    if wrong:
        raise ContractileError(f"levels must lie in (0, 1], got {wrong[0]}", "use for example 0.5")
    iou = objects.iou
    chosen = [_choose_pairs(objects, iou, level) for level in levels]
    return Matches(
        true_positives=np.array([len(pairs) for pairs in chosen], np.float64),
        iou_sum=np.array([iou[pairs].sum() for pairs in chosen]),
        true_objects=np.full(len(chosen), float(len(objects.true_ids))),
        pred_objects=np.full(len(chosen), float(len(objects.pred_ids))),
    )


def sum_jaccard(objects: Objects) -> Areas:
    """Areas of the aggregated Jaccard index of Kumar et al. 2017 (doi:10.1109/TMI.2017.2677499).

    Every true object is paired with the predicted one of highest IoU (of equals the one with the lowest id). One
    prediction may serve several true objects. Unmatched areas of both kinds are added to the union.
    """
    order = np.lexsort((objects.cols, -objects.iou, objects.rows))
    rows, first = np.unique(objects.rows[order], return_index=True)
    best = order[first]
    cols, shared = objects.cols[best], objects.shared[best]
    union = int((objects.true_sizes[rows] + objects.pred_sizes[cols] - shared).sum())
    missed = objects.true_sizes.sum() - objects.true_sizes[rows].sum()
    unused = objects.pred_sizes.sum() - objects.pred_sizes[np.unique(cols)].sum()
    return Areas(shared.sum(keepdims=True), np.array([union + missed + unused]))


def sum_matched_jaccard(objects: Objects) -> Areas:
    """Areas of Cellpose's "aggregated_jaccard_index": pixels of one-to-one matches over either foreground.

    This is not Kumar's index: unmatched areas enter through the union of the foregrounds only.
    """
    chosen = _assign(objects, (objects.iou >= 0.5) + _least(objects))
    either = objects.true_sizes.sum() + objects.pred_sizes.sum() - objects.shared.sum()
    return Areas(objects.shared[chosen].sum(keepdims=True), np.array([either]))


def _choose_pairs(objects: Objects, iou: Floats, level: float) -> NDArray[np.intp]:
    """Indices of the matched pairs at one level."""
    if level < 0.5:
        counted = iou >= level
        chosen = _assign(objects, counted * (1 + _least(objects)))
        return chosen[counted[chosen]]
    # Above one half an object has at most one partner. At exactly one half, two objects that touch nothing else may
    # each cover half of a third one: both pairs are equally good.
    candidates = np.flatnonzero(iou >= level)
    _, first = np.unique(objects.rows[candidates], return_index=True)
    candidates = candidates[first]
    _, first = np.unique(objects.cols[candidates], return_index=True)
    return candidates[first]


def _least(objects: Objects) -> Floats:
    """IoU as a gain so small that all of them together count less than one more match."""
    return objects.iou / (2 * max(1, min(len(objects.true_ids), len(objects.pred_ids))))


def _assign(objects: Objects, gain: Floats) -> NDArray[np.intp]:
    """One-to-one pairs with the largest sum of `gain`, which is at least 0; memory grows with the pairs."""
    from scipy import sparse
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    true, pred = len(objects.true_ids), len(objects.pred_ids)
    if len(gain) == 0:
        return np.empty(0, np.intp)
    # Every true object may also be matched to a placeholder of its own that gains nothing: a full matching exists.
    rows = np.concatenate([objects.rows, np.arange(true)])
    cols = np.concatenate([objects.cols, pred + np.arange(true)])
    graph = sparse.csr_array((np.concatenate([1 + gain, np.ones(true)]), (rows, cols)), shape=(true, pred + true))
    matched_rows, matched_cols = min_weight_full_bipartite_matching(graph, maximize=True)
    partner = np.full(true, -1, np.int64)
    partner[matched_rows] = matched_cols
    return np.flatnonzero(partner[objects.rows] == objects.cols)


def _metrics(
    name: str, short: str, title: str, meaning: str, kind: type[Matches] | type[Areas]
) -> tuple[Metric, Metric]:
    """A score of the pooled objects of the set, and the mean of the scores of the images."""

    def pooled(sums: Floats) -> Floats:
        scores: Floats = getattr(kind.of(sums), name if kind is Matches else "iou")
        return scores

    def image_mean(sums: Floats) -> Floats:
        return mean(sums[..., -2:])

    def metric(suffix: str, short: str, rule: str, meaning: str, curve: Formula) -> Metric:
        def explain(sums: Floats) -> Detail:
            return {"rule": rule} | (_explain(Matches.of(sums), curve(sums)) if kind is Matches else {})

        return Metric(
            f"{name}{suffix}",
            short,
            f"{title}, {rule}",
            meaning,
            group="ap",
            formula=lambda sums: curve(sums)[..., 0],
            undefined="neither truth nor prediction holds an object",
            averaged=suffix == IMAGE_MEAN,
            explain=explain,
        )

    averaged = f"{short} of each image, averaged"
    return (
        metric("", short, "pooled over the set", meaning, pooled),
        metric(IMAGE_MEAN, f"{short}, image mean", "mean over images", averaged, image_mean),
    )


def _explain(matches: Matches, curve: Floats) -> Detail:
    counts = {"tp": matches.true_positives, "fp": matches.false_positives, "fn": matches.false_negatives}
    curves = ("precision", "recall", "mean_matched_iou", "mean_true_iou")
    return {
        "iou": list(IOU_LEVELS),
        "by_iou": listed(curve),
        "mean_over_iou": listed(curve.mean(keepdims=True))[0],
        **{name: values.astype(int).tolist() for name, values in counts.items()},
        **{name: listed(getattr(matches, name)) for name in curves},
    }


_AP = "found / (found + missed + invented objects); found means an IoU of at least 0.5"
_F1 = "harmonic mean of precision and recall of objects, at IoU 0.5"
_PQ = "panoptic quality: F1 of objects times the mean IoU of those found"
_AJI = "shared area divided by joint area of true and predicted objects, object by object"
_ONE_TO_ONE = "shared area of objects matched one to one, divided by the joint area of all objects"

METRICS = (
    *_metrics("ap", "AP", "AP at IoU 0.5", _AP, Matches),
    *_metrics("f1", "F1", "F1 at IoU 0.5", _F1, Matches),
    *_metrics("pq", "PQ", "PQ at IoU 0.5", _PQ, Matches),
    *_metrics("aji", "AJI", "aggregated Jaccard index", _AJI, Areas),
    _metrics("matched_jaccard", "One-to-one Jaccard", "one-to-one Jaccard (Cellpose)", _ONE_TO_ONE, Areas)[0],
)
