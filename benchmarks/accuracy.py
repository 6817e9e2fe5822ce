"""How good a network is after so many minutes: trains, predicts, scores, and adds a row to RESULTS.md.

    python benchmarks/accuracy.py isbi2012 DATA --minutes 10 --seed 0
    python benchmarks/accuracy.py isbi2012 DATA --minutes 6 --sections 3 --recipe paper
    python benchmarks/accuracy.py isbi2012 DATA --minutes 6 --recipe recipes/teaching.toml
    python benchmarks/accuracy.py isbi2012 DATA --steps 1000 --validate --set loss.dice=1
    python benchmarks/accuracy.py dsb2018 DATA --minutes 10 --annotated 1 --choice 3 --start nuclei
    python benchmarks/accuracy.py dsb2018 DATA --minutes 10 --set folds=3

With `--validate` the test part is not read: the last fifth of the training part is scored instead. Use it to try ideas
(`--set` changes one field of the recipe). The row is printed, but not added to RESULTS.md.

DATA is the folder that holds the dataset as its providers publish it. `splits.py` splits it, and training never sees
the part that is scored. The same command resumes an interrupted run; a finished run is only scored again. Nothing else
should use the machine at the same time, since the budget is in minutes.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import tifffile
from speed import describe_machine
from splits import SPLITS, split_isbi2012

from contractile.engine import find_device
from contractile.evaluation import Evaluation, evaluate
from contractile.model import ModelCard, load
from contractile.prediction import Predictor, predict_files
from contractile.recipe import merge, read_recipe
from contractile.training import Run, train

RESULTS = Path(__file__).with_name("RESULTS.md")
HEADING = "## Accuracy (`python benchmarks/accuracy.py`)"
COLUMNS = ("data", "recipe", "minutes", "steps", "seed", "scores", "machine", "commit", "data hash", "date")
VALIDATED = 0.2  # fraction of the training part that --validate scores
LEVELS = {"ap75": 0.75, "ap90": 0.9}  # `ap` at an IoU other than 0.5, over the objects of the whole set
SCORES = {
    "isbi2012": ("v_rand", "v_info", "pixel_error"),
    "dic-hela": ("seg", "ap"),
    "phc-u373": ("seg", "ap"),
    "dsb2018": ("ap", "ap75", "ap90"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=SPLITS)
    parser.add_argument("data", type=Path)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=float)
    budget.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="default", help="default, paper or a TOML file")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="such as loss.dice=1")
    parser.add_argument("--validate", action="store_true", help="score the last fifth of the training part instead")
    parser.add_argument("--sections", type=int, default=24, help="isbi2012: learn from this many sections only")
    parser.add_argument("--annotated", type=int, help="learn from this many images of the training part only")
    parser.add_argument("--choice", type=int, default=0, help="which ones: the seed of a random choice")
    parser.add_argument("--start", help="a model to start from")
    parser.add_argument("--tta", action="store_true", help="average over mirrored or turned copies")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--dry", action="store_true", help="print the row instead of adding it to RESULTS.md")
    arguments = parser.parse_args()
    row = try_out(arguments) if arguments.validate else measure(arguments)
    print(row)
    if not arguments.dry and not arguments.validate:
        add_row(RESULTS, row)


def measure(arguments: argparse.Namespace) -> str:
    """Train (or resume, or take the finished run), predict, score: one row of the table."""
    run, parts = prepare(arguments)
    began = train_part(run, parts, recipe_changes(arguments), start=arguments.start)[1]
    predictor = Predictor(load(run / "run"))
    out = run / "predicted"
    products = ("labels", "probabilities")
    results = predict_files(
        predictor, parts["test_images"], out=out, products=products, tta=arguments.tta, overwrite=True
    )
    list(results)
    predicted = list(out.glob("*_probabilities.tif")) if arguments.dataset == "isbi2012" else out
    names = SCORES[arguments.dataset]
    scored = evaluate(predicted, parts["test_labels"], scores=[name for name in names if name not in LEVELS])
    return describe_row(arguments, predictor.card, scored, names, began)


def try_out(arguments: argparse.Namespace) -> str:
    """Train on the first four fifths of the training part and score the last fifth: one row, without the test part."""
    run, parts = prepare(arguments)
    changes = {"val_fraction": VALIDATED, **recipe_changes(arguments)}
    done, began = train_part(run, parts, changes, start=arguments.start)
    names = tuple(dict.fromkeys([*done.evaluation.summary, *SCORES[arguments.dataset]]))
    return describe_row(arguments, done.model.card, done.evaluation, names, began)


def train_part(
    run: Path, parts: dict[str, Path], changes: dict[str, Any], *, start: str | None = None
) -> tuple[Run, str]:
    """Train, or resume; also the machine and commit that began the run, since others may finish and score it."""
    folder, began = run / "run", run / "began.txt"
    if not began.is_file():
        began.write_text(f"{describe_machine(find_device(changes['device']))} | {commit()}", encoding="utf-8")
    resume = (folder / "recipe.toml").is_file()
    images, labels = parts["train_images"], parts["train_labels"]
    done = train(images, labels, out=folder, recipe=changes, resume=resume, progress=show, start=start)
    return done, began.read_text(encoding="utf-8")


def prepare(arguments: argparse.Namespace) -> tuple[Path, dict[str, Path]]:
    """The folder of a run, and the parts of its data, which are split now if they are not yet."""
    budget = f"{arguments.minutes:g}min" if arguments.minutes else f"{arguments.steps}steps"
    words = [data_name(arguments), recipe_name(arguments), budget, str(arguments.seed)]
    run: Path = arguments.runs / "-".join(words + ["validate"] * arguments.validate).replace("/", "_")
    data = run / "data"
    if not data.is_dir():
        partial_data = run / "data.part"
        shutil.rmtree(partial_data, ignore_errors=True)
        partial_data.mkdir(parents=True)
        split = SPLITS[arguments.dataset]
        if arguments.dataset == "isbi2012":
            split = partial(split_isbi2012, sections=arguments.sections)
        split(arguments.data, partial_data)
        if arguments.annotated is not None:
            leave_some(partial_data, arguments.annotated, seed=arguments.choice)
        partial_data.rename(data)
    return run, {path.name.removesuffix(".tif"): path for path in data.iterdir()}


def leave_some(data: Path, number: int, *, seed: int) -> None:
    """Leave so many images of the training part, chosen at random, and their labels."""
    for kind in ("images", "labels"):
        rng, place = np.random.default_rng(seed), data / f"train_{kind}"
        if place.is_dir():
            files = sorted(place.iterdir())
            for index in rng.permutation(len(files))[number:]:
                files[index].unlink()
        else:
            stack = tifffile.imread(place.with_suffix(".tif"))
            pages = np.sort(rng.permutation(len(stack))[:number])
            tifffile.imwrite(place.with_suffix(".tif"), stack[pages], photometric="minisblack")


def recipe_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of a recipe that the command line sets."""
    changes: Mapping[str, Any] = read_recipe(arguments.recipe)
    for assignment in arguments.set:
        changes = merge(changes, tomllib.loads(assignment))
    budget = {"minutes": arguments.minutes} if arguments.minutes else {"steps": arguments.steps}
    return {**changes, **budget, "seed": arguments.seed, "device": arguments.device}


def data_name(arguments: argparse.Namespace) -> str:
    if arguments.annotated is not None:
        return f"{arguments.dataset}, {arguments.annotated} image(s), choice {arguments.choice}"
    return f"{arguments.dataset}-{arguments.sections}" if arguments.dataset == "isbi2012" else str(arguments.dataset)


def recipe_name(arguments: argparse.Namespace) -> str:
    start = [] if arguments.start is None else [f"from {Path(arguments.start).name}"]
    return " ".join([Path(arguments.recipe).stem, *arguments.set, *start])


def describe_row(
    arguments: argparse.Namespace, card: ModelCard, scored: Evaluation, names: Sequence[str], began: str
) -> str:
    """One row of the table."""
    source = card.provenance
    data = data_name(arguments)
    machine, at_commit = began.split(" | ")
    cells: dict[str, Any] = {
        "data": f"{data}, views averaged" if arguments.tta else data,
        "recipe": recipe_name(arguments),
        "minutes": f"{arguments.minutes:g}" if arguments.minutes else "-",
        "steps": source["steps"],
        "seed": arguments.seed,
        "scores": ", ".join(f"{name} {value(scored, name):.4f}" for name in names),
        "machine": machine,
        "commit": at_commit,
        "data hash": source["data_sha256"][:8],
        "date": date.today().isoformat(),
    }
    return "| " + " | ".join(str(cells[column]) for column in COLUMNS) + " |"


def value(scored: Evaluation, name: str) -> float:
    """A score of the whole set, by its name in SCORES."""
    if name not in LEVELS:
        return scored.summary[name].value
    detail = scored.summary["ap"].detail
    return dict(zip(detail["iou"], detail["by_iou"], strict=True))[LEVELS[name]]


def show(status: Any) -> None:
    if status.step % 50 == 0 or status.step == status.steps:
        print(f"step {status.step} of {status.steps}, loss {status.loss:.3f}", end="\r", flush=True)


def commit() -> str:
    """The commit of the code, with a + where files differ from it."""
    ask = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(ask, capture_output=True, text=True, check=True, cwd=RESULTS.parent).stdout.strip()


def add_row(results: Path, row: str) -> None:
    """Add a row to the table under HEADING; the table is made where it is missing."""
    text = results.read_text(encoding="utf-8")
    if HEADING not in text:
        rule = "|" + "|".join("--:" if column in ("minutes", "steps", "seed") else "---" for column in COLUMNS) + "|"
        text = f"{text.rstrip()}\n\n{HEADING}\n\n| {' | '.join(COLUMNS)} |\n{rule}\n"
    before, after = text.split(HEADING)
    lines = after.split("\n")
    last = max(number for number, line in enumerate(lines) if line.startswith("|"))
    lines.insert(last + 1, row)
    results.write_text(before + HEADING + "\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
