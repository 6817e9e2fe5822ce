"""What objects show of themselves: counted by hand, and the same for any blocks."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile import grid
from contractile.dataset import Example
from contractile.decode import CERTAIN, LEVELS, Decoding
from contractile.intensity import Normalization
from contractile.model import ModelCard
from contractile.prediction.blocks import segment
from contractile.prediction.features import BEYOND, Seen, describe_objects
from contractile.prediction.field import Held
from contractile.prediction.unlike import find_unlike, known_by
from contractile.quality import FEATURES, fit_likeness
from contractile.training.quality import compare, learn_confidence, learn_likeness
from contractile.unet import UNetConfig

CARD = ModelCard(network=UNetConfig(classes=3), task="objects", diameter=4.0, decoding=Decoding(min_size=2))


def odds(p):
    return math.log(p / (1 - p))


def seen(labels, inside, level=0):
    """One block that is the whole image."""
    labels = np.array(labels, np.int32)
    return Seen(
        np.pad(labels, 1, constant_values=BEYOND),
        np.full(labels.shape, round(inside * CERTAIN), np.uint16) * (labels >= 0).astype(np.uint16),
        np.full(labels.shape, level, np.int16),
        (0,) * labels.ndim,
    )


def by_name(shown):
    return [dict(zip(FEATURES, row, strict=True)) for row in shown.features]


def test_two_objects_that_touch_counted_by_hand():
    block = seen([[0, 0, 0, 0, 0], [0, 1, 1, 2, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], 0.8, level=LEVELS // 2)
    first, second = by_name(describe_objects([block], 2, typical=4.0))
    assert first["inside"] == pytest.approx(odds(0.8), abs=1e-3)
    assert first["outline"] == pytest.approx(odds(0.8), abs=1e-3)
    assert first["core"] == first["peak"] == pytest.approx(0)
    assert first["unsure"] == second["unsure"] == 1
    assert first["touching"] == 1 / 8
    assert second["touching"] == 1 / 4
    assert first["size"] == 0
    assert second["size"] == -second["odd_size"] == pytest.approx(math.log(1 / 4))
    assert first["uneven"] == pytest.approx(math.log(8 / (8 * math.sqrt(4 / math.pi))))
    assert first["cut"] == second["cut"] == 0


def test_an_object_at_the_border_is_cut_and_what_was_dropped_is_counted():
    block = seen([[1, 1], [1, 1], [0, 0]], 1.0)
    shown = describe_objects([block], 1, typical=4.0)
    assert by_name(shown)[0]["cut"] == 1
    assert shown.rest == pytest.approx(2 / 4)


def test_an_object_of_a_volume_counted_by_hand():
    labels = np.zeros((4, 4, 4), np.int32)
    labels[1:3, 1:3, 1:3] = 1
    labels[3, 1, 1] = 2
    first, second = by_name(describe_objects([seen(labels, 1.0)], 2, typical=8.0))
    assert first["touching"] == 1 / 24
    assert second["cut"] == 1
    assert first["size"] == 0


def test_two_discs_in_one_have_a_waist_and_an_ellipse_has_none():
    y, x = np.mgrid[:60, :100]
    ellipse = ((y - 30) / 12) ** 2 + ((x - 50) / 24) ** 2 <= 1
    discs = (y - 30) ** 2 + (abs(x - 50) - 12) ** 2 <= 12**2
    [one], [two] = (by_name(describe_objects([seen(mask, 1.0)], 1, typical=400.0)) for mask in (ellipse, discs))
    assert one["waist"] == pytest.approx(0, abs=0.01)
    assert two["waist"] == pytest.approx(math.log(4 * math.pi * math.sqrt(5 / 4 / 4) / (2 * math.pi)), abs=0.02)
    assert one["long"] == pytest.approx(math.log(2), abs=0.02)
    assert two["long"] == pytest.approx(math.log(5) / 2, abs=0.03)


def test_a_ball_is_not_long_and_has_no_waist():
    z, y, x = np.mgrid[:21, :21, :21] - 10
    [ball] = by_name(describe_objects([seen(z**2 + y**2 + x**2 <= 64, 1.0)], 1, typical=400.0))
    assert (ball["long"], ball["waist"]) == pytest.approx((0, 0), abs=0.02)


def test_a_dip_is_that_of_a_pixel_within_the_object():
    block = seen([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 1, 1, 1, 0], [0, 0, 0, 0, 0]], 1.0)
    block.level[1, 1] = LEVELS
    block.level[2, 2] = LEVELS // 2
    [found] = by_name(describe_objects([block], 1, typical=9.0))
    assert found["dip"] == pytest.approx(0)


@settings(max_examples=20)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(40, 50), (7, 23, 30)]))
def test_objects_show_the_same_whatever_the_blocks_are(seed, shape):
    maps = np.random.default_rng(seed).random((3, *shape)).astype(np.float32)
    maps /= maps.sum(axis=0)
    card = CARD.model_copy(update={"network": UNetConfig(classes=3, dims=len(shape))})
    whole = segment(Held(maps), card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(grid.BLOCK, len(shape), (16,) * len(shape))
        parts = segment(Held(maps), card)
        found = parts.shown(10.0)
    assert len(parts.mosaic) > 1
    expected = whole.shown(10.0)
    np.testing.assert_array_equal(found.features, expected.features)
    assert found.rest == expected.rest


def maps_of(labels, inside=0.95):
    """Maps (3, *S) from which these labels are decoded."""
    core = np.where(labels > 0, inside, 0.0)
    return np.stack([1 - core, core * 0.99, core * 0.01]).astype(np.float32)


def squares(*places, side=4, shape=(40, 40)):
    labels = np.zeros(shape, np.int32)
    for number, (y, x) in enumerate(places, start=1):
        labels[y : y + side, x : x + side] = number
    return labels


def test_objects_are_compared_with_the_truth():
    predicted = squares((2, 2), (10, 10), (20, 20), (30, 2))
    truth = squares((2, 2), (30, 30))
    truth[10:14, 10:12], truth[10:14, 12:14] = 5, 6  # one object is two: each has half of it
    truth[10:14, 12] = 5  # three quarters and a quarter
    truth[30:34, 2:6] = -1
    known = compare(segment(Held(maps_of(predicted)), CARD), truth, 16.0)
    assert known.right.tolist() == [True, True, False]  # the one that lies where the truth is not known is left out
    assert known.missed.tolist() == [0, 1, 0]
    assert known.alone == 1
    assert known.ap == 2 / (3 + 2)


def test_confidence_is_learned_from_maps_and_a_truth():
    truth = squares(*((y, x) for y in range(2, 38, 8) for x in range(2, 38, 8)))
    wrong = squares((0, 6), (16, 22), shape=(40, 40))
    maps = maps_of(truth)
    maps = np.where((wrong > 0) & (truth == 0), maps_of(wrong, inside=0.55), maps)
    confidence = learn_confidence(CARD, [maps, maps], [truth, truth])
    shown = segment(Held(maps), CARD).shown(confidence.typical)
    chances = confidence.of(shown.features)
    assert chances.min() < 0.5 < np.median(chances)
    assert learn_confidence(CARD.model_copy(update={"diameter": None}), [maps], [truth]) is None


def test_images_that_a_model_learned_from_are_not_unlike_them():
    rng = np.random.default_rng(0)
    images = [rng.normal(100, 10, (1, 160, 160)).astype(np.uint8) for _ in range(3)]
    curves = [Normalization().fit(one) for one in images]
    examples = [Example(str(n), one, np.ones(one.shape[1:], np.int32)) for n, one in enumerate(images)]
    card = CARD.model_copy(update={"likeness": learn_likeness(examples, curves)})
    assert find_unlike(card, images[0], curves[0]).score < 1
    other = rng.normal(100, 1, (1, 700, 600)).astype(np.uint8)  # parts of it are looked at
    assert find_unlike(card, other, Normalization().fit(other)).score > 1
    assert find_unlike(CARD, other, Normalization().fit(other)) is None


def test_a_large_image_is_known_by_its_parts():
    pixels = np.random.default_rng(0).normal(100, 10, (1, 600, 700)).astype(np.uint8)
    curve = Normalization().fit(pixels)
    assert np.abs(known_by(pixels, curve) - known_by(pixels[:, :500, :500], curve)).max() < 0.05
    assert fit_likeness([known_by(np.zeros((1, 20, 300, 300), np.uint8), curve)]) is not None
