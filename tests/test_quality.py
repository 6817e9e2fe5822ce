"""Quality without a truth: how likely an object is right, what is expected of an image, whether it is an odd one."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.quality import (
    FEATURES,
    Calibration,
    Confidence,
    Known,
    Likeness,
    Shown,
    expect_together,
    fit_calibration,
    fit_confidence,
    fit_likeness,
    statistics,
)

N = len(FEATURES)


def images(seed, number=40, objects=30):
    """Images whose objects are right by a chance that follows from their first feature; one in ten hides another."""
    rng, made = np.random.default_rng(seed), []
    for _ in range(number):
        features = rng.normal(size=(objects, N))
        right = rng.random(objects) < 1 / (1 + np.exp(-(1 + 2 * features[:, 0])))
        missed = ((~right) & (rng.random(objects) < 0.5)).astype(float)
        alone = int(rng.poisson(0.05 * objects))
        ap = right.sum() / (objects + missed.sum() + alone)
        made.append(Known(Shown(features, 0.0), right, missed, alone, float(ap)))
    return made


def test_chances_are_those_that_objects_have():
    confidence = fit_confidence(images(0), typical=100.0)
    for one in images(1, number=3, objects=2000):
        chances = confidence.of(one.shown.features)
        true = 1 / (1 + np.exp(-(1 + 2 * np.clip(one.shown.features[:, 0], -3, 3))))
        assert np.abs(chances - true).mean() < 0.03
        assert abs(chances.mean() - one.right.mean()) < 0.03


def test_what_is_expected_of_images_is_what_they_have():
    confidence, others = fit_confidence(images(0, number=150), typical=100.0), images(1, number=150)
    expected = [confidence.expect(one.shown) for one in others]
    assert abs(np.mean([one.ap for one in expected]) - np.mean([one.ap for one in others])) < 0.03
    held = [a.ap_low <= one.ap <= a.ap_high for a, one in zip(expected, others, strict=True)]
    assert 0.85 <= np.mean(held) <= 1
    total = [one.right.sum() + one.missed.sum() + one.alone for one in others]
    held = [a.objects_low <= n <= a.objects_high for a, n in zip(expected, total, strict=True)]
    assert 0.85 <= np.mean(held) <= 1
    together = expect_together(confidence, [one.shown for one in others])
    assert together.ap_high - together.ap_low < expected[0].ap_high - expected[0].ap_low
    assert together.objects == pytest.approx(sum(one.objects for one in expected))


def test_what_was_learned_from_one_image_is_not_sure():
    held = []
    for seed in range(40):
        confidence = fit_confidence(images(seed, number=1, objects=18), typical=100.0)
        [large] = images(seed + 1000, number=1, objects=2000)
        found = confidence.expect(large.shown)
        held.append(found.ap_low <= large.ap <= found.ap_high)
    assert np.mean(held) > 0.85


@given(st.integers(0, 2**32 - 1), st.floats(0, 20), st.integers(0, 50))
def test_what_is_expected_is_within_its_bounds(seed, rest, objects):
    confidence = fit_confidence(images(0, number=5), typical=100.0)
    found = confidence.expect(Shown(np.random.default_rng(seed).normal(size=(objects, N)) * 5, rest))
    if found is not None:
        assert 0 <= found.ap_low <= found.ap <= found.ap_high <= 1
        assert 0 <= found.objects_low <= found.objects <= found.objects_high


def test_nothing_is_expected_where_there_is_nothing():
    confidence = fit_confidence(images(0, number=5), typical=100.0)
    assert confidence.expect(Shown(np.zeros((0, N)), 0.0)) is None


def test_with_few_objects_nothing_can_be_said():
    assert fit_confidence(images(0, number=1, objects=9), typical=100.0) is None
    assert fit_confidence([], typical=100.0) is None


def test_no_object_is_certain_even_where_all_were_right():
    features = np.random.default_rng(0).normal(size=(20, N))
    known = Known(Shown(features, 0.0), np.ones(20, bool), np.zeros(20), 0, 1.0)
    chances = fit_confidence([known], typical=100.0).of(features)
    assert (chances > 0.8).all()
    assert (chances < 1).all()


def counted(*right_of_ten):
    """Images of ten objects that look the same; so many of them are right."""
    made = []
    for right in right_of_ten:
        flags = np.arange(10) < right
        made.append(Known(Shown(np.zeros((10, N)), 0.0), flags, np.zeros(10), 0, float(flags.mean())))
    return made


def test_images_that_vary_by_chance_alone_have_no_spread():
    """Objects that are right with a chance of 0.97: ten of them vary so much, and part of the interval is above 1."""
    assert fit_confidence(counted(*[10] * 74, *[9] * 23, *[8] * 3), typical=100.0).spread == 0


def test_the_spread_is_what_chance_does_not_explain():
    found = fit_confidence(counted(*[10] * 50, *[8] * 50), typical=100.0)
    by_chance = 0.9 * 0.1 / 10 + 0.9 * 0.1 / 1000  # of ten objects; and the share was learned from 1000
    assert found.spread == pytest.approx(np.sqrt(0.1**2 - by_chance), rel=0.1)


def test_confidence_is_stored_as_plain_numbers():
    confidence = fit_confidence(images(0, number=5), typical=100.0)
    assert Confidence.model_validate_json(confidence.model_dump_json()) == confidence
    with pytest.raises(ContractileError, match="right"):
        Confidence(**{**confidence.model_dump(), "right": (1.0,)})
    with pytest.raises(ContractileError, match=r"scales must be a list of numbers above 0"):
        Confidence(**{**confidence.model_dump(), "scales": (0.0,) * len(confidence.scales)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": ((1.0, 2.0), (1.0,))},
            r"images must have 2 numbers in each row, .*, got 1, 2; train again",
        ),
        ({"axes": ((1.0, 0.0),)}, r"as many as scales, and as many axes, got 1, 2"),
        ({"scales": (1.0, 1.0, 1.0)}, r"must have 3 numbers in each row, .*, got 2; train again"),
        ({"scales": (1.0, 0.0)}, r"scales must be above 0, got 0\.0; train again"),
    ],
)
def test_what_images_are_known_by_must_fit_together(changes, message):
    told = {"scales": (1.0, 1.0), "axes": ((1.0, 0.0), (0.0, 1.0)), "images": ((1.0, 2.0),), "limit": 1.0}
    Likeness(**told)
    with pytest.raises(ContractileError, match=message):
        Likeness(**{**told, **changes})


# likeness


def scene(rng, blobs=20, bright=1.0, noise=0.02, side=128):
    y, x = np.mgrid[:side, :side]
    image = np.zeros((side, side))
    for cy, cx in rng.uniform(0, side, size=(blobs, 2)):
        image += bright * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 50)
    return (image + rng.normal(0, noise, image.shape))[None]


def row(image, span=200.0, noise=4.0):
    return statistics(image, np.array([span]), np.array([noise]))


@pytest.fixture(scope="module")
def likeness():
    rng = np.random.default_rng(0)
    return fit_likeness([row(scene(rng)) for _ in range(30)])


def test_an_image_like_the_others_is_not_named(likeness):
    rng = np.random.default_rng(1)
    assert sum(likeness.judge(row(scene(rng))).score > 1 for _ in range(60)) <= 2


@pytest.mark.parametrize(
    ("image", "told", "reason"),
    [
        ({}, {"span": 200.0 / 6}, "contrast 6 times lower"),
        ({}, {"noise": 40.0}, "noise 10 times higher"),
        ({"noise": 0.3}, {}, "structures of 1 to 2 pixels .* times higher in contrast"),
    ],
)
def test_what_is_odd_about_an_image_is_said(likeness, image, told, reason):
    found = likeness.judge(row(scene(np.random.default_rng(1), **image), **told))
    assert found.score > 1
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(found.reason)


def test_an_inverted_image_and_a_magnified_one_are_odd(likeness):
    image = scene(np.random.default_rng(1))
    assert likeness.judge(row(1 - image)).score > 1
    assert likeness.judge(row(image.repeat(4, axis=1).repeat(4, axis=2))).score > 1


def test_a_flat_background_is_as_quiet_as_a_clean_one():
    rng = np.random.default_rng(0)
    quiet = fit_likeness([row(scene(rng, noise=0), noise=0.0) for _ in range(30)])
    found = quiet.judge(row(scene(rng, noise=0), noise=200 * 1e-4))
    assert found.score < 1
    assert np.isfinite(row(scene(rng), noise=0.0)).all()


def test_an_empty_channel_is_named_and_hides_nothing():
    rng = np.random.default_rng(0)

    def pair(second=200.0, noise=4.0):
        both = np.concatenate([scene(rng), scene(rng) if second else np.full((1, 128, 128), 0.5)])
        return statistics(both, np.array([200.0, second]), np.array([noise, noise if second else 0.0]))

    full, some = (fit_likeness([pair(), *(pair(second) for _ in range(29))]) for second in (200.0, 200.0))
    some = fit_likeness([*(pair() for _ in range(29)), pair(second=0.0)])
    assert full.judge(pair(second=0.0)).reason == "channel 1 is empty"
    assert full.judge(pair(second=0.0)).is_far
    assert not some.judge(pair(second=0.0)).is_far
    for likeness in (full, some):
        assert not likeness.judge(pair()).is_far
        assert likeness.judge(pair(noise=200.0)).is_far
        assert Likeness.model_validate_json(likeness.model_dump_json()) == likeness
    blank = np.full((1, 128, 128), 0.5)
    alone = fit_likeness([*(row(scene(rng)) for _ in range(9)), row(blank, span=0.0, noise=0.0)])
    assert alone.judge(row(blank, span=0.0, noise=0.0)) is None
    assert alone.judge(row(scene(rng), noise=400.0)).is_far
    never = fit_likeness([row(scene(rng)) for _ in range(9)])
    assert never.judge(row(blank, span=0.0, noise=0.0)).reason == "it is empty"
    assert fit_likeness([row(blank, span=0.0, noise=0.0)]) is None


def test_images_of_other_channels_are_not_judged(likeness):
    assert likeness.judge(np.zeros(2 * 10)) is None


def test_likeness_of_few_of_many_and_of_no_images():
    rng = np.random.default_rng(0)
    assert fit_likeness([]) is None
    one = fit_likeness([row(scene(rng))])
    assert one.judge(row(scene(np.random.default_rng(0)))).score == pytest.approx(0, abs=1e-3)
    many = fit_likeness([row(scene(rng, side=32)) for _ in range(300)])
    assert len(many.images) == 256
    assert Likeness.model_validate_json(many.model_dump_json()) == many


def test_the_limit_is_that_of_all_distances():
    known = np.random.default_rng(0).normal(size=(40, 10))
    found = fit_likeness([*known, known[3]])
    images, scales, axes = (np.array(one) for one in (found.images, found.scales, found.axes))
    apart = (np.array([*known, known[3]])[:, None] - images[None]) / scales @ axes
    distances = np.sqrt((apart**2).mean(axis=-1))
    own = np.abs(np.array([*known, known[3]])[:, None] - images[None]).max(axis=-1) < 1e-3
    own[40] = False  # the copy of another one, which is as near as can be
    near = np.where(own, np.inf, distances).min(axis=1)
    assert found.limit == pytest.approx(1.4 * np.quantile(near, 0.98), rel=1e-3)


def test_likeness_of_many_images_needs_little_memory():
    known = np.random.default_rng(0).normal(size=(3000, 20))
    fit_likeness(known[:3])  # what is imported at first use is not counted
    tracemalloc.start()
    try:
        fit_likeness(known)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 * known.nbytes


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 3), (5, 64, 33)])
def test_images_of_any_size_have_statistics(shape):
    found = row(np.random.default_rng(0).normal(size=(1, *shape)))
    assert found.shape == (10,)
    assert np.isfinite(found).all()


# classes


def blurred(seed, sharpness=1.0, side=200):
    """Maps (3, *S) of an image, to a power, and classes drawn by their own chances."""
    rng = np.random.default_rng(seed)
    maps = rng.dirichlet((0.5, 0.5, 0.5), size=(side, side)).transpose(2, 0, 1)
    drawn = (rng.random((side, side)) > maps.cumsum(axis=0)).sum(axis=0)
    powers = maps**sharpness
    return (powers / powers.sum(axis=0)).astype(np.float32), np.minimum(drawn, 2)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.0])
def test_classes_are_as_frequent_as_calibrated_probabilities_say(sharpness):
    maps, classes = zip(*(blurred(seed, sharpness) for seed in range(4)), strict=True)
    calibration = fit_calibration(maps, classes)
    assert calibration.sharpness == pytest.approx(1 / sharpness, rel=0.1)
    other, true = blurred(9, sharpness)
    expected = calibration.expect(calibration.tally(other))
    for number, found in enumerate(expected):
        chosen = other.argmax(axis=0) == number
        dice = 2 * (chosen & (true == number)).sum() / (chosen.sum() + (true == number).sum())
        assert found.value == pytest.approx(dice, abs=0.02)
        assert found.low <= found.value <= found.high


def test_tallies_of_parts_add_up():
    maps, classes = blurred(0)
    calibration = fit_calibration([maps], [classes])
    parts = sum(calibration.tally(part) for part in np.array_split(maps, 3, axis=1))
    np.testing.assert_allclose(parts, calibration.tally(maps), rtol=1e-5)


def test_what_is_not_annotated_does_not_count():
    maps, classes = blurred(0)
    assert fit_calibration([maps], [np.full_like(classes, -1)]) is None
    known = np.where(np.arange(200) < 100, classes, -1)
    assert fit_calibration([maps], [known]).sharpness == pytest.approx(1, rel=0.1)


def test_of_a_class_that_is_not_found_nothing_is_expected():
    calibration = Calibration(sharpness=1.0, spread=(0.1, 0.1), images=1)
    first, second = calibration.expect(np.array([[0.0, 0.0, 3.0], [50.0, 40.0, 50.0]]))
    assert np.isnan(first).all()
    assert second.value == pytest.approx(0.8)


def test_images_without_a_class_say_nothing_of_its_spread():
    pairs = [blurred(seed, sharpness=1.0) for seed in range(5)]
    without = []
    for maps, classes in pairs:
        maps = maps.copy()
        maps[2] = 1e-9
        without.append((maps / maps.sum(axis=0), np.where(classes == 2, 0, classes)))
    whole, some = (fit_calibration(*zip(*several, strict=True)) for several in (pairs, pairs + without[:2]))
    assert max(whole.spread) < 0.05
    assert some.spread[2] < 0.1  # an error of 1 in two of seven images would be 0.5
