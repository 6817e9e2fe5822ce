import json

import numpy as np
import pytest
import tifffile
from PIL import Image
from scenes import cells, nuclei

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.images import write_labels, write_probabilities

QUICK = EvaluateConfig(resamples=50)


def values(evaluation):
    return {key: score.value for key, score in evaluation.summary.items()}


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
    for name, stack in (("2x_map.tif", white), ("2x_prob.tif", np.rint(white * 255).astype(np.uint8))):
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
        ContractileError, match=r"predicted: no prediction for c, d, e of .*truth; predict these images too"
    ):
        evaluate(tmp_path / "predicted", tmp_path / "truth")
    write_set(tmp_path / "predicted", {name: one for name in "cde"})
    with pytest.raises(ContractileError, match=r"truth: no truth for f of .*predicted; move these predictions away"):
        evaluate(tmp_path / "predicted", tmp_path / "truth")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        evaluate(tmp_path / "nowhere", tmp_path / "truth")


def test_two_predictions_of_one_image_are_refused(tmp_path):
    one = np.ones((4, 4), int)
    write_set(tmp_path / "predicted", {"a_labels": one})
    tifffile.imwrite(tmp_path / "predicted" / "a_labels.tiff", one.astype(np.uint8))
    write_set(tmp_path / "truth", {"a": one})
    with pytest.raises(ContractileError, match=r"a second prediction of one image beside .*; move one away"):
        evaluate(tmp_path / "predicted", tmp_path / "truth")


def test_labels_and_probabilities_of_different_size_are_refused(tmp_path):
    write_labels(tmp_path / "out" / "a_labels.tif", np.ones((4, 4), int))
    write_probabilities(tmp_path / "out" / "a_probabilities.tif", np.ones((2, 5, 5)) / 2)
    write_labels(tmp_path / "a.tif", np.ones((4, 4), int))
    with pytest.raises(
        ContractileError, match=r"must have the same size, got \(4, 4\) and \(5, 5\); predict both again"
    ):
        evaluate(tmp_path / "out", tmp_path / "a.tif")


def test_files_that_are_no_labels_are_named(tmp_path):
    tifffile.imwrite(tmp_path / "map.tif", np.random.default_rng(0).random((8, 8), np.float32))
    write_labels(tmp_path / "labels.tif", np.arange(64).reshape(8, 8))
    with pytest.raises(ContractileError, match=r"map.tif.* whole numbers"):
        evaluate(tmp_path / "labels.tif", tmp_path / "map.tif")
    with pytest.raises(ContractileError, match=r"map.tif: ap need object labels, got probabilities"):
        evaluate(tmp_path / "map.tif", tmp_path / "labels.tif", scores=["ap"])


def test_label_files_of_any_kind_are_taken(tmp_path):
    truth = nuclei("true")[0]
    write_labels(tmp_path / "t.tif", truth)
    for dtype in (np.uint8, np.uint16, np.float32):
        tifffile.imwrite(tmp_path / "p.tif", truth.astype(dtype))
        assert evaluate(tmp_path / "p.tif", tmp_path / "t.tif", scores=["ap"]).summary["ap"].value == 1


@pytest.mark.parametrize("ending", ["_Object Identities", "-data_Object Identities", "_Object-Identities"])
def test_what_ilastik_writes_pairs_with_its_truth(tmp_path, ending):
    """A time, a depth and a channel of length 1, and 32 bits, whatever the image was."""
    truth = nuclei("true")[0]
    for name in ("wild type 1", "mutant 1"):
        write_labels(tmp_path / "truth" / f"{name}.tif", truth)
        (tmp_path / "out").mkdir(exist_ok=True)
        file = tmp_path / "out" / f"{name}{ending}.tiff"
        tifffile.imwrite(file, truth.astype(np.uint32)[None, None, :, :, None], metadata={"axes": "TZYXC"})
    found = evaluate(tmp_path / "out", tmp_path / "truth", scores=["ap"], config=QUICK)
    assert found.summary["ap"].value == 1
    assert len(found.images) == 2


def test_what_is_said_of_one_file_is_said_of_the_others_too(tmp_path, caplog):
    mask = np.zeros((12, 12), np.uint8)
    mask[2:8, 3:9] = 1
    for folder, turned, orientation in (("predicted", 0, 1), ("truth", 90, 6)):
        (tmp_path / folder).mkdir()
        for name in "abc":
            picture = Image.fromarray(mask).rotate(turned, expand=True)
            exif = picture.getexif()
            exif[274] = orientation
            picture.save(tmp_path / folder / f"{name}.png", exif=exif)
    evaluate(tmp_path / "predicted", tmp_path / "truth", scores=["dice"])
    assert "b.png and 1 more, too: " in caplog.text


@pytest.mark.parametrize(
    ("shape", "axis", "said"), [((2, 12, 10), 0, ""), ((12, 2, 10), 1, "axes YCX, from the shape of the truth (--axes")]
)
def test_the_shape_of_the_truth_settles_the_axes(tmp_path, shape, axis, said, caplog):
    truth = np.zeros((12, 10), np.uint8)
    truth[2:8, 3:9] = 1
    maps = np.stack([truth == 0, truth > 0], axis=axis).astype(np.float32)
    assert maps.shape == shape
    for name in "ab":
        for folder, array in (("predicted", maps), ("truth", truth)):
            (tmp_path / folder).mkdir(exist_ok=True)
            np.save(tmp_path / folder / f"{name}.npy", array)
    found = evaluate(tmp_path / "predicted", tmp_path / "truth", scores=["dice"], config=QUICK)
    assert found.summary["dice"].value == 1
    about = [line for line in caplog.messages if "axes" in line]
    assert [line.startswith("a.npy: " + said) for line in about[:1]] == ([True] if said else [])
    assert not [line for line in about if "is read as" in line]  # the truth leaves no doubt


def draw_square(path):
    """A file of one shape, which lies in all pages of its image."""
    corners = [[2, 2], [8, 2], [8, 8], [2, 8], [2, 2]]
    shape = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [corners]}, "properties": {}}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [shape]}))


def test_shapes_are_predictions_of_each_page(tmp_path):
    draw_square(tmp_path / "a.geojson")
    truth = np.zeros((3, 12, 12), int)
    truth[:, 2:8, 2:8] = 1
    write_labels(tmp_path / "truth" / "a.tif", truth)
    found = evaluate(tmp_path / "a.geojson", tmp_path / "truth", scores=["seg"], config=EvaluateConfig(objects=True))
    assert [image.name for image in found.images] == ["a_0000", "a_0001", "a_0002"]


def test_a_guess_that_the_truth_does_not_settle_is_said(tmp_path, caplog):
    draw_square(tmp_path / "truth.geojson")
    np.save(tmp_path / "a.npy", np.full((2, 12, 12), 0.5))
    evaluate(tmp_path / "a.npy", tmp_path / "truth.geojson", scores=["dice"], config=QUICK)
    assert "a.npy: shape (2, 12, 12) is read as Y, X and 2 channels; --axes QYX reads it as 2 pages" in caplog.text


def test_a_page_of_a_stack_and_a_file_may_have_one_name(tmp_path):
    for folder in ("predicted", "truth"):
        write_labels(tmp_path / folder / "a.tif", np.ones((2, 6, 6), int))
        write_labels(tmp_path / folder / "a_0001.tif", np.ones((6, 6), int))
    assert len(evaluate(tmp_path / "predicted", tmp_path / "truth", scores=["dice"], config=QUICK).images) == 3


def test_pages_of_shapes_are_as_many_as_those_of_the_first_prediction(tmp_path):
    for folder in ("truth", "out"):
        (tmp_path / folder).mkdir()
    draw_square(tmp_path / "truth" / "a.geojson")
    tifffile.imwrite(tmp_path / "out" / "a_labels.tif", np.ones((12, 12), np.uint8))
    stack = np.ones((2, 12, 12), np.uint8)
    tifffile.imwrite(tmp_path / "out" / "a_labels.tiff", stack, imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(
        ContractileError, match=r"labels.tiff: has 2 page\(s\), and the truth .*a.geojson has 1; predict"
    ):
        evaluate(tmp_path / "out", tmp_path / "truth", scores=["dice"])


@pytest.mark.parametrize("images", [1, 2])
def test_pictures_of_a_prediction_are_no_labels(tmp_path, images):
    """The folder of `predict --save overlay`."""
    (true,) = nuclei("true")
    names = ["a", "b"][:images]
    write_set(tmp_path / "truth", dict.fromkeys(names, true))
    (tmp_path / "predicted").mkdir()
    for name in names:
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "predicted" / f"{name}_overlay.png")
    line = (
        r"predicted: holds no label files \(such as a_labels.tif\), only a_overlay.png.*; run predict with --save lab"
    )
    with pytest.raises(ContractileError, match=line):
        evaluate(tmp_path / "predicted", tmp_path / "truth")
