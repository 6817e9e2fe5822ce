"""Probabilities -> objects."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contractile.instances import Decoding, decode_objects

masks = hnp.arrays(bool, st.one_of(hnp.array_shapes(min_dims=2, max_dims=3, max_side=12)))


def as_probabilities(mask):
    return np.stack([1.0 - mask, mask]).astype(np.float32)


@given(masks, st.integers(0, 5))
def test_objects_are_the_large_enough_parts_numbered_without_gaps(mask, min_size):
    labels = decode_objects(as_probabilities(mask), Decoding(min_size=min_size))
    sizes = np.bincount(labels.ravel())[1:]
    assert labels.dtype == np.int32
    assert (sizes >= max(min_size, 1)).all()
    assert not labels[~mask].any()
    if min_size <= 1:
        assert (labels[mask] > 0).all()


def test_diagonal_neighbours_are_two_objects():
    labels = decode_objects(as_probabilities(np.eye(2, dtype=bool)), Decoding())
    np.testing.assert_array_equal(labels, [[1, 0], [0, 2]])


def test_the_threshold_is_strict():
    probabilities = np.array([[[0.5, 0.4]], [[0.5, 0.6]]], np.float32)
    np.testing.assert_array_equal(decode_objects(probabilities, Decoding(threshold=0.5)), [[0, 1]])
