"""Shapes as labels: every format gives the labels that were drawn, in the places where people keep them."""

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow
from test_cli import call

from contractile.check import check_dataset
from contractile.dataset import load_examples, pair_up, settle_pairs
from contractile.errors import ContractileError, NotFound
from contractile.evaluation import evaluate
from contractile.images import read, read_labels
from contractile.images.coco import Page, write_coco
from contractile.images.drawings import Numbering
from contractile.images.geojson import write_geojson
from contractile.images.rois import write_rois
from contractile.images.shape_files import Canvas, draw_labels
from contractile.images.shapes import Mask, Shape
from contractile.labels import boxes
from contractile.viewer.opening import open_places

SHAPE = (20, 30)


def scene(seed=0):
    """Labels of rectangles and a ring, with holes, borders and corners that touch."""
    labels = np.zeros(SHAPE, np.int32)
    labels[:4, :5], labels[4:9, 5:9], labels[10:17, 10:20] = 1, 2, 3
    labels[12:15, 13:17] = 0
    labels[13, 14] = 4
    return np.roll(labels, seed, axis=1)


def masks(labels, kinds=(), **more):
    return [
        Mask(labels[box] == n, box[0].start, box[1].start, kind=kinds[n - 1] if kinds else "", name=str(n), **more)
        for n, box in enumerate(boxes(labels), start=1)
    ]


def write(path, labels, kinds=(), **more):
    """The labels in the format that the name of the file says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    found = masks(labels, kinds, **more)
    if path.suffix == ".zip":
        pytest.importorskip("roifile")
        write_rois(path, [one.outlined() for one in found])
    elif path.suffix == ".geojson":
        write_geojson(path, [one.outlined() for one in found])
    elif path.suffix == ".npy":
        np.save(path, {"masks": labels.astype(np.uint16), "outlines": labels}, allow_pickle=True)
    elif "coco" in path.name:
        write_coco(path, [Page("a.tif", labels.shape, found)])
    else:
        path.write_text(json.dumps(labelme(found)))


def labelme(found):
    """As LabelMe saves masks: a PNG within the box of two points."""
    shapes = []
    for one in found:
        png = io.BytesIO()
        Pillow.fromarray(one.pixels.astype(np.uint8) * 255).save(png, "PNG")
        corner = [one.left, one.top], [one.left + one.pixels.shape[1] - 1, one.top + one.pixels.shape[0] - 1]
        mask = base64.b64encode(png.getvalue()).decode()
        shapes.append({"label": one.kind or "cell", "points": corner, "shape_type": "mask", "mask": mask})
    return {"shapes": shapes, "imagePath": "a.tif", "imageHeight": SHAPE[0], "imageWidth": SHAPE[1]}


def write_image(path, shape=SHAPE, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    tifffile.imwrite(path, values, photometric="minisblack", **more)


NAMES = ("a.zip", "a.geojson", "a_coco.json", "a.json", "a_seg.npy")


@pytest.mark.parametrize("name", [*NAMES, "RoiSet_a.zip", "a_rois.zip", "a_objects.geojson", "a.tif.geojson"])
@pytest.mark.parametrize("place", ["apart", "beside", "file"])
def test_labels_come_back_from_every_format(tmp_path, name, place):
    write_image(tmp_path / "images" / "a.tif")
    write_image(tmp_path / "images" / "b.tif")
    folder = tmp_path / ("images" if place == "beside" else "labels")
    write(folder / name, scene())
    labels = {"apart": folder, "beside": None, "file": folder / name}[place]
    pairs = pair_up(tmp_path / "images", labels)
    assert [(pair.image.path.name, pair.labels.path.name) for pair in pairs] == [("a.tif", name)]
    [example] = load_examples(pairs)
    np.testing.assert_array_equal(example.labels, scene())


@pytest.mark.parametrize("name", NAMES)
def test_evaluate_check_and_view_take_shapes(tmp_path, name):
    write_image(tmp_path / "images" / "a.tif")
    tifffile.imwrite(tmp_path / "a_labels.tif", scene())
    write(tmp_path / "truth" / name, scene())
    result = evaluate(tmp_path / "a_labels.tif", tmp_path / "truth")
    assert result.summary["ap"].value == 1
    found = check_dataset(tmp_path / "images", tmp_path / "truth")
    assert {one.level for one in found} <= {"note", "warning"}, found
    opening = open_places(tmp_path / "images", tmp_path / "truth")
    assert opening.task == "objects"
    np.testing.assert_array_equal(read_labels(opening.truths[0]), scene())


def test_one_coco_file_has_the_labels_of_many_images(tmp_path, caplog):
    for name in ("a", "b", "c"):
        write_image(tmp_path / "images" / f"{name}.tif")
    pages = [Page(f"folder/{name}.png", SHAPE, masks(scene(n))) for n, name in enumerate("cbx")]
    write_coco(tmp_path / "instances.json", pages)
    for labels in (tmp_path / "instances.json", None):  # given, or found beside the folder of images
        pairs = pair_up(tmp_path / ("images" if labels else ""), labels)
        assert [pair.image.path.stem for pair in pairs] == ["b", "c"]
        first, second = load_examples(pairs)
        np.testing.assert_array_equal(first.labels, scene(1))
        np.testing.assert_array_equal(second.labels, scene(0))
    assert "its labels of 1 other images are left out" in caplog.text


def test_the_prefix_of_label_studio_is_no_part_of_a_name(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.tif")
    pages = [Page(f"images/0123abc{n}-{name}.tif", SHAPE, masks(scene(n))) for n, name in enumerate("ab")]
    write_coco(tmp_path / "result.json", pages)
    pairs = pair_up(tmp_path / "images", tmp_path / "result.json")
    assert [(pair.image.name, pair.labels.name) for pair in pairs] == [("a", "a"), ("b", "b")]


def test_a_folder_of_shapes_beside_one_of_images_holds_the_labels(tmp_path):
    write_image(tmp_path / "images" / "a.tif")
    write(tmp_path / "from QuPath" / "a.geojson", scene())
    [pair] = pair_up(tmp_path)
    assert pair.labels.path.name == "a.geojson"


def test_classes_have_names_and_one_number_in_all_files(tmp_path):
    kinds = {"a": ("vessel", "cell", "cell", "cell"), "b": ("vessel", "vessel", "fat", "vessel")}
    for name, of_each in kinds.items():
        write_image(tmp_path / "images" / f"{name}.tif")
        write(tmp_path / "labels" / f"{name}.geojson", scene(), of_each)
    first, second = load_examples(pair_up(tmp_path / "images", tmp_path / "labels"))
    assert first.class_names == second.class_names == ("cell", "fat", "vessel")
    np.testing.assert_array_equal(first.labels, np.array([0, 3, 1, 1, 1])[scene()])
    np.testing.assert_array_equal(second.labels, np.array([0, 3, 3, 2, 3])[scene()])
    pairs = settle_pairs(pair_up(tmp_path / "images", tmp_path / "labels"), task="objects")
    np.testing.assert_array_equal(load_examples(pairs)[0].labels, scene())
    opening = open_places(tmp_path / "images", tmp_path / "labels")
    assert (opening.task, opening.classes) == ("classes", {0: "background", 1: "cell", 2: "fat", 3: "vessel"})


def test_shapes_lie_in_the_plane_that_they_name(tmp_path):
    write_image(tmp_path / "stack.tif", (3, *SHAPE), imagej=True, metadata={"axes": "TYX"})
    shapes = [one.outlined() for t in range(3) if t != 1 for one in masks(scene(t), plane={"T": t})]
    write_geojson(tmp_path / "stack.geojson", shapes)
    examples = load_examples(pair_up(tmp_path / "stack.tif", tmp_path / "stack.geojson"))
    np.testing.assert_array_equal(examples[0].labels, scene(0))
    assert not examples[1].labels.any()
    np.testing.assert_array_equal(examples[2].labels, scene(2))


@pytest.mark.parametrize("name", ["a.zip", "a.geojson"])
@pytest.mark.parametrize("axis", ["", "T", "Z"])
def test_pages_without_a_named_axis_have_shapes_of_their_own(tmp_path, name, axis):
    write_image(tmp_path / "a.tif", (3, *SHAPE), metadata=None)
    found = [one.outlined() for page in range(3) for one in masks(scene(page), plane={axis: page})]
    if name == "a.zip":
        pytest.importorskip("roifile")
        write_rois(tmp_path / name, found)
    else:
        write_geojson(tmp_path / name, found)
    examples = load_examples(pair_up(tmp_path / "a.tif", tmp_path / name))
    np.testing.assert_array_equal([one.labels for one in examples], [scene(page) for page in range(3)])


@pytest.mark.parametrize("plane", [{"": 4}, {"Z": 4}, {"T": 1, "Z": 4}])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_image_alone_takes_the_shapes_of_any_plane(tmp_path, plane, channels):
    pytest.importorskip("roifile")
    write_image(tmp_path / "a.tif", (channels, *SHAPE), imagej=True, metadata={"axes": "CYX"})
    write_rois(tmp_path / "a.zip", [one.outlined() for one in masks(scene(), plane=plane)])
    [example] = load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.zip"))
    np.testing.assert_array_equal(example.labels, scene())


def test_shapes_of_several_planes_on_one_are_said(tmp_path, caplog):
    write_image(tmp_path / "a.tif")
    found = [replace(one.outlined(), plane={"": number}) for number, one in enumerate(masks(scene()))]
    write_geojson(tmp_path / "a.geojson", found)
    [example] = load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.geojson"))
    np.testing.assert_array_equal(example.labels, scene())
    assert "its shapes lie on 4 planes, and the image has one: all are drawn on it" in caplog.text


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("axis", "named"), [("", True), ("", False), ("Z", True), ("T", False)])
def test_shapes_on_planes_that_the_image_lacks(tmp_path, caplog, dims, axis, named):
    form = {"imagej": True, "metadata": {"axes": "ZYX"}} if named or dims == 3 else {"metadata": None}
    write_image(tmp_path / "a.tif", (3, *SHAPE), **form)
    axis = "Z" if dims == 3 and axis else axis
    planes = {2: scene(), 3: scene(1)}
    found = {at: [one.outlined() for one in masks(labels, plane={axis: at})] for at, labels in planes.items()}
    write_geojson(tmp_path / "a.geojson", found[2])
    pairs = pair_up(tmp_path / "a.tif", tmp_path / "a.geojson", dims=dims)
    labels = np.stack([one.labels for one in load_examples(pairs, dims=dims)]).reshape(3, *SHAPE)
    np.testing.assert_array_equal(labels[2], scene())
    assert not labels[:2].any()
    assert "planes" not in caplog.text
    write_geojson(tmp_path / "a.geojson", found[2] + found[3])
    load_examples(pairs, dims=dims)
    assert caplog.text.count(f"{len(found[3])} of {len(found[2] + found[3])} shapes lie on other planes") == 1
    write_geojson(tmp_path / "a.geojson", found[3])
    with pytest.raises(ContractileError, match=r"all of its \d shapes lie on planes that the image lacks, which"):
        load_examples(pairs, dims=dims)


def test_an_object_of_a_volume_is_one_where_its_planes_do_not_overlap(tmp_path):
    labels = np.zeros((3, *SHAPE), np.int32)
    for depth in range(3):
        labels[depth, :4, 5 * depth : 5 * depth + 5] = 3
        labels[depth, 10:12, 5 * depth : 5 * depth + 6] = 8
    write_image(tmp_path / "a.tif", (3, *SHAPE), imagej=True, metadata={"axes": "ZYX"})
    for names in ({3: "3", 8: "8"}, {3: "3", 8: "left"}):
        shapes = []
        for depth, plane in enumerate(labels):
            for number, name in names.items():
                [mask] = masks((plane == number).astype(np.int32), plane={"Z": depth})
                shapes.append(Shape(mask.outlined().rings, name=name, plane={"Z": depth}))
        path = tmp_path / f"{names[8]}.geojson"
        write_geojson(path, shapes)
        [example] = load_examples(pair_up(tmp_path / "a.tif", path, dims=3), dims=3)
        np.testing.assert_array_equal(example.labels == 3, labels == 3)
        numbers = set(np.unique(example.labels[labels == 8]))
        assert numbers == ({8} if names[8] == "8" else {4, 5, 6})  # without a number, a sixth of it is too little


def test_names_that_two_objects_of_a_plane_have_do_not_join_planes(tmp_path):
    write_image(tmp_path / "a.tif", (2, *SHAPE), imagej=True, metadata={"axes": "ZYX"})
    found = [one.outlined() for depth in range(2) for one in masks(scene(), plane={"Z": depth})]
    write_geojson(tmp_path / "a.geojson", [Shape(one.rings, name="5", plane=one.plane) for one in found])
    [example] = load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.geojson", dims=3), dims=3)
    np.testing.assert_array_equal(example.labels, [scene(), scene()])  # by what they share


def test_volumes_without_a_named_axis_are_counted_by_t(tmp_path):
    found = [
        one.outlined() for t in range(2) for z in range(2) for one in masks(scene(2 * t + z), plane={"T": t, "Z": z})
    ]
    write_geojson(tmp_path / "a.geojson", found)
    for page in range(2):
        canvas = Canvas((2, *SHAPE), page, counted=True)
        labels = draw_labels(tmp_path / "a.geojson", 0, Numbering(), canvas)
        np.testing.assert_array_equal(labels, [scene(2 * page), scene(2 * page + 1)])


def test_planes_of_a_volume_are_joined(tmp_path):
    write_image(tmp_path / "a.tif", (2, *SHAPE), imagej=True, metadata={"axes": "ZYX"})
    shapes = [one.outlined() for z in range(2) for one in masks(scene(), plane={"Z": z})]
    write_geojson(tmp_path / "a.geojson", shapes)
    [example] = load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.geojson", dims=3), dims=3)
    np.testing.assert_array_equal(example.labels, [scene(), scene()])


def test_what_labelme_draws(tmp_path):
    circle = {"label": "cell", "shape_type": "circle", "points": [[10, 10], [10, 14]]}
    rectangle = {"label": "cell", "shape_type": "rectangle", "points": [[20, 2], [24, 4]]}
    ring = [[1, 1], [3, 1], [3, 3], [1, 3]]
    parts = [
        {"label": "cell", "points": [[x + dx, y] for x, y in ring], "group_id": 5, "shape_type": "polygon"}
        for dx in (0, 4)
    ]
    point = {"label": "cell", "shape_type": "point", "points": [[0, 0]]}
    found = {"shapes": [circle, rectangle, *parts, point], "imagePath": "a.png", "imageHeight": 20, "imageWidth": 30}
    (tmp_path / "a.json").write_text(json.dumps(found))
    labels = read_labels(tmp_path / "a.json")
    y, x = np.mgrid[:20, :30] + 0.5
    expected = np.where((y - 10) ** 2 + (x - 10) ** 2 < 16, 1, 0)
    expected[2:4, 20:24] = 2
    expected[1:3, 1:3] = expected[1:3, 5:7] = 3
    assert np.count_nonzero(labels != expected) <= 4  # of the polygon that stands for the circle


def test_pieces_of_a_group_of_labelme_are_joined_and_what_has_no_area_is_said(tmp_path, caplog):
    square = {"label": "cell", "points": [[1, 1], [6, 1], [6, 6], [1, 6]], "group_id": 1, "shape_type": "polygon"}
    other = {"label": "cell", "points": [[4, 3], [9, 5]], "group_id": 1, "shape_type": "rectangle"}
    point = {"label": "cell", "points": [[3, 3]], "shape_type": "point"}
    line = {"label": "cell", "points": [[3, 3], [9, 9]], "shape_type": "linestrip"}
    short = {"label": "cell", "points": [[3, 3], [9, 9]], "shape_type": "polygon"}
    found = {"shapes": [square, point, other, line, short], "imagePath": "a.png", "imageHeight": 20, "imageWidth": 30}
    (tmp_path / "a.json").write_text(json.dumps(found))
    expected = np.zeros(SHAPE, np.int32)
    expected[1:6, 1:6] = expected[3:5, 4:9] = 1
    np.testing.assert_array_equal(read_labels(tmp_path / "a.json"), expected)
    assert "3 of 5 shapes have no area and are left out" in caplog.text


def test_shapes_too_small_for_a_pixel_are_named(tmp_path, caplog):
    write_image(tmp_path / "a.tif")
    small = Shape((np.array([(3.6, 3.6), (3.6, 4.4), (4.4, 4.4)]),), name="dust")
    write_geojson(tmp_path / "a.geojson", [small, *(one.outlined() for one in masks(scene()))])
    load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.geojson"))
    assert "1 of 5 shapes are too small to hold the centre of a pixel (dust)" in caplog.text


def test_files_that_are_no_shapes_are_no_labels(tmp_path):
    write_image(tmp_path / "data" / "a.tif")
    tifffile.imwrite(tmp_path / "data" / "a_mask.tif", scene())
    (tmp_path / "data" / "settings.json").write_text('{"threshold": 3}')
    (tmp_path / "data" / "a.json").write_text("{")
    (tmp_path / "data" / "a.zip").write_bytes(b"PK")
    [pair] = pair_up(tmp_path / "data")
    assert pair.labels.path.name == "a_mask.tif"


def test_pixels_are_taken_where_a_folder_of_labels_holds_both(tmp_path, caplog):
    write_image(tmp_path / "images" / "a.tif")
    write(tmp_path / "labels" / "a.geojson", scene(3))
    tifffile.imwrite(tmp_path / "labels" / "a.tif", scene())
    [pair] = pair_up(tmp_path / "images", tmp_path / "labels")
    assert pair.labels.path.name == "a.tif"
    assert "a.geojson: left out, since labels lie beside these shapes" in caplog.text


def test_shapes_are_taken_where_images_lie_beside_them(tmp_path, caplog):
    write_image(tmp_path / "images" / "a.tif")
    write_image(tmp_path / "drawn" / "a.tif")
    write(tmp_path / "drawn" / "a.json", scene())
    [pair] = pair_up(tmp_path / "images", tmp_path / "drawn")
    assert pair.labels.path.name == "a.json"
    assert "a.tif: taken for images, since shapes of that name lie beside them" in caplog.text


@pytest.mark.parametrize("name", ["a.zip", "a.geojson"])
def test_shapes_alone_do_not_say_how_large_the_image_is(tmp_path, name):
    write(tmp_path / name, scene())
    cure = r"contractile check images/ shapes/ --fix labels/ writes label images"
    with pytest.raises(ContractileError, match=f"holds shapes, which do not say how large their image is; {cure}"):
        read_labels(tmp_path / name)
    with pytest.raises(ContractileError, match="holds shapes, not pixels; give it as labels"):
        read(pair_up_source(tmp_path / name))


def pair_up_source(path):
    write_image(path.parent / "a.tif")
    [pair] = pair_up(path.parent / "a.tif", path)
    return pair.labels


def test_shapes_of_another_image_are_refused(tmp_path):
    write_image(tmp_path / "a.tif", (5, 5))
    write(tmp_path / "a.geojson", np.roll(scene(), 5, axis=1)[:, 5:] * (np.arange(25) > 6))
    with pytest.raises(ContractileError, match=r"none of its 3 shapes lies in the image of 5 x 5 pixels"):
        load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.geojson"))


def test_some_shapes_outside_are_named(tmp_path, caplog):
    write_image(tmp_path / "a.tif", (20, 9))
    write(tmp_path / "a.geojson", scene())
    load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a.geojson"))
    assert "2 of 4 shapes lie outside the image (3, 4)" in caplog.text


def test_labels_of_another_size_are_refused(tmp_path):
    write_image(tmp_path / "a.tif", (5, 5))
    write(tmp_path / "a_coco.json", scene())
    with pytest.raises(ContractileError, match=r"labels must have the size of their image, got image a \(5, 5\)"):
        load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a_coco.json"))


def test_planes_of_cellpose_must_fit(tmp_path):
    write_image(tmp_path / "a.tif", (3, *SHAPE), imagej=True, metadata={"axes": "ZYX"})
    np.save(tmp_path / "a_seg.npy", {"masks": np.stack([scene(), scene(1)])}, allow_pickle=True)
    with pytest.raises(ContractileError, match="masks must have a plane for each page, got 2 planes for page 2"):
        load_examples(pair_up(tmp_path / "a.tif", tmp_path / "a_seg.npy"))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"points": "x"}, "is not LabelMe's JSON"),
        ({"mask": "%%%"}, "is not LabelMe's JSON"),
        ({"mask": base64.b64encode(b"GIF89a").decode()}, "holds a mask that is no PNG"),
        ({"mask": base64.b64encode(b"\x89PNG\r\n\x1a\n123").decode()}, r"a\.json"),
    ],
)
def test_damaged_labelme_is_refused(tmp_path, change, problem):
    found = labelme(masks(scene()))
    found["shapes"][0].update(change)
    (tmp_path / "a.json").write_text(json.dumps(found))
    with pytest.raises(ContractileError, match=problem):
        read_labels(tmp_path / "a.json")


def test_nothing_there_is_not_found(tmp_path):
    write_image(tmp_path / "a.tif")
    with pytest.raises(NotFound):
        pair_up(tmp_path / "a.tif", tmp_path / "a.geojson")


@pytest.mark.parametrize("fix", [False, True])
def test_check_says_what_is_wrong_with_shapes(tmp_path, capsys, fix):
    write_image(tmp_path / "images" / "a.tif", (5, 5))
    write(tmp_path / "labels" / "a.geojson", np.roll(scene(), 5, axis=1)[:, 5:] * (np.arange(25) > 6))
    more = ("--fix", tmp_path / "fixed") if fix else ()
    status, *told = call(capsys, "check", tmp_path / "images", tmp_path / "labels", *more)
    assert status
    assert "none of its 3 shapes lies in the image of 5 x 5 pixels" in "".join(told)


def test_check_writes_shapes_as_label_images(tmp_path, capsys):
    write_image(tmp_path / "images" / "a.tif")
    write(tmp_path / "labels" / "a.geojson", scene())
    write_image(tmp_path / "images" / "b.tif")
    whole = scene() * (scene() != 4)
    write(tmp_path / "labels" / "b.geojson", whole)
    call(capsys, "check", tmp_path / "images", tmp_path / "labels", "--fix", tmp_path / "fixed")
    fixed = read_labels(tmp_path / "fixed" / "a.tif")
    assert np.count_nonzero((fixed > 0) != (scene() > 0)) == 1  # a speck
    np.testing.assert_array_equal(read_labels(tmp_path / "fixed" / "b.tif"), whole)  # nothing to repair


@pytest.mark.parametrize("name", NAMES)
def test_predictions_may_be_shapes(tmp_path, name):
    write(tmp_path / "predicted" / name, scene())
    (tmp_path / "truth").mkdir()
    tifffile.imwrite(tmp_path / "truth" / "a.tif", scene())
    assert evaluate(tmp_path / "predicted", tmp_path / "truth").summary["ap"].value == 1


def test_two_annotators_are_compared_where_one_file_says_the_size(tmp_path):
    write(tmp_path / "one" / "a.geojson", scene())
    write(tmp_path / "other" / "a.json", scene())
    for sides in (("one", "other"), ("other", "one")):
        assert evaluate(*(tmp_path / side for side in sides)).summary["ap"].value == 1
    write(tmp_path / "third" / "a.geojson", scene())
    with pytest.raises(ContractileError, match="holds shapes, which do not say how large their image is"):
        evaluate(tmp_path / "one", tmp_path / "third")


def test_classes_of_predicted_and_true_shapes_have_the_same_numbers(tmp_path):
    write(tmp_path / "predicted" / "a.json", scene(), ("cell", "cell", "cell", "fat"))
    write(tmp_path / "truth" / "a.json", scene(), ("cell", "vessel", "cell", "fat"))
    summary = evaluate(tmp_path / "predicted", tmp_path / "truth").summary
    assert 0 < summary["dice"].value < 1
