"""Files that are whole or not there, the manifest of a folder, and locks."""

import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kills import killed_amid

from contractile.errors import AlreadyThere, ContractileError, InUse, NotWritable, NotWritten
from contractile.storage import MANIFEST, check_replaceable, files, manifest, replacing, sole, sweep


def write(path: Path, text: str = "ours") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def fail(path: Path, error: Exception) -> None:
    """Write half of a file, and fail."""
    with replacing(path) as temporary:
        temporary.write_text("half")
        assert temporary.parent == path.parent
        assert temporary.suffix == path.suffix
        raise error


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write(path, "first")
    with pytest.raises(ZeroDivisionError):
        fail(path, ZeroDivisionError())
    assert path.read_text() == "first"
    assert names(path.parent) == [MANIFEST, "a.txt"]
    write(path, "second")
    assert path.read_text() == "second"


def test_a_rename_waits_for_a_program_that_looks_at_the_file(tmp_path, monkeypatch):
    """On Windows a virus scanner keeps a new file open for a moment."""
    refusals, real = iter([True, True, False]), os.replace

    def replace(source, target):
        if next(refusals, False):
            raise PermissionError(13, "Permission denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    monkeypatch.setattr(files, "PATIENCE_S", 10.0)
    write(tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "ours"
    monkeypatch.setattr(files, "PATIENCE_S", 0.0)
    refusals = iter([True])
    with pytest.raises(NotWritable, match="cannot be written"):
        write(tmp_path / "b.txt")


def test_temporary_names_cannot_be_foreseen_and_are_made_exclusively(tmp_path, monkeypatch):
    seen = set()
    for _ in range(20):
        with replacing(tmp_path / "a.tif") as temporary:
            temporary.write_text("x")
            seen.add(temporary.name)
    assert len(seen) == 20
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "0" * 16)
    os.symlink(victim, tmp_path / f".contractile-{'0' * 16}.part.tif")
    with pytest.raises(NotWritten, match="cannot be written"):
        write(tmp_path / "a.tif", "evil")
    assert victim.read_text() == "precious"


def test_new_files_have_the_usual_permissions(tmp_path):
    write(tmp_path / "a")
    (tmp_path / "b").write_text("")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_the_file_and_its_folder_are_flushed_around_the_rename(tmp_path, monkeypatch):
    done = []
    real_flush, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda n: (done.append(os.readlink(f"/proc/self/fd/{n}")), real_flush(n)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_replace(a, b)))
    write(tmp_path / "a.txt")
    assert [Path(one).suffix or one for one in done] == [".txt", ".jsonl", "rename", str(tmp_path)]


@pytest.mark.parametrize("number", [28, 5, 13, 30])  # no space, input and output, permission, read only
def test_what_the_system_refuses_is_one_error(tmp_path, number):
    write(tmp_path / "a.txt", "first")
    kind = NotWritable if number == 13 else NotWritten
    with pytest.raises(kind, match=rf"a.txt: cannot be written \({os.strerror(number)}\); choose a folder"):
        fail(tmp_path / "a.txt", OSError(number, os.strerror(number)))
    assert (tmp_path / "a.txt").read_text() == "first"
    assert names(tmp_path) == [MANIFEST, "a.txt"]


def test_a_folder_that_vanishes(tmp_path):
    def lose() -> None:
        with replacing(tmp_path / "gone" / "a.txt") as temporary:
            temporary.unlink()
            temporary.parent.rmdir()

    with pytest.raises(NotWritten, match="cannot be written"):
        lose()
    assert names(tmp_path) == []


def test_what_a_killed_process_leaves_is_swept_away_and_its_lock_is_free(tmp_path):
    write(tmp_path / "a.txt", "first")
    with killed_amid('sole(path.with_name(".lock"), "works here"), replacing(path)', tmp_path / "a.txt"):
        sweep(tmp_path)
        assert len(names(tmp_path)) == 4  # what is being written stays
        with (
            pytest.raises(InUse, match="another process works here; wait until it ends"),
            sole(tmp_path / ".lock", "works here"),
        ):
            pass
    write(tmp_path / "b.txt")
    assert names(tmp_path) == [MANIFEST, ".lock", "a.txt", "b.txt"]
    assert (tmp_path / "a.txt").read_text() == "first"
    with sole(tmp_path / ".lock", "works here"):
        pass
    assert names(tmp_path) == [MANIFEST, "a.txt", "b.txt"]


def test_only_names_of_our_own_are_swept_away(tmp_path):
    others = [".a.123.part.tif", ".contractile-xyz.part", "contractile-0123456789abcdef.part", ".contractile.jsonl"]
    for name in [*others, ".contractile-0123456789abcdef.part.tif"]:
        (tmp_path / name).write_text("")
    sweep(tmp_path)
    assert names(tmp_path) == sorted(others)


def test_one_of_many_threads_holds_a_lock(tmp_path):
    barrier, held, refused = threading.Barrier(8), [], []

    def work():
        barrier.wait()
        try:
            with sole(tmp_path / "lock", "works"):
                held.append(len(held) - len(refused))
        except InUse:
            refused.append(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(held) + len(refused) == 8
    assert held


def test_a_place_that_cannot_be_locked(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(NotWritable, match=r"cannot be locked \(.*\); choose a folder"),
        sole(tmp_path / "file" / "lock", "works"),
    ):
        pass


def test_a_lock_on_a_full_disk(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(NotWritten, match=r"lock: cannot be locked \(No space"), sole(tmp_path / "lock", "works"):
        pass


# whose files


def test_our_own_files_are_replaced_and_no_others(tmp_path):
    ours, changed, foreign, link = (tmp_path / name for name in ("ours", "changed", "foreign", "link"))
    write(ours)
    write(changed)
    changed.write_text("corrected by hand")
    foreign.write_text("drawn")
    link.symlink_to(ours)
    check_replaceable([ours, tmp_path / "absent", tmp_path / "no" / "folder"])
    for path in (changed, foreign, link):
        with pytest.raises(AlreadyThere, match=rf"have changed since, got {path}; .* with --overwrite"):
            check_replaceable([ours, path])
    check_replaceable([ours, changed, foreign, link], overwrite=True)
    with pytest.raises(AlreadyThere, match="there is a folder"):
        check_replaceable([tmp_path], overwrite=True)


def test_an_error_names_the_first_files(tmp_path):
    for number in range(5):
        (tmp_path / str(number)).write_text("")
    with pytest.raises(AlreadyThere) as caught:
        check_replaceable(tmp_path / str(number) for number in range(5))
    assert f"got {tmp_path / '0'}, {tmp_path / '1'}, {tmp_path / '2'}, ...; choose" in str(caught.value)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_file_is_ours_whenever_its_writer_was_killed(tmp_path, monkeypatch, when):
    write(tmp_path / "a", "old")
    real = os.replace

    def killed(source, target):
        if when == "after":
            real(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == {"before": "old", "after": "new"}[when]
    check_replaceable([tmp_path / "a"])


def test_a_manifest_that_is_damaged_or_planted(tmp_path):
    write(tmp_path / "a")
    place = tmp_path / MANIFEST
    whole = place.read_bytes()
    place.write_bytes(whole + b'{"file": "b", "blake')
    write(tmp_path / "c")
    check_replaceable([tmp_path / "a", tmp_path / "c"])
    for planted in (b"", b"[" * 10**5, b"\xff\n1\n[]\n{}\n", json.dumps({"file": "a", "blake2b": None}).encode()):
        place.write_bytes(planted)
        with pytest.raises(AlreadyThere):
            check_replaceable([tmp_path / "a"])
    place.unlink()
    (tmp_path / "victim").write_text("precious")
    place.symlink_to(tmp_path / "victim")
    with pytest.raises(ContractileError, match="cannot be written"):
        write(tmp_path / "d")
    assert (tmp_path / "victim").read_text() == "precious"
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(ContractileError, match="cannot be written"):
        write(tmp_path / "d")
    with pytest.raises(AlreadyThere):
        check_replaceable([tmp_path / "a"])


def test_the_last_lines_of_a_long_manifest_count(tmp_path, monkeypatch):
    for _ in range(20):
        write(tmp_path / "a")
    write(tmp_path / "b")
    monkeypatch.setattr(manifest, "LARGEST", 200)
    check_replaceable([tmp_path / "a", tmp_path / "b"])
    write(tmp_path / "c")
    write(tmp_path / "d")
    with pytest.raises(AlreadyThere):
        check_replaceable([tmp_path / "a"])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.binary(max_size=20), st.booleans()), max_size=12))
def test_a_file_may_be_replaced_where_its_content_was_once_ours(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("steps")
    ours: dict[str, set[bytes]] = {}
    for name, content, by_us in steps:
        if by_us:
            with replacing(folder / name) as temporary:
                temporary.write_bytes(content)
            ours.setdefault(name, set()).add(content)
        else:
            (folder / name).write_bytes(content)
        for path in (folder / one for one in "abc"):
            allowed = not path.exists() or path.read_bytes() in ours.get(path.name, set())
            if allowed:
                check_replaceable([path])
            else:
                with pytest.raises(AlreadyThere):
                    check_replaceable([path])
