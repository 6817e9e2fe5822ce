"""What the benchmarks of large images compare: labels up to numbers, objects cut at faces, sections mirrored out."""

import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

import interrupted  # noqa: E402
import sections  # noqa: E402
import tilings  # noqa: E402

LABELS = np.kron(np.array([[0, 1, 2], [3, 1, 2]], np.int32), np.ones((4, 4), np.int32))


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([0, 1, 2, 3], (True, True)),
        ([0, 3, 1, 2], (True, False)),
        ([0, 1, 1, 3], (False, False)),  # two are one
        ([0, 1, 2, 0], (False, False)),  # one is not there
        ([4, 1, 2, 3], (False, False)),  # the background is an object
    ],
)
def test_labels_are_compared_up_to_their_numbers(monkeypatch, numbers, expected):
    monkeypatch.setattr(interrupted, "BAND", 3)
    assert interrupted.compare(LABELS, np.array(numbers, np.int32)[LABELS]) == expected
    assert interrupted.compare(LABELS, LABELS[:, :-1]) == (False, False)


def test_one_object_with_two_numbers_is_not_the_same():
    cut = LABELS.copy()
    cut[4:][cut[4:] == 1] = 9
    assert interrupted.compare(LABELS, cut) == interrupted.compare(cut, LABELS) == (False, False)


def test_hidden_files_are_not_compared(tmp_path):
    for folder, moment in (("one", "a"), ("two", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".contractile.jsonl").write_text(moment)
        (tmp_path / folder / "table.csv").write_text("id")
    assert interrupted.digests(tmp_path / "one") == interrupted.digests(tmp_path / "two")
    (tmp_path / "two" / "table.csv").write_text("id,area")
    assert interrupted.digests(tmp_path / "one") != interrupted.digests(tmp_path / "two")


def test_objects_are_cut_where_most_of_a_face_has_two_labels():
    cut = LABELS.copy()
    cut[4:][cut[4:] == 1] = 9
    assert tilings.count_cut(LABELS, LABELS, 4) == (2, 0)
    assert tilings.count_cut(LABELS, cut, 4) == (2, 1)
    assert tilings.count_cut(LABELS, cut, 5) == (3, 0)  # the cut is not at a face
    moved = LABELS.copy()
    moved[4:, 4] = 3  # a border between two objects that lies elsewhere by a pixel
    assert tilings.count_cut(LABELS, moved, 4) == (2, 0)
    assert (tilings.count_changed(LABELS, cut), tilings.count_changed(LABELS, moved)) == (1, 2)


def test_a_section_is_mirrored_without_repeating_its_edge(tmp_path, monkeypatch):
    monkeypatch.setattr(sections, "TILE", 8)
    section = np.random.default_rng(0).integers(0, 255, (6, 7), np.uint8)
    sections.write(tmp_path / "large.zarr", section, (21, 30))
    np.testing.assert_array_equal(
        zarr.open(tmp_path / "large.zarr/0")[:], np.pad(section, ((0, 15), (0, 23)), mode="reflect")
    )


def test_objects_at_the_lower_or_right_border_of_a_section_are_left_out():
    one = np.pad(LABELS, ((1, 0), (1, 0)))
    assert sections.compare_objects(one, one) == ([], [])  # 1 touches 2, and both 2 and 3 are at a border
    one = np.pad(LABELS, 1)
    assert sections.compare_objects(one, one) == ([1, 2, 3], [])
    two = np.array([0, 7, 5, 4], np.int32)[one]
    assert sections.compare_objects(one, two) == ([1, 2, 3], [])
    two[1, 5] = 0
    assert sections.compare_objects(one, two) == ([1, 2, 3], [1])
