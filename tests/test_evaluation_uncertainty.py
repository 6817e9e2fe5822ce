import json

import numpy as np
import pytest
from scenes import cells

from contractile.errors import ContractileError
from contractile.evaluation import compare, evaluate
from contractile.images import write_labels


def test_interval_holds_the_score_and_is_repeatable():
    rng = np.random.default_rng(1)
    pairs = [cells(rng) for _ in range(8)]
    predicted, truth = [p for _, p in pairs], [t for t, _ in pairs]
    one, two = (evaluate(predicted, truth, scores=["dice", "v_rand", "pixel_error"]) for _ in range(2))
    assert one == two
    for score in one.summary.values():
        assert score.low <= score.value <= score.high
        assert score.low < score.high
    assert one.images[0].scores["dice"].low is None
    alone = evaluate(predicted[:1], truth[:1], scores=["dice"]).summary["dice"]
    assert (alone.low, alone.high) == (None, None)


def test_comparison_finds_the_better_of_two():
    rng = np.random.default_rng(1)
    truth = [cells(rng)[0] for _ in range(12)]
    good = [np.clip(t / 255 * 0.8 + rng.normal(0.1, 0.1, t.shape), 0, 1) for t in truth]
    poor = [np.clip(t / 255 * 0.5 + rng.normal(0.25, 0.3, t.shape), 0, 1) for t in truth]
    found = compare(good, poor, truth, scores=["pixel_error", "dice"])
    for difference in found.differences.values():
        assert difference.better == "first"
        assert difference.p_value < 0.01
        assert difference.low <= difference.value <= difference.high
    assert found.differences["dice"].value > 0 > found.differences["pixel_error"].value
    assert found.first.summary["dice"].value == found.differences["dice"].first
    back = compare(poor, good, truth, scores=["dice"]).differences["dice"]
    assert (back.better, back.value) == ("second", pytest.approx(-found.differences["dice"].value))
    json.loads(found.to_json(), parse_constant=pytest.fail)


def test_comparison_of_equals_finds_nothing():
    rng = np.random.default_rng(2)
    truth = [cells(rng)[0] for _ in range(10)]
    one, two = ([np.clip(t / 255 + rng.normal(0, 0.3, t.shape), 0, 1) for t in truth] for _ in range(2))
    difference = compare(one, two, truth, scores=["dice"]).differences["dice"]
    assert difference.p_value > 0.05
    same = compare(one, one, truth, scores=["dice"]).differences["dice"]
    assert (same.value, same.p_value, same.better) == (0, 1, None)


def test_exact_p_value_of_few_images():
    truth = np.zeros((4, 10, 10), int)
    truth[:, 2:8, 2:8] = 1
    poor = np.roll(truth, 1, axis=1)
    # all four images favour one side: 2 of the 2**4 ways to swap them are as extreme
    difference = compare(list(truth), list(poor), list(truth), scores=["dice"]).differences["dice"]
    assert difference.p_value == pytest.approx(2 / 16)


def test_comparison_needs_a_score_on_both_sides():
    empty = np.zeros((3, 3), np.uint8)
    one = np.ones((3, 3), np.uint8)
    differences = compare(one, empty, empty, scores=["dice", "v_rand", "tra"]).differences
    assert differences["v_rand"].reason == "the truth has no white pixel"
    assert differences["tra"].reason == "no image on which both are defined"


def test_files_of_two_tools_are_compared_by_their_truth(tmp_path):
    """Their names differ, and so does their order."""
    for number, end in ((1, "first"), (2, "second")):
        truth = np.zeros((12, 12), int)
        truth[2:8, 2:8] = 1
        write_labels(tmp_path / "t" / f"c{number}.tif", truth)
        write_labels(tmp_path / "a" / f"c{number}_labels.tif", truth)
        poor = np.roll(truth, number, axis=0)
        write_labels(tmp_path / "b" / f"{'z' if number == 1 else 'a'}_c{number}_mask_{end}.tif", poor)
    found = compare(tmp_path / "a", tmp_path / "b", tmp_path / "t", scores=["iou"])
    assert found.differences["iou"].better == "first"
    assert [image.scores["iou"].value for image in found.first.images] == [1, 1]
    assert [image.scores["iou"].value for image in found.second.images] == [pytest.approx(5 / 7), pytest.approx(0.5)]


def test_comparison_refuses_other_images(tmp_path):
    """A drawing lies in all pages: there are as many truths as somebody predicted."""
    corners = [[2, 2], [8, 2], [8, 8], [2, 8], [2, 2]]
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}, "properties": {}}
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "x.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [shape]}))
    for folder, pages in (("a", 3), ("b", 2)):
        write_labels(tmp_path / folder / "x_labels.tif", np.ones((pages, 12, 12), int))
    line = "must predict the same images, got x_0002 of the truth in {} alone; predict all with both"
    with pytest.raises(ContractileError, match=line.format("predicted")):
        compare(tmp_path / "a", tmp_path / "b", tmp_path / "t")
    with pytest.raises(ContractileError, match=line.format("other")):
        compare(tmp_path / "b", tmp_path / "a", tmp_path / "t")


def boxes(*places):
    """Images of 40 x 40 pixels, each with a square at a place; empty at None."""
    images = np.zeros((len(places), 40, 40), np.int32)
    for image, place in zip(images, places, strict=True):
        if place is not None:
            image[place : place + 8, 10:18] = 1
    return list(images)


def test_an_image_on_which_one_side_has_no_distance_is_left_out():
    """Who predicts nothing where it is hard would win else."""
    truth = boxes(10, 10, 10)
    found = compare(boxes(11, 10, None), boxes(11, 10, 30), truth, scores=["hd95", "dice"]).differences
    assert found["hd95"].first == found["hd95"].second == 0.5
    assert (found["hd95"].value, found["hd95"].better) == (0, None)
    alone = compare(boxes(None, 10), boxes(10, None), truth[:2], scores=["hd95"]).differences["hd95"]
    assert (alone.value, alone.reason) == (None, "no image on which both are defined")


def test_pooled_scores_keep_an_image_that_is_empty_for_one_side():
    """There, an object that only the other side invented counts against it."""
    truth = boxes(10, 10, None)
    found = compare(boxes(10, 10, None), boxes(10, 10, 30), truth, scores=["ap", "dice"])
    for key in ("ap", "dice"):
        assert found.differences[key].better == "first"
        assert found.differences[key].second == found.second.summary[key].value < 1


def test_no_interval_from_a_single_image_with_a_score():
    """Others, on which it is undefined, say nothing about how certain it is."""
    truth, predicted = boxes(10, 10, 10), boxes(12, None, None)
    score = evaluate(predicted, truth, scores=["hd95"]).summary["hd95"]
    assert (score.value, score.low, score.high) == (2, None, None)
    two = evaluate(boxes(12, 10, None), truth, scores=["hd95"]).summary["hd95"]
    assert (two.value, two.low, two.high) == (1, 0, 2)
    found = compare(predicted, boxes(11, 10, 10), truth, scores=["hd95"]).differences["hd95"]
    assert (found.value, found.low, found.high) == (1, None, None)
