"""Results that are folders: whole or not there, replaced only where they are ours, and files of others that change."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import entries
from hypothesis import given
from hypothesis import strategies as st
from kills import killed_amid

from contractile.errors import AlreadyThere, ContractileError, NotWritable, NotWritten
from contractile.storage import amend, check_replaceable, claimed, files, folders, replacing, replacing_folder, sweep
from contractile.storage.records import RECORD, digest_folder


def fill(folder: Path, text: str = "ours") -> None:
    (folder / "0" / "c").mkdir(parents=True)
    (folder / "0" / "c" / "1").write_text(text)
    (folder / "zarr.json").write_text(f"{{{text}}}")


def write(path: Path, text: str = "ours") -> None:
    with replacing_folder(path, record="0") as temporary:
        fill(temporary, text)


def run(path: Path, text: str = "ours", by: str = "predict", **options) -> None:
    """A command that writes a folder and a file beside it, together."""
    beside = path.with_suffix(".csv")
    with claimed([path, beside], by=by, folders=[path], **options) as claim, claim.together():
        write(path, text)
        with replacing(beside) as temporary:
            temporary.write_text(text)


def content(path: Path) -> str:
    return (path / "0" / "c" / "1").read_text()


def shown(folder: Path) -> list[str]:
    return [path.name for path in entries(folder) if not path.name.startswith(".")]


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_folder_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "a.zarr"
    write(path, "first")
    assert tree(path.parent) == ["a.zarr/0/.contractile.json", "a.zarr/0/c/1", "a.zarr/zarr.json"]

    def fail(error: BaseException) -> None:
        with replacing_folder(path) as temporary:
            assert (temporary.parent, temporary.suffix) == (path.parent, ".zarr")
            fill(temporary, "half")
            raise error

    for error in (ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            fail(error)
    for number, kind in ((28, NotWritten), (13, NotWritable)):
        with pytest.raises(kind, match=rf"a\.zarr: cannot be written \({os.strerror(number)}\); choose a folder"):
            fail(OSError(number, os.strerror(number)))
    assert content(path) == "first"
    write(path, "second")
    assert content(path) == "second"
    assert [one.name for one in entries(path.parent)] == ["a.zarr"]


def test_all_files_are_flushed_before_the_rename(tmp_path, monkeypatch):
    done = []
    real_flush, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda n: (done.append(os.readlink(f"/proc/self/fd/{n}")), real_flush(n)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_replace(a, b)))
    write(tmp_path / "a.zarr")
    at = done.index("rename")
    flushed = {re.sub(r".*part\.zarr", "", one) for one in done[:at]}
    assert flushed == {"", "/0", "/0/c", "/0/c/1", "/zarr.json", f"/0/{RECORD}"}
    assert done[at:] == ["rename", str(tmp_path)]


# whose folders


def test_our_own_folders_are_replaced_and_no_others(tmp_path):
    path = tmp_path / "a.zarr"
    run(path)
    run(path, "again")
    assert content(path) == "again"
    for by in ("evaluate", ""):
        with pytest.raises(AlreadyThere, match=rf"got {path}, {tmp_path / 'a.csv'}; .* with --overwrite"):
            run(path, by=by)
    shutil.move(path, tmp_path / "b.zarr")
    run(tmp_path / "b.zarr", "moved")  # what is known of a folder moves with it
    assert content(tmp_path / "b.zarr") == "moved"


CHANGES = {
    "a chunk, of the same length": lambda path: (path / "0" / "c" / "1").write_text("mine"),
    "metadata": lambda path: (path / "zarr.json").write_text("{mine}"),
    "a new file": lambda path: (path / "0" / "c" / "2").write_text(""),
    "a file less": lambda path: (path / "0" / "c" / "1").unlink(),
    "a link": lambda path: ((path / "zarr.json").unlink(), (path / "zarr.json").symlink_to("0/c/1")),
    "no record": lambda path: (path / "0" / RECORD).unlink(),
    "another record": lambda path: (path / "0" / RECORD).write_text("[" * 10**5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_folder_that_was_changed_is_kept(tmp_path, change):
    path = tmp_path / "a.zarr"
    run(path)
    before = digest_folder(path)
    CHANGES[change](path)
    assert ("record" in change) == (digest_folder(path) == before)
    with pytest.raises(AlreadyThere, match=rf"have changed since, got {path}; .* with --overwrite"):
        run(path)
    run(path, "new", overwrite=True)
    assert content(path) == "new"


def test_times_of_metadata_do_not_count(tmp_path):
    run(tmp_path / "a.zarr")
    os.utime(tmp_path / "a.zarr" / "zarr.json", (1, 1))
    check_replaceable([tmp_path / "a.zarr"], by="predict", folders=[tmp_path / "a.zarr"])


def test_what_is_no_zarr_is_never_replaced(tmp_path):
    path = tmp_path / "a.zarr"
    path.write_text("")
    with pytest.raises(AlreadyThere, match=r"a\.zarr: a folder must be written here, and there is a file; name anoth"):
        run(path, overwrite=True)
    path.unlink()
    path.symlink_to(tmp_path)
    with pytest.raises(AlreadyThere, match="a folder must be written here, and there is a file"):
        run(path, overwrite=True)
    path.unlink()
    path.mkdir()
    (path / "thesis.txt").write_text("precious")
    with pytest.raises(AlreadyThere, match=r"a\.zarr: a Zarr must be written here, and there is a folder that is none"):
        run(path, overwrite=True)
    with pytest.raises(AlreadyThere, match="a file must be written here, and there is a folder"):
        check_replaceable([path], overwrite=True)
    (path / "thesis.txt").unlink()
    with pytest.raises(AlreadyThere, match="must not replace files that this command did not write"):
        run(path)
    run(path, overwrite=True)


def test_a_folder_that_is_changed_during_the_work_is_kept(tmp_path):
    path = tmp_path / "a.zarr"

    def work(**options):
        with claimed([path], by="predict", folders=[path], **options) as claim, claim.together():
            write(path, "new")
            (path / "0" / "c" / "1").write_text("mine")

    run(path)
    with pytest.raises(AlreadyThere, match=r"a\.zarr: the file was changed while it was to be replaced; move it away"):
        work()
    assert content(path) == "mine"
    work(overwrite=True)
    assert content(path) == "new"
    assert len(entries(tmp_path)) == 2


def test_a_file_that_comes_in_the_place_of_a_folder_is_kept(tmp_path):
    def work():
        with replacing_folder(tmp_path / "a.zarr"):
            (tmp_path / "a.zarr").write_text("precious")

    with pytest.raises(AlreadyThere, match=r"a\.zarr: a folder must be written here, and there is a file"):
        work()
    assert (tmp_path / "a.zarr").read_text() == "precious"
    assert len(entries(tmp_path)) == 1


def test_results_within_an_image(tmp_path):
    image = tmp_path / "image.zarr"
    fill(image)
    path = image / "labels" / "cells"
    with pytest.raises(ContractileError, match=r"results must not lie in the image .*image\.zarr; choose another"):
        run(path, inputs=[image])
    run(path, inputs=[image], within=[tmp_path / "." / "x" / ".." / "image.zarr"])
    assert content(path) == "ours"
    with pytest.raises(ContractileError, match=rf"not replace what is read, got {image}, which holds {path}; choose"):
        run(image, inputs=[path], overwrite=True)
    with pytest.raises(ContractileError, match=rf"results must not replace what is read, got {image}; choose"):
        run(image, inputs=[image], overwrite=True)


# files of others


def test_a_file_of_others_is_amended_at_the_end(tmp_path):
    path, list_of = tmp_path / "labels" / "cells", tmp_path / "labels" / "zarr.json"
    seen = []

    def change(old: bytes | None) -> bytes:
        seen.append(old)
        return (old or b"") + b"cells\n"

    with claimed([path], by="predict", folders=[path]) as claim:
        with claim.together():
            write(path)
            amend(list_of, change)
            list_of.write_bytes(b"theirs\n")
        assert list_of.read_bytes() == b"theirs\ncells\n"
        amend(list_of, change)
        amend(list_of, lambda old: old or b"")
    assert seen == [b"theirs\n", b"theirs\ncells\n"]
    assert [one.name for one in entries(path.parent)] == ["cells", "zarr.json"]
    assert not (path.parent / ".contractile.jsonl").exists()


def test_a_change_that_fails_leaves_the_file(tmp_path, monkeypatch):
    (tmp_path / "zarr.json").write_text("theirs")

    def refuse(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", refuse)
        with pytest.raises(NotWritten, match=r"zarr\.json: cannot be written \(No space left on device\)"):
            amend(tmp_path / "zarr.json", lambda _: b"new")
    assert (tmp_path / "zarr.json").read_text() == "theirs"
    assert len(entries(tmp_path)) == 1


# killed

KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from contractile.storage import claimed, replacing_folder
path, when = Path(sys.argv[1]), int(sys.argv[2])
steps = 0
def step(call):
    def counted(*words, **options):
        global steps
        steps += 1
        if steps == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*words, **options)
    return counted
for name in ("open", "fsync", "replace", "unlink", "rmdir"):
    setattr(os, name, step(getattr(os, name)))
Path.unlink = step(Path.unlink)
with claimed([path], by="predict", folders=[path]) as c, c.together(), replacing_folder(path, record="0") as one:
    (one / "0" / "c").mkdir(parents=True)
    (one / "0" / "c" / "1").write_text("new")
    (one / "zarr.json").write_text("{new}")
"""


def test_killed_at_any_call_of_the_system(tmp_path):
    """The old folder or the new one, at the latest when the next process looks; nothing else stays."""
    states = set()
    for when in range(1, 90):
        path = tmp_path / f"{when}" / "a.zarr"
        write_as_predict(path, "old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(when)], capture_output=True, check=False)
        assert shown(path.parent) in (["a.zarr"], [])
        files._swept.clear()  # as in a process of its own
        sweep(path.parent)
        states.add(content(path))
        write_as_predict(path, "again")
        assert (content(path), [one.name for one in entries(path.parent)]) == ("again", ["a.zarr"]), when
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert when > 20
    assert states == {"old", "new"}


def write_as_predict(path: Path, text: str) -> None:
    with claimed([path], by="predict", folders=[path]) as claim, claim.together():
        write(path, text)


def test_what_a_killed_process_leaves_is_swept_away(tmp_path):
    with killed_amid("replacing_folder(path)", tmp_path / "a.zarr"):
        sweep(tmp_path)
        assert len(entries(tmp_path)) == 1  # what is being written stays
    sweep(tmp_path)
    assert not entries(tmp_path)


def test_planted_names_do_no_harm(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "a").write_text("precious")
    (tmp_path / f".contractile-{'0' * 16}.part.zarr").symlink_to(tmp_path / "victim")
    (tmp_path / f".contractile-{'1' * 16}.was.victim").symlink_to(tmp_path / "victim")
    (tmp_path / f".contractile-{'2' * 16}.was.back").mkdir()
    (tmp_path / f".contractile-{'3' * 16}.was.victim").mkdir()
    os.mkfifo(tmp_path / f".contractile-{'4' * 16}.part.zarr")
    sweep(tmp_path)
    assert (tmp_path / "victim" / "a").read_text() == "precious"
    assert shown(tmp_path) == ["back", "victim"]
    assert not (tmp_path / f".contractile-{'3' * 16}.was.victim").exists()


def test_a_full_disk_leaves_the_old_folder(small_disk):
    path = small_disk / "a.zarr"
    write(path, "old")

    def overflow() -> None:
        with replacing_folder(path) as temporary:
            (temporary / "0").write_bytes(bytes(2**21))

    with pytest.raises(NotWritten, match=r"a\.zarr: cannot be written \(No space left on device\)"):
        overflow()
    assert content(path) == "old"
    assert [one.name for one in entries(small_disk)] == ["a.zarr"]


def test_threads_that_still_write_leave_nothing(tmp_path, monkeypatch):
    """When one chunk cannot be written, others are on their way, and their folders are made anew."""
    seen, pauses = [], iter(range(100))

    def late(_: float) -> None:
        if next(pauses) < 3:
            (seen[0] / "0").mkdir(parents=True)
            (seen[0] / "0" / "1").write_text("late")

    def fail() -> None:
        with replacing_folder(tmp_path / "a.zarr") as temporary:
            seen.append(temporary)
            raise ZeroDivisionError

    monkeypatch.setattr(folders.time, "sleep", late)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not entries(tmp_path)
    assert next(pauses) == 4


@given(names=st.lists(st.sampled_from(["a", "b/c", "b/d", "e/f/g"]), unique=True), other=st.sampled_from(["a", "x"]))
def test_a_digest_knows_every_file(tmp_path_factory, names, other):
    folder = tmp_path_factory.mktemp("digest")
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    first = digest_folder(folder)
    assert digest_folder(folder) == first
    (folder / other).write_text("1")
    assert digest_folder(folder) != first


def test_the_rest_of_a_folder_stays_where_it_was_when_the_rename_fails(tmp_path, monkeypatch):
    write(tmp_path / "a.zarr", "old")
    real, count = os.replace, iter(range(9))

    def second_fails(one, other):
        if next(count) == 1:
            raise OSError(5, "Input/output error")
        real(one, other)

    monkeypatch.setattr(folders.os, "replace", second_fails)
    with pytest.raises(NotWritten, match=r"a\.zarr: cannot be written \(Input/output error\)"):
        write(tmp_path / "a.zarr", "new")
    assert content(tmp_path / "a.zarr") == "old"
    assert [one.name for one in entries(tmp_path)] == ["a.zarr"]
