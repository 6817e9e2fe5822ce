import numpy as np
import pytest
import tifffile
from scenes import stored_scenes, stored_values

from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.images import write_labels

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
