"""The run folder: one process at a time, nothing of others replaced, never a dead end, whole files on full disks."""

import shutil
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest
from discs import TINY, bright_discs, folder, run
from test_training_saved import StopError, resumed, same, stopped

from contractile.errors import AlreadyThere, ContractileError, InUse, NotFound, NotWritten
from contractile.model import load, save
from contractile.recipe import derive
from contractile.storage import sole
from contractile.training import fit, train
from contractile.training import folder as run_folder
from contractile.training.saved import decode

__all__ = ["folder"]  # a fixture

LOCK = ".contractile.lock"
OURS = [".contractile.jsonl", "history.csv", "model.safetensors", "recipe.toml", "state.ckpt", "tensorboard"]


def names(place):
    return sorted(path.name for path in place.iterdir())


def test_a_run_leaves_its_files_and_no_lock(folder):
    run(folder)
    assert names(folder / "run") == OURS


@pytest.mark.parametrize("resume", [False, True])
def test_one_process_trains_into_a_folder(folder, resume):
    begun = folder / "run"
    if resume:
        stopped(folder, 6, "run")
    before = names(begun) if resume else []
    with (
        sole(begun / LOCK, "trains into this folder"),
        pytest.raises(InUse, match="run: another process trains into this folder; wait until it ends, or choose"),
    ):
        train(folder / "images", folder / "labels", out=begun, recipe=TINY, resume=resume)
    assert (names(begun) if begun.exists() else []) == before


def test_the_lock_is_held_while_a_run_lasts(folder):
    seen = []

    def look(status):
        with pytest.raises(InUse):
            train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, resume=status.step > 6)
        seen.append(status.step)

    train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, progress=look)
    assert seen == list(range(1, 13))


TRAINING = """
import sys
from contractile.training import train
tiny = {tiny}
try:
    train("images", "labels", out="run", recipe={{**tiny, "seed": int(sys.argv[1])}})
except Exception as error:
    print(type(error).__name__)
"""


def test_of_two_trainings_that_begin_together_one_is_refused(folder):
    words = [sys.executable, "-c", TRAINING.format(tiny=TINY)]
    both = [subprocess.Popen([*words, seed], cwd=folder, stdout=subprocess.PIPE, text=True) for seed in "12"]
    said = sorted(process.communicate()[0] for process in both)
    assert said[0] == ""
    assert said[1] in ("InUse\n", "AlreadyThere\n")  # the latter where the first one has ended already
    seed = decode(folder / "run" / "state.ckpt").saved.recipe.seed
    assert load(folder / "run").card.provenance["seed"] == seed


def test_a_lock_that_a_killed_run_left_is_none(folder):
    (folder / "run").mkdir()
    (folder / "run" / LOCK).write_text("")
    run(folder)
    assert names(folder / "run") == OURS


def test_a_bad_call_leaves_nothing(folder):
    for place in ("new", "new/er/run"):
        with pytest.raises(FileNotFoundError, match="nothing there"):
            train(folder / "nowhere", folder / "labels", out=folder / place, recipe=TINY)
        assert not (folder / "new").exists()
    (folder / "old").mkdir()
    with pytest.raises(ContractileError, match="3 channel"):
        run(folder, "old", network={"width": 8, "depth": 2, "channels": 3})
    assert names(folder / "old") == []


# half-begun folders


@pytest.mark.parametrize("failing", ["state.ckpt", "recipe.toml", "model.safetensors"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_half_begun_run_is_no_dead_end(folder, monkeypatch, failing, resume):
    """A disk that was full, or a process killed, at any of the first files; the state is the first of them."""
    whole = run(folder, "whole")
    real = run_folder.replacing

    def full(path):
        if path.name == failing:
            raise NotWritten("cannot be written (No space left on device)", "make room", where=path)
        return real(path)

    monkeypatch.setattr(run_folder, "replacing", full)
    monkeypatch.setattr(run_folder, "save", lambda model, path: full(path) and save(model, path))
    with pytest.raises(NotWritten, match=rf"{failing}: cannot be written \(No space left"):
        run(folder, "part")
    monkeypatch.undo()
    begun = failing != "state.ckpt"
    assert (folder / "part" / "state.ckpt").exists() == begun
    if resume == begun:
        assert same(whole, resumed(folder) if resume else run(folder, "part"))
    else:
        told = "already holds a run; resume it with --resume" if begun else "leave out --resume to start a run"
        with pytest.raises((AlreadyThere, NotFound), match=told):
            resumed(folder) if resume else run(folder, "part")
    assert LOCK not in (names(folder / "part") if (folder / "part").exists() else [])


def test_a_folder_with_a_recipe_of_ours_and_no_state_begins(folder):
    run(folder, "other")
    shutil.copytree(folder / "other", folder / "run")
    for name in ("state.ckpt", "model.safetensors"):
        (folder / "run" / name).unlink()
    with pytest.raises(NotFound, match=r"holds no state.ckpt to resume from; leave out --resume to start a run"):
        resumed(folder, "run")
    run(folder)


def test_nothing_to_resume(folder):
    with pytest.raises(FileNotFoundError, match=r"holds no state.ckpt to resume from; leave out --resume"):
        resumed(folder, "run")
    assert not (folder / "run").exists()


# whose files


def test_a_run_is_not_overwritten_unasked(folder):
    first = run(folder, steps=1, validations=1)
    with pytest.raises(
        FileExistsError, match=r"run already holds a run; resume it with --resume, or start anew with --o"
    ):
        run(folder)
    (folder / "run" / "state.ckpt").unlink()  # to save space, say
    with pytest.raises(FileExistsError, match=r"run already holds a model; start anew with --overwrite"):
        run(folder)
    with pytest.raises(NotFound, match=r"holds no state.ckpt to resume from; start anew with --overwrite"):
        resumed(folder, "run")
    second = train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, overwrite=True)
    assert (first.recipe.steps, second.recipe.steps) == (1, 12)
    assert load(folder / "run").card.provenance["steps"] == 12
    assert names(folder / "run") == OURS


@pytest.mark.parametrize("name", ["model.safetensors", "history.csv", "recipe.toml", "state.ckpt", "report.html"])
def test_files_of_others_are_not_replaced_unasked(folder, name):
    place = folder / "run"
    place.mkdir()
    (place / name).write_text("mine")
    with pytest.raises(AlreadyThere, match=rf"must not replace files that .*, got .*{name}; choose"):
        run(folder)
    assert (place / name).read_text() == "mine"
    assert names(place) == [name]
    train(folder / "images", folder / "labels", out=place, recipe=TINY, overwrite=True)
    assert names(place) == OURS


def test_a_folder_in_the_place_of_a_file_is_named(folder):
    (folder / "run" / "model.safetensors").mkdir(parents=True)
    with pytest.raises(AlreadyThere, match="there is a folder; name another file"):
        train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, overwrite=True)


def test_what_was_changed_by_hand_is_not_replaced_by_a_resumed_run(folder):
    whole = run(folder, "whole")
    stopped(folder, 8)
    (folder / "part" / "history.csv").write_text("my notes")
    with pytest.raises(AlreadyThere, match=r"or that have changed since, got .*history.csv"):
        resumed(folder)
    recipe = {**TINY}
    again = train(folder / "images", folder / "labels", out=folder / "part", recipe=recipe, resume=True, overwrite=True)
    assert same(whole, again)


def test_an_earlier_run_goes_when_the_new_state_is_safe(folder):
    run(folder)
    with pytest.raises(StopError):
        train(folder / "images", folder / "labels", out=folder / "run", recipe={**TINY, "seed": 1}, overwrite=True,
              progress=_stop)  # fmt: skip
    assert names(folder / "run") == [".contractile.jsonl", "recipe.toml", "state.ckpt", "tensorboard"]
    assert same(run(folder, "whole", seed=1), resumed(folder, "run", seed=1))


def _stop(status):
    raise StopError


def test_examples_in_memory_keep_the_same_rules(tmp_path):
    examples = [bright_discs(str(number), number) for number in range(3)]
    recipe = derive(examples, TINY)
    whole = fit(examples[:2], examples[2:], recipe, folder=tmp_path / "run")
    with pytest.raises(AlreadyThere, match="already holds a run"):
        fit(examples[:2], examples[2:], recipe, folder=tmp_path / "run")
    with pytest.raises(StopError):
        fit(examples[:2], examples[2:], recipe, folder=tmp_path / "run", overwrite=True, progress=_stop)
    assert same(whole, fit(examples[:2], examples[2:], recipe, folder=tmp_path / "run", resume=True))
    other = recipe.model_copy(update={"seed": 3})
    with pytest.raises(ContractileError, match="in which seed is 0, got 3"):
        fit(examples[:2], examples[2:], other, folder=tmp_path / "run", resume=True)


# disks


def test_a_full_disk_is_named_and_the_state_is_whole(folder, small_disk):
    """A disk of a megabyte fills up while a run goes on."""
    whole = run(folder, "whole")
    filler = small_disk / "filler"

    def fill(status):
        if status.step == 8:
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    out = small_disk / "run"
    with pytest.raises(NotWritten, match=r"(model.safetensors|state.ckpt): cannot be written \(No space left"):
        train(folder / "images", folder / "labels", out=out, recipe=TINY, progress=fill)
    assert not [name for name in names(out) if name.endswith(".part") or name == LOCK]
    assert decode(out / "state.ckpt").saved.step == 6
    filler.unlink()
    assert same(whole, train(folder / "images", folder / "labels", out=out, recipe=TINY, resume=True))
    assert names(out) == OURS


def test_a_disk_that_is_full_from_the_beginning(folder, small_disk):
    with (small_disk / "filler").open("wb") as file:
        file.write(bytes(2**20 - 2**14))
    with pytest.raises(NotWritten, match=r"state.ckpt: cannot be written \(No space left on device\); choose a folder"):
        train(folder / "images", folder / "labels", out=small_disk / "run", recipe=TINY)
    left = names(small_disk / "run") if (small_disk / "run").exists() else []
    assert left in ([], [".contractile.jsonl"])


def test_files_are_limited(folder):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(NotWritten, match=r"state.ckpt: cannot be written .* on a disk with free space"):
            run(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_curves_that_cannot_be_written_do_not_end_a_run(folder, caplog):
    (folder / "run").mkdir()
    (folder / "run" / "tensorboard").write_text("in the way")
    run(folder)
    assert caplog.text.count("run/tensorboard: TensorBoard shows no more of this run (") == 1


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_folder_that_vanishes_is_named_and_not_made_anew(folder, how):
    def lose(status):
        if status.step == 8:
            if how == "removed":
                shutil.rmtree(folder / "run")
            else:
                (folder / "run").rename(folder / "elsewhere")

    with pytest.raises(
        NotWritten, match="run: the folder of the run was moved or removed, or its lock was; leave it in"
    ):
        train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, progress=lose)
    assert not (folder / "run").exists()
    if how == "moved":
        assert same(run(folder, "whole"), resumed(folder, "elsewhere"))


def test_a_folder_that_cannot_be_written(folder):
    (folder / "file").write_text("in the way")
    with pytest.raises(ContractileError, match=r"run: no files can be written into this folder: .*file is a file;"):
        run(folder, "file/run")


def test_a_link_in_the_place_of_the_lock_is_not_followed(folder):
    (folder / "victim").write_text("precious")
    (folder / "run").mkdir()
    (folder / "run" / LOCK).symlink_to(folder / "victim")
    with pytest.raises(PermissionError, match="cannot be locked"):
        run(folder)
    assert (folder / "victim").read_text() == "precious"
    assert np.sum([path.name == LOCK for path in (folder / "run").iterdir()]) == 1
