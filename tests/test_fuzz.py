"""A few hundred damaged files, and that the harness sees what it looks for. `make fuzz` tries 10,000 a reader."""

import faulthandler
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest
from fuzz import run
from fuzz.mutations import BY_FORMAT, PLAIN, mutate
from fuzz.readers import READERS

from contractile.errors import ContractileError

EACH = 45  # every file of the corpus once


def test_damaged_files_are_read_or_refused(tmp_path):
    words = [sys.executable, run.__file__, "--count", str(EACH), "--keep", str(tmp_path)]
    done = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row.split(" | ")[:2] for row in rows] == [[f"| {reader}", str(EACH)] for reader in READERS]


def test_the_corpus_is_small_and_sound():
    files = [path for path in run.CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2**20
    assert {folder for folder, _ in READERS.values()} == {path.name for path in run.CORPUS.iterdir()}


def test_the_same_seed_gives_the_same_inputs():
    first, again = ([*run.inputs("image", 50, seed)] for seed in (1, 1))
    assert first == again
    assert first != [*run.inputs("image", 50, 2)]


@pytest.mark.parametrize("mutation", sorted({*PLAIN, *(one for some in BY_FORMAT.values() for one in some)}, key=str))
def test_a_mutation_takes_any_content(mutation):
    contents = [
        b"",
        b"\0",
        bytes(range(256)),
        b"\x89PNG" + bytes(60),
        b"II*\0" + bytes(40),
        b'{"a": [1]}',
        b"\xff" * 20,
    ]
    contents += [path.read_bytes() for path in sorted(run.CORPUS.rglob("*"))[::4] if path.is_file()]
    for number, content in enumerate(contents):
        assert isinstance(mutation(content, Random(number)), bytes)


def test_mutations_change_nearly_all_files():
    rng = Random(0)
    path = run.CORPUS / "images" / "grey.png"
    assert sum(mutate(path.read_bytes(), path.name, rng) != path.read_bytes() for _ in range(200)) > 180


def raise_a_long_line(path: Path) -> None:
    raise ContractileError("one", "c" * 3000)


def raise_one_line(path: Path) -> None:
    raise ContractileError("one", "cure", where=path)


def crash(path: Path) -> None:
    faulthandler.disable()  # that of the tests would take its time
    os.kill(os.getpid(), signal.SIGSEGV)


READ = {
    "read": lambda path: None,
    "refused": raise_one_line,
    "ZeroDivisionError: ": lambda path: 1 / 0,
    "SystemExit: ": lambda path: sys.exit(0),
    "not one clear line: ": raise_a_long_line,
    "killed by SIGSEGV": crash,
    "too slow": lambda path: time.sleep(60),
    "memory: read": lambda path: bytearray(400 * 2**20).count(1),
    "MemoryError: ": lambda path: bytearray(2**36),
}


@pytest.mark.parametrize("outcome", READ)
def test_what_goes_wrong_is_seen(outcome, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SECONDS", 1)
    monkeypatch.setitem(READERS, "image", ("images", READ[outcome]))
    assert run.try_one("image", tmp_path)[0].startswith(outcome)


def test_inputs_that_fail_are_kept(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "image", ("images", READ["ZeroDivisionError: "]))
    tally = run.fuzz("image", 3, keep=tmp_path)
    assert tally.row("image").startswith("| image | 3 | 0 | 0 | 3 | ")
    assert len(tally.failures) == len(list(tmp_path.iterdir())) == 3
    assert tally.failures[0].endswith("division by zero")
