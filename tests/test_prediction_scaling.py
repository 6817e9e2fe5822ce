"""Objects of another size than the model's: images are resampled, results come back on the image's own grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_prediction import EXACT, make_model

from contractile.decode import Decoding
from contractile.errors import ContractileError
from contractile.intensity import Intensity, Normalization
from contractile.labels import connected, diameters, typical_diameter
from contractile.prediction import Predictor
from contractile.prediction.field import Held
from contractile.prediction.scaling import Resampled, estimate_diameter, scaled_shape
from contractile.unet import UNetConfig

CONFIG = UNetConfig(width=2, depth=2)
OBJECTS = {"task": "objects", "class_values": (), "diameter": 20.0}


def discs(side, diameter):
    """Bright discs on a grid, and their labels."""
    step = round(1.6 * diameter)
    y, x = np.mgrid[:side, :side]
    near = np.hypot(y % step - step / 2, x % step - step / 2) < diameter / 2
    return np.where(near, y // step * (side // step + 1) + x // step + 1, 0)


@given(diameter=st.floats(6, 90))
def test_the_typical_diameter_of_discs(diameter):
    assert typical_diameter([discs(300, diameter)]) == pytest.approx(diameter, rel=0.12)


def test_the_diameter_of_large_objects():
    labels = [discs(300, 10), discs(300, 10), discs(300, 60)]
    assert typical_diameter(labels) == pytest.approx(10, rel=0.12)
    assert diameters(labels)[2] == pytest.approx(60, rel=0.12)


def test_no_objects_have_no_diameter():
    assert typical_diameter([np.zeros((9, 9), int), np.full((9, 9), -1)]) == 0


NOISELESS = Intensity(np.zeros(1), np.ones(1), np.zeros(1))


def bright_parts(image):
    """Like a network that is sure of bright things of any size."""
    return connected(image[0] > 0.5), image[0]


@settings(max_examples=15)
@given(diameter=st.floats(5, 100))
def test_the_diameter_is_estimated(diameter):
    image = (discs(500, diameter) > 0)[None].astype(np.float32)
    assert estimate_diameter(image, (25.0, 25.0, 25.0), bright_parts, NOISELESS) == pytest.approx(diameter, rel=0.2)


def test_where_nothing_is_found_the_image_stays_as_it_is():
    assert estimate_diameter(np.zeros((1, 50, 60), np.float32), (20.0, 25.0, 30.0), bright_parts, NOISELESS) == 25


def test_magnified_noise_has_no_size():
    noise = np.random.default_rng(0).normal(0.4, 0.1, (1, 60, 60)).astype(np.float32)
    for std, found in ((0.0, False), (0.1, True)):
        curve = Intensity(np.zeros(1), np.ones(1), np.full(1, std))
        assert (estimate_diameter(noise, (6.0, 8.0, 10.0), bright_parts, curve) == 8) == found


def test_a_single_blob_says_less_than_many_objects():
    image = np.zeros((1, 200, 200), np.float32)

    def find(seen):  # twenty at the scale of the image, and a surer blob where it is shrunk
        labels, sure = np.zeros(seen.shape[1:], np.int32), 0.8
        if len(labels) == 200:
            for n in range(20):
                labels[10 + 40 * (n // 5) :, 10 + 36 * (n % 5) :][:12, :12] = n + 1
        elif len(labels) == 50:
            labels[20:32, 20:32], sure = 1, 0.95
        return labels, np.full(labels.shape, sure, np.float32)

    assert estimate_diameter(image, (10.0, 12.0, 15.0), find, NOISELESS) == pytest.approx(12, rel=0.2)


@given(rows=st.integers(1, 40), columns=st.integers(1, 40), factor=st.floats(0.2, 4))
def test_resampling_keeps_what_is_flat_and_the_range(rows, columns, factor):
    shape = scaled_shape((rows, columns), factor)
    flat = Resampled(np.full((2, rows, columns), 3, np.uint8), shape)[...]
    assert flat.shape == (2, *shape)
    np.testing.assert_allclose(flat, 3, rtol=1e-5)
    noise = np.random.default_rng(0).random((1, rows, columns), np.float32)
    there = Resampled(noise, shape)[...]
    assert there.min() >= noise.min() - 1e-5
    assert there.max() <= noise.max() + 1e-5


def test_the_network_sees_the_resampled_image_and_results_come_back():
    image = np.random.default_rng(1).random((1, 61, 90), np.float32)
    model = make_model(CONFIG, **OBJECTS, normalization=Normalization(kind="none"))
    plain, given_40 = Predictor(model, engine=EXACT), Predictor(model, engine=EXACT, diameter=40)
    assert plain.probabilities(image).scale == 1
    assert given_40.probabilities(image).scale == 0.5
    assert Predictor(model, engine=EXACT, diameter=22).probabilities(image).scale == 1  # as good as the same
    seen = plain.probabilities(Resampled(image, (30, 45)))
    np.testing.assert_array_equal(given_40.probabilities(image), Resampled(seen, (61, 90)))
    assert given_40.segment(image).shape == (61, 90)


def test_an_image_of_objects_that_the_model_has_seen_stays_as_it_is():
    image = np.random.default_rng(1).random((1, 61, 90), np.float32)
    model = make_model(CONFIG, **OBJECTS, diameters=(10.0, 50.0))
    assert [Predictor(model, engine=EXACT, diameter=d).probabilities(image).scale for d in (9, 30, 60)] == [1, 1, 1]
    assert Predictor(model, engine=EXACT, diameter=5).probabilities(image).scale == 4
    assert Predictor(model, engine=EXACT, diameter=80).probabilities(image).scale == 0.25


def test_a_model_of_shrunk_images_sees_them_shrunk():
    image = np.random.default_rng(1).random((1, 64, 96), np.float32)
    told = {**OBJECTS, "normalization": Normalization(kind="none")}
    shrunk, plain = make_model(CONFIG, **told, shrunk=2.0), make_model(CONFIG, **told)
    seen = Predictor(plain, engine=EXACT).probabilities(Resampled(image, (32, 48)))
    field = Predictor(shrunk, engine=EXACT).probabilities(image)
    assert field.scale == 0.5
    np.testing.assert_array_equal(field, Resampled(seen, (64, 96)))
    for diameter, scale in ((40, 0.5), (80, 0.25), (20, 1)):  # its own objects are 2 x 20 pixels wide in the image
        assert Predictor(shrunk, engine=EXACT, diameter=diameter).probabilities(image).scale == scale
    with pytest.raises(ContractileError, match=r"the model's own, 5 to 320 pixels, got 4"):
        Predictor(shrunk, engine=EXACT, diameter=4)


def test_a_model_of_shrunk_images_of_any_size_estimates_in_its_own_pixels(monkeypatch):
    image = np.random.default_rng(1).random((1, 64, 96), np.float32)
    model = make_model(CONFIG, **OBJECTS, any_size=True, shrunk=4.0)
    looked_at = []

    def estimate(seen, *_):
        looked_at.append(seen.shape)
        return 40.0

    monkeypatch.setattr("contractile.prediction.scaling.estimate_diameter", estimate)
    assert Predictor(model, engine=EXACT).probabilities(image).scale == 0.25 * 20 / 40
    assert looked_at == [(1, 16, 24)]


@settings(max_examples=10)
@given(diameter=st.floats(12, 45))
def test_the_estimate_for_a_model_of_many_sizes(diameter):
    image = (discs(500, diameter) > 0)[None].astype(np.float32)
    assert estimate_diameter(image, (10.0, 25.0, 50.0), bright_parts, NOISELESS) == pytest.approx(diameter, rel=0.2)


def test_specks_are_measured_at_the_scale_of_the_model():
    maps = np.zeros((2, 40, 40), np.float32)
    maps[1, 4:10, 4:10] = 1  # 36 pixels: 9 of the model's where the image is shrunk by half
    maps[1, 20:30, 20:30] = 1
    model = make_model(CONFIG, **OBJECTS, decoding=Decoding(min_size=10))
    predictor = Predictor(model, engine=EXACT)
    assert predictor.decode(maps).max() == 2
    assert predictor.decode(Held(maps, scale=0.5)).max() == 1
    assert predictor.decode(maps, scale=0.5).max() == 1


def test_a_model_for_any_size_estimates_unless_told():
    image = np.random.default_rng(2).random((1, 64, 64), np.float32)
    model = make_model(CONFIG, **OBJECTS, any_size=True)
    assert Predictor(model, engine=EXACT).diameter == "estimate"
    assert Predictor(model, engine=EXACT).probabilities(image).scale > 0
    assert Predictor(model, engine=EXACT, diameter=80).probabilities(image).scale == 0.25


@pytest.mark.parametrize("diameter", [0, -3, float("nan"), float("inf")])
def test_a_diameter_is_a_positive_number(diameter):
    with pytest.raises(ValueError, match="diameter must be a positive number of pixels or 'estimate', got"):
        Predictor(make_model(CONFIG, **OBJECTS), diameter=diameter)


@pytest.mark.parametrize("diameter", [1, 200])
def test_a_diameter_is_not_out_of_all_proportion(diameter):
    with pytest.raises(ValueError, match=r"at most 8 times smaller or larger than the model's own, 2.5 to 160 pixels"):
        Predictor(make_model(CONFIG, **OBJECTS), diameter=diameter)


def test_specks_and_floods_are_no_estimate():
    speck = np.zeros((1, 400, 400), np.float32)
    speck[0, 200, 200] = 1
    assert estimate_diameter(speck, (40.0, 40.0, 40.0), bright_parts, NOISELESS) == 40
    assert estimate_diameter(np.ones((1, 2000, 2000), np.float32), (10.0, 10.0, 10.0), bright_parts, NOISELESS) == 10


def test_a_model_without_objects_takes_no_diameter():
    with pytest.raises(ValueError, match="diameter must be left out for a model of 2-D images and task classes"):
        Predictor(make_model(CONFIG), diameter=30)
    with pytest.raises(ValueError, match="for a model of 3-D images and task objects"):
        Predictor(make_model(UNetConfig(dims=3, width=2, depth=1), **OBJECTS), diameter="estimate")
