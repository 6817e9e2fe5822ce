"""Compiled loops, also where nothing can be kept on disk, and where what was kept is damaged."""

import logging
import multiprocessing
import os
import random

import numba
import pytest

from contractile import compiled


def test_compiles_without_a_cache_folder(monkeypatch):
    asked = []

    def refuse(**options):
        asked.append(options)
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(compiled.numba, "njit", refuse)
    assert compiled.compiled(len) is len
    assert compiled.compiled(len, fastmath=True) is len
    assert asked[:2] == [{"cache": True, "nogil": True}, {"nogil": True}]
    assert asked[2:] == [{"cache": True, "nogil": True, "fastmath": True}, {"nogil": True, "fastmath": True}]


def double(number):
    return 2 * number


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path


def hits(dispatcher):
    return sum(dispatcher.stats.cache_hits.values())


@pytest.fixture
def kept(folder):
    """The one file that is kept of the compiled function."""
    assert compiled.compiled(double)(4) == 8
    (path,) = [path for path in folder.rglob("*") if path.is_file()]
    assert path.suffix == ".nbc"
    return path


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("save", OSError(28, "No space left on device")),
        ("save", OSError(122, "Disk quota exceeded")),
        ("load", PermissionError("a cache that somebody else wrote")),
        ("load", EOFError("Ran out of input")),
    ],
)
def test_a_cache_that_fails_is_not_needed(monkeypatch, folder, step, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(compiled.CodeFiles, step, fail)
    assert compiled.compiled(double)(4) == 8


def test_what_is_compiled_is_kept(kept):
    again = compiled.compiled(double)
    assert again(4) == 8
    assert hits(again) == 1


def damages(whole):
    rng = random.Random(0)
    for _ in range(30):
        flipped = bytearray(whole)
        flipped[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        yield bytes(flipped)
    yield from (b"", b"\x80", whole[:31], whole[:32], whole[: len(whole) // 2], whole[:-1], whole + b"x")
    yield from (bytes(len(whole)), rng.randbytes(len(whole)), whole[32:], b"cos\nsystem\n(S'exit 9'\ntR.")


def test_damaged_code_is_compiled_again(kept, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    whole = kept.read_bytes()
    monkeypatch.setattr("pickle.loads", None)  # must not be called
    for damaged in damages(whole):
        caplog.clear()
        kept.write_bytes(damaged)
        again = compiled.compiled(double)
        assert again(4) == 8
        assert hits(again) == 0
        assert "compiled code is damaged or old, and made again" in caplog.text
        assert kept.read_bytes()[32:] != damaged[32:]
        assert len(kept.read_bytes()) >= len(whole) // 2
    monkeypatch.undo()


def test_mended_code_is_used_by_the_next_process(kept):
    kept.write_bytes(b"")
    for expected in (0, 1):
        again = compiled.compiled(double)
        assert again(4) == 8
        assert hits(again) == expected


def test_code_of_another_source_does_not_fit(kept, monkeypatch):
    monkeypatch.setattr(compiled.numba, "__version__", "0")
    again = compiled.compiled(double)
    assert again(4) == 8
    assert hits(again) == 0


@pytest.mark.parametrize("kind", ["folder", "link to nothing", "pipe"])
def test_what_is_no_file_is_in_nobodys_way(kept, kind):
    kept.unlink()
    if kind == "folder":
        (kept / "mine").mkdir(parents=True)
    elif kind == "link to nothing":
        kept.symlink_to("nothing")
    elif hasattr(os, "mkfifo"):
        os.mkfifo(kept)
    again = compiled.compiled(double)
    assert again(4) == 8
    assert (kept / "mine").is_dir() == (kind == "folder")
    assert not [path for path in kept.parent.iterdir() if path.suffix == ".part"]


def test_a_folder_that_vanishes_or_takes_no_file(kept, monkeypatch):
    dispatcher = compiled.compiled(double)
    kept.unlink()
    kept.parent.rmdir()
    assert dispatcher(4) == 8

    def refuse(*_, **__):
        raise OSError(30, "Read-only file system")

    dispatcher = compiled.compiled(double)
    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert dispatcher(4.0) == 8


def test_other_files_stay_and_abandoned_ones_go(kept):
    base = kept.name.removesuffix(".nbc").rsplit(".", 1)[0]
    old, new = (kept.with_name(f"{base}.{letter * 16}.part") for letter in "ab")
    others = [kept.with_name(name) for name in (f"{base}.mine.part", "film.part", "notes.nbc")]
    for path in (old, new, *others):
        path.touch()
    for path in (old, *others):
        os.utime(path, (1000, 1000))
    assert compiled.compiled(double)(4.0) == 8
    assert not old.exists()
    assert new.exists()
    assert all(path.exists() for path in others)
    compiled.compiled(double)._cache.flush()
    assert not kept.exists()
    assert all(path.exists() for path in (new, *others))


def test_a_numba_that_is_built_in_another_way_keeps_files_of_its_own(monkeypatch, folder):
    class Other:
        def __init__(self, _):
            raise AttributeError("_index_name")

    monkeypatch.setattr(compiled, "CodeFiles", Other)
    assert compiled.compiled(double)(4) == 8
    assert list(folder.rglob("*.nbi"))


def compile_and_call(folder, barrier, results):
    numba.config.CACHE_DIR = folder
    barrier.wait()
    results.put(compiled.compiled(double)(4))


def test_two_processes_that_write_at_once_leave_a_whole_file(folder):
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    both = [context.Process(target=compile_and_call, args=(str(folder), barrier, results)) for _ in range(2)]
    for process in both:
        process.start()
    assert [results.get(timeout=120) for _ in both] == [8, 8]
    for process in both:
        process.join()
    again = compiled.compiled(double)
    assert again(4) == 8
    assert hits(again) == 1
