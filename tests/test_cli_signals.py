"""How signals end a command: twice at once, and within seconds where work cannot be interrupted."""

import subprocess
import sys

import pytest

from contractile.cli.signals import LEFT, keeping_notes

STUCK = """
import ctypes, os, signal, sys, time
from contractile.cli import signals
signals.PATIENCE_S = float(sys.argv[2])
number = getattr(signal, sys.argv[1])
with signals.ended_by_signals():
    try:
        os.kill(os.getpid(), number)
    except BaseException:  # cleaning up takes too long, and no line of Python is run meanwhile
        if len(sys.argv) > 3:
            signal.pthread_sigmask(signal.SIG_BLOCK, [number])
            os.kill(os.getpid(), number)
        ctypes.CDLL(None).sleep(60)
"""


def run(*words):
    command = [sys.executable, "-c", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("twice", [[], ["twice"]], ids=["once", "twice"])
def test_work_that_cannot_be_interrupted_is_left(name, status, twice):
    done = run(STUCK, name, "30" if twice else "0.1", *twice)
    assert done.returncode == status
    assert done.stderr == f"{LEFT}\n"


BORROWED = """
import os, signal, threading
from contractile.cli.signals import ended_by_signals

before = signal.getsignal(signal.SIGTERM)
for number, kind in ((signal.SIGTERM, SystemExit), (signal.SIGINT, KeyboardInterrupt)):
    try:
        with ended_by_signals():
            os.kill(os.getpid(), number)
            signal.pause()
    except kind as error:
        print(type(error).__name__, *error.args)
seen = []

def look():
    with ended_by_signals():
        seen.append(signal.getsignal(signal.SIGTERM))

thread = threading.Thread(target=look)
thread.start()
thread.join()
print(signal.getsignal(signal.SIGTERM) is before, seen == [before])
"""


def test_handlers_are_borrowed():
    done = run(BORROWED)
    assert done.stdout.splitlines() == ["SystemExit 143", "KeyboardInterrupt", "True True"], done.stderr


def interrupt(*notes):
    error = KeyboardInterrupt()
    for note in notes:
        error.add_note(note)
    with keeping_notes():
        raise error


def test_notes_are_kept():
    with pytest.raises(SystemExit) as caught:
        interrupt("this goes on")
    assert (caught.value.code, caught.value.__notes__) == (130, ["this goes on"])
