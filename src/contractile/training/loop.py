"""Training from the first file to the last: `train` reads files, `fit` takes examples in memory.

A run folder holds `model.safetensors` (the last network, unless an earlier one was clearly better on the validation
images), `state.ckpt` (the last state, to resume from), `history.csv`, TensorBoard events and `recipe.toml`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from contractile.check import find_errors
from contractile.dataset import Example, Pair, Samples, check_places, load_examples, pair_up, split
from contractile.errors import ContractileError, check_progress
from contractile.evaluation import Evaluation
from contractile.model import Model, ModelCard
from contractile.quality import Likeness
from contractile.recipe import Recipe, check_same, derive, read_recipe
from contractile.training.budget import count_steps
from contractile.training.curves import Curves
from contractile.training.folder import RunFolder
from contractile.training.norms import count_batches, measure_statistics
from contractile.training.optimizer import learning_rate
from contractile.training.origin import check_origin, describe, trace
from contractile.training.quality import learn_likeness
from contractile.training.saved import Found
from contractile.training.state import State, begin, launch, take_step
from contractile.training.stopping import Stopping, stoppable
from contractile.training.validation import Validation, steering_score

logger = logging.getLogger(__name__)

LOGGED_ROWS = 200
SHOWN_WARNINGS = 5
CHANCE = 0.01  # scores on few images differ by this much for no reason (docs/log.md)


@dataclass(frozen=True)
class Status:
    """How far a run is: `step` of `steps`, the mean loss of the last few steps, the best steering score so far."""

    step: int
    steps: int
    loss: float
    best: float | None


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and recipe, the model that was kept, and its scores on the validation images."""

    folder: Path
    recipe: Recipe
    model: Model
    evaluation: Evaluation
    history: list[dict[str, float]]
    validation: list[Example]


Progress = Callable[[Status], None]


def train(
    images: str | Path,
    labels: str | Path,
    *,
    out: str | Path,
    recipe: str | Path | Mapping[str, Any] | None = None,
    validation: tuple[str | Path, str | Path] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    anyway: bool = False,
    progress: Progress | None = None,
    command: str = "",
) -> Run:
    """Train on annotated images and write a run folder, which no other process may write meanwhile.

    `images`, `labels`: a folder, glob, file or multi-page stack each; pairs match by name.
    `recipe`: a name, a TOML file, or a mapping of recipe fields such as `{"minutes": 10}` or `{"steps": 500}`.
    `validation`: images and labels to validate on. By default the last tenth of the images is held out; of fewer than
    ten images, a part of the last one.
    `resume` continues the run in `out`, which ends as if it had not been interrupted; data and recipe must be those
    that it began with. `recipe` may repeat fields. `overwrite` replaces files in `out`, of a run or of others.
    `progress` is called with a `Status` after each step. `command` are words of a command line, for the model's card.
    The data are examined first (`check.find_errors`), and with an error in them no run begins, unless `anyway` says so.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP end the run at once, or after the optimiser's step; the state is saved, and a
    note on the exception says how to go on. The exception is the one of the handler that was there before, such as
    KeyboardInterrupt; a signal that would have ended the process gives SystemExit. A second signal does not wait.

    Raises ContractileError, before anything is written, for arguments or files that cannot be used, and InUse where
    another process trains into `out`; NotFinished where the loss is no longer a number or memory or the disk runs out.
    """
    started = time.monotonic()
    check_places(images, labels, out=out, validation=validation)
    check_progress(progress, "the status")
    asked = read_recipe(recipe)
    folder = RunFolder(Path(out), resume=resume, overwrite=overwrite)
    with stoppable() as stopping, _telling(stopping, folder, command), folder.held():
        found = folder.read_state() if resume else None
        settled = None if found is None else found.saved.recipe
        if settled is not None:
            check_same(settled.model_dump(mode="json"), asked)
        dims = settled.network.dims if settled else asked.get("network", {}).get("dims", 2)
        axes = settled.axes if settled else asked.get("axes")
        pairs = pair_up(images, labels, dims=dims, axes=axes)
        others = pair_up(*validation, dims=dims, axes=axes) if validation else []
        training, held_out = load_examples(pairs, dims=dims), load_examples(others, dims=dims) if others else []
        if settled is None:
            ignored = asked.get("targets", {}).get("ignore_label")
            _examine([*pairs, *others], [*training, *held_out], ignore_label=ignored, anyway=anyway)
        fitted = settled or derive(training, {**_settled_axes(pairs), **asked})
        if not held_out:
            training, held_out = split(training, fitted.val_fraction, fitted.targets)
        _check_channels([*training, *held_out], fitted.network.channels)
        return _carry_out(training, held_out, fitted, _Call(folder, stopping, started, progress, command), found)


def _examine(pairs: Sequence[Pair], examples: Sequence[Example], *, ignore_label: int | None, anyway: bool) -> None:
    """Log what makes training on these examples worse. Raises ContractileError for an error, unless `anyway`."""
    findings = find_errors(pairs, examples, ignore_label=ignore_label)
    errors = [finding for finding in findings if finding.level == "error"]
    if errors and not anyway:
        more = f" (and {len(errors) - 1} more error(s))" if len(errors) > 1 else ""
        cure = f"{errors[0].cure}; --anyway (anyway=True) trains all the same"
        raise ContractileError(f"{errors[0].problem}{more}", cure, where=errors[0].where)
    warnings = [finding for finding in findings if finding.level != "note"]
    for finding in warnings[:SHOWN_WARNINGS]:
        logger.warning("%s: %s; %s", finding.where, finding.problem, finding.cure)
    if len(warnings) > SHOWN_WARNINGS:
        logger.warning("and %d more: `contractile check` names them", len(warnings) - SHOWN_WARNINGS)


def _settled_axes(pairs: Sequence[Pair]) -> dict[str, str]:
    """The axes that the labels showed, as a change of the recipe; nothing where images differ in them."""
    found = {pair.image.axes for pair in pairs}
    [axes] = found if len(found) == 1 else [None]
    return {} if axes is None else {"axes": axes}


def fit(
    training: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    *,
    folder: Path,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train on examples in memory, as `train`.

    Raises what `train` raises, and ContractileError for a recipe without steps or minutes.
    """
    started, place = time.monotonic(), RunFolder(Path(folder), resume=resume, overwrite=overwrite)
    with stoppable() as stopping, _telling(stopping, place, ""), place.held():
        found = place.read_state() if resume else None
        if found is not None:
            check_same(found.saved.recipe.model_dump(mode="json"), recipe.model_dump(mode="json", exclude_none=True))
            recipe = found.saved.recipe
        return _carry_out(training, validation, recipe, _Call(place, stopping, started, progress), found)


@contextmanager
def _telling(stopping: Stopping, folder: RunFolder, command: str) -> Iterator[None]:
    """Add a note to the exception with which a signal ends the block: what there is, and how to go on."""
    try:
        yield
    except BaseException as error:
        if stopping.number is not None and not isinstance(error, ContractileError):
            line = folder.describe_rest(command)
            error.add_note(line)
            if stopping.silent:
                logger.warning("%s", line)
        raise


@dataclass(frozen=True)
class _Call:
    """How a run was asked for."""

    folder: RunFolder
    stopping: Stopping
    started: float  # of `time.monotonic`, when the time budget began
    progress: Progress | None = None
    command: str = ""


@dataclass(frozen=True)
class _Course:
    """What a run needs beside its state. Seconds count from `clock` (of `time.monotonic`)."""

    samples: Samples
    scoring: Validation
    card: ModelCard
    folder: RunFolder
    clock: float

    def likeness(self) -> Likeness | None:
        """What the training and validation images are known by."""
        normalization, others = self.card.normalization, self.scoring.examples
        curves = [*self.samples.curves, *(normalization.fit(one.pixels) for one in others)]
        return learn_likeness([*self.samples.examples, *others], curves)


def _carry_out(
    training: Sequence[Example], validation: Sequence[Example], recipe: Recipe, call: _Call, found: Found | None
) -> Run:
    """Begin a run, or go on from what was found, to its end."""
    if recipe.steps is None and recipe.minutes is None:
        raise ContractileError("recipe must say how long to train, got neither steps nor minutes", "set one of them")
    fabric, scoring = launch(recipe), Validation(recipe, validation)
    samples = Samples(training, recipe.targets, recipe.samples, seed=recipe.seed)
    origin = trace(recipe, training, validation, command=call.command)
    if found is not None:
        check_origin(found.saved.origin, origin, call.folder.path)
        origin = origin.model_copy(update={"command": found.saved.origin.command})
    card = describe(recipe, training, validation, origin)
    if recipe.steps is None:
        deadline = call.started + 60 * (recipe.minutes or 0)
        steps = count_steps(recipe, fabric, samples, scoring, card, deadline=deadline)
        recipe = recipe.model_copy(update={"steps": steps})
    state = begin(recipe, fabric)
    state.origin, state.stopping, state.curves = origin, call.stopping, Curves(call.folder.path)
    with call.stopping.whole():
        call.folder.begin(state) if found is None else call.folder.go_on(state, found)
    before = max((row.get("seconds", 0.0) for row in state.history), default=0.0)
    course = _Course(samples, scoring, card, call.folder, call.started - before)
    try:
        _learn(state, course, call.progress)
        model, evaluation = _finish(state, course)
    except BaseException:
        if call.stopping.ends and not call.stopping.torn:
            call.folder.write_state(state)
        raise
    finally:
        state.curves.close()
    return Run(call.folder.path, recipe, model, evaluation, state.history, scoring.examples)


def _learn(state: State, course: _Course, progress: Progress | None) -> None:
    """Take the steps that are left, and after each of them do what is due."""
    steps, ranks = state.recipe.steps or 0, {"rank": state.fabric.global_rank, "ranks": state.fabric.world_size}
    _do_what_is_due(state, course)  # a run may have been stopped in a validation
    with closing(course.samples.batches(state.step, **ranks)) as batches:
        for batch in islice(batches, steps - state.step):
            take_step(state, batch)
            loss = sum(state.losses) / len(state.losses)
            _do_what_is_due(state, course)
            if progress is not None:
                progress(Status(state.step, steps, loss, state.best))


def _do_what_is_due(state: State, course: _Course) -> None:
    """Add a row to the history, about 200 in a run; validate; save the state. Nothing is done twice for a step."""
    steps, last = state.recipe.steps or 0, state.step == state.recipe.steps
    if state.losses and (state.step % max(1, steps // LOGGED_ROWS) == 0 or last):
        with state.stopping.whole():
            loss = sum(state.losses) / len(state.losses)
            rate = learning_rate(state.step - 1, steps, state.recipe.optimizer)
            state.record(seconds=round(time.monotonic() - course.clock, 2), learning_rate=rate, loss=loss)
            state.losses = []
    if state.validated < state.step and (state.step % math.ceil(steps / state.recipe.validations) == 0 or last):
        _validate(state, course)
    course.folder.write_state_in_time(state)


def _validate(state: State, course: _Course) -> None:
    """Score some validation images. Save the network, unless an earlier one was clearly better, and the state."""
    with torch.random.fork_rng(devices=[]):  # a network is made, which draws weights: dropout must not notice
        scores = course.scoring.look(state.model(course.card))
        model = state.model(course.card, scores)
    with state.stopping.whole():
        state.record(**{f"val_{name}": value for name, value in scores.items()})
        steering = scores.get(steering_score(state.recipe), 0.0)
        state.validated, state.best = state.step, steering if state.best is None else max(state.best, steering)
        if steering >= state.best - CHANCE:
            course.folder.write_model(model)
            state.kept = state.step
        course.folder.write_state(state)
        course.folder.write_history(state.history)


def _finish(state: State, course: _Course) -> tuple[Model, Evaluation]:
    """Complete the network that was kept: statistics of its norms, decoding, scores on all validation images."""
    kept = course.folder.read_model(state)
    network, device = kept.network, state.fabric.device
    numbers = range(count_batches(network, state.step))
    images = (course.samples.batch(number).image.to(device) for number in numbers)
    with state.fabric.autocast():
        measure_statistics(network.to(device), images, shared=state.recipe.network.symmetry == "square")
    network.cpu()
    model, evaluation = course.scoring.conclude(kept.with_card(likeness=course.likeness()))
    with state.stopping.whole():
        course.folder.write_model(model)
    return model, evaluation


def _check_channels(examples: Sequence[Example], channels: int) -> None:
    for example in examples:
        if example.pixels.shape[0] != channels:
            raise ContractileError(
                f"image {example.name} must have the {channels} channel(s) of the recipe's network, "
                f"got {example.pixels.shape[0]}",
                "convert it, or leave network.channels out of the recipe",
            )
