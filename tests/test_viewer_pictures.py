"""The images of a session: facts, exact pixels of every resolution, bounded work, several threads."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from conftest import entries
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError, NotFound
from contractile.images import Channel, Image, Source, ZarrSink, find, open_image, pour, reading, zarr_store
from contractile.images.pyramid import mean
from contractile.viewer import pictures as module
from contractile.viewer import pyramids
from contractile.viewer.channels import ChannelFacts, describe_channels
from contractile.viewer.chunks import Chunks
from contractile.viewer.lower import Halved, halvings, sample
from contractile.viewer.pictures import Facts, Pictures
from contractile.viewer.pyramids import Job, Maker, make, path_of
from contractile.viewer.shelf import Shelf

WAIT_S = 60


def noise(*shape: int, dtype: str = "uint16", seed: int = 0) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    return rng.random(shape).astype(dtype) if dtype.startswith("f") else rng.integers(0, 250, shape).astype(dtype)


def halves(pixels: NDArray[Any]) -> list[NDArray[Any]]:
    """All resolutions of pixels (C, Y, X), as they must be."""
    found = [pixels]
    for _ in halvings(pixels.shape[1:]):  # type: ignore[arg-type]
        found.append(mean(found[-1], (1, 2, 2)))
    return found


def whole(pictures: Pictures, number: int, level: int) -> NDArray[Any]:
    y, x = pictures.facts(number).levels[level]
    return pictures.pixels(number, level, (slice(0, y), slice(0, x)))


@pytest.fixture
def opened() -> Iterator[Callable[..., Pictures]]:
    """`opened(where, cache=)`: pictures that are closed at the end."""
    made: list[Pictures] = []

    def begin(where: Any, **more: Any) -> Pictures:
        made.append(Pictures(where if isinstance(where, list) else find(where), **more))
        return made[-1]

    yield begin
    for one in made:
        one.close()
    gc.collect()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of a few hundred pixels are large."""
    monkeypatch.setattr(module, "LARGE", 100**2)
    monkeypatch.setattr(module, "MOST", 2**14)
    monkeypatch.setattr(module, "LEAST", 2**12)
    monkeypatch.setattr(module, "TIMES", 1)


# names and facts -----------------------------------------------------------------------------------


def test_names_are_unique_and_tell_the_page(opened: Callable[..., Pictures]) -> None:
    stack = Path("/data/b/stack.tif")
    sources = [Source("a", Path("/data/a/a.tif")), Source("A", Path("/data/b/A.png")), Source("a_2", Path("/data/x"))]
    sources += [Source(f"stack_{page:04d}", stack, page) for page in (0, 3)]
    pictures = opened(sources)
    assert len(pictures) == 5
    assert pictures.names() == ["a", "A_2", "a_2_2", "stack_0000", "stack_0003"]
    assert module._short_names(sources) == ("a/a.tif", "b/A.png", "x", "b/stack.tif", "b/stack.tif")
    assert opened([Source("a", Path("/data/a.tif"))])._files == ("a.tif",)
    assert len(opened([])) == 0


def test_facts_of_a_grey_image(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    pixels = np.arange(700 * 500, dtype=np.uint16).reshape(700, 500) % 1000
    tifffile.imwrite(tmp_path / "cells.tif", pixels, imagej=True, resolution=(4, 2), metadata={"unit": "um"})
    facts = opened(tmp_path).facts(0)
    low, high = np.percentile(pixels, (0.5, 99.8))
    shown = (ChannelFacts("grey", "#ffffff", facts.channels[0].low, facts.channels[0].high),)
    levels = ((700, 500), (350, 250), (175, 125))
    assert facts == Facts(0, "cells", "cells.tif", 0, 1, (700, 500), shown, "uint16", levels, (0.5, 0.25))
    assert facts.channels[0].low == pytest.approx(low, abs=4)
    assert facts.channels[0].high == pytest.approx(high, abs=4)


def test_a_stack_gives_one_image_per_page(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    pixels = noise(4, 40, 50)
    tifffile.imwrite(tmp_path / "s.tif", pixels, compression="zlib", photometric="minisblack")
    tifffile.imwrite(tmp_path / "t.tif", pixels[0])
    pictures = opened(tmp_path)
    assert len(pictures) == 5
    found = [pictures.facts(number) for number in range(5)]
    assert [(one.page, one.pages, one.file) for one in found] == [*((n, 4, "s.tif") for n in range(4)), (0, 1, "t.tif")]
    for number in range(4):
        np.testing.assert_array_equal(whole(pictures, number, 0)[0], pixels[number])


def test_colours_are_shown_as_they_are(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    colours = noise(60, 70, 3, dtype="uint8")
    Pillow.fromarray(colours).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "b.tif", colours, photometric="rgb")
    np.save(tmp_path / "c.npy", colours)
    pictures = opened(tmp_path)
    for number in range(3):
        channels = pictures.facts(number).channels
        assert [one.name for one in channels] == ["red", "green", "blue"]
        assert [one.colour for one in channels] == ["#ff0000", "#00ff00", "#0000ff"]
        assert {(one.low, one.high) for one in channels} == {(0.0, 255.0)}
        np.testing.assert_array_equal(whole(pictures, number, 0), np.moveaxis(colours, -1, 0))


def test_channels_are_shown_by_what_the_file_says() -> None:
    pixels = np.stack([np.arange(4096, dtype=np.uint8).reshape(64, 64)] * 3)
    named = (Channel("DAPI", "0000FF"), Channel(None, "FF0000"), Channel("GFP"))
    found = describe_channels(Image("a", pixels, channels=named))
    assert [(one.name, one.colour) for one in found] == [
        ("DAPI", "#0000ff"),
        ("channel 2", "#ff0000"),
        ("GFP", "#0000ff"),
    ]
    assert {(one.low, one.high) for one in found} == {(1.0, 255.0)}
    unnamed = describe_channels(Image("a", pixels[:2]))
    assert [(one.name, one.colour) for one in unnamed] == [("channel 1", "#ff00ff"), ("channel 2", "#00ff00")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([[5, 5, 5]], (5, 6)),
        ([[0] * 999 + [7]], (0, 7)),
        ([[math.nan, math.nan]], (0, 1)),
        ([[math.inf, 2, 3, math.nan]], (2.005, 2.998)),
    ],
    ids=["constant", "one bright pixel", "no number", "some numbers"],
)
def test_black_and_bright(values: list[list[float]], expected: tuple[float, float]) -> None:
    [found] = describe_channels(Image("a", np.array([values], np.float32)))
    assert (found.low, found.high) == pytest.approx(expected)


def test_a_session_that_is_opened_again_looks_at_no_image(
    tmp_path: Path, opened: Callable[..., Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        tifffile.imwrite(tmp_path / f"{name}.tif", noise(3, 40, 50, seed=seed), photometric="minisblack")
    cache = tmp_path / "cache"
    first = opened(tmp_path, cache=cache)
    found = [first.facts(number) for number in range(6)]
    looked: list[str] = []
    monkeypatch.setattr(module, "open_image", lambda source: (looked.append(source.name), open_image(source))[1])
    assert [opened(tmp_path, cache=cache).facts(number) for number in range(6)] == found
    only = opened(tmp_path / "b.tif", cache=cache)  # other numbers and names
    assert only.facts(1) == module.replace(found[4], id=1)
    assert looked == []
    with (cache / "facts.jsonl").open("ab") as file:
        file.write(b'{}\nnothing\n\xff\n{"key": ')
    tifffile.imwrite(tmp_path / "b.tif", noise(3, 40, 51), photometric="minisblack")
    again = opened(tmp_path, cache=cache)
    assert again.facts(0) == found[0]
    assert again.facts(3).shape == (40, 51)
    assert looked == ["b_0000"]
    with pytest.raises(ContractileError, match="must be from 0 to 5"):
        again.facts(6)


def test_facts_that_cannot_be_kept(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50))
    (tmp_path / "cache").write_text("a file")
    assert opened(tmp_path / "a.tif", cache=tmp_path / "cache").facts(0).shape == (40, 50)


def test_a_file_of_facts_that_grows_too_large_is_begun_anew(
    tmp_path: Path, opened: Callable[..., Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50))
    monkeypatch.setattr("contractile.viewer.facts.LARGEST", 100)
    for _ in range(2):
        opened(tmp_path / "a.tif", cache=tmp_path / "cache").facts(0)
    assert len((tmp_path / "cache" / "facts.jsonl").read_text().splitlines()) == 1


# pixels --------------------------------------------------------------------------------------------

SERVED = {"uint8": "uint8", "uint16": "uint16", "int16": "float32", "int32": "float32", "float32": "float32"}


@pytest.mark.parametrize("dtype", [*SERVED, "float64"])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "tile": (64, 48)}, {"compression": "zlib"}], ids=str)
def test_every_resolution_is_exact(
    tmp_path: Path, opened: Callable[..., Pictures], dtype: str, options: dict[str, Any]
) -> None:
    pixels = noise(601, 1030, dtype=dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    pictures = opened(tmp_path)
    facts = pictures.facts(0)
    assert facts.dtype == SERVED.get(dtype, "float32")
    assert facts.levels == ((601, 1030), (301, 515), (151, 258), (76, 129))
    for level, expected in enumerate(halves(pixels[None])):
        found = whole(pictures, 0, level)
        assert found.dtype == facts.dtype
        np.testing.assert_array_equal(found, expected.astype(facts.dtype))
        y, x = facts.levels[level]
        part = (slice(y // 3, y // 2), slice(x // 5, x))
        np.testing.assert_array_equal(pictures.pixels(0, level, part), found[(slice(None), *part)])


@given(
    size=st.tuples(st.integers(1, 900), st.integers(1, 900)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    level=st.integers(0, 5),
)
def test_a_region_is_a_part_of_the_whole(size: tuple[int, int], corners: tuple[float, ...], level: int) -> None:
    pixels = noise(2, *size, dtype="uint8")
    pictures = Pictures([Source("a", Path("a"))])
    pictures._use = lambda number: pictures._shelf.use(number, lambda: Image("a", pixels))  # type: ignore[method-assign]
    levels = pictures.facts(0).levels
    chosen = min(level, len(levels) - 1)
    y, x = levels[chosen]
    ends = sorted(int(one * y) for one in corners[:2]), sorted(int(one * x) for one in corners[2:])
    region = tuple(
        slice(min(one, n - 1), min(max(two, one + 1), n)) for (one, two), n in zip(ends, (y, x), strict=True)
    )
    found = pictures.pixels(0, chosen, (region[0], region[1]))
    np.testing.assert_array_equal(found, halves(pixels)[chosen][(slice(None), *region)])
    pictures.close()


def test_resolutions_of_the_file_are_used_and_continued(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    full, lower = noise(2000, 1600), noise(500, 400, seed=1)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        options: dict[str, Any] = {"tile": (128, 128), "compression": "zlib", "metadata": None}
        writer.write(full, **options, subifds=1)
        writer.write(lower, **options, subfiletype=1)
    pictures = opened(tmp_path)
    assert pictures.facts(0).levels == ((2000, 1600), (500, 400), (250, 200))
    for level, expected in enumerate((full, lower, mean(lower, (2, 2)))):
        np.testing.assert_array_equal(whole(pictures, 0, level)[0], expected)


def test_a_resolution_far_below_the_next_is_left_out(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)
    for number, side in enumerate((900, 100, 50)):
        group.create_array(f"{number}", shape=(side, side), dtype="uint8", chunks=(100, 100))[...] = number + 1
    paths = [{"path": f"{number}", "coordinateTransformations": []} for number in range(3)]
    group.attrs["multiscales"] = [{"axes": [{"name": one, "type": "space"} for one in "yx"], "datasets": paths}]
    assert opened(tmp_path / "a.zarr").facts(0).levels == ((900, 900), (450, 450), (225, 225))


def test_panning_decodes_nothing_twice(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(2048, 2048, dtype="uint8"), tile=(256, 256), compression="zlib")
    pictures = opened(tmp_path)
    pictures.facts(0)
    read: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        get = reading._Stored.__getitem__
        patch.setattr(reading._Stored, "__getitem__", lambda self, region: (read.append(region), get(self, region))[1])
        for start in range(0, 1000, 100):
            pictures.pixels(0, 0, (slice(0, 1000), slice(start, start + 1000)))
        assert len(read) == 2 * 4
        whole(pictures, 0, 2)
        assert len(read) == 16  # all chunks of the full resolution, once


def test_pictures_are_decoded_once(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    Pillow.fromarray(noise(600, 900, dtype="uint8")).save(tmp_path / "a.png")
    Pillow.fromarray(noise(600, 900, 3, dtype="uint8")).save(tmp_path / "b.jpg")
    calls: list[Source] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "open_image", lambda source: (calls.append(source), open_image(source))[1])
        pictures = opened(tmp_path)
        for number in (0, 1, 0, 1):
            for level in range(3):
                whole(pictures, number, level)
    assert len(calls) == 2


def test_the_image_itself_is_read_by_regions_even_after_it_was_closed(
    tmp_path: Path, opened: Callable[..., Pictures]
) -> None:
    pixels = noise(20, 30, 40)
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression="zlib", photometric="minisblack")
    pictures = opened(tmp_path)
    images = [pictures.image(number) for number in range(20)]  # more than stay open
    for image, expected in zip(images, pixels, strict=True):
        assert (image.shape, image.dtype, image.unit) == ((1, 30, 40), np.uint16, (30, 40))
        np.testing.assert_array_equal(image[0, 3:20, 5:], expected[3:20, 5:])
        np.testing.assert_array_equal(image.pixels[0], expected)


# large images --------------------------------------------------------------------------------------


def test_an_image_of_many_gigapixels(
    tmp_path: Path, opened: Callable[..., Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    side, chunk = 100_000, 512
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=3)
    sides = [side, side // 4, side // 16]
    spot = np.zeros((chunk, chunk), np.uint8)
    spot[100:400, 100:400] = noise(300, 300, dtype="uint8") + 1
    for number, n in enumerate(sides):
        array = group.create_array(f"{number}", shape=(n, n), dtype="uint8", chunks=(chunk, chunk), fill_value=0)
        at = 50_176 // 4**number // chunk * chunk
        array[at : at + chunk, at : at + chunk] = spot
    paths = [{"path": f"{number}", "coordinateTransformations": []} for number in range(3)]
    named = [{"name": one, "type": "space"} for one in "yx"]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": named, "datasets": paths}]}
    pictures = opened(tmp_path / "a.zarr")
    wanted: list[str] = []
    get = zarr_store._Plain.get

    def watch(self: Any, key: str, *args: Any, **more: Any) -> Any:
        wanted.append(key)
        return get(self, key, *args, **more)

    monkeypatch.setattr(zarr_store._Plain, "get", watch)
    facts = pictures.facts(0)
    assert facts.levels[:4] == ((side, side), (25_000, 25_000), (6_250, 6_250), (3_125, 3_125))
    assert facts.levels[-1] == (196, 196)
    assert len(wanted) < 100  # to look at its edges, and at a sample of its pixels
    np.testing.assert_array_equal(
        pictures.pixels(0, 0, (slice(50_000, 51_000), slice(50_100, 51_100)))[0, 176:688, 76:588], spot
    )
    for level, (y, x) in enumerate(facts.levels):
        for corner in (0.0, 0.5, 1.0):
            top, left = int(corner * max(0, y - 1000)), int(corner * max(0, x - 1000))
            wanted.clear()
            region = (slice(top, min(y, top + 1000)), slice(left, min(x, left + 1000)))
            found = pictures.pixels(0, level, region)
            assert found.shape == (1, region[0].stop - top, region[1].stop - left)
            assert len(wanted) <= 2**26 // chunk**2
    assert not pictures._chunks.bytes > 2**26


def test_an_image_of_many_gigapixels_and_one_resolution(
    tmp_path: Path, opened: Callable[..., Pictures], monkeypatch: pytest.MonkeyPatch
) -> None:
    side, chunk = 100_000, 1024
    zarr.create_array(tmp_path / "a.zarr", shape=(side, side), dtype="uint16", chunks=(chunk, chunk), fill_value=7)
    pictures = opened(tmp_path / "a.zarr")
    wanted: list[str] = []
    get = zarr_store._Plain.get
    monkeypatch.setattr(
        zarr_store._Plain, "get", lambda self, key, *a, **more: (wanted.append(key), get(self, key, *a, **more))[1]
    )
    facts = pictures.facts(0)
    assert len(wanted) < 20
    for level, (y, x) in enumerate(facts.levels):
        wanted.clear()
        side = 2048 if level == len(facts.levels) - 4 else 512
        found = pictures.pixels(0, level, (slice(0, min(side, y)), slice(0, min(side, x))))
        assert (found == 7).all()
        assert len(wanted) <= max(2**23, 32 * found.size) // chunk**2


def test_until_lower_resolutions_are_made_a_few_pixels_stand_for_all(
    tmp_path: Path, few: None, opened: Callable[..., Pictures]
) -> None:
    pixels = noise(600, 700)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    pictures = opened(tmp_path)  # without a cache none are ever made
    assert pictures.facts(0).levels == ((600, 700), (300, 350), (150, 175))
    small = pictures.pixels(0, 1, (slice(10, 60), slice(20, 80)))  # few enough to be computed
    np.testing.assert_array_equal(small, halves(pixels[None])[1][:, 10:60, 20:80])
    found = pictures.pixels(0, 2, (slice(0, 150), slice(0, 175)))
    read = np.arange(0, 150, 14)  # so many lines may be read, each as a whole
    nearest = read[np.abs(np.arange(150)[:, None] - read).argmin(axis=1)]
    np.testing.assert_array_equal(found[0], pixels[4 * nearest, ::4])


def test_lower_resolutions_are_made_in_the_background(
    tmp_path: Path, few: None, opened: Callable[..., Pictures]
) -> None:
    pixels = noise(2, 601, 1030)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "CYX"})
    cache = tmp_path / "cache"
    pictures = opened(tmp_path / "a.tif", cache=cache)
    better: list[int] = []
    done = threading.Event()
    pictures.on_better(lambda number: (better.append(number), done.set()))  # type: ignore[func-returns-value]
    expected = halves(pixels)
    assert whole(pictures, 0, 2).shape == expected[2].shape  # at once
    assert done.wait(WAIT_S)
    assert better == [0]
    file, folder = sorted(entries(cache), key=lambda path: path.suffix)  # the folder's name is a hash
    assert (file.name, folder.suffix) == ("facts.jsonl", ".zarr")
    for level, one in enumerate(expected):
        np.testing.assert_array_equal(whole(pictures, 0, level), one)
    again = opened(tmp_path / "a.tif", cache=cache)  # another session finds them
    np.testing.assert_array_equal(whole(again, 0, 2), expected[2])
    source = find(tmp_path / "a.tif")[0]
    assert path_of(source, pixels.shape, 0, cache) == folder
    tifffile.imwrite(tmp_path / "a.tif", pixels + 1, photometric="minisblack", metadata={"axes": "CYX"})
    assert path_of(source, pixels.shape, 0, cache) != folder


def test_colours_and_pages_are_made_as_they_are_shown(tmp_path: Path) -> None:
    colours = noise(3, 300, 400, 3, dtype="uint8")
    tifffile.imwrite(tmp_path / "a.tif", colours, photometric="rgb", tile=(64, 64), compression="zlib")
    source = find(tmp_path / "a.tif")[1]
    make(Job(source, 0, tmp_path / "b.zarr"))
    with open_image(tmp_path / "b.zarr") as image:
        for level, one in zip(image.levels, halves(np.moveaxis(colours[1], -1, 0))[1:], strict=True):
            np.testing.assert_array_equal(level[...], one)


@pytest.mark.parametrize("channels", [1, 6])
def test_no_more_than_a_few_blocks_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    monkeypatch.setattr("contractile.images.zarr_layout.SHARD", {2: (64, 64)})
    monkeypatch.setattr("contractile.images.zarr_layout.CHUNK", {2: (32, 32)})
    monkeypatch.setattr(pyramids, "BLOCK", 64)
    pixels = noise(channels, 301, 330)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", metadata={"axes": "CYX"})
    sizes: list[int] = []
    get = Image.__getitem__
    monkeypatch.setattr(
        Image, "__getitem__", lambda self, region: (found := get(self, region), sizes.append(found.size))[0]
    )
    make(Job(find(tmp_path / "a.tif")[0], 0, tmp_path / "b.zarr"))
    assert max(sizes) <= 64 * 64
    monkeypatch.undo()
    with open_image(tmp_path / "b.zarr") as image:
        for level, one in zip(image.levels, halves(pixels)[1:], strict=True):
            np.testing.assert_array_equal(level[...], one)


def test_closing_ends_what_is_being_made(tmp_path: Path, few: None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(3000, 4000))
    pictures = Pictures(find(tmp_path), cache=tmp_path / "cache")
    whole(pictures, 0, 4)
    process = None
    while process is None:
        process = pictures._maker._process
        time.sleep(0.01)
    pictures.close()
    assert process.returncode is not None
    assert [one.name for one in entries(tmp_path / "cache")] == ["facts.jsonl"]
    pictures._maker.ask(0, Job(find(tmp_path / "a.tif")[0], 0, tmp_path / "b.zarr"))  # nothing is begun any more
    assert pictures._maker._process is None


def test_a_process_whose_parent_was_killed_ends_and_its_work_is_made_anew(tmp_path: Path) -> None:
    pixels = noise(3000, 4000)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    job = Job(find(tmp_path / "a.tif")[0], 0, tmp_path / "cache" / "b.zarr")
    process = pyramids._start(job)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.close()  # as the system does
    assert process.wait(WAIT_S) == 1
    assert process.stderr.read() == b""
    process.stderr.close()
    (tmp_path / "cache" / f".contractile-{'0' * 16}.part.zarr").mkdir(parents=True)  # what it may leave
    make(job)
    assert [one.name for one in entries(tmp_path / "cache")] == ["b.zarr"]
    with open_image(job.path) as image:
        np.testing.assert_array_equal(image.levels[1][...], halves(pixels[None])[2])


def test_what_cannot_be_made_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    told: list[int] = []
    maker = Maker(told.append)
    job = Job(Source("a", tmp_path / "a.tif"), 0, tmp_path / "cache" / "b.zarr")
    for _ in range(2):
        maker.ask(0, job)
        end = time.monotonic() + WAIT_S
        while not caplog.text and time.monotonic() < end:
            time.sleep(0.02)
    maker.close()
    assert caplog.text.count("a.tif: its lower resolutions could not be made: ") == 1
    assert "unreadable or truncated" in caplog.text
    assert told == []


def test_lower_resolutions_need_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(60, 70))
    monkeypatch.setattr(pyramids, "SPARE", 1e18)
    with pytest.raises(ContractileError, match=r"take up to .* GB, and .* GB are free; make room on the disk"):
        make(Job(find(tmp_path / "a.tif")[0], 0, tmp_path / "not" / "there" / "b.zarr"))


def test_other_lower_resolutions_in_the_cache_are_not_used(
    tmp_path: Path, few: None, opened: Callable[..., Pictures], caplog: pytest.LogCaptureFixture
) -> None:
    pixels = noise(600, 700)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    source = find(tmp_path / "a.tif")[0]
    path = path_of(source, (1, 600, 700), 0, tmp_path / "cache")
    with ZarrSink(path, (1, 40, 50), np.uint16, axes="CYX") as sink:
        pour(noise(1, 40, 50), sink)
    pictures = opened([source], cache=tmp_path / "cache")
    assert whole(pictures, 0, 2).shape == (1, 150, 175)
    assert "holds other resolutions than were made; remove it; it is not used" in caplog.text


# few pixels for all --------------------------------------------------------------------------------


class Watched:
    """Pixels (1, Y, X) that count the units that are read."""

    def __init__(self, pixels: NDArray[Any], unit: tuple[int, int]) -> None:
        self.pixels, self.shape, self.dtype, self.unit = pixels, pixels.shape, pixels.dtype, unit
        self.read = 0

    def __getitem__(self, region: Any) -> NDArray[Any]:
        spans = [range(*one.indices(n)) for one, n in zip(region[1:], self.shape[1:], strict=True)]
        units = [{place // side for place in span} for span, side in zip(spans, self.unit, strict=True)]
        self.read += math.prod(map(len, units)) * math.prod(self.unit)
        return self.pixels[region]


@given(
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    unit=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    factor=st.integers(1, 40),
    most=st.integers(1, 20_000),
    starts=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_sample_reads_little_and_shows_pixels_where_they_are(
    size: tuple[int, int], unit: tuple[int, int], factor: int, most: int, starts: tuple[float, float]
) -> None:
    pixels = np.arange(math.prod(size)).reshape(1, *size)
    watched = Watched(pixels, unit)
    ends = [math.ceil(n / factor) for n in size]
    region = tuple(slice(min(n - 1, int(start * n)), n) for start, n in zip(starts, ends, strict=True))
    found = sample(watched, unit, (region[0], region[1]), factor=factor, most=most)
    assert found.shape == (1, *(one.stop - one.start for one in region))
    assert watched.read <= max(most, math.prod(unit))
    y, x = np.divmod(found[0], size[1])
    assert not (y % factor).any()
    assert not (x % factor).any()
    assert (np.diff(y, axis=0) >= 0).all()
    assert (np.diff(x, axis=1) >= 0).all()
    if most >= math.prod(one + 2 * side for one, side in zip(size, unit, strict=True)) * factor**2:
        np.testing.assert_array_equal(found, pixels[:, ::factor, ::factor][(slice(None), *region)])


def test_a_sample_of_all_is_every_pixel_of_so_many() -> None:
    pixels = np.arange(100 * 90).reshape(1, 100, 90)
    found = sample(pixels, (16, 16), (slice(2, 15), slice(0, 13)), factor=7, most=10**6)
    np.testing.assert_array_equal(found, pixels[:, 14::7, ::7])


def test_what_is_not_read_shows_the_nearest_pixels() -> None:
    pixels = np.arange(64).reshape(1, 1, 64)
    found = sample(pixels, (1, 8), (slice(0, 1), slice(0, 16)), factor=4, most=16)  # two of eight units
    assert found.tolist() == [[[16] * 5 + [20] * 3 + [40] * 3 + [44] * 5]]


def test_halves_are_made_where_they_are_sliced() -> None:
    pixels = noise(2, 31, 40)
    half = Halved(pixels.shape, pixels.dtype, lambda part: pixels[(slice(None), *part)])
    expected = mean(pixels, (1, 2, 2))
    assert half.shape == expected.shape
    np.testing.assert_array_equal(half[...], expected)
    np.testing.assert_array_equal(half[1, 3:16, 19:], expected[1, 3:16, 19:])


# what is kept --------------------------------------------------------------------------------------


def test_chunks_are_bounded_and_the_last_ones_stay() -> None:
    chunks, read = Chunks(most=1000), []

    def get(key: int, size: int = 300) -> NDArray[Any]:
        return chunks.get(key, lambda: (read.append(key), np.full(size, key, np.uint8))[1])

    for key in (1, 2, 3, 1, 4, 1, 2):
        assert (get(key) == key).all()
    assert read == [1, 2, 3, 4, 2]
    assert chunks.bytes == 900
    get(9, size=2000)  # too large to be kept
    get(9, size=2000)
    assert read == [1, 2, 3, 4, 2, 9, 9]
    with pytest.raises(ValueError, match="read-only"):
        get(1)[0] = 0
    chunks.clear()
    assert chunks.bytes == 0


def test_threads_that_want_the_same_chunk_read_it_once() -> None:
    chunks, go = Chunks(), threading.Event()
    read: list[int] = []

    def slow() -> NDArray[Any]:
        read.append(1)
        go.wait(WAIT_S)
        return np.zeros(3)

    def fail() -> NDArray[Any]:
        go.wait(WAIT_S)
        raise ContractileError("no", "none")

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(chunks.get, "a", slow) for _ in range(4)]
        failed = [pool.submit(chunks.get, "b", fail) for _ in range(4)]
        time.sleep(0.1)
        go.set()
        assert len({id(one.result()) for one in found}) == 1
        assert all(isinstance(one.exception(), ContractileError) for one in failed)
    assert read == [1]
    assert chunks.get("b", lambda: np.ones(1)) == 1  # it is tried again


class Closing(Image):
    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


def test_few_images_are_open() -> None:
    shelf = Shelf(most=2, most_bytes=1000)
    images = {key: Closing(key, np.zeros((1, 10, 10), np.uint8)) for key in "abcde"}
    images["e"] = Closing("e", np.zeros((1, 100, 100), np.uint8))
    with shelf.use("a", lambda: images["a"]) as first:
        for key in "bcd":
            with shelf.use(key, lambda key=key: images[key]):
                pass
        assert not first.closed  # type: ignore[attr-defined]
    assert [key for key, one in images.items() if one.closed] == ["b", "c"]
    with shelf.use("e", lambda: images["e"]):
        pass
    assert not images["e"].closed  # the last one stays, however large
    assert images["d"].closed
    with shelf.use("e", lambda: images["a"]) as found:
        assert found is images["e"]
        shelf.close()
        assert not images["e"].closed
    assert images["e"].closed
    with pytest.raises(ContractileError, match="the images are closed; open the session again"), shelf.use("e", open):  # type: ignore[arg-type]
        pass


def test_nobody_waits_until_another_image_is_opened() -> None:
    shelf, go, began = Shelf(), threading.Event(), threading.Event()

    def slow() -> Image:
        began.set()
        assert go.wait(WAIT_S)
        return Image("slow", np.zeros((1, 2, 2)))

    def use(key: str, opener: Callable[[], Image]) -> str:
        with shelf.use(key, opener) as image:
            return image.name

    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(use, "slow", slow) for _ in range(2)]
        assert began.wait(WAIT_S)
        assert use("quick", lambda: Image("quick", np.zeros((1, 2, 2)))) == "quick"
        go.set()
        assert [one.result() for one in waiting] == ["slow", "slow"]
    shelf.close()


def test_two_threads_read_at_once(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    pixels = noise(3, 700, 800)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), compression="zlib", photometric="minisblack")
    pictures = opened(tmp_path)
    expected = [halves(one[None]) for one in pixels]

    def look(turn: int) -> None:
        number, level = turn % 3, turn // 3 % 3
        y, x = expected[number][level].shape[1:]
        region = (slice(turn % 50, y), slice(0, x - turn % 70))
        found = pictures.pixels(number, level, region)
        np.testing.assert_array_equal(found, expected[number][level][(slice(None), *region)])

    with ThreadPoolExecutor(8) as pool:
        for one in [pool.submit(look, turn) for turn in range(120)]:
            one.result()


# what is wrong -------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_read_prevents_no_other(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    pixels = noise(40, 50)
    for name in "abc":
        tifffile.imwrite(tmp_path / f"{name}.tif", pixels)
    sources = find(tmp_path)
    (tmp_path / "a.tif").write_bytes(b"II*\0nothing")
    (tmp_path / "b.tif").unlink()
    pictures = opened(sources)
    for ask in (pictures.facts, pictures.image, lambda number: pictures.pixels(number, 0, (slice(0, 1), slice(0, 1)))):
        with pytest.raises(ContractileError, match=r"^[^\n]*a\.tif: unreadable or truncated [^\n]*$"):
            ask(0)
        with pytest.raises(NotFound, match=r"b\.tif: no such file"):
            ask(1)
    np.testing.assert_array_equal(whole(pictures, 2, 0)[0], pixels)
    tifffile.imwrite(tmp_path / "b.tif", pixels)  # it is there again
    np.testing.assert_array_equal(whole(pictures, 1, 0)[0], pixels)


def test_what_no_image_has(tmp_path: Path, opened: Callable[..., Pictures]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 50))
    pictures = opened(tmp_path)
    one = (slice(0, 1), slice(0, 1))
    for number in (-1, 1):
        with pytest.raises(ContractileError, match=f"the number of an image must be from 0 to 0, got {number}; open"):
            pictures.pixels(number, 0, one)
    for level in (-1, 1):
        with pytest.raises(ContractileError, match=f"level must be from 0 to 0, got {level}; ask for one of"):
            pictures.pixels(0, level, one)
    for part in (slice(-1, 3), slice(3, 41), slice(3, 3), slice(0, 4, 2)):
        with pytest.raises(ContractileError, match=rf"region must lie within \(40, 50\) of level 0, got {part.start}:"):
            pictures.pixels(0, 0, (part, slice(0, 50)))
    pictures.close()
    with pytest.raises(ContractileError, match="the images are closed; open the session again"):
        pictures.facts(0)
