import dataclasses
import itertools
import math
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.interpolate import CubicSpline

from contractile.augment import (
    AugmentConfig,
    Sample,
    Warp,
    WarpConfig,
    apply_warp,
    draw_warp,
    nearest,
    resample,
    warp,
)
from contractile.errors import ContractileError

quick = settings(deadline=None, max_examples=40)
NONE = AugmentConfig.none()
SYMMETRIES = WarpConfig(elastic_std=0, rotation=0, scale=(1, 1), quarter_turns=True)


def annotated(shape, *, channels=1, dtype=np.uint8, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 255, (channels, *shape)).astype(dtype)
    classes = rng.integers(-1, 4, shape).astype(np.int16)
    return Sample(image, classes, rng.random(shape, np.float32))


def crop(array, first, size):
    """Pixels first ... first + size - 1 of (*S), mirrored as np.pad does beyond the array."""
    margin = [(max(0, -a), max(0, a + n - s)) for a, n, s in zip(first, size, array.shape, strict=True)]
    padded = np.pad(array, margin, mode="reflect")
    return padded[tuple(slice(a + m[0], a + m[0] + n) for a, m, n in zip(first, margin, size, strict=True))]


def symmetries(array):
    """The eight transforms of the square, on the last two axes."""
    turned = [np.rot90(array, k, axes=(-2, -1)) for k in range(4)]
    return turned + [np.flip(t, -1) for t in turned]


@st.composite
def scenes(draw):
    """Shape of an image, a tile, what is left of it inside, and a centre."""
    dims = draw(st.integers(2, 3))
    each = [st.tuples(*[st.integers(1, top)] * dims) for top in (9, 14)]
    shape, tile = draw(each[0]), draw(each[1])
    inner = tuple(n - 2 * draw(st.integers(0, (n - 1) // 2)) for n in tile)
    centre = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return shape, tile, inner, centre


# one resampling, exact where it can be


@given(scene=scenes(), channels=st.integers(1, 2))
@quick
def test_identity_returns_the_exact_crop(scene, channels):
    shape, tile, inner, centre = scene
    whole = annotated(shape, channels=channels)
    rng = np.random.default_rng(0)
    got = warp(whole, centre, tile=tile, inner=inner, config=NONE, rng=rng)
    first = [c - n // 2 for c, n in zip(centre, tile, strict=True)]
    within = [a + (n - m) // 2 for a, n, m in zip(first, tile, inner, strict=True)]
    assert [a.dtype for a in got] == [np.float32, np.int64, np.float32]
    assert (got.image == np.stack([crop(c, first, tile) for c in whole.image])).all()
    assert (got.classes == crop(whole.classes, within, inner)).all()
    assert (got.weight == np.where(got.classes < 0, 0, crop(whole.weight, within, inner))).all()


@pytest.mark.parametrize("size", [6, 7])
def test_flips_and_quarter_turns_are_exact(size):
    whole = annotated((20, 24), dtype=np.float32)
    first = (9 - size // 2, 11 - size // 2)
    expected = [t.tobytes() for t in symmetries(crop(whole.image[0], first, (size, size)))]
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        got = warp(whole, (9, 11), tile=(size, size), inner=(size, size), config=SYMMETRIES, rng=rng)
        which = expected.index(got.image[0].tobytes())
        assert (got.classes == symmetries(crop(whole.classes, first, (size, size)))[which]).all()
        seen.add(which)
    assert seen == set(range(8))


def test_quarter_turns_keep_pixels_on_pixels_when_sides_differ():
    whole = annotated((40, 40), dtype=np.float32)
    values = set(whole.image.ravel().tolist())
    for seed in range(12):
        rng = np.random.default_rng(seed)
        got = warp(whole, (20, 20), tile=(8, 11), inner=(8, 11), config=SYMMETRIES, rng=rng)
        assert set(got.image.ravel().tolist()) <= values


def test_flips_reach_every_axis_of_a_volume():
    whole = annotated((5, 6, 7))
    config = SYMMETRIES.model_copy(update={"quarter_turns": False})
    expected = {
        np.flip(whole.image[0], [a for a in range(3) if flip[a]]).tobytes()
        for flip in itertools.product((0, 1), repeat=3)
    }
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        got = warp(whole, (2, 3, 3), tile=(5, 6, 7), inner=(5, 6, 7), config=config, rng=rng)
        seen.add(got.image[0].astype(np.uint8).tobytes())
    assert seen == expected


# values between pixels


def keys_kernel(d):
    """Keys 1981, equation 15, for a = -1/2."""
    d = abs(d)
    near, far = 1.5 * d**3 - 2.5 * d**2 + 1, -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0))


def triangle(d):
    return np.maximum(0, 1 - abs(d))


def convolved(array, at, kernel, *, margin=16):
    """(*S) at positions (D, *tile): kernel-weighted sum over all pixels of the mirrored array."""
    padded = np.pad(array.astype(float), margin, mode="reflect")
    flat = at.reshape(len(at), -1) + margin  # (D, N)
    weights = [kernel(p[:, None] - np.arange(n)) for p, n in zip(flat, padded.shape, strict=True)]
    spec = {2: "nj,ni,ji->n", 3: "nk,nj,ni,kji->n"}[len(at)]
    return np.einsum(spec, *weights, padded, optimize=True).reshape(at.shape[1:])


@pytest.mark.parametrize(
    ("shape", "tile", "inner"),
    [
        ((30, 26), (21, 24), (15, 8)),
        ((9, 12, 14), (6, 10, 12), (4, 4, 12)),
        ((1, 12, 14), (3, 10, 12), (3, 4, 2)),
        ((9, 12, 14), (1, 10, 12), (1, 6, 6)),
        ((2, 3, 2), (5, 6, 7), (5, 4, 3)),
        ((2, 1), (6, 7), (4, 3)),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_values_are_cubic_linear_and_nearest_at_the_coordinates(shape, tile, inner, seed):
    whole = annotated(shape, channels=2, seed=seed)
    config = WarpConfig(elastic_std=2, tilt=30)
    centre = tuple(n // 2 for n in shape)
    drawn = draw_warp(tile, centre, config=config, rng=np.random.default_rng(seed))
    got = apply_warp(drawn, whole, inner=inner)
    at = drawn.coordinates()
    for channel, values in zip(whole.image, got.image, strict=True):
        np.testing.assert_allclose(values, convolved(channel, at, keys_kernel), atol=0.02)  # of 255
    at = at[(slice(None), *(slice((n - m) // 2, (n + m) // 2) for n, m in zip(tile, inner, strict=True)))]
    linear = np.where(got.classes < 0, 0, convolved(whole.weight, at, triangle))
    np.testing.assert_allclose(got.weight, linear, atol=1e-4)
    nearest = convolved(whole.classes, np.floor(at + 0.5), triangle)
    clear = (abs(at % 1 - 0.5) > 1e-3).all(axis=0)  # between two pixels rounding decides
    assert (got.classes[clear] == nearest[clear]).all()


def test_image_and_label_stay_aligned():
    # Channels hold each pixel's place, classes its number; both interpolations reproduce straight lines.
    shape = (160, 170)
    place = np.stack(np.indices(shape)).astype(np.float32)
    number = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    whole = Sample(place, number, place[0])
    drawn = draw_warp((64, 64), (80, 85), config=WarpConfig(), rng=np.random.default_rng(1))
    got = apply_warp(drawn, whole, inner=(48, 48))
    at = drawn.coordinates()
    assert (at.min(axis=(1, 2)) > 2).all()
    np.testing.assert_allclose(got.image, at, atol=1e-3)
    middle = at[:, 8:56, 8:56]
    np.testing.assert_allclose(got.weight, middle[0], atol=1e-3)
    y, x = np.floor(middle + 0.5).astype(int)
    clear = (abs(middle % 1 - 0.5) > 1e-3).all(axis=0)
    assert clear.mean() > 0.9
    assert (got.classes[clear] == number[y, x][clear]).all()


@given(seed=st.integers(0, 10**6), scene=scenes())
@quick
def test_labels_are_never_mixed(seed, scene):
    shape, tile, inner, centre = scene
    whole = annotated(shape, seed=seed)
    whole = whole._replace(classes=whole.classes * 1000 + 7)
    config = WarpConfig(elastic_std=3, tilt=90, quarter_turns=True)
    got = warp(whole, centre, tile=tile, inner=inner, config=config, rng=np.random.default_rng(seed))
    assert set(got.classes.ravel().tolist()) <= set(whole.classes.ravel().tolist())
    assert got.image.shape == (1, *tile)
    assert np.isfinite(got.image).all()
    assert (got.weight[got.classes < 0] == 0).all()
    assert got.weight.min() >= 0
    assert got.weight.max() <= whole.weight.max() + 1e-6


# the map


def test_displacements_have_the_standard_deviation_of_the_paper():
    config = WarpConfig(elastic_std=10, rotation=0, flip=False, scale=(1, 1))
    rng = np.random.default_rng(0)
    vectors = np.stack([draw_warp((572, 572), (0, 0), config=config, rng=rng).vectors for _ in range(500)])
    assert vectors.shape == (500, 2, 3, 3)
    assert vectors.std() == pytest.approx(10, rel=0.03)
    assert abs(vectors.mean()) < 0.4
    assert abs(np.corrcoef(vectors.reshape(500, -1).T) - np.eye(18)).max() < 0.2  # all independent


def test_displacement_is_a_bicubic_spline_through_the_vectors():
    config = WarpConfig(elastic_std=10, rotation=0, flip=False, scale=(1, 1))
    drawn = draw_warp((201, 301), (500, 700), config=config, rng=np.random.default_rng(3))
    start = np.indices((201, 301)) + np.array([500 - 100, 700 - 150]).reshape(2, 1, 1)
    moved = drawn.coordinates() - start
    assert drawn.vectors.shape == (2, 2, 3)  # the shorter axis has fewer points
    np.testing.assert_allclose(moved[:, ::200, ::150], drawn.vectors, atol=1e-3)
    along_y = CubicSpline([0, 200], drawn.vectors, axis=1, bc_type="natural")(np.arange(201))
    both = CubicSpline([0, 150, 300], along_y, axis=2, bc_type="natural")(np.arange(301))
    np.testing.assert_allclose(moved, both, atol=1e-3)


def test_small_tiles_are_not_folded():
    config = WarpConfig(rotation=0, flip=False, scale=(1, 1))
    for seed in range(50):
        drawn = draw_warp((32, 32), (0, 0), config=config, rng=np.random.default_rng(seed))
        assert np.diff(drawn.coordinates()[0], axis=0).min() > 0
        assert np.diff(drawn.coordinates()[1], axis=1).min() > 0


@given(seed=st.integers(0, 10**6), dims=st.integers(2, 3))
@quick
def test_rotation_and_scale_keep_shapes_in_space(seed, dims):
    spacing = (4.0, 1.0, 1.0)[3 - dims :]
    config = WarpConfig(elastic_std=0, tilt=180, spacing=spacing)
    tile = (4, 5, 6)[:dims]
    drawn = draw_warp(tile, (100,) * dims, config=config, rng=np.random.default_rng(seed))
    metric = np.diag(spacing)
    turn = metric @ drawn.matrix @ np.linalg.inv(metric)
    scale = abs(np.linalg.det(turn)) ** (1 / dims)
    assert 0.8 - 1e-9 <= 1 / scale <= 1.25 + 1e-9
    np.testing.assert_allclose(turn @ turn.T, scale**2 * np.eye(dims), atol=1e-9)
    at = drawn.coordinates()
    np.testing.assert_allclose(np.diff(at, axis=1).reshape(dims, -1).T - drawn.matrix[:, 0], 0, atol=1e-4)
    half = np.array([100 - n // 2 + (n - 1) / 2 for n in tile])
    np.testing.assert_allclose(at.reshape(dims, -1).mean(axis=1), half, atol=1e-3)


def test_scale_is_a_magnification():
    config = WarpConfig(elastic_std=0, rotation=0, flip=False, scale=(2, 2))
    drawn = draw_warp((9, 9), (50, 50), config=config, rng=np.random.default_rng(0))
    np.testing.assert_allclose(np.diff(drawn.coordinates()[0], axis=0), 0.5, atol=1e-5)


def test_rotation_without_tilt_stays_in_the_plane():
    config = WarpConfig(elastic_std=0, flip=False)
    drawn = draw_warp((5, 8, 8), (10, 50, 50), config=config, rng=np.random.default_rng(0))
    assert drawn.matrix[0, 1:].tolist() == drawn.matrix[1:, 0].tolist() == [0, 0]
    assert abs(drawn.matrix[1, 2]) > 0.01


def test_coarse_axes_are_displaced_by_fewer_pixels():
    config = WarpConfig(elastic_std=4, spacing=(5, 1, 1))
    rng = np.random.default_rng(0)
    vectors = np.stack([draw_warp((20, 100, 100), (0, 0, 0), config=config, rng=rng).vectors for _ in range(200)])
    np.testing.assert_allclose(vectors.std(axis=(0, 2, 3, 4)), [0.8, 4, 4], rtol=0.05)


def test_a_tile_far_out_is_as_exact_as_one_at_the_origin():
    config = WarpConfig()
    near = draw_warp((64, 64), (0, 0), config=config, rng=np.random.default_rng(0)).coordinates()
    far = draw_warp((64, 64), (10**6, 10**6), config=config, rng=np.random.default_rng(0)).coordinates()
    np.testing.assert_allclose(far - near, 10**6, atol=1e-4)


@given(seed=st.integers(0, 2**32))
@quick
def test_the_same_generator_gives_the_same_sample(seed):
    whole = annotated((40, 40))
    config = AugmentConfig()

    def draw(seed):
        rng = np.random.default_rng(seed)
        tile = warp(whole, (20, 17), tile=(32, 32), inner=(20, 20), config=config, rng=rng)
        return *tile, rng.random()

    assert all(np.array_equal(a, b) for a, b in zip(draw(seed), draw(seed), strict=True))
    assert (draw(seed)[0] != draw(seed + 1)[0]).any()


# what is read, and how


def test_arrays_are_neither_changed_nor_copied():
    whole = annotated((1500, 1500))
    for array in whole:
        array.flags.writeable = False
    warp(whole, (9, 9), tile=(64, 64), inner=(64, 64), config=WarpConfig(), rng=np.random.default_rng(0))
    tracemalloc.start()
    warp(whole, (700, 9), tile=(64, 64), inner=(64, 64), config=WarpConfig(), rng=np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000  # bytes; the image has 2.2 million


@pytest.mark.parametrize("change", ["byte order", "strides", "float16", "bool"])
def test_unusual_arrays_give_the_same_values(change):
    whole = annotated((30, 34), dtype=np.float32)
    whole = whole._replace(image=whole.image % 2)
    image = {
        "byte order": whole.image.astype(">f4"),
        "strides": np.repeat(whole.image, 2, axis=2)[:, :, ::2],
        "float16": whole.image.astype(np.float16),
        "bool": whole.image.astype(bool),
    }[change]
    drawn = draw_warp((20, 20), (3, 15), config=WarpConfig(), rng=np.random.default_rng(0))
    got, expected = (apply_warp(drawn, whole._replace(image=i), inner=(10, 10)) for i in (image, whole.image))
    assert all((a == b).all() for a, b in zip(got, expected, strict=True))


def test_threads_warp_side_by_side():
    whole = annotated((200, 200))
    drawn = [draw_warp((128, 128), (100, 100), config=WarpConfig(), rng=np.random.default_rng(s)) for s in range(8)]
    expected = [apply_warp(d, whole, inner=(64, 64)) for d in drawn]
    got = [None] * 8

    def work(i):
        got[i] = apply_warp(drawn[i], whole, inner=(64, 64))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(got, expected, strict=True):
        assert all((x == y).all() for x, y in zip(a, b, strict=True))
    assert resample.warp_tile.targetoptions["nogil"]


@given(data=st.data(), dims=st.sampled_from([2, 3]))
@quick
def test_the_nearest_values_are_those_of_the_classes(data, dims):
    shape = tuple(data.draw(st.integers(2, 9)) for _ in range(dims))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    classes = rng.integers(0, 5, shape)
    whole = Sample(np.zeros((1, *shape), np.float32), classes, np.ones(shape, np.float32))
    drawn = draw_warp((8,) * dims, tuple(n // 2 for n in shape), config=SYMMETRIES, rng=rng)
    np.testing.assert_array_equal(nearest(drawn, classes), apply_warp(drawn, whole, inner=(8,) * dims).classes)


# refusals


def test_the_recipe_of_the_paper():
    paper = AugmentConfig.paper()
    assert (paper.elastic_grid, paper.elastic_std, paper.rotation) == (3, 10, 180)
    assert (paper.flip, paper.scale, paper.noise, paper.blur) == (False, (1, 1), 0, 0)
    assert (paper.illumination, paper.photons, paper.saturation, paper.dimmed) == (0, 0, 0, 1)


@pytest.mark.parametrize("scale", [(0, 1), (2, 1), (1, math.inf)])
def test_scales_without_meaning_are_refused(scale):
    with pytest.raises(ContractileError, match=r"scale must be \(low, high\) with 0.01 <= low <= high <= 100, got"):
        AugmentConfig(scale=scale)


def test_configurations_without_meaning_are_refused():
    with pytest.raises(ContractileError, match=r"spacing must be positive and differ by .* got \(1\.0, 0\.0\)"):
        AugmentConfig(spacing=(1, 0))
    with pytest.raises(ContractileError, match="shear does not exist, got 3; the fields are"):
        AugmentConfig(shear=3)
    with pytest.raises(ValidationError, match="frozen"):
        AugmentConfig().flip = False


def test_tiles_that_do_not_fit_are_refused():
    rng = np.random.default_rng(0)
    for size, centre in (((8,), (1,)), ((8, 8), (1, 1, 1)), ((8, 0), (1, 1))):
        with pytest.raises(ValueError, match="tile and centre must have the same number of axes, 2 or 3"):
            draw_warp(size, centre, config=NONE, rng=rng)
    with pytest.raises(ValueError, match=r"spacing must hold one number for each of the 2 axes, got"):
        draw_warp((8, 8), (1, 1), config=WarpConfig(spacing=(5, 1, 1)), rng=rng)


@pytest.mark.parametrize("inner", [(9, 8), (7, 8), (0, 8), (8,), (8, 8, 8)])
def test_inner_that_does_not_fit_is_refused(inner):
    with pytest.raises(ValueError, match=r"inner must be at most tile = \(8, 8\) and differ from it by an even"):
        warp(annotated((9, 9)), (4, 4), tile=(8, 8), inner=inner, config=NONE, rng=np.random.default_rng(0))


def test_arrays_that_do_not_fit_are_refused():
    whole = annotated((9, 9))
    drawn = draw_warp((8, 8), (4, 4), config=NONE, rng=np.random.default_rng(0))
    wrong = [
        whole._replace(classes=whole.classes[1:]),
        whole._replace(weight=whole.weight[:, 1:]),
        whole._replace(image=whole.image[0]),
        annotated((4, 9, 9)),
        annotated((0, 9)),
    ]
    for sample in wrong:
        with pytest.raises(ValueError, match=r"image must be \(C, \*S\), classes and weight \(\*S\), with 2 axes"):
            apply_warp(drawn, sample, inner=(8, 8))
    with pytest.raises(TypeError, match="classes must be integers, got float32"):
        apply_warp(drawn, whole._replace(classes=whole.weight), inner=(8, 8))


def test_a_warp_is_a_value():
    drawn = draw_warp((8, 8), (4, 4), config=NONE, rng=np.random.default_rng(0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn.tile = (9, 9)
    assert isinstance(drawn, Warp)
