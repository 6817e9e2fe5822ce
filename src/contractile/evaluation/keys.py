"""Terms added up over images -> scores: (..., *terms) -> (...), NaN inside this room where undefined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.evaluation.measures import GROUPS

Floats = NDArray[np.float64]
Detail = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One score: how it comes from sums of terms, why it may be undefined, what stands behind it."""

    reduce: Callable[[Floats], Floats]
    undefined: str
    lower_is_better: bool = False
    explain: Callable[[Floats], Detail] = lambda sums: {}


def _divide(part: Floats, whole: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio: Floats = part / whole
    return np.where(whole == 0, np.nan, ratio)


def _jsonable(values: Floats) -> list[float | None]:
    return [None if np.isnan(v) else float(v) for v in values]


def _threshold_key(name: str) -> Key:
    """A score at its best threshold, the same for all images of the set."""

    def reduce(sums: Floats) -> Floats:
        from contractile.metrics import isbi

        return isbi.find_best(name, isbi.curve(name, sums))[0]

    def explain(sums: Floats) -> Detail:
        from contractile.metrics import isbi

        scores = isbi.curve(name, sums)
        threshold = isbi.THRESHOLDS[int(isbi.find_best(name, scores)[1])]
        return {"threshold": round(threshold, 1), "by_threshold": _jsonable(scores)}

    return Key(reduce, "the truth has no white pixel", name.endswith("error"), explain)


def _class_key(factor: int) -> Key:
    """Mean over classes of Dice (factor 2) or IoU (factor 1), pixels pooled; absent classes left out."""

    def by_class(sums: Floats) -> Floats:
        shared, predicted, true = np.moveaxis(sums, -1, 0)
        return _divide(factor * shared, predicted + true - (2 - factor) * shared)

    def reduce(sums: Floats) -> Floats:
        scores = by_class(sums)
        return _divide(np.nansum(scores, axis=-1), np.isfinite(scores).sum(axis=-1))

    return Key(
        reduce,
        "truth and prediction are both empty",
        explain=lambda sums: {"pixels": "pooled over the set", "by_class": _jsonable(by_class(sums))},
    )


def _mean_key(undefined: str, *, lower_is_better: bool) -> Key:
    return Key(lambda sums: _divide(sums[..., 0], sums[..., 1]), undefined, lower_is_better)


def _match_key(score: str, *, image_mean: bool) -> Key:
    """ap, f1 or pq at IoU 0.5: of the pooled objects, or the mean of the images' scores."""

    def pooled(sums: Floats) -> Floats:
        positives, iou_sum, true, pred = np.moveaxis(sums[..., :4], -1, 0)
        if score == "ap":
            return _divide(positives, true + pred - positives)
        return _divide(2 * (positives if score == "f1" else iou_sum), true + pred)

    def mean(sums: Floats) -> Floats:
        return _divide(sums[..., 4], sums[..., 5])

    def explain(sums: Floats) -> Detail:
        from contractile.metrics.matching import IOU_LEVELS

        positives, iou_sum, true, pred = np.moveaxis(sums[..., :4], -1, 0)
        curve = (mean if image_mean else pooled)(sums)
        counts = {"tp": positives, "fp": pred - positives, "fn": true - positives}
        return {
            "rule": "mean over images" if image_mean else "pooled over the set",
            "iou": list(IOU_LEVELS),
            "by_iou": _jsonable(curve),
            "mean_over_iou": _jsonable(curve.mean(keepdims=True))[0],
            **{name: values.astype(int).tolist() for name, values in counts.items()},
            "precision": _jsonable(_divide(positives, pred)),
            "recall": _jsonable(_divide(positives, true)),
            "mean_matched_iou": _jsonable(_divide(iou_sum, positives)),
            "mean_true_iou": _jsonable(_divide(iou_sum, true)),
        }

    reduce = mean if image_mean else pooled
    return Key(lambda sums: reduce(sums)[..., 0], "neither truth nor prediction holds an object", explain=explain)


def _area_key(*, image_mean: bool) -> Key:
    first = 2 if image_mean else 0
    return Key(
        lambda sums: _divide(sums[..., first], sums[..., first + 1]),
        "neither truth nor prediction holds an object",
        explain=lambda sums: {"rule": "mean over images" if image_mean else "pooled over the set"},
    )


def _graph_key(*, edges: bool) -> Key:
    names = (
        "vertices",
        "splits",
        "missed",
        "extra",
        "edges",
        "redundant_edges",
        "missing_edges",
        "wrong_edges",
    )

    def reduce(sums: Floats) -> Floats:
        from contractile.metrics import ctc

        vertices, splits, missed, extra, links, redundant, missing, wrong = np.moveaxis(sums, -1, 0)
        cost = ctc.SPLIT_COST * splits + ctc.MISSED_COST * missed + ctc.EXTRA_COST * extra
        whole = ctc.MISSED_COST * vertices
        if edges:
            cost = cost + ctc.REDUNDANT_COST * redundant + ctc.MISSING_COST * missing + ctc.WRONG_COST * wrong
            whole = whole + ctc.MISSING_COST * links
        return 1 - _divide(np.minimum(cost, whole), whole)

    def explain(sums: Floats) -> Detail:
        return dict(zip(names[: 8 if edges else 4], sums.astype(int).tolist(), strict=False))

    return Key(reduce, "the truth holds no object", explain=explain)


_DISTANCE = "truth or prediction is empty: there is no outline to measure to"

TITLES = {
    "pixel_error": "pixel error",
    "warping_error": "warping error (splits and mergers per pixel)",
    "rand_error": "Rand error, white class",
    "v_rand": "V_Rand, thinned",
    "v_info": "V_Info, thinned",
    "dice": "Dice",
    "iou": "IoU",
    "adapted_rand": "adapted Rand error",
    "voi_split": "variation of information, split (bits)",
    "voi_merge": "variation of information, merge (bits)",
    "ap": "AP at IoU 0.5, pooled over the set",
    "ap_image_mean": "AP at IoU 0.5, mean over images",
    "f1": "F1 at IoU 0.5, pooled over the set",
    "f1_image_mean": "F1 at IoU 0.5, mean over images",
    "pq": "PQ at IoU 0.5, pooled over the set",
    "pq_image_mean": "PQ at IoU 0.5, mean over images",
    "aji": "aggregated Jaccard index, pooled over the set",
    "aji_image_mean": "aggregated Jaccard index, mean over images",
    "matched_jaccard": "one-to-one Jaccard (Cellpose), pooled over the set",
    "seg": "SEG",
    "det": "DET",
    "tra": "TRA",
    "hausdorff": "Hausdorff distance",
    "hd95": "HD95, pooled border pixels",
    "assd": "average symmetric surface distance",
    "surface_dice": "normalised surface Dice",
}

KEYS: dict[str, Key] = {
    **{name: _threshold_key(name) for name in GROUPS["isbi"]},
    "dice": _class_key(2),
    "iou": _class_key(1),
    "adapted_rand": _mean_key("no object holds two pixels", lower_is_better=True),
    "voi_split": _mean_key("no pixel is left to compare", lower_is_better=True),
    "voi_merge": _mean_key("no pixel is left to compare", lower_is_better=True),
    **{s: _match_key(s, image_mean=False) for s in ("ap", "f1", "pq")},
    **{f"{s}_image_mean": _match_key(s, image_mean=True) for s in ("ap", "f1", "pq")},
    "aji": _area_key(image_mean=False),
    "aji_image_mean": _area_key(image_mean=True),
    "matched_jaccard": _area_key(image_mean=False),
    "seg": _mean_key("the truth holds no object", lower_is_better=False),
    "det": _graph_key(edges=False),
    "tra": _graph_key(edges=True),
    "hausdorff": _mean_key(_DISTANCE, lower_is_better=True),
    "hd95": _mean_key(_DISTANCE, lower_is_better=True),
    "assd": _mean_key(_DISTANCE, lower_is_better=True),
    "surface_dice": _mean_key(_DISTANCE, lower_is_better=False),
}
