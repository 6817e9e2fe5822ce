"""Which channels of a map are the objects: all but the first, unless the caller says otherwise."""

import numpy as np
import pytest

from contractile.evaluation import EvaluateConfig, evaluate
from contractile.images import write_labels, write_probabilities
from contractile.targets import TargetConfig, make_target

PLAIN = EvaluateConfig(resamples=0)
SCORES = ["pixel_error", "dice", "iou"]


def touching():
    """Three objects in one row, of which two touch."""
    labels = np.zeros((24, 36), np.uint8)
    labels[4:20, 2:12], labels[4:20, 12:22], labels[6:16, 26:34] = 1, 2, 3
    return labels


def maps_of(labels, separation):
    """What a perfect model of objects writes: (outside, inside) or (outside, core, contact)."""
    config = TargetConfig(separation=separation)
    classes = make_target(labels, config).classes
    return np.stack([classes == number for number in range(config.n_classes)]).astype(np.float32)


def values(predicted, truth, scores=SCORES, config=PLAIN):
    return [score.value for score in evaluate(predicted, truth, scores=scores, config=config).summary.values()]


def test_the_classes_of_a_model_of_objects():
    """The last one is a thin line, which is not what a mask shows."""
    maps = maps_of(touching(), "contact")
    assert maps.sum(axis=(1, 2)).tolist() == [464, 384, 16]
    assert (maps[1:].sum(axis=0) == (touching() > 0)).all()


@pytest.mark.parametrize("also_labels", [False, True])
def test_what_a_model_of_objects_writes_is_scored_against_masks(tmp_path, also_labels):
    labels = touching()
    write_probabilities(tmp_path / "out" / "a_probabilities.tif", maps_of(labels, "contact"))
    if also_labels:
        write_labels(tmp_path / "out" / "a_labels.tif", labels)
    write_labels(tmp_path / "masks" / "a.tif", np.where(labels > 0, 255, 0).astype(np.uint8))
    assert values(tmp_path / "out", tmp_path / "masks") == [0, 1, 1]


@pytest.mark.parametrize("separation", ["gap", "contact", "none"])
def test_probabilities_against_numbered_objects(tmp_path, separation):
    labels = touching()
    maps = maps_of(labels, separation)
    write_probabilities(tmp_path / "a_probabilities.tif", maps)
    write_labels(tmp_path / "a.tif", labels)
    inside = maps[1:].sum()
    expected = 2 * inside / (inside + np.count_nonzero(labels))
    assert values(tmp_path / "a_probabilities.tif", tmp_path / "a.tif", ["dice"]) == [pytest.approx(expected)]
    assert separation == "gap" or expected == 1


def test_white_is_the_sum_of_all_channels_but_the_first():
    """Either of two channels is below a half here, and both together are above."""
    truth = np.tile(np.array([0, 0, 255, 255], np.uint8), (4, 1))
    some = np.where(truth > 0, 0.4, 0.1)
    for maps in (np.stack([1 - 2 * some, some, some]), np.stack([1 - 2 * some, some, some / 2, some / 2])):
        assert values(maps, truth) == [0, 1, 1]
    doubled = np.stack([1 - some, some * 2, some * 2])  # sigmoids do not add up to 1
    assert values(doubled, truth) == [0, 1, 1]
    assert values(some * 2, truth) == values(some[None] * 2, truth) == [0, 1, 1]


@pytest.mark.parametrize(("white", "dice"), [(None, 1), (0, 0), (1, 0.5), (2, 0.8), (-1, 0.8), (-3, 0)])
def test_the_caller_chooses_a_channel(white, dice):
    truth = np.array([[0, 0, 1, 1, 1, 0]], np.uint8).repeat(2, axis=0)
    parts = np.array([[0, 0, 1, 2, 2, 0]]).repeat(2, axis=0)
    maps = np.stack([parts == number for number in range(3)]).astype(np.float32)
    assert values(maps, truth, ["dice"], EvaluateConfig(resamples=0, white=white)) == [pytest.approx(dice)]
