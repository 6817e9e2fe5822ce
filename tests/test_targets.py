import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from contractile.errors import ContractileError
from contractile.targets import (
    IGNORE,
    TargetConfig,
    class_balance,
    find_cores,
    make_target,
    separate,
    separation_weight,
)

quick = settings(deadline=None, max_examples=60)
labellings = arrays(np.int32, array_shapes(min_dims=2, max_dims=3, max_side=9), elements=st.integers(-1, 4))


def touching(labels):
    """Pairs of neighbours, corners included, that belong to different objects."""
    count = 0
    for step in itertools.product((-1, 0, 1), repeat=labels.ndim):
        padded = np.pad(labels, 1)
        there = padded[tuple(slice(1 + s, 1 + s + n) for s, n in zip(step, labels.shape, strict=True))]
        count += ((labels > 0) & (there > 0) & (labels != there)).sum()
    return count


def one_map_per_object(labels, *, w0, sigma, spacing=None):
    """The definition, with a distance transform of the whole image for every object."""
    ids = np.unique(labels[labels > 0])
    if len(ids) < 2:
        return np.zeros(labels.shape)
    maps = np.stack([ndimage.distance_transform_edt(labels != i, sampling=spacing) for i in ids])
    d1, d2 = np.sort(maps, axis=0)[:2]
    return np.where(labels > 0, 0, w0 * np.exp(-((d1 + d2) ** 2) / (2 * sigma**2)))


def scene(shape=(60, 70), n=25, radius=7, seed=0):
    """Round objects that touch, as int32 labels."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.int32)
    for i, point in enumerate(rng.integers(0, shape, (n, len(shape))), 1):
        seeds[tuple(point)] = i
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    return np.where(distance <= radius, seeds[tuple(nearest)], 0).astype(np.int32)


# the gap


@given(labellings)
@quick
def test_no_two_objects_touch_after_separation(labels):
    assert touching(separate(labels)) == 0


@given(labellings)
@quick
def test_separation_clears_only_pixels_that_touch_another_object(labels):
    before = labels.copy()
    separated = separate(labels)
    assert (labels == before).all()
    assert separated.dtype == np.int32
    cleared = separated != labels
    assert (separated[cleared] == 0).all()
    for pixel in np.argwhere(cleared):
        around = labels[tuple(slice(max(0, c - 1), c + 2) for c in pixel)]
        assert labels[tuple(pixel)] > 0
        assert ((around > 0) & (around != labels[tuple(pixel)])).any()


def test_gap_of_two_rectangles_is_one_pixel_wide():
    labels = np.zeros((4, 8), np.int32)
    labels[1:3, 1:4], labels[1:3, 4:7] = 1, 2
    expected = [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 2, 2, 0],
        [0, 1, 1, 0, 0, 2, 2, 0],  # the upper right neighbour is object 2
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert separate(labels).tolist() == expected


def test_objects_apart_stay_as_they_are():
    labels = np.array([[1, 1, 0, 2], [1, 1, 0, 2], [0, 0, 0, 0], [3, 3, 3, 3]], np.int32)
    assert (separate(labels) == labels).all()
    assert (separate(labels.astype(np.uint8)) == labels).all()


# cores


def in_one_piece(labels):
    """Labels with the first piece of each object only."""
    out = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        out[ndimage.label(labels == value)[0] == 1] = value
    return out


@given(labellings)
@quick
def test_no_two_cores_touch_and_each_is_in_one_piece(labels):
    cores = find_cores(labels)
    assert cores.dtype == np.int32
    assert ((cores == 0) | (cores == labels)).all()
    for value in np.unique(cores[cores > 0]):
        inside = cores == value
        assert ndimage.label(inside)[1] == 1
        assert not (ndimage.binary_dilation(inside) & (cores > 0) & ~inside).any()


@given(labellings)
@quick
def test_an_object_that_touches_nothing_is_all_core(labels):
    labels = in_one_piece(np.maximum(labels, 0))
    cores = find_cores(labels)
    for value in np.unique(labels[labels > 0]):
        inside = labels == value
        if not (ndimage.binary_dilation(inside) & (labels > 0) & ~inside).any():
            assert (cores[inside] == value).all()


def test_what_is_left_of_two_rectangles_a_line_and_a_cut_off_end():
    labels = np.array([[1, 1, 1, 2, 2, 2], [3, 3, 3, 3, 3, 3], [4, 4, 4, 4, 4, 0]], np.int32)
    assert find_cores(labels).tolist() == [[0, 0, 0, 0, 0, 0], [3, 3, 3, 3, 3, 3], [0, 0, 0, 0, 0, 0]]
    wide = np.repeat(labels, 2, axis=0)
    assert find_cores(wide).tolist() == [
        [1, 1, 1, 0, 2, 2],
        [1, 1, 1, 0, 2, 2],
        [0, 0, 0, 0, 0, 0],
        [3, 3, 3, 3, 3, 3],
        [0, 0, 0, 0, 0, 0],
        [4, 4, 4, 4, 4, 0],
    ]
    bent = np.array([[1, 0, 1], [1, 1, 1], [2, 0, 0]], np.int32)
    assert find_cores(bent).tolist() == [[0, 0, 1], [0, 1, 1], [2, 0, 0]]


def test_an_object_between_planes_that_nobody_annotated_is_core_in_all_of_them():
    stack = np.full((5, 6, 12), -1, np.int32)
    stack[::2] = 0
    stack[::2, 1:5, 1:6], stack[::2, 1:5, 6:11] = 1, 2
    target = make_target(stack, TargetConfig(separation="contact", w0=0, balance=False))
    assert (target.classes[::2] == target.classes[0]).all()
    assert (target.classes[0, 1:5, 1:6] == 1).all()
    assert (target.classes[1::2] == -1).all()


def test_of_objects_where_they_touch_is_a_class_of_its_own():
    labels = np.array([[0, 1, 1, 2, 2, 0], [0, 1, 1, 2, 2, -1]], np.int32)
    target = make_target(labels, TargetConfig(separation="contact", w0=10, sigma=5, balance=False))
    assert target.classes.tolist() == [[0, 1, 1, 2, 1, 0], [0, 1, 1, 2, 1, -1]]
    between = 1 + 10 * math.exp(-(2**2) / 50)
    assert target.weight[:, 3].tolist() == pytest.approx([between, between])
    assert target.weight[1].tolist()[1:3] == [1, 1]
    assert target.weight[1, 5] == 0


# the weight between objects


def test_weight_of_a_hand_drawn_pair():
    labels = np.zeros((5, 9), np.int32)
    labels[2, :2], labels[2, 6:] = 1, 2
    weight = separation_weight(labels, w0=10, sigma=5)

    def expected(d1, d2):
        return pytest.approx(10 * math.exp(-((d1 + d2) ** 2) / 50), rel=1e-5)

    assert weight[2, 2] == expected(1, 4)
    assert weight[2, 3] == expected(2, 3)
    assert weight[2, 5] == expected(1, 4)
    assert weight[0, 3] == expected(math.hypot(2, 2), math.hypot(3, 2))
    assert weight[4, 0] == expected(2, math.hypot(6, 2))
    assert (weight[labels > 0] == 0).all()


def test_weight_asks_for_two_objects_not_for_two_pixels():
    labels = np.zeros((20, 20), np.int32)
    labels[5:15, 5:15] = 7
    assert (separation_weight(labels, w0=10, sigma=5) == 0).all()


@given(labels=labellings, w0=st.floats(0.5, 20), sigma=st.floats(0.5, 4))
@quick
def test_weight_is_that_of_one_distance_map_per_object(labels, w0, sigma):
    weight = separation_weight(labels, w0=w0, sigma=sigma)
    assert weight.dtype == np.float32
    assert ((weight == 0) | (weight >= np.float32(1e-5))).all()
    np.testing.assert_allclose(weight, one_map_per_object(labels, w0=w0, sigma=sigma), rtol=1e-5, atol=1e-5)


@given(labels=labellings, steps=st.tuples(*[st.sampled_from((0.5, 1.0, 2.5))] * 3))
@quick
def test_weight_in_space(labels, steps):
    spacing = steps[: labels.ndim]
    weight = separation_weight(labels, w0=10, sigma=2, spacing=spacing)
    expected = one_map_per_object(labels, w0=10, sigma=2, spacing=spacing)
    np.testing.assert_allclose(weight, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(120, 130), (12, 40, 40)])
def test_weight_of_a_crowded_scene(shape):
    labels = separate(scene(shape, n=60, radius=8))
    weight = separation_weight(labels, w0=10, sigma=5)
    np.testing.assert_allclose(weight, one_map_per_object(labels, w0=10, sigma=5), rtol=1e-5, atol=1e-5)


def test_weight_of_objects_with_large_numbers():
    labels = scene()
    large = np.where(labels > 0, np.iinfo(np.int32).max - labels, 0)
    assert (separation_weight(large, w0=10, sigma=5) == separation_weight(labels, w0=10, sigma=5)).all()


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("separation", ["gap", "contact", "none"])
def test_targets_of_objects_with_large_numbers(dtype, separation):
    labels = scene()
    first = {np.int32: 2_000_000_000, np.uint32: 4_000_000_000}.get(dtype, 2**40)
    large = np.where(labels > 0, labels.astype(np.int64) + first, 0).astype(dtype)
    config = TargetConfig(separation=separation)
    expected, found = make_target(labels, config), make_target(large, config)
    np.testing.assert_array_equal(found.classes, expected.classes)
    np.testing.assert_array_equal(found.weight, expected.weight)


def test_classes_with_large_numbers():
    labels = np.array([[0, 7], [2_000_000_000, -1]])
    target = make_target(labels, TargetConfig(task="classes", class_values=(0, 7, 2_000_000_000), w0=0))
    assert target.classes.tolist() == [[0, 1], [2, IGNORE]]


def test_weight_does_not_depend_on_the_layout_in_memory():
    labels = scene((40, 50), n=12)
    expected = separation_weight(labels, w0=10, sigma=5)
    assert (separation_weight(np.asfortranarray(labels), w0=10, sigma=5) == expected).all()
    assert (separation_weight(np.repeat(labels, 2, axis=1)[:, ::2], w0=10, sigma=5) == expected).all()
    np.testing.assert_allclose(separation_weight(labels.T, w0=10, sigma=5).T, expected, atol=1e-5)
    frozen = labels.copy()
    frozen.flags.writeable = False
    assert (separation_weight(frozen.astype(np.uint16), w0=10, sigma=5) == expected).all()


def test_no_weight_when_w0_is_0_or_nothing_is_there():
    assert (separation_weight(scene(), w0=0, sigma=5) == 0).all()
    assert separation_weight(np.zeros((0, 4), int), w0=10, sigma=5).shape == (0, 4)


# the whole target


@given(labels=labellings, balance=st.booleans(), gap=st.booleans())
@quick
def test_ignored_pixels_have_weight_0_and_class_minus_1(labels, balance, gap):
    before = labels.copy()
    target = make_target(labels, TargetConfig(balance=balance, separation="gap" if gap else "none"))
    assert (labels == before).all()
    assert (target.classes.dtype, target.weight.dtype) == (np.int16, np.float32)
    assert target.classes.shape == target.weight.shape == labels.shape
    assert ((target.classes == IGNORE) == (labels < 0)).all()
    assert (target.weight[labels < 0] == 0).all()
    assert (target.weight[labels >= 0] > 0).all()


@given(labels=labellings)
@quick
def test_balance_makes_the_mean_weight_1(labels):
    target = make_target(labels, TargetConfig(w0=0))
    labelled = labels >= 0
    if labelled.any():
        assert target.weight[labelled].mean() == pytest.approx(1, rel=1e-4)


def test_target_of_touching_objects_adds_up():
    labels = scene()
    target = make_target(labels, TargetConfig(w0=8, sigma=3))
    apart = separate(labels)
    w_c = class_balance((apart > 0).astype(int), 2)
    assert (target.classes == (apart > 0)).all()
    expected = w_c[(apart > 0).astype(int)] + one_map_per_object(apart, w0=8, sigma=3)
    np.testing.assert_allclose(target.weight, expected, atol=1e-4)


def test_without_gap_touching_objects_are_one_foreground():
    labels = scene()
    target = make_target(labels, TargetConfig(separation="none", balance=False, w0=0))
    assert (target.classes == (labels > 0)).all()
    assert (target.weight == 1).all()


def test_membrane_map_is_objects_seen_as_parts_of_the_white_class():
    picture = np.full((6, 9), 255, np.uint8)
    picture[:, 4] = 0  # a membrane between two white cells
    target = make_target(picture, TargetConfig(task="classes", class_values=(0, 255), balance=False))
    assert (target.classes == (picture == 255)).all()
    assert target.weight[0, 4] == pytest.approx(1 + 10 * math.exp(-4 / 50), rel=1e-5)
    assert (target.weight[:, :4] == 1).all()


def test_classes_follow_the_order_of_the_values():
    labels = np.array([[7, 3, 200], [-2, 3, 9]], np.int16)
    config = TargetConfig(task="classes", class_values=(200, 3, 7), ignore_label=9, balance=False)
    target = make_target(labels, config)
    assert target.classes.tolist() == [[2, 1, 0], [-1, 1, -1]]
    assert target.weight.tolist() == [[1, 1, 1], [0, 1, 0]]  # no separation with three classes
    assert config.n_classes == 3
    assert TargetConfig().n_classes == 2


def test_ignored_pixels_are_no_objects_that_need_separation():
    labels = np.zeros((20, 30), int)
    labels[:, :10], labels[:, 13:] = 1, 255
    config = TargetConfig(task="classes", class_values=(0, 1), ignore_label=255, balance=False)
    assert make_target(labels, config).weight[:, 10:13].max() == 1
    labels[:, 13:] = 1
    assert make_target(labels, config).weight[:, 10:13].min() > 5


def test_ignore_label_of_objects():
    labels = np.array([[0, 1, 255], [2, 2, 255]], np.uint8)
    target = make_target(labels, TargetConfig(ignore_label=255, separation="none"))
    assert target.classes.tolist() == [[0, 1, -1], [1, 1, -1]]


def test_class_weights_of_the_dataset_replace_those_of_the_image():
    labels = np.array([[0, 0, 1], [0, 0, 1]], np.int32)
    target = make_target(labels, TargetConfig(), class_weights=[0.5, 3])
    assert target.weight.tolist() == [[0.5, 0.5, 3], [0.5, 0.5, 3]]


@pytest.mark.parametrize("field", [{"w0": 10, "sigma": 3}, {"w0": 0, "known_around": 4}])
def test_lengths_are_in_pixels_of_the_finest_axis(field):
    labels = np.zeros((5, 30, 30), np.int32)
    labels[2, 5:9, 5:9], labels[2, 12:16, 5:9] = 1, 2
    in_um, in_pixels = (make_target(labels, TargetConfig(spacing=s, **field)) for s in ((1, 0.25, 0.25), (4, 1, 1)))
    np.testing.assert_array_equal(in_um.classes, in_pixels.classes)
    np.testing.assert_allclose(in_um.weight, in_pixels.weight)


def test_class_balance_by_hand():
    classes = np.array([0, 0, 0, 0, 0, 0, 1, 1, 3, -1])  # class 2 is absent
    weights = class_balance(classes, 4)
    np.testing.assert_allclose(weights, [9 / (3 * 6), 9 / (3 * 2), 1, 9 / 3])
    np.testing.assert_allclose(class_balance([classes[:5], classes[5:]], 4), weights)
    assert class_balance(np.full(3, -1), 2).tolist() == [1, 1]


# refusals


@pytest.mark.parametrize("function", [separate, lambda x: separation_weight(x, w0=1, sigma=1)])
def test_labels_that_are_none_are_refused(function):
    with pytest.raises(TypeError, match="labels must be integers, got float64; round them"):
        function(np.zeros((3, 3)))
    with pytest.raises(ValueError, match=r"labels must be \(Y, X\) or \(Z, Y, X\), got shape \(3,\)"):
        function(np.zeros(3, int))


def test_spacing_that_does_not_fit_is_refused():
    labels = np.zeros((3, 3), int)
    for spacing in ((1.0, 0.0), (1.0, 1.0, 1.0)):
        with pytest.raises(ValueError, match=r"spacing must hold one positive number for each of the 2 axes"):
            separation_weight(labels, w0=1, sigma=1, spacing=spacing)


@pytest.mark.parametrize("field", [{"known_around": 2}, {"w0": 1}])
def test_spacing_of_another_number_of_axes_is_refused(field):
    config = TargetConfig(spacing=(5, 1, 1), **field)
    with pytest.raises(ValueError, match=r"spacing must hold one number for each of the 2 axes, got \(5.0, 1.0, 1.0\)"):
        make_target(np.eye(3, dtype=int), config)
    with pytest.raises(
        ContractileError,
        match=r"spacing must be positive and differ by .* got \(0.0, 1.0\); use \(\)",
    ):
        TargetConfig(spacing=(0, 1))


def test_unknown_values_are_refused():
    config = TargetConfig(task="classes", class_values=(0, 1))
    with pytest.raises(ValueError, match=r"only the class_values \(0, 1\).*got also \[2, 5\]; add them"):
        make_target(np.array([[0, 1], [5, 2]]), config)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, math.nan]])
def test_class_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ValueError, match="class_weights must hold 2 finite numbers >= 0, one per class"):
        make_target(np.zeros((2, 2), int), TargetConfig(), class_weights=weights)


def test_configurations_without_meaning_are_refused():
    with pytest.raises(ContractileError, match=r"class_values must name at least two .* got \(\); list"):
        TargetConfig(task="classes")
    with pytest.raises(ContractileError, match=r"class_values must name at least two .* got \(1, 1\)"):
        TargetConfig(task="classes", class_values=(1, 1))
    with pytest.raises(ContractileError, match=r"class_values must be empty for task 'objects', got \(0, 1\)"):
        TargetConfig(class_values=(0, 1))
    with pytest.raises(ContractileError, match=r"ignore_label must not be one of class_values \(0, 1\), got 1"):
        TargetConfig(task="classes", class_values=(0, 1), ignore_label=1)
    with pytest.raises(ContractileError, match="sigmas does not exist, got 3; write sigma"):
        TargetConfig(sigmas=3)


def test_of_sparse_labels_only_the_surroundings_of_objects_are_known():
    labels = np.zeros((9, 21), np.int32)
    labels[3:6, 3:6] = 7
    labels[0, 20] = -1
    target = make_target(labels, TargetConfig(separation="contact", w0=0, known_around=2))
    y, x = np.indices(labels.shape)
    away = np.hypot(np.maximum(abs(y - 4) - 1, 0), np.maximum(abs(x - 4) - 1, 0))
    np.testing.assert_array_equal(target.classes, np.where(labels == 7, 1, np.where(away <= 2, 0, -1)))
    assert (target.weight[away > 2] == 0).all()
    assert (make_target(np.zeros_like(labels), TargetConfig(known_around=2)).classes == -1).all()


def test_classes_are_never_sparse_in_this_way():
    with pytest.raises(ContractileError, match="known_around must be left out for task 'classes', got 3"):
        TargetConfig(task="classes", class_values=(0, 1), known_around=3)
