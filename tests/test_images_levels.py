"""Lower resolutions that files have, how much of a file is read at once, and what it says about its channels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from contractile.images import Channel, Image, Source, ZarrSink, find, limited, open_image, pour
from contractile.images.channel_names import of_omero

TILES: dict[str, Any] = {"tile": (16, 16), "compression": "zlib"}
STORED: list[dict[str, Any]] = [{}, {"tile": None, "compression": None}, {"tile": None, "rowsperstrip": 5}]
Pyramid = list[NDArray[Any]]


def numbered(*shape: int, dtype: str = "uint16", first: int = 0) -> NDArray[Any]:
    """An array in which every element tells its own place."""
    return (np.arange(np.prod(shape)).reshape(shape) + first).astype(dtype)


def pyramid(*shape: int, dtype: str = "uint16") -> Pyramid:
    """Three resolutions (Y, X, ...) that are no smaller pictures of one another, so that a mistake shows."""
    y, x, *more = shape
    return [numbered(y // n, x // n, *more, dtype=dtype, first=n) for n in (1, 2, 4)]


def write_pyramid(path: Path, levels: Pyramid, *, form: str, photometric: str = "minisblack", **more: Any) -> Path:
    with tifffile.TiffWriter(path, ome=form == "ome", bigtiff=True) as writer:
        options: dict[str, Any] = {**TILES, "photometric": photometric, **more}
        axes = {"axes": "YXS"[: levels[0].ndim]} if form == "ome" else None
        lower = {} if form == "pages" else {"subifds": len(levels) - 1}
        writer.write(levels[0], **options, **lower, metadata=axes)
        options.pop("extratags", None)
        for level in levels[1:]:
            writer.write(level, **options, subfiletype=1, metadata=None)
    return path


def make_zarr(path: Path, levels: Pyramid, axes: str, version: int = 2, **more: Any) -> Path:
    """An OME-Zarr of these arrays, in chunks of 16 pixels."""
    group = zarr.create_group(path, zarr_format=version)
    for number, one in enumerate(levels):
        chunks = [min(16, n) if letter in "yx" else 1 for letter, n in zip(axes, one.shape, strict=True)]
        group.create_array(f"{number}", shape=one.shape, dtype=one.dtype, chunks=chunks)[...] = one
    named = [{"name": letter, "type": "channel" if letter == "c" else "space"} for letter in axes]
    datasets = [{"path": f"{n}", "coordinateTransformations": []} for n in range(len(levels))]
    ome = {"multiscales": [{"version": "0.4", "axes": named, "datasets": datasets}], **more}
    group.attrs.update(ome if version == 2 else {"ome": ome})
    return path


def check(image: Image, expected: Pyramid) -> None:
    """That the image has these resolutions (C, Y, X), exactly, as wholes and in parts."""
    assert [level.shape for level in image.levels] == [one.shape for one in expected]
    assert image.levels[0] is image
    for level, one in zip(image.levels, expected, strict=True):
        np.testing.assert_array_equal(level[...], one)
        np.testing.assert_array_equal(level[:, 3:7, 2:9:3], one[:, 3:7, 2:9:3])
        assert level.dtype == one.dtype


@pytest.mark.parametrize("form", ["sub", "ome", "pages"])
@pytest.mark.parametrize(
    "options", [{}, {"tile": None, "compression": None}, {"tile": None, "rowsperstrip": 5}], ids=str
)
def test_a_tiff_of_several_resolutions(tmp_path: Path, form: str, options: dict[str, Any]) -> None:
    levels = pyramid(64, 80)
    path = write_pyramid(tmp_path / "a.tif", levels, form=form, **options)
    with open_image(find(path)[0]) as image:
        check(image, [level[None] for level in levels])


@pytest.mark.parametrize("form", ["sub", "ome"])
def test_colours_and_an_orientation_are_those_of_the_full_resolution(tmp_path: Path, form: str) -> None:
    levels = pyramid(64, 48, 3, dtype="uint8")
    turned: dict[str, Any] = {"extratags": [(274, "H", 1, 6, True)]} if form == "sub" else {}
    path = write_pyramid(tmp_path / "a.tif", levels, form=form, photometric="rgb", **turned)
    with open_image(find(path)[0]) as image:
        shown = [np.rot90(level, -1) if turned else level for level in levels]
        check(image, [np.moveaxis(one, -1, 0) for one in shown])
        assert image.unit == (16, 16)
        assert [one.name for one in image.channels] == ["red", "green", "blue"]


def test_a_palette_gives_colours_in_each_resolution(tmp_path: Path) -> None:
    levels = pyramid(64, 48, dtype="uint8")
    table = numbered(3, 256) * np.uint16(257)  # 65536 becomes 0
    path = write_pyramid(tmp_path / "a.tif", levels, form="sub", photometric="palette", colormap=table)
    with open_image(find(path)[0]) as image:
        colours = (table >> 8).astype(np.uint8)
        check(image, [colours[:, level] for level in levels])


def test_a_smaller_page_without_a_mark_is_no_resolution(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for level in pyramid(64, 80):
            writer.write(level, **TILES, photometric="minisblack", metadata=None)
    with open_image(find(tmp_path / "a.tif")[0]) as image:
        assert image.levels == (image,)


def test_a_resolution_that_is_cut_off_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    levels = pyramid(64, 80)
    path = write_pyramid(tmp_path / "a.tif", levels, form="pages")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[1]
        tag = page.tags["TileByteCounts"]
        offset = tag.valueoffset
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = (2**30).to_bytes(4, "little")
    path.write_bytes(content)
    with open_image(find(path)[0]) as image:
        np.testing.assert_array_equal(image[0], levels[0])
        assert image.levels == (image,)
    assert "a.tif: its lower resolutions are not used: is cut off" in caplog.text


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_of_several_resolutions(tmp_path: Path, version: int) -> None:
    levels = [np.stack([one, one + 1]) for one in pyramid(64, 80)]
    shown = [{"label": "DAPI", "color": "0000FF"}, {"label": " ", "color": "red"}]
    path = make_zarr(tmp_path / "a.zarr", levels, "cyx", version, omero={"channels": shown})
    with open_image(path) as image:
        check(image, levels)
        assert image.unit == (16, 16)
        assert image.channels == (Channel("DAPI", "0000FF"), Channel())


def test_each_page_has_its_own_resolutions(tmp_path: Path) -> None:
    levels = [np.stack([one, one + 1, one + 2]) for one in pyramid(64, 80)]
    path = make_zarr(tmp_path / "a.zarr", levels, "zyx")
    for number, source in enumerate(find(path)):
        with open_image(source) as image:
            check(image, [level[number][None] for level in levels])


def test_volumes_have_resolutions_of_volumes(tmp_path: Path) -> None:
    levels = [numbered(8 // n, 64 // n, 48 // n) for n in (1, 2)]
    path = make_zarr(tmp_path / "a.zarr", levels, "zyx")
    with open_image(path, dims=3) as image:
        assert [level.shape for level in image.levels] == [(1, 8, 64, 48), (1, 4, 32, 24)]
        np.testing.assert_array_equal(image.levels[1][0, 2:], levels[1][2:])
    with open_image(find(path)[3]) as plane:  # two planes of the stack are one of the lower resolution
        assert plane.levels == (plane,)


def test_what_is_no_lower_resolution_is_left_out(tmp_path: Path) -> None:
    levels = [numbered(2, 64, 48), numbered(1, 32, 24), numbered(2, 64, 48), numbered(2, 80, 12), numbered(2, 16, 12)]
    with open_image(make_zarr(tmp_path / "a.zarr", levels, "cyx")) as image:
        check(image, [levels[0], levels[4]])


def test_a_missing_resolution_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = make_zarr(tmp_path / "a.zarr", pyramid(64, 80), "yx")
    (path / "1" / ".zarray").unlink()
    with limited(missing=True), open_image(path) as image:
        assert image.levels == (image,)
    assert "a.zarr: its lower resolutions are not used" in caplog.text


def test_our_own_results_have_the_resolutions_that_were_written(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((2, 700, 500), dtype=np.float32)
    with ZarrSink(tmp_path / "a.zarr", pixels.shape, np.float32, axes="CYX") as sink:
        pour(pixels, sink)
        sink.facts = type(sink.facts)(pixel_size_um=(0.5, 0.25))
    with open_image(tmp_path / "a.zarr") as image:
        assert [level.shape for level in image.levels] == [(2, 700, 500), (2, 350, 250), (2, 175, 125)]
        assert [level.pixel_size_um for level in image.levels] == [(0.5, 0.25), (1.0, 0.5), (2.0, 1.0)]
        half = pixels.reshape(2, 350, 2, 250, 2).mean((2, 4))
        np.testing.assert_allclose(image.levels[1][...], half, atol=1e-6)


def test_files_of_channels_share_the_resolutions_that_all_have(tmp_path: Path) -> None:
    one, two = pyramid(64, 80), pyramid(64, 80)[:2]
    paths = (tmp_path / "a_0000.tif", tmp_path / "a_0001.tif")
    for path, levels in zip(paths, (one, two), strict=True):
        write_pyramid(path, levels, form="sub")
    with open_image(Source("a", paths[0], parts=paths)) as image:
        check(image, [np.stack(both) for both in zip(one, two, strict=False)])
        assert image.unit == (16, 16)


def test_many_threads_read_all_resolutions_at_once(tmp_path: Path) -> None:
    levels = pyramid(128, 128)
    path = write_pyramid(tmp_path / "a.tif", levels, form="sub")
    with open_image(find(path)[0]) as image, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: image.levels[number % 3][0], range(24)))
    for number, one in enumerate(found):
        np.testing.assert_array_equal(one, levels[number % 3])


def test_an_image_that_is_mapped_is_read_by_threads(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(100, 120))
    with open_image(tmp_path / "a.tif") as image, ThreadPoolExecutor(8) as pool:
        for one in pool.map(lambda _: image[0], range(200)):
            np.testing.assert_array_equal(one, numbered(100, 120))


@pytest.mark.parametrize(
    ("options", "unit"),
    [
        ({}, (6, 300)),  # mapped: lines in a page of 4096 bytes
        ({"compression": "zlib", "rowsperstrip": 5}, (130, 300)),  # a band of strips
        ({"compression": "zlib", "tile": (32, 16)}, (32, 16)),
        ({"compression": "zlib", "tile": (32, 16), "extratags": [(274, "H", 1, 5, True)]}, (16, 32)),
    ],
    ids=str,
)
def test_how_much_of_a_file_is_read_at_once(tmp_path: Path, options: dict[str, Any], unit: tuple[int, int]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", numbered(400, 300), **options)
    with open_image(tmp_path / "a.tif") as image:
        assert image.unit == unit


def test_in_memory_a_pixel_is_read_alone(tmp_path: Path) -> None:
    image = Image("a", numbered(1, 30, 40))
    assert image.unit == (1, 1)
    assert image.levels == (image,)
    assert image.channels == ()
    np.save(tmp_path / "a.npy", numbered(20, 3000))
    with open_image(tmp_path / "a.npy") as mapped:
        assert mapped.unit == (1, 2048)


def test_names_and_colours_of_channels(tmp_path: Path) -> None:
    pixels = numbered(2, 40, 50)
    names = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"], "Color": [65535, -16776961]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, ome=True, photometric="minisblack", metadata=names)
    with open_image(tmp_path / "a.ome.tif") as image:
        assert image.channels == (Channel("DAPI", "0000FF"), Channel("GFP", "FF0000"))
    ramp, none = numbered(256, dtype="uint8"), np.zeros(256, np.uint8)
    shown = {"axes": "CYX", "LUTs": [np.stack([none, ramp, none]), np.stack([ramp, none, ramp])]}
    tifffile.imwrite(tmp_path / "b.tif", pixels, imagej=True, metadata=shown)
    with open_image(tmp_path / "b.tif") as image:
        assert image.channels == (Channel(None, "00FF00"), Channel(None, "FF00FF"))
    tifffile.imwrite(tmp_path / "c.tif", pixels, imagej=True, metadata={"axes": "CYX"})
    with open_image(tmp_path / "c.tif") as image:
        assert image.channels == ()


@pytest.mark.parametrize("omero", [None, [], {}, {"channels": 3}, {"channels": [3]}], ids=str)
def test_metadata_without_channels(omero: object) -> None:
    assert of_omero(omero) == ()


def test_metadata_of_channels_that_are_none() -> None:
    found = of_omero({"channels": [{"label": 3, "color": 4}, {"color": "#ff8c00"}]})
    assert found == (
        Channel(),
        Channel(None, "FF8C00"),
    )
