import json
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from references import SHARED, load_shared, needs_shared, stored_scenes, stored_values

from contractile.evaluate import GROUPS, TITLES, EvaluateConfig, compare, evaluate
from contractile.evaluate.keys import KEYS
from contractile.images import write_labels, write_probabilities

ISSUE_KEYS = {
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


def nuclei(*kinds):
    """Predicted and true labels of one image of nuclei."""
    return [stored_scenes()[f"matching_0_{kind}"] for kind in kinds]


def cells(rng, shape=(24, 24)):
    """A grid of square cells behind one-pixel membranes: truth 0 / 255 and a noisy P(white)."""
    truth = np.full(shape, 255, np.uint8)
    truth[::8], truth[:, ::8] = 0, 0
    noise = rng.normal(0, 0.2, shape)
    return truth, np.clip(truth / 255 * 0.6 + 0.2 + noise, 0, 1).astype(np.float32)


def values(evaluation):
    return {key: score.value for key, score in evaluation.summary.items()}


# what it says


def test_every_key_of_the_field_is_known_and_has_a_title():
    assert set(KEYS) >= ISSUE_KEYS
    assert set(KEYS) == set(TITLES) == {key for keys in GROUPS.values() for key in keys}


def test_importing_it_is_cheap():
    code = "import sys, contractile.evaluate; print(sorted({'numba', 'torch'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


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
    said = evaluate(predicted, truth, config=EvaluateConfig(classes=(0, 1, 2, 3))).summary
    assert said["iou"].detail["by_class"] == [1, 0.5, 0, None]
    assert said["iou"].value == pytest.approx(0.5)
    probabilities = np.stack([truth == v for v in range(3)]).astype(np.float32)
    assert evaluate(probabilities, truth).summary["dice"].value == 1
    assert (
        evaluate(truth, truth, scores=["ap", "ctc", "surface"])
        .summary["ap"]
        .reason.startswith("needs objects")
    )


def test_objects_of_a_two_valued_truth_are_its_connected_parts():
    truth, _ = cells(np.random.default_rng(0))
    found = evaluate(
        (truth / 255).astype(np.float32), truth, scores=["ap", "seg", "det", "adapted_rand"]
    ).summary
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
    assert set(parsed["summary"]) >= ISSUE_KEYS
    assert parsed["summary"]["tra"]["value"] is None
    assert "needs tracks" in parsed["summary"]["tra"]["reason"]
    assert parsed["images"][0]["name"] == "nuclei"
    assert parsed["images"][0]["scores"]["ap"]["value"] == parsed["summary"]["ap"]["value"]


def test_progress_is_told():
    told = []
    one = np.ones((2, 2), int)
    evaluate([one] * 3, [one] * 3, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


# what it refuses


@pytest.mark.parametrize(
    ("predicted", "truth", "more", "message"),
    [
        (
            np.ones((2, 3), int),
            np.ones((3, 2), int),
            {},
            r"predicted image 0: predicted \(2, 3\) pixels for a truth of",
        ),
        (
            [np.ones((2, 2), int)] * 2,
            [np.ones((2, 2), int)],
            {},
            r"as many images \(not 0\), got 2 and 1; pass one",
        ),
        ([], [], {}, r"as many images \(not 0\), got 0 and 0"),
        (
            np.ones((2, 2), int),
            np.ones((2, 2)),
            {},
            r"true image 0: must hold integer labels, got float64; convert",
        ),
        (
            np.full((2, 2), 1.5),
            np.ones((2, 2), int),
            {},
            r"predicted image 0: probabilities must lie in \[0, 1\], got 1.5",
        ),
        (np.full((2, 2), np.nan), np.ones((2, 2), int), {}, r"probabilities must lie in \[0, 1\], got nan"),
        (
            np.ones((2, 2, 2, 2)),
            np.ones((2, 2), int),
            {},
            r"integer labels \(\*S\) or probabilities .* check the order",
        ),
        (
            np.full((2, 2), -1),
            np.ones((2, 2), int),
            {},
            r"predicted image 0: predicted labels must be 0 .* got -1; only",
        ),
        (
            "a.tif",
            np.ones((2, 2), int),
            {},
            r"must both be paths or both be arrays, got str and ndarray; read files",
        ),
        (
            np.ones((2, 2), int),
            np.ones((2, 2), int),
            {"names": ["a", "b"]},
            r"one name of its own per image, got a, b for 1",
        ),
        (
            np.ones((2, 2), int),
            np.ones((2, 2), int),
            {"scores": ["dise"]},
            r"scores must be among isbi.* got dise; correct",
        ),
        (np.ones((2, 2), int), np.ones((2, 2), int), {"scores": []}, r"scores must be among .* got none"),
        (
            np.ones((2, 2)) / 2,
            np.array([[1, 2], [0, 3]]),
            {"scores": ["ap"]},
            r"predicted image 0: ap need object labels, got probabilities; predict with --save labels",
        ),
        (
            np.ones((2, 2, 2)) / 2,
            np.array([[1, 1], [0, 1]]),
            {"config": EvaluateConfig(white=2)},
            r"predicted image 0: white must name one of the classes 0 ... 1, got 2",
        ),
        (
            np.ones((2, 2, 2)) / 2,
            np.array([[1, 2], [0, 1]]),
            {"config": EvaluateConfig(classes=(0, 1, 2))},
            r"image 0: probabilities must hold one class for each value of \(0, 1, 2\), got 2; give",
        ),
        (
            np.ones((8, 8), int),
            np.array([[1, 2], [0, 1]]).repeat(4, axis=0).repeat(4, axis=1),
            {"scores": ["seg"], "config": EvaluateConfig(border=9)},
            r"predicted image 0: border must be at least 0 and leave a field",
        ),
    ],
)
def test_refuses_in_one_clear_line(predicted, truth, more, message):
    with pytest.raises(ValueError, match=message) as caught:
        evaluate(predicted, truth, **more)
    assert "\n" not in str(caught.value)


# how sure it is


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


def test_comparison_refuses_other_images(tmp_path):
    for folder, name in (("a", "x"), ("b", "y")):
        write_labels(tmp_path / folder / f"{name}.tif", np.ones((4, 4), int))
    write_labels(tmp_path / "t" / "x.tif", np.ones((4, 4), int))
    with pytest.raises(
        ValueError, match="must predict the same images, got different names; predict all with both"
    ):
        compare(tmp_path / "a", tmp_path / "b", tmp_path / "t")


# files


def write_set(folder, arrays_by_name):
    for name, array in arrays_by_name.items():
        write_labels(folder / f"{name}.tif", array)


def test_folders_pair_by_name(tmp_path):
    mild, strong, true = nuclei("mild", "strong", "true")
    write_set(tmp_path / "truth", {"img_1_mask": true, "img_2_mask": true})
    write_set(tmp_path / "predicted", {"img_2_labels": strong, "img_1_labels": mild})
    found = evaluate(tmp_path / "predicted", str(tmp_path / "truth"))
    assert [image.name for image in found.images] == ["img_1", "img_2"]
    assert values(found) == pytest.approx(values(evaluate([mild, strong], [true, true])))
    files = evaluate([tmp_path / "predicted" / "img_1_labels.tif"], [tmp_path / "truth" / "img_1_mask.tif"])
    assert values(files) == pytest.approx(values(evaluate(mild, true)))


@pytest.mark.parametrize("names", [("t001", "t002"), ("a001", "a002_x")])
def test_folders_pair_by_number(tmp_path, names):
    one, two = nuclei("mild", "true")
    write_set(tmp_path / "truth", {"man_seg001": one, "man_seg002": two})
    write_set(
        tmp_path / "predicted",
        {f"{name}_labels": array for name, array in zip(names, (one, two), strict=True)},
    )
    assert evaluate(tmp_path / "predicted", tmp_path / "truth", scores=["ap"]).summary["ap"].value == 1


def test_labels_and_probabilities_of_one_image_are_both_used(tmp_path):
    truth, white = cells(np.random.default_rng(0))
    write_labels(tmp_path / "out" / "em_labels.tif", (white > 0.7).astype(np.uint8))
    write_probabilities(tmp_path / "out" / "em_probabilities.tif", np.stack([1 - white, white]))
    tifffile.imwrite(tmp_path / "out" / "em_overlay.tif", np.zeros((24, 24, 3), np.uint8))
    write_labels(tmp_path / "truth.tif", truth)
    found = values(evaluate(tmp_path / "out", tmp_path / "truth.tif"))
    assert found["v_rand"] == pytest.approx(evaluate(white, truth).summary["v_rand"].value)
    assert found["dice"] == pytest.approx(evaluate((white > 0.7) * 1, truth).summary["dice"].value)


def test_stacks_pair_by_page(tmp_path):
    rng = np.random.default_rng(0)
    truth, white = (np.stack(side) for side in zip(*[cells(rng) for _ in range(3)], strict=True))
    write_labels(tmp_path / "train-labels.tif", truth)
    for name, stack in (("2x_map.tif", white), ("2x_bytes.tif", np.rint(white * 255).astype(np.uint8))):
        tifffile.imwrite(tmp_path / name, stack, photometric="minisblack", metadata={"axes": "ZYX"})
        found = evaluate(tmp_path / name, tmp_path / "train-labels.tif", config=QUICK)
        assert len(found.images) == 3
        assert values(found) == pytest.approx(values(evaluate(list(white), list(truth))), abs=0.02)
    write_probabilities(tmp_path / "p_probabilities.tif", np.stack([1 - white, white], axis=1))
    found = evaluate(tmp_path / "p_probabilities.tif", tmp_path / "train-labels.tif", config=QUICK)
    assert values(found) == pytest.approx(values(evaluate(list(white), list(truth))))


def test_pixel_size_comes_from_the_file(tmp_path):
    true, pred = np.zeros((30, 30), int), np.zeros((30, 30), int)
    true[5:15, 5:15], pred[8:18, 5:15] = 1, 1
    write_labels(tmp_path / "t.tif", true, pixel_size_um=(0.5, 0.5))
    write_labels(tmp_path / "p.tif", pred)
    found = evaluate(tmp_path / "p.tif", tmp_path / "t.tif", scores=["hausdorff"]).summary
    assert found["hausdorff"].value == pytest.approx(1.5)


def test_missing_and_extra_files_are_named(tmp_path):
    one = np.ones((4, 4), int)
    write_set(tmp_path / "truth", {name: one for name in "abcde"})
    write_set(tmp_path / "predicted", {name: one for name in "abf"})
    with pytest.raises(
        ValueError, match=r"predicted: no prediction for c, d, e of .*truth; predict these images too"
    ):
        evaluate(tmp_path / "predicted", tmp_path / "truth")
    write_set(tmp_path / "predicted", {name: one for name in "cde"})
    with pytest.raises(
        ValueError, match=r"truth: no truth for f of .*predicted; move these predictions away"
    ):
        evaluate(tmp_path / "predicted", tmp_path / "truth")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate(tmp_path / "nowhere", tmp_path / "truth")


def test_two_predictions_of_one_image_are_refused(tmp_path):
    one = np.ones((4, 4), int)
    write_set(tmp_path / "predicted", {"a": one, "a_labels": one})
    write_set(tmp_path / "truth", {"a": one})
    with pytest.raises(ValueError, match=r"a second prediction of one image beside .*; move one away"):
        evaluate(tmp_path / "predicted", tmp_path / "truth")


def test_labels_and_probabilities_of_different_size_are_refused(tmp_path):
    write_labels(tmp_path / "out" / "a_labels.tif", np.ones((4, 4), int))
    write_probabilities(tmp_path / "out" / "a_probabilities.tif", np.ones((2, 5, 5)) / 2)
    write_labels(tmp_path / "a.tif", np.ones((4, 4), int))
    with pytest.raises(
        ValueError, match=r"must have the same size, got \(4, 4\) and \(5, 5\); predict both again"
    ):
        evaluate(tmp_path / "out", tmp_path / "a.tif")


def test_files_that_are_no_labels_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "map.tif", np.random.default_rng(0).random((8, 8), np.float32))
    write_labels(tmp_path / "labels.tif", np.arange(64).reshape(8, 8))
    with pytest.raises(ValueError, match=r"map.tif.* whole numbers"):
        evaluate(tmp_path / "labels.tif", tmp_path / "map.tif")
    with pytest.raises(ValueError, match=r"map.tif: ap need object labels, got probabilities"):
        evaluate(tmp_path / "map.tif", tmp_path / "labels.tif", scores=["ap"])


def test_label_files_of_any_kind_are_taken(tmp_path):
    truth = nuclei("true")[0]
    write_labels(tmp_path / "t.tif", truth)
    for dtype in (np.uint8, np.uint16, np.float32):
        tifffile.imwrite(tmp_path / "p.tif", truth.astype(dtype))
        assert evaluate(tmp_path / "p.tif", tmp_path / "t.tif", scores=["ap"]).summary["ap"].value == 1


# Cell Tracking Challenge


def write_challenge(tmp_path, record, *, digits=3):
    scenes = stored_scenes()
    for name, scene in scenes.items():
        kind, frame = name.split("_")[1:3] if name.startswith(("ctc_SEG", "ctc_TRA")) else (None, None)
        if kind:
            file = f"man_seg{frame}.tif" if kind == "SEG" else f"man_track{frame}.tif"
            write_labels(tmp_path / "01_GT" / kind / file, scene)
    for frame, mask in enumerate(scenes["ctc_" + record["result"]]):
        write_labels(tmp_path / "01_RES" / f"mask{frame:0{digits}d}.tif", mask)
    (tmp_path / "01_RES" / "res_track.txt").write_text(record["tracks"])
    (tmp_path / "01_GT" / "TRA" / "man_track.txt").write_text(stored_values()["ctc"]["true_tracks"])
    return tmp_path / "01_RES", tmp_path / "01_GT"


@pytest.mark.parametrize("record", stored_values()["ctc"]["records"], ids=lambda r: r["result"])
def test_result_folder_against_the_challenge(tmp_path, record):
    found = evaluate(*write_challenge(tmp_path, record), config=QUICK)
    expected = [record[key] for key in ("seg", "det", "tra")]
    assert [found.summary[key].value for key in ("seg", "det", "tra")] == pytest.approx(expected, abs=1e-6)
    assert [image.name for image in found.images] == ["t000", "t001", "t002", "t003"]
    frame = found.images[1].scores
    assert frame["seg"].reason == "this frame is not in the folder SEG of the truth"
    assert frame["tra"].reason == "a score of whole sequences"


def test_result_folder_without_tracks_or_truth(tmp_path):
    record = stored_values()["ctc"]["records"][0]
    predicted, truth = write_challenge(tmp_path, record)
    (predicted / "res_track.txt").unlink()
    found = evaluate(predicted, truth).summary
    assert found["det"].value == pytest.approx(record["det"], abs=1e-6)
    assert found["tra"].reason.startswith("needs res_track.txt")
    for file in (truth / "TRA").iterdir():
        file.unlink()
    (truth / "TRA").rmdir()
    found = evaluate(predicted, truth).summary
    assert found["seg"].value == pytest.approx(record["seg"], abs=1e-6)
    assert found["tra"].value is None


def test_tracking_truth_alone_and_other_groups(tmp_path):
    record = stored_values()["ctc"]["records"][0]
    predicted, truth = write_challenge(tmp_path, record)
    assert set(evaluate(predicted, truth, scores=["dice"]).summary) == {"dice"}
    for file in (truth / "SEG").iterdir():
        file.unlink()
    (truth / "SEG").rmdir()
    found = evaluate(predicted, truth).summary
    assert found["tra"].value == pytest.approx(record["tra"], abs=1e-6)
    assert found["seg"].reason == "needs the folder SEG in the truth"


def test_result_folder_errors_name_the_file(tmp_path):
    record = stored_values()["ctc"]["records"][0]
    predicted, truth = write_challenge(tmp_path, record)
    (predicted / "res_track.txt").write_text("1 0 2\n")
    with pytest.raises(ValueError, match=r"res_track.txt: line 1 must be four whole numbers"):
        evaluate(predicted, truth)
    (predicted / "res_track.txt").write_text("1 0 2 0\n")
    with pytest.raises(ValueError, match=r"res_track.txt: frame 0 holds label 2, which must have a track"):
        evaluate(predicted, truth)
    write_labels(predicted / "mask002.tif", np.ones((3, 3), int))
    with pytest.raises(ValueError, match=r"mask002.tif: predicted \(3, 3\) pixels for a truth of \(20, 30\)"):
        evaluate(predicted, truth)
    (predicted / "mask002.tif").unlink()
    with pytest.raises(ValueError, match=r"01_RES: no mask for frame 2 of .*01_GT; predict all frames"):
        evaluate(predicted, truth)
    write_labels(predicted / "nameless.tif", np.ones((3, 3), int))
    with pytest.raises(
        ValueError, match=r"nameless.tif: the name must end in the number of its frame; rename it"
    ):
        evaluate(predicted, truth)


def test_volumes_of_the_challenge_annotated_slice_by_slice(tmp_path):
    volume = np.zeros((5, 12, 12), int)
    volume[1:4, 2:6, 2:6] = 1
    write_labels(tmp_path / "01_RES" / "mask000.tif", volume)
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg_000_002.tif", volume[2])
    missed = volume[2].copy()
    missed[8:10, 8:10] = 2
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg_000_003.tif", missed)
    found = evaluate(tmp_path / "01_RES", tmp_path / "01_GT", scores=["seg"], config=EvaluateConfig(dims=3))
    assert [image.scores["seg"].value for image in found.images] == [1, 0.5]
    write_labels(tmp_path / "02_GT" / "SEG" / "man_seg000.tif", volume)
    found = evaluate(tmp_path / "01_RES", tmp_path / "02_GT", scores=["seg"], config=EvaluateConfig(dims=3))
    assert found.summary["seg"].value == 1


def test_field_of_interest(tmp_path):
    record = stored_values()["ctc"]["records"][4]
    predicted, truth = write_challenge(tmp_path, record)
    found = evaluate(predicted, truth, config=EvaluateConfig(border=6))
    whole = evaluate(predicted, truth)
    assert found.summary["tra"].value == found.summary["seg"].value == 1
    assert found.summary["tra"].detail["vertices"] < whole.summary["tra"].detail["vertices"]


@needs_shared
def test_a_whole_sequence_of_the_challenge():
    [record] = [
        r for r in load_shared("ctc", "ctc.json")["records"] if r["result_dir"].endswith("RES_all_errors")
    ]
    found = evaluate(
        SHARED / "ctc" / record["result_dir"], SHARED / "ctc" / record["ground_truth"], config=QUICK
    )
    for name in ("SEG", "DET", "TRA"):
        expected = float(record["official_binary"][name].split(":")[1])
        assert found.summary[name.lower()].value == pytest.approx(expected, abs=1e-6)
