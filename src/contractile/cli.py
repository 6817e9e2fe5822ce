"""The command line: parse, call one library function, print. Imports stay inside the commands."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from contractile.errors import ContractileError, NotFinished, describe_invalid
from contractile.process import prepare_process

if TYPE_CHECKING:
    from rich.progress import Progress

    from contractile.evaluation import Comparison, Evaluation
    from contractile.training import Status

NOT_FINISHED, WRONG_CALL, OUR_FAULT, INTERRUPTED = 1, 2, 70, 130

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
logger = logging.getLogger(__name__)

T = TypeVar("T")
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps")]


@app.callback()
def program(
    verbose: Annotated[
        bool, typer.Option("--verbose", help="show the log, and where an error arose; may also follow the verb")
    ] = False,
) -> None:
    """Train a U-Net from a handful of annotated microscopy images; segment images of any size without a seam."""
    ours = logging.getLogger("contractile")
    ours.setLevel(logging.INFO)
    ours.handlers = [_Lines(verbose)]


@app.command()
def train(
    images: Annotated[str, typer.Argument(help="folder, glob, file or multi-page stack")],
    labels: Annotated[str, typer.Argument(help="their annotations, given in the same way; pairs match by name")],
    out: Annotated[Path, typer.Option(help="folder for the run; made if it is not there")],
    recipe: Annotated[str, typer.Option(help="default, paper, or a TOML file")] = "default",
    minutes: Annotated[float | None, typer.Option(help="time budget [10]")] = None,
    steps: Annotated[int | None, typer.Option(help="number of optimiser steps, instead of --minutes")] = None,
    val_images: Annotated[str | None, typer.Option(help="images to validate on, with --val-labels")] = None,
    val_labels: Annotated[str | None, typer.Option(help="their annotations")] = None,
    val_fraction: Annotated[
        float | None,
        typer.Option(help="fraction of the images held out when no validation images are given [0.1]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="continue the run in --out")] = False,
    seed: Annotated[int | None, typer.Option(help="random seed [0]")] = None,
    device: Device = "auto",
) -> None:
    """Train on annotated images. Writes model.safetensors and report.html into the folder --out."""
    from contractile.recipe import read_recipe
    from contractile.report import write_report
    from contractile.training import train as train_run

    if minutes is not None and steps is not None:
        raise ContractileError("--minutes and --steps exclude each other", "give one of them")
    if (val_images is None) != (val_labels is None):
        raise ContractileError("--val-images and --val-labels go together", "give both or neither")
    given = {"minutes": minutes, "steps": steps, "val_fraction": val_fraction, "seed": seed}
    changes = read_recipe(recipe)
    if minutes is not None:
        changes.pop("steps", None)  # the recipe of a run names both, and steps would win
    changes |= {key: value for key, value in given.items() if value is not None}
    changes |= {} if device == "auto" else {"device": device}
    validation = (val_images, val_labels) if val_images and val_labels else None
    with _bar("training") as bar:
        show = _training_display(bar)
        run = train_run(images, labels, out=out, recipe=changes, validation=validation, resume=resume, progress=show)
    print_scores(run.evaluation, f"the model on {len(run.validation)} validation image(s)")
    report = write_report(run, data=(images, labels, *(validation or ())))
    typer.echo(f"model   {out / 'model.safetensors'}\nreport  {report}")


@app.command()
def predict(
    model: Annotated[Path, typer.Argument(help="model.safetensors, a run folder, or the name of a pretrained model")],
    images: Annotated[list[str], typer.Argument(help="folders, globs, files or stacks")],
    out: Annotated[Path, typer.Option(help="folder for the results")],
    save: Annotated[str, typer.Option(help="any of labels,probabilities,overlay,objects")] = "labels",
    tta: Annotated[
        bool, typer.Option("--tta", help="average over mirrored or turned copies (5 to 8 x slower)")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16")] = "auto",
    tile: Annotated[int | None, typer.Option(help="largest side of a tile, in pixels [fits memory]")] = None,
    diameter: Annotated[str | None, typer.Option(help="diameter of the objects in pixels, or estimate")] = None,
    device: Device = "auto",
) -> None:
    """Segment images of any size. Writes NAME_labels.tif for each file NAME."""
    from contractile.engine import EngineConfig
    from contractile.model import load
    from contractile.prediction import Predictor, predict_files

    chosen = _configure(EngineConfig, device=device, backend=engine, precision=precision)
    predictor = Predictor(load(model), engine=chosen, tile=tile, diameter=_diameter(diameter))
    products = _words(save) or ()
    with _bar("tiles") as bar:
        task = bar.add_task("predicting", total=None)

        def show(name: str, done: int, total: int) -> None:
            bar.update(task, description=name, completed=done, total=total)

        for written in predict_files(predictor, images, out=out, products=products, tta=tta, progress=show):
            bar.console.print(
                f"{written.source.name}: {', '.join(str(file) for file in written.files)}", soft_wrap=True
            )


@app.command()
def evaluate(
    predicted: Annotated[str, typer.Argument(help="folder, glob, file or stack of labels or probabilities")],
    truth: Annotated[str, typer.Argument(help="the annotations, or a Cell Tracking Challenge folder such as 01_GT")],
    scores: Annotated[
        str | None, typer.Option(help="any of isbi,ctc,ap,overlap,surface, or names of scores [all that fit]")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="write all scores to this file")] = None,
    against: Annotated[str | None, typer.Option(help="other predictions of the same images, for a paired test")] = None,
    dims: Annotated[int, typer.Option(help="axes of an image: 2, or 3 for volumes")] = 2,
    border: Annotated[int, typer.Option(help="ctc: leave out objects within so many pixels of the edge")] = 0,
    classes: Annotated[
        str | None, typer.Option(help="the values of the classes, e.g. 0,1,2 [those found, where labels are classes]")
    ] = None,
    pixel_size: Annotated[
        str | None, typer.Option(help="surface: size of a pixel along each axis, e.g. 0.5,0.2,0.2 [from the file]")
    ] = None,
) -> None:
    """Score predictions against the truth, as a set and, with --json, per image."""
    from contractile.evaluation import EvaluateConfig, compare
    from contractile.evaluation import evaluate as score
    from contractile.images import replacing

    names, values, size = (_words(text) for text in (scores, classes, pixel_size))
    config = _configure(EvaluateConfig, dims=dims, border=border, classes=values, pixel_size=size)
    if against is None:
        with _bar("images") as bar:
            task = bar.add_task("scoring", total=None)

            def show(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total)

            evaluation = score(predicted, truth, scores=names, config=config, progress=show)
        print_scores(evaluation, f"{len(evaluation.images)} image(s)")
        text = evaluation.to_json()
    else:
        comparison = compare(predicted, against, truth, scores=names, config=config)
        _print_comparison(comparison)
        text = comparison.to_json()
    if json_file is not None:
        with replacing(json_file) as path:
            path.write_text(text, encoding="utf-8")


@app.command()
def check(
    images: Annotated[str, typer.Argument(help="folder, glob, file or stack")],
    labels: Annotated[str | None, typer.Argument(help="their annotations")] = None,
    fix: Annotated[Path | None, typer.Option(help="write corrected copies of the labels into this folder")] = None,
    dims: Annotated[int, typer.Option(help="axes of an image: 2, or 3 for volumes")] = 2,
) -> None:
    """Name what is wrong with a dataset, and the cure."""
    from contractile.check import check_dataset, fix_dataset

    findings = check_dataset(images, labels, dims=dims)
    for finding in findings:
        typer.echo(f"{finding.level}: {finding.where}: {finding.problem}; {finding.cure}")
    if not findings:
        typer.echo("nothing to complain about")
    if fix is not None:
        if labels is None:
            raise ContractileError("--fix corrects annotations", "give LABELS, too")
        for line in fix_dataset(images, labels, fix, dims=dims):
            typer.echo(line)
    if any(finding.level == "error" for finding in findings) and fix is None:
        raise typer.Exit(NOT_FINISHED)


@app.command()
def info(what: Annotated[Path, typer.Argument(help="a model file, a run folder or an image")]) -> None:
    """Describe a model or an image."""
    from contractile.model import is_model, read_card

    if is_model(what):
        card = read_card(what)
        network = card.network
        typer.echo(f"{what}: {card.task}, {network.parameters:,} parameters")
        typer.echo(json.dumps(card.model_dump(mode="json"), indent=2))
        return
    from contractile.images import find, read

    for source in find(what):
        image = read(source)
        size = " x ".join(str(n) for n in image.pixels.shape[1:])
        um = "pixel size unknown" if image.pixel_size_um is None else f"{image.pixel_size_um} um per pixel"
        typer.echo(
            f"{image.name}: {size} pixels, {image.pixels.shape[0]} channel(s), {image.pixels.dtype}, "
            f"{image.pixels.min():g} to {image.pixels.max():g}, {um}"
        )


@app.command()
def demo(out: Annotated[Path, typer.Option(help="folder for all files")] = Path("demo")) -> None:
    """Train on synthetic images for two minutes, segment a large one, score it. Needs no data and no internet."""
    from contractile.demo import run_demo

    with _bar("training") as bar:
        result = run_demo(out, announce=bar.console.print, training_progress=_training_display(bar))
    print_scores(result.evaluation, "on the large image, which training never saw")
    typer.echo(f"picture {result.overlay}\nreport  {result.report}\nmodel   {result.run.folder / 'model.safetensors'}")


def main() -> None:
    """Run a command and end the process with its status.

    0: done. 1: the work could not be finished, for want of memory or disk space, say. 2: the call was wrong. 70: a
    fault of this package, with its traceback. 130: stopped with Ctrl-C.
    """
    prepare_process()
    logging.getLogger("lightning_fabric.utilities.rank_zero").setLevel(logging.WARNING)
    words = sorted(sys.argv[1:], key=lambda word: word != "--verbose")  # an option of the program, not of a verb
    try:
        status = app(words, standalone_mode=False) or 0
    except KeyboardInterrupt:
        status = INTERRUPTED
    except NotFinished as error:
        _fail(str(error), NOT_FINISHED)
    except ContractileError as error:
        _fail(str(error), WRONG_CALL)
    except (MemoryError, OSError) as error:
        _fail(str(error) or "out of memory", NOT_FINISHED)
    except Exception as error:
        if hasattr(error, "format_message"):  # click's own complaints about the call
            _fail(error.format_message(), WRONG_CALL)
        traceback.print_exc()
        _fail("this is a fault in contractile, please report it with the lines above", OUR_FAULT)
    if status == INTERRUPTED:
        training = "train" in [word for word in words if word != "--verbose"][:1]
        _fail("stopped; the same command with --resume continues" if training else "stopped", INTERRUPTED)
    sys.exit(status)


def _fail(message: str, status: int) -> NoReturn:
    logger.info("the traceback:", exc_info=status in (NOT_FINISHED, WRONG_CALL))
    typer.echo(f"contractile: {' '.join(message.split())}", err=True)
    sys.exit(status)


class _Lines(logging.Handler):
    """The log on standard error; while a progress bar is shown, rich puts the lines above it.

    Shown are warnings and what was chosen for the data; with `verbose` all lines, and the module of each.
    """

    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(name)s: %(message)s" if verbose else "%(message)s"))
        self.addFilter(
            lambda record: verbose or record.levelno >= logging.WARNING or record.name.startswith("contractile.recipe")
        )

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _configure(kind: type[T], **options: Any) -> T:
    """A configuration from options. Raises ContractileError for what pydantic refuses."""
    from pydantic import ValidationError

    try:
        return kind(**options)
    except ValidationError as error:
        field, problem = describe_invalid(error)
        option = field.split(".")[0].replace("backend", "engine").replace("_", "-")
        raise ContractileError(f"--{option}: {problem}", "see --help") from None


def _diameter(text: str | None) -> Any:
    """Pixels, "estimate", or None where the option was not given."""
    if text is None or text == "estimate":
        return text
    try:
        return float(text)
    except ValueError:
        raise ContractileError(
            f"diameter must be a number of pixels or 'estimate', got {text!r}", "use e.g. 30"
        ) from None


def _words(text: str | None) -> list[str] | None:
    """The words of a comma-separated list; None where the option was not given, or is empty."""
    return [word.strip() for word in text.split(",") if word.strip()] if text else None


def print_scores(evaluation: Evaluation, title: str) -> None:
    """A table of scores with their 95 % intervals over images."""
    from rich.console import Console
    from rich.table import Table

    from contractile.metrics import METRICS

    table = Table("score", "", "value", "95 % interval", title=title, title_justify="left")
    for name, score in evaluation.summary.items():
        value = "undefined" if score.value is None else f"{score.value:.4f}"
        known = score.low is not None and score.high is not None
        interval = f"{score.low:.4f} to {score.high:.4f}" if known else score.reason or ""
        table.add_row(name, METRICS[name].title, value, interval)
    Console().print(table)


def _print_comparison(comparison: Comparison) -> None:
    """A table of two predictions' scores and whether they differ."""
    from rich.console import Console
    from rich.table import Table

    def show(value: float | None) -> str:
        return "undefined" if value is None else f"{value:.4f}"

    table = Table("score", "first", "second", "difference", "95 % interval", "p", "better")
    for name, one in comparison.differences.items():
        interval = "" if one.low is None else f"{show(one.low)} to {show(one.high)}"
        table.add_row(
            name,
            show(one.first),
            show(one.second),
            show(one.value),
            interval,
            show(one.p_value),
            one.better or one.reason or "",
        )
    Console().print(table)


@contextmanager
def _bar(unit: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns: list[Any] = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar


def _training_display(bar: Progress) -> Callable[[Status], None]:
    task = bar.add_task("measuring speed", total=None)

    def show(status: Status) -> None:
        best = "" if status.best is None else f", best score {status.best:.3f}"
        bar.update(task, description=f"loss {status.loss:.3f}{best}", completed=status.step, total=status.steps)

    return show


if __name__ == "__main__":
    main()
