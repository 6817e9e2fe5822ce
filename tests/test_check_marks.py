"""Labels in which a number means "not annotated": it is no object, for `check` as for `check --fix`."""

import logging

import numpy as np
import pytest
import tifffile
from test_cli import call

from contractile.check import check_dataset, find_errors, fix_dataset
from contractile.dataset import load_examples, pair_up
from contractile.images import read_labels, write_image
from contractile.synthetic import SceneConfig, draw_scene

MARK = 65535  # -1, saved as unsigned 16-bit


@pytest.fixture
def folder(tmp_path):
    """Four images of cells. Nobody annotated the lower part of two, and an island in the third; the last is whole."""
    for number in range(4):
        image, labels = draw_scene(SceneConfig(shape=(128, 128), radius=8), np.random.default_rng(number))
        write_image(tmp_path / "images" / f"cell{number}.tif", image.clip(0).astype(np.uint16))
        if number < 2:
            labels[60:] = -1
        elif number == 2:
            labels[20:60, 30:70] = -1
        for name, kind in (("negative", np.int32), ("marked", np.uint16)):
            (tmp_path / name).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / name / f"cell{number}.tif", labels.astype(np.int32).astype(kind))
    return tmp_path


def problems(folder, name, **options):
    found = check_dataset(folder / "images", folder / name, **options)
    return [(one.level, one.kind, one.problem) for one in found]


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_what_looks_like_a_mark_is_measured_as_no_object(folder):
    """The only complaint is about the number itself: not about the sizes of objects, specks, edges or places."""
    without = [one for one in problems(folder, "negative") if one[1] != "ignored"]
    marked = [one for one in problems(folder, "marked") if one[1] != "void"]
    assert marked == []
    assert without == []
    [complaint] = [one for one in check_dataset(folder / "images", folder / "marked") if one.kind == "void"]
    assert complaint.problem.startswith("value 65535 covers 53%, ...")
    assert "--ignore-label of check and evaluate, targets.ignore_label in the recipe of train" in complaint.cure


def test_training_is_told_the_same(folder):
    pairs = pair_up(folder / "images", folder / "marked")
    assert [one.kind for one in find_errors(pairs, load_examples(pairs))] == ["void"]
    assert [one.kind for one in find_errors(pairs, load_examples(pairs), ignore_label=MARK)] == ["ignored"]


def test_a_mark_is_no_object_where_the_image_is_black(folder):
    """Not even in an image that holds nothing else, which alone would be a mask."""
    for number in (0, 1):
        image = tifffile.imread(folder / "images" / f"cell{number}.tif")
        image[60:] = image.min()
        write_image(folder / "images" / f"cell{number}.tif", image[None])
    bare = np.zeros((128, 128), np.uint16)
    bare[60:] = MARK
    tifffile.imwrite(folder / "marked" / "cell1.tif", bare)
    assert [kind for _, kind, _ in problems(folder, "marked")] == ["void", "stripe"]  # and not "blank"


def test_a_number_that_is_said_to_mean_not_annotated(folder, caplog):
    assert problems(folder, "marked", ignore_label=MARK) == problems(folder, "negative")
    assert not warnings(caplog)


def test_a_number_that_no_pixel_has(folder, caplog):
    check_dataset(folder / "images", folder / "negative", ignore_label=MARK)
    assert warnings(caplog) == ["ignore_label changes nothing: no pixel of the labels is 65535"]


def test_a_number_where_there_are_no_labels(folder, caplog):
    check_dataset(folder / "images", ignore_label=MARK)
    assert warnings(caplog) == ["ignore_label changes nothing: images are looked at alone, without labels"]


def test_the_option_of_the_command(folder, capsys):
    status, out, err = call(capsys, "check", folder / "images", folder / "marked", "--ignore-label", "65535")
    assert (status, err) == (0, "")
    assert out.startswith("note: ")
    assert "are marked as not annotated" in out
    assert "warning" not in out


def test_repaired_labels_keep_the_mark(folder):
    """A mark in several pieces is not split into objects, and what is repaired beside it is repaired."""
    labels = tifffile.imread(folder / "marked" / "cell2.tif")
    labels[100:120, 100:120], labels[:4, :4], labels[-4:, :4] = MARK, 5, 5
    tifffile.imwrite(folder / "marked" / "cell2.tif", labels)
    lines = fix_dataset(folder / "images", folder / "marked", folder / "fixed")
    assert "of several pieces split" in lines[0]
    assert lines[-1].endswith(", 1 of them repaired")
    fixed = read_labels(folder / "fixed" / "cell2.tif")
    assert np.array_equal(fixed == MARK, labels == MARK)


def test_repaired_labels_hold_minus_1_where_the_mark_is_named(folder):
    lines = fix_dataset(folder / "images", folder / "marked", folder / "fixed", ignore_label=MARK)
    assert lines[0].endswith("cell0.tif: 65535 made -1, not annotated")
    assert len(lines) == 4
    for number in range(4):
        repaired, wanted = (read_labels(folder / name / f"cell{number}.tif") for name in ("fixed", "negative"))
        assert np.array_equal(repaired, wanted)


@pytest.mark.parametrize(("kind", "mark"), [(np.uint32, 2**32 - 1), (np.float64, 2**32 - 1), (np.uint64, 2**64 - 1)])
def test_a_mark_beyond_32_bits(folder, kind, mark, caplog):
    for file in (folder / "marked").iterdir():
        labels = tifffile.imread(file).astype(kind)
        labels[labels == MARK] = mark
        tifffile.imwrite(file, labels)
    assert problems(folder, "marked", ignore_label=mark) == problems(folder, "negative")
    assert not warnings(caplog)
    lines = fix_dataset(folder / "images", folder / "marked", folder / "fixed", ignore_label=mark)
    assert lines[0].endswith(f"cell0.tif: {mark} made -1, not annotated")
    for number in range(4):
        repaired, wanted = (read_labels(folder / name / f"cell{number}.tif") for name in ("fixed", "negative"))
        assert np.array_equal(repaired, wanted)


def test_a_mark_beside_numbers_beyond_32_bits(folder):
    """The mark is looked for among the numbers that are stored, not among those that objects get."""
    for file in (folder / "marked").iterdir():
        labels = tifffile.imread(file).astype(np.int64)
        tifffile.imwrite(
            file, np.where((labels > 0) & (labels != MARK), labels + 2**40, np.where(labels == MARK, 3, 0))
        )
    [complaint] = [one for one in problems(folder, "marked", ignore_label=3) if one[0] == "error"]
    assert complaint[1] == "large numbers"
    fix_dataset(folder / "images", folder / "marked", folder / "fixed", ignore_label=3)
    repaired, wanted = (read_labels(folder / name / "cell0.tif") for name in ("fixed", "negative"))
    assert np.array_equal(repaired == -1, wanted == -1)
    assert len(np.unique(repaired)) == len(np.unique(wanted))


@pytest.mark.parametrize("mark", [255, -1])
def test_what_is_named_as_not_annotated_never_becomes_background(folder, mark):
    """Only the objects are annotated: without the option, what surrounds them would be background."""
    places = folder / "images", folder / "marked"
    for number in range(4):
        file = folder / "marked" / f"cell{number}.tif"
        labels = tifffile.imread(file).astype(np.int32)
        tifffile.imwrite(file, np.where((labels == 0) | (labels == MARK), mark, labels).astype(np.int32))
    assert [kind for level, kind, _ in problems(folder, "marked") if level == "error"] == ["background"]
    assert problems(folder, "marked", ignore_label=mark)[-1][1] == "ignored"
    assert not [one for one in check_dataset(*places, ignore_label=mark) if one.level == "error"]
    pairs = pair_up(*places)
    assert [one.kind for one in find_errors(pairs, load_examples(pairs), ignore_label=mark)][-1] == "ignored"
    fix_dataset(*places, folder / "fixed", ignore_label=mark)
    stored, fixed = (read_labels(folder / name / "cell3.tif") for name in ("marked", "fixed"))
    assert np.array_equal(fixed == -1, stored == mark)
    assert not (fixed == 0).any()


def test_an_object_that_gets_the_number_of_the_mark(tmp_path):
    """Of a number in very many pieces, one piece would get 255: it gets another number."""
    labels = np.zeros((200, 160), np.uint8)
    for place in range(320):
        y, x = divmod(place, 16)
        labels[10 * y : 10 * y + 3, 10 * x : 10 * x + 3] = 1 if place < 270 else place - 266
    labels[196:] = 255
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "a.tif", labels)
    write_image(
        tmp_path / "images" / "a.tif", np.random.default_rng(0).integers(0, 99, (1, 200, 160)).astype(np.uint16)
    )
    fix_dataset(tmp_path / "images", tmp_path / "labels", tmp_path / "fixed")
    fixed = read_labels(tmp_path / "fixed" / "a.tif")
    assert np.array_equal(fixed == 255, labels == 255)
    assert len(np.unique(fixed)) == 322
