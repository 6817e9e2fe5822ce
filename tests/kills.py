"""Kills a piece of work at a chosen rename, as a power failure would: in a process of its own, by SIGKILL."""

import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import entries

from contractile.storage import files


def killed(work: Callable[[], object], number: int, when: str) -> bool:
    """Do the work in a forked process that is killed "before", "amid" or "after" its rename of this number, from 1.

    Amid: half of the file had reached the disk. Returns whether it was killed; it was not where it renames less often.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which the work does not use
        process = os.fork()
    if process == 0:
        try:
            _arm(number, when)
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(process, 0)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0
    files._swept.clear()  # what follows is as in a process of its own
    return os.WIFSIGNALED(status)


def _arm(number: int, when: str) -> None:
    real, count = os.replace, iter(range(1, 10**6))

    def replace(source: Path, target: Path) -> None:
        now = next(count) == number
        if now and when == "amid":
            os.truncate(source, os.path.getsize(source) // 2)
        if now and when != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        real(source, target)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace


def all_kills(most: int = 100) -> Iterator[tuple[int, str]]:
    """(1, "before"), (1, "amid"), (1, "after"), (2, "before") ..."""
    return ((number, when) for number in range(1, most) for when in ("before", "amid", "after"))


HALF = """
import sys
from pathlib import Path
from contractile.storage import replacing, replacing_folder, sole
path = Path(sys.argv[1])
with {writing} as temporary:
    (temporary / "zarr.json" if temporary.is_dir() else temporary).write_text("half")
    print("ready", flush=True)
    sys.stdin.read()
"""


@contextmanager
def killed_amid(writing: str, path: Path) -> Iterator[None]:
    """A process has written half of `path`, and waits; it is killed at the end of the block.

    `writing` is what stands between `with` and `as`, such as "replacing(path)".
    """
    work = [sys.executable, "-c", HALF.format(writing=writing), str(path)]
    with subprocess.Popen(work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        files._swept.clear()
        yield
        process.send_signal(signal.SIGKILL)
    files._swept.clear()


def contents(folder: Path) -> dict[str, bytes]:
    """What is in a folder, hidden files included, but without the manifest."""
    return {path.name: path.read_bytes() for path in entries(folder) if path.is_file()}


def seen(folder: Path) -> dict[str, bytes]:
    """What a user sees in a folder; nothing where it is not there."""
    there = contents(folder) if folder.is_dir() else {}
    return {name: content for name, content in there.items() if not name.startswith(".")}
