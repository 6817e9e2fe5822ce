"""Shapes of predictions: every format gives the labels back, of pages, volumes and stacks."""

import json
from itertools import count

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_cli import call, data, objects_model, refused  # noqa: F401 - fixtures

from contractile.dataset import load_examples, pair_up
from contractile.errors import ContractileError
from contractile.images import Stack, find
from contractile.images.coco import read_coco
from contractile.images.drawings import Numbering, fill
from contractile.images.geojson import read_geojson
from contractile.images.rois import read_rois
from contractile.images.shape_files import Canvas, draw_labels, numbering_of
from contractile.labels import boxes, draw, renumber
from contractile.prediction import shapes
from contractile.prediction.shapes import cut, write_shapes

SIDES = {2: (("top", "left"), ("bottom", "right")), 3: (("front", "top", "left"), ("back", "bottom", "right"))}


FRESH = count()  # of names of files: what was read of one name may be kept
PRODUCTS = ("geojson", "coco", "rois")


def canvas_of(shape, stack, page):
    if stack is None:
        return Canvas(shape)
    places = zip(stack.axes, np.unravel_index(page, stack.lengths), strict=True)
    places = tuple((axis, int(at)) for axis, at in places if axis in "TZ")
    return Canvas(shape, page, places, counted=not places)


def read_back(path, product, pages, stack):
    """The labels of all pages, each drawn on the image that it is of."""
    numbering = numbering_of([(path, entry) for entry in range(len(read_coco(path)) if product == "coco" else 1)])
    if product != "coco":
        canvases = [canvas_of(one.shape, stack, page) for page, one in enumerate(pages)]
        return [draw_labels(path, 0, numbering, canvas) for canvas in canvases]
    planes = [draw_labels(path, entry, numbering, None) for entry in range(len(read_coco(path)))]
    return np.reshape(planes, (len(pages), *pages[0].shape))  # of a volume, each plane is an image


def drawn(drawing):
    return fill(drawing.load(), drawing.size, Numbering()).labels


def table_of(labels):
    found = boxes(labels)
    table = {"id": np.arange(1, len(found) + 1), "area_px": np.bincount(labels.ravel())[1:]}
    for end, sides in zip(("start", "stop"), SIDES[labels.ndim], strict=True):
        for axis, side in enumerate(sides):
            table[f"box_{side}_px"] = np.array([getattr(box[axis], end) for box in found], int)
    return table


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(20, 30), (3, 9, 11)]))
def test_masks_are_those_of_the_labels_whatever_is_read_together(seed, shape):
    labels = renumber(np.random.default_rng(seed).integers(-3, 6, shape).clip(0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "FIELD", 7)
        again = np.zeros_like(labels)
        for mask in cut(labels, table_of(labels), {}):
            plane = again if labels.ndim == 2 else again[mask.plane["Z"]]
            height, width = mask.pixels.shape
            plane[mask.top : mask.top + height, mask.left : mask.left + width][mask.pixels] = int(mask.name)
    np.testing.assert_array_equal(again, labels)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(PRODUCTS),
    st.sampled_from([(20, 30), (3, 9, 11)]),
    st.sampled_from([None, ("T", (3,)), ("Z", (2,)), ("Q", (3,)), ("QT", (2, 2)), ("TZ", (2, 2)), ("QQ", (2, 2))]),
)
def test_labels_come_back_with_their_numbers(tmp_path, seed, product, shape, along):
    if product == "rois":
        pytest.importorskip("roifile")
    stack = None if along is None else Stack(*along)
    assume(stack is None or len(shape) == 2 or "Z" not in stack.axes)
    rng = np.random.default_rng(seed)
    pages = [
        renumber(rng.integers(-3, 6, shape).clip(0)) for _ in range(1 if stack is None else np.prod(stack.lengths))
    ]
    assume(any(labels.any() for labels in pages))
    path = tmp_path / f"{next(FRESH)}{shapes.SHAPES[product]}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shapes, "FIELD", 7)
        write_shapes(path, product, [(one, table_of(one)) for one in pages], stack=stack, image="a.tif")
    np.testing.assert_array_equal(read_back(path, product, pages, stack), pages)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(PRODUCTS),
    st.sampled_from([(9, 13), (2, 5, 7)]),
    st.sampled_from([None, ("T", (2,)), ("Q", (2,))]),
)
def test_classes_come_back_with_their_values(tmp_path, seed, product, shape, along):
    if product == "rois":
        pytest.importorskip("roifile")
    stack = None if along is None else Stack(*along)
    rng = np.random.default_rng(seed)
    pages = [rng.integers(0, 13, shape) for _ in range(1 if stack is None else 2)]
    assume(set(range(1, 13)) <= set(np.unique(pages)))  # a class that is nowhere has no number
    path = tmp_path / f"{next(FRESH)}{shapes.SHAPES[product]}"
    names = {value: f"class {value}" for value in range(1, 13)}  # 10 comes after 9, not after 1
    write_shapes(path, product, [(one, names) for one in pages], stack=stack, image="a.tif")
    np.testing.assert_array_equal(read_back(path, product, pages, stack), pages)


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_plain_stack_of_pages_and_its_shapes_are_a_pair(tmp_path, product):
    if product == "rois":
        pytest.importorskip("roifile")
    rng = np.random.default_rng(0)
    pages = [renumber(rng.integers(-3, 4, (20, 30)).clip(0)) for _ in range(3)]
    image, path = tmp_path / "a.tif", tmp_path / f"a_{product}{shapes.SHAPES[product]}"
    tifffile.imwrite(image, rng.integers(0, 255, (3, 20, 30), dtype=np.uint8), photometric="minisblack", metadata=None)
    stack = find(image, quiet=True)[0].stack
    assert stack.axes not in ("T", "Z")
    write_shapes(path, product, [(one, table_of(one)) for one in pages], stack=stack, image="a.tif")
    examples = load_examples(pair_up(image, path))
    np.testing.assert_array_equal([one.labels for one in examples], pages)


def test_a_volume_as_coco_is_refused_and_not_mistaken(tmp_path):
    labels = renumber(np.random.default_rng(0).integers(-3, 4, (3, 20, 30)).clip(0))
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(np.uint8), imagej=True, metadata={"axes": "ZYX"})
    write_shapes(tmp_path / "a_coco.json", "coco", [(labels, table_of(labels))], stack=None, image="a.tif")
    with pytest.raises(ContractileError, match=r"no pairs found: .*a_z0000, a_z0001"):
        pair_up(tmp_path / "a.tif", tmp_path / "a_coco.json", dims=3)


def test_pieces_of_classes_have_a_colour_each_and_an_area(tmp_path):
    labels = np.array([[1, 1, 0, 2], [1, 0, 0, 2]])
    write_shapes(tmp_path / "a.geojson", "geojson", [(labels, {1: "cell", 2: "fat"})], stack=None, image="a.tif")
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert [one["properties"]["measurements"] for one in features] == [{"area_px": 3}, {"area_px": 2}]
    assert len({tuple(one["properties"]["classification"]["color"]) for one in features}) == 2


@pytest.mark.parametrize("product", ["geojson", "coco", "rois"])
def test_a_stack_gives_one_file_with_the_place_of_each_object(tmp_path, product):
    if product == "rois":
        pytest.importorskip("roifile")
    rng = np.random.default_rng(0)
    pages = [renumber(rng.integers(-3, 4, (9, 11)).clip(0)) for _ in range(3)]
    path, stack = tmp_path / f"a{shapes.SHAPES[product]}", Stack("T", (3,))
    write_shapes(path, product, [(one, table_of(one)) for one in pages], stack=stack, image="a.tif")
    if product == "coco":
        entries = read_coco(path)
        assert [one.name for one in entries] == ["a_0000.tif", "a_0001.tif", "a_0002.tif"]
        found = [drawn(one) for one in entries]
    else:
        read = {"geojson": read_geojson, "rois": read_rois}[product](path)
        found = [draw([one.rings for one in read if one.plane["T"] == page], (9, 11)) for page in range(3)]
    np.testing.assert_array_equal(found, pages)


@pytest.mark.parametrize(("image", "suffix"), [("a.tif", ".tif"), ("a", "")])
@pytest.mark.parametrize(("shape", "mark"), [((4, 5), "_0001"), ((2, 4, 5), "_0001_z0001")])
def test_names_of_pages_and_planes(tmp_path, image, suffix, shape, mark):
    page = np.zeros(shape, np.uint8), {1: "fat"}
    write_shapes(tmp_path / "a.json", "coco", [page, page], stack=Stack("T", (2,)), image=image)
    names = [one["file_name"] for one in json.loads((tmp_path / "a.json").read_text())["images"]]
    assert names[-1] == f"a{mark}{suffix}"


def test_a_volume_gives_its_planes(tmp_path):
    labels = renumber(np.random.default_rng(0).integers(-3, 4, (3, 9, 11)).clip(0))
    labels[1] = 0
    write_shapes(tmp_path / "a.json", "coco", [(labels, table_of(labels))], stack=None, image="a.tif")
    entries = read_coco(tmp_path / "a.json")
    assert [one.name for one in entries] == ["a_z0000.tif", "a_z0001.tif", "a_z0002.tif"]
    np.testing.assert_array_equal([drawn(one) > 0 for one in entries], labels > 0)
    write_shapes(tmp_path / "a.geojson", "geojson", [(labels, table_of(labels))], stack=None, image="a.tif")
    found = read_geojson(tmp_path / "a.geojson")
    assert {one.plane["Z"] for one in found} == {0, 2}
    assert {one.name for one in found} == {str(number) for number in np.unique(labels) if number}


def test_predict_saves_shapes(data, objects_model, capsys):  # noqa: F811
    pytest.importorskip("roifile")
    words = ("predict", objects_model, data / "images", "--out", data / "out")
    for _ in range(2):  # its own results are replaced
        assert call(capsys, *words, "--save", "labels,objects,geojson,coco,rois")[0] == 0
    names = {path.name for path in (data / "out").iterdir() if path.name.startswith("0_")}
    assert names == {"0_labels.tif", "0_objects.csv", "0_objects.geojson", "0_coco.json", "0_rois.zip"}
    rows = (data / "out" / "0_objects.csv").read_text().splitlines()
    features = json.loads((data / "out" / "0_objects.geojson").read_text())["features"]
    assert len(features) == len(rows) - 1
    assert all("area_px" in one["properties"]["measurements"] for one in features)


def classes_model(path, names=()):
    from contractile.model import Model, ModelCard, save
    from contractile.unet import UNet, UNetConfig

    torch.manual_seed(0)
    config = UNetConfig(width=2, depth=1)
    card = ModelCard(network=config, class_values=(0, 1), class_names=names)
    save(Model(UNet(config), card), path)
    return path


@pytest.mark.parametrize(("names", "name"), [((), "class 1"), (("background", "vessel"), "vessel")])
def test_pieces_of_classes_are_shapes_of_their_name(data, capsys, names, name):  # noqa: F811
    model = classes_model(data / "c.safetensors", names)
    words = ("predict", model, data / "images", "--out", data / "out", "--save", "labels,geojson,coco")
    assert call(capsys, *words)[0] == 0
    labels = tifffile.imread(data / "out" / "0_labels.tif")
    shapes = read_geojson(data / "out" / "0_objects.geojson")
    assert shapes
    assert {one.kind for one in shapes} == {name}
    np.testing.assert_array_equal(draw([one.rings for one in shapes], labels.shape) > 0, labels > 0)
    [entry] = read_coco(data / "out" / "0_coco.json")
    assert set(entry.kinds) == {name}


def test_categories_of_coco_are_the_values_of_the_classes(tmp_path):
    names, labels = {1: "cell", 5: "nucleus"}, np.zeros((6, 8), np.int32)
    labels[1:3, 1:4] = 5
    for number, page in enumerate((labels, np.minimum(labels, 1), np.zeros_like(labels))):
        write_shapes(tmp_path / f"{number}.json", "coco", [(page, names)], stack=None, image="a.tif")
        told = json.loads((tmp_path / f"{number}.json").read_text())
        assert told["categories"] == [{"id": 1, "name": "cell"}, {"id": 5, "name": "nucleus"}]
        assert {one["category_id"] for one in told["annotations"]} == set(np.unique(page[page > 0]).tolist())


@pytest.mark.parametrize("product", ["objects", "ctc"])
def test_a_model_of_classes_has_no_objects(data, capsys, product):  # noqa: F811
    model = classes_model(data / "c.safetensors")
    words = ("predict", model, data / "images", "--out", data / "out", "--save", f"labels,{product}")
    assert f"products must not hold {product} for a model of task classes" in refused(capsys, *words)


def test_pieces_of_classes_in_a_volume_know_their_plane():
    labels = np.zeros((2, 4, 5), np.int32)
    labels[1, 1:3, :2], labels[1, :, 4] = 1, 2
    found = list(cut(labels, {1: "a", 2: "b"}, {"T": 3}))
    assert [(one.kind, one.plane, one.top, one.left) for one in found] == [
        ("a", {"T": 3, "Z": 1}, 1, 0),
        ("b", {"T": 3, "Z": 1}, 0, 4),
    ]
