import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import cells, nuclei, stored_scenes, stored_values

from contractile.dataset import Example
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import find_meaning
from contractile.metrics import GROUPS, METRICS
from contractile.recipe import survey

FIELD = {
    "pixel_error",
    "warping_error",
    "rand_error",
    "v_rand",
    "v_info",
    "seg",
    "det",
    "tra",
    "ap",
    "f1",
    "pq",
    "aji",
    "dice",
    "iou",
    "adapted_rand",
    "voi_split",
    "voi_merge",
    "hausdorff",
    "hd95",
    "assd",
    "surface_dice",
}
QUICK = EvaluateConfig(resamples=50)


def values(evaluation):
    return {key: score.value for key, score in evaluation.summary.items()}


def test_every_score_of_the_field_is_known():
    assert set(METRICS) >= FIELD


def test_importing_it_is_cheap():
    code = "import sys, contractile.evaluation; print(sorted({'numba', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_objects_get_the_scores_of_objects():
    predicted, truth = nuclei("mild", "true")
    found = evaluate(predicted, truth)
    assert set(found.summary) == {*GROUPS["overlap"], *GROUPS["ap"], "seg", "det"}
    record = stored_values()["matching"][0]
    assert found.summary["ap"].value == pytest.approx(record["stardist"][0]["accuracy"])
    assert found.summary["ap"].detail["by_iou"] == pytest.approx([r["accuracy"] for r in record["stardist"]])
    assert found.summary["f1"].detail["tp"] == [r["tp"] for r in record["stardist"]]
    assert found.summary["pq"].detail["mean_true_iou"] == pytest.approx(
        [r["mean_true_score"] for r in record["stardist"]], abs=1e-6
    )
    assert found.summary["adapted_rand"].value == pytest.approx(record["adapted_rand"][0])
    assert found.summary["matched_jaccard"].value == pytest.approx(record["cellpose_jaccard"])


def test_two_valued_truth_gets_the_scores_of_membranes():
    truth, white = cells(np.random.default_rng(0))
    for predicted in (white, white[None], np.stack([1 - white, white])):
        found = evaluate(predicted, truth)
        assert set(found.summary) == {*GROUPS["overlap"], *GROUPS["isbi"]}
        assert values(found) == pytest.approx(values(evaluate(white, truth > 0)))
    flipped = evaluate(np.stack([white, 1 - white]), truth, config=EvaluateConfig(white=0))
    assert values(flipped) == pytest.approx(values(found))


def test_isbi_scores_take_one_threshold_for_the_set():
    record = stored_values()["isbi"]["records"][3]
    scenes = stored_scenes()
    proposal, truth = scenes["isbi_" + record["proposal"]], scenes["isbi_" + record["truth"]]
    found = evaluate([proposal, truth.astype(np.float32)], [truth, truth], scores=["isbi"], config=QUICK)
    assert found.images[0].scores["v_rand"].value == pytest.approx(record["v_rand"])
    assert found.images[1].scores["v_rand"].value == pytest.approx(1)
    assert found.summary["v_rand"].value == pytest.approx((1 + record["v_rand"]) / 2)
    detail = found.summary["v_rand"].detail
    assert len(detail["by_threshold"]) == 11
    assert detail["by_threshold"][round(detail["threshold"] * 10)] == found.summary["v_rand"].value


def test_pooled_and_mean_over_images_are_kept_apart():
    many, one = np.arange(1, 26).reshape(5, 5), np.ones((5, 5), int)
    found = evaluate([many, np.zeros_like(one)], [many, one], scores=["ap"], config=QUICK).summary
    assert found["ap"].value == pytest.approx(25 / 26)
    assert found["ap"].detail["rule"] == "pooled over the set"
    assert found["ap_image_mean"].value == pytest.approx(1 / 2)
    assert found["ap_image_mean"].detail["rule"] == "mean over images"
    assert found["aji"].value == pytest.approx(25 / 50)
    assert found["aji_image_mean"].value == pytest.approx(1 / 2)


def test_classes_are_seen_or_said():
    truth = np.tile(np.array([[0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 0, 2]]), (3, 1))
    predicted = np.where(truth == 2, 1, truth)
    found = evaluate(predicted, truth).summary
    assert found["iou"].detail["by_class"] == [1, 0.5, 0]
    assert found["iou"].value == pytest.approx(0.5)
    assert found["adapted_rand"].value is None
    assert found["adapted_rand"].reason == "needs objects, and the truth holds classes"
    assert evaluate(predicted, truth, config=EvaluateConfig(objects=True)).summary["pq"].value is not None
    said = evaluate(predicted, truth, config=EvaluateConfig(classes=(0, 1, 2, 3))).summary
    assert said["iou"].detail["by_class"] == [1, 0.5, 0, None]
    assert said["iou"].value == pytest.approx(0.5)
    probabilities = np.stack([truth == v for v in range(3)]).astype(np.float32)
    assert evaluate(probabilities, truth).summary["dice"].value == 1
    assert evaluate(truth, truth, scores=["ap", "ctc", "surface"]).summary["ap"].reason.startswith("needs objects")


def blobs(*values):
    """One image with a square of each value, in a row."""
    image = np.zeros((8, 8 * len(values)), np.int32)
    for i, value in enumerate(values):
        image[1:7, 8 * i + 1 : 8 * i + 7] = value
    return image


@pytest.mark.parametrize(
    ("truths", "task", "class_values"),
    [
        ([blobs(255, 255)], "classes", (0, 255)),
        ([blobs(1, 2, 1, 2)], "classes", (0, 1, 2)),
        ([blobs(1, 2)], "objects", ()),
        ([blobs(*range(1, 21), *range(1, 21))], "classes", tuple(range(21))),
        ([np.stack(4 * [blobs(1, 2)])], "objects", ()),
        ([blobs(1, 2, 3), blobs(1, 2, 3, 4)], "objects", ()),
    ],
    ids=["one class", "2 classes of 2 blobs", "2 objects", "20 classes of 2 blobs", "2 objects in a volume", "objects"],
)
def test_labels_mean_the_same_in_training_and_evaluation(truths, task, class_values):
    meaning = find_meaning(truths)
    assert (meaning.task, meaning.class_values) == (task, class_values)
    known = survey([Example(str(i), truth[None].astype(np.float32), truth) for i, truth in enumerate(truths)])
    assert (known.task, known.class_values) == (task, class_values)
    summary = evaluate(truths, truths, config=QUICK).summary
    assert ("ap" in summary) == (task == "objects")
    assert ("v_rand" in summary) == (len(class_values) == 2)
    assert len(summary["iou"].detail["by_class"]) == (len(class_values) if len(class_values) > 2 else 1)


def test_objects_of_a_two_valued_truth_are_its_connected_parts():
    truth, _ = cells(np.random.default_rng(0))
    found = evaluate((truth / 255).astype(np.float32), truth, scores=["ap", "seg", "det", "adapted_rand"]).summary
    assert found["ap"].detail["tp"][0] == 9
    assert all(found[key].value == pytest.approx(1) for key in ("ap", "pq", "seg", "det"))
    assert found["adapted_rand"].value == pytest.approx(0)


def test_ignored_pixels_count_nowhere():
    predicted, truth = nuclei("mild", "true")
    partly = truth.astype(np.int32)
    partly[:, 128:] = -1
    whole = evaluate(predicted[:, :128], truth[:, :128])
    assert values(evaluate(predicted, partly)) == pytest.approx(values(whole))
    said = np.where(partly < 0, 255, partly).astype(np.uint8)
    found = evaluate(predicted, said, config=EvaluateConfig(ignore_label=255))
    assert values(found) == pytest.approx(values(whole))
    marked = np.where(np.arange(24) < 3, -1, cells(np.random.default_rng(0))[0].astype(int))
    found = evaluate((marked > 0).astype(np.uint8), marked, scores=["isbi", "dice"]).summary
    assert found["dice"].value == 1
    assert "ignored pixels" in found["v_rand"].reason


def test_surface_scores_know_the_pixel_size():
    true, pred = np.zeros((30, 30), int), np.zeros((30, 30), int)
    true[5:15, 5:15], pred[8:18, 5:15] = 1, 1
    one = evaluate(pred, true, scores=["surface"]).summary
    half = evaluate(pred, true, scores=["surface"], config=EvaluateConfig(pixel_size=(0.5, 0.5))).summary
    assert one["hausdorff"].value == 3
    assert half["hausdorff"].value == 1.5
    assert one["surface_dice"].value == pytest.approx(half["surface_dice"].value)
    wide = evaluate(pred, true, scores=["surface_dice"], config=EvaluateConfig(tolerance=3.0)).summary
    assert wide["surface_dice"].value == 1


def test_volumes():
    truth = np.zeros((4, 12, 12), int)
    truth[1:3, 2:6, 2:6], truth[:, 8:11, 3:9] = 1, 2
    found = evaluate(truth, truth, scores=["overlap", "ap", "seg", "surface"]).summary
    perfect = [found[key].value for key in ("dice", "ap", "seg", "surface_dice")]
    assert perfect == [1, 1, 1, 1]
    membranes = (truth > 0).astype(np.float32)
    assert evaluate(membranes, (truth > 0) * 255, scores=["v_rand"]).summary["v_rand"].value == 1


labels = arrays(np.int32, (8, 8), elements=st.integers(0, 3))


@settings(max_examples=25)
@given(labels, labels)
def test_never_nan_and_always_a_reason(predicted, truth):
    found = evaluate([predicted], [truth], scores=[*GROUPS], config=QUICK)
    json.loads(found.to_json(), parse_constant=pytest.fail)
    for score in (*found.summary.values(), *found.images[0].scores.values()):
        assert (score.value is None) == (score.reason is not None)


def test_empty_truth_is_undefined_with_the_reason():
    empty = np.zeros((6, 6), np.uint8)
    found = evaluate(empty.astype(np.float32), empty, scores=["isbi", "ap", "seg", "surface", "dice"]).summary
    for key in ("v_rand", "v_info", "rand_error"):
        assert (found[key].value, found[key].reason) == (None, "the truth has no white pixel")
    assert found["ap"].reason == "neither truth nor prediction holds an object"
    assert found["seg"].reason == "the truth holds no object"
    assert found["dice"].reason == "truth and prediction are both empty"
    assert "there is no outline" in found["hausdorff"].reason
    assert evaluate(np.eye(6, dtype=np.uint8), empty, scores=["ap"]).summary["ap"].value == 0


def test_undefined_images_are_left_out_of_the_mean():
    one, empty = np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    found = evaluate([one, one], [one, empty], scores=["v_rand", "seg"], config=QUICK)
    assert found.summary["v_rand"].value == found.summary["seg"].value == 1
    assert found.images[1].scores["v_rand"].value is None


def test_json_holds_the_keys():
    predicted, truth = nuclei("mild", "true")
    text = evaluate(predicted, truth, names=["nuclei"], scores=[*GROUPS]).to_json()
    parsed = json.loads(text)
    assert set(parsed) >= FIELD
    assert parsed["tra"] is None
    assert "needs tracks" in parsed["reasons"]["tra"]
    assert parsed["images"][0]["name"] == "nuclei"
    assert parsed["images"][0]["ap"] == parsed["ap"]


def test_progress_is_told():
    told = []
    one = np.ones((2, 2), int)
    evaluate([one] * 3, [one] * 3, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
