"""What all tests share: no deadlines (machines differ), the same examples on every run, a cache of their own."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from contractile.storage import MANIFEST

RECORDS = (MANIFEST, ".contractile.predicted.jsonl")

# Files of tests that need what a system lacks: they ask Linux what is open, kill processes, make links and pipes.
NEEDS_LINUX = r"/proc/|from fuzz import run|from kills"
NEEDS_POSIX = rf"{NEEDS_LINUX}|SIGKILL|SIGHUP|mkfifo|symlink|os\.fork|os\.getuid|wait4|libc\."
NEEDED = {"darwin": NEEDS_LINUX, "win32": NEEDS_POSIX}.get(sys.platform)
HERE = Path(__file__).parent
collect_ignore = [
    path.name for path in HERE.glob("test_*.py") if NEEDED and re.search(NEEDED, path.read_text(encoding="utf-8"))
]

settings.register_profile("contractile", deadline=None, derandomize=True)
settings.load_profile("contractile")


def hear_signals():
    """Under `nohup`, and in the background of a shell, programs begin with signals that are ignored."""
    for name, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
        if getattr(signal, name, None) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
            signal.signal(getattr(signal, name), handler)


def pytest_configure(config):
    hear_signals()
    folder = tempfile.TemporaryDirectory()
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name


def entries(folder: str | Path) -> list[Path]:
    """What is in a folder, hidden files included, but without the records that each writing leaves there."""
    return sorted(path for path in Path(folder).iterdir() if path.name not in RECORDS)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte of its own; the test is left out where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)
