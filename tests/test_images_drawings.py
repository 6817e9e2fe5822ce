"""Shapes -> labels: hand-drawn scenes, and the rules for overlaps, classes and what was not annotated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.images.drawings import Numbering, count_pages, fill, find_numbering, on_page, settle_numbers
from contractile.images.shape_files import join_planes
from contractile.images.shapes import Mask, Shape, number_in


def box(top, left, bottom, right, **more):
    ring = np.array([[top, left], [top, right], [bottom, right], [bottom, left]], np.float64)
    return Shape((ring,), **more)


def test_objects_are_numbered_in_their_order():
    drawn = [box(0, 0, 2, 2), box(3, 3, 5, 6)]
    labels = fill(drawn, (5, 6), Numbering()).labels
    expected = np.zeros((5, 6), np.int32)
    expected[:2, :2], expected[3:, 3:] = 1, 2
    np.testing.assert_array_equal(labels, expected)


@pytest.mark.parametrize("order", [1, -1])
def test_the_smaller_shape_is_on_top(order):
    drawn = [box(0, 0, 6, 6, name="large"), box(2, 2, 4, 4, name="small")]
    labels = fill(drawn[::order], (6, 6), Numbering()).labels
    small = 2 if order == 1 else 1
    assert (labels[2:4, 2:4] == small).all()
    assert np.count_nonzero(labels == 3 - small) == 32


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_masks_and_shapes_draw_the_same(seed):
    rng = np.random.default_rng(seed)
    shapes = []
    for _ in range(5):
        corners = np.sort(rng.integers(-3, 12, (2, 2)), axis=0)
        shapes.append(box(*corners[0], *(corners[1] + 1)))
    masks = [
        Mask(np.ones((ring[2] - ring[0]).astype(int), bool), int(ring[0][0]), int(ring[0][1]))
        for shape in shapes
        for ring in shape.rings
    ]
    plain = fill(shapes, (8, 9), Numbering())
    for mixed in (masks, [*masks[:2], *shapes[2:]]):
        found = fill(mixed, (8, 9), Numbering())
        np.testing.assert_array_equal(found.labels, plain.labels)
        assert (found.outside, found.hidden) == (plain.outside, plain.hidden)


@pytest.mark.parametrize("pieces", [False, True])
def test_shapes_without_a_pixel_are_named(pieces):
    drawn = [
        box(0, 0, 3, 3, name="a"),
        box(0, 0, 3, 3, name="b"),
        box(8, 8, 9, 9, name="c"),
        box(-5, 0, 0, 3),
        box(3.6, 3.6, 4.4, 4.4, name="d"),
    ]
    drawn = [Shape(one.rings * (1 + pieces), name=one.name, pieces=pieces) for one in drawn]
    found = fill(drawn, (5, 5), Numbering())
    assert found.hidden == ("b",)
    assert found.outside == ("c", "number 4")
    assert found.small == ("d",)


def test_masks_without_a_pixel_are_named():
    drawn = [
        Mask(np.zeros((0, 0), bool), 0, 0, name="empty"),
        Mask(np.ones((2, 2), bool), 5, 0, name="below"),
        Mask(np.ones((1, 1), bool), 0, 0, name="first"),
        Mask(np.ones((1, 1), bool), 0, 0, name="second"),
    ]
    found = fill(drawn, (5, 5), Numbering())
    assert (found.small, found.outside, found.hidden) == (("empty",), ("below",), ("second",))


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_pieces_that_overlap_are_joined_wherever_they_lie(seed):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(-6, 14, (3, 2, 2)), axis=1)
    rings = [box(*low, *(high + 1)).rings[0] for low, high in corners]
    apart = sum(fill([Shape((ring,))], (8, 9), Numbering()).labels for ring in rings)
    joined = fill([Shape(tuple(rings), pieces=True)], (8, 9), Numbering()).labels
    np.testing.assert_array_equal(joined, apart > 0)


def test_objects_keep_their_numbers():
    drawn = [box(0, 0, 1, 1, number=7), box(0, 1, 1, 2), box(0, 2, 1, 3, number=3), box(0, 3, 1, 4)]
    assert fill(drawn, (1, 4), Numbering()).labels.tolist() == [[7, 8, 3, 9]]
    assert fill(drawn[1:2], (1, 2), Numbering(), known=20).labels.tolist() == [[0, 21]]
    [page] = settle_numbers([drawn])
    assert page == drawn


def test_numbers_that_two_objects_of_a_plane_have_do_not_count():
    double = [box(0, 0, 1, 1, number=7), box(0, 1, 1, 2, number=7)]
    other = [box(0, 0, 1, 1, number=5), box(0, 1, 1, 2, number=7)]
    assert settle_numbers([other, other]) == [other, other]
    assert [[one.number for one in page] for page in settle_numbers([other, double])] == [[0, 0], [0, 0]]
    ignored = [double[0], box(0, 1, 1, 2, number=7, kind="Ignore*")]
    assert settle_numbers([ignored]) == [ignored]


def test_names_that_are_numbers():
    names = ("12", "12 (3)", "9999999", "012", "0", "12-3", "0045-0033", "12345678", "cell 12", "", "1.5", "\u0661")
    assert [number_in(name) for name in names] == [12, 12, 9999999, *[0] * 9]


def test_two_names_are_classes_and_one_is_objects():
    assert find_numbering(["cell", "cell", ""]) == Numbering()
    assert find_numbering(["stroma", "cell", ""]) == Numbering(("cell", "stroma"))
    assert find_numbering(["group 10", "group 2", "group 02"]).classes == ("group 02", "group 2", "group 10")
    assert find_numbering(["9" * 5000, "2"]).classes == ("2", "9" * 5000)
    assert find_numbering(["stroma", "cell"], task="objects") == Numbering()
    assert find_numbering(["cell", "Ignore*"], task="classes") == Numbering(("cell",))
    assert find_numbering([], task="classes") == Numbering(("object",))
    assert find_numbering(["cell", "Background"]) == Numbering(sparse=True)


def test_classes_get_their_numbers_and_nameless_shapes_are_left_out():
    drawn = [box(0, 0, 4, 4, kind="stroma"), box(1, 1, 2, 2, kind="cell"), box(4, 4, 5, 5)]
    found = fill(drawn, (5, 5), Numbering(("cell", "stroma")))
    expected = np.zeros((5, 5), np.int32)
    expected[:4, :4] = 2
    expected[1, 1] = 1
    np.testing.assert_array_equal(found.labels, expected)
    assert found.unnamed == 1


def test_a_single_class_takes_all_shapes():
    assert fill([box(0, 0, 1, 1)], (1, 1), Numbering(("object",))).labels.tolist() == [[1]]


def test_what_was_not_annotated_is_negative():
    drawn = [box(0, 0, 1, 2, kind="Ignore*"), box(1, 0, 2, 1, kind="cell"), box(2, 0, 3, 2, kind="background")]
    expected = [[-1, -1], [1, -1], [0, 0]]
    assert fill(drawn, (3, 2), Numbering(sparse=True)).labels.tolist() == expected
    assert fill(drawn, (3, 2), Numbering()).labels.tolist() == [[-1, -1], [1, 0], [0, 0]]
    region = [box(0, 0, 1, 2, kind="Region*"), box(0, 1, 2, 2, kind="cell")]
    assert fill(region, (3, 2), Numbering()).labels.tolist() == [[0, 1], [-1, 1], [-1, -1]]


def test_a_shape_lies_in_all_pages_that_it_does_not_name():
    drawn = [Shape(()), Shape((), plane={"T": 1}), Shape((), plane={"T": 1, "Z": 2}), Shape((), plane={"": 5})]
    assert on_page(drawn, {"T": 1, "Z": 0, "": 5}) == [drawn[0], drawn[1], drawn[3]]
    assert on_page(drawn, {"": 4}) == drawn[:3]
    assert on_page(drawn, {}) == drawn


def test_pages_without_a_named_axis_are_counted_by_t_or_by_z():
    planes = ({"T": 2, "Z": 0}, {"Z": 3, "T": 0}, {"Z": 1}, {"": 5, "T": 1}, {"T": 0, "Z": 0}, {})
    found = count_pages([Shape((), plane=plane) for plane in planes])
    assert [one.plane for one in found] == [{"": 2}, {"": 3}, {"": 1}, {"": 5, "T": 1}, {"": 0}, {}]


def test_corners_far_off_do_no_harm_and_those_that_are_no_numbers_are_refused():
    far = [box(-1e300, -1e300, 1e300, 2, name="far"), box(3, 3, 4, 1e308, name="other")]
    labels = fill(far, (5, 5), Numbering()).labels
    assert (labels[:, :2] == 1).all()
    assert (labels[3, 3:] == 2).all()
    for value in (np.nan, np.inf):
        with pytest.raises(ContractileError, match="corners must be finite numbers, got others in shape odd"):
            fill([box(0, 0, 1, value, name="odd")], (5, 5), Numbering())


def test_planes_of_one_object_are_joined():
    labels = np.zeros((3, 4, 8), np.int32)
    labels[0, :, :3], labels[0, :, 5:] = 1, 2
    labels[1, :, 5:], labels[1, :, 1:3] = 1, 2  # numbered anew in each plane
    labels[2, :2, :3], labels[2, 2:, :3] = 1, 2  # two that lie under one: the first of equal shares goes on
    joined = join_planes(labels)
    assert joined[0].max() == 2
    assert set(np.unique(joined[1])) == {0, 1, 2}
    assert (joined[1][:, 1:3] == 1).all()
    assert len(np.unique(joined[2][joined[2] > 0])) == 2
    assert joined[2, 0, 1] != joined[2, 3, 1]


def test_known_numbers_stay_and_others_are_joined_to_them():
    labels = np.zeros((3, 2, 6), np.int32)
    labels[0, :, :2], labels[0, :, 4:] = 9, 21  # of 20 known, 21 is the first that nobody named
    labels[1, :, :2], labels[1, :, 4:] = 21, 22
    labels[2, 0, 5] = 9
    expected = labels.copy()
    expected[1, :, :2], expected[1, :, 4:] = 9, 21
    np.testing.assert_array_equal(join_planes(labels, 20), expected)


def test_ignored_pixels_of_planes_stay():
    labels = np.array([[[-1, 1]], [[-1, 1]]], np.int32)
    np.testing.assert_array_equal(join_planes(labels), labels)
