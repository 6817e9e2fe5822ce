"""Fields: a region is what the whole field has there, however the field is made."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from contractile.engine import EngineConfig
from contractile.model import Model, ModelCard
from contractile.prediction import Predictor
from contractile.prediction.field import Held, Mean
from contractile.prediction.scaling import Resampled
from contractile.prediction.views import UNCHANGED, Turned, views
from contractile.unet import UNet, UNetConfig

EXACT = EngineConfig(device="cpu", backend="torch", precision="float32")


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@st.composite
def regions(draw, shape):
    bounds = [sorted((draw(st.integers(0, size)), draw(st.integers(0, size)))) for size in shape]
    return tuple(slice(low, high) for low, high in bounds)


@given(st.data())
def test_a_field_takes_the_keys_that_an_array_takes(data):
    values = random_image(3, 5, 7)
    keys = [
        data.draw(
            st.one_of(
                st.integers(-size, size - 1),
                st.builds(slice, *[st.none() | st.integers(-9, 9)] * 2, st.sampled_from([None, 1, 2, 3])),
            )
        )
        for size in values.shape
    ]
    keys = keys[: data.draw(st.integers(0, 3))]
    if len(keys) < 3 and data.draw(st.booleans()):
        keys.insert(data.draw(st.integers(0, len(keys))), ...)
    np.testing.assert_array_equal(Held(values)[tuple(keys)], values[tuple(keys)])


def test_a_key_beyond_the_field():
    with pytest.raises(IndexError):
        Held(random_image(2, 3, 4))[:, 3]


FIELDS = {
    "as it is": {},
    "views of free kernels": {"tta": True},
    "views of tied kernels": {"tta": True, "symmetry": "square"},
    "enlarged": {"diameter": 8.0},
    "made smaller, with views": {"diameter": 20.0, "tta": True},
}


@pytest.mark.parametrize("name", FIELDS)
@settings(max_examples=6)
@given(data=st.data())
def test_a_region_is_a_part_of_the_whole(name, data):
    options = dict(FIELDS[name])
    torch.manual_seed(1)
    config = UNetConfig(width=2, depth=2)
    card = ModelCard(
        network=config, task="objects", diameter=12.0, diameters=(11.0, 13.0), symmetry=options.pop("symmetry", "none")
    )
    tta = options.pop("tta", False)
    predictor = Predictor(Model(UNet(config).eval(), card), engine=EXACT, tile=64, **options)
    field = predictor.probabilities(random_image(1, 70, 90), tta=tta)
    assert field.shape == (2, 70, 90)
    whole = np.asarray(field)
    np.testing.assert_allclose(whole.sum(axis=0), 1, atol=1e-5)
    region = (slice(None), *data.draw(regions(field.shape[1:])))
    np.testing.assert_allclose(field[region], whole[region], atol=1e-5)


def test_the_labels_of_an_image_that_was_resampled_are_cleaned_at_its_own_scale():
    config = UNetConfig(width=2, depth=1)
    card = ModelCard(network=config, task="objects", diameter=12.0, diameters=(11.0, 13.0))
    predictor = Predictor(Model(UNet(config).eval(), card), engine=EXACT, diameter=24.0)
    field = predictor.probabilities(random_image(1, 40, 40))
    assert field.scale == field.hold().scale == 0.5
    np.testing.assert_array_equal(predictor.decode(field), predictor.decode(field.hold()))


def test_the_mean_of_fields():
    one, other = Held(random_image(2, 4, 5)), Held(random_image(2, 4, 5, seed=1))
    np.testing.assert_allclose(Mean([one, other])[...], (one.values + other.values) / 2, atol=1e-7)


@settings(max_examples=25)
@given(st.tuples(*[st.integers(1, 40)] * 4))
def test_resampling_is_that_of_pytorch(sizes):
    image = random_image(2, *sizes[:2])
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image)[None], size=sizes[2:], mode="bilinear", align_corners=False, antialias=True
    )[0]
    np.testing.assert_allclose(Resampled(image, sizes[2:])[...], expected, atol=1e-5)


def test_resampling_of_volumes():
    ramp = np.broadcast_to(np.arange(12, dtype=np.float32)[None, :, None, None], (1, 12, 6, 6))
    half = Resampled(ramp, (6, 3, 3))[...]
    np.testing.assert_allclose(half[0, 1:-1, 1, 1], [2.5, 4.5, 6.5, 8.5], atol=1e-5)


@given(st.integers(0, 15))
def test_mirrored_and_turned_images(number):
    volume = random_image(1, 4, 5, 6)
    flat = views(volume.shape[1:], "none")
    assert len(flat) == 16
    view = flat[number]
    seen = view.see(volume)
    np.testing.assert_array_equal(view.restore(seen)[...], volume)
    assert len({np.asarray(one.see(volume)).tobytes() for one in flat}) == 16


def test_the_eight_views_of_an_image():
    image = random_image(1, 5, 6)
    expected = {np.rot90(copy, turns, (1, 2)).tobytes() for copy in (image, image[:, :, ::-1]) for turns in range(4)}
    assert {np.ascontiguousarray(view.see(image)).tobytes() for view in views((5, 6), "none")} == expected


@pytest.mark.parametrize("order", [1, 3])
@settings(max_examples=10)
@given(data=st.data())
def test_a_turned_region_is_a_part_of_the_turned_image(order, data):
    image = random_image(2, 23, 31)
    turn = np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    turned = Turned(image, turn, (30, 40), order=order)
    middle, here = (np.array((23, 31)) - 1) / 2, (np.array((30, 40)) - 1) / 2
    whole = np.stack(
        [
            ndimage.affine_transform(
                plane, turn, middle - turn @ here, output_shape=(30, 40), order=order, mode="mirror"
            )
            for plane in image
        ]
    )
    region = (slice(None), *data.draw(regions((30, 40))))
    np.testing.assert_allclose(turned[region], whole[region], atol=1e-5)


def test_without_averaging_the_image_is_seen_as_it_is():
    image = random_image(1, 4, 4)
    assert UNCHANGED.see(image) is image
    assert views((4, 4), "square")[0] is UNCHANGED
