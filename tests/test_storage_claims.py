"""The files that a command is going to write: whose they are, and what appears when it is killed or refused."""

import errno
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from conftest import entries

from contractile.errors import AlreadyThere, ContractileError, InUse, NotWritten
from contractile.storage import claimed, claims, files, locks, replacing


def write(path: Path, text: str = "ours") -> None:
    with replacing(path) as temporary:
        temporary.write_text(text)


def run(folder: Path, names: Iterable[str] = "ab", text: str = "ours", by: str = "predict", **options) -> None:
    """A command that writes files together."""
    paths = [folder / name for name in names]
    with claimed(paths, by=by, **options) as claim, claim.together():
        for path in paths:
            write(path, text)


def shown(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in entries(folder)}


def test_files_of_a_group_appear_together(tmp_path):
    paths = [tmp_path / "new" / name for name in "ab"]
    with claimed(paths, by="predict") as claim:
        with claim.together():
            for path in paths:
                write(path)
                assert not path.exists()
        assert all(path.exists() for path in paths)
    assert shown(tmp_path / "new") == {"a": "ours", "b": "ours"}
    run(tmp_path / "new", text="again")
    assert shown(tmp_path / "new") == {"a": "again", "b": "again"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), ZeroDivisionError(), OSError(28, "full")])
def test_an_error_leaves_nothing_of_a_group_and_no_folder(tmp_path, error):
    path = tmp_path / "x" / "y" / "a"

    def work():
        with claimed([path], by="predict") as claim, claim.together():
            write(path)
            raise error

    with pytest.raises(type(error)):
        work()
    assert not entries(tmp_path)


def test_a_group_of_many_files_keeps_few_of_them_open(tmp_path):
    names = [f"{number:04d}" for number in range(files.MOST + 5)]
    paths = [tmp_path / name for name in names]
    with claimed(paths, by="predict") as claim, claim.together():
        for path in paths:
            write(path)
        assert len(entries(tmp_path)) == files.MOST + 6  # those in parts, five that wait, and the claim
    assert [path.name for path in entries(tmp_path)] == names


def test_a_thread_of_its_own_gathers_nothing(tmp_path):
    with claimed([tmp_path / "a"], by="predict") as claim, claim.together():
        thread = threading.Thread(target=write, args=(tmp_path / "b",))
        thread.start()
        thread.join()
        assert (tmp_path / "b").exists()


# whose files


def test_a_command_replaces_what_it_wrote_itself(tmp_path):
    run(tmp_path)
    run(tmp_path, text="again")
    for by in ("evaluate", ""):
        with pytest.raises(AlreadyThere, match=rf"got {tmp_path / 'a'}, {tmp_path / 'b'}; .* with --overwrite"):
            run(tmp_path, by=by)
    (tmp_path / "b").write_text("corrected by hand")
    with pytest.raises(AlreadyThere, match=rf"have changed since, got {tmp_path / 'b'};"):
        run(tmp_path)
    assert shown(tmp_path) == {"a": "again", "b": "corrected by hand"}
    run(tmp_path, overwrite=True)
    assert shown(tmp_path) == {"a": "ours", "b": "ours"}


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_is_changed_during_the_work_is_kept(tmp_path, there):
    def work(**options):
        with claimed([tmp_path / "a"], by="predict", **options) as claim:
            (tmp_path / "a").write_text("corrected")
            with claim.together():
                write(tmp_path / "a")

    if there:
        run(tmp_path, "a")
    with pytest.raises(AlreadyThere, match="a: the file was changed while it was to be replaced; move it away"):
        work()
    assert shown(tmp_path) == {"a": "corrected"}
    work(overwrite=True)
    assert shown(tmp_path) == {"a": "ours"}


def test_a_file_may_be_written_twice_in_a_claim(tmp_path):
    with claimed([tmp_path / "a"], by="predict") as claim:
        for text in ("first", "second"):
            with claim.together():
                write(tmp_path / "a", text)
    assert shown(tmp_path) == {"a": "second"}


@pytest.mark.parametrize("kind", ["same", "link", "hard", "folder link"])
def test_an_input_is_never_replaced(tmp_path, kind):
    source = tmp_path / "in" / "a"
    source.parent.mkdir()
    source.write_text("image")
    out = tmp_path / "out"
    if kind == "folder link":
        out.symlink_to(source.parent)
    elif kind == "same":
        out = source.parent
    else:
        out.mkdir()
        (out / "a").hardlink_to(source) if kind == "hard" else (out / "a").symlink_to(source)
    with pytest.raises(ContractileError, match=rf"^results must not replace what is read, got {out / 'a'}.*; choose"):
        run(out, inputs=[source], overwrite=True)
    assert source.read_text() == "image"


def test_results_do_not_lie_in_an_image_that_is_a_folder(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    with pytest.raises(ContractileError, match=r"results must not lie in the image .*a.zarr; choose another folder"):
        run(tmp_path / "a.zarr" / "out", inputs=[tmp_path / "a.zarr"])
    run(tmp_path, inputs=[tmp_path / "a.zarr"])


def test_names_that_are_one_file_are_refused(tmp_path, monkeypatch):
    paths = [tmp_path / name for name in ("A.tif", "a.tif")]
    assert not claims._ignores_case(tmp_path) or sys.platform != "linux"
    monkeypatch.setattr(claims, "_ignores_case", lambda _: True)
    with pytest.raises(ContractileError, match=rf"case does not count in this folder, got {paths[0]} and {paths[1]};"):
        run(tmp_path, ("A.tif", "a.tif"))
    assert not entries(tmp_path)


# two at once


def test_two_claims_of_one_file(tmp_path):
    with claimed([tmp_path / "a", tmp_path / "b"], by="predict", held=[tmp_path / "c"]):
        for name in "abc":
            with pytest.raises(InUse, match=rf"^{tmp_path / name}: another process works on this file; wait until"):
                run(tmp_path, name)
        run(tmp_path, "de")
    run(tmp_path, "c")
    assert [path.name for path in entries(tmp_path)] == ["c", "d", "e"]


def test_many_threads_claim_one_file(tmp_path):
    barrier, done, refused = threading.Barrier(8), [], []

    def work(number):
        barrier.wait()
        try:
            with claimed([tmp_path / "shared", tmp_path / f"{number}"], by="predict"):
                done.append(number)
                barrier.wait()  # nobody lets go before all have asked
        except InUse:
            refused.append(number)
            barrier.wait()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (1, 7)
    assert not entries(tmp_path)


def test_what_another_process_wrote_before_the_claim_is_looked_at(tmp_path, monkeypatch):
    real = claims._made

    def late(folder):
        (folder / "a").write_text("drawn meanwhile")
        return real(folder)

    monkeypatch.setattr(claims, "_made", late)
    with pytest.raises(AlreadyThere, match="must not replace files that this command did not write"):
        run(tmp_path, "a")


class Nfs:
    """Locks as NFS has them: an exclusive one needs a file that is opened for writing."""

    LOCK_EX, LOCK_NB = fcntl.LOCK_EX, fcntl.LOCK_NB

    @staticmethod
    def flock(number, how):
        if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        return fcntl.flock(number, how)


def test_claims_hold_on_nfs_and_what_cannot_be_locked_there_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "_posix", Nfs)
    left, folder = (tmp_path / f".contractile-{digit * 16}.part{end}" for digit, end in (("0", ".tif"), ("1", ".zarr")))
    left.write_bytes(b"x")
    folder.mkdir()
    with claimed([tmp_path / "a"], by="predict"):
        assert not left.exists()
        assert folder.exists()
        with pytest.raises(InUse, match="another process works on this file"):
            run(tmp_path, "a")
        real = os.open
        refused = OSError(errno.EACCES, "Permission denied")
        with monkeypatch.context() as others:  # the claim of another user

            def open_as_others(path, flags, *more):
                if str(path).endswith(".names") and flags & os.O_RDWR and not flags & os.O_CREAT:
                    raise refused
                return real(path, flags, *more)

            others.setattr("contractile.storage.locks.os.open", open_as_others)
            with pytest.raises(InUse, match="another process works on this file"):
                run(tmp_path, "a")
    run(tmp_path, "a")
    assert (tmp_path / "a").read_text() == "ours"


@pytest.mark.parametrize(("name", "most"), [("é" * 125 + ".tiff", 255), ("é" * 123 + ".tif", 250)])
def test_names_that_are_too_long_are_refused_before_any_work(tmp_path, monkeypatch, name, most):
    monkeypatch.setattr("contractile.storage.claims.os.pathconf", lambda folder, what: most)
    run(tmp_path / "new", [name])
    text = rf"the names of files may have {most} bytes in this folder, got {most + 1}; shorten the name of the image"
    with pytest.raises(ContractileError, match=text):
        run(tmp_path / "other", ["a", f"x{name}"])
    assert not (tmp_path / "other").exists()


def test_a_folder_that_is_replaced_has_a_longer_name_meanwhile(tmp_path):
    zarr = tmp_path / ("a" * 245 + ".zarr")
    text = r"may have 255 bytes in this folder, got 284 \(250 when it is finished\); shorten the name of the image"
    with pytest.raises(ContractileError, match=text), claimed([zarr], by="predict", folders=[zarr]):
        pass


def test_planted_claims_do_no_harm(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("a\0b")
    (tmp_path / f".contractile-{'0' * 16}.names").symlink_to(victim)
    os.mkfifo(tmp_path / f".contractile-{'1' * 16}.names")
    (tmp_path / ".contractile-mine.names").write_text("a")
    (tmp_path / f".contractile-{'2' * 16}.names").write_bytes(b"\xff\x00a")
    run(tmp_path)
    assert victim.read_text() == "a\0b"
    left = {path.name[13:17] for path in entries(tmp_path) if path.name.startswith(".")}
    assert left == {"0000", "1111", "mine"}


# killed

KILLED = """
import os, signal, sys
from pathlib import Path
from contractile.storage import claimed, replacing
folder, when = Path(sys.argv[1]), int(sys.argv[2])
steps = 0
def step(call):
    def counted(*words, **options):
        global steps
        steps += 1
        if steps == when:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*words, **options)
    return counted
for name in ("open", "write", "fsync", "replace", "unlink"):
    setattr(os, name, step(getattr(os, name)))
Path.unlink = step(Path.unlink)
with claimed([folder / "a", folder / "b"], by="predict") as claim, claim.together():
    for name in "ab":
        with replacing(folder / name) as temporary:
            temporary.write_text("new")
print(steps)
"""


def test_killed_at_any_call_of_the_system(tmp_path):
    """Old or new files and nothing else that is visible; the same command again ends as if nothing had happened."""
    states = set()
    for when in range(1, 60):
        folder = tmp_path / f"{when}"
        run(folder, text="old")
        done = subprocess.run([sys.executable, "-c", KILLED, str(folder), str(when)], capture_output=True, check=False)
        seen = {name: text for name, text in shown(folder).items() if not name.startswith(".")}
        assert set(seen) == {"a", "b"}
        states.add((seen["a"], seen["b"]))
        files._swept.clear()  # as in a process of its own
        run(folder, text="again")
        assert shown(folder) == {"a": "again", "b": "again"}, when
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
    assert re.match(rb"\d+", done.stdout)
    assert when > 15
    assert states == {("old", "old"), ("new", "old"), ("new", "new")}


HOLDING = """
import sys
from pathlib import Path
from contractile.storage import claimed
with claimed([Path(sys.argv[1], "a")], by="predict"):
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_claims_nothing(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(InUse, match="another process works on this file"):
            run(tmp_path, "a")
        run(tmp_path, "b")
        process.kill()
    run(tmp_path, "a")
    assert [path.name for path in entries(tmp_path)] == ["a", "b"]


# the disk


@pytest.mark.parametrize("number", [28, 30, 5])
@pytest.mark.parametrize("call", ["replace", "fsync", "write"])
def test_a_disk_that_refuses_is_one_error(tmp_path, monkeypatch, call, number):
    run(tmp_path, text="old")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(NotWritten, match=rf"[ab]: cannot be written \({os.strerror(number)}\); choose a folder"):
            run(tmp_path, text="new")
    assert shown(tmp_path) == {"a": "old", "b": "old"}
    run(tmp_path, text="new")


def test_a_folder_that_vanishes_is_one_error(tmp_path):
    folder = tmp_path / "out"

    def work():
        with claimed([folder / "a"], by="predict") as claim, claim.together():
            write(folder / "a")
            for path in entries(folder):
                path.unlink()
            folder.rmdir()

    with pytest.raises(NotWritten, match=r"a: cannot be written \(No such file"):
        work()
    assert not entries(tmp_path)
