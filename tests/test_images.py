"""Files -> arrays: every format in the canonical order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError
from contractile.images import Image, find, open_image, read, read_labels
from contractile.images.axes import arrange


def numbered(*shape: int, dtype: str = "uint16") -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# axes -----------------------------------------------------------------------------------------


@given(st.permutations("TCZYX"), st.tuples(*[st.integers(2, 4)] * 5), st.sampled_from([2, 3]))
def test_every_order_of_axes_gives_the_same_image(order: list[str], sizes: tuple[int, ...], dims: int) -> None:
    canonical = numbered(*sizes)  # (T, C, Z, Y, X)
    stored = canonical.transpose(["TCZYX".index(letter) for letter in order])
    layout = arrange("".join(order), stored.shape, dims=dims, file="f")
    full = slice(None)
    pages = [stored[layout.index(page, full, (full,) * dims)].transpose(layout.order()) for page in range(layout.pages)]
    t, c, z, y, x = sizes
    if dims == 3:
        expected = canonical
    elif order.index("T") < order.index("Z"):
        expected = canonical.transpose(0, 2, 1, 3, 4).reshape(t * z, c, y, x)
    else:
        expected = canonical.transpose(2, 0, 1, 3, 4).reshape(t * z, c, y, x)
    np.testing.assert_array_equal(np.stack(pages), expected)


@pytest.mark.parametrize(
    ("axes", "lengths", "dims", "message"),
    [
        ("YX", (5, 5), 4, "dims must be 2 .* got 4"),
        ("TX", (5, 5), 2, "need one Y and one X"),
        ("YX", (0, 5), 2, "hold no pixels"),
        ("CYXS", (2, 5, 5, 3), 2, "mix channels with colour"),
        ("YX", (5, 5), 3, "have no depth, but dims=3 needs a volume; use dims=2, or give stacks of planes"),
        ("SYX", (4, 5, 5), 3, r"or name the axes, where S is depth \(--axes ZYX\)"),
        ("CYX", (3, 5, 5), 3, r"or name the axes, where C is depth \(--axes ZYX\)"),
        ("YXS", (5, 5, 3), 3, r"or name the axes, where S is depth \(--axes YXZ\)"),
        ("TQYX", (2, 2, 5, 5), 3, r"leave the depth open.*, where Q is depth \(--axes TZYX\)"),
    ],
)
def test_axes_that_make_no_image(axes: str, lengths: tuple[int, ...], dims: int, message: str) -> None:
    with pytest.raises(ContractileError, match=message) as caught:
        arrange(axes, lengths, dims=dims, file="a.tif")
    assert caught.value.where == ("" if "dims must" in message else "a.tif")


# formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "int16", ">u2"])
def test_tiff_of_any_type(tmp_path: Path, dtype: str, compression: str | None) -> None:
    pixels = numbered(6, 5, dtype=dtype)
    order = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression, byteorder=order)
    image = read(tmp_path / "a.tif")
    assert image.name == "a"
    assert image.pixels.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(image.pixels, pixels[None])


@pytest.mark.parametrize("form", [{"imagej": True}, {"ome": True}, {}])
def test_channels_and_slices_by_their_axes(tmp_path: Path, form: dict[str, bool]) -> None:
    pixels = numbered(4, 2, 6, 5)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "ZCYX"}, **form)
    volume = read(tmp_path / "a.tif", dims=3)
    np.testing.assert_array_equal(volume.pixels, pixels.swapaxes(0, 1))  # (C, Z, Y, X)
    slices = find(tmp_path / "a.tif")
    assert [one.name for one in slices] == ["a_0000", "a_0001", "a_0002", "a_0003"]
    np.testing.assert_array_equal(read(slices[2]).pixels, pixels[2])


@pytest.mark.parametrize("dims", [2, 3])
def test_colour_tiff_loses_its_alpha(tmp_path: Path, dims: int) -> None:
    pixels = numbered(6, 5, 4, dtype="uint8")
    if dims == 3:
        pixels = np.stack([pixels, pixels + 1])
    pixels[..., 3] = 255 * (pixels[..., 3] > 50)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    image = read(tmp_path / "a.tif", dims=dims)
    np.testing.assert_array_equal(image.pixels, np.moveaxis(pixels[..., :3], -1, 0))
    with open_image(tmp_path / "a.tif", dims=dims) as stored:
        assert stored.shape == image.pixels.shape
        np.testing.assert_array_equal(stored[-1], image.pixels[-1])


def test_pages_of_different_sizes(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for side in (4, 6):
            writer.write(numbered(side, 5))
    assert [read(one).pixels.shape for one in find(tmp_path)] == [(1, 4, 5), (1, 6, 5)]


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 2), (6, 5, 3), (6, 5, 4)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_grey_and_colour(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    pixels = numbered(*shape, dtype=dtype) * (200 if dtype == "uint16" else 1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    expected = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    kept = {1: 1, 2: 1, 3: 3, 4: 3}[len(expected)]
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels, expected[:kept])


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_jpeg_and_bmp(tmp_path: Path, suffix: str) -> None:
    pixels = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    Pillow.fromarray(pixels).save(tmp_path / f"a.{suffix}")
    colour = read(tmp_path / f"a.{suffix}").pixels
    assert colour.shape == (3, 16, 24)
    np.testing.assert_allclose(colour.mean(axis=(1, 2)), (200, 100, 50), atol=3)


def test_palette_png_is_colour_as_image_and_numbers_as_labels(tmp_path: Path) -> None:
    numbers = numbered(3, 4, dtype="uint8") % 3
    picture = Pillow.fromarray(numbers, mode=None)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    picture.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), numbers)
    assert read(tmp_path / "a.png").pixels[:, 0, 1].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    ("shape", "dims", "expected"),
    [
        ((6, 5), 2, (1, 6, 5)),
        ((3, 6, 5), 2, (3, 6, 5)),
        ((6, 5, 3), 2, (3, 6, 5)),
        ((7, 6, 5), 3, (1, 7, 6, 5)),
        ((2, 7, 6, 5), 3, (2, 7, 6, 5)),
        ((7, 6, 5, 2), 3, (2, 7, 6, 5)),
    ],
)
def test_npy_and_bare_zarr(tmp_path: Path, shape: tuple[int, ...], dims: int, expected: tuple[int, ...]) -> None:
    np.save(tmp_path / "a.npy", numbered(*shape))
    zarr.save_array(str(tmp_path / "a.zarr"), numbered(*shape))
    for name in ("a.npy", "a.zarr"):
        assert read(tmp_path / name, dims=dims).pixels.shape == expected


def test_npy_of_pages(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(7, 6, 5))
    assert len(find(tmp_path / "a.npy")) == 7
    np.save(tmp_path / "a.npy", numbered(9, 8, 7, 6, 5, 4))
    with pytest.raises(ValueError, match=r"is no image with dims=2; save it as \(C, Y, X\)"):
        find(tmp_path / "a.npy")


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(tmp_path: Path, version: str) -> None:
    pixels = numbered(2, 3, 4, 8, 6)  # (T, C, Z, Y, X)
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("full", data=pixels, chunks=(1, 1, 2, 4, 4))
    group.create_array("half", data=pixels[..., ::2, ::2])
    space = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}, *space]
    transform = [{"type": "scale", "scale": [1, 1, 500, 250, 250]}]
    datasets = [{"path": "full", "coordinateTransformations": transform}, {"path": "half"}]
    multiscales = [{"axes": axes, "datasets": datasets}]
    group.attrs.update(
        {"multiscales": multiscales} if version == "0.4" else {"ome": {"version": "0.5", "multiscales": multiscales}}
    )
    sources = find(tmp_path, dims=3)
    assert [one.name for one in sources] == ["a_0000", "a_0001"]
    image = read(sources[1], dims=3)
    np.testing.assert_array_equal(image.pixels, pixels[1])
    assert image.pixel_size_um == (0.5, 0.25, 0.25)
    with open_image(sources[0], dims=3) as stored:
        np.testing.assert_array_equal(stored[1, 1:3, ::2, -2:], pixels[0, 1, 1:3, ::2, -2:])


def test_zarr_without_image(tmp_path: Path) -> None:
    zarr.open_group(tmp_path / "plate.zarr", mode="w").create_group("A")
    with pytest.raises(ValueError, match=r"holds no OME-Zarr image but A; give the folder of one image in it"):
        find(tmp_path / "plate.zarr")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"imagej": True, "metadata": {"unit": "um"}, "resolution": (4, 2)}, (0.5, 0.25)),
        ({"imagej": True, "metadata": {"unit": "\\u00B5m"}, "resolution": (4, 2)}, (0.5, 0.25)),
        ({"imagej": True, "metadata": {"unit": "pixel"}, "resolution": (4, 2)}, None),
        ({"resolution": (40000, 20000), "resolutionunit": "CENTIMETER"}, (0.5, 0.25)),
        ({"resolution": (72, 72), "resolutionunit": "INCH"}, None),
        ({"imagej": True, "metadata": {"unit": "inch"}, "resolution": (72, 72)}, None),
        ({}, None),
        (
            {
                "ome": True,
                "metadata": {"PhysicalSizeX": 250, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.5},
            },
            (0.5, 0.25),
        ),
    ],
)
def test_pixel_size(tmp_path: Path, form: dict[str, Any], expected: tuple[float, ...] | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(6, 5), **form)
    assert read(tmp_path / "a.tif").pixel_size_um == pytest.approx(expected)


# on disk --------------------------------------------------------------------------------------

bounds = st.one_of(
    st.integers(-6, 5), st.builds(slice, *[st.none() | st.integers(-8, 8)] * 2, st.sampled_from([None, 1, 2]))
)


@given(key=st.lists(bounds, max_size=3).map(tuple), ellipsis=st.booleans())
def test_slices_from_disk_equal_slices_of_the_array(
    tmp_path_factory: pytest.TempPathFactory, key: Any, ellipsis: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "stored.tif"
    pixels = numbered(6, 6, 6)
    if not path.exists():
        tifffile.imwrite(path, pixels, metadata={"axes": "CYX"}, tile=(16, 16), compression="zlib")
    key = (..., *key) if ellipsis else key
    with open_image(path) as stored:
        np.testing.assert_array_equal(stored[key], pixels[key])
        assert stored.ndim == 3
        np.testing.assert_array_equal(np.asarray(stored), pixels)


def test_indices_that_no_file_can_serve(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(6, 5))
    with open_image(tmp_path / "a.npy") as stored:
        with pytest.raises(IndexError, match="takes at most 3 indices, got 4"):
            stored[0, 0, 0, 0]
        with pytest.raises(IndexError, match="steps of at least 1, got -1"):
            stored[:, ::-1]


def test_an_image_in_memory_and_on_disk_is_used_alike(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", numbered(6, 5))
    held = read(tmp_path / "a.npy")
    assert held.pixels is held.pixels
    with held, open_image(tmp_path / "a.npy") as stored:
        for image in (held, stored):
            assert (image.name, image.shape, image.ndim, image.dtype) == ("a", (1, 6, 5), 3, np.uint16)
            assert image.pixel_size_um is None
            np.testing.assert_array_equal(image.pixels, numbered(6, 5)[None])
            np.testing.assert_array_equal(image[0, 2:4], numbered(6, 5)[2:4])
            assert np.asarray(image, dtype=float).dtype == float


def test_an_image_made_of_an_array() -> None:
    pixels = numbered(2, 6, 5)
    image = Image("mine", pixels, (0.5, 0.5))
    assert image.pixels is pixels
    assert np.asarray(image) is pixels
    assert np.array(image) is not pixels
    assert (image.name, image.pixel_size_um) == ("mine", (0.5, 0.5))


# layouts of the field -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "dims", "count", "shape", "dtype"),
    [
        ("train-volume.tif", 2, 30, (1, 8, 9), "uint8"),
        ("train-volume.tif", 3, 1, (1, 30, 8, 9), "uint8"),
        ("01", 2, 12, (1, 8, 9), "uint8"),
        ("01_ST/SEG", 2, 12, (1, 8, 9), "uint16"),
        ("images/*.png", 2, 2, (3, 8, 9), "uint8"),
    ],
)
def test_the_layouts_of_public_datasets(
    tmp_path: Path, where: str, dims: int, count: int, shape: tuple[int, ...], dtype: str
) -> None:
    tifffile.imwrite(tmp_path / "train-volume.tif", numbered(30, 8, 9, dtype="uint8"))
    for folder, name, kind in (("01", "t", "uint8"), ("01_ST/SEG", "man_seg", "uint16")):
        (tmp_path / folder).mkdir(parents=True)
        for time in range(12):
            tifffile.imwrite(tmp_path / folder / f"{name}{time:03d}.tif", numbered(8, 9, dtype=kind))
    (tmp_path / "images").mkdir()
    for picture in ("00ae", "01d4"):
        path = tmp_path / "images" / f"{picture}.png"
        path.write_bytes(imagecodecs.png_encode(numbered(8, 9, 4, dtype="uint8")))
    sources = find(tmp_path / where, dims=dims)
    image = read(sources[-1], dims=dims)
    assert (len(sources), image.pixels.shape, str(image.dtype)) == (count, shape, dtype)
