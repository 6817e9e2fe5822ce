"""Tracks by overlap: hand-drawn films, and the folder that the Cell Tracking Challenge asks for."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from test_cli import call, data, objects_model, refused  # noqa: F401

from contractile.errors import ContractileError
from contractile.evaluation import evaluate
from contractile.images import read_labels
from contractile.images.image import Stack
from contractile.images.series import Series
from contractile.images.sources import Source
from contractile.labels import renumber
from contractile.prediction.tracks import Track, Tracker, plan_movies


def row(*values):
    """Labels (1, X) of one frame."""
    return np.array([values], np.int32)


def test_an_object_keeps_its_track_and_a_new_one_gets_its_own():
    tracker = Tracker()
    assert tracker.add(row(1, 1, 1, 0, 0, 0), 0).tolist() == [[1, 1, 1, 0, 0, 0]]
    assert tracker.add(row(0, 2, 2, 2, 0, 1), 1).tolist() == [[0, 1, 1, 1, 0, 2]]
    assert list(tracker.tracks.values()) == [Track(1, 0, 1), Track(2, 1, 1)]


def test_an_object_that_divides_is_the_parent_of_both():
    tracker = Tracker()
    tracker.add(row(5, 5, 5, 5, 5), 0)
    assert tracker.add(row(1, 1, 0, 2, 2), 1).tolist() == [[2, 2, 0, 3, 3]]
    assert [str(one) for one in tracker.tracks.values()] == ["1 0 0 0", "2 1 1 1", "3 1 1 1"]


def test_two_that_merge_go_on_as_one():
    tracker = Tracker()
    tracker.add(row(1, 1, 1, 2, 2), 0)
    assert tracker.add(row(1, 1, 1, 1, 1), 1).tolist() == [[1, 1, 1, 1, 1]]
    assert [str(one) for one in tracker.tracks.values()] == ["1 0 1 0", "2 0 0 0"]


def test_after_a_gap_all_tracks_are_new():
    tracker = Tracker()
    tracker.add(row(1, 1), 0)
    assert tracker.add(row(1, 1), 2).tolist() == [[2, 2]]


@given(st.integers(0, 2**32 - 1))
def test_the_table_says_what_the_masks_show(seed):
    rng = np.random.default_rng(seed)
    frames = [renumber(rng.integers(-2, 4, (4, 6)).clip(0)) for _ in range(5)]
    tracker = Tracker()
    masks = [tracker.add(frame, number) for number, frame in enumerate(frames)]
    for frame, mask in zip(frames, masks, strict=True):
        np.testing.assert_array_equal(frame > 0, mask > 0)
        assert len(np.unique(frame)) == len(np.unique(mask))  # no two objects share a track
    for track in tracker.tracks.values():
        there = [number for number, mask in enumerate(masks) if (mask == track.number).any()]
        assert there == list(range(track.first, track.last + 1))
        assert track.parent == 0 or tracker.tracks[track.parent].last == track.first - 1


def test_frames_of_two_sizes_are_refused():
    tracker = Tracker()
    tracker.add(row(1), 0)
    with pytest.raises(ContractileError, match=r"frames must have one size, got \(1, 2\) after \(1, 1\)"):
        tracker.add(row(1, 1), 1)


def test_more_tracks_than_masks_can_number_are_refused():
    labels = np.arange(1, 2**16 + 1, dtype=np.int32).reshape(256, 256)
    with pytest.raises(ContractileError, match="has at most 65535 tracks, got 65536"):
        Tracker().add(labels, 0)


def series(path, pages=1, axes="T"):
    sources = tuple(Source(Path(path).stem, Path(path), page) for page in range(pages))
    return Series(Path(path).stem, sources, Stack(axes, (pages,)) if pages > 1 else None)


def test_movies_have_the_names_of_the_challenge():
    movies = plan_movies([series("data/01/t000.tif"), series("data/01/t001.tif"), series("data/b.tif", 2)], Path("out"))
    first, other = movies["t000"], movies["b"]
    assert movies["t001"] is first
    assert first.files("t001") == [Path("out/01_RES/mask001.tif"), Path("out/01_RES/res_track.txt")]
    assert first.files("t000") == [Path("out/01_RES/mask000.tif")]
    assert other.files("b") == [Path("out/b_RES") / name for name in ("mask000.tif", "mask001.tif", "res_track.txt")]


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("a.tif", "b.tif"), "frames must have a number in their names"),
        (("a1.tif", "b1.tif"), r"frames must have numbers of their own, got a1\.tif, b1\.tif"),
    ],
)
def test_frames_without_numbers_are_refused(names, problem):
    with pytest.raises(ContractileError, match=problem):
        plan_movies([series(name) for name in names], Path("out"))


@pytest.mark.parametrize(
    ("axes", "cure"),
    [
        ("Z", r"--dims 3: it takes the planes of one time as one volume; if the planes are times, .* \(--axes TYX\)$"),
        ("TZ", r"use a model that was trained with --dims 3: it takes the planes of one time as one volume$"),
        ("QZ", r"use a model that was trained with --dims 3: it takes the planes of one time as one volume$"),
        ("QT", r"save each image as a file of its own$"),
        ("P", r"save each image as a file of its own$"),
    ],
)
def test_pages_that_are_no_times_are_refused(axes, cure):
    problem = rf"^a\.tif: the pages of a stack must be times \(T\) to be tracked \(ctc\), got {axes}; "
    with pytest.raises(ContractileError, match=problem + ".*" + cure):
        plan_movies([series("a.tif", 6, axes)], Path("out"))


def test_pages_without_a_name_are_a_film():
    assert list(plan_movies([series("a.tif", 2, "Q")], Path("out"))) == ["a"]


def test_planes_are_not_tracked_and_nothing_is_written(data, objects_model, capsys, tmp_path):  # noqa: F811
    image = tifffile.imread(data / "images" / "0.tif")
    stack = np.stack([image] * 4).reshape(2, 2, *image.shape)
    tifffile.imwrite(tmp_path / "02.tif", stack, imagej=True, metadata={"axes": "TZYX"})
    words = ("predict", objects_model, tmp_path / "02.tif", "--out", tmp_path / "out", "--save", "ctc")
    line = refused(capsys, *words)
    assert line.endswith(
        "02.tif: the pages of a stack must be times (T) to be tracked (ctc), got TZ; "
        "use a model that was trained with --dims 3: it takes the planes of one time as one volume"
    )
    assert not (tmp_path / "out").exists()


def test_predict_saves_a_result_that_is_scored(data, objects_model, capsys, tmp_path):  # noqa: F811
    frames = tmp_path / "01"
    frames.mkdir()
    for number in range(2):
        tifffile.imwrite(frames / f"t{number:03d}.tif", tifffile.imread(data / "images" / "0.tif"))
    words = ("predict", objects_model, frames, "--out", tmp_path, "--save", "labels,ctc")
    for _ in range(2):  # its own results are replaced
        assert call(capsys, *words)[0] == 0
    result = tmp_path / "01_RES"
    assert sorted(path.name for path in result.glob("[!.]*")) == ["mask000.tif", "mask001.tif", "res_track.txt"]
    mask = tifffile.imread(result / "mask000.tif")
    assert mask.dtype == np.uint16
    count = len(np.unique(mask[mask > 0]))
    lines = (result / "res_track.txt").read_text().splitlines()
    assert lines == [f"{number} 0 1 0" for number in range(1, count + 1)]
    truth = tmp_path / "01_GT" / "TRA"
    truth.mkdir(parents=True)
    for number in range(2):
        tifffile.imwrite(truth / f"man_track{number:03d}.tif", tifffile.imread(result / f"mask{number:03d}.tif"))
    (truth / "man_track.txt").write_text((result / "res_track.txt").read_text())
    assert evaluate(result, tmp_path / "01_GT").summary["tra"].value == 1
    np.testing.assert_array_equal(read_labels(tmp_path / "t000_labels.tif") > 0, mask > 0)


def test_frames_as_a_shell_lists_them_are_tracked_in_their_order(data, objects_model, capsys, tmp_path):  # noqa: F811
    image = tifffile.imread(data / "images" / "0.tif")
    files = [tmp_path / "01" / f"t{number}.tif" for number in (1, 10, 2, 9)]
    files[0].parent.mkdir()
    for file in files:
        tifffile.imwrite(file, image)
    assert call(capsys, "predict", objects_model, *files, "--out", tmp_path, "--save", "ctc")[0] == 0
    lines = (tmp_path / "01_RES" / "res_track.txt").read_text().splitlines()
    ends = {tuple(line.split()[1:]) for line in lines}
    assert ends == {("1", "2", "0"), ("9", "10", next(iter(end[2] for end in ends if end[0] == "9")))}
    assert read_labels(tmp_path / "01_RES" / "mask010.tif").max() == len(lines)


def test_a_stack_is_a_movie_of_its_own(data, objects_model, capsys, tmp_path):  # noqa: F811
    image = tifffile.imread(data / "images" / "0.tif")
    tifffile.imwrite(tmp_path / "02.tif", np.stack([image] * 3), imagej=True, metadata={"axes": "TYX"})
    assert call(capsys, "predict", objects_model, tmp_path / "02.tif", "--out", tmp_path, "--save", "ctc")[0] == 0
    assert len(list((tmp_path / "02_RES").glob("mask00?.tif"))) == 3
