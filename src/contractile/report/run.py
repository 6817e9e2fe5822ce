"""The page of a training run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contractile.engine import EngineConfig
from contractile.errors import ContractileError
from contractile.prediction import Predictor
from contractile.report.card import describe_card
from contractile.report.curves import draw_curves, read_clock
from contractile.report.page import Command, Page, Text, write_page
from contractile.report.pictures import LEGEND_WITH_TRUTH, MOST_PICTURES, Picture, draw
from contractile.report.scores import (
    count,
    describe_image,
    pick_steering,
    rank,
    summarise,
    tabulate_images,
)

if TYPE_CHECKING:
    from contractile.training import Run

REPORT_FILE = "report.html"
PLACEHOLDERS = ("IMAGES", "LABELS")


def write_report(run: Run, *, path: str | Path | None = None, data: Sequence[str | Path] = PLACEHOLDERS) -> Path:
    """Write RUN/report.html (or `path`): one page that holds everything worth knowing of a run.

    `data` are the images and labels as they were given to `train`, and where validation had its own,
    those two as well; they go into the command that repeats the run. Raises ValueError for any other
    number of them, OSError when the page cannot be written.
    """
    from contractile.training import steering_score

    steering = pick_steering(run.evaluation, steering_score(run.recipe))
    recipe, card = run.recipe, run.model.card
    pictures = _draw_validation(run, steering)
    page = Page(
        kind="Training run",
        title=run.folder.resolve().name,
        subtitle=_subtitle(run),
        scores=summarise(run.evaluation, steering, card.class_values),
        scored=f"The network that was kept, on {count(len(run.evaluation.images), 'validation image')}, "
        "which were left out of training but had a say in which one that is.",
        curves=draw_curves(
            run.history, steering=steering, kept=card.provenance.get("step"), note=_validation_note(run)
        ),
        pictures=pictures,
        pictures_title="Validation images",
        pictures_note=_pictures_note(len(pictures), len(run.validation)),
        legend=LEGEND_WITH_TRUTH,
        tables=(tabulate_images(run.evaluation, steering),),
        command=_command(run, data),
        facts=describe_card(card),
        texts=(Text("Recipe", recipe.to_toml()), Text("Model card", card.model_dump_json(indent=2))),
        footer=f"contractile {card.provenance.get('contractile', '')}".strip(),
    )
    return write_page(page, Path(path) if path else run.folder / REPORT_FILE)


def _draw_validation(run: Run, steering: str | None) -> tuple[Picture, ...]:
    """The worst validation images with the contours that the network draws."""
    predictor = Predictor(run.model, engine=EngineConfig(device=run.recipe.device, precision="float32"))
    examples = {example.name: example for example in run.validation}
    ranked = [image for image in rank(run.evaluation.images, steering) if image.name in examples]
    ignored = run.recipe.targets.ignore_label
    pictures = []
    for image in ranked[:MOST_PICTURES]:
        example = examples[image.name]
        truth = example.labels
        if ignored is not None:
            truth = np.where(truth == ignored, -1, truth)
        caption = describe_image(image.scores, steering)
        labels = predictor.segment(example.pixels)
        pictures.append(draw(example.name, example.pixels, labels, truth=truth, caption=caption))
    return tuple(pictures)


def _subtitle(run: Run) -> str:
    card = run.model.card
    task = "Objects" if card.task == "objects" else f"{len(card.class_values)} classes"
    clock = read_clock(run.history)
    time = "" if clock is None else f" in {_duration(clock[1][-1])}"
    device = f" on {card.provenance['device']}" if "device" in card.provenance else ""
    day = f" · {str(card.provenance['date'])[:10]}" if "date" in card.provenance else ""
    return f"{task} in {card.network.dims}-D images · {_count_steps(run):,} steps{time}{device}{day}"


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _validation_note(run: Run) -> str:
    from contractile.training import VALIDATED_IMAGES

    total = len(run.validation)
    return f"Scored on some of the {total} images." if total > VALIDATED_IMAGES else ""


def _pictures_note(shown: int, total: int) -> str:
    which = f"The {shown} worst of {total}. " if shown < total else ""
    return f"{which}Worst first. A blue line that stands alone was missed, an orange one was invented."


def _count_steps(run: Run) -> int:
    return run.recipe.steps or int(max((row["step"] for row in run.history), default=0))


def _command(run: Run, data: Sequence[str | Path]) -> Command:
    """What repeats the run: the recipe file holds every choice, steps and seed stand out."""
    if len(data) not in (2, 4):
        raise ContractileError(
            f"data must name images and labels, and may name those of validation, got {len(data)}", "use 2 or 4"
        )
    from contractile.training import RECIPE_FILE

    repeated = {
        "--out": f"{run.folder}-again",
        "--recipe": run.folder / RECIPE_FILE,
        "--steps": _count_steps(run),
        "--seed": run.recipe.seed,
    }
    if len(data) == 4:
        repeated |= {"--val-images": data[2], "--val-labels": data[3]}
    options = [str(word) for option in repeated.items() for word in option]
    note = "Steps instead of minutes: the same data, versions and machine give the same network."
    if tuple(data) == PLACEHOLDERS:
        note += " IMAGES and LABELS stand for the annotated images."
    return Command(shlex.join(["contractile", "train", *map(str, data[:2]), *options]), note)
