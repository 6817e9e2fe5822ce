"""A session: annotation that outlives the page, the process and the power."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.dataset import load_examples, pair_up
from contractile.errors import AlreadyThere, ContractileError, InUse, NotWritten
from contractile.images import read_labels
from contractile.targets import IGNORE, TargetConfig, make_target
from contractile.viewer import doing, held, labels_writing
from contractile.viewer.acts import (
    Add,
    AddAll,
    Background,
    Delete,
    Fill,
    Flood,
    Merge,
    Paint,
    Split,
    read_action,
)
from contractile.viewer.session import ClassInfo, Counts, PageInfo, Session
from contractile.viewer.sheet import Patch

PAGES = [PageInfo(name="a", shape=(120, 150), source="1"), PageInfo(name="b", shape=(90, 80), source="2")]
CLASSES = [ClassInfo(value=value, name=f"class {value}", colour="#ff0000") for value in (0, 1, 2)]


def everything(page):
    return slice(0, page.shape[0]), slice(0, page.shape[1])


def seen(session):
    pages = list(enumerate(session.pages))
    return [
        (session.labels(i, everything(page)).tolist(), session.held(i, everything(page)).tolist()) for i, page in pages
    ]


def dot(y, x, value="new", image=0, radius=2):
    return Paint(image=image, points=[(y, x)], radius=radius, value=value)


@pytest.fixture
def session(tmp_path):
    found = Session(tmp_path / "s", PAGES, task="objects")
    yield found
    found.close()


def reopened(session, **more):
    session.close()
    return Session(session.folder, session.pages, task=session.task, **more)


def test_an_object_is_painted_and_is_there_again(session):
    told = []
    session.on_change(told.append)
    change = session.act(dot(20, 30))
    assert (change.image, change.region, change.number) == (0, (slice(18, 23), slice(28, 33)), 1)
    assert told == [change]
    assert session.objects(0) == [1]
    assert session.find(0, 1) == change.region
    assert session.annotated(0) == [(slice(0, 120), slice(0, 150))]
    assert session.annotated(1) == []
    again = reopened(session)
    assert again.objects(0) == [1]
    assert again.changes == change.changes
    assert (again.labels(0, everything(PAGES[0])) == 1).sum() == 13
    again.close()


def test_what_changes_nothing_is_no_change(session):
    before = session.changes
    told = []
    session.on_change(told.append)
    assert session.act(dot(-50, -50)).region is None
    assert session.act(dot(5, 5, -1)).number is None
    assert session.changes == before
    assert not session.can_undo
    assert told == []
    assert session.act(dot(20, 30)).number == 1


def test_it_is_known_which_objects_were_drawn_with_their_outline(session):
    session.act(dot(20, 30))
    square = [(40, 40), (40, 60), (60, 60), (60, 40)]
    session.act(Fill(image=0, points=square, value="new"))
    session.act(Add(image=1, region=(10, 12, 10, 12), mask=np.ones((2, 2), bool)))
    assert (session.whole_numbers(0), session.whole_numbers(1)) == ({2}, {3})
    again = reopened(session)
    assert (again.whole_numbers(0), again.whole_numbers(1)) == ({2}, {3})
    again.close()


def test_numbers_never_repeat(session):
    numbers = [session.act(dot(20, 10 + 6 * n)).number for n in range(3)]
    session.undo()
    numbers.append(session.act(dot(50, 10, image=1)).number)
    session.act(Delete(image=0, number=1))
    session.undo()
    session.undo()
    session.undo()
    again = reopened(session)
    numbers.append(again.act(dot(60, 60)).number)
    assert numbers == [1, 2, 3, 4, 5]
    again.close()


def test_the_eraser_background_and_existing_numbers(session):
    session.act(dot(20, 20, radius=8))
    session.act(dot(20, 40, 1))
    session.act(dot(20, 20, -1))
    session.act(dot(40, 20, 0))
    labels = session.labels(0, everything(PAGES[0]))
    assert (labels[20, 20], labels[20, 40], labels[40, 20], labels[14, 20]) == (-1, 1, 0, 1)
    assert session.counts() == Counts(objects=1, held=0, strokes=4, background=True, kinds=2)


def test_fill_and_flood(session):
    box = [(10, 10), (10, 50), (40, 50), (40, 10)]
    assert session.act(Fill(image=0, points=box, value="new")).number == 1
    assert session.act(Flood(image=0, point=(20, 20), value="new")).number == 2
    assert session.objects(0) == [2]
    session.act(Fill(image=0, points=[(0, 0), (0, 60), (60, 60), (60, 0)], value=0, over=False))
    labels = session.labels(0, everything(PAGES[0]))
    assert (labels == 2).sum() == 31 * 41
    assert (labels == 0).sum() == 61**2 - 31 * 41


def test_merge_split_delete_and_background(session):
    session.act(Fill(image=0, points=[(10, 10), (10, 29), (29, 29), (29, 10)], value="new"))
    session.act(Fill(image=0, points=[(10, 30), (10, 49), (29, 49), (29, 30)], value="new"))
    assert session.act(Merge(image=0, numbers=[2, 1])).number == 2
    assert session.objects(0) == [2]
    assert session.act(Split(image=0, number=2, points=[(0, 20), (60, 20)])).number == 3
    assert session.objects(0) == [2, 3]
    assert (session.labels(0, everything(PAGES[0])) > 0).sum() == 20 * 40
    session.act(Background(image=0, number=3))
    session.act(Delete(image=0, number=2))
    labels = session.labels(0, everything(PAGES[0]))
    assert session.objects(0) == []
    assert set(np.unique(labels)) == {-1, 0}
    assert session.act(dot(5, 5)).number == 4


def test_predicted_objects_are_accepted_where_nothing_is_known(session):
    session.act(Fill(image=0, points=[(0, 0), (0, 19), (40, 19), (40, 0)], value=0))
    mask = np.ones((10, 20), bool)
    change = session.act(Add(image=0, region=(10, 20, 10, 30), mask=mask))
    assert change.number == 1
    assert session.find(0, 1) == (slice(10, 20), slice(20, 30))
    shapes = np.zeros((60, 100), np.int32)
    shapes[10:20, 20:33] = 70  # mostly known already
    shapes[40:50, 40:50] = 7
    shapes[40:50, 60:70] = 900
    change = session.act(AddAll(image=0, region=(0, 60, 0, 100), labels=shapes))
    assert change.number is None
    assert session.objects(0) == [1, 2, 3]
    assert session.find(0, 3) == (slice(40, 50), slice(60, 70))
    session.undo()
    assert session.objects(0) == [1]
    assert session.act(AddAll(image=0, region=(0, 9, 0, 9), labels=shapes[:9, :9])).region is None


def test_every_fifth_object_is_held_from_the_third(session):
    for n in range(14):
        session.act(dot(20 + 20 * (n % 2), 10 + 8 * n, image=0))
    assert session.held_numbers(0) == {3, 8, 13}
    assert session.counts().held == 3
    labels, kept = session.labels(0, everything(PAGES[0])), session.held(0, everything(PAGES[0]))
    assert np.array_equal(kept, np.isin(labels, [3, 8, 13]))
    for _ in range(14):
        session.undo()
    assert session.held_numbers(0) == frozenset()
    assert not session.held(0, everything(PAGES[0])).any()
    for _ in range(14):
        session.redo()
    assert session.held_numbers(0) == {3, 8, 13}
    again = reopened(session)
    assert again.held_numbers(0) == {3, 8, 13}
    assert np.array_equal(again.held(0, everything(PAGES[0])), kept)
    again.close()


def test_what_is_held_stays_held_until_its_object_is_deleted(session):
    for n in range(3):
        session.act(dot(20, 10 + 20 * n, radius=6))
    spot = (slice(20, 21), slice(50, 51))
    assert session.held(0, spot).all()
    session.act(dot(20, 50, -1))
    assert session.held(0, spot).all()
    assert session.held_numbers(0) == {3}
    session.act(dot(20, 50, 1))
    assert session.held(0, spot).all()
    assert session.held_numbers(0) == {3}
    session.act(dot(20, 60, 3))
    assert session.held(0, (slice(20, 21), slice(61, 62))).all()
    session.act(Delete(image=0, number=3))
    assert not session.held(0, everything(PAGES[0])).any()
    session.undo()
    assert session.held(0, spot).all()


def test_an_object_that_was_learned_from_judges_nothing(session):
    for n in range(4):
        session.act(dot(20, 10 + 4 * n, radius=2))
    assert session.held_numbers(0) == {3}
    session.act(Merge(image=0, numbers=[3, 4]))
    assert session.held_numbers(0) == frozenset()
    before = session.held(0, everything(PAGES[0]))
    assert before.any()
    session.act(dot(40, 18, 3))
    assert np.array_equal(session.held(0, everything(PAGES[0])), before)
    session.undo()
    session.undo()
    assert session.held_numbers(0) == {3}
    session.act(dot(60, 60, 3, radius=6))
    session.act(Split(image=0, number=3, points=[(50, 60), (70, 60)]))
    assert session.held_numbers(0) >= {3}
    assert all(n in session.held_numbers(0) for n in session.objects(0) if n > 4)
    session.act(Split(image=0, number=1, points=[(10, 10), (30, 10)]))
    assert session.objects(0)[-1] not in session.held_numbers(0)


def test_every_fifth_stroke_of_background_is_held(session):
    for n in range(8):
        session.act(dot(10 + 10 * n, 10, 0))
        session.act(dot(10 + 10 * n, 30, -1))
    kept = session.held(0, everything(PAGES[0]))
    assert [bool(kept[10 + 10 * n, 10]) for n in range(8)] == [n in (2, 7) for n in range(8)]
    session.act(dot(30, 10, -1))
    assert session.held(0, everything(PAGES[0]))[30, 10]


def test_classes(tmp_path):
    session = Session(tmp_path / "s", PAGES, task="classes", classes=CLASSES)
    for n in range(3):
        assert session.act(dot(10 + 10 * n, 10, 1)).number is None
        session.act(dot(10 + 10 * n, 30, 2))
    session.act(dot(90, 90, 0))
    assert session.objects(0) == []
    assert session.held_numbers(0) == frozenset()
    assert session.counts() == Counts(objects=0, held=0, strokes=7, background=True, kinds=3)
    kept = session.held(0, everything(PAGES[0]))
    assert (kept[30, 10], kept[30, 30], kept[20, 10]) == (True, True, False)
    shapes = np.zeros((20, 20), np.int32)
    shapes[5:8, 5:8] = 2
    session.act(AddAll(image=1, region=(0, 20, 0, 20), labels=shapes))
    session.act(Add(image=1, region=(20, 30, 0, 10), mask=np.ones((10, 10), bool), value=1))
    assert (session.labels(1, everything(PAGES[1])) == 1).sum() == 100
    for wrong, message in [
        (dot(5, 5, 3), r"value must be that of a class \(0, 1, 2\), got 3; add the class"),
        (dot(5, 5, "new"), r'value must be that of a class, got "new"; objects are of the other task'),
        (Delete(image=0, number=1), "classes have no objects to change; paint over them"),
        (AddAll(image=1, region=(0, 20, 0, 20), labels=shapes * 4), "value must be that of a class .* got 8"),
    ]:
        with pytest.raises(ContractileError, match=message):
            session.act(wrong)
    again = reopened(session)
    assert again.classes == tuple(CLASSES)
    again.close()


def test_actions_that_cannot_be_done(session, monkeypatch):
    session.act(dot(20, 20))
    mask = np.ones((4, 4), bool)
    for wrong, message in [
        (dot(5, 5, 1, image=1), "no object 1 is in image b; choose one that is there"),
        (dot(5, 5, image=2), "image must be a number from 0 to 1, got 2; choose an image of this session"),
        (Merge(image=0, numbers=[1, 1]), "objects to merge must be at least two, got 1 alone; choose another"),
        (Split(image=0, number=9, points=[(0, 0), (1, 1)]), "no object 9 is in image a"),
        (Add(image=0, region=(0, 4, 0, 4), mask=mask, value=-1), "an object to accept must become known, got the"),
        (Add(image=0, region=(0, 5, 0, 4), mask=mask), r"mask must have the size of their region \(5, 4\), got \(4, 4"),
        (
            Add(image=1, region=(88, 92, 0, 4), mask=mask),
            r"region must lie within the image \(90, 80\), got \[88, 92, 0",
        ),
    ]:
        with pytest.raises(ContractileError, match=message):
            session.act(wrong)
    with pytest.raises(ContractileError, match=r"region must lie within the image \(120, 150\), got \[0, 121, 0, 1\]"):
        session.labels(0, (slice(0, 121), slice(0, 1)))
    monkeypatch.setattr(doing, "MOST_PIXELS", 50)
    with pytest.raises(ContractileError, match="one change must change at most 50 pixels, got more; zoom in"):
        session.act(dot(60, 60, radius=5))
    monkeypatch.setattr(held, "LARGEST", 1)
    with pytest.raises(ContractileError, match="numbers of objects must be at most 1, and the next one would be 2"):
        session.act(dot(60, 60))
    session.close()
    with pytest.raises(ContractileError, match="this session is closed; open it again"):
        session.act(dot(60, 60))


def test_actions_are_read_from_fields():
    assert read_action({"kind": "flood", "image": 0, "point": [1, 2.5], "value": "new"}) == Flood(
        image=0, point=(1, 2.5), value="new"
    )
    for wrong, message in [
        ({"kind": "draw", "image": 0}, "the action: .*'draw'"),
        ({"kind": "paint", "image": 0, "points": [], "radius": 1, "value": 0}, "paint.points: List should have"),
        ({"kind": "paint", "image": 0, "points": [[1, float("nan")]], "radius": 1, "value": 0}, "finite number"),
        ({"kind": "paint", "image": -1, "points": [[1, 2]], "radius": 1, "value": 0}, "paint.image: must be greater"),
        ({"kind": "paint", "image": 0, "points": [[1, 2]], "radius": 1, "value": "old"}, "paint.value"),
        ({"kind": "delete", "image": 0, "number": 0}, "delete.number: must be greater than or equal to 1, got 0"),
        ({"kind": "delete", "image": 0, "number": 1, "more": 1}, "delete.more: Extra inputs are not permitted"),
    ]:
        with pytest.raises(ContractileError, match=message):
            read_action(wrong)


def test_a_lower_resolution_shows_the_middle_of_its_pixels(session):
    session.act(dot(20, 31, radius=0))
    assert session.annotation(0, (2, 2), (slice(0, 60), slice(0, 75)))[9:11, 15].tolist() == [-1, -1]
    session.act(dot(21, 31, radius=0))
    assert session.annotation(0, (2, 2), (slice(0, 60), slice(0, 75)))[10, 15] == 2
    assert session.annotation(0, (2, 2), (slice(9, 12), slice(15, 16))).tolist() == [[-1], [2], [-1]]
    whole = session.labels(0, everything(PAGES[0]))
    rows, columns = np.floor((np.arange(40) + 0.5) * 3.0).astype(int), np.floor((np.arange(60) + 0.5) * 2.5).astype(int)
    low = session.annotation(0, (3.0, 2.5), (slice(0, 40), slice(0, 60)))
    assert np.array_equal(low, whole[np.ix_(rows, columns)])
    assert session.held(0, (slice(0, 40), slice(0, 60)), factor=(3.0, 2.5)).shape == (40, 60)


def test_labels_that_are_given_are_taken_once_and_not_undone(tmp_path):
    labels = np.full(PAGES[0].shape, -9, np.int64)
    labels[:20] = 0
    for n in range(4):
        labels[5:9, 10 * n : 10 * n + 4] = 10 * (n + 1)
    asked = []

    def start(image):
        asked.append(image)
        return labels if image == 0 else None

    session = Session(tmp_path / "s", PAGES, task="objects", start=start)
    assert asked == [0, 1]
    assert not session.can_undo
    assert np.array_equal(session.labels(0, everything(PAGES[0])), labels.clip(-1))
    assert session.held_numbers(0) == {30}
    assert session.act(dot(50, 50)).number == 41
    session.undo()
    again = reopened(session, start=start)
    assert asked == [0, 1]
    assert np.array_equal(again.labels(0, everything(PAGES[0])), labels.clip(-1))
    assert again.undo() is None
    again.close()
    with pytest.raises(
        ContractileError, match=r"labels must have the size of their image a \(120, 150\), got \(2, 2\)"
    ):
        Session(tmp_path / "t", PAGES, task="objects", start=lambda _: np.zeros((2, 2), int))
    with pytest.raises(ContractileError, match=r"value must be that of a class \(0, 1, 2\), got 10"):
        Session(tmp_path / "u", PAGES, task="classes", classes=CLASSES, start=start)


def test_a_folder_of_another_session_is_refused(session):
    session.act(dot(20, 20))
    session.close()
    folder = session.folder

    def refused(pages, task="objects", **more):
        with pytest.raises(ContractileError) as caught:
            Session(folder, pages, task=task, **more)
        assert str(caught.value).startswith(f"{folder}: ")
        assert "\n" not in str(caught.value)
        return caught.value.problem

    other = PageInfo(name="a", shape=(120, 151), source="1")
    assert refused(PAGES[1:]) == (
        "this session belongs to other images: it annotates a, which is not among those given"
    )
    assert refused([other, PAGES[1]]) == (
        "this session belongs to other images: its a is (120, 150) 1, and not (120, 151) 1"
    )
    assert "its a is (120, 150) 1, and not (120, 150) x" in refused(
        [PageInfo(name="a", shape=(120, 150), source="x"), PAGES[1]]
    )
    assert refused(PAGES, "classes", classes=CLASSES) == "this session is one of objects, and not of classes"


def test_images_may_be_added_in_any_order(session):
    session.act(dot(20, 20))
    session.act(dot(30, 30, image=1))
    session.close()
    more = PageInfo(name="c", shape=(10, 10))
    again = Session(session.folder, [more, PAGES[1], PAGES[0]], task="objects")
    assert (again.objects(0), again.objects(1), again.objects(2)) == ([], [2], [1])
    assert again.undo().image == 1
    again.close()


def test_arguments_that_make_no_session(tmp_path):
    for pages, task, classes, message in [
        ([], "objects", [], "pages must hold at least one image, got none; give images"),
        (
            [PAGES[0], PageInfo(name="A", shape=(1, 1))],
            "objects",
            [],
            "pages must have names of their own, got a twice",
        ),
        (PAGES, "objects", CLASSES, r"classes must be empty for task objects, got \[0, 1, 2\]; leave them out"),
        (PAGES, "classes", [], "classes must hold at least one for task classes, got none; give their values"),
        (PAGES, "classes", CLASSES[:1] * 2, r"classes must have values of their own, got \[0, 0\]; give each another"),
    ]:
        with pytest.raises(ContractileError, match=message):
            Session(tmp_path / "s", pages, task=task, classes=classes)
    session = Session(tmp_path / "s", PAGES, task="classes", classes=CLASSES)
    session.close()
    with pytest.raises(ContractileError, match="this session has a class with the value 2, which is not among those"):
        Session(tmp_path / "s", PAGES, task="classes", classes=CLASSES[:2])


def test_a_session_file_that_is_damaged_or_missing_is_refused(session):
    session.act(dot(20, 20))
    session.close()
    path = session.folder / "session.json"
    good = path.read_text()
    path.write_text(json.dumps({**json.loads(good), "version": 2}))
    with pytest.raises(
        ContractileError, match="this is no session that can be read: version must be 1, got 2; restore"
    ):
        Session(session.folder, PAGES, task="objects")
    renamed = json.loads(good)
    renamed["pages"] = renamed["pages"][1:]
    path.write_text(json.dumps(renamed))
    with pytest.raises(ContractileError, match=r"names the image a, which session\.json does not; restore"):
        Session(session.folder, PAGES[1:], task="objects")
    path.unlink()
    with pytest.raises(ContractileError, match=r"there is a journal of a session here, and no session\.json; restore"):
        Session(session.folder, PAGES, task="objects")
    path.write_text(good.replace('"a"', '"z"'))
    assert (session.folder / "journal.jsonl").exists()


def test_a_journal_of_larger_images_is_refused(session):
    session.act(dot(110, 140))
    session.close()
    path = session.folder / "session.json"
    path.write_text(path.read_text().replace("150", "100"))
    small = PageInfo(name="a", shape=(120, 100), source="1")
    with pytest.raises(ContractileError, match=r"journal.jsonl: region must lie within the image \(120, 100\)"):
        Session(session.folder, [small, PAGES[1]], task="objects")


def test_a_second_process_gets_one_clear_line(session):
    code = (
        "import sys; from contractile.viewer.session import Session, PageInfo\n"
        "from contractile.errors import InUse\n"
        "pages = [PageInfo(name='a', shape=(120, 150), source='1'), PageInfo(name='b', shape=(90, 80), source='2')]\n"
        "try: Session(sys.argv[1], pages, task='objects')\n"
        "except InUse as error: print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(session.folder)], capture_output=True, text=True, check=True
    )
    line = "another process annotates in this folder; wait until it ends, or choose another folder"
    assert found.stdout == f"{session.folder}: {line}\n"
    with pytest.raises(InUse, match=line):
        Session(session.folder, PAGES, task="objects")


place = st.tuples(st.integers(-5, 125), st.integers(-5, 155))
image = st.integers(0, 1)
value = st.sampled_from([-1, 0, "new", "new", 1, 2, 3])
number = st.integers(1, 6)
action = st.one_of(
    st.builds(
        Paint, image=image, points=st.lists(place, min_size=1, max_size=3), radius=st.integers(0, 9), value=value
    ),
    st.builds(Fill, image=image, points=st.lists(place, min_size=3, max_size=5), value=value, over=st.booleans()),
    st.builds(Flood, image=image, point=place, value=value),
    st.builds(Merge, image=image, numbers=st.lists(number, min_size=2, max_size=3)),
    st.builds(Split, image=image, number=number, points=st.lists(place, min_size=2, max_size=3)),
    st.builds(Delete, image=image, number=number),
    st.builds(Background, image=image, number=number),
    st.sampled_from(["undo", "redo"]),
)


def do(session, step):
    """One step, or nothing where it cannot be done."""
    if isinstance(step, str):
        getattr(session, step)()
        return
    with suppress(ContractileError):
        session.act(step)


@settings(max_examples=25)
@given(steps=st.lists(action, max_size=14))
def test_undo_to_the_beginning_redo_to_the_end_and_the_same_when_opened_again(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("session")
    session = Session(folder, PAGES, task="objects")
    begin = seen(session)
    for step in steps:
        do(session, step)
    end, objects, kept = seen(session), session.objects(0), session.held_numbers(0)
    session = reopened(session)
    assert (seen(session), session.objects(0), session.held_numbers(0)) == (end, objects, kept)
    for _, page in enumerate(PAGES):
        path = folder / "labels" / f"{page.name}.tif"
        known = np.array(end[PAGES.index(page)][0])
        assert np.array_equal(read_labels(path), known) if (known >= 0).any() else not path.exists()
    count = session.counts().strokes
    while session.undo():
        pass
    assert seen(session) == begin
    assert session.objects(0) == session.objects(1) == []
    for _ in range(count):
        session.redo()
    assert (seen(session), session.objects(0), session.held_numbers(0)) == (end, objects, kept)
    session.close()


def test_a_journal_cut_in_its_last_line_agrees_with_its_label_files(session):
    session.act(dot(20, 20))
    session.flush()
    length = (session.folder / "journal.jsonl").stat().st_size
    session.act(dot(20, 40))
    session.close()
    path = session.folder / "journal.jsonl"
    path.write_bytes(path.read_bytes()[: length + 40])
    again = Session(session.folder, PAGES, task="objects")
    assert again.objects(0) == [1]
    assert np.array_equal(read_labels(session.folder / "labels" / "a.tif"), again.labels(0, everything(PAGES[0])))
    again.close()


def test_label_files_follow_within_a_second_and_go_with_their_last_pixel(session):
    path = session.folder / "labels" / "a.tif"
    session.act(dot(20, 20))
    end = time.monotonic() + 60
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert read_labels(path).shape == PAGES[0].shape
    assert tifffile.imread(path).dtype == np.int32
    assert not (session.folder / "labels" / "b.tif").exists()
    session.undo()
    session.flush()
    assert not path.exists()
    session.redo()
    session.flush()
    assert (read_labels(path) == 1).sum() == 13


def test_a_label_file_that_somebody_changed_is_not_replaced(session):
    path = session.folder / "labels" / "a.tif"
    session.act(dot(20, 20))
    session.flush()
    tifffile.imwrite(path, np.zeros(PAGES[0].shape, np.int32))
    session.act(dot(40, 40))
    rule = "this label file was not written by this session, or was changed since, and is not replaced; move it away"
    with pytest.raises(AlreadyThere, match=rule):
        session.flush()
    assert (read_labels(path) == 0).all()
    with pytest.raises(AlreadyThere, match=rule):
        session.close()
    with pytest.raises(AlreadyThere, match=rule):
        Session(session.folder, PAGES, task="objects")
    path.unlink()
    again = Session(session.folder, PAGES, task="objects")
    assert np.array_equal(read_labels(path), again.labels(0, everything(PAGES[0])))
    again.close()


def test_what_went_wrong_in_our_own_code_is_told(session, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("broken")

    monkeypatch.setattr(labels_writing, "write_labels", broken)
    session.act(dot(20, 20))
    with pytest.raises(ContractileError, match=r"a.tif: the label file could not be written; report it"):
        session.flush()
    assert "the label file of a could not be written" in caplog.text
    monkeypatch.undo()
    session.flush()
    assert (session.folder / "labels" / "a.tif").exists()


def test_training_takes_the_label_files_as_they_are(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for page in PAGES:
        tifffile.imwrite(images / f"{page.name}.tif", rng.integers(0, 255, page.shape, dtype=np.uint8))
    session = Session(tmp_path / "s", PAGES, task="objects")
    session.act(dot(20, 20, radius=5))
    session.act(dot(20, 40, 0, radius=5))
    session.close()
    pairs = pair_up(images, tmp_path / "s" / "labels")
    assert [pair.name for pair in pairs] == ["a"]
    [example] = load_examples(pairs)
    assert np.array_equal(np.unique(example.labels), [-1, 0, 1])
    target = make_target(example.labels, TargetConfig(task="objects"))
    assert (target.classes[example.labels == -1] == IGNORE).all()
    assert (target.classes[example.labels >= 0] != IGNORE).all()


def test_a_huge_image_takes_little_memory_and_its_labels_are_written_in_tiles(tmp_path, monkeypatch):
    monkeypatch.setattr(labels_writing, "IN_MEMORY", 2**20)
    huge = PageInfo(name="huge", shape=(60_000, 60_000))
    session = Session(tmp_path / "s", [huge], task="objects")
    largest = []
    real = session.labels

    def labels(image, region):
        largest.append((region[0].stop - region[0].start) * (region[1].stop - region[1].start))
        return real(image, region)

    session.labels = labels
    session.act(dot(5, 5))
    session.act(dot(59_980, 59_975, 0, radius=20))
    session.flush()
    assert max(largest) <= 256**2
    sheet = session._sheets[0]
    assert sum(tile.nbytes for tile in sheet.labels._tiles.values()) == 2 * 4 * 256**2
    path = tmp_path / "s" / "labels" / "huge.zarr"
    files = [one for one in path.rglob("*") if one.is_file()]
    assert sum(one.stat().st_size for one in files) < 20_000
    low = session.annotation(0, (60, 60), (slice(0, 1000), slice(0, 1000)))
    assert (low != -1).sum() == 1
    session.close()
    again = Session(tmp_path / "s", [huge], task="objects")
    assert again.objects(0) == [1]
    again.close()


def test_a_large_image_has_the_same_labels_in_its_zarr(tmp_path, monkeypatch):
    monkeypatch.setattr(labels_writing, "IN_MEMORY", 1000)
    page = PageInfo(name="a", shape=(600, 700))
    path = tmp_path / "s" / "labels" / "a.zarr"

    def agrees(session):
        session.flush()
        return np.array_equal(read_labels(path), session.labels(0, everything(page)))

    session = Session(tmp_path / "s", [page], task="objects")
    session.act(dot(250, 250, radius=20))
    assert agrees(session)
    number = path.stat().st_ino
    session.act(dot(500, 600, 0, radius=20))
    assert agrees(session)
    session.undo()
    assert agrees(session)
    assert path.stat().st_ino == number  # it was changed and not replaced
    again = reopened(session)
    assert path.stat().st_ino == number
    again.act(dot(250, 250, -1, radius=30))
    again.flush()
    assert not path.exists()
    again.undo()
    assert agrees(again)
    again.close()
    images = tmp_path / "images"
    images.mkdir()
    tifffile.imwrite(images / "a.tif", np.zeros((600, 700), np.uint8))
    assert [pair.labels.path for pair in pair_up(images, tmp_path / "s" / "labels")] == [path]


def test_a_zarr_of_others_is_not_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(labels_writing, "IN_MEMORY", 1000)
    place = tmp_path / "s" / "labels" / "a.zarr"
    place.mkdir(parents=True)
    (place / "mine").write_text("precious")
    session = Session(tmp_path / "s", PAGES, task="objects")
    session.act(dot(20, 20))
    with pytest.raises(AlreadyThere, match="this label file was not written by this session"):
        session.flush()
    assert (place / "mine").read_text() == "precious"
    with pytest.raises(AlreadyThere):
        session.close()


def test_a_full_disk_is_told_and_nothing_is_lost(small_disk):
    session = Session(small_disk / "s", PAGES, task="objects")
    session.act(dot(20, 20))
    session.flush()
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        for _ in range(2000):
            filler.write(b"0" * 1024)

    def paint_noise():
        rng = np.random.default_rng(0)
        for _ in range(200):
            labels = rng.integers(1, 99, (90, 80)).astype(np.int32)
            session.act(AddAll(image=1, region=(0, 90, 0, 80), labels=labels))
            session.undo()

    with pytest.raises(NotWritten, match="cannot be written"):
        paint_noise()
    changes, end = session.changes, seen(session)
    (small_disk / "filler").unlink()
    again = reopened(session)
    assert (again.changes, seen(again)) == (changes, end)
    again.close()


def test_many_threads(session):
    failed = []

    def paint(image):
        try:
            for n in range(15):
                session.act(dot(5 + 5 * n, 20, image=image))
        except Exception as error:
            failed.append(error)

    def look():
        try:
            for _ in range(60):
                session.annotation(0, (2, 2), (slice(0, 60), slice(0, 75)))
                session.counts()
                session.objects(1)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=paint, args=(image,)) for image in (0, 1)] + [threading.Thread(target=look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(session.objects(0) + session.objects(1)) == list(range(1, 31))


STROKES = """
import sys
from contractile.viewer.acts import Paint
from contractile.viewer.session import PageInfo, Session

pages = [PageInfo(name="a", shape=(120, 150), source="1"), PageInfo(name="b", shape=(90, 80), source="2")]
session = Session(sys.argv[1], pages, task="objects")
print("opened", flush=True)
for n in range(10_000):
    spot = (int(sys.argv[2]) * 7919 + n * 31) % 6000
    change = session.act(Paint(image=n % 2, points=[(spot // 75, spot % 75)], radius=2, value="new"))
    print(change.changes, change.number, flush=True)
"""


def test_a_killed_process_loses_no_stroke(tmp_path):
    folder, told = tmp_path / "s", []
    for kill in range(4):
        call = [sys.executable, "-c", STROKES, str(folder), str(kill)]
        process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "opened\n"
        for _ in range(3 + 5 * kill):
            told.append(tuple(map(int, process.stdout.readline().split())))
        if kill % 2:
            time.sleep(0.5)  # while label files are written
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate()
        told += [tuple(map(int, line.split())) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
        session = Session(folder, PAGES, task="objects")
        assert session.changes >= told[-1][0]
        numbers = [number for _, number in told]
        assert len(set(numbers)) == len(numbers)
        assert session.find(len(told) % 2, told[-1][1]) or session.find(1 - len(told) % 2, told[-1][1])
        for image, page in enumerate(PAGES):
            labels = read_labels(folder / "labels" / f"{page.name}.tif")
            assert np.array_equal(labels, session.labels(image, everything(page)))
        session.close()


def test_a_damaged_change_is_named():
    shape = (slice(0, 2), slice(0, 3))
    unknown, one = np.full((2, 3), -1, np.int32), np.ones((2, 3), np.int32)
    patch = Patch.of(shape, (unknown, unknown), (one, unknown))
    with pytest.raises(ContractileError, match=r"a change must hold 49 bytes, got 0"):
        replace(patch, content=zlib.compress(b"")).open()
    content = bytearray(zlib.decompress(patch.content))
    content[0] = 0
    with pytest.raises(ContractileError, match=r"a change must hold 6 pixels, got 0"):
        replace(patch, content=zlib.compress(bytes(content))).open()
