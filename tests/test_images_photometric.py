"""What the numbers in a TIFF mean: from white, colours, transparency, lookup tables, orientation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError
from contractile.images import open_image, read, read_labels
from contractile.images.formats import open_rasters
from contractile.images.photometric import TRANSPARENT
from contractile.images.pictures import turn
from contractile.images.raster import Recoloured, Turned

FORMS: list[dict[str, Any]] = [
    {},
    {"compression": "zlib"},
    {"compression": "lzw", "predictor": True, "rowsperstrip": 5},
    {"tile": (16, 16), "compression": "zlib"},
    {"bigtiff": True},
    {"byteorder": ">"},
    {"metadata": None},
]


def noise(*shape: int, dtype: str = "uint8", high: int = 256) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def notes_of(path: Path) -> tuple[str, ...]:
    with open_rasters(path, dims=2) as rasters:
        return rasters[0].notes


# min is white ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32"])
def test_min_is_white_is_turned_over(tmp_path: Path, dtype: str, form: dict[str, Any]) -> None:
    stored = noise(20, 18, dtype=dtype, high=100)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", **form)
    expected = np.iinfo(dtype).max + np.iinfo(dtype).min - stored.astype(np.int64)
    image = read(tmp_path / "a.tif")
    assert image.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(image.pixels[0], expected)
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image[0, 3:9:2, -4], expected[3:9:2, -4])


def test_a_mask_of_bits_is_what_viewers_show(tmp_path: Path) -> None:
    square = np.zeros((40, 50), bool)
    square[10:20, 10:20] = True
    tifffile.imwrite(tmp_path / "m.tif", ~square, photometric="miniswhite")
    np.testing.assert_array_equal(np.asarray(Pillow.open(tmp_path / "m.tif")), square)
    np.testing.assert_array_equal(read_labels(tmp_path / "m.tif"), square)
    assert "as tifffile marks every boolean array" in notes_of(tmp_path / "m.tif")[0]
    Pillow.fromarray(square).save(tmp_path / "m.tif")  # min is black
    np.testing.assert_array_equal(read_labels(tmp_path / "m.tif"), square)
    assert notes_of(tmp_path / "m.tif") == ()


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "packbits", "raw"])
def test_bits_in_all_their_compressions(tmp_path: Path, compression: str) -> None:
    square = noise(24, 33, high=2) > 0
    Pillow.fromarray(square).save(tmp_path / "m.tif", compression=compression, tiffinfo={262: 0})
    with tifffile.TiffFile(tmp_path / "m.tif") as tiff:
        if tiff.pages.first.compression not in tifffile.TIFF.DECOMPRESSORS:
            pytest.skip("this tifffile is older")
    seen = np.asarray(Pillow.open(tmp_path / "m.tif"))
    np.testing.assert_array_equal(read_labels(tmp_path / "m.tif"), seen)


@pytest.mark.parametrize(("dtype", "bits"), [("uint8", 8), ("uint8", 4), ("uint16", 12), ("uint16", 16), ("int32", 32)])
def test_numbers_of_labels_from_white_are_kept(tmp_path: Path, dtype: str, bits: int) -> None:
    """Turned over, background would have the largest number."""
    numbers = noise(20, 18, dtype=dtype, high=16)
    tags = [(262, "H", 1, 0, True)]
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="miniswhite", bitspersample=bits, extratags=tags)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), numbers)
    with open_rasters(tmp_path / "a.tif", dims=2, indices=True) as rasters:
        assert rasters[0].notes == ("its values are marked as min-is-white; as numbers of labels, they are kept",)


def test_few_bits_from_white(tmp_path: Path) -> None:
    stored = noise(20, 18, dtype="uint16", high=4096)
    tags = [(262, "H", 1, 0, True)]
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", bitspersample=12, extratags=tags)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels[0], 4095 - stored)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_reaches_from_0_to_255_as_an_image_and_keeps_its_numbers_as_labels(
    tmp_path: Path, bits: int
) -> None:
    numbers = noise(20, 18, high=2**bits)
    stored = numbers.astype(bool) if bits == 1 else numbers
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="minisblack", bitspersample=bits)
    image = read(tmp_path / "a.tif")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels[0], numbers * (255 // (2**bits - 1)))
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), numbers)


def test_white_of_floats_and_of_imagej_is_a_way_to_look_at_values(tmp_path: Path) -> None:
    for dtype, form in (("float32", {}), ("uint8", {"imagej": True}), ("uint16", {"imagej": True})):
        stored = noise(20, 18, dtype=dtype)
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="miniswhite", **form)
        np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels[0], stored)
        assert "they are kept" in notes_of(tmp_path / "a.tif")[0]


@pytest.mark.parametrize("channels", [1, 2])
def test_what_imagej_shows_in_another_way_is_said(tmp_path: Path, channels: int) -> None:
    stored = noise(channels, 20, 18, dtype="uint16")
    up = np.tile(np.arange(256, dtype=np.uint8), (3, 1))
    green = up * np.array([[0], [1], [0]], np.uint8)
    facts = {"axes": "CYX", "LUTs": [up[:, ::-1], green][:channels], "cf": 0, "c0": -32768, "c1": 1}
    tifffile.imwrite(tmp_path / "a.tif", stored, imagej=True, metadata=facts)
    assert notes_of(tmp_path / "a.tif") == (
        "its lookup table shows small values as bright; the values are kept as they are",
        "its calibration (value = -32768 + 1 x stored number) is not applied: the stored numbers are read",
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, stored)
    facts = {"axes": "CYX", "LUTs": [up, green][:channels], "cf": 0, "c0": 0, "c1": 1}
    tifffile.imwrite(tmp_path / "a.tif", stored, imagej=True, metadata=facts)
    assert notes_of(tmp_path / "a.tif") == ()


# transparency and extra channels --------------------------------------------------------------


def four(alpha: NDArray[Any], dtype: str = "uint8") -> NDArray[Any]:
    pixels = noise(24, 20, 4, dtype=dtype, high=200)
    pixels[..., 3] = alpha
    return pixels


OPAQUE = np.full((24, 20), 255)
CUT_OUT = np.where(np.arange(480).reshape(24, 20) % 7 < 3, 255, 0)
STAIN = np.arange(480).reshape(24, 20) % 150


@pytest.mark.parametrize("form", [*FORMS, {"ome": True}, {"imagej": True}])
@pytest.mark.parametrize("alpha", [OPAQUE, CUT_OUT])
def test_transparency_is_left_out_and_said(tmp_path: Path, alpha: NDArray[Any], form: dict[str, Any]) -> None:
    pixels = four(alpha)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", **form)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.moveaxis(pixels[..., :3], -1, 0))
    assert notes_of(tmp_path / "a.tif") == (TRANSPARENT,)


@pytest.mark.parametrize("form", [*FORMS, {"ome": True}, {"imagej": True}])
@pytest.mark.parametrize("alpha", [STAIN, np.zeros((24, 20))])
def test_a_fourth_stain_is_a_channel(tmp_path: Path, alpha: NDArray[Any], form: dict[str, Any]) -> None:
    for dtype in ("uint8", "uint16")[: 1 if "imagej" in form else 2]:  # ImageJ's colour has 8 bits
        pixels = four(alpha, dtype)
        tifffile.imwrite(tmp_path / "a.tif", pixels, **form)  # tifffile marks it as transparency
        np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.moveaxis(pixels, -1, 0))
        assert "does not look like it: it is read as a channel" in notes_of(tmp_path / "a.tif")[0]


@pytest.mark.parametrize("alpha", [STAIN, OPAQUE])
def test_planes_of_colour_with_transparency(tmp_path: Path, alpha: NDArray[Any]) -> None:
    pixels = np.moveaxis(four(alpha), -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate", compression="zlib")
    kept = 4 if alpha is STAIN else 3
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, pixels[:kept])


def test_others_mean_what_they_mark(tmp_path: Path) -> None:
    soft = four(STAIN)
    Pillow.fromarray(soft).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.moveaxis(soft[..., :3], -1, 0))
    tifffile.imwrite(tmp_path / "a.tif", soft, photometric="rgb", extrasamples=["assocalpha"])
    assert len(read(tmp_path / "a.tif").pixels) == 3
    Pillow.fromarray(np.ascontiguousarray(soft[..., 2:]), "LA").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, soft[None, ..., 2])
    assert notes_of(tmp_path / "a.tif") == (TRANSPARENT,)


@pytest.mark.parametrize("count", [2, 4, 5])
@pytest.mark.parametrize("form", [{"photometric": "minisblack"}, {"photometric": "rgb"}])
def test_unspecified_samples_are_channels(tmp_path: Path, count: int, form: dict[str, Any]) -> None:
    if form["photometric"] == "rgb":
        count = max(count, 4)
        form = {**form, "extrasamples": ["unspecified"] * (count - 3)}
    pixels = noise(24, 20, count)
    pixels[..., -1] = 255
    tifffile.imwrite(tmp_path / "a.tif", pixels, planarconfig="contig", **form)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.moveaxis(pixels, -1, 0))
    assert notes_of(tmp_path / "a.tif") == ()


def test_channels_that_are_named_are_no_transparency(tmp_path: Path) -> None:
    pixels = np.moveaxis(four(OPAQUE), -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate", metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, pixels)


# colours --------------------------------------------------------------------------------------


def colourmap(dtype: str = "uint8") -> NDArray[np.uint16]:
    return np.random.default_rng(1).integers(0, 256, (3, 256 if dtype == "uint8" else 65536)).astype(np.uint16) * 256


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_palette_is_colours_for_images_and_numbers_for_labels(
    tmp_path: Path, dtype: str, form: dict[str, Any]
) -> None:
    numbers, table = noise(20, 18, dtype=dtype), colourmap(dtype)
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="palette", colormap=table, **form)
    expected = (table >> 8)[:, numbers]  # (3, Y, X)
    image = read(tmp_path / "a.tif")
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, expected)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), numbers)
    with open_image(tmp_path / "a.tif") as image:
        np.testing.assert_array_equal(image[1:, 4, ::3], expected[1:, 4, ::3])


def test_a_palette_of_pillow(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise(9, 7, high=4))
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255, 10, 20, 30])
    picture.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(
        read(tmp_path / "a.tif").pixels, np.moveaxis(np.asarray(picture.convert("RGB")), -1, 0)
    )
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), np.asarray(picture))


def test_pages_with_a_palette(tmp_path: Path) -> None:
    numbers, table = noise(2, 20, 18), colourmap()
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="palette", colormap=table)
    with open_rasters(tmp_path / "a.tif", dims=2) as [raster]:
        assert raster.lengths == (2, 20, 18, 3)
        np.testing.assert_array_equal(raster.load()[1], np.moveaxis((table >> 8)[:, numbers[1]], 0, -1))


def test_lookup_tables_of_imagej_and_ome_are_no_colours(tmp_path: Path) -> None:
    grey = noise(20, 18)
    tifffile.imwrite(tmp_path / "a.tif", grey, imagej=True, photometric="palette", colormap=colourmap())
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, grey[None])
    assert "display of grey values" in notes_of(tmp_path / "a.tif")[0]
    tifffile.imwrite(tmp_path / "a.tif", grey, ome=True, photometric="palette", colormap=colourmap())
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, grey[None])
    composite = {"axes": "CYX", "mode": "composite", "LUTs": [(colourmap() >> 8).astype(np.uint8)] * 2}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey, grey]), imagej=True, metadata=composite)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.stack([grey, grey]))
    assert notes_of(tmp_path / "a.tif") == ()


@pytest.mark.parametrize("form", [*FORMS, {"planarconfig": "separate"}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_cmyk_becomes_rgb(tmp_path: Path, dtype: str, form: dict[str, Any]) -> None:
    inks = noise(20, 18, 4, dtype=dtype)
    full = np.iinfo(dtype).max
    inks[0, 0], inks[0, 1], inks[0, 2] = (0, 0, 0, 0), (full, 0, 0, 0), (0, 0, 0, full)  # white, cyan, black
    stored = np.moveaxis(inks, -1, 0) if form.get("planarconfig") else inks
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", **form)
    image = read(tmp_path / "a.tif")
    assert (image.dtype, image.shape) == (np.dtype(dtype), (3, 20, 18))
    assert image.pixels[:, 0, :3].T.tolist() == [[full] * 3, [0, full, full], [0, 0, 0]]
    light = 1 - inks.astype(float) / full
    np.testing.assert_allclose(image.pixels, np.moveaxis(light[..., :3] * light[..., 3:], -1, 0) * full, atol=0.51)
    assert notes_of(tmp_path / "a.tif") == ("its CMYK colours are converted to RGB",)


def test_cmyk_as_pillow_converts_it(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise(20, 18, 3)).convert("CMYK")
    picture.save(tmp_path / "a.tif")
    seen = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, seen, atol=1)


def test_other_inks_are_channels(tmp_path: Path) -> None:
    inks = noise(20, 18, 4)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated", extratags=[(332, "H", 1, 2, True)])
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.moveaxis(inks, -1, 0))
    assert notes_of(tmp_path / "a.tif") == ("its inks are not CMYK: each is read as a channel",)


def test_luminance_and_colour_differences_become_rgb(tmp_path: Path) -> None:
    picture = Pillow.fromarray(noise(20, 18, 3)).convert("YCbCr")
    picture.save(tmp_path / "a.tif")
    expected = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, expected, atol=1)
    planes = np.moveaxis(np.asarray(picture), -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="ycbcr", planarconfig="separate", compression="zlib")
    np.testing.assert_allclose(read(tmp_path / "a.tif").pixels, expected, atol=1)


def test_a_reference_without_a_span_is_not_used(tmp_path: Path) -> None:
    grey = noise(20, 18, 3)
    grey[..., 1:] = 128
    tag = (532, "2I", 6, (5, 1) * 6, True)
    tifffile.imwrite(tmp_path / "a.tif", grey, photometric="ycbcr", extratags=[tag])
    np.testing.assert_array_equal(read(tmp_path / "a.tif").pixels, np.stack([grey[..., 0]] * 3))


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_inside_tiff_is_rgb(tmp_path: Path, photometric: str) -> None:
    pixels = np.full((32, 32, 3), (200, 100, 50), np.uint8)
    if photometric == "rgb":
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", compression="jpeg", tile=(16, 16))
    else:
        Pillow.fromarray(pixels).convert("YCbCr").save(tmp_path / "a.tif", compression="jpeg")
    colour = read(tmp_path / "a.tif").pixels
    np.testing.assert_allclose(colour.mean(axis=(1, 2)), (200, 100, 50), atol=3)


def test_colours_that_are_not_read(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 18, 3), photometric="cielab")
    with pytest.raises(
        ContractileError, match=r"a\.tif: its colours are CIE L\*a\*b\*, which is not read; save it as RGB"
    ):
        read(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 18, 3, dtype="uint16"), photometric="ycbcr")
    with pytest.raises(ContractileError, match=r"YCbCr colours are not of 3 x 8 bits; save it as RGB"):
        read(tmp_path / "a.tif")


def test_a_mosaic_of_filters_is_grey_and_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(20, 18), photometric="cfa", metadata=None)
    assert read(tmp_path / "a.tif").shape == (1, 20, 18)
    assert "mosaic of colour filters" in notes_of(tmp_path / "a.tif")[0]


# orientation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colour", [False, True])
def test_orientation_as_pillow_shows_it(tmp_path: Path, orientation: int, colour: bool) -> None:
    stored = noise(12, 10, 3) if colour else noise(12, 10)
    tag = [(274, "H", 1, orientation, True)]
    form: dict[str, Any] = {"compression": "zlib", "resolution": (2e4, 1e4), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", stored, extratags=tag, **form)
    seen = turn(stored, orientation)
    picture = Pillow.open(tmp_path / "a.tif")
    picture.load()
    np.testing.assert_array_equal(np.asarray(picture), seen)
    expected = np.moveaxis(seen, -1, 0) if colour else seen[None]
    image = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.pixels, expected)
    assert image.pixel_size_um == ((1.0, 0.5) if orientation < 5 else (0.5, 1.0))


bounds = st.one_of(
    st.integers(-6, 5), st.builds(slice, *[st.none() | st.integers(-8, 8)] * 2, st.sampled_from([1, 2, 3]))
)


@given(st.tuples(bounds, bounds, bounds), st.integers(1, 8))
def test_regions_of_turned_and_recoloured_arrays(region: Any, orientation: int) -> None:
    stored = np.arange(216).reshape(6, 6, 6)
    turned = np.moveaxis(turn(np.moveaxis(stored, 0, -1), orientation), -1, 0)
    view = Turned(stored, turned.shape, 1, 2, orientation=orientation)
    np.testing.assert_array_equal(view[region], turned[region])
    coloured = Recoloured(stored, (6, 6, 6), lambda values: values[..., ::-1] + 1, samples=1, new_samples=1)
    np.testing.assert_array_equal(coloured[region], (stored[:, ::-1] + 1)[region])


def test_only_the_region_is_converted(tmp_path: Path) -> None:
    taken: list[tuple[int, ...]] = []

    def convert(values: NDArray[Any]) -> NDArray[Any]:
        taken.append(values.shape)
        return values

    Recoloured(np.zeros((50, 60)), (50, 60), convert)[3:5, 10]
    Recoloured(np.zeros((50, 60, 4)), (50, 60, 3), convert, samples=2, new_samples=2)[3:5, 10, 0]
    assert taken == [(2, 1), (2, 1, 4)]
