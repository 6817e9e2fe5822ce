"""The data doctor finds every fault it knows, and none in a dataset that has none."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from test_cli import call

from contractile.check import Finding, check_dataset, fix_dataset
from contractile.check.complaints import COMPLAINTS, MENDED
from contractile.check.findings import Spot, gather
from contractile.check.greys import count_greys, cut_greys
from contractile.check.pieces import (
    find_pieces,
    find_specks,
    find_split,
    remove_specks,
    separate_split,
)
from contractile.check.pixels import Seen, compare
from contractile.check.tops import find_mixed
from contractile.errors import ContractileError
from contractile.images import read_labels, write_image, write_labels
from contractile.labels import find_mark
from contractile.synthetic import SceneConfig, draw_scene


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three images of cells with their labels, without a fault."""
    for number in range(3):
        image, labels = draw_scene(SceneConfig(shape=(96, 96), radius=9), np.random.default_rng(number))
        write_image(tmp_path / "images" / f"cell{number}.tif", image.clip(0).astype(np.uint16))
        write_labels(tmp_path / "labels" / f"cell{number}.tif", labels)
    return tmp_path


def examine(folder: Path) -> list[Finding]:
    return check_dataset(folder / "images", folder / "labels")


def labels_of(folder: Path, number: int = 0) -> NDArray[np.int32]:
    return read_labels(folder / "labels" / f"cell{number}.tif")


def test_a_good_dataset_has_no_findings(dataset: Path) -> None:
    assert examine(dataset) == []
    assert check_dataset(dataset / "images") == []


# each fault by its own ------------------------------------------------------------------------


def _write(folder: Path, labels: NDArray[Any], number: int = 0) -> None:
    write_labels(folder / "labels" / f"cell{number}.tif", labels)


def _other_size(folder: Path) -> None:
    _write(folder, labels_of(folder)[:-1])


def _two_channels(folder: Path) -> None:
    write_image(folder / "images" / "cell0.tif", np.random.default_rng(0).integers(0, 99, (2, 96, 96), np.uint16))


def _smoothed(folder: Path) -> None:
    mask = ndimage.gaussian_filter((labels_of(folder) > 0) * 255.0, 1)
    _write(folder, mask.astype(np.uint8))


def _photograph(folder: Path) -> None:
    _write(folder, np.random.default_rng(0).integers(0, 255, (96, 96)))


def _nothing(folder: Path) -> None:
    _write(folder, np.zeros((96, 96), int))


def _one_value_everywhere(folder: Path) -> None:
    for number in range(3):
        _write(folder, np.full((96, 96), 255), number)


def _no_labels(folder: Path) -> None:
    (folder / "labels" / "cell1.tif").unlink()


def _no_images(folder: Path) -> None:
    (folder / "images" / "cell1.tif").unlink()


def _constant(folder: Path) -> None:
    write_image(folder / "images" / "cell0.tif", np.full((1, 96, 96), 7, np.uint16))


def _saturated(folder: Path) -> None:
    pixels = tifffile.imread(folder / "images" / "cell0.tif") * 60
    write_image(folder / "images" / "cell0.tif", pixels.clip(0, 4095)[None])


def _duplicate(folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / kind / "cell1.tif").write_bytes((folder / kind / "cell0.tif").read_bytes())


def _duplicate_labels(folder: Path) -> None:
    (folder / "labels" / "cell1.tif").write_bytes((folder / "labels" / "cell0.tif").read_bytes())


def _eight_bits(folder: Path) -> None:
    pixels = tifffile.imread(folder / "images" / "cell2.tif")
    write_image(folder / "images" / "cell2.tif", (pixels // 2).clip(0, 250).astype(np.uint8)[None])


def _pixel_sizes(folder: Path) -> None:
    for number, size in enumerate((0.5, 0.5, 0.65)):
        pixels = tifffile.imread(folder / "images" / f"cell{number}.tif")
        write_image(folder / "images" / f"cell{number}.tif", pixels[None], pixel_size_um=(size, size))


def _split(folder: Path) -> None:
    labels = labels_of(folder)
    _write(folder, np.where(labels == labels.max(), 1, labels))


def _specks(folder: Path) -> None:
    labels = labels_of(folder).copy()
    y, x = np.argwhere(ndimage.binary_erosion(labels == 0, iterations=4))[0]
    labels[y, x] = 3
    _write(folder, labels)


def _ignored(folder: Path) -> None:
    labels = labels_of(folder).copy()
    labels[:24] = -1
    _write(folder, labels)


def _masks(folder: Path) -> None:
    for number in range(3):
        _write(folder, (labels_of(folder, number) > 0) * 255, number)


def _one_pair(folder: Path) -> None:
    for number in (1, 2):
        (folder / "images" / f"cell{number}.tif").unlink()
        (folder / "labels" / f"cell{number}.tif").unlink()


@pytest.mark.parametrize(
    ("spoil", "level", "where", "problem"),
    [
        (_other_size, "error", "labels/cell0.tif", "image and labels differ in size: (96, 96) and (95, 96)"),
        (_two_channels, "error", "images/cell0.tif", "different numbers of channels: 2 x 1, 1 x 2"),
        (_smoothed, "error", "labels/cell0.tif", "look like a picture of a mask"),
        (_photograph, "error", "labels/cell0.tif", "look like a photograph (255 grey values"),
        (_one_value_everywhere, "error", "labels/cell0.tif", "the single value 255 in every file"),
        (_no_images, "error", "labels", "labels without an image"),
        (_no_labels, "warning", "images/cell1.tif", "image without labels"),
        (_nothing, "warning", "labels/cell0.tif", "nothing is annotated (every label is 0)"),
        (_constant, "warning", "images/cell0.tif", "every pixel of channel 0 has one value"),
        (_saturated, "warning", "images/cell0.tif", "% of the pixels are at the camera's upper limit"),
        (_duplicate, "warning", "images/cell1.tif", "the same pixels as"),
        (_duplicate_labels, "warning", "labels/cell1.tif", "the same labels as"),
        (_eight_bits, "warning", "images/cell2.tif", "images of different types: 2 x uint16, 1 x uint8"),
        (_pixel_sizes, "warning", "images/cell2.tif", "images of different pixel sizes: 0.5 to 0.65 um along X"),
        (_split, "warning", "labels/cell0.tif", "one number for several pieces far apart: 1"),
        (_specks, "warning", "labels/cell0.tif", "specks, too small to be objects: 1"),
        (_ignored, "note", "labels/cell0.tif", "25% of the pixels are marked as not annotated"),
        (_masks, "note", "labels/cell0.tif", "labels have two values"),
        (_one_pair, "note", "labels/cell0.tif", "only 1 annotated image(s)"),
    ],
)
def test_a_fault_is_named(dataset: Path, spoil: Callable[[Path], None], level: str, where: str, problem: str) -> None:
    spoil(dataset)
    found = [finding for finding in examine(dataset) if problem in finding.problem]
    assert [finding.level for finding in found] == [level]
    assert where in found[0].where
    assert found[0].cure
    assert "\n" not in found[0].problem + found[0].cure


def test_broken_files_are_findings_and_the_others_are_looked_at(dataset: Path) -> None:
    path = dataset / "images" / "cell0.tif"
    path.write_bytes(path.read_bytes()[:-300])
    nan = np.full((96, 96), np.nan, np.float32)
    tifffile.imwrite(dataset / "images" / "cell1.tif", nan)
    _constant_third = np.full((1, 96, 96), 7, np.uint16)
    write_image(dataset / "images" / "cell2.tif", _constant_third)
    findings = check_dataset(dataset / "images")
    assert [(one.level, Path(one.where).name) for one in findings] == [
        ("error", "cell0.tif"),
        ("error", "cell1.tif"),
        ("warning", "cell2.tif"),  # constant
        ("warning", "cell2.tif"),  # integers beside floats
    ]
    assert findings[0].cure.startswith("copy the file again or re-export it")
    assert findings[1].problem == "9216 of 9216 pixels, the first at (0, 0): NaN or infinite"
    assert any("cell0.tif" in one.where for one in examine(dataset))


@pytest.mark.parametrize("layout", ["two folders", "one folder"])
def test_one_place_with_images_and_labels(dataset: Path, layout: str) -> None:
    if layout == "one folder":
        for file in (dataset / "labels").iterdir():
            file.rename(dataset / "images" / f"{file.stem}_mask.tif")
        (dataset / "labels").rmdir()
    place = dataset if layout == "two folders" else dataset / "images"
    assert check_dataset(place) == []
    [mask] = list(place.rglob("cell0_mask.tif")) or [dataset / "labels" / "cell0.tif"]
    write_labels(mask, labels_of(dataset, 1) if layout == "two folders" else read_labels(place / "cell1_mask.tif"))
    assert "duplicate labels" in {one.kind for one in check_dataset(place)}
    lines = fix_dataset(place, None, dataset / "fixed")
    assert lines == [f"3 label file(s) written to {dataset / 'fixed'}, 0 of them repaired"]


def test_images_alone_are_looked_at_alone(dataset: Path) -> None:
    (dataset / "labels" / "cell0.tif").write_bytes(b"")  # which does not matter here
    assert check_dataset(dataset / "images") == []
    assert check_dataset(dataset / "images" / "cell0.tif") == []


def test_labels_in_colour(dataset: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 128, 0]], np.uint8)[(labels_of(dataset) > 0).astype(int)]
    tifffile.imwrite(dataset / "labels" / "cell0.tif", colours, photometric="rgb")
    [finding] = examine(dataset)
    assert (finding.level, Path(finding.where).name) == ("error", "cell0.tif")
    assert finding.problem == "labels must have one channel, got a picture in 2 colour(s): #000000, #ff8000"


ONE_HOT = "labels must be one number for each pixel, got 3 planes that sum to 1 at every pixel, so they look one-hot"


def test_one_hot_channels_are_named_and_numbered(dataset: Path) -> None:
    classes = [labels_of(dataset, number) % 3 for number in range(3)]
    for number, one in enumerate(classes):
        path = dataset / "labels" / f"cell{number}.tif"
        tifffile.imwrite(path, np.stack([one == 0, one == 1, one == 2], 2).astype(np.uint8), photometric="rgb")
    [finding] = examine(dataset)
    assert (finding.level, finding.problem) == ("error", ONE_HOT)
    assert "check --fix DIR" in finding.cure
    fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    np.testing.assert_array_equal(read_labels(dataset / "fixed" / "cell1.tif"), classes[1])


def test_one_hot_pages_are_named_where_the_image_has_as_many(dataset: Path) -> None:
    planes = np.stack([labels_of(dataset) % 3 == plane for plane in range(3)]).astype(np.uint8)
    for folder, pages in (("images", planes * 200), ("labels", planes)):
        tifffile.imwrite(dataset / folder / "cell0.tif", pages, photometric="minisblack")
    [finding] = [one for one in examine(dataset) if one.kind == "planes"]
    assert (finding.level, Path(finding.where).name, finding.problem) == ("error", "cell0.tif", ONE_HOT)


def test_masks_of_1_beside_masks_of_255(dataset: Path) -> None:
    for number, white in enumerate([1, 255, 1]):
        _write(dataset, (labels_of(dataset, number) > 0) * white, number)
    [finding] = [one for one in examine(dataset) if one.level != "note"]
    assert (finding.level, Path(finding.where).name) == ("error", "cell1.tif")
    assert finding.problem == "masks are 0 and 255 here, 0 and 1 in other files: two classes by their values"
    fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    assert np.unique(read_labels(dataset / "fixed" / "cell1.tif")).tolist() == [0, 1]
    assert np.unique(read_labels(dataset / "fixed" / "cell0.tif")).tolist() == [0, 1]


@pytest.mark.parametrize("numbers", ["objects", "classes", "mask"])
def test_a_part_of_255_that_nobody_annotated(dataset: Path, numbers: str) -> None:
    for number in range(3):
        labels = labels_of(dataset, number)
        labels = {"objects": labels, "classes": labels % 3, "mask": labels > 0}[numbers].astype(np.int32)
        labels[40:] = 255
        _write(dataset, labels, number)
    assert ("warning", "value 255 covers 58%, far above all other numbers") in [
        (one.level, one.problem) for one in examine(dataset)
    ]


@pytest.mark.parametrize(
    "values", [[[0, 1, 2], [0, 255]], [[0, 255], [0, 255]], [[0, 127, 255], [0, 255]], [[0, 100, 254, 255]], [[0], [0]]]
)
def test_255_among_others_like_it(values: list[list[int]]) -> None:
    assert find_mixed([np.array(one) for one in values]) is None
    assert find_mark([np.array(one) for one in values]) is None


def test_places_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    assert [(one.level, Path(one.where).name, one.problem, one.cure) for one in examine(tmp_path)] == [
        ("error", "images", "the folder is empty", "give the folder that holds the images"),
        ("error", "labels", "nothing there", "check the spelling and the working folder"),
    ]
    assert [one.problem for one in check_dataset(tmp_path / "images")] == ["the folder is empty"]
    assert [one.problem for one in check_dataset(tmp_path / "absent")] == ["nothing there"]


def test_many_files_with_one_fault_are_one_finding(dataset: Path) -> None:
    for number in range(3):
        for copy in range(2):
            image, labels = draw_scene(
                SceneConfig(shape=(96, 96), radius=9), np.random.default_rng(9 + 2 * number + copy)
            )
            write_image(dataset / "images" / f"more{number}{copy}.tif", image.clip(0).astype(np.uint16))
            write_labels(dataset / "labels" / f"more{number}{copy}.tif", np.where(labels == labels.max(), 1, labels))
    [finding] = examine(dataset)
    assert finding.where.endswith("and 3 more")


# repair ---------------------------------------------------------------------------------------


@given(st.integers(0, 50))
def test_repair_leaves_good_labels_alone(seed: int) -> None:
    _, labels = draw_scene(SceneConfig(shape=(64, 64), radius=7), np.random.default_rng(seed))
    pieces = find_pieces(labels)
    assert count_greys(labels) == 0
    assert find_split(pieces) == []
    result, split = separate_split(labels)
    assert split == 0
    np.testing.assert_array_equal(result, labels)
    cleaned, specks = remove_specks(labels)
    assert specks == len(find_specks(pieces))
    assert ((cleaned == labels) | (cleaned == 0)).all()


def test_pieces_far_apart_get_numbers_of_their_own() -> None:
    labels = np.zeros((20, 40), np.int32)
    labels[2:8, 2:8] = 5
    labels[2:6, 20:24] = 5
    labels[10:16, 2:8] = 7
    labels[10:16, 10:14] = 7  # two pixels away: one object cut by a line
    before = labels.copy()
    result, count = separate_split(labels)
    assert count == 1
    assert (result[3, 3], result[3, 21]) == (5, 8)
    assert set(np.unique(result)) == {0, 5, 7, 8}
    np.testing.assert_array_equal(labels, before)
    assert find_split(find_pieces(result)) == []


def test_specks_go_but_rims_of_objects_stay() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[5:15, 5:15] = 1
    labels[20:30, 5:15] = 2
    labels[35, 20] = 3
    labels[0, 30] = 4  # at the border
    labels[25, 30] = -1
    result, count = remove_specks(labels)
    assert count == 1
    assert set(np.unique(result)) == {-1, 0, 1, 2, 4}


@pytest.mark.parametrize("quality", [50, 90])
def test_a_mask_saved_as_jpeg_is_cut_in_two(quality: int) -> None:
    _, labels = draw_scene(SceneConfig(shape=(128, 128)), np.random.default_rng(0))
    mask = (labels > 0).astype(np.uint8) * 255
    values = imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(mask, level=quality))
    assert count_greys(values) > 20
    cut = cut_greys(values)
    assert cut is not None
    assert set(np.unique(cut)) == {0, 255}
    assert np.mean(cut != mask) < 0.005
    assert cut_greys(np.arange(256).reshape(16, 16)) is None


def test_fix_knows_the_home_folder(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(dataset))
    monkeypatch.setenv("USERPROFILE", str(dataset))
    fix_dataset(dataset / "images", dataset / "labels", "~/fixed")
    assert any((dataset / "fixed").iterdir())
    with pytest.raises(ContractileError, match="out must not be the folder of the images or the labels"):
        fix_dataset(dataset / "images", dataset / "labels", "~/labels")


def test_fix_writes_a_dataset_without_the_faults(dataset: Path) -> None:
    _specks(dataset)
    labels = labels_of(dataset, 1)
    _write(dataset, np.where(labels == labels.max(), 1, labels), 1)
    lines = fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    assert [line.partition(": ")[2] for line in lines[:2]] == [
        "1 speck(s) removed",
        "1 number(s) of several pieces split",
    ]
    assert lines[2:] == [f"3 label file(s) written to {dataset / 'fixed'}, 2 of them repaired"]
    assert check_dataset(dataset / "images", dataset / "fixed") == []
    np.testing.assert_array_equal(labels_of(dataset, 2), read_labels(dataset / "fixed" / "cell2.tif"))


def test_fix_of_masks_smoothed_or_in_colour(dataset: Path) -> None:
    _masks(dataset)
    mask = labels_of(dataset)
    smooth = ndimage.gaussian_filter(mask / 255.0, 0.7).astype(np.float32)
    tifffile.imwrite(dataset / "labels" / "cell0.tif", smooth)
    colour = np.repeat(labels_of(dataset, 1)[..., None], 3, axis=2).astype(np.uint8)
    tifffile.imwrite(dataset / "labels" / "cell1.tif", colour, photometric="rgb")
    lines = fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    assert "grey values cut in two" in lines[0]
    assert "2 of them" not in lines[-1]
    assert np.mean(read_labels(dataset / "fixed" / "cell0.tif") != mask) < 0.02
    assert {finding.level for finding in check_dataset(dataset / "images", dataset / "fixed")} == {"note"}


def test_what_no_repair_can_mend(dataset: Path) -> None:
    with pytest.raises(ValueError, match=r"out must not be the folder of the images or the labels, .*; choose"):
        fix_dataset(dataset / "images", dataset / "labels", dataset / "labels")
    _photograph(dataset)
    with pytest.raises(ValueError, match=r"cell0\.tif: grey values without two clear levels; draw the mask again"):
        fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    colour = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    tifffile.imwrite(dataset / "labels" / "cell0.tif", colour, photometric="rgb")
    with pytest.raises(ValueError, match="labels must have one channel, got 3"):
        fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    tifffile.imwrite(dataset / "labels" / "cell0.tif", np.full((96, 96), 0.5, np.float32))
    with pytest.raises(ValueError, match=r"labels must be whole numbers, 100\.0%"):
        fix_dataset(dataset / "images", dataset / "labels", dataset / "fixed")
    assert not (dataset / "fixed").exists()


def test_a_sparsely_annotated_sequence(tmp_path: Path) -> None:
    """As of the Cell Tracking Challenge: few frames are annotated, and numbers are those of tracks."""
    for frame in range(4):
        image, labels = draw_scene(SceneConfig(shape=(96, 96), radius=9), np.random.default_rng(frame))
        write_image(tmp_path / "02" / f"t{frame:03d}.tif", image.clip(0).astype(np.uint16))
        if frame > 1:
            tracks = np.where(labels == labels.max(), 1, labels) * (frame - 1)
            write_labels(tmp_path / "02_GT" / "SEG" / f"man_seg{frame:03d}.tif", tracks)
    findings = check_dataset(tmp_path / "02", tmp_path / "02_GT")
    assert [(one.level, one.problem.split(":")[0]) for one in findings] == [
        ("warning", "one number for several pieces far apart"),
        ("warning", "image without labels; it is left out"),
    ]


def test_large_numbers_take_no_memory() -> None:
    labels = np.zeros((20, 40), np.int32)
    labels[2:8, 2:8] = labels[2:6, 20:24] = 2 * 10**9
    labels[10:16, 2:8] = 10**9
    tracemalloc.start()
    try:
        assert find_split(find_pieces(labels)) == [2 * 10**9]
        result, count = separate_split(labels)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == 1
    assert set(np.unique(result)) == {0, 10**9, 2 * 10**9, 2 * 10**9 + 1}
    assert peak < 10**7


def test_planes_that_nobody_annotated_are_no_fault(tmp_path: Path) -> None:
    image, labels = draw_scene(SceneConfig(shape=(7, 96, 96), radius=9), np.random.default_rng(0))
    labels[[1, 2, 4, 5]] = -1
    tifffile.imwrite(tmp_path / "stack.tif", image[0].clip(0).astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    for dims in (2, 3):
        found = check_dataset(tmp_path / "stack.tif", tmp_path / "labels.tif", dims=dims)
        faults = [finding.problem for finding in found if finding.level != "note"]
        assert not [one for one in faults if "the same labels" in one or "nothing is annotated" in one]


def test_a_file_with_several_pages_at_fault_is_named_once() -> None:
    [finding] = gather([Spot("empty", "a.lif", "0"), Spot("empty", "a.lif", "0"), Spot("empty", "b.lif", "0")])
    assert finding.where == "a.lif, b.lif"


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([(1, 0.2, 0.2), (3, 0.2, 0.2)], ("1", "1 to 3 um along Z")),
        ([(1, 0.2, 0.2), (1.01, 0.6, 0.5), (1.05, 0.2, 0.2)], ("1", "0.2 to 0.6 um along Y")),
        ([(1.05, 0.2, 0.2), (1, 0.2, 0.2), (1, 0.21, 0.21)], None),
        ([None, (1, 0.2, 0.2)], None),
    ],
)
def test_pixel_sizes_are_compared_along_each_axis(sizes: list[Any], found: tuple[str, str] | None) -> None:
    seen = {n: Seen(str(n), (1, 4, 8, 8), "uint8", bytes([n]), size, 10.0) for n, size in enumerate(sizes)}
    expected = [] if found is None else [Spot("pixel sizes", *found)]
    assert list(compare(seen)) == expected


def test_fix_mends_the_errors_whose_cure_says_so() -> None:
    errors = {kind for kind, one in COMPLAINTS.items() if one.level == "error"}
    assert {kind for kind in errors if "check --fix DIR" in COMPLAINTS[kind].cure} == MENDED


def test_errors_that_fix_leaves(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _masks(dataset)
    _write(dataset, (labels_of(dataset, 1) > 0) * 1, 1)
    words = ("check", dataset / "images", dataset / "labels", "--fix", dataset / "fixed")
    status, told, _ = call(capsys, *words)
    assert (status, "error: " in told, "remain" in told) == (0, True, False)
    _other_size(dataset)
    status, told, _ = call(capsys, *words)
    assert status == 1
    last = told.strip().splitlines()[-1]
    assert last.startswith("1 error(s) remain, which --fix does not mend: ")
    assert last.endswith("cell0.tif: image and labels differ in size: (96, 96) and (95, 96)")
