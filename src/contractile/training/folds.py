"""Several networks, each of which has not learned from one part of the annotated images; the model is their mean.

Each annotated image is predicted by the one network that has not seen it, so scores, decoding and confidence rest on
all annotated images. OUT/fold-1, OUT/fold-2 ... are run folders of their own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from contractile.dataset import Example, find_annotated
from contractile.errors import AlreadyThere, ContractileError, NotFound
from contractile.model import Model, combine, load, save
from contractile.recipe import Recipe, check_same, make_recipe, read_recipe
from contractile.storage import check_replaceable
from contractile.training.folder import (
    FOLD,
    MODEL_FILE,
    RECIPE_FILE,
    RESULTS,
    STATE_FILE,
    RunFolder,
    folds_in,
    holds_run,
    how_to_go_on,
    remove_files,
)
from contractile.training.loop import Call, Progress, Run, carry_out
from contractile.training.origin import find_sizes
from contractile.training.saved import ANEW, is_state
from contractile.training.validation import Validation

START_FILE = "start.safetensors"  # the model that each fold starts from, kept for those that begin in a later call
BACK = f"put the file back, or {ANEW}"


class FoldedFolder(RunFolder):
    """The folder of a run of several folds: the recipe, the model, the report, and a run folder for each fold."""

    _begun = False  # whether it holds the recipe of this run, so that the run can go on

    def _check(self) -> None:
        recipe, state = self.path / RECIPE_FILE, self.path / STATE_FILE
        results = [self.path / name for name in RESULTS]
        if self.resume:
            if not recipe.is_file():
                raise NotFound(f"out {self.path} holds no {RECIPE_FILE} of a run to resume", ANEW)
            return check_replaceable(results, overwrite=self.overwrite)
        if not self.overwrite and (recipe.exists() or (self.path / MODEL_FILE).exists() or holds_run(self.path)):
            raise AlreadyThere(f"out {self.path} already holds a run", f"resume it with --resume, or {ANEW}")
        return check_replaceable([*results, state, recipe, self.path / START_FILE], overwrite=self.overwrite)

    def read_recipe(self) -> Recipe:
        """The recipe that the run began with. Raises ContractileError where it was changed since, or is damaged."""
        path = self.path / RECIPE_FILE
        try:
            recipe = make_recipe(read_recipe(path))
        except ContractileError as error:
            raise type(error)(error.problem, BACK, where=path) from error
        for number in range(1, recipe.folds + 1):
            own = self.fold(number)
            if own.resume:
                _check_share(own.read_state().saved.recipe, _share(recipe, number), path)
        return recipe

    def begin_folds(self, recipe: Recipe, start: Model | None) -> Model | None:
        """Write the recipe of a run that begins or goes on. Files of an earlier run go once it is safe.

        Returns the model that each fold starts from: `start`, or in a resumed run the one that it began with.
        """
        kept = self.path / START_FILE
        if self.resume:
            self.write_recipe(recipe)
            return load(kept) if kept.is_file() else None
        if start is not None:
            self._check_there()
            save(start, kept)
        self.write_recipe(recipe)
        self._begun = True
        if self.overwrite:
            begun = [place for place in folds_in(self.path) if is_state(place / STATE_FILE)]
            for place in (self.path, *begun):
                remove_files(place, (STATE_FILE, *RESULTS))
            if start is None:
                remove_files(self.path, [START_FILE])
        return start

    def describe_rest(self, command: str) -> str:
        """What a stopped run leaves, and how to go on, in one line."""
        if not (self.resume or self._begun):
            return super().describe_rest(command)
        done = len(list(self.path.glob(f"{FOLD.format('*')}/{MODEL_FILE}")))
        return f"stopped; {self.path} holds {done} fold(s) with a model so far; {how_to_go_on(command)}"

    def fold(self, number: int) -> RunFolder:
        """The run folder of one fold, from 1. With `resume` a fold goes on where it has begun."""
        place = self.path / FOLD.format(number)
        begun = self.resume and (place / STATE_FILE).is_file()
        return RunFolder(place, resume=begun, overwrite=self.overwrite or self.resume)


def is_folded(folder: Path) -> bool:
    """Whether a folder holds a run of several folds: no state of one run, and a recipe that says so or a fold."""
    try:
        folds = int(read_recipe(folder / RECIPE_FILE).get("folds", 1))
    except ContractileError:  # whoever reads the run complains
        folds = 1
    return not is_state(folder / STATE_FILE) and (folds > 1 or (folder / FOLD.format(1)).is_dir())


def split_folds(examples: Sequence[Example], recipe: Recipe) -> Iterator[tuple[list[Example], list[Example]]]:
    """(training, held out) of each fold. Neighbouring images, which look alike, are held out together.

    Raises ContractileError where there are fewer annotated images than folds.
    """
    annotated = find_annotated(examples, recipe.targets)
    if len(annotated) < recipe.folds:
        problem = f"folds must be at most the number of annotated images, {len(annotated)}, got {recipe.folds}"
        raise ContractileError(problem, "annotate more images, or use fewer folds")
    for held in np.array_split(annotated, recipe.folds):
        out = set(held.tolist())
        yield [one for n, one in enumerate(examples) if n not in out], [examples[n] for n in sorted(out)]


def train_folds(examples: Sequence[Example], recipe: Recipe, folder: FoldedFolder, call: Call) -> Run:
    """Train a network for each fold, in its share of the time or steps, and combine them.

    The scores are of each image by the network that has not learned from it. So are decoding and confidence.
    Raises what `carry_out` raises, and ContractileError where there are too few images.
    """
    parts, runs = list(split_folds(examples, recipe)), list[Run]()
    start, named = folder.begin_folds(recipe, call.start), call.started_from
    if folder.resume:  # a name that is given now is not that of the model that was kept
        named = "" if start is None else str(folder.path / START_FILE)
    for number, (training, held_out) in enumerate(parts, start=1):
        own = folder.fold(number)
        share = _share(recipe, number)
        with own.held():
            found = own.read_state() if own.resume else None
            started = call.started if number == 1 else time.monotonic()
            shared = _shared(call.progress, number, recipe.folds)
            part = replace(call, folder=own, started=started, progress=shared, start=start, started_from=named)
            runs.append(carry_out(training, held_out, share if found is None else found.saved.recipe, part, found))
    scoring = Validation(recipe, [one for _, held_out in parts for one in held_out])
    maps = [one for run in runs for one in scoring.predict(run.model, run.validation)]
    first = combine([run.model for run in runs])
    provenance = {**first.card.provenance, "images": len(examples), "folds": recipe.folds}
    model, evaluation = scoring.conclude(first.with_card(provenance=provenance, **find_sizes(recipe, examples)), maps)
    with call.stopping.whole():
        folder.write_model(model)
        folder.write_history(runs[0].history)
    card = {"decoding": model.card.decoding}
    unseen = {one.name: run.model.with_card(**card) for run in runs for one in run.validation}
    return Run(folder.path, recipe, model, evaluation, runs[0].history, scoring.examples, unseen)


def _check_share(began: Recipe, now: Recipe, path: Path) -> None:
    """Check that a fold began with what is now its share of the recipe in `path`; ContractileError names the field."""
    held, found = began.model_dump(mode="json"), now.model_dump(mode="json")
    if now.steps is None and now.minutes is not None:  # how many steps these were was found out as the fold began
        found["steps"] = held["steps"]
    try:
        check_same(held, found)
    except ContractileError as error:
        raise ContractileError(error.problem, BACK, where=path) from error


def _share(recipe: Recipe, number: int) -> Recipe:
    """The recipe of one fold: its share of the time or of the steps, and a seed of its own."""
    told: dict[str, object] = {"folds": 1, "seed": (recipe.seed + number - 1) % 2**63}
    if recipe.steps is not None:
        told["steps"] = max(1, recipe.steps // recipe.folds)
    elif recipe.minutes is not None:
        told["minutes"] = recipe.minutes / recipe.folds
    return recipe.model_copy(update=told)


def _shared(progress: Progress | None, number: int, folds: int) -> Progress | None:
    """The progress of one fold, as part of the whole."""
    if progress is None:
        return None
    return lambda one: progress(replace(one, step=one.step + (number - 1) * one.steps, steps=folds * one.steps))
