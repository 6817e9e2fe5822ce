import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import SHARED, load_shared, needs_shared, stored_scenes, stored_values
from scipy.optimize import linear_sum_assignment

from contractile.metrics.contingency import select_objects, tabulate
from contractile.metrics.matching import IOU_LEVELS, match, pool, sum_jaccard, sum_matched_jaccard

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
    [found] = match(overlap(pred, true), [level])
    assert found.true_positives == (iou[rows, cols] >= level).sum()
    assert (found.true_objects, found.pred_objects) == iou.shape


@given(labels, labels)
def test_symmetry_bounds_and_order(pred, true):
    one, two = match(overlap(pred, true)), match(overlap(true, pred))
    for a, b in zip(one, two, strict=True):
        assert (a.ap, a.f1, a.precision, a.recall) == (b.ap, b.f1, b.recall, b.precision)
        assert (a.pq or 0) == pytest.approx(b.pq or 0)
        assert all(0 <= x <= 1 for x in (a.ap, a.f1, a.pq, a.mean_true_iou) if x is not None)
    counts = [a.true_positives for a in one]
    assert counts == sorted(counts, reverse=True)
    jaccard = sum_jaccard(overlap(pred, true)).score
    assert jaccard is None or 0 <= jaccard <= 1


@given(labels, st.permutations(range(1, 6)))
def test_relabelled_truth_is_perfect(true, order):
    objects = overlap(np.array([0, *order])[true], true)
    if not true.any():
        assert match(objects)[0].ap is None
        return
    for found in match(objects):
        assert found.ap == found.f1 == found.pq == found.mean_matched_iou == 1
    assert sum_jaccard(objects).score == sum_matched_jaccard(objects).score == 1


def test_hand_drawn_scene():
    true, pred = np.zeros((4, 12), int), np.zeros((4, 12), int)
    true[0, :10], pred[0, :6] = 1, 1  # IoU 6 / 10
    true[1, :4], pred[1, :4] = 2, 2  # IoU 1
    true[2, :4] = 3  # missed
    pred[3, :5] = 4  # extra
    at_half, at_80 = match(overlap(pred, true), [0.5, 0.8])
    assert (at_half.true_positives, at_half.false_positives, at_half.false_negatives) == (2, 1, 1)
    assert (at_half.precision, at_half.recall, at_half.ap, at_half.f1) == pytest.approx((2 / 3, 2 / 3, 1 / 2, 2 / 3))
    assert at_half.pq == pytest.approx(1.6 / 3)
    assert (at_half.mean_matched_iou, at_half.mean_true_iou) == pytest.approx((0.8, 1.6 / 3))
    assert at_80.true_positives == 1
    # (6 + 4) / (10 + 4 + missed 4 + extra 5)
    assert sum_jaccard(overlap(pred, true)).score == pytest.approx(10 / 23)


def test_one_prediction_may_serve_two_objects_in_kumars_index_only():
    true, pred = np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]])
    kumar, one_to_one = sum_jaccard(overlap(pred, true)), sum_matched_jaccard(overlap(pred, true))
    assert (kumar.shared, kumar.union) == (4, 8)
    assert (one_to_one.shared, one_to_one.union) == (2, 4)


def test_two_halves_match_once_at_one_half():
    true, pred = np.array([[1, 1, 0]]), np.array([[1, 2, 0]])
    assert match(overlap(pred, true), [0.5])[0].true_positives == 1
    assert match(overlap(true, pred), [0.5])[0].true_positives == 1


def test_pooled_differs_from_the_mean_of_images():
    many = np.arange(1, 13).reshape(3, 4)
    one = np.array([[1]])
    good, bad = match(overlap(many, many))[0], match(overlap(np.array([[0]]), one))[0]
    assert pool([good, bad]).ap == pytest.approx(12 / 13)
    assert np.mean([good.ap, bad.ap]) == pytest.approx(1 / 2)


def test_undefined_without_objects():
    empty, one = np.zeros((2, 2), int), np.ones((2, 2), int)
    nothing = match(overlap(empty, empty))[0]
    assert nothing.ap is nothing.f1 is nothing.pq is nothing.precision is nothing.recall is None
    assert nothing.mean_matched_iou is nothing.mean_true_iou is None
    assert sum_jaccard(overlap(empty, empty)).score is None
    missed = match(overlap(empty, one))[0]
    assert (missed.ap, missed.recall, missed.precision) == (0, 0, None)


@pytest.mark.parametrize("level", [0, -0.5, 1.01, float("nan")])
def test_refuses_levels_outside_0_1(level):
    with pytest.raises(ValueError, match=r"levels must lie in \(0, 1\], got .*; use for example 0.5"):
        match(overlap(np.ones((1, 1), int), np.ones((1, 1), int)), [0.5, level])


@pytest.mark.parametrize("record", stored_values()["iou_boundary"], ids=lambda r: r["iou"])
def test_levels_are_reached_exactly(record):
    part, whole = (int(word) for word in record["iou"].split("/"))
    true, pred = np.zeros((1, whole + 1), int), np.zeros((1, whole + 1), int)
    true[0, :whole], pred[0, :part] = 1, 1
    assert [m.true_positives for m in match(overlap(pred, true), IOU_LEVELS)] == record["tp"]


def check_against_stardist(found, expected):
    for ours, name in STARDIST.items():
        # where nothing is matched (or there is nothing to match) StarDist prints 0
        assert (getattr(found, ours) or 0) == pytest.approx(expected[name], abs=1e-6)


@pytest.mark.parametrize("record", stored_values()["matching"], ids=lambda r: r["predicted"])
def test_stored_values_of_stardist_and_cellpose(record):
    scenes = stored_scenes()
    objects = overlap(scenes[record["predicted"]], scenes[record["truth"]])
    found = match(objects)
    for ours, theirs, ap in zip(found, record["stardist"], record["cellpose_ap"], strict=True):
        check_against_stardist(ours, theirs)
        assert ours.ap == pytest.approx(ap, abs=1e-6)
    assert sum_matched_jaccard(objects).score == pytest.approx(record["cellpose_jaccard"], abs=1e-6)


@needs_shared
def test_all_values_of_stardist_and_cellpose():
    import tifffile

    reference = load_shared("matching", "instance.json")
    images = {}
    for record in reference["records"]:
        names = record["true"], record["pred"]
        objects = overlap(*(tifffile.imread(SHARED / "matching" / name) for name in reversed(names)))
        images["|".join(names)] = match(objects)
        for found, expected in zip(
            match(objects), record["outputs"]["stardist.matching(thresh=0.5..0.95)"], strict=True
        ):
            check_against_stardist(found, expected)
        jaccard = record["outputs"]["cellpose.aggregated_jaccard_index"]
        if jaccard != "nan":
            assert sum_matched_jaccard(objects).score == pytest.approx(jaccard, abs=1e-6)
    pooled, by_image = np.array_split(reference["stardist.matching_dataset(by_image False then True)"], 2)
    for i, (one, other) in enumerate(zip(pooled, by_image, strict=True)):
        matches = [images[name][i] for name in reference["dataset_over"]]
        assert pool(matches).ap == pytest.approx(one["accuracy"], abs=1e-6)
        assert pool(matches).pq == pytest.approx(one["panoptic_quality"], abs=1e-6)
        assert np.mean([m.ap for m in matches]) == pytest.approx(other["accuracy"], abs=1e-6)
        assert np.mean([m.pq for m in matches]) == pytest.approx(other["panoptic_quality"], abs=1e-6)
