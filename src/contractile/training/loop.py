"""The loop of a run: begin or go on, take steps, validate, save, and complete the network that was kept.

A run folder holds `model.safetensors` (the last network, unless an earlier one was clearly better on the validation
images), `state.ckpt` (the last state, to resume from), `history.csv`, TensorBoard events and `recipe.toml`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import torch

from contractile.dataset import Example, Samples
from contractile.errors import ContractileError
from contractile.evaluation import Evaluation
from contractile.model import Model, ModelCard
from contractile.quality import Likeness
from contractile.recipe import Recipe
from contractile.training.budget import count_steps
from contractile.training.curves import Curves
from contractile.training.folder import RunFolder
from contractile.training.norms import count_batches, measure_statistics
from contractile.training.optimizer import learning_rate
from contractile.training.origin import check_origin, describe, trace
from contractile.training.quality import learn_likeness
from contractile.training.saved import Found
from contractile.training.starting import TRIED_LOOKS, choose_start, steps_tried
from contractile.training.state import State, begin, check_finite, launch, take_step
from contractile.training.stopping import Stopping
from contractile.training.validation import Validation, steering_score

LOGGED_ROWS = 200


@dataclass(frozen=True)
class Status:
    """How far a run is: `step` of `steps`, the mean loss of the last few steps, the best steering score so far.

    The first steps of a run that starts from a model are taken, and told, twice.
    """

    step: int
    steps: int
    loss: float
    best: float | None


@dataclass(frozen=True)
class Run:
    """A finished run: its folder and recipe, the model that was kept, and its scores on the validation images.

    `unseen` names, for images that some of the networks of the model learned from, a model that did not.
    """

    folder: Path
    recipe: Recipe
    model: Model
    evaluation: Evaluation
    history: list[dict[str, float]]
    validation: list[Example]
    unseen: Mapping[str, Model] = field(default_factory=dict)


Progress = Callable[[Status], None]


@dataclass(frozen=True)
class Call:
    """How a run was asked for."""

    folder: RunFolder
    stopping: Stopping
    started: float  # of `time.monotonic`, when the time budget began
    progress: Progress | None = None
    command: str = ""
    start: Model | None = None
    started_from: str = ""  # the name of this model


@dataclass(frozen=True)
class _Tools:
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


def carry_out(
    training: Sequence[Example], validation: Sequence[Example], recipe: Recipe, call: Call, found: Found | None
) -> Run:
    """Begin a run, or go on from what was found, to its end."""
    if recipe.steps is None and recipe.minutes is None:
        raise ContractileError("recipe must say how long to train, got neither steps nor minutes", "set one of them")
    fabric, scoring = launch(recipe), Validation(recipe, validation, training)
    samples = Samples(training, recipe.targets, recipe.samples, seed=recipe.seed)
    origin = trace(recipe, training, validation, command=call.command, start=call.started_from)
    if found is not None:
        check_origin(found.saved.origin, origin, call.folder.path)
        origin = origin.model_copy(update=found.saved.origin.model_dump(include={"command", "start"}))
    card = describe(recipe, training, validation, origin).model_copy(update={"decoding": scoring.first})
    if recipe.steps is None:
        deadline = call.started + 60 * (recipe.minutes or 0)
        looks = 0 if call.start is None else TRIED_LOOKS
        steps = count_steps(recipe, fabric, samples, scoring, card, deadline=deadline, looks=looks)
        tried = 0 if call.start is None else steps_tried(steps)
        recipe = recipe.model_copy(update={"steps": max(1, steps - tried)})
    if call.start is not None and found is None:
        show = partial(_show, progress=call.progress)
        state = choose_start(call.start, recipe, fabric, samples, scoring, card, show)
    else:
        state = begin(recipe, fabric)
    state.origin, state.stopping, state.curves = origin, call.stopping, Curves(call.folder.path)
    with call.stopping.whole():
        call.folder.begin(state) if found is None else call.folder.go_on(state, found)
    before = max((row.get("seconds", 0.0) for row in state.history), default=0.0)
    tools = _Tools(samples, scoring, card, call.folder, call.started - before)
    try:
        _learn(state, tools, call.progress)
        model, evaluation = _finish(state, tools)
    except BaseException:
        if call.stopping.ends and not call.stopping.torn:
            call.folder.write_state(state)
        raise
    finally:
        state.curves.close()
    return Run(call.folder.path, recipe, model, evaluation, state.history, scoring.examples)


def _show(state: State, progress: Progress | None) -> None:
    """Tell how far a run is, before its losses become a row of the history."""
    if progress is not None:
        loss = sum(state.losses) / len(state.losses)
        progress(Status(state.step, state.recipe.steps or 0, loss, state.best))


def _learn(state: State, tools: _Tools, progress: Progress | None) -> None:
    """Take the steps that are left, and after each of them do what is due."""
    steps, ranks = state.recipe.steps or 0, {"rank": state.fabric.global_rank, "ranks": state.fabric.world_size}
    _do_what_is_due(state, tools)  # a run may have been stopped in a validation
    with closing(tools.samples.batches(state.step, **ranks)) as batches:
        for batch in islice(batches, steps - state.step):
            take_step(state, batch)
            loss = sum(state.losses) / len(state.losses)
            _do_what_is_due(state, tools)
            if progress is not None:
                progress(Status(state.step, steps, loss, state.best))


def _do_what_is_due(state: State, tools: _Tools) -> None:
    """Add a row to the history, about 200 in a run; validate; save the state. Nothing is done twice for a step."""
    steps, last = state.recipe.steps or 0, state.step == state.recipe.steps
    if state.losses and (state.step % max(1, steps // LOGGED_ROWS) == 0 or last):
        with state.stopping.whole():
            loss = sum(state.losses) / len(state.losses)
            rate = learning_rate(state.step - 1, steps, state.recipe.optimizer)
            state.record(seconds=round(time.monotonic() - tools.clock, 2), learning_rate=rate, loss=loss)
            state.losses = []
    if state.validated < state.step and (state.step % math.ceil(steps / state.recipe.validations) == 0 or last):
        _validate(state, tools)
    tools.folder.write_state_in_time(state)


def _validate(state: State, tools: _Tools) -> None:
    """Score some validation images. Save the network, unless an earlier one was clearly better, and the state.

    Raises NotFinished where the network holds what is no number.
    """
    check_finite(state)
    with torch.random.fork_rng(devices=[]):  # a network is made, which draws weights: dropout must not notice
        scores = tools.scoring.look(state.model(tools.card))
        model = state.model(tools.card, scores)
    with state.stopping.whole():
        state.record(**{f"val_{name}": value for name, value in scores.items()})
        steering = scores.get(steering_score(state.recipe), 0.0)
        state.validated, state.best = state.step, steering if state.best is None else max(state.best, steering)
        # However few objects there are, a network with less than half the score is worse.
        if steering >= state.best - min(tools.scoring.chance, state.best / 2):
            tools.folder.write_model(model)
            state.kept = state.step
        tools.folder.write_state(state)
        tools.folder.write_history(state.history)


def _finish(state: State, tools: _Tools) -> tuple[Model, Evaluation]:
    """Complete the network that was kept: statistics of its norms, decoding, scores on all validation images."""
    kept = tools.folder.read_model(state)
    network, device = kept.network, state.fabric.device
    numbers = range(count_batches(network, state.step))
    images = (tools.samples.batch(number).image.to(device) for number in numbers)
    with state.fabric.autocast():
        measure_statistics(network.to(device), images, shared=state.recipe.network.symmetry == "square")
    network.cpu()
    model, evaluation = tools.scoring.conclude(kept.with_card(likeness=tools.likeness()))
    with state.stopping.whole():
        tools.folder.write_model(model)
    return model, evaluation
