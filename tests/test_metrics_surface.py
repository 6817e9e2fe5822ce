import math
import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import stored_scenes, stored_values

from contractile.errors import ContractileError
from contractile.metrics.surface import (
    measure_contours,
    measure_pixels,
    score_surfaces,
    size_elements,
)

masks = arrays(np.uint8, (6, 7), elements=st.integers(0, 1))
volumes = arrays(np.uint8, (3, 4, 4), elements=st.integers(0, 1))
spacings = st.tuples(*[st.sampled_from([0.5, 1.0, 2.5])] * 2)


NAMES = ("hausdorff", "hd95", "assd", "surface_dice")


def astuple(scores):
    return tuple(scores[name] for name in NAMES)


@given(masks, spacings)
def test_perfect_is_perfect(mask, spacing):
    assume(mask.any())
    assert astuple(score_surfaces(mask, mask, spacing=spacing)) == (0, 0, 0, 1)


@given(masks, masks, spacings)
def test_symmetry_bounds_and_order(pred, true, spacing):
    assume(pred.any() and true.any())
    scores = score_surfaces(pred, true, spacing=spacing)
    assert astuple(scores) == pytest.approx(astuple(score_surfaces(true, pred, spacing=spacing)))
    assert 0 <= scores["assd"] <= scores["hausdorff"]
    assert 0 <= scores["hd95"] <= scores["hausdorff"]
    assert 0 <= scores["surface_dice"] <= 1


@given(volumes, volumes)
def test_volumes_too(pred, true):
    assume(pred.any() and true.any())
    scores = score_surfaces(pred, true, spacing=(2.0, 0.5, 1.0))
    assert 0 <= scores["assd"] <= scores["hausdorff"]
    turned = score_surfaces(pred.transpose(2, 0, 1), true.transpose(2, 0, 1), spacing=(1.0, 2.0, 0.5))
    assert astuple(turned) == pytest.approx(astuple(scores))


def test_scaling_the_pixels_scales_the_distances():
    rng = np.random.default_rng(0)
    pred, true = rng.integers(0, 2, (2, 9, 9))
    small = score_surfaces(pred, true, spacing=(0.1, 0.1), tolerance=0.1)
    large = score_surfaces(pred, true)
    assert np.array(astuple(small))[:3] * 10 == pytest.approx(np.array(astuple(large))[:3])
    assert small["surface_dice"] == pytest.approx(large["surface_dice"])


def test_two_single_pixels():
    true, pred = np.zeros((5, 9), int), np.zeros((5, 9), int)
    true[1, 1], pred[4, 5] = 1, 1
    scores = score_surfaces(pred, true, spacing=(2.0, 1.0))
    expected = math.hypot(3 * 2, 4)
    assert (scores["hausdorff"], scores["hd95"], scores["assd"]) == pytest.approx((expected,) * 3)
    assert scores["surface_dice"] == 0


def test_shifted_squares():
    true, pred = np.zeros((20, 20), int), np.zeros((20, 20), int)
    true[5:10, 5:10], pred[5:10, 7:12] = 1, 1
    scores = score_surfaces(pred, true, tolerance=2.0)
    assert scores["hausdorff"] == 2
    assert scores["surface_dice"] == 1


def test_the_edge_of_the_image_is_outside():
    whole = np.ones((4, 4), int)
    assert score_surfaces(whole, whole)["hausdorff"] == 0
    assert measure_pixels(whole > 0, whole > 0, (1.0, 1.0)).from_pred.size == 12


def test_length_and_area_of_contours():
    lengths = size_elements((2.0, 0.5))
    assert lengths[0] == lengths[15] == 0
    assert lengths[0b0001] == lengths[0b1110] == pytest.approx(math.hypot(2, 0.5) / 2)
    assert lengths[0b0011] == 0.5  # white above black: the contour runs along x
    assert lengths[0b0101] == 2.0
    assert lengths[0b0110] == lengths[0b1001] == pytest.approx(math.hypot(2, 0.5))
    areas = size_elements((1.0, 2.0, 3.0))
    assert areas == pytest.approx(areas[::-1])
    assert areas[0b00001111] == pytest.approx(6)  # a plane across z: 2 x 3
    assert areas[0b00110011] == pytest.approx(3)
    triangle = np.linalg.norm(np.cross([-0.5, 1.0, 0], [-0.5, 0, 1.5])) / 2
    assert areas[1] == pytest.approx(triangle)


def test_surface_of_a_ball():
    z, y, x = np.indices((40, 40, 40)) - 19.5
    ball = z**2 + y**2 + x**2 < 15**2
    contours = measure_contours(ball, ball, (1.0, 1.0, 1.0))
    assert contours.pred_weights.sum() == pytest.approx(4 * math.pi * 15**2, rel=0.1)


def test_volumes_agree_with_surface_distance():
    """Values that surface-distance 1f805ce prints for these two volumes."""
    true, pred = np.zeros((9, 11, 10), bool), np.zeros((9, 11, 10), bool)
    true[2:7, 3:9, 2:8], true[2, 3, 2] = True, False
    pred[3:8, 4:10, 2:8], pred[5, 5:8, 4:9], pred[1, 1, 1] = True, False, True
    for spacing, dice, forth, back in (
        ((1.0, 1.0, 1.0), 0.9563813171556869, 0.6349174988013573, 0.732763170438836),
        ((2.0, 0.7, 1.3), 0.7536034893731036, 0.7106330400634226, 0.7921549812209959),
    ):
        scores, contours = score_surfaces(pred, true, spacing=spacing), measure_contours(pred, true, spacing)
        means = [
            np.average(contours.from_true, weights=contours.true_weights),
            np.average(contours.from_pred, weights=contours.pred_weights),
        ]
        assert [scores["surface_dice"], *means] == pytest.approx([dice, forth, back], abs=1e-6)


def test_undefined_where_either_is_empty():
    empty, full = np.zeros((3, 3), int), np.ones((3, 3), int)
    assert score_surfaces(empty, full) is None
    assert score_surfaces(full, empty) is None


def test_refuses_bad_input():
    mask = np.ones((3, 3), int)
    with pytest.raises(
        ValueError, match=r"must be two- or three-dimensional and of one shape, got \(3, 3\) and \(9,\)"
    ):
        score_surfaces(mask, np.ones(9, int))
    with pytest.raises(ContractileError, match=r"spacing must be 2 sizes above 0, got \(1.0, 0.0\); give one per axis"):
        score_surfaces(mask, mask, spacing=(1, 0))
    with pytest.raises(ContractileError, match="spacing must be 2 sizes above 0"):
        score_surfaces(mask, mask, spacing=(1, 1, 1))
    with pytest.raises(ContractileError, match=r"tolerance must be at least 0, got -1; use one pixel size"):
        score_surfaces(mask, mask, tolerance=-1)


@pytest.mark.parametrize("record", stored_values()["surface"], ids=lambda r: f"{r['truth']}-{r['predicted']}")
def test_stored_values_of_medpy_and_surface_distance(record):
    pred, true = (load(record[side]) for side in ("predicted", "truth"))
    for spacing, expected in record["spacing"].items():
        sizes = tuple(float(word) for word in spacing.strip("()").split(","))
        scores = score_surfaces(pred, true, spacing=sizes)
        names = ("hd", "hd95", "assd")
        assert astuple(scores)[:3] == pytest.approx([expected[name] for name in names], abs=1e-6)
        for tolerance, value in expected["surface_dice"].items():
            scores = score_surfaces(pred, true, spacing=sizes, tolerance=float(tolerance))
            assert scores["surface_dice"] == pytest.approx(value, abs=1e-6)


def load(name):
    """`mask_square`, `matching_0_true.tif (>0)`, `matching_0_true.tif == 14`."""
    scenes = stored_scenes()
    if name.startswith("mask"):
        return scenes[name] > 0
    labels = scenes[name.split(".")[0]]
    value = re.search(r"== (\d+)", name)
    return labels == int(value[1]) if value else labels > 0
