"""The run folder: its files, who may write them, and when the state was last saved."""

from __future__ import annotations

import csv
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from contractile.errors import AlreadyThere, ContractileError, NotFound, NotWritten
from contractile.images.writing import check_folder as check_writable
from contractile.model import Model, load, save
from contractile.recipe import Recipe, check_same, read_recipe
from contractile.storage import MANIFEST, check_replaceable, replacing, sole
from contractile.training.saved import ANEW, Found, Saved, decode, encode, is_state
from contractile.training.state import State

MODEL_FILE, STATE_FILE, HISTORY_FILE, RECIPE_FILE = "model.safetensors", "state.ckpt", "history.csv", "recipe.toml"
FOLD = "fold-{}"  # folder of one of several networks
REPORT_FILE = "report.html"  # written by `report`, replaced together with the run
RESULTS = (MODEL_FILE, HISTORY_FILE, REPORT_FILE)
LOCK_FILE = ".contractile.lock"
SAVED_EVERY = 50.0  # seconds at most between two savings, beside a step: no more than a minute is ever lost


def folds_in(folder: Path) -> list[Path]:
    """The folders of the folds of a run."""
    return [place for place in folder.glob(FOLD.format("*")) if place.is_dir()]


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run that has begun, of one network or of several folds."""
    return any(is_state(place / STATE_FILE) for place in (folder, *folds_in(folder)))


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove what is there of these files."""
    for name in names:
        (folder / name).unlink(missing_ok=True)


class RunFolder:
    """The folder of one run. Its files are whole or not there, and only the process in `held` writes them.

    A run begins with its state file, which holds its recipe, too. Where there is none, nothing has been trained.
    """

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path, self.resume, self.overwrite = path, resume, overwrite
        self._saved_at = time.monotonic()
        self._last: Saved | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, keep other processes out, and check what is there. A folder that stays empty is removed.

        Raises InUse, NotFound, AlreadyThere or NotWritable.
        """
        check_writable(self.path)
        made = [place for place in (self.path, *self.path.parents) if not place.exists()]
        try:
            with sole(self.path / LOCK_FILE, "trains into this folder"):
                self._check()
                yield
        finally:
            for place in made:
                with suppress(OSError):  # not empty
                    place.rmdir()

    def _check(self) -> None:
        state, model = self.path / STATE_FILE, self.path / MODEL_FILE
        results = [self.path / name for name in RESULTS]
        if self.resume:
            if not state.is_file():
                cure = ANEW if model.exists() else "leave out --resume to start a run"
                raise NotFound(f"out {self.path} holds no {STATE_FILE} to resume from", cure)
            known = (self.path / MANIFEST).is_file()
            check_replaceable(results if known else [], overwrite=self.overwrite)
            return
        if not self.overwrite and holds_run(self.path):
            raise AlreadyThere(f"out {self.path} already holds a run", f"resume it with --resume, or {ANEW}")
        check_replaceable([*results, state, self.path / RECIPE_FILE], overwrite=self.overwrite)
        if not self.overwrite and model.exists():
            raise AlreadyThere(f"out {self.path} already holds a model", ANEW)

    def read_state(self) -> Found:
        """The last state of the run. Raises ContractileError where it cannot be used, or recipe.toml is not its own."""
        found = decode(self.path / STATE_FILE)
        recipe = self.path / RECIPE_FILE
        if recipe.exists():
            try:
                check_same(found.saved.recipe.model_dump(mode="json"), read_recipe(recipe))
            except ContractileError as error:
                raise type(error)(error.problem, f"put the file back, or {ANEW}", where=recipe) from error
        self._last = found.saved
        return found

    def begin(self, state: State) -> None:
        """Write the first files of a new run. Those of an earlier one go once the new state is safe.

        Its recipe goes before, since the state holds it, too: what is found later is never the recipe of another run.
        """
        if self.overwrite:
            (self.path / RECIPE_FILE).unlink(missing_ok=True)
        self.write_state(state)
        if self.overwrite:
            remove_files(self.path, RESULTS)
        self.write_recipe(state.recipe)

    def go_on(self, state: State, found: Found) -> None:
        """Bring a state to what was found. Raises ContractileError where it, or the model of the run, does not fit."""
        try:
            state.restore(found.saved, found.tensors)
        except ContractileError as error:
            raise error.at(self.path / STATE_FILE) from error
        if state.kept is not None:
            self.read_model(state)
        if not (self.path / RECIPE_FILE).exists():
            self.write_recipe(state.recipe)
        if state.history:  # the file is written after the state
            self.write_history(state.history)

    def describe_rest(self, command: str) -> str:
        """What a stopped run leaves, and how to go on, in one line; `command` is the one that began it."""
        if self._last is None:
            return f"stopped before the first step; {'the same command' if command else 'the same call'} starts again"
        step, steps, kept = self._last.step, self._last.recipe.steps, self._last.kept
        model = "no model yet, since none was validated" if kept is None else f"the best model so far (step {kept})"
        return f"stopped; {self.path} holds the state after step {step} of {steps} and {model}; {how_to_go_on(command)}"

    def write_state(self, state: State) -> None:
        saved = state.saved()
        with self._replacing(STATE_FILE) as path, path.open("wb") as file:
            file.writelines(encode(saved, state.tensors()))
        self._last, self._saved_at = saved, time.monotonic()

    def write_state_in_time(self, state: State) -> None:
        """Write the state unless it was written less than a minute ago."""
        if time.monotonic() - self._saved_at >= SAVED_EVERY:
            with state.stopping.whole():
                self.write_state(state)

    def write_recipe(self, recipe: Recipe) -> None:
        with self._replacing(RECIPE_FILE) as path:
            path.write_text(recipe.to_toml(), encoding="utf-8")

    def write_history(self, history: Sequence[Mapping[str, float]]) -> None:
        columns = list(dict.fromkeys(column for row in history for column in row))
        with self._replacing(HISTORY_FILE) as path, path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(history)

    def write_model(self, model: Model) -> None:
        self._check_there()
        save(model, self.path / MODEL_FILE)

    def read_model(self, state: State) -> Model:
        """The model that the run has kept. Raises ContractileError where the file is not this one."""
        path, wanted = self.path / MODEL_FILE, (state.origin.data, state.recipe.seed)
        cure = f"put back the file, or {ANEW}"
        if not path.is_file():
            raise NotFound(f"the model that the run kept at step {state.kept} is not there", cure, where=path)
        with torch.random.fork_rng(devices=[]):  # a network is made, which draws weights
            model = load(path)
        found = model.card.provenance
        step = found.get("step")
        # Killed between the two files of a validation, the model is newer: that validation will be repeated.
        fits = step == state.kept or (isinstance(step, int) and step > state.validated)
        if (found.get("data_sha256"), found.get("seed")) != wanted or not fits:
            raise ContractileError(f"is not the model that the run kept at step {state.kept}", cure, where=path)
        return model

    @contextmanager
    def _replacing(self, name: str) -> Iterator[Path]:
        self._check_there()
        with replacing(self.path / name) as path:
            yield path

    def _check_there(self) -> None:
        """Writing would make the folder anew, without the other files and the lock."""
        if not (self.path / LOCK_FILE).exists():
            problem = "the folder of the run was moved or removed, or its lock was"
            raise NotWritten(problem, "leave it in its place while it trains", where=self.path)


def how_to_go_on(command: str) -> str:
    """What continues a stopped run that a command began; "" for a call from Python."""
    words = [word for word in shlex.split(command) if word not in ("--resume", "--overwrite")]
    return f"`{shlex.join([*words, '--resume'])}` continues" if words else "resume=True continues"
