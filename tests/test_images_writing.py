"""Arrays -> files and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError, NotWritable, NotWritten
from contractile.images import (
    TiffSink,
    find,
    is_ours,
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
    with pytest.raises(ValueError, match=r"pixels must be \(C, Y, X\).*got shape \(4, 4\); drop or add axes"):
        write_image(path, np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"rgb must be \(Y, X, 3\) or \(Y, X\) uint8, got float64"):
        write_picture(path, np.zeros((4, 4, 3)))
    assert not list(tmp_path.iterdir())


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotWritten, match=r"labels\.tif: cannot be written \(.+\); choose a folder you may write to"):
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


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tifffile, "imwrite", refuse)
    with pytest.raises(NotWritable, match=r"cannot be written \(Permission denied\); choose a folder") as caught:
        write_labels(tmp_path / "a.tif", np.zeros((4, 4), int))
    assert caught.value.where == str(tmp_path / "a.tif")


def test_which_files_this_package_wrote(tmp_path: Path) -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write_picture(tmp_path / "ours.png", picture)
    write_labels(tmp_path / "ours.tif", picture[..., 0])
    (tmp_path / "theirs.png").write_bytes(imagecodecs.png_encode(picture))
    tifffile.imwrite(tmp_path / "theirs.tif", picture[..., 0])
    (tmp_path / "theirs.csv").write_text("a,b")
    (tmp_path / "empty.png").touch()
    (tmp_path / "broken.tif").write_bytes((tmp_path / "ours.tif").read_bytes()[:100])
    assert sorted(path.name for path in tmp_path.iterdir() if is_ours(path)) == ["ours.png", "ours.tif"]
    assert not is_ours(tmp_path / "absent.png")
    with Pillow.open(tmp_path / "ours.png") as file:
        assert file.info["Software"] == "contractile"
        np.testing.assert_array_equal(np.asarray(file), picture)


# sinks ----------------------------------------------------------------------------------------


@given(order=st.permutations(range(6)), kind=st.sampled_from(["labels", "probabilities"]))
def test_a_sink_takes_regions_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], kind: Literal["labels", "probabilities"]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    values = np.random.default_rng(0).integers(0, 2, (2, 3, 4, 6))
    write = write_labels if kind == "labels" else write_probabilities
    write(folder / "whole.tif", values)
    with TiffSink(folder / "parts.tif", values.shape, kind=kind) as sink:
        for page, part in (divmod(number, 3) for number in order):
            region = (page, slice(None), slice(None), slice(2 * part, 2 * part + 2))
            sink[region] = values[region]
            sink.finished(part)
    assert (folder / "parts.tif").read_bytes() == (folder / "whole.tif").read_bytes()


def test_a_sink_keeps_the_pixel_size(tmp_path: Path) -> None:
    sink = TiffSink(tmp_path / "a.tif", (4, 5), pixel_size_um=(0.5, 0.25))
    sink[1:3, :] = 7
    assert not list(tmp_path.iterdir())
    sink.close()
    assert read_labels(tmp_path / "a.tif")[:, 0].tolist() == [0, 7, 7, 0]
    assert read(tmp_path / "a.tif").pixel_size_um == pytest.approx((0.5, 0.25))


def test_an_error_leaves_no_file_of_a_sink(tmp_path: Path) -> None:
    with pytest.raises(IndexError), TiffSink(tmp_path / "a.tif", (4, 5)) as sink:
        sink[9] = 1
    assert not list(tmp_path.iterdir())


def test_a_sink_refuses_a_shape_at_once(tmp_path: Path) -> None:
    with pytest.raises(ContractileError, match=r"labels must be \(Y, X\).*got shape \(4,\); drop or add axes"):
        TiffSink(tmp_path / "a.tif", (4,))
    with pytest.raises(ContractileError, match=r"probabilities must be .*dims=3.*got shape \(2, 4, 5\)"):
        TiffSink(tmp_path / "a.tif", (2, 4, 5), kind="probabilities", dims=3)


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
