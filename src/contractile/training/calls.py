"""Training from the first file to the last: `train` reads files, `fit` takes examples in memory."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contractile.check import find_errors
from contractile.dataset import (
    Example,
    Pair,
    check_places,
    check_values,
    load_examples,
    pair_up,
    settle_pairs,
    split,
)
from contractile.errors import ContractileError, check_progress
from contractile.model import Model, load
from contractile.recipe import Recipe, check_same, derive, merge, read_recipe
from contractile.training.folder import RunFolder
from contractile.training.folds import FoldedFolder, is_folded, train_folds
from contractile.training.loop import Call, Progress, Run, carry_out
from contractile.training.starting import changes_for
from contractile.training.stopping import Stopping, stoppable

logger = logging.getLogger(__name__)

SHOWN_WARNINGS = 5


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
    start: str | Path | Model | None = None,
    command: str = "",
) -> Run:
    """Train on annotated images and write a run folder, which no other process may write meanwhile.

    `images`, `labels`: a folder, glob, file or multi-page stack each; pairs match by name.
    `recipe`: a name, a TOML file, or a mapping of recipe fields such as `{"minutes": 10}` or `{"steps": 500}`.
    `validation`: images and labels to validate on. By default the last tenth of the images is held out; of fewer than
    ten images, a part of the last one.
    `resume` continues the run in `out`, which ends as if it had not been interrupted; data and recipe must be those
    that it began with. `recipe` may repeat fields. `overwrite` replaces files in `out`, of a run or of others.
    With `folds` in the recipe, so many networks share the time; each leaves out another part of the images, on which it
    is scored, and the model is their mean. `out` holds a run folder of each.
    `start` is a model, a model file or the name of a pretrained model, whose weights the network begins with; a
    twentieth of the steps is also taken from nothing, and what is better on the validation images goes on.
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
    out = Path(os.path.expanduser(out))
    check_progress(progress, "the status")
    asked = read_recipe(recipe)
    folded = is_folded(out) if resume else int(asked.get("folds", 1)) > 1
    folder = (FoldedFolder if folded else RunFolder)(out, resume=resume, overwrite=overwrite)
    with stoppable() as stopping, _telling(stopping, folder, command), folder.held():
        found = folder.read_state() if resume and not folded else None
        settled = None if found is None else found.saved.recipe
        if isinstance(folder, FoldedFolder) and resume:
            settled = folder.read_recipe()
        if settled is not None:
            check_same(settled.model_dump(mode="json"), asked)
        dims = settled.network.dims if settled else asked.get("network", {}).get("dims", 2)
        axes = settled.axes if settled else asked.get("axes")
        pairs = pair_up(images, labels, dims=dims, axes=axes)
        others = pair_up(*validation, dims=dims, axes=axes) if validation else []
        task = settled.targets.task if settled else asked.get("targets", {}).get("task")
        settled_pairs = settle_pairs([*pairs, *others], task=task)
        pairs, others = settled_pairs[: len(pairs)], settled_pairs[len(pairs) :]
        _say_classes(pairs)
        loaded = load_examples([*pairs, *others], dims=dims)  # together: what holds of a set must hold of both
        training, held_out = loaded[: len(pairs)], loaded[len(pairs) :]
        if held_out:
            check_values(training)
        if settled is None:
            ignored = asked.get("targets", {}).get("ignore_label")
            _examine([*pairs, *others], [*training, *held_out], ignore_label=ignored, anyway=anyway)
        model = load(start) if isinstance(start, str | Path) else start
        if settled is not None and model is not None:
            logger.warning("a resumed run goes on with what it began with: start (--start) is not used")
        known = changes_for(model, training, asked) if model is not None and settled is None else {}
        fitted = settled or derive(training, merge(merge(known, _told_by(pairs)), asked))
        named = str(start) if isinstance(start, str | Path) else ""
        call = Call(folder, stopping, started, progress, command, model, named)
        if isinstance(folder, FoldedFolder):
            if held_out:
                problem = "folds hold out each image once, so they take no validation images"
                raise ContractileError(problem, "add them to the images, or leave out folds")
            _check_channels(training, fitted.network.channels)
            return train_folds(training, fitted, folder, call)
        if not held_out:
            training, held_out = split(training, fitted.val_fraction, fitted.targets)
        _check_channels([*training, *held_out], fitted.network.channels)
        return carry_out(training, held_out, fitted, call, found)


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


def _told_by(pairs: Sequence[Pair]) -> dict[str, Any]:
    """What the labels settle, as a change of the recipe: axes where all images have the same, and what shapes mean."""
    found = {pair.image.axes for pair in pairs}
    [axes] = found if len(found) == 1 else [None]
    drawn = [pair.labels.drawn for pair in pairs]
    told: dict[str, Any] = {} if axes is None else {"axes": axes}
    if drawn and all(drawn):
        told["targets"] = {"task": "classes" if drawn[0] and drawn[0].numbering.classes else "objects"}
    return told


def _say_classes(pairs: Sequence[Pair]) -> None:
    """Say which classes shapes have, since it is their names that decided it."""
    names = next((pair.labels.drawn.numbering.classes for pair in pairs if pair.labels.drawn is not None), ())
    if names:
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        told = 'to learn the shapes as objects, use a recipe with targets.task = "objects"'
        logger.warning("the shapes are read as classes, by their names: %s (%s)", numbered, told)


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

    Raises what `train` raises, and ContractileError for a recipe without steps or minutes, or of several folds.
    """
    if recipe.folds > 1:
        raise ContractileError(f"folds must be 1 for examples in memory, got {recipe.folds}", "use train for folds")
    started, place = time.monotonic(), RunFolder(Path(folder), resume=resume, overwrite=overwrite)
    with stoppable() as stopping, _telling(stopping, place, ""), place.held():
        found = place.read_state() if resume else None
        if found is not None:
            check_same(found.saved.recipe.model_dump(mode="json"), recipe.model_dump(mode="json", exclude_none=True))
            recipe = found.saved.recipe
        return carry_out(training, validation, recipe, Call(place, stopping, started, progress), found)


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


def _check_channels(examples: Sequence[Example], channels: int) -> None:
    for example in examples:
        if example.pixels.shape[0] != channels:
            raise ContractileError(
                f"image {example.name} must have the {channels} channel(s) of the recipe's network, "
                f"got {example.pixels.shape[0]}",
                "convert it, or leave network.channels out of the recipe",
            )
