import numpy as np
import pytest
import tifffile
from scenes import stored_scenes, stored_values

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.images import read_labels, write_labels, write_probabilities

QUICK = EvaluateConfig(resamples=50)


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
    with pytest.raises(ContractileError, match=r"res_track.txt: line 1 must be four whole numbers"):
        evaluate(predicted, truth)
    (predicted / "res_track.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ContractileError, match=r"res_track.txt: line 1 must be four whole numbers"):
        evaluate(predicted, truth)
    (predicted / "res_track.txt").write_text("1 0 2 0\n")
    with pytest.raises(ContractileError, match=r"res_track.txt: frame 0 holds label 2, which must have a track"):
        evaluate(predicted, truth)
    write_labels(predicted / "mask002.tif", np.ones((3, 3), int))
    with pytest.raises(ContractileError, match=r"mask002.tif: predicted \(3, 3\) pixels for a truth of \(20, 30\)"):
        evaluate(predicted, truth)
    (predicted / "mask002.tif").unlink()
    with pytest.raises(ContractileError, match=r"01_RES: no mask for frame 2 of .*01_GT; predict all frames"):
        evaluate(predicted, truth)
    masks = sorted(predicted.glob("*.tif"))
    with pytest.raises(ContractileError, match=r"^[^\[]*mask000.tif, .*mask003.tif: no mask for frame 2 of .*01_GT;"):
        evaluate(masks, truth)
    write_labels(predicted / "nameless.tif", np.ones((3, 3), int))
    with pytest.raises(
        ContractileError, match=r"nameless.tif: the name must end in the number of its frame; rename it"
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


@pytest.mark.parametrize("planes", [2, 3, 4])
@pytest.mark.filterwarnings("ignore:.*stored as RGB")
def test_planes_of_masks_are_never_channels(tmp_path, planes):
    """Files whose axes have no names: a volume of few planes looks like an image with channels."""
    volume = np.zeros((planes, 12, 12), np.uint16)
    volume[:, 2:6, 2:6], volume[0, 8:11, 8:11] = 1, 2
    for folder, file in (("01_RES", "mask000"), ("01_GT/SEG", "man_seg000"), ("01_GT/TRA", "man_track000")):
        (tmp_path / folder).mkdir(parents=True)
        tifffile.imwrite(tmp_path / folder / f"{file}.tif", volume)
    found = evaluate(tmp_path / "01_RES", tmp_path / "01_GT", config=EvaluateConfig(dims=3, resamples=0)).summary
    assert [found[key].value for key in ("seg", "det")] == [1, 1]


# Options


def record():
    return stored_values()["ctc"]["records"][0]


def change(folder, rule):
    """Write each mask of a folder anew."""
    for file in folder.glob("**/*.tif"):
        write_labels(file, rule(read_labels(file)))


def values(predicted, truth, scores=("seg", "det", "tra", "dice"), **options):
    config = EvaluateConfig(resamples=0, **options)
    found = evaluate(predicted, truth, scores=scores, config=config)
    return [found.summary[score].value for score in scores]


def test_masks_on_another_background(tmp_path):
    predicted, truth = write_challenge(tmp_path, record())
    expected = values(predicted, truth)
    change(predicted, lambda labels: np.where(labels == 0, 255, labels))
    assert values(predicted, truth, background=255) == pytest.approx(expected)
    with pytest.raises(ContractileError, match=r"holds no 0, but 255 .*; --background 255 \(background=255\) reads"):
        values(predicted, truth)


def test_pixels_that_are_to_be_ignored(tmp_path):
    def marked(value):
        predicted, truth = write_challenge(tmp_path / str(value), record())
        change(truth, lambda labels: np.where(np.arange(30) < 12, value, labels))
        return predicted, truth

    expected = values(*marked(-1))
    assert values(*marked(200), ignore_label=200) == pytest.approx(expected)
    assert expected != pytest.approx(values(*write_challenge(tmp_path, record())))


def shifted(shape=(30, 30)):
    """(prediction, truth): one square, 3 pixels lower in the prediction."""
    truth, predicted = np.zeros(shape, int), np.zeros(shape, int)
    truth[5:15, 5:15], predicted[8:18, 5:15] = 1, 1
    return predicted, truth


def test_surfaces_know_the_pixel_size_of_the_truth(tmp_path):
    predicted, truth = shifted()
    write_labels(tmp_path / "01_RES" / "mask000.tif", predicted)
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", truth, pixel_size_um=(0.5, 0.5))
    places = tmp_path / "01_RES", tmp_path / "01_GT"
    assert values(*places, ["hausdorff"]) == [pytest.approx(1.5)]
    assert values(*places, ["hausdorff"], pixel_size=(2, 2)) == [pytest.approx(6)]


def test_surfaces_of_slices(tmp_path):
    predicted, truth = shifted()
    volume = np.zeros((5, 30, 30), int)
    volume[1:4] = predicted
    write_labels(tmp_path / "01_RES" / "mask000.tif", volume)
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg_000_002.tif", truth, pixel_size_um=(0.5, 0.5))
    places = tmp_path / "01_RES", tmp_path / "01_GT"
    assert values(*places, ["hausdorff"], dims=3) == [pytest.approx(1.5)]
    assert values(*places, ["hausdorff"], dims=3, pixel_size=(7, 0.25, 0.25)) == [pytest.approx(0.75)]


def test_axes_of_masks(tmp_path):
    predicted, _ = shifted()
    (tmp_path / "01_RES").mkdir()
    np.save(tmp_path / "01_RES" / "mask000.npy", np.stack([0 * predicted, predicted, predicted], axis=1))
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg_000_002.tif", predicted)
    assert values(tmp_path / "01_RES", tmp_path / "01_GT", ["seg"], dims=3, axes="YZX") == [1]


@pytest.mark.parametrize(
    ("option", "value"), [("classes", (0, 1)), ("white", 0), ("probabilities", True)], ids=lambda one: str(one)
)
def test_options_that_masks_of_objects_cannot_take(tmp_path, option, value):
    predicted, truth = write_challenge(tmp_path, record())
    with pytest.raises(ContractileError) as caught:
        values(predicted, truth, **{option: value})
    rule = f"{option} must not be given for a sequence of the Cell Tracking Challenge, whose masks number objects"
    assert str(caught.value) == f"{truth}: {rule}, got {value}; leave it out, or give {truth / 'SEG'} as the truth"
    for file in (truth / "SEG").iterdir():
        file.unlink()
    (truth / "SEG").rmdir()
    with pytest.raises(ContractileError, match=r"or give .*TRA as the truth"):
        values(predicted, truth, **{option: value})


def test_arrays_and_names_have_no_place_here(tmp_path):
    predicted, truth = write_challenge(tmp_path, record())
    with pytest.raises(ContractileError, match="must both be paths or both be arrays, got ndarray and PosixPath; read"):
        evaluate(np.ones((20, 30), int), truth)
    with pytest.raises(ContractileError, match=r"names are for arrays, got \['a'\] for files; leave them out"):
        evaluate(predicted, truth, names=["a"])


# Which files are the masks


def test_tracks_lie_beside_the_masks_of_a_pattern(tmp_path):
    predicted, truth = write_challenge(tmp_path, record())
    assert values(f"{predicted}/*.tif", truth, ["tra"]) == [pytest.approx(record()["tra"], abs=1e-6)]


def test_what_lies_beside_masks_is_none(tmp_path):
    predicted, _ = shifted()
    write_labels(tmp_path / "out" / "t000_labels.tif", predicted)
    write_probabilities(tmp_path / "out" / "t000_probabilities.tif", np.stack([1 - predicted, predicted]) * 1.0)
    tifffile.imwrite(tmp_path / "out" / "t000_overlay.tif", np.zeros((30, 30, 3), np.uint8))
    tifffile.imwrite(tmp_path / "out" / "t000.tif", np.zeros((30, 30), np.uint8))
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", predicted)
    assert values(tmp_path / "out", tmp_path / "01_GT", ["seg"]) == [1]
    for name in ("t000_labels", "t000_overlay", "t000"):
        (tmp_path / "out" / f"{name}.tif").unlink()
    with pytest.raises(ContractileError, match=r"t000_probabilities.tif: labels .* they look one-hot"):
        values(tmp_path / "out", tmp_path / "01_GT", ["seg"])


def test_two_masks_of_one_frame_are_refused(tmp_path):
    predicted, truth = write_challenge(tmp_path, record())
    write_labels(predicted / "other000.tif", np.ones((20, 30), int))
    with pytest.raises(
        ContractileError, match=r"other000.tif: a second mask of frame 0 beside .*mask000.tif; keep one"
    ):
        values(predicted, truth)
    (predicted / "other000.tif").unlink()
    write_labels(truth / "SEG" / "again000.tif", np.ones((20, 30), int))
    write_labels(truth / "SEG" / "man_seg000.tif", np.ones((20, 30), int))
    with pytest.raises(ContractileError, match=r"man_seg000.tif: a second mask of frame 0 beside .*again000.tif; keep"):
        values(predicted, truth)


def test_volumes_that_are_read_as_frames_are_refused_with_the_cure(tmp_path):
    for frame in (0, 1):
        write_labels(tmp_path / "01_RES" / f"mask{frame:03d}.tif", np.ones((3, 8, 8), int))
        write_labels(tmp_path / "01_GT" / "TRA" / f"man_track{frame:03d}.tif", np.ones((3, 8, 8), int))
    with pytest.raises(
        ContractileError, match=r"second mask of frame 0 beside .* or say that these are volumes \(--dim"
    ):
        values(tmp_path / "01_RES", tmp_path / "01_GT", ["det"])
    assert values(tmp_path / "01_RES", tmp_path / "01_GT", ["det"], dims=3) == [1]


def test_volumes_that_are_annotated_whole_are_scored_whole(tmp_path):
    """An object of three slices, of which the prediction has two and a half."""
    truth = np.zeros((5, 12, 12), int)
    truth[1:4, 2:6, 2:6] = 1
    predicted = truth.copy()
    predicted[3, 4:] = 0
    write_labels(tmp_path / "01_RES" / "mask000.tif", predicted)
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg000.tif", truth)
    found = evaluate(tmp_path / "01_RES", tmp_path / "01_GT", scores=["seg"], config=EvaluateConfig(dims=3))
    assert [image.name for image in found.images] == ["t000"]
    assert found.summary["seg"].value == pytest.approx(2.5 / 3)


def test_a_slice_that_the_prediction_does_not_have(tmp_path):
    predicted, truth = shifted()
    write_labels(tmp_path / "01_RES" / "mask000.tif", np.stack([predicted] * 3))
    write_labels(tmp_path / "01_GT" / "SEG" / "man_seg_000_007.tif", truth)
    with pytest.raises(ContractileError, match=r"mask000.tif: must hold slice 7, which .*_007.tif annotates, got 3 sl"):
        values(tmp_path / "01_RES", tmp_path / "01_GT", ["seg"], dims=3)
