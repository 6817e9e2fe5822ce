"""Grey values -> what a network learns from: one offset and one scale per image, never per tile."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from contractile import intensity
from contractile.images import open_image
from contractile.intensity import Normalization

floats = {"allow_nan": False, "allow_infinity": False, "width": 32}


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
        elements=st.floats(-1e4, 1e4, **floats),
    ),
    st.sampled_from(["percentile", "standard", "none"]),
)
def test_a_tile_is_normalised_as_the_whole_image(pixels: NDArray[np.float32], kind: Any) -> None:
    before = pixels.copy()
    affine = Normalization(kind=kind).fit(pixels)
    whole = affine.apply(pixels)
    assert whole.dtype == np.float32
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(affine.apply(pixels[:, 1:, :-1]), whole[:, 1:, :-1])
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_ranges(dtype: str) -> None:
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.normal(100, 20, (64, 64)), rng.normal(50, 2, (64, 64))]).clip(0, 255).astype(dtype)
    percentile = Normalization().fit(pixels).apply(pixels)
    np.testing.assert_allclose(np.percentile(percentile, 1, axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(np.percentile(percentile, 99.8, axis=(1, 2)), 1, atol=1e-5)
    assert percentile.max() > 1  # not clipped
    standard = Normalization(kind="standard").fit(pixels).apply(pixels)
    np.testing.assert_allclose(standard.mean(axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std(axis=(1, 2)), 1, atol=1e-4)
    np.testing.assert_array_equal(Normalization(kind="none").fit(pixels).apply(pixels), pixels.astype(np.float32))


def test_large_numbers_keep_their_digits() -> None:
    pixels = (10**8 + np.arange(64).reshape(1, 8, 8)).astype(np.int64)
    np.testing.assert_allclose(
        Normalization(low=0, high=100).fit(pixels).apply(pixels).ravel(), np.linspace(0, 1, 64), atol=1e-6
    )


def test_constant_image_and_few_bright_spots() -> None:
    flat = np.full((1, 32, 32), 7, np.uint8)
    for kind in ("percentile", "standard"):
        assert not Normalization(kind=kind).fit(flat).apply(flat).any()
    flat[0, 3, 3] = 255
    assert Normalization().fit(flat).apply(flat).max() == 1


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


def test_memory_follows_the_sample_and_not_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intensity, "SAMPLE", 2**16)
    pixels = np.zeros((1024, 1024), np.float32)
    pixels[::4, ::4] = np.arange(256)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), compression="zlib")
    with open_image(tmp_path / "a.tif") as stored:
        Normalization().fit(stored[:, :8, :8])  # what is imported at first use is not counted
        tracemalloc.start()
        try:
            affine = Normalization(low=0, high=100).fit(stored)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert affine.scale == 1 / 255
    assert peak < pixels.nbytes / 2


def test_what_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match=r"low must be below high, got 60\.0 and 40\.0; use 1"):
        Normalization(low=60, high=40)
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Normalization(mode="percentile")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="pixels must be finite numbers, got NaN or infinity; replace them"):
        Normalization().fit(np.full((1, 4, 4), np.nan))
    affine = Normalization().fit(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match=r"pixels must have 2 channels, as at the fit, got \(1, 4, 4\); fit again"):
        affine.apply(np.zeros((1, 4, 4)))
