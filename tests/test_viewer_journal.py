"""Every change is on the disk before it is shown."""

import errno
import json
import os

import numpy as np
import pytest

from contractile.errors import ContractileError, NotWritten
from contractile.viewer import journal as journals
from contractile.viewer.journal import GIVEN, Entry, Journal
from contractile.viewer.sheet import Patch, Sheet


def patch(value, *, top=0):
    region = slice(top, top + 4), slice(0, 5)
    before, after = np.full((4, 5), -1, np.int32), np.full((4, 5), -1, np.int32)
    after[1:3, 1:4] = value
    held = np.full((4, 5), -1, np.int32)
    return Patch.of(region, (before, held), (after, held))


def entry(value, image="a", **more):
    return Entry(image, "paint", (patch(value),), **more)


def opened(path, notes=None):
    return Journal(path, (lambda _: None) if notes is None else notes.append)


def test_what_was_added_is_there_again(tmp_path):
    notes = []
    one, two = entry(1, new=(1,), objects=1, held=(1,)), entry(0, "b", values=(0,))
    with_all = opened(tmp_path / "j", notes)
    with_all.add(Entry("a", GIVEN, ()))
    with_all.add(one)
    with_all.add(two)
    with_all.close()
    assert notes == [Entry("a", GIVEN, ()), one, two]
    again = opened(tmp_path / "j")
    assert list(again.entries()) == [Entry("a", GIVEN, ()), one, two]
    assert (again.changes, again.strokes, again.can_undo, again.can_redo) == (3, 2, True, False)
    assert again.last == {"a": 2, "b": 3}
    again.close()


def test_undo_and_redo_are_remembered(tmp_path):
    notes = []
    journal = opened(tmp_path / "j")
    for value in (1, 2, 3):
        journal.add(entry(value))
    assert journal.undo() == entry(3)
    assert journal.undo() == entry(2)
    assert journal.redo() == entry(2)
    journal.close()
    journal = opened(tmp_path / "j", notes)
    assert list(journal.entries()) == [entry(1), entry(2)]
    assert notes == [entry(1), entry(2), entry(3)]
    assert journal.redo() == entry(3)
    assert journal.redo() is None
    journal.undo()
    journal.add(entry(4))
    assert not journal.can_redo
    journal.close()
    journal = opened(tmp_path / "j")
    assert list(journal.entries()) == [entry(1), entry(2), entry(4)]
    assert journal.changes == 9
    for _ in range(3):
        assert journal.undo() is not None
    assert journal.undo() is None
    journal.close()


def test_what_an_image_began_with_is_not_undone(tmp_path):
    journal = opened(tmp_path / "j")
    journal.add(Entry("a", GIVEN, (patch(5),)))
    assert journal.undo() is None
    journal.close()


def test_a_journal_cut_anywhere_in_its_last_line_opens_without_it(tmp_path, caplog):
    path = tmp_path / "j"
    journal = opened(path)
    journal.add(entry(1))
    length = path.stat().st_size
    journal.add(entry(2))
    journal.close()
    whole = path.read_bytes()
    for size in range(length, len(whole)):
        path.write_bytes(whole[:size])
        journal = opened(path)
        assert list(journal.entries()) == [entry(1)]
        assert journal.was_cut == (size > length)
        journal.add(entry(3))
        journal.close()
        journal = opened(path)
        assert list(journal.entries()) == [entry(1), entry(3)]
        journal.close()
    assert "its last line was not written whole, and is left out" in caplog.text


def test_a_journal_that_is_damaged_before_its_end_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "j"
    journal = opened(path)
    for value in (1, 2, 3):
        journal.add(entry(value))
    journal.close()
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (
        b"\0" * 20 + b"\n",
        b"{}\n",
        b'{"do":"undo"}\n' * 2,
        b"[1]\n",
        b'{"do":"paint","image":"a","patches":3}\n',
    ):
        path.write_bytes(lines[0] + bad + lines[2])
        before = path.read_bytes()
        with pytest.raises(ContractileError, match=r"the journal of this session is damaged in line [23]; keep a copy"):
            opened(path)
        assert path.read_bytes() == before


def test_a_change_whose_content_is_damaged_is_refused(tmp_path):
    path = tmp_path / "j"
    journal = opened(path)
    journal.add(entry(1))
    journal.add(entry(2))
    journal.close()
    lines = path.read_text().splitlines()
    line = json.loads(lines[0])
    for change in ({"data": "AAAA"}, {"count": 5}, {"holds": True}, {"at": [0, 9, 0, 9]}):
        damaged = {**line, "patches": [{**line["patches"][0], **change}]}
        path.write_text(json.dumps(damaged) + "\n" + lines[1] + "\n")
        journal = opened(path)
        with pytest.raises(ContractileError, match=r"the journal of this session is damaged at byte 0; keep a copy"):
            list(journal.entries())
        journal.close()


def test_a_full_disk_loses_nothing_and_leaves_no_half_line(tmp_path, monkeypatch):
    path = tmp_path / "j"
    journal = opened(path)
    journal.add(entry(1))
    real = os.fsync

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(journals.os, "fsync", full)
    with pytest.raises(NotWritten, match="cannot be written"):
        journal.add(entry(2))
    with pytest.raises(NotWritten, match="cannot be written"):
        journal.undo()
    monkeypatch.setattr(journals.os, "fsync", real)
    assert journal.changes == 1
    journal.add(entry(3))
    journal.close()
    journal = opened(path)
    assert list(journal.entries()) == [entry(1), entry(3)]
    assert not journal.was_cut
    journal.close()


def test_marks_of_label_files_are_remembered(tmp_path):
    journal = opened(tmp_path / "j")
    journal.add(entry(1))
    journal.mark("a", (1, 200, 300))
    journal.mark("b", (2, 1, 1))
    journal.mark("b", None)
    journal.close()
    journal = opened(tmp_path / "j")
    assert journal.marks == {"a": (1, 200, 300), "b": None}
    assert journal.changes == 1
    journal.close()


def test_a_patch_is_done_and_undone():
    rng = np.random.default_rng(1)
    sheet = Sheet((70, 90))
    region = slice(5, 65), slice(20, 77)
    empty = sheet.both(region)
    one = Patch.of(region, empty, tuple(rng.integers(-1, 4, (60, 57)).astype(np.int32) for _ in range(2)))
    sheet.apply(one)
    mid = sheet.both(region)
    two = Patch.of(region, mid, tuple(rng.integers(-1, 4, (60, 57)).astype(np.int32) for _ in range(2)))
    sheet.apply(two)
    counted = dict(sheet._pixels)
    sheet.recount()
    assert sheet._pixels == counted
    assert sheet.pixels(3) == (sheet.labels[region] == 3).sum()
    sheet.apply(two, back=True)
    assert all(map(np.array_equal, sheet.both(region), mid))
    sheet.apply(one, back=True)
    assert all(map(np.array_equal, sheet.both(region), empty))
    assert sheet.values() == []
    assert Patch.of(region, mid, mid) is None


def test_a_patch_holds_no_more_than_what_changes():
    found = patch(3, top=10)
    assert found.region == (slice(11, 13), slice(1, 4))
    assert (found.count, found.holds) == (6, False)
