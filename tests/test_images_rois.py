"""ROIs of ImageJ: labels come back as they were, whatever their holes and pieces."""

import sys
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.images.gate import Limits
from contractile.images.rois import read_rois, write_rois
from contractile.images.shapes import Shape
from contractile.labels import draw, outline, renumber

roifile = pytest.importorskip("roifile")


def shapes_of(labels, **more):
    return [Shape(tuple(rings), **more) for _, rings in outline(labels).objects()]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_labels_come_back_as_they_were(tmp_path, seed):
    labels = np.random.default_rng(seed).integers(0, 4, (9, 13)).astype(np.int32)
    write_rois(tmp_path / "a.zip", shapes_of(labels))
    np.testing.assert_array_equal(draw([one.rings for one in read_rois(tmp_path / "a.zip")], (9, 13)), renumber(labels))


def test_names_are_unique_and_places_are_kept(tmp_path):
    labels = np.array([[1, 0, 2, 0, 3]])
    write_rois(tmp_path / "a.zip", shapes_of(labels, name="Cell/1", plane={"T": 2, "Z": 0}))
    found = read_rois(tmp_path / "a.zip")
    assert [one.name for one in found] == ["Cell_1", "Cell_1 (2)", "Cell_1 (3)"]
    assert found[0].plane == {"T": 2, "Z": 0}
    [roi, *_] = roifile.roiread(tmp_path / "a.zip")
    assert (roi.t_position, roi.z_position) == (3, 1)  # ImageJ counts from 1
    assert (roi.left, roi.top, roi.right, roi.bottom) == (0, 0, 1, 1)


def test_an_object_keeps_its_number_where_names_must_differ(tmp_path):
    labels = np.array([[1, 0, 2, 0, 3]])
    write_rois(tmp_path / "a.zip", [*shapes_of(labels, name="12"), *shapes_of(labels[:, :1], name="0012")])
    found = read_rois(tmp_path / "a.zip")
    assert [one.name for one in found] == ["12", "12 (2)", "12 (3)", "0012"]
    assert [one.number for one in found] == [12, 12, 12, 0]


def test_pages_without_a_named_axis_are_counted(tmp_path):
    write_rois(tmp_path / "a.zip", shapes_of(np.array([[1]]), plane={"T": 4, "": 4}))
    [roi] = roifile.roiread(tmp_path / "a.zip")
    assert (roi.position, roi.t_position, roi.z_position) == (5, 0, 0)
    [shape] = read_rois(tmp_path / "a.zip")
    assert shape.plane == {"": 4}


def test_classes_are_groups_as_far_as_imagej_has_them(tmp_path, caplog):
    shapes = [one for kind in ("cell", "fat", "rest") for one in shapes_of(np.array([[1]]), kind=kind)]
    write_rois(tmp_path / "a.zip", shapes, groups={"cell": 1, "fat": 255, "rest": 256})
    assert [one.group for one in roifile.roiread(tmp_path / "a.zip")] == [1, 255, 0]
    assert [one.kind for one in read_rois(tmp_path / "a.zip")] == ["group 1", "group 255", ""]
    assert "ROIs have groups 1 to 255: 1 of 3 classes have none" in caplog.text


def test_other_rois_of_imagej_are_read(tmp_path, caplog):
    rectangle = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.RECT, top=1, left=2, bottom=4, right=7, name="box")
    polygon = roifile.ImagejRoi.frompoints([[1, 1], [5, 1], [5, 3], [1, 3]], name="polygon")
    point = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.POINT, name="point", n_coordinates=0)
    oval = roifile.ImagejRoi(roitype=roifile.ROI_TYPE.OVAL, top=0, left=0, bottom=20, right=20, name="oval", group=4)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        for roi in (rectangle, polygon, point, oval):
            packed.writestr(f"{roi.name}.roi", roi.tobytes())
    box, drawn, disc = read_rois(tmp_path / "a.zip")
    expected = np.zeros((9, 9), int)
    expected[1:4, 2:7] = 1
    assert draw([box.rings], (9, 9)).tolist() == expected.tolist()
    assert draw([drawn.rings], (9, 9)).sum() == 8
    assert draw([disc.rings], (20, 20)).sum() == pytest.approx(np.pi * 100, rel=0.02)
    assert (disc.kind, box.kind) == ("group 4", "")
    assert "1 of 4 ROIs have no area and are left out" in caplog.text
    (tmp_path / "box.roi").write_bytes(rectangle.tobytes())
    [alone] = read_rois(tmp_path / "box.roi")
    assert alone.name == "box"


def test_what_imagej_cannot_hold_is_refused(tmp_path):
    far = Shape((np.array([(0, 0), (0, 40000), (2, 40000)]),))
    with pytest.raises(ContractileError, match="ROIs of ImageJ must lie within 0 to 32767 pixels, got 40000"):
        write_rois(tmp_path / "a.zip", [far])
    with pytest.raises(ContractileError, match="ROIs of ImageJ must lie within 0 to 32767 pixels, got -2"):
        write_rois(tmp_path / "a.zip", [Shape((np.array([(0, -2), (0, 4), (2, 4)]),))])
    assert not (tmp_path / "a.zip").exists()


def test_what_holds_no_rois_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK, but not a zip")
    with pytest.raises(ContractileError, match="is not a zip of ROIs"):
        read_rois(path)
    path.write_bytes(b"Iout and then nothing")
    with pytest.raises(ContractileError, match="ROI a cannot be read"):
        read_rois(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("readme.txt", "no ROI")
    with pytest.raises(ContractileError, match=r"must hold 1 to 1,000,000 ROIs of at most .* bytes, got 0 of 0 bytes"):
        read_rois(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb.roi", b"\0" * 10**6)
    monkeypatch.setattr("contractile.images.rois.limits", lambda: Limits(metadata=5000))
    with pytest.raises(ContractileError, match=r"got 1 of 1,000,000 bytes"):
        read_rois(path)
    monkeypatch.setattr("contractile.images.rois.limits", lambda: Limits(metadata=50))
    with pytest.raises(ContractileError, match=r"ROIs must have at most 50 bytes"):
        read_rois(path)


def test_a_missing_package_names_its_install_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "roifile", None)
    with pytest.raises(ContractileError, match=r"need the package roifile; pip install 'contractile\[rois\]'"):
        read_rois(tmp_path / "a.zip")
