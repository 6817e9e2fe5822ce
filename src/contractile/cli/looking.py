"""`contractile check` and `contractile info`: what is wrong with a dataset, and what models and images are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from contractile.cli.display import visible
from contractile.cli.options import AllowMissing, Axes, Dims, IgnoreLabel, MaxPixels, Overwrite
from contractile.cli.words import (
    NOT_FINISHED,
    expand,
    find_labels,
    given,
    leave_out_others,
    refuse_more,
    say_unused,
    tidy,
)
from contractile.errors import ContractileError


def check(
    call: typer.Context,
    images: Annotated[str, typer.Argument(metavar="IMAGES", help="folder, quoted glob, file or stack", callback=tidy)],
    labels: Annotated[
        str | None,
        typer.Argument(metavar="LABELS", help="their annotations [IMAGES, where they hold both]", callback=tidy),
    ] = None,
    fix: Annotated[
        Path | None, typer.Option(help="write corrected copies of the labels into this folder", callback=expand)
    ] = None,
    overwrite: Overwrite = False,
    dims: Dims = 2,
    axes: Axes = None,
    ignore_label: IgnoreLabel = None,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Name what is wrong with a dataset, and the cure."""
    refuse_more(call, (images, labels))
    from contractile.check import check_dataset, check_place, fix_dataset, list_left
    from contractile.images.writing import check_folder

    say_unused("--overwrite", overwrite and fix is None, "it is for the files of --fix")
    if fix is not None:
        check_folder(fix)
        labels = labels or find_labels(images, "check")
        check_place(images, labels, fix)
    elif labels is None:
        with suppress(ContractileError):  # there may be none
            labels = find_labels(images, "check")
    findings = check_dataset(images, labels, dims=dims, axes=axes, ignore_label=ignore_label)
    for finding in findings:
        typer.echo(visible(f"{finding.level}: {finding.where}: {finding.problem}; {finding.cure}"))
    if not findings:
        typer.echo("nothing to complain about")
    if fix is not None and labels is not None:
        told: dict[str, Any] = given(ignore_label=ignore_label, overwrite=overwrite)
        for line in fix_dataset(images, labels, fix, dims=dims, axes=axes, **told):
            typer.echo(visible(line))
    left = [one.where for one in findings if one.level == "error"] if fix is None else list_left(findings)
    if left and fix is not None:
        typer.echo(visible(f"{len(left)} error(s) remain, which --fix does not mend: {'; '.join(left)}"))
    if left:
        raise typer.Exit(NOT_FINISHED)


def info(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT", help="model files, run folders, images, or folders or globs of images", callback=tidy
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="print the whole card of each model as JSON")] = False,
    axes: Axes = None,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Describe models and images."""
    from contractile.cli.describing import describe_all
    from contractile.model import is_model

    models = [place for place in what if is_model(place)]
    images = leave_out_others([place for place in what if place not in models])
    for line in describe_all(models, images, axes, as_json=as_json):
        typer.echo(visible(line))
