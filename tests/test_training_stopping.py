"""Signals: a run ends cleanly, with its state saved; twice at once; handlers are borrowed; kills are survived."""

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch
from discs import TINY, folder, run, started
from test_cli import TINY as WORDS
from test_training_saved import resumed, same

from contractile.training import folder as run_folder
from contractile.training import train
from contractile.training.saved import decode
from contractile.training.state import take_step
from contractile.training.stopping import SIGNALS, Stopping, stoppable

__all__ = ["folder"]  # a fixture


def interrupted(folder, kind=KeyboardInterrupt, **options):
    """The note on the exception that ends a run."""
    with pytest.raises(kind) as caught:
        train(folder / "images", folder / "labels", out=folder / "part", recipe=TINY, **options)
    return " ".join(getattr(caught.value, "__notes__", []))


def send_at(step, number=signal.SIGINT):
    def send(status):
        if status.step == step:
            os.kill(os.getpid(), number)

    return send


@pytest.fixture(autouse=True)
def handlers():
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_ctrl_c_ends_a_run_and_says_how_to_go_on(folder):
    whole = run(folder, "whole")
    note = interrupted(folder, progress=send_at(8))
    assert note == (
        f"stopped; {folder / 'part'} holds the state after step 8 of 12 and the best model so far (step 6); "
        "resume=True continues"
    )
    assert same(whole, resumed(folder))


def test_the_command_that_goes_on_is_named(folder):
    note = interrupted(folder, progress=send_at(3), command="contractile train 'my images' labels --overwrite --out r")
    assert "after step 3 of 12 and no model yet, since none was validated; " in note
    assert note.endswith("`contractile train 'my images' labels --out r --resume` continues")
    assert not (folder / "part" / "model.safetensors").exists()


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_that_end_a_process_end_a_run(folder, caplog, name, status):
    with pytest.raises(SystemExit) as caught:
        train(
            folder / "images",
            folder / "labels",
            out=folder / "part",
            recipe=TINY,
            progress=send_at(8, getattr(signal, name)),
        )
    assert caught.value.code == status
    assert "holds the state after step 8 of 12" in caplog.text  # else nobody would say so
    assert decode(folder / "part" / "state.ckpt").saved.step == 8


def test_before_the_first_step_nothing_is_left(folder, monkeypatch):
    monkeypatch.setattr(
        "contractile.training.calls.load_examples", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)
    )
    assert interrupted(folder) == "stopped before the first step; the same call starts again"
    assert not (folder / "part").exists()
    assert interrupted(folder, command="contractile train") == (
        "stopped before the first step; the same command starts again"
    )


@pytest.mark.parametrize("where", ["look", "_score", "conclude", "measure"])
def test_a_validation_is_left_at_once_and_repeated(folder, monkeypatch, where):
    whole = run(folder, "whole", network={"width": 8, "depth": 2, "dropout": 0.3})
    monkeypatch.setitem(TINY, "network", {"width": 8, "depth": 2, "dropout": 0.3})

    def leave(*_, **__):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    place = {
        "look": "contractile.training.validation.Validation.look",
        "_score": "contractile.training.validation.Validation._score",  # after a network was made and used
        "conclude": "contractile.training.validation.Validation.conclude",
        "measure": "contractile.training.loop.measure_statistics",
    }[where]
    monkeypatch.setattr(place, leave)
    step, model = (6, "no model yet") if where in ("look", "_score") else (12, "the best model so far")
    assert f"after step {step} of 12 and {model}" in interrupted(folder)
    monkeypatch.undo()
    saved = decode(folder / "part" / "state.ckpt").saved
    assert (saved.step, saved.validated) == (step, 0 if step == 6 else 12)
    assert same(whole, resumed(folder, network={"width": 8, "depth": 2, "dropout": 0.3}))


@pytest.mark.parametrize("where", ["forward", "backward", "optimizer"])
@pytest.mark.parametrize("kind", ["sgd", "muon"])
def test_a_step_is_whole_or_did_not_happen(where, kind):
    changes = {"network": {"width": 8, "depth": 2, "dropout": 0.3}, "optimizer": {"kind": kind}}
    whole, samples = started(**changes)
    for number in range(2):
        take_step(whole, samples.batch(number))
    saved, tensors = whole.saved(), whole.tensors()
    for number in (2, 3):
        take_step(whole, samples.batch(number))
    state, _ = started(**changes)
    state.restore(saved, tensors)

    sent = []

    def send(*_):  # PyTorch calls the hook of a step again for the step of the class above
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))

    hooks = {
        "forward": lambda: state.network.head.register_forward_pre_hook(send),
        "backward": lambda: state.network.head.bias.register_hook(send),
        "optimizer": lambda: state.optimizer.optimizer.register_step_post_hook(send),
    }
    with stoppable() as stopping:
        state.stopping = stopping
        hook = hooks[where]()
        with pytest.raises(SystemExit):
            take_step(state, samples.batch(2))
        hook.remove()
    assert not stopping.torn
    assert state.step == {"forward": 2, "backward": 2, "optimizer": 3}[where]
    if where != "optimizer":
        assert all(torch.equal(value, tensors[name]) for name, value in state.tensors().items())
    state.stopping = Stopping()
    for number in range(state.step, 4):
        take_step(state, samples.batch(number))
    expected = whole.tensors()
    assert all(torch.equal(value, expected[name]) for name, value in state.tensors().items())
    assert state.losses == whole.losses


def test_a_second_signal_does_not_wait(folder, monkeypatch):
    """The first one waits for the files of a validation, the second breaks into them: nothing is saved any more."""
    real = run_folder.RunFolder.write_model

    def twice(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
        real(*arguments)

    monkeypatch.setattr(run_folder.RunFolder, "write_model", twice)
    assert "holds the state after step 0 of 12" in interrupted(folder)
    monkeypatch.undo()
    assert same(run(folder, "whole"), resumed(folder))


def test_one_signal_waits_for_the_files_of_a_validation(folder, monkeypatch):
    real = run_folder.RunFolder.write_model

    def write(*arguments):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        real(*arguments)

    monkeypatch.setattr(run_folder.RunFolder, "write_model", write)
    assert "after step 6 of 12 and the best model so far (step 6)" in interrupted(folder)


def test_a_handler_of_ones_own_is_called(folder):
    calls = []

    class OwnError(Exception):
        pass

    def note(number, frame):
        calls.append(number)
        if len(calls) > 1:
            raise OwnError

    def send(status):
        if status.step in (2, 5):
            os.kill(os.getpid(), signal.SIGINT)

    former = signal.signal(signal.SIGINT, note)
    try:  # the first time it lets the run go on, the second time it ends it
        told = interrupted(folder, OwnError, progress=send)
        assert signal.getsignal(signal.SIGINT) is note
    finally:
        signal.signal(signal.SIGINT, former)
    assert calls == [signal.SIGINT, signal.SIGINT]
    assert "after step 5 of 12" in told


def test_a_signal_that_is_ignored_stays_so(folder):
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup
    try:
        result = train(
            folder / "images", folder / "labels", out=folder / "run", recipe=TINY, progress=send_at(2, signal.SIGHUP)
        )
    finally:
        signal.signal(signal.SIGHUP, former)
    assert result.recipe.steps == 12


def test_other_threads_leave_signals_alone(folder):
    seen = []

    def look(status):
        seen.append([signal.getsignal(number) for number in SIGNALS])

    before = [signal.getsignal(number) for number in SIGNALS]
    options = {"out": folder / "run", "recipe": {**TINY, "steps": 2}, "progress": look}
    thread = threading.Thread(target=train, args=(folder / "images", folder / "labels"), kwargs=options)
    thread.start()
    thread.join()
    assert seen == [before, before]


# the command line, in processes of their own


def started_command(folder, *more):
    (folder / "tiny.toml").write_text(WORDS.replace("steps = 4", "steps = 4000"))
    words = ["train", "images", "labels", "--out", "part", "--recipe", "tiny.toml", *more]
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from contractile.cli import main; "
    return subprocess.Popen(
        [sys.executable, "-c", code + "main()", *words],
        cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.05)


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_one_signal_ends_a_command_with_one_line(folder, name, status):
    with started_command(folder) as process:
        wait_for(folder / "part" / "tensorboard", process)
        process.send_signal(getattr(signal, name))
        sent = time.monotonic()
        told = process.communicate()[1]
    assert process.returncode == status
    assert time.monotonic() - sent < 15  # 5 where the machine does nothing else
    [line] = [line for line in told.splitlines() if line.startswith("contractile: ")]
    assert line.startswith("contractile: stopped; part holds the state after step ")
    again = "`contractile train images labels --out part --recipe tiny.toml --resume` continues"
    assert line.endswith(again)
    assert "Traceback" not in told
    assert decode(folder / "part" / "state.ckpt").saved.step > 0


def test_two_signals_end_a_command_at_once(folder):
    with started_command(folder) as process:
        wait_for(folder / "part" / "tensorboard", process)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        told = process.communicate()[1]
    assert process.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in told
    decode(folder / "part" / "state.ckpt")


KILLED = """
import os, signal, sys, threading
from contractile.training import folder, train

folder.SAVED_EVERY = 0.05
when, number, real, done = sys.argv[1], float(sys.argv[2]), os.replace, 0

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def replace(source, target):
    global done
    done += 1
    if when == "before" and done == number:
        kill()
    real(source, target)
    if when == "after" and done == number:
        kill()

def wait(status):
    if when == "at" and status.step == 3:
        threading.Timer(number, kill).start()

os.replace = replace
train("images", "labels", out=when, recipe={tiny}, progress=wait)
"""


def test_killed_runs_end_as_if_nothing_had_happened(folder):
    """Three of the kills that benchmarks/kills.py counts: at a random moment, and around renames."""
    whole = run(folder, "whole")
    for when, number in (("at", random.SystemRandom().uniform(0, 0.5)), ("before", 4), ("after", 3)):
        code = KILLED.replace("{tiny}", repr(TINY))
        words = [sys.executable, "-c", code, when, str(number)]
        killed = subprocess.run(words, cwd=folder, capture_output=True, check=False)
        assert killed.returncode in ((0, -signal.SIGKILL) if when == "at" else (-signal.SIGKILL,))
        assert same(whole, resumed(folder, when)), f"killed {when} {number}"
        left = {path.name for path in (folder / when).iterdir()}
        assert left == {path.name for path in (folder / "whole").iterdir()}


@pytest.mark.parametrize("begun", [False, True])
def test_a_stopped_run_in_folds_says_how_to_go_on(folder, monkeypatch, begun):
    """Before its recipe is written there is nothing to resume."""
    if not begun:
        monkeypatch.setattr("contractile.training.calls.load_examples", lambda *_, **__: send(None))

    def send(_):
        os.kill(os.getpid(), signal.SIGINT)

    recipe = {**TINY, "folds": 2, "steps": 8, "validations": 1}
    where = {"out": folder / "run", "recipe": recipe, "command": "contractile train a b --overwrite"}
    with pytest.raises(KeyboardInterrupt) as caught:
        train(folder / "images", folder / "labels", progress=send, **where)
    [note] = caught.value.__notes__
    assert note == (
        f"stopped; {folder / 'run'} holds 0 fold(s) with a model so far; `contractile train a b --resume` continues"
        if begun
        else "stopped before the first step; the same command starts again"
    )


def test_steps_that_try_a_model_are_shown_and_end_at_a_signal(folder):
    start = run(folder, out="first", steps=120, network={"width": 8, "depth": 2}).model
    few = {key: value for key, value in TINY.items() if key != "network"} | {"steps": 14}
    call, seen = {"out": folder / "run", "recipe": few, "start": start}, []
    places = (folder / "images", folder / "labels")

    def stop(status):
        seen.append((status.step, status.steps))
        if len(seen) == 12:  # the second of those from nothing
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        train(*places, progress=stop, **call)
    assert caught.value.__notes__ == ["stopped before the first step; the same call starts again"]
    assert not (folder / "run").exists()
    train(*places, progress=stop, **call)
    assert seen[12:] == [(step, 14) for step in (*range(1, 11), *range(1, 11), *range(11, 15))]
