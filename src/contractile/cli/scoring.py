"""`contractile evaluate`: a table of scores, or of two predictions beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from contractile.cli.display import Bar, print_comparison, print_scores
from contractile.cli.options import AllowMissing, Axes, Dims, IgnoreLabel, MaxPixels, Overwrite
from contractile.cli.results import json_file as open_json
from contractile.cli.words import configure, expand, listed, refuse_more, say_unused, tidy


def evaluate(
    call: typer.Context,
    predicted: Annotated[
        str,
        typer.Argument(
            metavar="PREDICTED", help="folder, quoted glob, file or stack of labels or probabilities", callback=tidy
        ),
    ],
    truth: Annotated[
        str,
        typer.Argument(
            metavar="TRUTH", help="the annotations, or a Cell Tracking Challenge folder such as 01_GT", callback=tidy
        ),
    ],
    scores: Annotated[
        str | None, typer.Option(help="any of isbi,ctc,ap,overlap,surface, or names of scores [all that fit]")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write all scores to this file", callback=expand)
    ] = None,
    overwrite: Overwrite = False,
    against: Annotated[
        str | None, typer.Option(help="other predictions of the same images, for a paired test", callback=tidy)
    ] = None,
    dims: Dims = 2,
    probabilities: Annotated[
        bool,
        typer.Option("--probabilities", help="read PREDICTED as probabilities, even if the files hold whole numbers"),
    ] = False,
    axes: Axes = None,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    white: Annotated[
        int | None,
        typer.Option(
            help="for probabilities: number of the channel that shows the objects; the first is 0 [all but the first]"
        ),
    ] = None,
    background: Annotated[int | None, typer.Option(help="the value of PREDICTED that is background [0]")] = None,
    ignore_label: IgnoreLabel = None,
    border: Annotated[
        int, typer.Option(help="only for the scores ctc: leave out objects within so many pixels of the edge")
    ] = 0,
    classes: Annotated[
        str | None, typer.Option(help="the values of the classes, e.g. 0,1,2 [those found, where labels are classes]")
    ] = None,
    objects: Annotated[
        bool, typer.Option("--objects", help="the numbers of TRUTH are objects, even if they look like classes")
    ] = False,
    pixel_size: Annotated[
        str | None,
        typer.Option(
            help="only for the scores surface: size of a pixel along each axis, e.g. 0.5,0.2,0.2 [from the file]"
        ),
    ] = None,
) -> None:
    """Score predictions against the truth. Shows the scores of the set; --json holds those of each image, too."""
    refuse_more(call, (predicted, truth), (against,))
    say_unused("--overwrite", overwrite and json_file is None, "it is for the file of --json")
    from contractile.evaluation import EvaluateConfig, compare
    from contractile.evaluation import evaluate as score

    names, values, size = (listed(text) for text in (scores, classes, pixel_size))
    chosen = {"dims": dims, "probabilities": probabilities, "axes": axes, "border": border, "white": white}
    chosen |= {"background": background, "ignore_label": ignore_label, "objects": objects}
    config = configure(EvaluateConfig, **chosen, classes=values, pixel_size=size)
    with open_json(json_file, (predicted, truth, against), overwrite=overwrite) as write:
        if against is None:
            with Bar("images") as bar:
                evaluation = score(
                    predicted,
                    truth,
                    scores=names,
                    config=config,
                    progress=lambda done, total: bar.show("scoring", done, total),
                )
            print_scores(evaluation, f"{len(evaluation.images)} image(s)")
            write(evaluation.to_json())
        else:
            comparison = compare(predicted, against, truth, scores=names, config=config)
            print_comparison(comparison)
            write(comparison.to_json())
