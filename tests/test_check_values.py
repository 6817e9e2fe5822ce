"""Values that are no labels: smoothed masks, resized numbers, photographs, colours, background that is not 0."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import find_boundaries

from contractile.check import check_dataset, fix_dataset
from contractile.check.annotation import faults_of_values
from contractile.check.background import Instead, find_instead
from contractile.check.colours import apply_numbers, find_colours, list_numbers, number_colours, unpack
from contractile.check.fractions import can_mend, find_whole
from contractile.check.greys import count_greys, cut_greys, drop_stray, find_stray, name_greys, ramps, snap
from contractile.errors import ContractileError
from contractile.images import read_labels, write_image
from contractile.synthetic import SceneConfig, draw_scene


def scene(seed=0, shape=(96, 96), radius=9):
    return draw_scene(SceneConfig(shape=shape, radius=radius), np.random.default_rng(seed))[1]


def mask(seed=0):
    return (scene(seed) > 0) * 255


def jpeg(values, quality):
    return imagecodecs.jpeg8_decode(imagecodecs.jpeg8_encode(values.astype(np.uint8), level=quality)).astype(np.int32)


def halved(values):
    """Every 2 x 2 pixels become their mean: what resizing with smoothing does."""
    return values.reshape(values.shape[0] // 2, 2, values.shape[1] // 2, 2).mean((1, 3))


SMOOTHED = {
    "jpeg 30": lambda m: jpeg(m, 30),
    "jpeg 75": lambda m: jpeg(m, 75),
    "jpeg 100": lambda m: jpeg(m, 100),
    "one value in between": lambda m: np.rint(halved(m) / 127.5) * 127,
    "resized up": lambda m: np.rint(ndimage.zoom(m.astype(float), 1.7, order=1)),
    "resized down": halved,
    "blurred a little": lambda m: np.rint(ndimage.gaussian_filter(m.astype(float), 0.5)),
    "blurred": lambda m: np.rint(ndimage.gaussian_filter(m.astype(float), 1.3)),
    "between 0 and 1": lambda m: ndimage.gaussian_filter(m / 255, 0.8),
    "64 levels of 16 bits": lambda m: np.rint(ndimage.gaussian_filter(m / 255, 0.8) * 64) * 1000,
}


@pytest.mark.parametrize("how", SMOOTHED)
@pytest.mark.parametrize("seed", range(3))
def test_a_smoothed_mask_is_known_and_cut(how, seed):
    values = SMOOTHED[how](mask(seed))
    assert count_greys(values) == len(np.unique(values)) > 2
    assert name_greys(values) == "grey"
    cut = cut_greys(values)
    zoom = [a / b for a, b in zip(values.shape, mask().shape, strict=True)]
    true = ndimage.zoom(mask(seed), zoom, order=0) if values.shape != mask().shape else mask(seed)
    assert set(np.unique(cut)) == {0, 255}
    assert np.mean(cut != true) < 0.05


LABELS = {
    "objects": scene,
    "small objects": lambda seed: scene(seed, radius=3),
    "spots of four pixels": lambda seed: np.kron(_dots(seed), np.ones((2, 2), int)),
    "points": lambda seed: _dots(seed),
    "a mask": mask,
    "touching regions": lambda seed: _regions(seed, 200),
    "regions of eight pixels": lambda seed: _regions(seed, 1100),
    "cells and a thin border class": lambda seed: _bordered(seed, np.array([0, 1, 2])),
    "a border class that is 127": lambda seed: _bordered(seed, np.array([0, 127, 255])),
    "numbers from 2 and borders of 1": lambda seed: _numbered_borders(seed),
    "lines one pixel wide": lambda seed: find_boundaries(scene(seed), mode="inner") * 7,
    "five classes": lambda seed: scene(seed) % 5,
    "parts that nobody annotated": lambda seed: np.where(np.arange(96) < 20, -1, scene(seed)),
    "one value": lambda seed: np.full((20, 20), 3),
}


def _dots(seed):
    dots = np.zeros((96, 96), int)
    places = np.random.default_rng(seed).integers(0, 96, (150, 2))
    dots[tuple(places.T)] = np.arange(1, 151)
    return dots


def _regions(seed, count):
    seeds = np.zeros((96, 96), int)
    places = np.random.default_rng(seed).integers(0, 96, (count, 2))
    seeds[tuple(places.T)] = np.arange(1, count + 1)
    nearest = ndimage.distance_transform_edt(seeds == 0, return_distances=False, return_indices=True)
    return seeds[tuple(nearest)]


def _bordered(seed, values):
    labels = scene(seed)
    return values[np.where(find_boundaries(labels, mode="inner"), 1, np.where(labels > 0, 2, 0))]


def _numbered_borders(seed):
    labels = scene(seed)
    return np.where(find_boundaries(labels, mode="inner"), 1, np.where(labels > 0, labels + 1, 0))


@pytest.mark.parametrize("kind", LABELS)
@given(seed=st.integers(0, 30))
def test_true_labels_are_left_alone(kind, seed):
    labels = LABELS[kind](seed)
    assert count_greys(labels) == 0
    assert faults_of_values(labels.astype(np.int32), None, "") is None


@pytest.mark.parametrize("zoom", [0.5, 0.9, 1.4, 2])
def test_numbers_that_were_resized_are_known_and_mended(zoom):
    labels = scene(1, shape=(128, 128), radius=14)
    values = np.rint(ndimage.zoom(labels.astype(float), zoom, order=1)).astype(np.int32)
    assert name_greys(values) == "mixed"
    assert ramps(values) > 0.1 > ramps(labels)
    mended = snap(values)
    true = ndimage.zoom(labels, zoom, order=0)
    assert count_greys(mended) == 0
    assert set(np.unique(mended)) <= set(np.unique(labels))
    assert np.mean(mended != true) < 0.06
    assert faults_of_values(values, None, "a.tif") == ("mixed", "a.tif", f"{ramps(values):.0%}")


def test_photographs_are_no_masks():
    noise = np.random.default_rng(0).integers(0, 255, (96, 96))
    image, labels = draw_scene(SceneConfig(shape=(96, 96), radius=9), np.random.default_rng(0))
    picture = image[0].clip(0).astype(np.int32)
    for values in (noise, picture):
        assert count_greys(values) > 0
        assert cut_greys(values) is None
        assert name_greys(values) == "picture"
        assert snap(values) is None
    assert cut_greys(np.full((4, 4), 9)) is None
    assert faults_of_values(picture, labels[None].astype(np.uint16), "a.tif")[:2] == ("swapped", "a.tif")
    assert faults_of_values(picture, picture[None], "a.tif") == ("same", "a.tif", "")
    assert faults_of_values(np.zeros((96, 96), np.int32), np.zeros((1, 96, 96), np.uint8), "") is None


# background -----------------------------------------------------------------------------------


def scenes():
    return [scene(seed) for seed in range(4)]


@pytest.mark.parametrize("value", [255, 65535, 2**31 - 1, -1])
def test_another_value_in_place_of_background(value):
    labels = [np.where(one > 0, one, value) for one in scenes()]
    shares = tuple(float(np.mean(one == 0)) for one in scenes())
    assert find_instead(labels) == Instead(value, shares)
    assert find_instead(scenes()) is None


def test_background_1_or_the_number_after_the_last():
    assert find_instead([np.where(one > 0, one + 1, 1) for one in scenes()]).value == 1
    assert find_instead([np.where(one > 0, one, 100) for one in scenes()]).value == 100


def test_one_file_without_background():
    first, *rest = scenes()
    found = find_instead([*rest, np.where(first > 0, first, 255)])
    assert found == Instead(255, (None, None, None, float(np.mean(first == 0))))
    assert find_instead([*rest, np.where(first > 0, first, -1)]) is None  # only objects are annotated there


def test_a_mask_of_1_on_255():
    assert find_instead([np.where(one > 0, 1, 255) for one in scenes()]).value == 255
    assert find_instead([np.where(one > 0, 1 + one % 2, 255) for one in scenes()]).value == 255


def test_labels_that_need_no_background():
    assert find_instead([np.where(one > 0, 2, 1) for one in scenes()]) is None  # two classes
    assert find_instead([np.where(one > 0, 2 + one % 2, 1) for one in scenes()]) is None  # three
    assert find_instead([_regions(seed, 60) for seed in range(3)]) is None  # objects everywhere
    middle = [np.where(one == 0, 5, one + (one >= 5)) for one in scenes()]
    assert find_instead(middle) is None  # one object among others that fills the gaps
    assert find_instead([np.where(one > 0, one % 2 + 1, -1) for one in scenes()]) is None  # classes, sparsely
    assert find_instead([np.full((9, 9), -1)]) is None
    assert find_instead([]) is None


# colours --------------------------------------------------------------------------------------

PALETTE = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 200, 0]], np.uint8)


def painted(labels, palette=PALETTE):
    return palette[labels].transpose(2, 0, 1)  # (C, Y, X)


def test_colours_become_numbers_in_their_order():
    classes = scene() % 4
    codes = find_colours(painted(classes))
    numbers = number_colours([codes])
    assert [unpack(code, 3) for code in numbers] == [(0, 0, 0), (0, 0, 255), (0, 200, 0), (255, 0, 0)]
    assert list(numbers.values()) == [0, 1, 2, 3]
    np.testing.assert_array_equal(apply_numbers(codes, numbers), np.array([0, 3, 1, 2])[classes])
    assert list_numbers(numbers, 3) == "#000000 = 0, #0000ff = 1, #00c800 = 2, #ff0000 = 3"


def test_the_most_common_colour_is_background_where_there_is_no_black():
    white = np.array([[255, 255, 255], [255, 0, 0]], np.uint8)
    numbers = number_colours([find_colours(painted(mask() // 255, white))])
    assert [unpack(code, 3) for code in numbers] == [(255, 255, 255), (255, 0, 0)]
    assert number_colours([]) == {}


@pytest.mark.parametrize("how", ["resized", "jpeg"])
def test_edges_of_colours_get_the_nearest_full_colour(how):
    labels = scene(0, shape=(128, 128), radius=16)
    classes = labels % 4
    if how == "resized":
        smooth = np.stack([np.rint(ndimage.gaussian_filter(c.astype(float), 0.6)) for c in painted(classes)])
        pixels = smooth.astype(np.uint8)
    else:
        encoded = imagecodecs.jpeg8_encode(np.ascontiguousarray(painted(classes).transpose(1, 2, 0)), level=95)
        pixels = imagecodecs.jpeg8_decode(encoded).transpose(2, 0, 1)
    codes = find_colours(pixels)
    numbers = number_colours([codes])
    assert len(numbers) == 4
    assert np.mean(apply_numbers(codes, numbers) != np.array([0, 3, 1, 2])[classes]) < 0.05


def test_many_colours_16_bits_and_other_channels():
    palette = np.random.default_rng(0).integers(1, 60_000, (40, 3)).astype(np.uint16)
    palette[0] = 0
    labels = _regions(0, 39)
    numbers = number_colours([find_colours(painted(labels, palette))])
    assert len(numbers) == 40 - (labels != 0).all()
    assert list_numbers(numbers, 3).endswith(f" and {len(numbers) - 8} more")
    two = painted(mask() // 255, np.array([[0, 0], [9, 4]], np.uint8))
    assert list_numbers(number_colours([find_colours(two)]), 2) == "(0, 0) = 0, (9, 4) = 1"


def test_what_is_no_colour_mask():
    rng = np.random.default_rng(0)
    assert find_colours(rng.integers(0, 255, (3, 40, 40))) is None
    assert find_colours(rng.random((3, 40, 40))) is None
    smooth = ndimage.gaussian_filter(rng.integers(0, 255, (3, 96, 96)).astype(float), (0, 4, 4))
    stretched = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    assert find_colours(stretched) is None
    assert find_colours(np.zeros((4, 9, 9), np.uint8)) is None
    assert find_colours(np.full((3, 9, 9), 2**20)) is None


@pytest.fixture
def classes(tmp_path):
    """Two images, and classes 0, 1, 2 of their pixels."""
    found = []
    for number in range(2):
        image, labels = draw_scene(SceneConfig(shape=(96, 96), radius=9), np.random.default_rng(number))
        write_image(tmp_path / "images" / f"{number}.tif", image.clip(0).astype(np.uint16))
        found.append(np.where(labels > 0, 1 + labels % 2, 0))
    (tmp_path / "labels").mkdir()
    return found


def fixed(folder):
    lines = fix_dataset(folder / "images", folder / "labels", folder / "fixed")
    return lines, [read_labels(folder / "fixed" / f"{number}.tif") for number in range(2)]


def test_classes_in_colour_beside_classes_of_numbers_are_refused(tmp_path, classes):
    """Nothing says which number a colour is."""
    tifffile.imwrite(tmp_path / "labels" / "0.tif", PALETTE[classes[0]], photometric="rgb")
    tifffile.imwrite(tmp_path / "labels" / "1.tif", classes[1].astype(np.uint8))
    line = (
        r"must be all in colour or all numbers, got colours in .*0\.tif, numbers in .*1\.tif; repair the files in col"
    )
    with pytest.raises(ContractileError, match=line):
        fixed(tmp_path)
    assert not (tmp_path / "fixed").exists()


def test_a_mask_in_colour_beside_a_mask_of_numbers(tmp_path, classes):
    tifffile.imwrite(tmp_path / "labels" / "0.tif", PALETTE[(classes[0] > 0) * 1], photometric="rgb")
    tifffile.imwrite(tmp_path / "labels" / "1.tif", (classes[1] > 0).astype(np.uint8) * 255)
    _, found = fixed(tmp_path)
    for mask, one in zip(found, classes, strict=True):
        np.testing.assert_array_equal(mask, one > 0)


def test_large_numbers_of_classes_are_the_same_in_all_files(tmp_path, classes):
    """Also where a file lacks one of them."""
    classes[1][classes[1] == 1] = 0
    for number, one in enumerate(classes):
        tifffile.imwrite(tmp_path / "labels" / f"{number}.tif", np.where(one == 2, 2**40, one.astype(np.int64) * 7))
    lines, found = fixed(tmp_path)
    assert lines[0] == f"numbers: 7 = 1, {2**40} = 2"
    for mask, one in zip(found, classes, strict=True):
        np.testing.assert_array_equal(mask, one)


# stray values ---------------------------------------------------------------------------------


def test_values_only_found_between_two_others():
    classes = np.array([0, 100, 200])[(scene() > 0) * (1 + scene() % 2)]
    edges = np.argwhere((classes[:, :-2] == 0) & (classes[:, 2:] == 200) & (classes[:, 1:-1] > 0))
    spoilt = classes.copy()
    for y, x in edges[::9]:
        spoilt[y, x + 1] = 150
    assert find_stray([classes, spoilt]) == [150]
    assert set(np.unique(drop_stray(spoilt, [150]))) == {0, 100, 200}
    assert np.mean(drop_stray(spoilt, [150]) != classes) < 0.01
    assert find_stray([classes, _bordered(0, np.array([0, 100, 200]))]) == []


# Fractions


NUMBERS = np.kron(np.array([[0, 1, 0], [0, 2, 5], [3, 0, 0]]), np.ones((6, 6), int)).astype(np.int32)
DIVIDED = [
    (NUMBERS + 0.5, NUMBERS, "0.5 taken off each number"),
    (NUMBERS - 0.5, NUMBERS, "-0.5 taken off each number"),
    (NUMBERS + 1.25, NUMBERS + 1, "0.25 taken off each number"),
    (NUMBERS / 255, NUMBERS, "each number multiplied by 255"),
    (NUMBERS / 65535, NUMBERS, "each number multiplied by 65535"),
    (NUMBERS / 3.5e3, NUMBERS, "each number multiplied by 3500"),
    ((NUMBERS > 0) * 0.5, (NUMBERS > 0) * 1, "each number multiplied by 2"),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("values", "expected", "done"), DIVIDED)
def test_numbers_that_were_moved_or_divided(values, expected, done, dtype):
    whole = find_whole(values.astype(dtype))
    np.testing.assert_array_equal(whole.values, expected)
    assert whole.done == done
    assert can_mend(values.astype(dtype))


def test_fractions_that_are_no_numbers():
    random = np.random.default_rng(0).random((30, 30))
    smooth_picture = ndimage.gaussian_filter(random, 2)
    for values in (random, random * 50, smooth_picture, np.full((4, 4), 0.5), NUMBERS * np.pi, NUMBERS - 1.5):
        assert find_whole(values) is None
        assert not can_mend(values)
    assert can_mend(ndimage.gaussian_filter((NUMBERS > 0) * 1.0, 0.5))


@pytest.mark.parametrize("kind", ["moved", "divided", "smoothed", "large", "photograph", "colour"])
def test_what_the_doctor_promises_is_what_he_does(tmp_path, kind):
    """A finding that names --fix is mended by it, and one that cannot be mended does not name it."""
    large = np.kron(NUMBERS, np.ones((3, 3), int))
    values = {
        "moved": large + 0.5,
        "divided": large / 255,
        "smoothed": ndimage.gaussian_filter((large > 0) * 1.0, 0.7),
        "large": large.astype(np.int64) * 10**12,
        "photograph": np.random.default_rng(0).random(large.shape),
        "colour": np.random.default_rng(0).integers(0, 255, (*large.shape, 3), np.uint8),
    }[kind]
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.random.default_rng(1).integers(0, 255, large.shape, np.uint8))
    np.save(tmp_path / "labels" / "a.npy", values)
    places = tmp_path / "images", tmp_path / "labels"
    axes = "YXC" if kind == "colour" else None
    [finding] = [one for one in check_dataset(*places, axes=axes) if one.level == "error"]
    assert ("--fix" in finding.cure) == (kind not in ("photograph", "colour"))
    if kind in ("photograph", "colour"):
        with pytest.raises(ContractileError, match="save the numbers of objects or classes as grey TIFF: nothing"):
            fix_dataset(*places, tmp_path / "fixed", axes=axes)
        return
    fix_dataset(*places, tmp_path / "fixed")
    found = read_labels(tmp_path / "fixed" / "a.tif")
    if kind == "smoothed":
        assert np.mean((found > 0) != (large > 0)) < 0.02
    else:
        expected = large if kind != "large" else np.searchsorted(np.unique(large), large)
        np.testing.assert_array_equal(found, expected)
