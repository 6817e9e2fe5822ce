"""The scores as values: fully described, and their formulas take many sums at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from contractile.metrics import GROUPS, METRICS
from contractile.metrics.ctc import GraphErrors
from contractile.metrics.matching import IOU_LEVELS
from contractile.metrics.metric import divide, listed, mean, mean_terms

# shape of the terms of each score
SHAPES = {
    **{name: (10, 3) for name in ("pixel_error", "rand_error")},
    **{name: (levels, 2) for name, levels in (("warping_error", 10), ("v_rand", 11), ("v_info", 11))},
    **{name: (3, 3) for name in ("dice", "iou")},
    **{name: (len(IOU_LEVELS), 4) for name in ("ap", "f1", "pq")},
    **{name: (len(IOU_LEVELS), 6) for name in ("ap_image_mean", "f1_image_mean", "pq_image_mean")},
    "aji_image_mean": (1, 4),
    **{name: (1, 2) for name in ("aji", "matched_jaccard")},
    "det": (8,),
    "tra": (8,),
}


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_every_score_says_what_it_is(metric):
    assert METRICS[metric.name] is metric
    assert metric.name in GROUPS[metric.group]
    for text in (metric.short, metric.title, metric.meaning, metric.undefined):
        assert text
        assert text == text.strip(" .")
    assert metric.direction == ("lower is better" if metric.lower_is_better else "higher is better")


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_a_formula_takes_many_sums_at_once(metric):
    sums = np.random.default_rng(0).integers(0, 9, (2, 5, *SHAPES.get(metric.name, (2,)))).astype(np.float64)
    sums[0, 0] = 0
    scores = metric.formula(sums)
    assert scores.shape == (2, 5)
    for i, j in np.ndindex(2, 5):
        one = metric.score(sums[i, j])
        assert (scores[i, j] == one) if one is not None else np.isnan(scores[i, j])
    if metric.name != "pixel_error":  # nothing white in either is no error
        assert metric.score(sums[0, 0]) is None


@given(arrays(np.float64, (4,), elements=st.sampled_from([np.nan, 0.0, 0.25, 1.0])))
def test_the_mean_leaves_out_what_is_undefined(scores):
    expected = np.nanmean(scores) if np.isfinite(scores).any() else np.nan
    assert mean(sum(mean_terms(score) for score in scores)) == pytest.approx(expected, nan_ok=True)
    assert listed(scores) == [None if np.isnan(score) else score for score in scores]


def test_terms_have_names_and_add_up():
    errors = GraphErrors(vertices=3, splits=1, wrong_edges=2)
    assert errors.array.tolist() == [3, 1, 0, 0, 0, 0, 0, 2]
    assert GraphErrors.of(errors.array) == errors
    assert (errors + errors).vertices == 6


def test_a_quotient_by_zero_is_undefined():
    np.testing.assert_array_equal(divide([1, 0, 1], [0, 0, 2]), [np.nan, np.nan, 0.5])
