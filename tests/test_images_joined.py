"""Channels in files of their own, as nnU-Net names them: joined for whoever needs that many, and for nobody else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image as Pillow

from contractile.errors import ContractileError
from contractile.images import find, open_image, read, read_labels
from contractile.images.channels import Channels
from contractile.images.joined import find_joined, list_joined, say_channels


def write_channel(folder: Path, name: str, value: int, shape: tuple[int, ...] = (4, 5)) -> None:
    folder.mkdir(exist_ok=True)
    tifffile.imwrite(folder / f"{name}.tif", np.full(shape, value, np.uint8), photometric="minisblack")


def write_cases(folder: Path, cases: str, channels: int) -> None:
    for n, case in enumerate(cases):
        for channel in range(channels):
            write_channel(folder, f"{case}_{channel:04d}", 10 * n + channel)


def seen(folder: Path, channels: int) -> list[tuple[str, list[int]]]:
    """The name of each image and a pixel of each of its channels."""
    return [(one.name, read(one).pixels[:, 0, 0].tolist()) for one in find_joined(folder, channels=channels)]


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_a_model_of_as_many_channels_joins_them(
    tmp_path: Path, channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    write_cases(tmp_path, "ab", channels)
    numbers = list(range(channels))
    assert seen(tmp_path, channels) == [("a", numbers), ("b", [10 + n for n in numbers])]
    [line] = caplog.messages
    assert line.startswith("a_0000.tif, a_0001.tif")
    assert line.endswith("channels of one image, as nnU-Net names them")
    source = find_joined(tmp_path, channels=channels)[1]
    assert (source.stem, source.path.name, len(source.parts)) == ("b", "b_0000.tif", channels)
    with open_image(source) as image:
        assert image.shape == (channels, 4, 5)


def test_a_model_of_other_channels_takes_each_file_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_cases(tmp_path, "ab", 2)
    assert seen(tmp_path, 1) == [("a_0000", [0]), ("a_0001", [1]), ("b_0000", [10]), ("b_0001", [11])]
    assert seen(tmp_path, 3) == seen(tmp_path, 1)
    start = "a_0000.tif and 3 more: named like the 2 channels of an image, each is taken for an image "
    assert caplog.messages == [f"{start}(the model takes 1 channel(s))", f"{start}(the model takes 3 channel(s))"]


def test_what_info_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_cases(tmp_path, "ab", 2)
    write_channel(tmp_path, "overview", 0)
    say_channels(sorted(tmp_path.iterdir()))
    assert caplog.messages == [
        "a_0000.tif and 3 more: named like the 2 channels of an image, each is taken for an image (training joins "
        "them, and so does a model of 2 channels)"
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        {"t": [0]},
        {"t": range(5)},
        {"a": range(17), "b": range(17)},
        {"a": [1, 2], "b": [1, 2]},
        {"a": [0, 1], "b": [0]},
    ],
    ids=["one channel", "a series", "two series", "numbered from 1", "different lengths"],
)
def test_series_are_no_channels(
    tmp_path: Path, numbers: dict[str, list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{case}_{number:04d}" for case, found in numbers.items() for number in found]
    for name in names:
        write_channel(tmp_path, name, 7)
    assert seen(tmp_path, 1) == [(name, [7]) for name in names]
    say_channels(sorted(tmp_path.iterdir()))
    assert caplog.messages == []


@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_colour_pictures_are_frames_and_grey_ones_channels(tmp_path: Path, colour: str) -> None:
    for number in range(3):
        pixels = np.full((4, 5, 3), number, np.uint8)
        pixels[..., 0] += colour == "rgb"
        Pillow.fromarray(pixels).save(tmp_path / f"t_{number:04d}.png")
    expected = [("t", [0, 1, 2])] if colour == "grey" else [(f"t_{n:04d}", [n + 1, n, n]) for n in range(3)]
    assert seen(tmp_path, 3) == expected


def test_a_case_without_all_channels_is_left_alone_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_cases(tmp_path, "a", 2)
    write_channel(tmp_path, "b_0001", 5)
    write_channel(tmp_path, "c", 6)
    assert seen(tmp_path, 2) == [("a", [0, 1]), ("b_0001", [5]), ("c", [6])]
    assert caplog.messages[1:] == [
        "b_0001.tif: not joined, unlike others: the model takes 2 channels, numbered from 0000"
    ]


def test_pages_of_channels_are_joined_page_by_page(tmp_path: Path) -> None:
    for channel in range(2):
        stack = np.arange(3, dtype=np.uint16)[:, None, None] * 10 + channel + np.zeros((3, 4, 5), np.uint16)
        tifffile.imwrite(tmp_path / f"a_{channel:04d}.tif", stack, imagej=True, metadata={"axes": "TYX"})
    sources = find_joined(tmp_path, channels=2)
    assert [(one.name, one.page, one.stem) for one in sources] == [(f"a_{n:04d}", n, "a") for n in range(3)]
    assert [read(one).pixels[:, 0, 0].tolist() for one in sources] == [[0, 1], [10, 11], [20, 21]]
    assert sources[0].stack is not None
    assert sources[0].stack.axes == "T"
    tifffile.imwrite(tmp_path / "a_0001.tif", stack[:2], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(ContractileError, match=r"a_0000.tif: .* same number of pages, got 3, 2; give the same pages"):
        find_joined(tmp_path, channels=2)


def test_cases_of_the_same_name_in_two_folders(tmp_path: Path) -> None:
    for n, folder in enumerate(("x", "y")):
        for channel in range(2):
            write_channel(tmp_path / folder, f"a_{channel:04d}", 10 * n + channel)
    items = list_joined(sorted(tmp_path.rglob("*.tif")), channels=2)
    assert [(one.name, one.files[0].parent.name, len(one.files)) for one in items] == [("a", "x", 2), ("a", "y", 2)]


@pytest.mark.parametrize("region", [np.s_[:, 2:9, 3:7], np.s_[2], np.s_[1:3, 5], np.s_[::3, ::2, 4], np.s_[4:, :, 0]])
def test_a_region_is_read_of_the_parts_that_it_needs(region: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 99, (5, 10, 12)).astype(np.uint16)
    read: list[int] = []

    class Part:
        def __init__(self, first: int, stop: int) -> None:
            self.first, self.pixels = first, pixels[first:stop].astype(np.uint8 if first else np.uint16)
            self.shape, self.dtype = self.pixels.shape, self.pixels.dtype

        def __getitem__(self, region: Any) -> NDArray[Any]:
            read.append(self.first)
            return self.pixels[region]

    channels = Channels([Part(0, 1), Part(1, 4), Part(4, 5)])
    assert (channels.shape, channels.dtype) == (pixels.shape, pixels.dtype)
    np.testing.assert_array_equal(channels[region], pixels[region])
    wanted = np.atleast_1d(np.arange(5)[region[0] if isinstance(region, tuple) else region])
    assert read == sorted({0 if number == 0 else 1 if number < 4 else 4 for number in wanted.tolist()})


def test_channels_of_different_sizes(tmp_path: Path) -> None:
    write_channel(tmp_path, "a_0000", 0)
    write_channel(tmp_path, "a_0001", 1, (5, 5))
    [source] = find_joined(tmp_path, channels=2)
    with pytest.raises(ContractileError, match=r"a_0001.tif: the files of one image must have the same size, got"):
        read(source)


def test_the_first_mask_wins_where_objects_overlap(tmp_path: Path) -> None:
    for n in range(2):
        mask = np.zeros((1, 4), np.uint8)
        mask[0, n : n + 2] = 255
        tifffile.imwrite(tmp_path / f"{n}.tif", mask)
    [first, _] = find(tmp_path)
    masks = replace(first, parts=(tmp_path / "0.tif", tmp_path / "1.tif"))
    np.testing.assert_array_equal(read_labels(masks), [[1, 1, 2, 0]])
