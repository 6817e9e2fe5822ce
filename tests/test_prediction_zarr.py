"""Results as OME-Zarr: beside the image, and inside of it."""

import numpy as np
import pytest
import tifffile
import zarr
from conftest import entries
from kills import contents
from test_prediction_kept import Bright, predict

from contractile.errors import AlreadyThere, ContractileError
from contractile.images import ZarrSink, open_image, pour, read_labels, read_probabilities
from contractile.images import zarr_describing as describing
from contractile.prediction import blocks, inputs, unfinished


def levels(path):
    group = zarr.open_group(path, mode="r")
    attributes = group.attrs.get("ome", group.attrs)
    return attributes, [group[one["path"]][...] for one in attributes["multiscales"][0]["datasets"]]


@pytest.fixture
def container(tmp_path):
    """An OME-Zarr of 70 x 90 pixels of half a micrometre."""
    rng = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(rng.integers(0, 200, (10, 9), np.uint8), 7, 0), 10, 1)
    with ZarrSink(tmp_path / "a.zarr", (1, 70, 90), np.uint8, axes="CYX") as sink:
        pour(pixels[None], sink)
        sink.facts = describing.Facts(pixel_size_um=(0.5, 0.5), origin_um=(3.0, 4.0))
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("form", ["ome-zarr", "ome-zarr-0.4"])
def test_beside_the_image(container, form):
    out = container.parent / "out"
    (written,) = predict(container, out, form=form)
    assert [file.name for file in written.files] == [
        "a_labels.zarr",
        "a_probabilities.zarr",
        "a_overlay.png",
        "a_objects.csv",
    ]
    predict(container, container.parent / "tiff")
    labels = read_labels(out / "a_labels.zarr")
    np.testing.assert_array_equal(labels, read_labels(container.parent / "tiff" / "a_labels.tif"))
    maps = read_probabilities(out / "a_probabilities.zarr")
    np.testing.assert_array_equal(maps, read_probabilities(container.parent / "tiff" / "a_probabilities.tif"))
    attributes, found = levels(out / "a_labels.zarr")
    assert attributes["image-label"]["properties"][0]["label-value"] == 1
    assert found[0].dtype == np.uint8
    assert all(set(np.unique(one)) <= set(np.unique(labels)) for one in found)
    with open_image(out / "a_labels.zarr") as image:
        assert (image.pixel_size_um, image.origin_um) == ((0.5, 0.5), (3.0, 4.0))
    assert (out / "a_labels.zarr" / "zarr.json").exists() == (form == "ome-zarr")
    predict(container, out, form=form)  # replaces its own


def test_inside_of_the_image(container):
    before = contents(container)
    (written,) = predict(container, container, form="ome-zarr", products=("labels", "objects"))
    inside = container / "labels" / "contractile"
    assert written.files == (inside, container.parent / "a_objects.csv")
    assert levels(inside)[0]["image-label"]["source"] == {"image": "../../"}
    assert zarr.open_group(container / "labels", mode="r").attrs["ome"]["labels"] == ["contractile"]
    assert contents(container) == before
    np.testing.assert_array_equal(read_labels(inside) > 0, open_image(container)[0] > 100)
    predict(container, container, form="ome-zarr", products=("labels",))
    zarr.open_array(inside / "0", mode="r+")[:5] = 1
    with pytest.raises(AlreadyThere, match="contractile"):
        predict(container, container, form="ome-zarr", products=("labels",))
    predict(container, container, form="ome-zarr", products=("labels",), overwrite=True)


def test_killed_inside_of_the_image_and_resumed(container, monkeypatch):
    for room in (blocks, inputs, unfinished):
        monkeypatch.setattr(room, "IN_MEMORY", 1000)
    call, seen = {"form": "ome-zarr", "products": ("labels",)}, []

    def refuse(*words, **named):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("contractile.images.pour", refuse)
        with pytest.raises(KeyboardInterrupt):
            predict(container, container, **call)
    predict(container, container, **call, resume=True, progress=lambda *told: seen.append(told))
    assert len(seen) == 1  # what was predicted is there
    skipped = []
    assert predict(container, container, **call, resume=True, skipped=skipped.append) == []
    assert [one.files for one in skipped] == [(container / "labels" / "contractile",)]


def test_probabilities_beside_the_image_have_the_version_that_was_asked_for(container):
    predict(container, container, form="ome-zarr-0.4", products=("labels", "probabilities"))
    assert (container.parent / "a_probabilities.zarr" / ".zgroup").exists()
    assert (container / "labels" / "contractile" / "zarr.json").exists()  # as the image itself


def test_a_list_of_labels_that_cannot_be_read_is_found_before_the_work(container, monkeypatch):
    (container / "labels").mkdir()
    (container / "labels" / "zarr.json").write_text("[]")
    monkeypatch.setattr("contractile.prediction.blocks.Segmented.compute", None)
    with pytest.raises(ContractileError, match=r"labels: the list of labels in its metadata cannot be read"):
        predict(container, container, form="ome-zarr", products=("labels",))


def test_other_places_and_forms_are_refused(container):
    tifffile.imwrite(container.parent / "b.tif", np.zeros((40, 40), np.uint8))
    refused = "results go into an OME-Zarr only where it is the one image that is predicted"
    for images, form in (([container, container.parent / "b.tif"], "ome-zarr"), ([container], "tiff")):
        with pytest.raises(ContractileError, match=refused):
            predict(images, container, form=form)
    with pytest.raises(ContractileError, match="name a folder whose name does not end with"):
        predict(container, container.parent / "new.zarr", form="ome-zarr")
    with pytest.raises(ContractileError, match=r"form must be one of tiff, ome-zarr, ome-zarr-0\.4, got 'zarr'"):
        predict(container, container.parent / "out", form="zarr")
    assert not (container / "labels").exists()


def test_stacks_and_their_axes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 200, (2, 3, 40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", pixels, imagej=True, metadata={"axes": "TZYX", "spacing": 2.0, "unit": "um"})
    predict(tmp_path / "s.tif", tmp_path / "out", form="ome-zarr", products=("labels", "probabilities"), model=Bright())
    attributes, (labels, *_) = levels(tmp_path / "out" / "s_labels.zarr")
    assert [axis["name"] for axis in attributes["multiscales"][0]["axes"]] == ["t", "z", "y", "x"]
    assert labels.shape == (2, 3, 40, 50)
    np.testing.assert_array_equal(labels > 0, pixels > 100)
    attributes, (maps, *_) = levels(tmp_path / "out" / "s_probabilities.zarr")
    assert [axis["name"] for axis in attributes["multiscales"][0]["axes"]] == ["t", "c", "z", "y", "x"]
    np.testing.assert_array_equal(maps[:, 1] > 0.5, pixels > 100)
    assert len(entries(tmp_path / "out")) == 2


def test_a_result_of_another_version_is_not_finished(container):
    for form in ("ome-zarr", "ome-zarr-0.4"):  # files of the same names
        call = {"form": form, "products": ("labels",), "resume": True}
        assert [len(predict(container, container.parent / "out", **call)) for _ in range(2)] == [1, 0]
