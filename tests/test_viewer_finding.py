"""The images and labels of a session: all layouts that `train` takes, names that stay, and sessions that go on."""

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from test_dataset_pairing import write_zarr
from test_dataset_shapes import SHAPE, masks, scene, write, write_image
from test_docs import FOLDERS
from test_images_ome import write_set

from contractile.dataset import pair_up
from contractile.images import open_image, read_labels
from contractile.images.geojson import write_geojson
from contractile.images.reading import _Stored
from contractile.viewer.finding import find_images, open_again
from contractile.viewer.opening import open_places
from contractile.viewer.pictures import Pictures
from contractile.viewer.remembered import recall, remember

LAYOUTS = {name: " ".join(files).split() for name, files in FOLDERS.items()} | {
    "two sequences": [
        f"{n}{name}.tif" for n in ("01", "02") for t in (0, 1) for name in (f"/t00{t}", f"_GT/SEG/man_seg00{t}")
    ],
    "sequences of other frames": ["01/t000.tif", "01_GT/SEG/man_seg000.tif", "02/t001.tif", "02_GT/SEG/man_seg001.tif"],
    "a folder for each image": ["A/image.png", "A/mask.png", "B/image.png", "B/mask.png"],
}
MASK = np.zeros((40, 48), np.uint8)
MASK[5:15, 5:20], MASK[20:35, 10:30] = 1, 2


def fill(folder, names):
    """Images with different pixels, and labels where the name says so."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        truth = any(word in name.lower() for word in ("mask", "label", "seg0", "y/"))
        pixels = MASK if truth else np.random.default_rng(number).integers(0, 200, MASK.shape).astype(np.uint8)
        tifffile.imwrite(path, pixels) if path.suffix == ".tif" else Pillow.fromarray(pixels).save(path)


def begin(opening):
    """The files of a session of these images."""
    opening.folder.mkdir(exist_ok=True)
    (opening.folder / "session.json").write_text(json.dumps({"task": "objects", "classes": []}))
    remember(opening.folder, opening.sources)


def facts(opening):
    return [(one.name, one.files, one.page, one.axes) for one in opening.sources]


def names(opening):
    return [one.name for one in opening.sources]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("given", ["once", "twice"])
def test_every_layout_opens_as_training_reads_it(tmp_path, layout, given):
    data = tmp_path / "data"
    fill(data, LAYOUTS[layout])
    pairs = pair_up(data)
    opening = open_places(data, *([data] if given == "twice" else []), out=tmp_path / "s")
    assert len(set(names(opening))) == len(pairs) == (4 if layout == "two sequences" else 2)
    assert list(Pictures(opening.sources).names()) == names(opening)
    assert [(one.files, one.page) for one in opening.sources] == [(one.image.files, one.image.page) for one in pairs]
    assert list(opening.truths) == list(range(len(pairs)))
    for number, pair in enumerate(pairs):
        with open_image(opening.sources[number]) as image, open_image(pair.image) as expected:
            np.testing.assert_array_equal(image.pixels, expected.pixels)
            assert image.shape[0] == (2 if layout == "nnU-Net" else 1)
        np.testing.assert_array_equal(read_labels(opening.truths[number]), read_labels(pair.labels))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_no_image_is_decoded_at_opening(tmp_path, layout, monkeypatch):
    fill(tmp_path / "data", LAYOUTS[layout])
    monkeypatch.setattr(_Stored, "__getitem__", lambda *_: pytest.fail("pixels were read"))
    assert open_places(tmp_path / "data", out=tmp_path / "s").truths


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_session_of_every_layout_goes_on(tmp_path, layout):
    fill(tmp_path / "data", LAYOUTS[layout])
    opening = open_places(tmp_path / "data", out=tmp_path / "s")
    begin(opening)
    for again in (open_places(tmp_path / "s"), open_places(tmp_path / "data", out=tmp_path / "s")):
        assert facts(again) == facts(opening)
    (tmp_path / "elsewhere").mkdir()
    for name in ("data", "s"):
        shutil.move(tmp_path / name, tmp_path / "elsewhere" / name)
    assert names(open_places(tmp_path / "elsewhere" / "s")) == names(opening)


def test_folders_of_images_and_labels_of_their_own(tmp_path):
    fill(tmp_path, LAYOUTS["nnU-Net"])
    opening = open_places(tmp_path / "imagesTr", tmp_path / "labelsTr", out=tmp_path / "s")
    assert (names(opening), list(opening.truths)) == (["a", "b"], [0, 1])
    begin(opening)
    for again in (open_places(tmp_path / "imagesTr", out=tmp_path / "s"), open_places(tmp_path / "s")):
        assert facts(again) == facts(opening)  # without the labels, too


def test_labels_within_ome_zarr(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("b", "a"):
        write_zarr(data / f"{name}.zarr", MASK, cells=MASK)
    for places in ((data,), (data, data), (data, f"{data}/*.zarr/labels/cells")):
        opening = open_places(*places, out=tmp_path / "s")
        assert (names(opening), sorted(opening.truths)) == (["a", "b"], [0, 1])
        np.testing.assert_array_equal(read_labels(opening.truths[1]), MASK)


def test_images_without_labels_stay_and_are_joined_like_the_others(tmp_path, caplog):
    fill(tmp_path, [*LAYOUTS["nnU-Net"], "imagesTr/c_0000.tif", "imagesTr/c_0001.tif"])
    opening = open_places(tmp_path, out=tmp_path / "s")
    assert (names(opening), list(opening.truths)) == (["a", "b", "c"], [0, 1])
    assert [len(one.files) for one in opening.sources] == [2, 2, 2]
    assert "have no labels" not in caplog.text
    begin(opening)
    assert facts(open_places(tmp_path / "s")) == facts(opening)


def test_an_image_that_cannot_be_opened_is_left_out(tmp_path, caplog):
    fill(tmp_path, ["images/a.tif", "images/b.tif", "images/c.tif", "masks/a.tif"])
    (tmp_path / "images" / "b.tif").write_bytes(b"II*\0nothing")
    opening = open_places(tmp_path / "images", tmp_path / "masks", out=tmp_path / "s")
    assert (names(opening), list(opening.truths)) == (["a", "c"], [0])
    assert "b.tif: " in caplog.text


@pytest.mark.parametrize("name", ["stack_rois.zip", "stack.geojson", "stack_seg.npy"])
def test_shapes_of_a_stack_lie_in_its_pages(tmp_path, name):
    write_image(tmp_path / "stack.tif", (3, *SHAPE), imagej=True, metadata={"axes": "TYX"})
    labels = np.stack([scene(t) for t in range(3)])
    if name.endswith(".npy"):
        np.save(tmp_path / name, {"masks": labels.astype(np.uint16), "outlines": labels}, allow_pickle=True)
    elif name.endswith(".zip"):
        write(tmp_path / name, labels[0])  # without a plane: in all of them
        labels = labels[[0, 0, 0]]
    else:
        shapes = [one.outlined() for t in range(3) for one in masks(labels[t], plane={"T": t})]
        write_geojson(tmp_path / name, shapes)
    opening = open_places(tmp_path / "stack.tif", tmp_path / name, out=tmp_path / "s")
    assert [source.page for source in opening.sources] == list(opening.truths) == [0, 1, 2]
    np.testing.assert_array_equal([read_labels(one) for one in opening.truths.values()], labels)


@pytest.mark.parametrize("annotated", [[1], [0, 2], [0, 1, 2]])
def test_pages_of_a_stack_that_were_annotated_one_by_one(tmp_path, annotated):
    write_image(tmp_path / "stack.tif", (3, *SHAPE))
    for page in annotated:
        (tmp_path / "labels").mkdir(exist_ok=True)
        tifffile.imwrite(tmp_path / "labels" / f"stack_{page:04d}.tif", scene(page))
    opening = open_places(tmp_path / "stack.tif", tmp_path / "labels", out=tmp_path / "s")
    assert names(opening) == ["stack_0000", "stack_0001", "stack_0002"]
    assert list(opening.truths) == annotated
    for page, labels in opening.truths.items():
        np.testing.assert_array_equal(read_labels(labels), scene(page))
    begin(opening)
    assert facts(open_places(tmp_path / "s")) == facts(opening)


def test_what_labels_show_of_axes_holds_for_the_others_and_is_kept(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b"):
        np.save(tmp_path / "images" / f"{name}.npy", np.zeros((30, 40, 5), np.uint8))
    np.save(tmp_path / "labels" / "a.npy", np.eye(30, 40, dtype=np.uint8))
    opening = open_places(tmp_path / "images", tmp_path / "labels", out=tmp_path / "s")
    assert [(one.name, one.axes) for one in opening.sources] == [("a", "YXC"), ("b", "YXC")]
    begin(opening)
    assert facts(open_places(tmp_path / "s")) == facts(opening)


def test_each_image_keeps_axes_of_its_own(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name, shape in (("a", (2, 12, 10)), ("b", (12, 10, 2))):
        np.save(tmp_path / "images" / f"{name}.npy", np.zeros(shape, np.uint8))
        np.save(tmp_path / "labels" / f"{name}.npy", np.eye(12, 10, dtype=np.uint8))
    opening = open_places(tmp_path / "images", tmp_path / "labels", out=tmp_path / "s")
    begin(opening)
    for again in (opening, open_places(tmp_path / "s"), open_places(tmp_path / "images", out=tmp_path / "s")):
        assert facts(again) == facts(opening)
        assert [open_image(one).shape for one in again.sources] == [(2, 12, 10)] * 2


def test_files_of_one_name_in_several_folders_have_names_that_labels_pair_with(tmp_path):
    fill(tmp_path, ["1/raw.tif", "2/raw.tif"])
    opening = open_places(f"{tmp_path}/*/raw.tif", out=tmp_path / "s")
    assert names(opening) == ["1_raw", "2_raw"]
    (tmp_path / "labels").mkdir()
    tifffile.imwrite(tmp_path / "labels" / "2_raw.tif", MASK)
    [pair] = pair_up([one.path for one in opening.sources], tmp_path / "labels")
    assert pair.image.path == tmp_path / "2" / "raw.tif"


def test_a_session_of_an_earlier_version_keeps_its_names(tmp_path):
    fill(tmp_path, ["1/raw.tif", "2/raw.tif", "3/raw.tif"])
    files = [tmp_path / n / "raw.tif" for n in ("1", "2")]
    begin(open_places(files, out=tmp_path / "s"))
    (tmp_path / "s" / "images.json").write_text(json.dumps({"files": ["../1/raw.tif", "../2/raw.tif"], "axes": None}))
    for again in (open_places(tmp_path / "s"), open_places(files, out=tmp_path / "s")):
        assert (names(again), [one.path for one in again.sources]) == (["raw", "raw"], files)
        assert Pictures(again.sources).names() == ["raw", "raw_2"]
    more = open_places(f"{tmp_path}/*/raw.tif", out=tmp_path / "s")
    assert names(more) == ["raw", "raw", "3_raw"]


def test_labels_are_given_again_to_a_session_of_an_earlier_version(tmp_path):
    fill(tmp_path, ["x/a.tif", "x/b.tif", "y/a.tif"])
    begin(open_places(tmp_path / "x", tmp_path / "y", out=tmp_path / "s"))
    (tmp_path / "s" / "images.json").write_text(json.dumps({"files": ["../x/a.tif", "../x/b.tif"]}))
    again = open_places(tmp_path / "x", tmp_path / "y", out=tmp_path / "s")
    assert (names(again), list(again.truths)) == (["a", "b"], [0])


@pytest.mark.parametrize("files", [[], [0, 7], "0", None])
def test_a_note_of_images_that_is_damaged(tmp_path, files):
    fill(tmp_path, ["a.tif"])
    begin(open_places(tmp_path / "a.tif", out=tmp_path / "s"))
    kept = json.loads((tmp_path / "s" / "images.json").read_text())
    assert kept["images"] == [{"name": "a", "files": [0], "axes": None}]
    kept["images"][0]["files"] = files
    (tmp_path / "s" / "images.json").write_text(json.dumps(kept))
    with pytest.raises(ValueError, match=r"images.json: does not say where the images of this session are; name them"):
        recall(tmp_path / "s")


def test_files_are_channels_of_a_model_that_takes_as_many(tmp_path, caplog):
    fill(tmp_path, ["a_0000.tif", "a_0001.tif", "b_0000.tif", "b_0001.tif"])
    assert [(one.name, len(one.files)) for one in find_images(tmp_path, channels=2)] == [("a", 2), ("b", 2)]
    assert "are taken for the channels of one image" in caplog.text
    apart = find_images(tmp_path)
    assert [one.name for one in apart] == ["a_0000", "a_0001", "b_0000", "b_0001"]
    remember(tmp_path, apart)
    kept = recall(tmp_path).images
    assert find_images(tmp_path, channels=2, kept=kept) == apart  # a session is not read anew
    assert open_again(kept) == list(apart)


def test_a_set_of_files_stays_one_image_when_others_come(tmp_path):
    (tmp_path / "images").mkdir()
    write_set(tmp_path / "images", ["s_C0.ome.tif", "s_C1.ome.tif"])
    opening = open_places(tmp_path / "images", out=tmp_path / "s")
    begin(opening)
    fill(tmp_path, ["images/a.tif", "masks/s_C0.tif"])
    for labels in ((), (tmp_path / "masks",)):
        again = open_places(tmp_path / "images", *labels, out=tmp_path / "s")
        assert (names(again), list(again.truths)) == (["a", "s_C0"], [1] if labels else [])
