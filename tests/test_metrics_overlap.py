import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import stored_scenes, stored_values

from contractile.metrics import METRICS
from contractile.metrics.contingency import tabulate
from contractile.metrics.overlap import (
    adapted_rand,
    class_overlap,
    foreground_overlap,
    variation_of_information,
)

labels = arrays(np.int32, (6, 7), elements=st.integers(0, 4))


def test_hand_drawn_classes():
    true = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    pred = np.array([[0, 1, 1, 1], [0, 1, 1, 1]])
    found = class_overlap(tabulate(pred, true), (0, 1))
    assert found.dice == pytest.approx([4 / 6, 8 / 10])
    assert found.iou == pytest.approx([2 / 4, 4 / 6])


def test_absent_from_both_is_undefined_and_from_one_is_zero():
    table = tabulate(np.array([[0, 2]]), np.array([[0, 1]]))
    found = class_overlap(table, [0, 1, 2, 3])
    np.testing.assert_array_equal(found.iou, [1, 0, 0, np.nan])
    np.testing.assert_array_equal(found.dice, [1, 0, 0, np.nan])
    assert METRICS["iou"].score(found.array) == pytest.approx(1 / 3)
    assert METRICS["iou"].score(found.array[3:]) is None


def test_ignored_pixels_are_in_no_count():
    true = np.array([[-1, -1, 1, 0]])
    assert foreground_overlap(tabulate(np.array([[1, 0, 1, 0]]), true)).iou == [1]


@given(labels)
def test_perfect_is_perfect(true):
    table = tabulate(true, true)
    found = class_overlap(table, table.true_values.tolist())
    assert (found.dice == 1).all()
    assert (found.iou == 1).all()
    assert variation_of_information(table) == (0, 0)
    rand = adapted_rand(table, ignore=())
    assert rand is None or rand[0] == pytest.approx(0)


@given(labels, labels)
def test_bounds_and_symmetry(pred, true):
    one, two = tabulate(pred, true), tabulate(true, pred)
    np.testing.assert_array_equal(foreground_overlap(one).iou, foreground_overlap(two).iou)
    split, merge = variation_of_information(one)
    assert (merge, split) == pytest.approx(variation_of_information(two), abs=1e-12)
    assert 0 <= split <= math.log2(true.size)
    rand = adapted_rand(one, ignore=())
    if rand is not None:
        error, precision, recall = adapted_rand(two, ignore=())
        assert 0 <= error <= 1
        assert rand == pytest.approx((error, recall, precision))


@given(labels, labels, st.permutations(range(1, 5)))
def test_relabelling_changes_nothing(pred, true, order):
    new = np.array([0, *order])
    one, two = tabulate(pred, true), tabulate(new[pred], true)
    assert variation_of_information(one) == pytest.approx(variation_of_information(two))
    before, after = adapted_rand(one), adapted_rand(two)
    assert (before is None) == (after is None)
    assert before is None or before[0] == pytest.approx(after[0])


def test_splitting_in_halves_costs_one_bit():
    true = np.ones((4, 4), int)
    pred = np.repeat([[1, 2]], 2, axis=1).repeat(4, axis=0)
    assert variation_of_information(tabulate(pred, true)) == pytest.approx((1, 0))
    assert variation_of_information(tabulate(true, pred)) == pytest.approx((0, 1))


def test_undefined_without_pairs():
    empty = np.zeros((3, 3), int)
    assert adapted_rand(tabulate(empty, empty)) is None
    assert variation_of_information(tabulate(empty, empty), ignore=(0,)) is None
    single = np.array([[1, 0]])
    assert adapted_rand(tabulate(single, single)) is None


def check_against_scikit_image(table, rand, rand_all, voi, voi_foreground):
    for (error, recall, precision), ignore in ((rand, (0,)), (rand_all, ())):
        assert adapted_rand(table, ignore=ignore) == pytest.approx((error, precision, recall), abs=1e-6)
    assert variation_of_information(table) == pytest.approx(voi, abs=1e-6)
    assert variation_of_information(table, ignore=(0,)) == pytest.approx(voi_foreground, abs=1e-6)


@pytest.mark.parametrize("record", stored_values()["matching"], ids=lambda r: r["predicted"])
def test_stored_values_of_scikit_image(record):
    scenes = stored_scenes()
    table = tabulate(scenes[record["predicted"]], scenes[record["truth"]])
    values = [record[k] for k in ("adapted_rand", "adapted_rand_all", "voi", "voi_foreground")]
    check_against_scikit_image(table, *values)
