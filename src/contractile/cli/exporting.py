"""`contractile export` and `contractile import`: models for other programs, and weights of others as models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from contractile.cli.display import visible
from contractile.cli.options import Axes, Overwrite
from contractile.cli.words import choose_one, configure, expand, given, tidy

if TYPE_CHECKING:
    from contractile.export import Exported

ORIGINS = ("milesial",)


def export(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="model.safetensors, a run folder, or a pretrained model by name: nuclei"),
    ],
    to: Annotated[str, typer.Option(help="onnx, or bioimageio: a package for QuPath, deepImageJ and others")],
    out: Annotated[Path, typer.Option(help="the .onnx file, or the .zip of the package", callback=expand)],
    image: Annotated[
        str | None,
        typer.Option(
            help="a typical image, which weights are compared on; a package shows a part of it", callback=tidy
        ),
    ] = None,
    grey: Annotated[
        str,
        typer.Option(help="each: every image is scaled by its own percentiles; fixed: all as --image, also in QuPath"),
    ] = "each",
    author: Annotated[
        list[str] | None, typer.Option(help="of a package; give it again for each further author")
    ] = None,
    license_: Annotated[str | None, typer.Option("--license", help="of a package: SPDX, e.g. CC-BY-4.0")] = None,
    name: Annotated[str | None, typer.Option(help="of a package [made of the file's name]")] = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model for other programs.

    The weights are run tile by tile and compared with the model before the file is written.
    """
    from contractile.export import ExportConfig, export_model

    people = {"authors": tuple(author or ()), "license": license_, "name": name}
    config = configure(ExportConfig, to=to, grey=grey, **people)
    made = export_model(model, out, config=config, image=image, axes=axes, **given(overwrite=overwrite))
    for line in describe_export(made):
        typer.echo(visible(line))


def describe_export(made: Exported) -> list[str]:
    """What was measured, and where the file is."""
    lines = [f"{form}: probabilities off by at most {off:.1g}" for form, off in made.off.items()]
    lines.append(f"grey values: {made.rule}")
    if made.changed is not None and made.rule.kind != "none":
        lines.append(f"on the image, this rule gives {100 * made.changed:.2g} % of the pixels another class")
    return [*lines, f"file    {made.path}"]


def import_(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="a checkpoint of Pytorch-UNet (.pth)", callback=expand)
    ],
    out: Annotated[Path, typer.Option(help="the model file, .safetensors", callback=expand)],
    origin: Annotated[str, typer.Option("--from", help="milesial: github.com/milesial/Pytorch-UNet")] = "milesial",
    scale: Annotated[float, typer.Option(help="the --scale of its train.py; its own default is 0.5")] = 1.0,
    overwrite: Overwrite = False,
) -> None:
    """Make a model file of weights of another program. No code of the file is run."""
    from contractile.export import import_weights

    choose_one(origin, ORIGINS, "--from")
    card = import_weights(weights, out, scale=scale, **given(overwrite=overwrite))
    typer.echo(visible(card.description))
    typer.echo(visible(f"model   {out}"))
