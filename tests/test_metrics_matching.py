import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import stored_scenes, stored_values
from scipy.optimize import linear_sum_assignment

from contractile.errors import ContractileError
from contractile.metrics import METRICS
from contractile.metrics.contingency import select_objects, tabulate
from contractile.metrics.matching import IOU_LEVELS, match, measure, sum_jaccard, sum_matched_jaccard

labels = arrays(np.int32, (5, 6), elements=st.integers(0, 5))
STARDIST = {
    "true_positives": "tp",
    "false_positives": "fp",
    "false_negatives": "fn",
    "ap": "accuracy",
    "f1": "f1",
    "pq": "panoptic_quality",
    "mean_true_iou": "mean_true_score",
    "mean_matched_iou": "mean_matched_score",
}


def overlap(pred, true):
    return select_objects(tabulate(pred, true))


def iou_matrix(pred, true):
    true_ids, pred_ids = (np.unique(x[x > 0]) for x in (true, pred))
    matrix = np.zeros((len(true_ids), len(pred_ids)))
    for i, t in enumerate(true_ids):
        for j, p in enumerate(pred_ids):
            matrix[i, j] = ((true == t) & (pred == p)).sum() / ((true == t) | (pred == p)).sum()
    return matrix


@given(labels, labels, st.sampled_from([0.05, 0.2, 0.35, 0.5, 0.6, 0.75, 1.0]))
def test_as_many_matches_as_the_best_assignment(pred, true, level):
    iou = iou_matrix(pred, true)
    rows, cols = linear_sum_assignment((iou >= level).astype(float), maximize=True)
    found = match(overlap(pred, true), [level])
    assert found.true_positives == [(iou[rows, cols] >= level).sum()]
    assert (*found.true_objects, *found.pred_objects) == iou.shape


@given(arrays(np.int32, (5, 6), elements=st.integers(0, 3)), arrays(np.int32, (5, 6), elements=st.integers(0, 3)))
def test_of_as_many_matches_those_with_the_largest_sum_of_iou(pred, true):
    iou = iou_matrix(pred, true)
    many = np.zeros((3, 3))
    many[: iou.shape[0], : iou.shape[1]] = iou
    for level in (0.05, 0.15, 0.25, 0.5):
        pairs = [many[range(3), order] for order in itertools.permutations(range(3))]
        best = max((np.count_nonzero(one >= level), one[one >= level].sum()) for one in pairs)
        found = match(overlap(pred, true), [level])
        assert (found.true_positives[0], found.iou_sum[0]) == (best[0], pytest.approx(best[1]))


@given(labels, labels)
def test_symmetry_bounds_and_order(pred, true):
    one, two = match(overlap(pred, true)), match(overlap(true, pred))
    for name, other in (("ap", "ap"), ("f1", "f1"), ("precision", "recall"), ("recall", "precision")):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, other))
    assert one.pq == pytest.approx(two.pq, nan_ok=True)
    for scores in (one.ap, one.f1, one.pq, one.mean_true_iou, sum_jaccard(overlap(pred, true)).iou):
        assert (np.isnan(scores) | ((scores >= 0) & (scores <= 1))).all()
    assert (np.diff(one.true_positives) <= 0).all()


@given(labels, st.permutations(range(1, 6)))
def test_relabelled_truth_is_perfect(true, order):
    objects = overlap(np.array([0, *order])[true], true)
    found = match(objects)
    if not true.any():
        assert np.isnan(found.ap).all()
        return
    for scores in (found.ap, found.f1, found.pq, found.mean_matched_iou):
        assert (scores == 1).all()
    assert sum_jaccard(objects).iou == sum_matched_jaccard(objects).iou == 1


def test_hand_drawn_scene():
    true, pred = np.zeros((4, 12), int), np.zeros((4, 12), int)
    true[0, :10], pred[0, :6] = 1, 1  # IoU 6 / 10
    true[1, :4], pred[1, :4] = 2, 2  # IoU 1
    true[2, :4] = 3  # missed
    pred[3, :5] = 4  # extra
    found = match(overlap(pred, true), [0.5, 0.8])
    assert (found.true_positives[0], found.false_positives[0], found.false_negatives[0]) == (2, 1, 1)
    at_half = [scores[0] for scores in (found.precision, found.recall, found.ap, found.f1, found.pq)]
    assert at_half == pytest.approx((2 / 3, 2 / 3, 1 / 2, 2 / 3, 1.6 / 3))
    assert (found.mean_matched_iou[0], found.mean_true_iou[0]) == pytest.approx((0.8, 1.6 / 3))
    assert found.true_positives[1] == 1
    # (6 + 4) / (10 + 4 + missed 4 + extra 5)
    assert sum_jaccard(overlap(pred, true)).iou == pytest.approx(10 / 23)


def test_one_prediction_may_serve_two_objects_in_kumars_index_only():
    true, pred = np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]])
    kumar, one_to_one = sum_jaccard(overlap(pred, true)), sum_matched_jaccard(overlap(pred, true))
    assert (kumar.shared, kumar.union) == (4, 8)
    assert (one_to_one.shared, one_to_one.union) == (2, 4)


def test_two_halves_match_once_at_one_half():
    true, pred = np.array([[1, 1, 0]]), np.array([[1, 2, 0]])
    assert match(overlap(pred, true), [0.5]).true_positives == [1]
    assert match(overlap(true, pred), [0.5]).true_positives == [1]


def test_pooled_differs_from_the_mean_of_images():
    many = np.arange(1, 13).reshape(3, 4)
    one = np.array([[1]])
    images = [overlap(many, many), overlap(np.array([[0]]), one)]
    names = ("ap", "ap_image_mean", "aji_image_mean")
    terms = [measure(objects, names) for objects in images]
    scores = [METRICS[name].score(terms[0][name] + terms[1][name]) for name in names]
    assert scores == pytest.approx([12 / 13, 1 / 2, 1 / 2])
    assert (match(images[0]) + match(images[1])).ap[0] == pytest.approx(12 / 13)


def test_undefined_without_objects():
    empty, one = np.zeros((2, 2), int), np.ones((2, 2), int)
    found = match(overlap(empty, empty))
    for scores in (found.ap, found.f1, found.pq, found.precision, found.recall):
        assert np.isnan(scores).all()
    assert np.isnan(found.mean_matched_iou).all()
    assert np.isnan(found.mean_true_iou).all()
    assert np.isnan(sum_jaccard(overlap(empty, empty)).iou)
    missed = match(overlap(empty, one), [0.5])
    np.testing.assert_array_equal([*missed.ap, *missed.recall, *missed.precision], [0, 0, np.nan])


@pytest.mark.parametrize("level", [0, -0.5, 1.01, float("nan")])
def test_refuses_levels_outside_0_1(level):
    with pytest.raises(ContractileError, match=r"levels must lie in \(0, 1\], got .*; use for example 0.5"):
        match(overlap(np.ones((1, 1), int), np.ones((1, 1), int)), [0.5, level])


@pytest.mark.parametrize("record", stored_values()["iou_boundary"], ids=lambda r: r["iou"])
def test_levels_are_reached_exactly(record):
    part, whole = (int(word) for word in record["iou"].split("/"))
    true, pred = np.zeros((1, whole + 1), int), np.zeros((1, whole + 1), int)
    true[0, :whole], pred[0, :part] = 1, 1
    assert match(overlap(pred, true), IOU_LEVELS).true_positives.tolist() == record["tp"]


@pytest.mark.parametrize("record", stored_values()["matching"], ids=lambda r: r["predicted"])
def test_stored_values_of_stardist_and_cellpose(record):
    scenes = stored_scenes()
    objects = overlap(scenes[record["predicted"]], scenes[record["truth"]])
    found = match(objects)
    for ours, theirs in STARDIST.items():
        # StarDist prints 0 where nothing is matched or there is nothing to match
        expected = [level[theirs] for level in record["stardist"]]
        assert np.nan_to_num(getattr(found, ours)) == pytest.approx(expected, abs=1e-6)
    assert found.ap == pytest.approx(record["cellpose_ap"], abs=1e-6)
    assert sum_matched_jaccard(objects).iou == pytest.approx(record["cellpose_jaccard"], abs=1e-6)
