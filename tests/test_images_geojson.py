"""GeoJSON: labels come back as they were, and files of QuPath are read."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.images.gate import Limits
from contractile.images.geojson import read_geojson, write_geojson
from contractile.images.shapes import Shape
from contractile.labels import draw, outline, renumber


def shapes_of(labels):
    return [Shape(tuple(rings), name=str(number)) for number, rings in outline(labels).objects()]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_labels_come_back_as_they_were(tmp_path, seed):
    labels = np.random.default_rng(seed).integers(0, 4, (9, 13)).astype(np.int32)
    write_geojson(tmp_path / "a.geojson", shapes_of(labels))
    found = read_geojson(tmp_path / "a.geojson")
    np.testing.assert_array_equal(draw([one.rings for one in found], labels.shape), renumber(labels))


def test_what_qupath_reads_is_there(tmp_path):
    labels = np.zeros((5, 7), np.int32)
    labels[1:4, 2:6] = 1
    labels[2, 3] = 0
    [shape] = shapes_of(labels)
    shape = Shape(shape.rings, name="cell 1", plane={"Z": 3, "T": 2}, measured={"Area px": 11.0, "bad": np.nan})
    write_geojson(tmp_path / "a.geojson", [shape], kind="nucleus")
    found = json.loads((tmp_path / "a.geojson").read_text())
    [feature] = found["features"]
    assert found["type"] == "FeatureCollection"
    assert feature["type"] == "Feature"
    assert len(feature["id"]) == 36
    assert feature["properties"] == {
        "objectType": "annotation",
        "name": "cell 1",
        "classification": {"name": "nucleus", "color": [230, 159, 0]},
        "measurements": {"Area px": 11.0},
    }
    outer, hole = feature["geometry"]["coordinates"]
    assert feature["geometry"]["plane"] == {"c": -1, "z": 3, "t": 2}
    assert outer[0] == outer[-1]
    assert sorted(outer[:-1]) == [[2, 1], [2, 4], [6, 1], [6, 4]]  # (x, y)
    assert sorted(hole[:-1]) == [[3, 2], [3, 3], [4, 2], [4, 3]]
    [again] = read_geojson(tmp_path / "a.geojson")
    assert (again.kind, again.name, again.plane) == ("nucleus", "cell 1", {"T": 2, "Z": 3})


def test_each_class_has_a_colour_and_keeps_it(tmp_path):
    labels = np.array([[1, 0, 2]])
    colours = []
    for kinds in (("vessel", "cell"), ("cell", "")):
        found = [Shape(one.rings, kind=kind) for one, kind in zip(shapes_of(labels), kinds, strict=True)]
        write_geojson(tmp_path / "a.geojson", found, classes=("vessel", "cell"))
        features = json.loads((tmp_path / "a.geojson").read_text())["features"]
        colours += [tuple(one["properties"]["classification"]["color"]) for one in features]
    assert colours[1] == colours[2]
    assert len(set(colours)) == 3


def test_pages_without_a_named_axis_are_times_that_are_counted(tmp_path):
    [shape] = shapes_of(np.array([[1]]))
    write_geojson(tmp_path / "a.geojson", [Shape(shape.rings, name="12", plane={"T": 2, "Z": 1, "": 7})])
    [feature] = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert feature["geometry"]["plane"] == {"c": -1, "z": 1, "t": 2, "page": 7}
    [again] = read_geojson(tmp_path / "a.geojson")
    assert (again.plane, again.number) == ({"": 7}, 12)


def write(path, found):
    path.write_text(json.dumps(found))
    return path


SQUARE = [[[1.5, 1], [3.5, 1], [3.5, 4], [1.5, 4], [1.5, 1]]]


@pytest.mark.parametrize(
    "found",
    [
        {"type": "Polygon", "coordinates": SQUARE},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [SQUARE]}, "properties": None},
        [{"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}}],
    ],
)
def test_other_forms_are_read(tmp_path, found):
    [shape] = read_geojson(write(tmp_path / "a.geojson", found))
    assert draw([shape.rings], (5, 5)).sum() == 6  # columns 2 and 3 have their centres inside


def test_classes_of_several_names_are_joined(tmp_path):
    properties = {"classification": {"names": ["Tumor", "Positive"], "color": [1, 2, 3]}}
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}, "properties": properties}
    [shape] = read_geojson(write(tmp_path / "a.geojson", feature))
    assert shape.kind == "Tumor: Positive"


def test_points_and_lines_are_left_out(tmp_path, caplog):
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    area = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}}
    found = {"type": "FeatureCollection", "features": [point, area, {"type": "Feature", "geometry": None}]}
    assert len(read_geojson(write(tmp_path / "a.geojson", found))) == 1
    assert "2 of 3 shapes have no area and are left out" in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", r"is not JSON \("),
        ('{"type": "Topology"}', "type 'Topology'"),
        ('{"type": "Polygon", "coordinates": [[1, 2, 3]]}', "a ring of shape"),
        ('{"type": "Polygon", "coordinates": [[["a", 2], [1, 2], [3, 4]]]}', "could not convert"),
        ("[" * 100000, r"is not JSON \("),
        ("3", "is not the GeoJSON of polygons"),
    ],
)
def test_what_is_no_geojson_is_refused(tmp_path, text, problem):
    (tmp_path / "a.geojson").write_text(text)
    with pytest.raises(ContractileError, match=problem):
        read_geojson(tmp_path / "a.geojson")


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    (tmp_path / "a.geojson").write_text("[]" + " " * 100)
    monkeypatch.setattr("contractile.images.json_text.limits", lambda: Limits(metadata=50))
    with pytest.raises(ContractileError, match="JSON must have at most 50 bytes, got 102"):
        read_geojson(tmp_path / "a.geojson")
