"""How good a network is after so many minutes: trains, predicts, scores, and adds a row to RESULTS.md.

    python benchmarks/accuracy.py isbi2012 DATA --minutes 10 --seed 0
    python benchmarks/accuracy.py isbi2012 DATA --minutes 6 --sections 3 --recipe paper
    python benchmarks/accuracy.py isbi2012 DATA --minutes 6 --recipe recipes/teaching.toml

DATA is the folder that holds the dataset as its providers publish it; the split is that of `splits.py`, and what is
scored is never seen by training. A run that was interrupted goes on when the same command is given again, and one
that is finished is only scored anew. Nothing else should use the machine meanwhile: minutes are the budget.
"""

from __future__ import annotations

import argparse
import subprocess
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import contractile  # noqa: F401  sets how threads wait, before PyTorch starts them

# isort: split
from speed import describe_machine
from splits import SPLITS, split_isbi2012

from contractile.engine import find_device
from contractile.evaluate import Evaluation, evaluate
from contractile.model import load
from contractile.predict import Predictor, predict_files
from contractile.recipe import read_recipe
from contractile.train import train

RESULTS = Path(__file__).with_name("RESULTS.md")
HEADING = "## Accuracy (`python benchmarks/accuracy.py`)"
COLUMNS = ("data", "recipe", "minutes", "steps", "seed", "scores", "machine", "commit", "data hash", "date")
LEVELS = {"ap75": 0.75, "ap90": 0.9}  # `ap` at other levels of IoU than 0.5, of objects pooled over the set
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
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipe", default="default", help="default, paper or a TOML file")
    parser.add_argument("--sections", type=int, default=24, help="isbi2012: learn from this many sections only")
    parser.add_argument("--tta", action="store_true", help="average over mirrored and turned copies")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--dry", action="store_true", help="print the row instead of adding it to RESULTS.md")
    arguments = parser.parse_args()
    row = measure(arguments)
    print(row)
    if not arguments.dry:
        add_row(RESULTS, row)


def measure(arguments: argparse.Namespace) -> str:
    """Train (or go on, or take what is finished), predict, score: one row of the table."""
    name = f"{arguments.dataset}-{arguments.sections}" if arguments.dataset == "isbi2012" else arguments.dataset
    recipe = Path(arguments.recipe).stem
    run = arguments.runs / f"{name}-{recipe}-{arguments.minutes:g}min-{arguments.seed}"
    data = run / "data"
    if not data.is_dir():
        data.mkdir(parents=True)
        split = SPLITS[arguments.dataset]
        if arguments.dataset == "isbi2012":
            split = partial(split_isbi2012, sections=arguments.sections)
        split(arguments.data, data)
    parts = {path.name.removesuffix(".tif"): path for path in data.iterdir()}
    changes = {
        **read_recipe(arguments.recipe),
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "device": arguments.device,
    }
    folder, trained_at = run / "run", run / "commit"
    if not trained_at.is_file():
        trained_at.write_text(commit(), encoding="utf-8")
    resume = (folder / "state.ckpt").is_file()
    train(parts["train_images"], parts["train_labels"], out=folder, recipe=changes, resume=resume, progress=show)
    predictor = Predictor(load(folder))
    out = run / "predicted"
    products = ("labels", "probabilities")
    list(predict_files(predictor, parts["test_images"], out=out, products=products, tta=arguments.tta))
    predicted = list(out.glob("*_probabilities.tif")) if arguments.dataset == "isbi2012" else out
    names = SCORES[arguments.dataset]
    scored = evaluate(predicted, parts["test_labels"], scores=[name for name in names if name not in LEVELS])
    scores = ", ".join(f"{name} {value(scored, name):.4f}" for name in names)
    source = predictor.card.provenance
    cells: dict[str, Any] = {
        "data": f"{name}, 8 views averaged" if arguments.tta else name,
        "recipe": recipe,
        "minutes": f"{arguments.minutes:g}",
        "steps": source["steps"],
        "seed": arguments.seed,
        "scores": scores,
        "machine": describe_machine(find_device(arguments.device)),
        "commit": trained_at.read_text(encoding="utf-8"),  # a finished run may be scored by later code
        "data hash": source["data_sha256"][:8],
        "date": date.today().isoformat(),
    }
    return "| " + " | ".join(str(cells[column]) for column in COLUMNS) + " |"


def value(scored: Evaluation, name: str) -> float:
    """A score of the set, by the name of SCORES."""
    if name not in LEVELS:
        return scored.summary[name].value
    detail = scored.summary["ap"].detail
    return dict(zip(detail["iou"], detail["by_iou"], strict=True))[LEVELS[name]]


def show(status: Any) -> None:
    if status.step % 50 == 0 or status.step == status.steps:
        print(f"step {status.step} of {status.steps}, loss {status.loss:.3f}", end="\r", flush=True)


def commit() -> str:
    """The commit the code is at, with a + where files differ from it."""
    ask = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    return subprocess.run(ask, capture_output=True, text=True, check=True, cwd=RESULTS.parent).stdout.strip()


def add_row(results: Path, row: str) -> None:
    """Add a row to the table under HEADING, which is made where it is missing."""
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
