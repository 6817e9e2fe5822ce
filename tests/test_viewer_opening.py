"""What somebody names on the command line: images, labels, sessions, runs and models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from contractile.errors import ContractileError
from contractile.images import open_image
from contractile.model import Model, ModelCard, save
from contractile.unet import UNet, UNetConfig
from contractile.viewer.opening import check_minutes, open_places, split_names
from contractile.viewer.remembered import recall, remember


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """A working folder with images, labels of two of them, a model and a run."""
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "labels"):
        Path(folder).mkdir()
    for number in range(3):
        tifffile.imwrite(f"images/{number}.tif", np.full((8, 9), number, np.uint8))
    for number in range(2):
        labels = np.zeros((8, 9), np.int32)
        labels[2:4, 2:4], labels[6:, :] = 2 + number, -1
        tifffile.imwrite(f"labels/{number}.tif", labels)
    return tmp_path


def model(path, task="objects", command="", **more):
    config = UNetConfig(width=2, depth=1, classes=3)
    Path(path).parent.mkdir(exist_ok=True)
    card = ModelCard(network=config, task=task, provenance={"command": command}, **more)
    save(Model(UNet(config), card), path)


def names(opening):
    return [source.name for source in opening.sources]


def begin(opening, task="objects", classes=()):
    """The files of a session of these images."""
    opening.folder.mkdir()
    kept = {"task": task, "classes": [{"value": value, "name": name} for value, name in classes]}
    (opening.folder / "session.json").write_text(json.dumps(kept))
    remember(opening.folder, opening.sources)


def test_images():
    opening = open_places("images")
    assert (names(opening), opening.task, opening.folder) == (["0", "1", "2"], "objects", Path("images_session"))
    assert (opening.truths, opening.model, opening.classes, opening.begins) == ({}, None, {}, True)
    assert names(open_places("images/1.tif")) == ["1"]
    assert names(open_places("images/[01].tif", out="s")) == ["0", "1"]
    assert names(open_places(["images/2.tif", Path("images/0.tif")])) == ["2", "0"]
    assert open_places("images/[01].tif").folder == Path("session")
    assert open_places("images/1.tif").folder == Path("1_session")
    assert open_places("images", out="~/s").folder == Path.home() / "s"


def test_images_with_labels():
    opening = open_places("images", "labels")
    assert {number: source.path.name for number, source in opening.truths.items()} == {0: "0.tif", 1: "1.tif"}
    assert opening.truths[1].path.parent.name == "labels"
    assert opening.begins


def test_a_folder_that_holds_both():
    Path("both").mkdir()
    shutil.move("images", "both/images")
    shutil.move("labels", "both/masks")
    opening = open_places("both")
    assert names(opening) == ["0", "1", "2"]
    assert sorted(opening.truths) == [0, 1]


def test_labels_without_an_image():
    shutil.copy("labels/0.tif", "labels/other.tif")
    words = r"labels: labels without an image in images: other \(1 of 3\); add the images, or move these label files"
    with pytest.raises(ContractileError, match=words):
        open_places("images", "labels")


def test_labels_whose_names_differ_are_said(caplog):
    for number in range(3):
        shutil.move(f"images/{number}.tif", f"images/treated_{number}x.tif")
    shutil.copy("labels/1.tif", "labels/2.tif")
    opening = open_places("images", "labels")
    assert sorted(opening.truths) == [0, 1, 2]
    assert "images and labels are paired by" in caplog.text


def test_pages_of_a_stack():
    tifffile.imwrite("stack.tif", np.zeros((3, 8, 9), np.uint8), photometric="minisblack", metadata={"axes": "TYX"})
    tifffile.imwrite("truth.tif", np.zeros((3, 8, 9), np.int32), photometric="minisblack", metadata={"axes": "TYX"})
    opening = open_places("stack.tif", "truth.tif")
    assert [source.page for source in opening.sources] == list(opening.truths) == [0, 1, 2]


def test_a_file_that_cannot_be_read_is_left_out(caplog):
    Path("images/1.tif").write_bytes(b"II*\0nothing")
    assert names(open_places("images")) == ["0", "2"]
    assert "1.tif" in caplog.text
    for number in (0, 2):
        Path(f"images/{number}.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(ContractileError, match=r"so none of the 3 files could be opened"):
        open_places("images")


def test_nothing_named():
    with pytest.raises(ContractileError, match=r"images are missing; name the images: contractile view images"):
        open_places(None)
    with pytest.raises(FileNotFoundError, match=r"nothing: nothing there"):
        open_places("nothing")
    with pytest.raises(FileNotFoundError, match=r"nothing: nothing there"):
        open_places("images", "nothing")


def test_a_session_goes_on():
    begin(open_places("images", out="s"))
    for opening in (open_places("s"), open_places(None, out="s")):
        assert (names(opening), opening.folder, opening.task) == (["0", "1", "2"], Path("s"), "objects")
    with pytest.raises(ContractileError, match=r"LABELS and the session s exclude each other; write: view s"):
        open_places("s", "labels")
    with pytest.raises(ContractileError, match=r"--out and the session s exclude each other; write: view s"):
        open_places("s", out="t")


def test_axes_that_are_given_are_kept(caplog):
    np.save("last.npy", np.zeros((30, 40, 5), np.uint8))
    opening = open_places("last.npy", axes="YXC")
    assert [(source.axes, open_image(source).shape) for source in opening.sources] == [("YXC", (5, 30, 40))]
    begin(opening)
    for again in (open_places("last.npy"), open_places("last_session")):
        assert [source.axes for source in again.sources] == ["YXC"]
    model("run/model.safetensors", axes="YXC")
    assert [source.axes for source in open_places("run", "last.npy", out="t").sources] == ["YXC"]
    assert caplog.records == []


def test_a_session_of_classes_goes_on():
    begin(open_places("images", out="s", classes="sky,sea"), "classes", [(0, "sky"), (1, "sea")])
    for opening in (open_places("s"), open_places("images", out="s")):
        assert (opening.task, opening.classes) == ("classes", {0: "sky", 1: "sea"})


def test_what_is_said_of_a_session_is_not_passed_over():
    begin(open_places("images", out="s", classes="sky,sea"), "classes", [(0, "sky"), (1, "sea")])
    again = open_places("s", classes="sky,sea,land")
    assert (again.task, again.classes) == ("classes", {0: "sky", 1: "sea", 2: "land"})
    assert open_places("s", task="objects").task == "objects"  # which the session refuses


def test_a_session_that_was_moved_with_its_images(places):
    begin(open_places("images", out="images/s"))
    shutil.move("images", "elsewhere")
    assert recall(Path("elsewhere/s")).files == [places / "elsewhere" / f"{number}.tif" for number in range(3)]
    shutil.move("elsewhere/s", "s")
    with pytest.raises(FileNotFoundError, match=r"s: 3 of 3 images of the session are not there any more, such as"):
        open_places("s")


def test_a_session_that_is_damaged():
    begin(open_places("images", out="s"))
    Path("s/images.json").write_text("{}")
    with pytest.raises(ContractileError, match=r"images.json: does not say where the images of this session are; name"):
        open_places("s")
    Path("s/session.json").write_text("[]")
    with pytest.raises(ContractileError, match=r"session.json: this is no session that can be read \(TypeError\)"):
        open_places("s")


def test_a_model_shows_what_it_predicts():
    model("m.safetensors")
    opening = open_places("m.safetensors", "images")
    assert (names(opening), opening.model, opening.begins) == (["0", "1", "2"], Path("m.safetensors"), False)
    assert open_places("nuclei", "images").model.name == "nuclei.safetensors"
    with pytest.raises(ContractileError, match=r"--start and the model nuclei exclude each other; name one model"):
        open_places("nuclei", "images", start="nuclei")
    with pytest.raises(ContractileError, match=r"task must be that of the model, objects, got classes; leave it out"):
        open_places("m.safetensors", "images", task="classes")
    words = r"the model m.safetensors does not say which images it was validated on, .*; name images: contractile view"
    with pytest.raises(ContractileError, match=words):
        open_places("m.safetensors")


def test_a_run_and_what_it_was_validated_on():
    command = "contractile train a b --out run --val-images images --val-labels labels"
    model("run/model.safetensors", command=command)
    opening = open_places("run")
    assert (names(opening), opening.model) == (["0", "1"], Path("run/model.safetensors"))
    assert [source.path.name for source in opening.truths.values()] == ["0.tif", "1.tif"]
    assert not opening.begins
    assert opening.folder == Path("images_session")


def test_a_run_that_held_out_its_last_images():
    model("run/model.safetensors", command="contractile train images labels --out run --minutes 3")
    opening = open_places("run")
    assert (names(opening), opening.truths[0].path.name) == (["1"], "1.tif")


def test_a_run_on_one_place_that_holds_both():
    Path("both").mkdir()
    for folder, name in (("images", "images"), ("labels", "masks")):
        shutil.move(folder, f"both/{name}")
    model("run/model.safetensors", command="contractile train both --out run --minutes 3")
    opening = open_places("run")
    assert (names(opening), opening.truths[0].path.name) == (["1"], "1.tif")
    model("run/model.safetensors", command="contractile train --out run both")
    with pytest.raises(ContractileError, match=r"the model run does not say which images it was validated on"):
        open_places("run")


def test_a_run_on_masks_of_single_objects():
    for case in "ab":
        for name in (f"data/{case}/images/{case}.tif", f"data/{case}/masks/1.tif", f"data/{case}/masks/2.tif"):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((8, 9), np.uint8)
            mask[slice(1, 3) if name.endswith("1.tif") else slice(5, 8)] = 255
            tifffile.imwrite(name, mask)
    model("run/model.safetensors", command="contractile train data --out run")
    opening = open_places("run")
    assert (names(opening), len(opening.truths[0].files)) == (["b"], 2)


def test_names_of_a_model_name_shapes_only_where_its_values_are_in_order():
    shapes = {"type": "FeatureCollection", "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[x, 1], [x + 3, 1], [x + 3, 4], [x, 4], [x, 1]]]},
            "properties": {"classification": {"name": name}},
        }
        for x, name in ((1, "cell"), (5, "vessel"))
    ]}  # fmt: skip
    Path("shapes").mkdir()
    Path("shapes/0.geojson").write_text(json.dumps(shapes))
    for values, expected in (((0, 1, 2), ("vessel", "cell")), ((0, 5, 7), ("cell", "vessel"))):
        model("m.safetensors", "classes", class_values=values, class_names=("background", "vessel", "cell"))
        opening = open_places("images", "shapes", start="m.safetensors")
        assert opening.truths[0].drawn.numbering.classes == expected


def test_a_model_to_start_from():
    model("m.safetensors", "classes", class_values=(0, 5, 7))
    opening = open_places("images", start="m.safetensors")
    assert (opening.model, opening.task) == (Path("m.safetensors"), "classes")
    assert opening.classes == {0: "background", 5: "class 5", 7: "class 7"}
    assert open_places("images", start="nuclei").task == "objects"
    with pytest.raises(FileNotFoundError, match=r"none: no model is there; give a run, a model file, or a pretrained"):
        open_places("images", start="none")


def test_classes():
    assert open_places("images", classes="background, cell ,nucleus").classes == {
        0: "background",
        1: "cell",
        2: "nucleus",
    }
    assert open_places("images", classes=["a", "<b>"]).task == "classes"
    assert open_places("images", task="classes").classes == {0: "background", 1: "class 1"}
    found = open_places("images", "labels", task="classes").classes
    assert found == {0: "background", 2: "class 2", 3: "class 3"}
    for wrong in ("", "a", "a,a", "a,,b", ",".join(map(str, range(33)))):
        with pytest.raises(ContractileError, match=r"classes must be 2 to 32 names, each once, got .*; give e\.g\."):
            split_names(wrong)
    with pytest.raises(ContractileError, match=r"the task objects has no classes; leave out the names of classes"):
        open_places("images", classes="a,b", task="objects")
    with pytest.raises(ContractileError, match=r"task must be objects or classes, got 'things'; use objects"):
        open_places("images", task="things")


def test_labels_of_too_many_classes():
    tifffile.imwrite("labels/0.tif", np.arange(72, dtype=np.int32).reshape(8, 9))
    with pytest.raises(
        ContractileError, match=r"labels of classes hold at most 32 values, got 72; are these objects\?"
    ):
        open_places("images", "labels", task="classes")


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e6])
def test_minutes(minutes):
    with pytest.raises(
        ContractileError, match=r"minutes must be a number above 0 and up to 10,080, got .*; use e\.g\. 10"
    ):
        check_minutes(minutes)
