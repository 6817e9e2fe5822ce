"""The training loop, and nothing else: examples -> samples -> loss -> model file.

A run folder holds `model.safetensors` (the last network, unless an earlier one was clearly better on the validation
images), `state.ckpt` (the last state, to resume from), `history.csv`, TensorBoard events and `recipe.toml`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contractile.dataset import Example, load_examples, pair_up, split
from contractile.errors import ContractileError
from contractile.recipe import Recipe, check_same, derive, read_recipe
from contractile.training.folder import RECIPE_FILE, check_folder
from contractile.training.trainer import Run, Trainer

LOGGED_ROWS = 200


@dataclass(frozen=True)
class Status:
    """Where a run stands: `step` of `steps`, the mean loss of late, the best steering score so far."""

    step: int
    steps: int
    loss: float
    best: float | None


Progress = Callable[[Status], None]


def train(
    images: str | Path,
    labels: str | Path,
    *,
    out: str | Path,
    recipe: str | Path | Mapping[str, Any] | None = None,
    validation: tuple[str | Path, str | Path] | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Train on annotated images and write a run folder.

    `images`, `labels`: a folder, glob, file or multi-page stack each; pairs match by name. `recipe`: a
    name, a TOML file, or a mapping of recipe fields such as `{"minutes": 10}` or `{"steps": 500, "seed": 1}`.
    `validation`: images and labels to validate on (default: the last tenth, of few a part of the last one). `resume`
    continues the run in `out` with the recipe it began with; `recipe` may name fields of it, but not change them.
    `progress` is called with a `Status` after each step.

    Raises ValueError or OSError with one line that names the cure, before anything is written.
    """
    started = time.monotonic()
    folder = Path(out)
    check_folder(folder, resume=resume)
    changes = read_recipe(recipe)
    if resume:
        asked, changes = changes, read_recipe(folder / RECIPE_FILE)
        check_same(changes, asked)
    dims = changes.get("network", {}).get("dims", 2)
    training = load_examples(pair_up(images, labels, dims=dims), dims=dims)
    fitted = derive(training, changes)
    if validation is None:
        training, held_out = split(training, fitted.val_fraction, fitted.targets)
    else:
        held_out = load_examples(pair_up(*validation, dims=dims), dims=dims)
    _check_channels([*training, *held_out], fitted.network.channels)
    return fit(training, held_out, fitted, folder=folder, progress=progress, started=started)


def _check_channels(examples: Sequence[Example], channels: int) -> None:
    for example in examples:
        if example.pixels.shape[0] != channels:
            raise ContractileError(
                (
                    f"image {example.name} must have the {channels} channel(s) of the recipe's "
                    f"network, got {example.pixels.shape[0]}"
                ),
                "convert it, or leave network.channels out of the recipe",
            )


def fit(
    training: Sequence[Example],
    validation: Sequence[Example],
    recipe: Recipe,
    *,
    folder: Path,
    progress: Progress | None = None,
    started: float | None = None,
) -> Run:
    """Train on examples in memory, from the last state in `folder` where there is one.

    `started` (of `time.monotonic`) is when the time budget began to run: now, unless given. Raises ValueError for a
    recipe without steps or minutes, FloatingPointError when the loss is no longer a number.
    """
    started = time.monotonic() if started is None else started
    if recipe.steps is None and recipe.minutes is None:
        raise ContractileError("recipe must say how long to train, got neither steps nor minutes", "set one of them")
    trainer = Trainer(recipe, training, validation, folder)
    steps = recipe.steps or trainer.measure_steps(60 * (recipe.minutes or 0), started)
    trainer.begin(steps)
    every, logged = math.ceil(steps / recipe.validations), max(1, steps // LOGGED_ROWS)
    losses: list[float] = []
    batches = trainer.samples.batches(trainer.step, rank=trainer.fabric.global_rank, ranks=trainer.fabric.world_size)
    for batch in batches if trainer.step < steps else ():
        losses.append(trainer.take_step(batch))
        if trainer.step % logged == 0 or trainer.step == steps:
            trainer.record(sum(losses) / len(losses), trainer.seconds_before + time.monotonic() - started)
            losses.clear()
        if trainer.step % every == 0 or trainer.step == steps:
            trainer.validate()
        if progress is not None:
            loss = sum(losses) / len(losses) if losses else trainer.latest_loss
            progress(Status(trainer.step, steps, loss, trainer.best))
        if trainer.step == steps:
            break
    batches.close()
    return trainer.finish()
