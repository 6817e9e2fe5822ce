"""Outlines of objects: drawn again, they are the same labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError, WrongType
from contractile.labels import connected, draw, outline, polygons


def again(labels):
    """Labels drawn from their outlines, with their own numbers."""
    found = list(outline(labels).objects())
    drawn = draw([rings for _, rings in found], labels.shape)
    return np.array([0, *(number for number, _ in found)], np.int32)[drawn]


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12), st.integers(2, 5))
def test_labels_are_drawn_again_from_their_outlines(seed, height, width, values):
    labels = np.random.default_rng(seed).integers(-1, values, (height, width)).astype(np.int32)
    np.testing.assert_array_equal(again(labels), np.maximum(labels, 0))


@pytest.mark.parametrize(
    "rows",
    [
        ["#"],  # one pixel, the whole image
        ["...", ".#.", "..."],
        ["#.", ".#"],  # a contact by a corner
        ["###", "#.#", "###"],  # a hole
        ["#####", "#...#", "#.#.#", "#...#", "#####"],  # an island in a hole
        ["##.", "#.#", ".##"],  # two corners
    ],
)
def test_odd_shapes_are_drawn_again(rows):
    labels = np.array([[cell == "#" for cell in row] for row in rows], np.int32) * 70000
    np.testing.assert_array_equal(again(labels), labels)


def test_a_square_has_four_corners_clockwise_on_the_screen():
    labels = np.zeros((6, 8), np.uint8)
    labels[2:4, 3:7] = 9
    [(number, [ring])] = outline(labels).objects()
    assert number == 9
    start = ring.tolist().index([2, 3])
    assert np.roll(ring, -start, axis=0).tolist() == [[2, 3], [2, 7], [4, 7], [4, 3]]


@given(st.integers(0, 2**32 - 1))
def test_the_area_within_rings_is_that_of_the_object(seed):
    labels = np.random.default_rng(seed).integers(0, 3, (9, 11))
    for number, rings in outline(labels).objects():
        area = 0.0
        for ring in rings:
            y, x = ring.T.astype(float)
            area += np.sum(np.roll(y, -1) * x - np.roll(x, -1) * y) / 2
            steps = np.diff(ring, axis=0, append=ring[:1])
            assert ((steps != 0).sum(axis=1) == 1).all()  # along a row or a column, and each corner is one
            assert (np.diff(steps.astype(bool)[:, 0]) != 0).all()
        assert area == (labels == number).sum()


@settings(max_examples=100)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14))
def test_each_piece_has_its_own_holes(seed, side):
    labels = (np.random.default_rng(seed).random((side, side)) < 0.6).astype(np.int32)
    for _, rings in outline(labels).objects():
        pieces = polygons(rings)
        assert sum(len(piece) for piece in pieces) == len(rings)
        assert len(pieces) == connected(labels > 0).max()
        numbers = draw(pieces, labels.shape)  # no piece lies over another: islands in holes are pieces of their own
        np.testing.assert_array_equal(numbers > 0, labels > 0)
        sizes = np.bincount(connected(labels > 0).ravel())[1:]
        assert sorted(np.bincount(numbers.ravel())[1:]) == sorted(sizes)


def test_pixels_belong_to_a_polygon_by_their_centres():
    triangle = np.array([(0.0, 0.0), (4.0, 0.0), (0.0, 4.0)])
    expected = [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    drawn = draw([[triangle - 0.01]], (4, 4))
    assert drawn.tolist() == [[int(y + x + 1 < 3.98) for x in range(4)] for y in range(4)]
    assert draw([[triangle + 0.01]], (4, 4)).tolist() == expected


def test_the_first_of_shapes_that_overlap_has_the_pixels_and_others_go_on_beyond_the_border():
    square = np.array([(0, 0), (0, 2), (2, 2), (2, 0)])
    assert draw([[square], [square + 1], [square - 1]], (3, 3)).tolist() == [[1, 1, 0], [1, 1, 2], [0, 2, 2]]
    assert draw([[square * 10 - 5]], (2, 2)).tolist() == [[1, 1], [1, 1]]
    assert draw([[square + 50], [square - 50], [], [square[:0]]], (3, 3)).max() == 0
    assert draw([[np.array([(-1e300, -1e300), (1e300, -1e300), (1e300, 1e300), (-1e300, 1e300)])]], (2, 2)).min() == 1


def test_two_triangles_share_the_pixels_along_their_common_side():
    first, second = np.array([(0, 0), (7, 0), (7, 11)]), np.array([(0, 0), (7, 11), (0, 11)])
    assert (draw([[first]], (7, 11)) + draw([[second]], (7, 11))).tolist() == np.ones((7, 11)).tolist()


def test_labels_without_objects_have_no_outlines():
    assert list(outline(np.zeros((3, 4), np.int32)).objects()) == []
    assert list(outline(np.zeros((0, 4), np.int32)).objects()) == []


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(WrongType, match=r"a ring must be numbers \(n, 2\), got int64 of shape \(3,\)"):
        draw([[np.array([1, 2, 3])]], (4, 4))
    with pytest.raises(ContractileError, match="a ring must be finite, got NaN or infinite corners"):
        draw([[np.array([(0, 0), (1, np.nan), (2, 2)])]], (4, 4))
    with pytest.raises(ContractileError, match=r"labels must be \(Y, X\), got shape \(2, 3, 4\)"):
        outline(np.zeros((2, 3, 4), np.int32))
