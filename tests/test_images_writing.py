"""Arrays -> files and pictures, and grey values -> what a network learns from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from contractile.images import (
    LazyImage,
    Normalization,
    find,
    open_lazily,
    overlay,
    read,
    read_labels,
    read_probabilities,
    write_image,
    write_labels,
    write_picture,
    write_probabilities,
)
from contractile.images.overlay import PREDICTED, TRUE

sides = st.integers(1, 5)
floats = {"allow_nan": False, "allow_infinity": False, "width": 32}


# writing --------------------------------------------------------------------------------------


@given(
    labels=hnp.arrays(
        st.sampled_from([np.int32, np.uint8, np.int64]),
        st.one_of(st.tuples(*[sides] * n) for n in (2, 3, 4)),
        elements=st.integers(0, 100),
    ),
    offset=st.sampled_from([0, -50, 1000, 100_000]),
    sized=st.booleans(),
)
def test_labels_come_back(
    tmp_path_factory: pytest.TempPathFactory, labels: NDArray[Any], offset: int, sized: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "come_back.tif"
    labels = labels.astype(np.int64) + offset
    size = (2.0, 0.5, 0.25) if labels.ndim > 2 else (0.5, 0.25)
    write_labels(path, labels, pixel_size_um=size if sized else None)
    dims = min(labels.ndim, 3)
    pages = find(path, dims=dims)
    result = np.stack([read_labels(page, dims=dims) for page in pages]).reshape(labels.shape)
    np.testing.assert_array_equal(result, labels)
    image = read(pages[0], dims=dims)
    if 1 not in (*labels.shape[:-2], labels.shape[-1]):
        assert image.pixel_size_um == (pytest.approx(size, rel=1e-5) if sized else None)
    expected = np.int32 if labels.min() < 0 else np.min_scalar_type(int(labels.max()))
    assert image.pixels.dtype == expected


@pytest.mark.parametrize("pages", [None, 1, 3])
@pytest.mark.parametrize("shape", [(1, 4, 5), (2, 4, 5), (3, 2, 4, 5), (1, 2, 4, 5)])
def test_probabilities_come_back(tmp_path: Path, shape: tuple[int, ...], pages: int | None) -> None:
    shape = shape if pages is None else (pages, *shape)
    dims = len(shape) - (1 if pages is None else 2)
    values = np.random.default_rng(0).random(shape, dtype=np.float32)
    write_probabilities(tmp_path / "p.tif", values, dims=dims, pixel_size_um=(1.0, 0.5, 0.5)[-dims:])
    result = [read_probabilities(page, dims=dims) for page in find(tmp_path / "p.tif", dims=dims)]
    assert len(result) == (pages or 1)
    np.testing.assert_array_equal(np.stack(result).reshape(shape), values)


def test_the_axes_other_programs_see(tmp_path: Path) -> None:
    write_labels(tmp_path / "labels.tif", np.zeros((3, 4, 5), np.uint16), pixel_size_um=(2.0, 0.5, 0.25))
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert tiff.imagej_metadata is not None
        assert (tiff.imagej_metadata["unit"], tiff.imagej_metadata["spacing"]) == ("um", 2.0)
        assert tiff.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    write_probabilities(tmp_path / "p.tif", np.zeros((2, 3, 4, 5)), dims=3)
    with tifffile.TiffFile(tmp_path / "p.tif") as tiff:
        assert (tiff.is_ome, tiff.series[0].axes) == (True, "CZYX")


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 4, 5), (2, 3, 4, 5), (1, 3, 4, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_images_come_back(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    pixels = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    size = (1.0, 0.5, 0.25)[-(len(shape) - 1) :]
    write_image(tmp_path / "a.tif", pixels, pixel_size_um=size)
    image = read(tmp_path / "a.tif", dims=len(shape) - 1)
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)
    assert image.pixel_size_um == pytest.approx(size)


def test_pictures_come_back(tmp_path: Path) -> None:
    for shape in ((4, 5, 3), (4, 5)):
        picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        write_picture(tmp_path / "new" / "a.png", picture)
        np.testing.assert_array_equal(imagecodecs.imread(tmp_path / "new" / "a.png"), picture)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with pytest.raises(TypeError, match="labels must be integers, got float64; decode probabilities first"):
        write_labels(path, np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"labels must be \(Y, X\).*got shape \(4,\)"):
        write_labels(path, np.zeros(4, int))
    with pytest.raises(ValueError, match="labels must fit into 32 bits, got 0 to 4294967296; renumber"):
        write_labels(path, np.array([[0, 2**32]]))
    with pytest.raises(ValueError, match=r"probabilities must be \(K, \*S\).*dims=2.*got shape \(4, 4\)"):
        write_probabilities(path, np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"pixels must be \(C, Y, X\).*got shape \(4, 4\); add the channels"):
        write_image(path, np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"rgb must be \(Y, X, 3\) or \(Y, X\) uint8, got float64"):
        write_picture(path, np.zeros((4, 4, 3)))
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"labels\.tif: cannot be written \(.+\); choose a folder you may write to"):
        write_labels(tmp_path / "file" / "labels.tif", np.zeros((4, 4), int))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.tif"
    write_labels(path, np.ones((4, 4), int))
    old = path.read_bytes()

    def half(name: Path, *_: Any, **__: Any) -> None:
        Path(name).write_bytes(b"II")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", half)
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\)"):
        write_labels(path, np.zeros((4, 4), int))
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


# grey values ----------------------------------------------------------------------------------


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
    with open_lazily(tmp_path / "a.npy") as lazy:
        assert isinstance(lazy, LazyImage)
        from_disk = Normalization().fit(lazy)
    assert (from_disk.offset, from_disk.scale) == (affine.offset, affine.scale)


def test_what_cannot_be_normalised() -> None:
    with pytest.raises(ValueError, match="low must be below high, got 60"):
        Normalization(low=60, high=40)
    with pytest.raises(ValueError, match="Extra inputs are not permitted"):
        Normalization(mode="percentile")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="pixels must be finite numbers, got NaN or infinity; replace them"):
        Normalization().fit(np.full((1, 4, 4), np.nan))
    affine = Normalization().fit(np.zeros((2, 4, 4)))
    with pytest.raises(ValueError, match=r"pixels must have 2 channels as at the fit, got \(1, 4, 4\); fit again"):
        affine.apply(np.zeros((1, 4, 4)))


# overlay --------------------------------------------------------------------------------------


def test_contours_of_prediction_and_truth() -> None:
    predicted, truth = np.zeros((2, 16, 16), int)
    predicted[2:7, 2:7] = 1
    truth[9:14, 9:14] = 5
    picture = overlay(np.random.default_rng(0).random((1, 16, 16)), predicted, truth=truth)
    orange = (picture == PREDICTED).all(-1)
    blue = (picture == TRUE).all(-1)
    assert orange[2, 2:7].all()
    assert not orange[3:6, 3:6].any()
    assert blue[13, 9:14].all()
    assert not (orange & (predicted == 0)).any()
    assert not (blue & (truth == 0)).any()


def test_touching_objects_have_colours_of_their_own() -> None:
    labels = np.repeat([[1, 2]], [4, 4], axis=1).repeat(8, axis=0)
    picture = overlay(np.zeros((1, 8, 8)), labels)
    assert (picture[4, 3] != picture[4, 4]).any()
    assert (picture[4, 1] < picture[4, 3]).any()  # the fill is fainter than the line


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (2, 16, 16), (1, 5, 16, 16)])
def test_a_picture_of_any_image(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 60000, shape).astype(np.uint16)
    nothing = np.full(shape[1:], -1)
    for truth in (None, nothing):
        picture = overlay(pixels, nothing, truth=truth)
        assert (picture.shape, picture.dtype) == ((16, 16, 3), np.uint8)
        assert (picture[..., 0] == picture[..., 1]).all() == (shape[0] != 3)


def test_labels_of_another_image() -> None:
    pixels, labels = np.zeros((1, 4, 4)), np.zeros((4, 4), int)
    with pytest.raises(ValueError, match=r"predicted must have the shape of the image \(4, 4\), got \(5, 4\)"):
        overlay(pixels, np.zeros((5, 4), int))
    with pytest.raises(ValueError, match=r"truth must have the shape of the image \(4, 4\), got \(4, 5\)"):
        overlay(pixels, labels, truth=np.zeros((4, 5), int))
