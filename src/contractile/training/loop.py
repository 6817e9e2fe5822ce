"""Training from the first file to the last: `train` reads files, `fit` takes examples in memory.

A run folder holds `model.safetensors` (the last network, unless an earlier one was clearly better on the validation
images), `state.ckpt` (the last state, to resume from), `history.csv`, TensorBoard events and `recipe.toml`.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from contractile.check import find_errors
from contractile.dataset import Example, Pair, Samples, load_examples, pair_up, split
from contractile.errors import ContractileError
from contractile.evaluation import Evaluation
from contractile.model import Model, ModelCard, load, save
from contractile.recipe import Recipe, check_same, derive, read_recipe
from contractile.training.budget import count_steps
from contractile.training.folder import (
    MODEL_FILE,
    RECIPE_FILE,
    check_folder,
    describe,
    read_state,
    write_history,
    write_recipe,
    write_state,
)
from contractile.training.norms import count_batches, measure_statistics
from contractile.training.optimizer import learning_rate
from contractile.training.state import State, begin, launch, take_step
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
    anyway: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train on annotated images and write a run folder.

    `images`, `labels`: a folder, glob, file or multi-page stack each; pairs match by name.
    `recipe`: a name, a TOML file, or a mapping of recipe fields such as `{"minutes": 10}` or `{"steps": 500}`.
    `validation`: images and labels to validate on. By default the last tenth of the images is held out; of fewer than
    ten images, a part of the last one.
    `resume` continues the run in `out` with the recipe it began with; `recipe` may repeat its fields, but not change
    them. `progress` is called with a `Status` after each step. The data are examined first (`check.find_errors`), and
    with an error in them no run begins, unless `anyway` says so.

    Raises ContractileError, before anything is written, for arguments or files that cannot be used; NotFinished where
    the loss is no longer a number or memory runs out.
    """
    started = time.monotonic()
    folder = Path(out)
    check_folder(folder, resume=resume)
    changes = read_recipe(recipe)
    if resume:
        asked, changes = changes, read_recipe(folder / RECIPE_FILE)
        check_same(changes, asked)
    dims, axes = changes.get("network", {}).get("dims", 2), changes.get("axes")
    pairs = pair_up(images, labels, dims=dims, axes=axes)
    others = pair_up(*validation, dims=dims, axes=axes) if validation else []
    training, held_out = load_examples(pairs, dims=dims), load_examples(others, dims=dims) if others else []
    if not resume:
        ignored = changes.get("targets", {}).get("ignore_label")
        _examine([*pairs, *others], [*training, *held_out], ignore_label=ignored, anyway=anyway)
    fitted = derive(training, {**_settled_axes(pairs), **changes})
    if not held_out:
        training, held_out = split(training, fitted.val_fraction, fitted.targets)
    _check_channels([*training, *held_out], fitted.network.channels)
    return fit(training, held_out, fitted, folder=folder, progress=progress, started=started)


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
    progress: Progress | None = None,
    started: float | None = None,
) -> Run:
    """Train on examples in memory; go on from the last state in `folder` where there is one.

    The time budget began at `started` (of `time.monotonic`), by default now. Raises ContractileError for a recipe
    without steps or minutes and for a state that belongs to other examples, NotFinished where the loss is no longer a
    number or memory runs out.
    """
    started = time.monotonic() if started is None else started
    interrupted = read_state(folder)
    _check_length(recipe, folder, resumed=interrupted is not None)
    fabric, scoring = launch(recipe, folder), Validation(recipe, validation)
    samples = Samples(training, recipe.targets, recipe.samples, seed=recipe.seed)
    card = describe(recipe, training, validation)
    deadline = started + 60 * (recipe.minutes or 0)
    steps = recipe.steps or count_steps(recipe, fabric, samples, scoring, card, deadline=deadline)
    recipe = recipe.model_copy(update={"steps": steps})
    state = begin(recipe, fabric, data=card.provenance["data_sha256"])
    if interrupted is not None:
        state.load_state_dict(interrupted)
    write_recipe(folder, recipe)
    if state.step == 0 and fabric.is_global_zero:
        write_state(folder, state.state_dict())  # so that a run stopped before its first validation can be resumed, too
    before = max((row.get("seconds", 0.0) for row in state.history), default=0.0)
    for loss in _learn(state, samples, steps, clock=started - before):
        if state.step % math.ceil(steps / recipe.validations) == 0 or state.step == steps:
            _validate(state, scoring, card, folder)
        if progress is not None:
            progress(Status(state.step, steps, loss, state.best))
    model, evaluation = _finish(state, samples, scoring, folder)
    return Run(folder, recipe, model, evaluation, state.history, scoring.examples)


def _learn(state: State, samples: Samples, steps: int, *, clock: float) -> Iterator[float]:
    """Take the steps that are left; after each, the mean loss since the last row of the history.

    Rows are added on the way, about 200 in a run; their seconds count from `clock` (of `time.monotonic`).
    """
    logged = max(1, steps // LOGGED_ROWS)
    ranks = {"rank": state.fabric.global_rank, "ranks": state.fabric.world_size}
    losses: list[float] = []
    with closing(samples.batches(state.step, **ranks)) as batches:
        for batch in islice(batches, steps - state.step):
            losses.append(take_step(state, batch))
            loss = sum(losses) / len(losses)
            if state.step % logged == 0 or state.step == steps:
                rate = learning_rate(state.step - 1, steps, state.recipe.optimizer)
                state.record(seconds=round(time.monotonic() - clock, 2), learning_rate=rate, loss=loss)
                losses = []
            yield loss


def _validate(state: State, scoring: Validation, card: ModelCard, folder: Path) -> None:
    """Score some validation images. Save the network, unless an earlier one was clearly better, and the state."""
    scores = scoring.look(state.model(card))
    state.record(**{f"val_{name}": value for name, value in scores.items()})
    if state.fabric.is_global_zero:
        steering = scores.get(steering_score(state.recipe), 0.0)
        state.best = steering if state.best is None else max(state.best, steering)
        if steering >= state.best - CHANCE:
            save(state.model(card, scores), folder / MODEL_FILE)
        write_state(folder, state.state_dict())
        write_history(folder, state.history)
    state.fabric.barrier()


def _finish(state: State, samples: Samples, scoring: Validation, folder: Path) -> tuple[Model, Evaluation]:
    """Complete the network that was kept: statistics of its norms, decoding, scores on all validation images."""
    state.fabric.barrier()
    kept = load(folder / MODEL_FILE)
    network, device = kept.network, state.fabric.device
    numbers = range(count_batches(network, state.step))
    images = (samples.batch(number).image.to(device) for number in numbers)
    with state.fabric.autocast():
        measure_statistics(network.to(device), images, shared=state.recipe.network.symmetry == "square")
    network.cpu()
    model, evaluation = scoring.conclude(kept)
    if state.fabric.is_global_zero:
        save(model, folder / MODEL_FILE)
    return model, evaluation


def _check_length(recipe: Recipe, folder: Path, *, resumed: bool) -> None:
    if recipe.steps is None and recipe.minutes is None:
        raise ContractileError("recipe must say how long to train, got neither steps nor minutes", "set one of them")
    if recipe.steps is None and resumed:
        raise ContractileError(f"recipe of {folder} must name its steps to be resumed, got none", "train anew")


def _check_channels(examples: Sequence[Example], channels: int) -> None:
    for example in examples:
        if example.pixels.shape[0] != channels:
            raise ContractileError(
                f"image {example.name} must have the {channels} channel(s) of the recipe's network, "
                f"got {example.pixels.shape[0]}",
                "convert it, or leave network.channels out of the recipe",
            )
