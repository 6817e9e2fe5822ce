"""The verbs: each takes its words, calls one function of the library and prints what it gives."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from contractile.cli.display import Bar, describe_prediction, print_comparison, print_scores, visible
from contractile.cli.results import json_file as open_json
from contractile.cli.signals import keeping_notes
from contractile.cli.words import (
    NOT_FINISHED,
    bound,
    choose,
    choose_one,
    configure,
    connected,
    diameter_of,
    expand,
    find_labels,
    given,
    leave_out_others,
    limit,
    listed,
    option_of,
    refuse_image,
    refuse_more,
    split_models,
    tidy,
    two_or_three,
)
from contractile.errors import ContractileError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
MORE_WORDS = {"allow_extra_args": True}  # the verb itself says what is wrong with them

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]
Dims = Annotated[int, typer.Option(help="axes of an image: 2, or 3 for volumes", callback=two_or_three)]
Axes = Annotated[
    str | None,
    typer.Option(help="the axes of the image files, a letter each in order, e.g. YXC or TZCYX [what the files say]"),
]

Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace also files that this command did not write, or that were changed")
]
Memory = Annotated[
    str | None,
    typer.Option(help="most that the whole command takes, such as 2GB [all that is free]", callback=limit),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(help="pixels of a picture, or of a tile or chunk, that are decoded at once [2^28]", callback=bound),
]
AllowMissing = Annotated[
    bool,
    typer.Option("--allow-missing", help="read 0 where a damaged file lacks pixels, and say so", callback=bound),
]


@app.command(context_settings=MORE_WORDS)
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
    print_scores(run.evaluation, f"{scored}, {len(run.validation)} image(s)")
    typer.echo(visible(f"model   {out / 'model.safetensors'}"))
    page: dict[str, Any] = given(overwrite=resume or overwrite)  # what is there was looked at before the training
    report = write_report(run, data=(images, labels, *(validation or ())), **page)
    typer.echo(visible(f"report  {report}"))


@app.command()
def predict(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL...",
            help="model.safetensors, a run folder, or a pretrained model by name: nuclei; of several models, the mean",
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES", help="folders, globs, files or stacks", callback=tidy)
    ],
    out: Annotated[Path, typer.Option(help="folder for the results; made if it is not there", callback=expand)],
    save: Annotated[str, typer.Option(help="any of labels,probabilities,overlay,objects,geojson,coco,rois")] = "labels",
    form: Annotated[
        str, typer.Option("--format", help="of labels and probabilities: tiff, ome-zarr or ome-zarr-0.4")
    ] = "tiff",
    table: Annotated[str, typer.Option(help="of objects: csv, or parquet")] = "csv",
    report: Annotated[
        bool, typer.Option("--report", help="write predictions.html, too: the images of which least is certain first")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="go on where the same prediction was interrupted, skip what is finished")
    ] = False,
    tta: Annotated[
        bool, typer.Option("--tta", help="average over mirrored or turned copies (5 to 8 x slower)")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = "auto",
    tile: Annotated[int | None, typer.Option(help="largest side of a tile, in pixels [fits memory]")] = None,
    diameter: Annotated[str | None, typer.Option(help="diameter of the objects in pixels, or estimate")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="Dask workers do the blocks: local, or the address or file of a scheduler")
    ] = None,
    memory: Memory = None,
    axes: Axes = None,
    overwrite: Overwrite = False,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    device: Device = "auto",
) -> None:
    """Segment images of any size. Writes NAME_labels.tif for each file NAME.

    With --format ome-zarr, --out may be the image itself, an OME-Zarr: its labels go inside.
    """
    from contractile.engine import EngineConfig
    from contractile.model import combine, load
    from contractile.prediction import Predictor, predict_files
    from contractile.prediction.outputs import FORMS, PRODUCTS
    from contractile.prediction.tables import TABLES
    from contractile.storage import check_replaceable

    refuse_image(model, "predict")
    products = choose(save, PRODUCTS, "--save")
    products = [*products, *(["overlay"] if report and "overlay" not in products else [])]
    chosen = configure(EngineConfig, device=device, backend=engine, precision=precision)
    models, images = split_models(model, images)
    predictor = Predictor(combine(list(map(load, models))), engine=chosen, tile=tile, diameter=diameter_of(diameter))
    images = leave_out_others(images)
    more: dict[str, Any] = given(axes=axes, overwrite=overwrite, resume=resume)  # without axes the card decides
    more |= {"form": choose_one(form, FORMS, "--format"), "table": choose_one(table, TABLES, "--table")}
    page = (out.parent if out.suffix == ".zarr" else out) / "predictions.html"
    if report:
        check_replaceable([page], overwrite=overwrite)
    found = []
    with connected(scheduler) as work, Bar("tiles") as bar:
        more |= {"progress": bar.show, "work": work}
        for written in predict_files(predictor, images, out=out, products=products, tta=tta, **more):
            found.append(written)
            for line in describe_prediction(written):
                bar.announce(line)
    if report and found:
        from contractile.report import write_predictions

        write_predictions(found, page, model=", ".join(map(str, models)), **given(overwrite=overwrite))
        typer.echo(visible(f"report  {page}"))


@app.command(context_settings=MORE_WORDS)
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
        bool, typer.Option("--probabilities", help="PREDICTED holds maps of probabilities, also where it is integers")
    ] = False,
    axes: Axes = None,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
    white: Annotated[
        int | None, typer.Option(help="maps: the channel that shows the objects, from 0 [all but the first]")
    ] = None,
    background: Annotated[int | None, typer.Option(help="the value of PREDICTED that is background [0]")] = None,
    border: Annotated[int, typer.Option(help="ctc: leave out objects within so many pixels of the edge")] = 0,
    classes: Annotated[
        str | None, typer.Option(help="the values of the classes, e.g. 0,1,2 [those found, where labels are classes]")
    ] = None,
    pixel_size: Annotated[
        str | None, typer.Option(help="surface: size of a pixel along each axis, e.g. 0.5,0.2,0.2 [from the file]")
    ] = None,
) -> None:
    """Score predictions against the truth. Shows the scores of the set; --json holds those of each image, too."""
    refuse_more(call, (predicted, truth), (against,))
    from contractile.evaluation import EvaluateConfig, compare
    from contractile.evaluation import evaluate as score

    names, values, size = (listed(text) for text in (scores, classes, pixel_size))
    chosen = {"dims": dims, "probabilities": probabilities, "axes": axes, "border": border, "white": white}
    config = configure(EvaluateConfig, **chosen, background=background, classes=values, pixel_size=size)
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


@app.command(context_settings=MORE_WORDS)
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
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Name what is wrong with a dataset, and the cure."""
    refuse_more(call, (images, labels))
    from contractile.check import check_dataset, check_place, fix_dataset
    from contractile.images.writing import check_folder

    if fix is not None:
        check_folder(fix)
        labels = labels or find_labels(images, "check")
        check_place(images, labels, fix)
    elif labels is None:
        with suppress(ContractileError):  # there may be none
            labels = find_labels(images, "check")
    findings = check_dataset(images, labels, dims=dims, axes=axes)
    for finding in findings:
        typer.echo(visible(f"{finding.level}: {finding.where}: {finding.problem}; {finding.cure}"))
    if not findings:
        typer.echo("nothing to complain about")
    if fix is not None and labels is not None:
        for line in fix_dataset(images, labels, fix, dims=dims, axes=axes, **given(overwrite=overwrite)):
            typer.echo(visible(line))
    if any(finding.level == "error" for finding in findings) and fix is None:
        raise typer.Exit(NOT_FINISHED)


@app.command()
def info(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="WHAT", help="model files, run folders, images, or folders or globs of images", callback=tidy
        ),
    ],
    axes: Axes = None,
    max_pixels: MaxPixels = None,
    allow_missing: AllowMissing = False,
) -> None:
    """Describe models and images."""
    from contractile.cli.describing import describe_all
    from contractile.model import is_model

    models = [place for place in what if is_model(place)]
    images = leave_out_others([place for place in what if place not in models])
    for line in describe_all(models, images, axes):
        typer.echo(visible(line))


@app.command()
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
