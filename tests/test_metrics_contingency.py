import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from contractile.errors import ContractileError
from contractile.metrics.contingency import select_objects, tabulate

shapes = array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=9)


@st.composite
def label_pairs(draw, low=0):
    shape = draw(shapes)
    true = draw(arrays(np.int32, shape, elements=st.integers(low, 6)))
    pred = draw(arrays(np.int32, shape, elements=st.integers(0, 6)))
    return pred, true


def count_slowly(pred, true):
    pairs = {}
    for t, p in zip(true.ravel().tolist(), pred.ravel().tolist(), strict=True):
        if t >= 0:
            pairs[t, p] = pairs.get((t, p), 0) + 1
    return pairs


@given(label_pairs(low=-2))
def test_counts_every_pair_once(pair):
    pred, true = pair
    table = tabulate(pred, true)
    values = zip(table.true_values[table.rows], table.pred_values[table.cols], table.counts, strict=True)
    assert {(int(t), int(p)): int(n) for t, p, n in values} == count_slowly(pred, true)


@given(label_pairs())
def test_sizes_are_areas(pair):
    pred, true = pair
    table = tabulate(pred, true)
    assert table.total == true.size
    assert dict(zip(table.true_values.tolist(), table.true_sizes.tolist(), strict=True)) == {
        int(v): int((true == v).sum()) for v in np.unique(true)
    }
    assert dict(zip(table.pred_values.tolist(), table.pred_sizes.tolist(), strict=True)) == {
        int(v): int((pred == v).sum()) for v in np.unique(pred)
    }


@given(label_pairs())
def test_objects_keep_their_whole_area(pair):
    pred, true = pair
    objects = select_objects(tabulate(pred, true))
    assert objects.true_ids.tolist() == [v for v in np.unique(true) if v > 0]
    assert objects.pred_sizes.tolist() == [(pred == v).sum() for v in objects.pred_ids]
    for row, col, shared, iou in zip(objects.rows, objects.cols, objects.shared, objects.iou, strict=True):
        a, b = true == objects.true_ids[row], pred == objects.pred_ids[col]
        assert shared == (a & b).sum()
        assert iou == pytest.approx((a & b).sum() / (a | b).sum())


def test_many_pairs_outgrow_the_first_table():
    true = np.arange(1, 5001).reshape(50, 100)
    table = tabulate(true[::-1], true)
    assert len(table.counts) == 5000
    assert (table.counts == 1).all()


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_every_integer_type_is_taken(dtype):
    labels = np.array([[0, 1], [1, 1]]).astype(dtype)
    assert tabulate(labels, labels).counts.tolist() == [1, 3]


@given(label_pairs(low=-1))
def test_large_numbers_cost_no_more_than_small_ones(pair):
    def enlarge(labels):
        return np.where(labels > 0, 2_000_000_000 + labels, labels)

    small, large = tabulate(*pair), tabulate(*map(enlarge, pair))
    for field in ("rows", "cols", "counts"):
        np.testing.assert_array_equal(getattr(large, field), getattr(small, field))
    np.testing.assert_array_equal(large.true_values, enlarge(small.true_values))
    np.testing.assert_array_equal(select_objects(large).iou, select_objects(small).iou)


def test_no_pixel_is_an_empty_table():
    assert tabulate(np.zeros((0, 4), int), np.zeros((0, 4), int)).total == 0


def test_refuses_different_shapes():
    with pytest.raises(ContractileError, match=r"must have the same shape, got \(2, 3\) and \(3, 2\); score the image"):
        tabulate(np.zeros((2, 3), int), np.zeros((3, 2), int))


def test_refuses_probabilities():
    with pytest.raises(ContractileError, match=r"predicted must hold integer labels, got float64; turn probabilities"):
        tabulate(np.zeros((2, 2)), np.zeros((2, 2), int))


def test_refuses_labels_beyond_32_bits():
    with pytest.raises(ContractileError, match=r"truth must hold labels of at most 32 bits .* 4294967296; renumber"):
        tabulate(np.zeros((1, 1), int), np.full((1, 1), 2**32))


def test_refuses_negative_predictions_where_they_count():
    pred = np.array([[-1, 1]])
    with pytest.raises(ContractileError, match=r"predicted labels must be 0 \(background\) or above, got -1; only the"):
        tabulate(pred, np.array([[0, 1]]))
    assert tabulate(pred, np.array([[-1, 1]])).total == 1
