"""Grey values -> what a network sees: one curve per image, never per tile."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from contractile import intensity
from contractile.images import open_image
from contractile.intensity import FLOOR, HIGHEST, LOWEST, Normalization, bright_on_dark

KINDS = ("linear", "compressive", "percentile", "standard", "none")
floats = {"allow_nan": False, "allow_infinity": False, "width": 32}


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
        elements=st.floats(-1e4, 1e4, **floats),
    ),
    st.sampled_from(KINDS),
)
def test_a_tile_is_normalised_as_the_whole_image(pixels: NDArray[np.float32], kind: Any) -> None:
    before = pixels.copy()
    affine = Normalization(kind=kind).fit(pixels)
    whole = affine.apply(pixels)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(affine.apply(pixels[:, 1:, :-1]), whole[:, 1:, :-1])
    np.testing.assert_array_equal(pixels, before)


def field(shape: tuple[int, int] = (200, 200), *, noise: float = 10.0, seed: int = 0) -> NDArray[np.uint16]:
    """A dark field as a camera sees it: 100 photons and its own noise."""
    rng = np.random.default_rng(seed)
    return (rng.poisson(100, shape) + rng.normal(0, noise, shape)).clip(0, 65535).astype(np.uint16)


def disc(pixels: NDArray[Any], centre: tuple[int, int], radius: float, light: float) -> NDArray[np.bool_]:
    """Add a disc of `light` to the pixels, and return where it is."""
    y, x = np.indices(pixels.shape)
    inside: NDArray[np.bool_] = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    pixels[inside] += np.asarray(light).astype(pixels.dtype)
    return inside


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_ranges(dtype: str) -> None:
    ramp = np.add.outer(np.arange(64.0), np.arange(64.0))
    pixels = np.stack([40 + ramp, 50 + ramp / 2]).astype(dtype)
    for kind in ("linear", "percentile"):
        values = Normalization(kind=kind).fit(pixels).apply(pixels)
        np.testing.assert_allclose(np.percentile(values, 1, axis=(1, 2)), 0, atol=1e-2)
        np.testing.assert_allclose(np.percentile(values, 99.8, axis=(1, 2)), 1, atol=1e-2)
        assert values.max() > 1  # the highest 0.2 % are not cut off
    standard = Normalization(kind="standard").fit(pixels).apply(pixels)
    np.testing.assert_allclose(standard.mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std(axis=(1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(Normalization(kind="none").fit(pixels).apply(pixels), pixels.astype(np.float32))


@pytest.mark.parametrize("kind", ["linear", "compressive"])
@pytest.mark.parametrize("seed", range(3))
def test_noise_is_not_stretched_to_the_full_range(kind: Any, seed: int) -> None:
    """The noise of an empty field keeps the place that its strength gives it, whatever its own range is."""
    blank = field(seed=seed)[None]
    curve = Normalization(kind=kind).fit(blank)
    np.testing.assert_allclose(1 / curve.scale, FLOOR * np.sqrt(100 + 100), rtol=0.1)
    np.testing.assert_allclose(curve.noise, 1 / FLOOR, rtol=1e-6)
    stretched = Normalization(kind="percentile").fit(blank).apply(blank)
    assert curve.relative(blank).std() < 0.7 * stretched.std()


@pytest.mark.parametrize("sigma", [0.3, 0.5, 0.6])
def test_noise_is_known_where_a_lens_or_an_interpolation_has_spread_it(sigma: float) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(100, 10, (300, 300)), sigma)
    curve = Normalization(kind="linear").fit(noise[None])
    assert noise.std() * curve.scale[0] == pytest.approx(1 / FLOOR, rel=0.2)


@pytest.mark.parametrize("sigma", [1, 2, 3])
def test_noise_that_looks_like_small_objects_is_not_stretched_either(sigma: float) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (400, 400)), sigma)
    pixels = 200 + 20 * noise / noise.std()
    curve = Normalization(kind="compressive").fit(pixels[None])
    assert 1 / 2 < 20 * FLOOR * curve.scale[0] < 1 / 1.2


def nuclei() -> NDArray[np.uint32]:
    """Twelve discs on a dark field, of brightness 400 to 950."""
    pixels = field((240, 320)).astype(np.uint32)
    for n, (y, x) in enumerate((y, x) for y in (40, 120, 200) for x in (40, 120, 200, 280)):
        disc(pixels, (y, x), 12, 400 + 50 * n)
    return pixels


@pytest.mark.parametrize("kind", ["linear", "compressive"])
@pytest.mark.parametrize("times", [20, 100])
@pytest.mark.parametrize(
    "place",
    [(slice(4, 12), slice(4, 12)), (slice(None), slice(80, 82)), (slice(222, 230), slice(200, 300))],
    ids=["dust", "columns", "bar"],
)
def test_large_bright_defects_leave_objects_bright(kind: Any, times: int, place: tuple[slice, slice]) -> None:
    pixels = nuclei()
    damaged = pixels.copy()
    damaged[place] = times * 1000
    before = Normalization(kind=kind).fit(pixels[None]).apply(pixels[None])
    after = Normalization(kind=kind).fit(damaged[None]).apply(damaged[None])
    same = (damaged == pixels)[None]
    bright = same & (pixels > 400)
    assert np.median(after[bright]) > (0.5 if kind == "compressive" else 0.15) * np.median(before[bright])
    np.testing.assert_allclose(
        np.median(after[same & (pixels < 200)]), np.median(before[pixels[None] < 200]), atol=0.05
    )


@pytest.mark.parametrize("kind", ["linear", "compressive"])
def test_padding_is_not_the_background(kind: Any) -> None:
    pixels = nuclei()
    padded = np.pad(pixels, ((0, 60), (30, 30)))
    before, after = (Normalization(kind=kind).fit(one[None]) for one in (pixels, padded))
    np.testing.assert_allclose(after.offset, before.offset, rtol=0.03)
    np.testing.assert_allclose(after.scale, before.scale, rtol=0.05)
    np.testing.assert_allclose(after.noise, before.noise, rtol=0.05)


@pytest.mark.parametrize("value", [0, 77, 1020, 65535])
@pytest.mark.parametrize("wide", [((2, 2), (2, 2)), ((0, 90), (0, 0)), ((200, 60), (100, 150)), ((0, 0), (500, 0))])
def test_a_field_padded_with_any_value_is_seen_as_it_is(value: int, wide: tuple[tuple[int, int], ...]) -> None:
    pixels = nuclei() + 300
    pixels[pixels == value] += 1
    padded = np.pad(pixels, wide, constant_values=value)
    padding = np.pad(np.zeros(pixels.shape, bool), wide, constant_values=True)
    before, after = (Normalization(kind="compressive").fit(one[None]) for one in (pixels, padded))
    np.testing.assert_allclose(after.offset, before.offset, rtol=0.03)
    np.testing.assert_allclose(after.apply(padded[None])[0][~padding], before.apply(pixels[None]).ravel(), atol=0.03)
    assert not after.apply(padded[None])[0][padding].any()


def test_rectangles_on_a_flat_ground_are_objects() -> None:
    drawn = np.zeros((300, 300), np.uint8)
    drawn[40:140, 40:140] = 200
    assert Normalization(kind="compressive").fit(drawn[None]).apply(drawn[None])[0, 90, 90] > 0.9
    grid = np.zeros((300, 300), np.uint8)
    for y in range(10, 280, 40):
        for x in range(10, 280, 40):
            grid[y : y + 25, x : x + 25] = np.random.default_rng(y + x).integers(150, 200, (25, 25))
    assert Normalization(kind="compressive").fit(grid[None]).apply(grid[None])[0, 20, 20] > 0.7


@pytest.mark.parametrize("kind", ["linear", "compressive"])
@pytest.mark.parametrize("top", [140, 4000])
def test_a_line_of_defects_in_a_small_image_leaves_objects_bright(kind: Any, top: int) -> None:
    pixels = field((128, 160), noise=2).astype(np.float64)
    disc(pixels, (40, 40), 12, top)
    disc(pixels, (90, 110), 12, top)
    pixels = ndimage.gaussian_filter(pixels, 1.0).astype(np.uint16)
    damaged = pixels.copy()
    damaged[:, 80] = 65535
    before, after = (Normalization(kind=kind).fit(one[None]) for one in (pixels, damaged))
    np.testing.assert_allclose(after.offset, before.offset, rtol=0.02)
    np.testing.assert_allclose(after.scale, before.scale, rtol=0.3)


def test_a_background_of_zeros_is_a_background() -> None:
    clipped = nuclei() - np.minimum(nuclei(), 110)
    assert (clipped == 0).mean() > 0.5
    assert Normalization(kind="compressive").fit(clipped[None]).offset == pytest.approx(0, abs=1e-6)
    objects = np.zeros((100, 100), np.uint8)
    disc(objects, (50, 50), 45, 100)
    assert (objects > 0).mean() > 0.5
    soft = ndimage.gaussian_filter(objects, 2.0)
    assert Normalization(kind="compressive").fit(soft[None]).offset == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["linear", "compressive"])
def test_one_object_in_an_empty_field_is_bright_and_the_noise_is_not(kind: Any) -> None:
    pixels = field((400, 400)).astype(np.uint32)
    inside = disc(pixels, (200, 200), 9, 2000)  # 0.16 % of the area
    values = Normalization(kind=kind).fit(pixels[None]).apply(pixels[None])[0]
    assert 0.9 < np.median(values[inside]) <= HIGHEST
    assert values[~inside].std() < 0.15


@pytest.mark.parametrize("kind", ["linear", "compressive"])
@pytest.mark.parametrize("hot", [1, 2, 4])
def test_hot_pixels_move_nothing_but_themselves(kind: Any, hot: int) -> None:
    pixels = field().astype(np.uint32)
    for place in ((60, 60), (120, 70), (70, 150)):
        disc(pixels, place, 9, 800)
    damaged = pixels.copy()
    damaged[20 : 20 + min(hot, 2), 20 : 20 + (hot + 1) // 2] = 65535
    before = Normalization(kind=kind).fit(pixels[None]).apply(pixels[None])
    after = Normalization(kind=kind).fit(damaged[None]).apply(damaged[None])
    same = damaged == pixels
    np.testing.assert_allclose(after[0][same], before[0][same], atol=0.02)
    assert after.max() <= HIGHEST


def test_dim_objects_stay_visible_beside_bright_ones() -> None:
    pixels = field(noise=2).astype(np.uint32)
    bright, dim = disc(pixels, (60, 60), 12, 8000), disc(pixels, (130, 130), 12, 500)
    curve = Normalization(kind="compressive").fit(pixels[None])
    values = curve.apply(pixels[None])[0]
    assert np.median(values[bright]) == pytest.approx(1, abs=0.02)
    assert np.median(values[dim]) > 0.3  # a sixteenth of the light
    assert np.median(values[dim]) > 4 * np.percentile(values[~bright & ~dim], 95)


def test_one_absurd_number_in_an_image_of_floats_changes_nothing_else() -> None:
    pixels = field().astype(np.float32)[None]
    disc(pixels[0], (60, 60), 12, 800)
    for kind in ("linear", "compressive"):
        before = Normalization(kind=kind).fit(pixels).apply(pixels)
        for absurd in (3e38, -3e38, 1e10):
            damaged = pixels.copy()
            damaged[0, 3, 3] = absurd
            after = Normalization(kind=kind).fit(damaged).apply(damaged)
            assert after.min() >= LOWEST
            assert after.max() <= HIGHEST
            np.testing.assert_allclose(after[pixels == damaged], before[pixels == damaged], atol=0.02)


@given(
    hnp.arrays(np.uint16, st.tuples(st.integers(1, 2), st.integers(1, 20), st.integers(1, 20))),
    st.sampled_from(["linear", "compressive"]),
)
@settings(max_examples=60)
def test_values_are_bounded_and_rise_with_the_light(pixels: NDArray[np.uint16], kind: Any) -> None:
    values = Normalization(kind=kind).fit(pixels).apply(pixels)
    assert values.min() >= LOWEST
    assert values.max() <= HIGHEST
    for channel, seen in zip(pixels, values, strict=True):
        assert (np.diff(seen.ravel()[np.argsort(channel.ravel())]) >= 0).all()


def test_brighter_noise_in_a_bent_image_is_the_same_as_a_fit_to_it() -> None:
    """Training adds noise to a part of an image, prediction meets it in a whole one: both see the same values."""
    rng = np.random.default_rng(0)
    pixels = np.full((300, 300), 100.0)
    disc(pixels, (100, 100), 20, 1000)
    clean, added = pixels + rng.normal(0, 5, pixels.shape), rng.normal(0, 60, pixels.shape)
    before = Normalization(kind="compressive").fit(clean[None])
    trained = before.bend(before.relative((clean + added)[None]), np.hypot(before.noise, 60 * before.scale))
    noisy = (clean + added)[None]
    predicted = Normalization(kind="compressive").fit(noisy).apply(noisy)
    np.testing.assert_allclose(trained, predicted, atol=0.08)


def test_which_images_are_bright_on_dark() -> None:
    pixels = field().astype(np.uint32)
    inside = disc(pixels, (60, 60), 20, 2000)
    everywhere = np.ones(pixels.shape, bool)
    assert bright_on_dark(pixels[None], everywhere)
    assert not bright_on_dark(3000 - pixels[None], everywhere)
    assert not bright_on_dark(field()[None], everywhere)
    crowded = np.where(inside, 100, 2000)
    assert not bright_on_dark(crowded[None], everywhere)
    assert bright_on_dark(crowded[None], inside)
    assert not bright_on_dark(pixels[None], ~everywhere)


def test_large_numbers_keep_their_digits() -> None:
    pixels = (10**8 + np.arange(64).reshape(1, 8, 8)).astype(np.int64)
    np.testing.assert_allclose(
        Normalization(kind="percentile", low=0, high=100).fit(pixels).apply(pixels).ravel(),
        np.linspace(0, 1, 64),
        atol=1e-6,
    )


def test_constant_image_and_few_bright_spots() -> None:
    flat = np.full((1, 32, 32), 7, np.uint8)
    for kind in ("linear", "compressive", "percentile", "standard"):
        assert not Normalization(kind=kind).fit(flat).apply(flat).any()
    flat[0, 3, 3] = 255
    for kind in ("linear", "percentile"):
        assert Normalization(kind=kind).fit(flat).apply(flat).max() == 1


def test_statistics_of_a_large_image_from_a_part_of_it(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 1000, (1, 3000, 1500)).astype(np.uint16)
    affine = Normalization().fit(pixels)
    np.testing.assert_allclose(affine.offset, np.percentile(pixels, 1), atol=2)
    np.save(tmp_path / "a.npy", pixels)
    with open_image(tmp_path / "a.npy") as stored:
        from_disk = Normalization().fit(stored)
    assert (from_disk.offset, from_disk.scale) == (affine.offset, affine.scale)


@given(
    hnp.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=40), st.integers(1, 2), st.sampled_from([8, 50, 300])
)
def test_the_sample_is_every_kth_pixel_in_order(shape: tuple[int, ...], channels: int, sample: int) -> None:
    pixels = np.random.default_rng(0).normal(size=(channels, *shape))
    step = max(1, int(np.ceil((np.prod(shape) / sample) ** (1 / len(shape)))))
    taken = pixels[(slice(None), *(slice(None, None, step),) * len(shape))].reshape(channels, -1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intensity, "SAMPLE", sample)
        patch.setattr(intensity, "AT_ONCE", 3 * sample)
        affine = Normalization(kind="standard").fit(pixels)
    np.testing.assert_array_equal(affine.offset, taken.mean(axis=1))


@pytest.mark.parametrize("shape", [(1, 3000, 40), (2, 700, 900), (1, 60, 70, 80)])
def test_blocks_of_a_large_image_are_spread_evenly(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "SAMPLE", 2**16)
    place = np.indices(shape[1:]).astype(np.float32)  # every pixel holds where it is
    pixels = np.broadcast_to(place[:1], shape) if shape[0] == 1 else place
    blocks = list(intensity._blocks(pixels))
    assert 0 < sum(block[0].size for block in blocks) <= 4 * 2**16
    for axis in range(shape[0]):
        assert min(block[axis].min() for block in blocks) == 0
        assert max(block[axis].max() for block in blocks) == shape[1 + axis] - 1


def test_memory_follows_the_sample_and_not_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "SAMPLE", 2**14)
    pixels = np.add.outer(np.arange(2048.0), np.zeros(2048)).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), compression="zlib")
    with open_image(tmp_path / "a.tif") as stored:
        Normalization().fit(stored[:, :8, :8])  # what is imported at first use is not counted
        tracemalloc.start()
        try:
            Normalization().fit(stored)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < pixels.nbytes / 2


def test_what_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match=r"low must be below high, got 60\.0 and 40\.0; use 1"):
        Normalization(low=60, high=40)
    with pytest.raises(ValueError, match="mode does not exist, got 'percentile'; the fields are kind, low, high"):
        Normalization(mode="percentile")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="pixels must be finite numbers, got NaN or infinity; replace them"):
        Normalization().fit(np.full((1, 4, 4), np.nan))
    affine = Normalization().fit(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match=r"pixels must have 2 channels, as at the fit, got \(1, 4, 4\); fit again"):
        affine.apply(np.zeros((1, 4, 4)))


@pytest.mark.parametrize("kind", ["linear", "compressive", "percentile"])
@pytest.mark.parametrize("factor", [1e300, 1e-300, -1e300, 1e-34])
def test_a_range_that_single_numbers_cannot_hold(kind, factor):
    pixels = np.random.default_rng(0).random((1, 40, 48)) * factor
    with pytest.raises(ValueError, match=r"pixels must have a range of 1e-30 to 1e\+30, got .*; rescale them"):
        Normalization(kind=kind).fit(pixels)


@pytest.mark.parametrize("kind", ["linear", "compressive"])
def test_floats_of_any_length_are_taken(kind):
    pixels = np.random.default_rng(0).integers(0, 200, (1, 40, 48)).astype(np.float32)
    wanted = Normalization(kind=kind).fit(pixels).apply(pixels)
    for other in (np.float16, np.longdouble):
        found = Normalization(kind=kind).fit(pixels.astype(other)).apply(pixels.astype(other))
        np.testing.assert_allclose(found, wanted, atol=1e-5)
