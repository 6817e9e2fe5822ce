"""What a label image is: pieces, numbers, sizes, and whether numbers are objects or classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from contractile.errors import ContractileError, WrongType
from contractile.labels import (
    as_int32,
    boxes,
    check_labels,
    connected,
    diameters,
    drop_small,
    find_meaning,
    object_sizes,
    outline,
    renumber,
    typical_diameter,
    without_mark,
)

label_images = hnp.arrays(np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=8), elements=st.integers(-2, 9))


def squares(values, size=6):
    """Squares in a row, one per value, with background between."""
    labels = np.zeros((size + 2, len(values) * (size + 2)), np.int32)
    for i, value in enumerate(values):
        labels[1:-1, i * (size + 2) + 1 : (i + 1) * (size + 2) - 1] = value
    return labels


def layers(values, size=6):
    return np.repeat(np.array(values, np.int32), size)[:, None] * np.ones((1, 3 * size), np.int32)


@pytest.mark.parametrize(
    ("images", "task", "values", "guessed"),
    [
        ([squares([255, 255, 255])], "classes", (0, 255), False),
        ([squares([1, 2, 3, 4, 5]), squares([7, 9, 12, 13])], "objects", (), False),
        ([squares([1, 2, 1, 2, 1, 2, 1]), squares([2, 2, 1, 1])], "classes", (0, 1, 2), True),
        ([squares([1, 2, 1, 2])], "classes", (0, 1, 2), True),
        ([squares(list(range(1, 40)))], "objects", (), False),
        ([squares(list(range(1, 21)) * 2)], "classes", tuple(range(21)), False),
        ([squares([1, 2])], "objects", (), True),
        ([squares([1, 2]), squares([1, 2])], "classes", (0, 1, 2), True),
        ([layers([0, 1, 2])], "classes", (0, 1, 2), True),
        ([np.stack(4 * [layers([0, 1, 2])])], "classes", (0, 1, 2), True),
        ([np.stack(4 * [squares([1, 2])])], "objects", (), True),
        ([np.zeros((4, 4), np.int32)], "classes", (0,), False),
    ],
)
def test_objects_or_classes(images, task, values, guessed):
    found = find_meaning(images)
    assert (found.task, found.class_values, found.guessed) == (task, values, guessed)


def test_the_caller_settles_what_labels_mean():
    assert find_meaning([squares([1, 2, 1, 2])], task="objects").task == "objects"
    assert find_meaning([squares([1, 2, 3, 4])], task="classes").class_values == (0, 1, 2, 3, 4)
    assert not find_meaning([squares([1, 2])], task="classes").guessed


def test_an_object_in_every_third_plane_is_one_object():
    stack = np.full((7, 9, 60), -1, np.int32)
    stack[::3] = 0
    for number in range(1, 6):
        stack[::3, 2:6, 10 * number : 10 * number + 6] = number
    assert find_meaning([stack]).task == "objects"
    assert find_meaning(list(stack)).task == "objects"  # plane by plane, too
    stack[stack < 0] = 99
    assert find_meaning([stack], ignore_label=99).task == "objects"


def test_an_ignored_value_is_neither():
    assert find_meaning([squares([1, 1, 9])], ignore_label=9).class_values == (0, 1)


def test_numbers_may_be_as_large_as_they_like():
    top = np.iinfo(np.int32).max
    assert find_meaning([squares([top - 2, top - 1, top])]).task == "objects"
    assert find_meaning([squares([top, top, 7, 7])]).class_values == (0, 7, top)
    assert diameters([squares([top, 1])])[1] == pytest.approx(2 * np.sqrt(36 / np.pi))


def test_an_image_of_grey_values_is_read_in_one_pass():
    noise = np.random.default_rng(0).integers(0, 60_000, (512, 512))
    assert find_meaning([noise]).task == "classes"  # one pass for each of its values would take minutes


@given(label_images)
def test_numbers_without_gaps_in_the_same_order(labels):
    numbers = renumber(labels)
    assert set(np.unique(numbers)) - {0} == set(range(1, numbers.max(initial=0) + 1))
    assert ((numbers == 0) == (labels <= 0)).all()
    assert (np.sign(np.diff(numbers[labels > 0])) == np.sign(np.diff(labels[labels > 0]))).all()


@given(label_images)
def test_boxes_are_tight(labels):
    for number, box in enumerate(boxes(renumber(labels)), start=1):
        inside = renumber(labels)[box] == number
        assert inside.sum() == (renumber(labels) == number).sum()
        for axis in range(labels.ndim):
            others = tuple(a for a in range(labels.ndim) if a != axis)
            assert inside.any(axis=others)[[0, -1]].all()


def test_pieces_connect_by_sides_or_by_corners_too():
    diagonal = np.eye(3, dtype=bool)
    assert connected(diagonal).max() == 3
    assert connected(diagonal, diagonal=True).max() == 1
    bent = np.array([[[1, 0]], [[0, 1]]], bool)
    assert connected(bent).max() == 2
    assert connected(bent, diagonal=True).max() == 1


def test_a_number_that_does_not_occur_has_an_empty_box():
    labels = np.array([[0, 3, 3], [1, 0, 3]], np.int32)
    found = boxes(labels)
    assert found[0] == (slice(1, 2), slice(0, 1))
    assert labels[found[1]].size == 0
    assert found[2] == (slice(0, 2), slice(1, 3))


def test_diameters_are_of_discs_and_balls_and_weighted_by_pixels():
    labels = squares([1] + [2] * 30)
    labels[0, 0] = 3  # a speck
    assert sorted(object_sizes([labels, labels])) == [1, 1, 36, 36, 1080, 1080]
    assert typical_diameter([labels]) == diameters([labels])[2] == pytest.approx(2 * np.sqrt(1080 / np.pi))
    ball = np.zeros((9, 9, 9), np.int32)
    ball[2:6, 2:6, 2:6] = 5
    assert diameters([ball]) == pytest.approx(3 * [(6 * 64 / np.pi) ** (1 / 3)])
    assert diameters([np.zeros((4, 4), np.int32)]) == (0, 0, 0)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("some", [[30], [30, 31], [20, 21, 22], range(0, 60, 6), [22, 23, 38, 39], range(10, 50)])
@pytest.mark.parametrize("spacing", [(), (4, 1, 1)])
def test_balls_are_as_large_however_many_sections_of_them_are_annotated(axis, some, spacing):
    z, y, x = np.indices((60, 60, 60), np.float32)
    z, y, x = ((one - 30) * step for one, step in zip((z, y, x), spacing or (1, 1, 1), strict=True))
    ball = (z**2 + y**2 + x**2 <= 18**2).astype(np.int32)
    if spacing and axis == 0 and ball[list(some)].sum() == 0:
        return  # no section goes through it
    true, labels = diameters([ball])[1], np.full_like(ball, -1)
    known = (slice(None),) * axis + (list(some),)
    labels[known] = ball[known]
    assert diameters([labels], spacing=spacing)[1] == pytest.approx(true, rel=0.25)


def test_of_an_annotated_part_of_a_volume_whole_objects_have_their_own_size():
    labels = np.full((40, 40, 40), -1, np.int32)
    labels[10:30, 10:30, 10:30] = 0
    labels[15:17, 12:28, 12:28] = 1  # flat, and not cut
    assert object_sizes([labels]).tolist() == [2 * 16 * 16]
    assert object_sizes([]).tolist() == []
    assert diameters([np.full((4, 4, 4), -1, np.int32)]) == (0, 0, 0)


@pytest.mark.parametrize("take", [as_int32, outline, lambda labels: without_mark(labels, 255)])
def test_numbers_beyond_int32_are_refused(take):
    labels = np.zeros((4, 4), np.int64)
    labels[1:3, 1:3] = 3_000_000_000
    with pytest.raises(ContractileError, match=r"labels must lie between -2147483648 and 2147483647, got 3000000000"):
        take(labels)
    with pytest.raises(ContractileError, match="got -3000000000"):
        take(-labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int64])
def test_a_mark_becomes_not_annotated_in_any_type(dtype):
    labels = np.array([[0, 1], [2, 100]], dtype)
    assert without_mark(labels, 100).tolist() == [[0, 1], [2, -1]]


def test_objects_between_annotated_planes_are_as_large_as_in_a_whole_volume():
    z, y, x = np.indices((60, 40, 40))
    ball = ((z - 30) ** 2 + (y - 20) ** 2 + (x - 20) ** 2 <= 15**2).astype(np.int32)
    some = ball.copy()
    some[np.arange(60) % 10 != 5] = -1
    assert diameters([some])[1] == pytest.approx(diameters([ball])[1], rel=0.05)
    alone = np.full_like(ball, -1)
    alone[30] = ball[30]


@given(label_images, st.integers(0, 6))
def test_small_objects_are_dropped(labels, least):
    kept = drop_small(np.maximum(labels, 0), least)
    sizes = np.bincount(labels[labels > 0].ravel(), minlength=10)
    assert kept.max(initial=0) == (sizes[1:] >= max(least, 1)).sum()
    assert (kept[(labels > 0) & (sizes[np.maximum(labels, 0)] >= least)] > 0).all()


def test_dropping_takes_no_memory_for_large_numbers():
    top = np.iinfo(np.int32).max
    labels = squares([top, 7, top - 1])
    labels[0, 0] = 10**9  # a speck
    assert np.unique(drop_small(labels, 4)).tolist() == [0, 1, 2, 3]
    assert drop_small(labels, 4)[1, 1] == 3


def test_what_cannot_be_labels():
    with pytest.raises(WrongType, match="labels must be integers, got float64; round them"):
        check_labels(np.zeros((2, 2)))
    with pytest.raises(
        ContractileError, match=r"labels must be \(Y, X\) or \(Z, Y, X\), got shape \(2,\); drop or add"
    ):
        check_labels(np.zeros(2, int))
