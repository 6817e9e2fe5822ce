import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from contractile.augment import (
    AugmentConfig,
    GreyConfig,
    change_grey_values,
    change_light,
    dim_objects,
    with_rims,
)
from contractile.augment.grey import LOUD, _surroundings

quick = settings(deadline=None, max_examples=40)
NONE = AugmentConfig.none()
FIELDS = ("illumination", "blur", "photons", "noise", "saturation", "brightness", "contrast", "gamma")


def tile(seed=0, shape=(2, 24, 25)):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def only(**magnitudes):
    return GreyConfig(grey_chance=1, light_chance=1, **{**dict.fromkeys(FIELDS, 0), **magnitudes})


def change(image, config, seed=0):
    return change_grey_values(image, config, rng=np.random.default_rng(seed))


def light_of(image, config, seed=0, noise=0.0):
    return change_light(image, np.full(len(image), noise), config, rng=np.random.default_rng(seed))


# light


def test_no_change_of_light_is_a_copy():
    image = tile()
    for config in (NONE, only()):
        changed, noise = light_of(image, config, noise=0.1)
        assert (changed == image).all()
        assert not np.shares_memory(changed, image)
        assert (noise == 0.1).all()


@pytest.mark.parametrize("seed", range(5))
def test_each_change_of_light_does_what_its_name_says(seed):
    flat = np.full((2, 64, 64), 0.5, np.float32)
    sloped, _ = light_of(flat, only(illumination=0.3), seed)
    assert 0.35 - 1e-6 <= sloped.min() < sloped.max() <= 0.65 + 1e-6
    assert abs(np.diff(sloped, axis=2)).max() < 0.02  # smooth
    assert not light_of(0 * flat, only(illumination=0.3), seed)[0].any()  # the background has no light of its own

    noisy, noise = light_of(flat, only(noise=0.2), seed, noise=0.05)
    added = (noisy - flat).std(axis=(1, 2))
    assert (added > 0.2 / 31).all()
    assert (added < 0.21).all()
    np.testing.assert_allclose(np.hypot(added, 0.05), noise, rtol=0.05)

    smooth, louder = light_of(flat, only(noise=0.2, smoothed=4.0), seed)
    near = [np.corrcoef(one[:, 1:].ravel(), one[:, :-1].ravel())[0, 1] for one in smooth]
    spread = np.array(near) > 0.3  # neighbours share it, and it is as strong
    own = smooth.std(axis=(1, 2))
    np.testing.assert_allclose(louder[spread], LOUD * own[spread], rtol=0.05)
    assert spread.any()

    shot, noise = light_of(flat, only(photons=0.2), seed)
    double, _ = light_of(2 * flat, only(photons=0.2), seed)
    np.testing.assert_allclose((double - 2 * flat).std() / (shot - flat).std(), np.sqrt(2), rtol=1e-3)
    assert (noise == 0).all()  # there is none in the dark
    assert not light_of(0 * flat, only(photons=0.2), seed)[0].any()

    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (2, 64, 64))
    cut, _ = light_of(ramp, only(saturation=0.5), seed)
    assert (cut <= ramp).all()
    assert (cut.max(axis=(1, 2)) >= 0.5).all()
    assert (cut[ramp < 0.5] == ramp[ramp < 0.5]).all()

    image = tile(seed)
    blurred, noise = light_of(image, only(blur=2.0), seed, noise=1.0)
    std = image.std(axis=(1, 2))
    assert (blurred.std(axis=(1, 2)) <= std).all()  # a sigma near 0 changes nothing
    assert (blurred.std(axis=(1, 2)) < 0.9 * std).any()
    assert (noise <= 1).all()
    np.testing.assert_allclose(blurred.mean(axis=(1, 2)), image.mean(axis=(1, 2)), atol=0.1)


def two_discs(seed=0):
    """Two discs as a lens shows them, on a slope of light, and their numbers."""
    y, x = np.indices((64, 96))
    numbers = np.zeros((64, 96), np.int32)
    numbers[(y - 32) ** 2 + (x - 28) ** 2 < 100] = 7
    numbers[(y - 32) ** 2 + (x - 68) ** 2 < 100] = 2_000_000_000
    ground = np.float32(0.1) + x.astype(np.float32) / 960
    return (ground + ndimage.gaussian_filter(np.float32(numbers > 0), 1))[None], numbers, ground


@pytest.mark.parametrize("seed", range(8))
def test_single_objects_are_dimmed_down_to_their_surroundings(seed):
    light, labels, ground = two_discs()
    numbers = with_rims(labels)
    assert set(np.unique(numbers)) == {0, 1, 2}
    before = light.copy()
    dimmed = dim_objects(light, numbers, 16.0, rng=np.random.default_rng(seed))
    assert (light == before).all()
    assert dimmed.dtype == np.float32
    far = ndimage.distance_transform_edt(numbers == 0) > 4
    np.testing.assert_allclose(dimmed[0][far], light[0][far], atol=1e-3)
    for number, place in ((1, (32, 28)), (2, (32, 68))):
        share = (dimmed[0][place] - ground[place]) / (light[0][place] - ground[place])
        assert 1 / 17 < share < 1.01
        ring = (numbers == number) & (labels == 0)
        assert (dimmed[0] - ground)[
            ring
        ].max() < share + 0.1  # no bright rim is left where the lens blurred the outline


def test_blur_leaves_as_much_noise_as_it_says():
    for shape in ((256, 256), (48, 64, 64)):
        light = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
        config = GreyConfig(light_chance=1, illumination=0, blur=2, photons=0, noise=0, saturation=0)
        for seed in range(4):
            blurred, noise = change_light(light, np.ones(1), config, rng=np.random.default_rng(seed))
            if noise[0] < 0.5:  # the formula is that of wide Gaussians
                assert blurred.std() == pytest.approx(noise[0], rel=0.15)


def test_surroundings_lie_where_their_light_is():
    light = np.zeros((64, 64), np.float32)
    light[30:34, 30:34] = 1  # around (31.5, 31.5)
    found = _surroundings(light, np.ones((64, 64), bool))
    assert np.sum(found * np.indices(found.shape), axis=(1, 2)) / found.sum() == pytest.approx([31.5, 31.5], abs=0.2)


def test_the_light_beyond_an_outline_reaches_as_far_along_a_coarse_axis():
    labels = np.zeros((11, 15, 15), np.int32)
    labels[5, 7, 7] = 3
    reached = with_rims(labels, spacing=(2.0, 1.0, 1.0))
    assert np.flatnonzero(reached.any(axis=(1, 2))).tolist() == [3, 4, 5, 6, 7]
    assert np.flatnonzero(reached.any(axis=(0, 1))).tolist() == list(range(3, 12))


def test_objects_keep_their_light_or_lose_some_of_it():
    light, labels, _ = two_discs()
    numbers = with_rims(labels)
    middles = np.array(
        [dim_objects(light, numbers, 16.0, rng=np.random.default_rng(s))[0, 32, [28, 68]] for s in range(60)]
    )
    bright = middles > 0.95 * light[0, 32, [28, 68]]
    assert 0.2 < bright.mean() < 0.8
    assert (bright[:, 0] != bright[:, 1]).any()
    assert middles.min() < 0.35


def test_tiles_without_objects_stay_as_they_are():
    light = tile(shape=(1, 32, 32))
    nothing = np.zeros((32, 32), np.int32)
    np.testing.assert_allclose(dim_objects(light, nothing, 16.0, rng=np.random.default_rng(0)), light, atol=1e-6)
    everything = np.ones((32, 32), np.int32)
    assert np.isfinite(dim_objects(light, everything, 16.0, rng=np.random.default_rng(1))).all()


# grey values


@given(seed=st.integers(0, 10**6), gain=st.floats(0.01, 100), offset=st.floats(-100, 100))
@quick
def test_magnitudes_are_relative_to_the_tile(seed, gain, offset):
    image = tile(seed)
    assume(abs(offset) < 50 * gain)
    before = image.copy()
    changed = change(image, GreyConfig(grey_chance=1, light_chance=1), seed)
    assert (image == before).all()
    assert changed.dtype == np.float32
    scaled = change(image * np.float32(gain) + np.float32(offset), GreyConfig(grey_chance=1, light_chance=1), seed)
    np.testing.assert_allclose((scaled - offset) / gain, changed, atol=2e-3)


def test_no_change_is_a_copy():
    image = tile()
    for config in (NONE, only()):
        changed = change(image, config)
        assert (changed == image).all()
        assert not np.shares_memory(changed, image)


@pytest.mark.parametrize("seed", range(5))
def test_each_change_does_what_its_name_says(seed):
    image = tile(seed)
    std = image.std(axis=(1, 2))
    moved = (change(image, only(brightness=0.3), seed) - image).reshape(2, -1)
    assert np.ptp(moved, axis=1).max() < 1e-5
    assert (abs(moved[:, 0]) > 0).all()
    assert (abs(moved[:, 0]) <= 0.3 * std).all()

    stretched = change(image, only(contrast=0.5), seed)
    np.testing.assert_allclose(stretched.mean(axis=(1, 2)), image.mean(axis=(1, 2)), atol=1e-5)
    assert (stretched.std(axis=(1, 2)) / std >= 1 / 1.5).all()
    assert (stretched.std(axis=(1, 2)) / std <= 1.5).all()

    bent = change(image, only(gamma=0.5), seed)
    np.testing.assert_allclose(bent.min(axis=(1, 2)), image.min(axis=(1, 2)), atol=1e-5)
    np.testing.assert_allclose(bent.max(axis=(1, 2)), image.max(axis=(1, 2)), atol=1e-5)
    order = np.argsort(image[0].ravel())
    assert np.diff(bent[0].ravel()[order]).min() >= 0
    assert (bent != image).any()


def test_changes_up_and_down_are_equally_likely():
    image = tile()
    ratios = [change(image, only(contrast=0.5), s).std() / image.std() for s in range(300)]
    assert abs(np.mean(np.log(ratios))) < 0.05
    assert max(ratios) > 1.4
    assert min(ratios) < 1 / 1.4


def test_chance_decides_how_often():
    image = tile(shape=(1, 4, 4))
    for config, changed_by in ((only(brightness=0.3), change), (only(noise=0.3), lambda *a: light_of(*a)[0])):
        rare = config.model_copy(update={"grey_chance": 0.25, "light_chance": 0.25})
        changed = np.mean([(changed_by(image, rare, s) != image).any() for s in range(400)])
        assert changed == pytest.approx(0.25, abs=0.07)


def test_channels_change_on_their_own():
    image = np.stack([tile()[0]] * 2)
    for changed in (change(image, only(brightness=0.3)), light_of(image, only(noise=0.3))[0]):
        assert (changed[0] != changed[1]).all()


def test_flat_tiles_stay_flat():
    for value in (0.0, 3.0):
        changed = change(np.full((1, 8, 8), value, np.float32), GreyConfig(grey_chance=1, light_chance=1))
        np.testing.assert_allclose(changed, value, atol=1e-5)


def test_volumes_change_like_images():
    volume = tile(shape=(1, 6, 7, 8))
    assert change(volume, GreyConfig(grey_chance=1, light_chance=1)).shape == (1, 6, 7, 8)
    assert light_of(volume, GreyConfig(grey_chance=1, light_chance=1))[0].shape == (1, 6, 7, 8)
    numbers = with_rims((np.indices((6, 7, 8)).sum(axis=0) < 6).astype(np.int32))
    assert dim_objects(volume, numbers, 16.0, rng=np.random.default_rng(1)).shape == (1, 6, 7, 8)
