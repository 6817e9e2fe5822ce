"""No option is ignored without a word: it acts, is refused, or a warning says that it changes nothing."""

import logging

import numpy as np
import pytest

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, compare, evaluate
from contractile.images import write_labels, write_probabilities

LABELS = np.zeros((12, 16), np.int32)
LABELS[1:6, 1:6], LABELS[7:11, 8:14] = 1, 2
MASK = np.where(LABELS > 0, 255, 0)
MAPS = np.stack([LABELS == 0, LABELS > 0]).astype(np.float32)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def config(**options):
    return EvaluateConfig(resamples=0, **options)


@pytest.mark.parametrize(
    ("predicted", "truth", "scores", "options", "line"),
    [
        (
            LABELS,
            LABELS,
            ["dice"],
            {"border": 2},
            "border changes nothing: it is for the ctc scores; ask for them with",
        ),
        (LABELS, LABELS, None, {"pixel_size": (2, 2)}, "pixel_size changes nothing: it is for the surface scores; ask"),
        (LABELS, LABELS, None, {"tolerance": 3.0}, "tolerance changes nothing: it is for the surface scores; ask for"),
        (LABELS, LABELS, ["dice"], {"white": 1}, "white changes nothing: all predictions are labels"),
        (
            np.stack([value == LABELS for value in range(3)]).astype(np.float32),
            LABELS,
            ["dice"],
            {"white": 1, "classes": (0, 1, 2)},
            "white changes nothing: each pixel has its most probable class, since the truth holds classes",
        ),
        (LABELS, LABELS, ["dice"], {"background": 7}, "background changes nothing: no predicted label is 7"),
        (LABELS, LABELS, ["dice"], {"ignore_label": 7}, "ignore_label changes nothing: no pixel of the truth is 7"),
    ],
    ids=["border", "pixel_size", "tolerance", "white", "white of classes", "background", "ignore_label"],
)
def test_an_option_without_effect_is_said(predicted, truth, scores, options, line, caplog):
    evaluate(predicted, truth, scores=scores, config=config(**options))
    [said] = warnings(caplog)
    assert said.startswith(line)
    caplog.clear()
    compare(predicted, predicted, truth, scores=scores, config=config(**options))
    assert len(warnings(caplog)) == 1  # once, not for each side


@pytest.mark.parametrize(
    ("predicted", "truth", "scores", "options"),
    [
        (LABELS, LABELS, None, {"border": 2}),
        (LABELS, LABELS, ["hd95"], {"pixel_size": (2, 2), "tolerance": 3.0}),
        (MAPS, LABELS, ["dice"], {"white": 1}),
        (MAPS, MASK, ["v_rand"], {"white": -1, "probabilities": True}),
        (LABELS + 1, LABELS, ["ap"], {"background": 1}),
        (LABELS + 1, LABELS, ["ap"], {"background": 0}),
        (LABELS, LABELS, ["ap"], {"ignore_label": 2}),
    ],
    ids=str,
)
def test_an_option_that_acts_is_not(predicted, truth, scores, options, caplog):
    evaluate(predicted, truth, scores=scores, config=config(**options))
    assert not warnings(caplog)


def test_options_for_maps_where_there_are_only_labels(tmp_path, caplog):
    write_labels(tmp_path / "out" / "a_labels.tif", LABELS)
    write_labels(tmp_path / "truth" / "a.tif", LABELS)
    places = tmp_path / "out", tmp_path / "truth"
    evaluate(*places, scores=["dice"], config=config(probabilities=True))
    assert warnings(caplog) == ["probabilities changes nothing: all predictions are labels by their names, or shapes"]
    caplog.clear()
    write_probabilities(tmp_path / "out" / "a_probabilities.tif", MAPS)
    evaluate(*places, scores=["dice"], config=config(probabilities=True, white=1))
    assert warnings(caplog) == [
        "white changes nothing: what is scored are the labels that lie beside the probabilities"
    ]


def test_one_of_two_sides_is_enough(tmp_path, caplog):
    compare(MAPS, MASK > 0, MASK, scores=["dice"], config=config(white=1))
    assert not warnings(caplog)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"axes": "CYX"}, "axes are for files, got 'CYX' for arrays; leave it out: arrays are labels .*S. or prob"),
        ({"dims": 3}, r"true image 0: must be a volume \(Z, Y, X\) where dims is 3, got int32 \(12, 16\); leave dims"),
        ({"probabilities": True}, "image 0: probabilities must be floats .* 8- or 16-bit maps, got int32 from 0 to 2"),
    ],
)
def test_options_that_arrays_cannot_take(options, line):
    with pytest.raises(ContractileError, match=line):
        evaluate(LABELS, LABELS, config=config(**options))


def test_a_mask_of_true_and_false_is_a_map_where_maps_are_asked_for():
    found = evaluate(LABELS > 0, MASK, scores=["v_rand", "dice"], config=config(probabilities=True)).summary
    assert [score.value for score in found.values()] == [1, 1]


def test_names_are_for_arrays(tmp_path):
    write_labels(tmp_path / "a.tif", LABELS)
    with pytest.raises(
        ContractileError, match=r"names are for arrays, got \['x'\] for files; leave them out: files hav"
    ):
        evaluate(tmp_path / "a.tif", tmp_path / "a.tif", names=["x"])


def test_distances_of_two_units_are_not_averaged_without_a_word(tmp_path, caplog):
    for name, size in (("a", (0.1, 0.1)), ("b", None)):
        write_labels(tmp_path / "out" / f"{name}_labels.tif", LABELS, pixel_size_um=size)
        write_labels(tmp_path / "truth" / f"{name}.tif", LABELS)
    places = tmp_path / "out", tmp_path / "truth"
    evaluate(*places, scores=["hd95"], config=config(objects=True))
    [said] = warnings(caplog)
    assert said.startswith(
        "distances are in micrometres for some images and in pixels for others; give one size for all"
    )
    caplog.clear()
    evaluate(*places, scores=["hd95"], config=config(objects=True, pixel_size=(1, 1)))
    assert not warnings(caplog)


def test_a_guess_at_what_the_numbers_are_is_told(tmp_path, caplog):
    """Four images of two objects each fit two classes as well."""
    truths = [LABELS] * 4
    swapped = [np.where(LABELS > 0, 3 - LABELS, 0)] * 4
    found = evaluate(swapped, truths, config=config())
    [said] = warnings(caplog)
    assert "its numbers are taken for the classes 0, 1, 2, which is a guess; if each object has a number of its" in said
    assert "ap" not in found.summary
    caplog.clear()
    assert evaluate(swapped, truths, config=config(objects=True)).summary["ap"].value == 1
    assert not warnings(caplog)
    compare(swapped, truths, truths, config=config())
    assert len(warnings(caplog)) == 1  # once, not for each side


def test_a_pixel_size_of_other_axes_is_no_fault_of_an_image():
    line = r"^pixel_size must hold one number for each of the {} axes of the truth, got .*; write e.g. --pixel-size {} "
    with pytest.raises(ContractileError, match=line.format(2, "0.5,0.5")):
        evaluate(LABELS, LABELS, scores=["surface"], config=config(pixel_size=(1, 1, 1)))
    with pytest.raises(ContractileError, match=line.format(3, "2,0.5,0.5")):
        evaluate(LABELS[None], LABELS[None], scores=["hd95"], config=config(pixel_size=(1, 1)))
