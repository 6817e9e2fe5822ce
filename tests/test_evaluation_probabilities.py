"""Labels or probabilities: names, types and the caller decide, and doubt is said. Where the truth may lie."""

import logging

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Pillow
from scenes import cells

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, compare, evaluate
from contractile.images import write_labels

MAPS = EvaluateConfig(resamples=0, probabilities=True)
PLAIN = EvaluateConfig(resamples=0)
DOUBT = "taken as labels, since these are integers, but few neighbours are equal; --probabilities"


def warnings(caplog):
    """What the user is told without asking."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def value(predicted, truth, score="dice", config=PLAIN, **more):
    return evaluate(predicted, truth, scores=[score], config=config, **more).summary[score].value


def spots(dtype=np.uint8):
    """Spots of one pixel, each with a number of its own: they look like a map of grey values."""
    labels = np.zeros((40, 30), dtype)
    labels[::3, ::2] = 1 + np.arange(14 * 15).reshape(14, 15)
    return labels


@pytest.fixture
def membranes():
    """(truth, probability of white, the same in 8 bits)."""
    truth, white = cells(np.random.default_rng(0))
    return truth, white, np.rint(white * 255).astype(np.uint8)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("score", ["dice", "ap"])
def test_labels_scored_against_themselves_are_perfect(tmp_path, dtype, score):
    labels = spots(dtype)
    assert value(labels, labels, score) == 1
    tifffile.imwrite(tmp_path / "spots.tif", labels)
    assert value(tmp_path / "spots.tif", tmp_path / "spots.tif", score) == 1


def test_a_mask_of_0_and_255_is_labels(tmp_path, membranes, caplog):
    mask = np.where(membranes[1] > 0.5, 255, 0).astype(np.uint8)
    Pillow.fromarray(mask).save(tmp_path / "a.png")
    assert value(tmp_path / "a.png", tmp_path / "a.png") == 1
    assert value(mask, mask) == 1
    assert not warnings(caplog)


@pytest.mark.parametrize(
    "name",
    ["a_prob", "a_probs", "a_pred_prob", "a-probabilities", "a_Probabilities", "a_prob Stage 2", "a_softmax"],
)
def test_a_name_says_that_a_file_is_a_map(tmp_path, membranes, name, caplog):
    truth, white, grey = membranes
    tifffile.imwrite(tmp_path / f"{name}.tif", grey)
    write_labels(tmp_path / "truth" / "a.tif", truth)
    expected = value(white, truth, "v_rand")
    assert value(tmp_path / f"{name}.tif", tmp_path / "truth", "v_rand") == pytest.approx(expected, abs=0.02)
    assert not warnings(caplog)


@pytest.mark.parametrize("bits", [8, 16])
def test_the_caller_says_that_integers_are_maps(tmp_path, membranes, bits):
    truth, white, _ = membranes
    grey = np.rint(white * (2**bits - 1)).astype(f"u{bits // 8}")
    tifffile.imwrite(tmp_path / "grey.tif", grey)
    write_labels(tmp_path / "truth.tif", truth)
    expected = value(white, truth, "v_rand")
    assert value(grey, truth, "v_rand", MAPS) == pytest.approx(expected, abs=0.02)
    assert value(tmp_path / "grey.tif", tmp_path / "truth.tif", "v_rand", MAPS) == pytest.approx(expected, abs=0.02)
    both = compare(grey, grey, truth, scores=["v_rand"], config=MAPS)
    assert both.first.summary["v_rand"].value == pytest.approx(expected, abs=0.02)


def test_labels_beside_maps_stay_labels_when_maps_are_asked_for(tmp_path, membranes):
    truth, white, grey = membranes
    write_labels(tmp_path / "p" / "a_labels.tif", (white > 0.7).astype(np.uint8))
    tifffile.imwrite(tmp_path / "p" / "a_probabilities.tif", grey)
    write_labels(tmp_path / "truth.tif", truth)
    found = evaluate(tmp_path / "p", tmp_path / "truth.tif", config=MAPS).summary
    assert found["v_rand"].value == pytest.approx(value(white, truth, "v_rand"), abs=0.02)
    assert found["dice"].value == pytest.approx(value((white > 0.7) * 1, truth))


def test_doubt_is_said_once(tmp_path, membranes, caplog):
    truth, _, grey = membranes
    (tmp_path / "p").mkdir()
    for name in "abc":
        tifffile.imwrite(tmp_path / "p" / f"{name}.tif", grey)
        write_labels(tmp_path / "truth" / f"{name}.tif", truth)
    evaluate(tmp_path / "p", tmp_path / "truth", scores=["dice"], config=PLAIN)
    assert warnings(caplog) == [f"{tmp_path / 'p' / 'a.tif'}: {DOUBT} (probabilities=True) takes them as maps"]
    caplog.clear()
    evaluate([grey, grey], [truth, truth], scores=["dice"], config=PLAIN)
    assert [line.split(" (prob")[0] for line in warnings(caplog)] == [f"predicted image 0: {DOUBT}"]


@pytest.mark.parametrize("name", ["a_labels", "a_mask", "ours"])
def test_no_doubt_where_a_name_or_our_mark_says_labels(tmp_path, name, caplog):
    labels = spots()
    if name == "ours":
        write_labels(tmp_path / "ours.tif", labels)
    else:
        tifffile.imwrite(tmp_path / f"{name}.tif", labels)
    assert value(tmp_path / f"{name}.tif", tmp_path / f"{name}.tif") == 1
    assert not warnings(caplog)


def test_what_was_taken_for_what_is_told_once(tmp_path, membranes, caplog):
    """Of files; arrays are what the caller says."""
    caplog.set_level(logging.INFO, logger="contractile.evaluation")
    truth, white, _ = membranes
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", white)
        write_labels(tmp_path / "truth" / f"{name}.tif", truth)
    evaluate([tmp_path / "a.tif", tmp_path / "b.tif"], tmp_path / "truth", scores=["dice"], config=PLAIN)
    evaluate(tmp_path / "truth", tmp_path / "truth", scores=["dice"], config=PLAIN)
    files = [tmp_path / "a.tif", tmp_path / "truth" / "a.tif"]
    assert caplog.messages == [f"taken as probabilities: {files[0]}", f"taken as labels: {files[1]}"]
    evaluate([white, truth], [truth, truth], scores=["dice"], config=PLAIN)
    assert len(caplog.messages) == 2


def test_integers_of_several_channels_may_be_probabilities(tmp_path, membranes):
    truth, white, grey = membranes
    both = np.stack([255 - grey, grey])
    tifffile.imwrite(tmp_path / "a.tif", both, photometric="minisblack", metadata={"axes": "CYX"})
    write_labels(tmp_path / "truth.tif", truth)
    with pytest.raises(ContractileError, match=r"channel, got 2 .*; or say that these are probabilities \(--prob"):
        evaluate(tmp_path / "a.tif", tmp_path / "truth.tif")
    found = value(tmp_path / "a.tif", tmp_path / "truth.tif", "v_rand", MAPS)
    assert found == pytest.approx(value(white, truth, "v_rand"), abs=0.02)


def test_numbers_of_objects_may_be_large(tmp_path):
    labels = spots(np.int32).repeat(2, axis=0).repeat(2, axis=1)
    large = np.where(labels > 0, 2_000_000_000 + labels, 0).astype(np.int32)
    tifffile.imwrite(tmp_path / "large.tif", large)
    found = evaluate(tmp_path / "large.tif", tmp_path / "large.tif", config=PLAIN).summary
    assert [found[key].value for key in ("ap", "seg", "dice", "adapted_rand")] == [1, 1, 1, 0]


# Where predictions and truths may lie


def test_the_truth_may_lie_beside_its_images(tmp_path):
    labels = spots()
    for name in "ab":
        write_labels(tmp_path / "data" / f"{name}_masks.tif", labels)
        write_labels(tmp_path / "set" / "masks" / f"{name}.tif", labels)
        write_labels(tmp_path / "set" / "images" / f"{name}.tif", labels * 0)
        write_labels(tmp_path / "out" / f"{name}_labels.tif", labels)
        tifffile.imwrite(tmp_path / "data" / f"{name}.tif", labels * 0)
    assert value(tmp_path / "out", tmp_path / "data", "ap") == 1
    assert value(tmp_path / "data", tmp_path / "data", "ap") == 1
    assert value(tmp_path / "out", tmp_path / "set", "ap") == 1


def test_the_truth_may_be_masks_of_single_objects(tmp_path):
    labels = np.zeros((2, 6, 6), np.uint8)
    labels[:, 1:3, 1:3], labels[0, 4:, 4:] = 1, 2
    for case, one in zip(("0a", "1b"), labels, strict=True):
        for folder in ("masks", "images"):
            (tmp_path / "train" / case / folder).mkdir(parents=True)
        Pillow.fromarray(one * 0).save(tmp_path / "train" / case / "images" / f"{case}.png")
        for number in range(1, one.max() + 1):
            mask = np.where(one == number, 255, 0).astype(np.uint8)
            Pillow.fromarray(mask).save(tmp_path / "train" / case / "masks" / f"m{number}{case}.png")
        write_labels(tmp_path / "out" / f"{case}_labels.tif", one)
    found = evaluate(tmp_path / "out", tmp_path / "train", config=EvaluateConfig(objects=True, resamples=0))
    assert [image.name for image in found.images] == ["0a", "1b"]
    assert found.summary["ap"].value == 1


def test_the_truth_may_lie_within_ome_zarr(tmp_path):
    labels = spots()
    axes = [{"name": name, "type": "space"} for name in "yx"]
    for name in ("a", "b"):
        root = zarr.open_group(tmp_path / "t" / f"{name}.zarr", mode="w", zarr_format=2)
        for group, values in ((root, labels * 0), (root.create_group("labels/cells"), labels)):
            group.create_array("0", data=values)
            group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}]
        write_labels(tmp_path / "out" / f"{name}_labels.tif", labels)
    assert value(tmp_path / "out", tmp_path / "t", "ap") == 1
    assert value(tmp_path / "out", f"{tmp_path}/t/*.zarr/labels/cells", "ap") == 1


def test_several_stacks_pair_by_name_and_then_by_page(tmp_path):
    for name, pages in (("x", 2), ("y", 3)):
        stack = np.stack([np.roll(spots(), page, axis=0) for page in range(pages)])
        write_labels(tmp_path / "truth" / f"{name}_mask.tif", stack)
        write_labels(tmp_path / "out" / f"{name}_labels.tif", stack)
    found = evaluate(tmp_path / "out", tmp_path / "truth", scores=["ap"], config=PLAIN)
    assert [image.name for image in found.images] == ["x_0000", "x_0001", "y_0000", "y_0001", "y_0002"]
    assert found.summary["ap"].value == 1
    write_labels(tmp_path / "out" / "y_labels.tif", stack[:2])
    with pytest.raises(ContractileError, match=r"y_labels.tif: has 2 page\(s\), and the truth .*y_mask.tif has 3; pre"):
        evaluate(tmp_path / "out", tmp_path / "truth")


def test_a_stack_against_files_of_its_pages(tmp_path, caplog):
    stack = np.stack([np.roll(spots(), page, axis=0) for page in range(3)])
    write_labels(tmp_path / "out" / "movie_labels.tif", stack)
    for number, page in zip((1, 2, 3), stack, strict=True):
        write_labels(tmp_path / "truth" / f"frame{number}.tif", page)
    assert value(tmp_path / "out", tmp_path / "truth", "ap") == 1
    assert "paired in their order: movie_0000 with frame1" in caplog.text


def test_pairs_in_doubt_are_said(tmp_path, caplog):
    for number in (1, 2):
        write_labels(tmp_path / "truth" / f"treated_{number}.tif", spots())
        write_labels(tmp_path / "out" / f"ctrl_{number}_labels.tif", spots())
    assert value(tmp_path / "out", tmp_path / "truth", "ap") == 1
    assert "predictions and truths are paired by their numbers alone: ctrl_1 with treated_1" in caplog.text


def test_what_cellpose_writes_beside_its_masks_is_no_prediction(tmp_path):
    for name in "ab":
        write_labels(tmp_path / "out" / f"{name}_cp_masks.tif", spots())
        for other in ("", "_flows", "_outlines"):
            tifffile.imwrite(tmp_path / "out" / f"{name}{other}.tif", np.zeros((5, 5), np.uint8))
        write_labels(tmp_path / "truth" / f"{name}.tif", spots())
    assert value(tmp_path / "out", tmp_path / "truth", "ap") == 1


@pytest.mark.parametrize("axes", ["YCX", None])
def test_axes_of_predicted_files(tmp_path, membranes, axes):
    """They are given, or the shape of the truth shows them."""
    truth, white, _ = membranes
    write_labels(tmp_path / "truth.tif", truth)
    tifffile.imwrite(tmp_path / "p.tif", np.stack([1 - white, white], axis=1).astype(np.float32))
    found = value(tmp_path / "p.tif", tmp_path / "truth.tif", "v_rand", EvaluateConfig(resamples=0, axes=axes))
    assert found == pytest.approx(value(white, truth, "v_rand"))
