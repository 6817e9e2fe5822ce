"""COCO: labels come back as they were, and masks and polygons of other programs are read."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.images.coco import Page, read_coco, write_coco
from contractile.images.drawings import Numbering, fill
from contractile.images.gate import Limits
from contractile.images.shape_files import names_in
from contractile.images.shapes import Mask
from contractile.labels import boxes, renumber


def page(name, labels, kind=""):
    masks = [
        Mask(labels[box] == number, box[0].start, box[1].start, kind=kind)
        for number, box in enumerate(boxes(labels), start=1)
    ]
    return Page(name, labels.shape, masks)


def drawn(drawing):
    """The labels of one image of a file."""
    return fill(drawing.load(), drawing.size, Numbering()).labels


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
def test_labels_come_back_as_they_were(tmp_path, seed, height, width):
    rng = np.random.default_rng(seed)
    images = {name: renumber(rng.integers(0, 4, (height, width + n))) for n, name in enumerate(("a.tif", "b.tif"))}
    write_coco(tmp_path / "a.json", [page(name, labels) for name, labels in images.items()])
    for one, (name, labels) in zip(read_coco(tmp_path / "a.json"), images.items(), strict=True):
        assert one.name == name
        np.testing.assert_array_equal(drawn(one), labels)


def scene():
    """The object whose packed mask is PACKED: 4 x 5 pixels with a hole, and one pixel in a corner."""
    labels = np.zeros((6, 9), np.int32)
    labels[1:5, 2:7] = 1
    labels[2, 3] = 0
    labels[0, 8] = 1
    return labels


PACKED = "=42MO11200005MN"  # pycocotools 2.0.11: mask.encode(np.asfortranarray(scene().astype(np.uint8)))


def coco(tmp_path, *segmentations, size=(6, 9), **more):
    found = {
        "images": [{"id": 7, "file_name": "folder/cells.png", "height": size[0], "width": size[1]}],
        "annotations": [
            {"id": n, "image_id": 7, "category_id": 3, "segmentation": one} for n, one in enumerate(segmentations)
        ],
        "categories": [{"id": 3, "name": "cell"}],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**found, **more}))
    return path


def test_packed_masks_are_read(tmp_path):
    [entry] = read_coco(coco(tmp_path, {"size": [6, 9], "counts": PACKED}))
    np.testing.assert_array_equal(drawn(entry), scene())
    assert entry.kinds == ("cell",)


def test_what_is_written_is_as_other_programs_expect(tmp_path):
    write_coco(tmp_path / "a.json", [page("cells.tif", scene(), "nucleus")], kind="cell")
    found = json.loads((tmp_path / "a.json").read_text())
    assert found["images"] == [{"id": 1, "file_name": "cells.tif", "height": 6, "width": 9}]
    assert found["categories"] == [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}]
    [one] = found["annotations"]
    runs = [13, 4, 2, 1, 1, 2, 2, 4, 2, 4, 2, 4, 7, 1, 5]
    assert one == {
        "segmentation": {"size": [6, 9], "counts": runs},
        "area": 20,
        "bbox": [2, 0, 7, 5],
        "iscrowd": 0,
        "id": 1,
        "image_id": 1,
        "category_id": 2,
    }


def test_boxes_fit_what_is_seen_of_an_object(tmp_path):
    """A plane can show less of an object than the box of the whole volume holds, or nothing."""
    mask = np.zeros((7, 8), bool)
    masks = [Mask(mask, 1, 2), Mask(mask.copy(), 1, 2)]
    masks[0].pixels[2:4, 3:6] = True
    write_coco(tmp_path / "a.json", [Page("cells.tif", (12, 12), masks)])
    found = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert [(one["bbox"], one["area"]) for one in found] == [([5, 3, 3, 2], 6), ([2, 1, 0, 0], 0)]


def test_annotations_without_an_outline_are_left_out(tmp_path, caplog):
    empty = {"size": [6, 9], "counts": [54]}
    square = [[1, 1, 4, 1, 4, 3, 1, 3]]
    [entry] = read_coco(coco(tmp_path, None, square, [], empty, [[]]))
    expected = np.zeros((6, 9), np.int32)
    expected[1:3, 1:4] = 1
    np.testing.assert_array_equal(drawn(entry), expected)
    assert "4 of 5 annotations of folder/cells.png have no outline and are left out" in caplog.text


def test_polygons_too_small_for_a_pixel_are_not_outside(tmp_path):
    [entry] = read_coco(coco(tmp_path, [[3.6, 3.6, 4.4, 3.6, 4.4, 4.4]], [[20, 0, 30, 0, 30, 3]]))
    found = fill(entry.load(), entry.size, Numbering())
    assert (found.small, found.outside) == (("0",), ("1",))


def test_pieces_that_overlap_are_joined(tmp_path):
    [entry] = read_coco(coco(tmp_path, [[1, 1, 4, 1, 4, 3, 1, 3], [2, 1, 6, 1, 6, 3, 2, 3]]))
    expected = np.zeros((6, 9), np.int32)
    expected[1:3, 1:6] = 1
    np.testing.assert_array_equal(drawn(entry), expected)


def test_objects_keep_their_numbers(tmp_path):
    masks = [Mask(np.ones((1, 1), bool), 0, place, number=number) for place, number in enumerate((9, 4))]
    write_coco(tmp_path / "a.json", [Page("a.tif", (1, 3), masks)])
    assert drawn(read_coco(tmp_path / "a.json")[0]).tolist() == [[9, 4, 0]]


def test_polygons_are_read_and_the_smaller_object_has_the_pixels(tmp_path):
    square, other = [1, 1, 4, 1, 4, 3, 1, 3], [3, 2, 6, 2, 6, 5, 3, 5]
    [entry] = read_coco(coco(tmp_path, [square, [7, 0, 20, 0, 20, 1, 7, 1]], [other]))
    expected = np.zeros((6, 9), np.int32)
    expected[2:5, 3:6] = 2
    expected[1:3, 1:4] = expected[0, 7:9] = 1
    np.testing.assert_array_equal(drawn(entry), expected)


@pytest.mark.parametrize(
    ("segmentation", "problem"),
    [
        ({"size": [6, 9], "counts": [3, 4]}, "a mask of image folder/cells.png must have 6 x 9 pixels, got 7"),
        ({"size": [9, 6], "counts": PACKED}, "a mask of image folder/cells.png must have 6 x 9 pixels, got 54"),
        ({"size": [6, 9], "counts": [-3, 57]}, "a mask of image folder/cells.png must have 6 x 9 pixels"),
        (None, "the objects of image folder/cells.png have boxes alone"),
        ({"size": [6, 9], "counts": "o" * 50}, "must have 6 x 9 pixels|is not COCO's JSON"),
        ([[1, 2, 3]], "is not COCO's JSON of objects"),
        ([[1, 2, 3, None]], "a corner that is not a number"),
        (3, "is not COCO's JSON of objects"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, segmentation, problem):
    with pytest.raises(ContractileError, match=problem):
        drawn(read_coco(coco(tmp_path, segmentation))[0])


def test_an_image_that_is_too_large_is_refused(tmp_path):
    with pytest.raises(ContractileError, match=r"must have 1 to 268,435,456 pixels, got 1000000 x 1000000"):
        read_coco(coco(tmp_path, size=(10**6, 10**6)))
    with pytest.raises(ContractileError, match=r"got 0 x 5"):
        read_coco(coco(tmp_path, size=(0, 5)))


@pytest.mark.parametrize("owner", [1, "1"])
def test_ids_are_compared_as_text_where_they_fit_so(tmp_path, owner, caplog):
    path, square = tmp_path / "a.json", [[10, 10, 14, 10, 14, 14, 10, 14]]
    image = {"id": "1" if owner == 1 else 1, "file_name": "a.tif", "height": 30, "width": 30}
    ones = [{"id": n, "image_id": owner, "category_id": 1, "segmentation": square} for n in range(2)]
    path.write_text(json.dumps({"images": [image], "annotations": ones}))
    [drawing] = read_coco(path)
    assert len(drawing.load()) == 2
    assert "belong" not in caplog.text
    path.write_text(json.dumps({"images": [image], "annotations": [*ones, {**ones[0], "image_id": 7}]}))
    read_coco(path)
    assert "3 of 3 annotations belong to no image in the file" in caplog.text
    path.write_text(
        json.dumps({"images": [{**image, "id": owner}], "annotations": [*ones, {**ones[0], "image_id": 7}]})
    )
    [drawing] = read_coco(path)
    assert len(drawing.load()) == 2
    assert "1 of 3 annotations belong to no image in the file" in caplog.text


@pytest.mark.parametrize("side", ["height", "width"])
def test_an_image_without_a_size_is_refused(tmp_path, side):
    image = {"id": 1, "file_name": "a.tif", "height": 30, "width": 30, side: None}
    (tmp_path / "a.json").write_text(json.dumps({"images": [image], "annotations": []}))
    with pytest.raises(
        ContractileError, match=r"image a\.tif must have a height and a width, got .*None.*; write its size"
    ):
        read_coco(tmp_path / "a.json")


def test_several_images_without_a_name_are_refused(tmp_path):
    images = [
        {"id": number, "file_name": name, "height": 4, "width": 4} for number, name in enumerate(["a.tif", "", ""])
    ]
    (tmp_path / "all.json").write_text(json.dumps({"images": images, "annotations": []}))
    told = (
        r"all\.json: each image must have the name of a file as file_name, got 2 of 3 without one; export it again as"
    )
    with pytest.raises(ContractileError, match=told):
        names_in(tmp_path / "all.json")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"images": [], "annotations": 3}', "[" * 100000])
def test_what_is_no_coco_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ContractileError, match=r"is not (COCO's JSON of objects|JSON \()"):
        read_coco(tmp_path / "a.json")


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{}" + " " * 100)
    monkeypatch.setattr("contractile.images.json_text.limits", lambda: Limits(metadata=50))
    with pytest.raises(ContractileError, match="JSON must have at most 50 bytes, got 102"):
        read_coco(tmp_path / "a.json")
