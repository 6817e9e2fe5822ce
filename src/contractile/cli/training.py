"""`contractile train` and `contractile demo`: a run, with its progress, its scores and its report."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contractile.cli.display import Bar, print_scores, visible
from contractile.cli.options import AllowMissing, Axes, Device, MaxPixels, Overwrite
from contractile.cli.signals import keeping_notes
from contractile.cli.words import expand, find_labels, given, option_of, refuse_more, tidy, two_or_three
from contractile.errors import ContractileError

if TYPE_CHECKING:
    from contractile.training import Run

logger = logging.getLogger(__name__)


def train(
    call: typer.Context,
    images: Annotated[
        str, typer.Argument(metavar="IMAGES", help="folder, quoted glob, file or multi-page stack", callback=tidy)
    ],
    out: Annotated[Path, typer.Option(help="folder for the run; made if it is not there", callback=expand)],
    labels: Annotated[
        str | None,
        typer.Argument(
            metavar="LABELS",
            help="their annotations, given in the same way; pairs match by name [IMAGES, where they hold both]",
            callback=tidy,
        ),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="default, paper, or a TOML file [default]")] = None,
    minutes: Annotated[float | None, typer.Option(help="time budget [10]")] = None,
    steps: Annotated[int | None, typer.Option(help="number of optimiser steps, instead of --minutes")] = None,
    val_images: Annotated[
        str | None, typer.Option(help="images to validate on, with --val-labels", callback=tidy)
    ] = None,
    val_labels: Annotated[str | None, typer.Option(help="their annotations", callback=tidy)] = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(help="fraction of the images held out when no validation images are given [0.1]"),
    ] = None,
    dims: Annotated[
        int | None,
        typer.Option(help="axes of an image: 3 for volumes [2, or what the recipe says]", callback=two_or_three),
    ] = None,
    axes: Axes = None,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="train even where `check` finds an error in the data")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in --out")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="begin anew: replace the run, or other files, in --out")
    ] = False,
    start: Annotated[
        str | None, typer.Option(help="a model to start from: a file, a run folder, or a pretrained one by name")
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(help="networks that share the time, each scored on the images that it leaves out [1]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="random seed [0]")] = None,
    device: Device = "auto",
) -> None:
    """Train on annotated images. Writes model.safetensors and report.html into the folder --out."""
    refuse_more(call, (images, labels), (val_images, val_labels))
    from contractile.images.writing import check_folder
    from contractile.recipe import check_fields, merge, read_recipe
    from contractile.report import write_report
    from contractile.training import train as train_run

    if minutes is not None and steps is not None:
        raise ContractileError("--minutes and --steps exclude each other", "give one of them")
    if (val_images is None) != (val_labels is None):
        raise ContractileError("--val-images and --val-labels go together", "give both or neither")
    if val_fraction is not None and val_images is not None:
        raise ContractileError("--val-fraction and --val-images exclude each other", "give one of them")
    check_folder(out)
    changes = read_recipe(recipe if recipe is not None or resume else "default")
    if minutes is not None:
        changes.pop("steps", None)  # the recipe of a run names both, and steps would win
    options = given(minutes=minutes, steps=steps, val_fraction=val_fraction, folds=folds, seed=seed, axes=axes)
    check_fields(options, called=option_of)
    changes |= options | ({} if device == "auto" else {"device": device})
    if val_fraction is not None and int(changes.get("folds", 1)) > 1:
        other = "--folds" if folds is not None else "folds in the recipe"
        problem = f"--val-fraction and {other} exclude each other: folds hold out each image once"
        raise ContractileError(problem, "give one of them")
    if dims is not None:
        changes = merge(changes, {"network": {"dims": dims}})
    labels = labels or find_labels(images, "train")
    validation = (val_images, val_labels) if val_images and val_labels else None
    with Bar("training") as bar, keeping_notes():
        run = train_run(
            images,
            labels,
            out=out,
            recipe=changes,
            validation=validation,
            resume=resume,
            progress=bar.show_training,
            command=shlex.join(["contractile", *sys.argv[1:]]),
            start=start,
            **given(anyway=anyway, overwrite=overwrite),
        )
    scored = "each image by a network that has not seen it" if run.unseen else "the model on the validation images"
    if (began := run.model.card.provenance.get("start")) is not None:  # which a resumed run need not be told again
        scored += f" (the model {began}, from which the run began, may have)"
    print_scores(run.evaluation, f"{scored}, {len(run.validation)} image(s)")
    typer.echo(visible(f"model   {out / 'model.safetensors'}"))
    page: dict[str, Any] = given(overwrite=resume or overwrite)  # what is there was looked at before the training
    report = write_report(run, data=(images, labels, *(validation or ())), **page)
    typer.echo(visible(f"report  {report}"))
    _warn_of_few(run)


def _warn_of_few(run: Run) -> None:
    """Say in the end, too, that a run was too short: its table and its report look like those of any other."""
    from contractile.training.budget import FEW_STEPS

    steps = max((int(row["step"]) for row in run.history), default=0)
    if steps < FEW_STEPS:
        told = "only %d step(s) were taken: the network has learned hardly anything; give more --minutes (10 is usual)"
        logger.warning(told, steps)


def demo(
    out: Annotated[Path, typer.Option(help="folder for all files", callback=expand)] = Path("demo"),
    overwrite: Overwrite = False,
) -> None:
    """Try everything on synthetic images.

    Trains for two minutes, segments a large image and scores it. Needs no data and no internet.
    """
    from contractile.demo import run_demo
    from contractile.images.writing import check_folder

    check_folder(out)
    with Bar("training") as bar:
        more: dict[str, Any] = given(overwrite=overwrite)
        result = run_demo(out, announce=bar.announce, training_progress=bar.show_training, **more)
    print_scores(result.evaluation, "on the large image, which training never saw")
    typer.echo(f"picture {result.overlay}\nreport  {result.report}\nmodel   {result.run.folder / 'model.safetensors'}")
