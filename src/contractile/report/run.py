"""The page of a training run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from contractile.model import ModelCard
from contractile.predict import Predictor
from contractile.report.curves import draw_curves, read_clock
from contractile.report.page import Command, Facts, Page, Text, write_page
from contractile.report.pictures import LEGEND_WITH_TRUTH, MOST_PICTURES, Picture, draw
from contractile.report.scores import describe_image, pick_steering, rank, summarise, tabulate_images

if TYPE_CHECKING:
    from contractile.train import Run

REPORT_FILE = "report.html"
PLACEHOLDERS = ("IMAGES", "LABELS")
PROVENANCE = {
    "data_sha256": "data (SHA-256)",
    "images": "annotated images",
    "recipe": "recipe",
    "contractile": "contractile",
    "torch": "PyTorch",
    "python": "Python",
    "machine": "machine",
    "device": "device",
    "date": "date",
}


def write_report(run: Run, *, path: Path | None = None, data: Sequence[str | Path] = PLACEHOLDERS) -> Path:
    """Write RUN/report.html (or `path`): one page that holds everything worth knowing of a run.

    `data` are the images and labels as they were given to `train`, and where validation had its own,
    those two as well; they go into the command that repeats the run. Raises ValueError for any other
    number of them, OSError when the page cannot be written.
    """
    from contractile.train import STEERING

    steering = pick_steering(run.evaluation, STEERING[run.recipe.targets.task])
    recipe, card = run.recipe, run.model.card
    pictures = _draw_validation(run, steering)
    page = Page(
        kind="Training run",
        title=run.folder.resolve().name,
        subtitle=_subtitle(run),
        scores=summarise(run.evaluation, steering, card.class_values),
        scored=f"Best network on {_count(len(run.evaluation.images), 'validation image')}, which it was not trained on",
        curves=draw_curves(run.history, steering=steering),
        pictures=pictures,
        pictures_title="Validation images",
        pictures_note=_pictures_note(len(pictures), len(run.validation)),
        legend=LEGEND_WITH_TRUTH,
        tables=(tabulate_images(run.evaluation, steering),),
        command=_command(run, data),
        facts=(Facts("Model", describe_card(card)), Facts("Where it comes from", describe_provenance(card))),
        texts=(Text("Recipe", recipe.to_toml()), Text("Model card", card.model_dump_json(indent=2))),
        footer=f"contractile {card.provenance.get('contractile', '')}".strip(),
    )
    return write_page(page, path or run.folder / REPORT_FILE)


def describe_card(card: ModelCard) -> tuple[tuple[str, str], ...]:
    """What a model is and what it expects, in words."""
    network, decoding = card.network, card.decoding
    unit = "× ".join(f"{size:g} " for size in card.pixel_size_um or ())
    intensity = card.normalization
    kinds = {
        "percentile": f"percentiles {intensity.low:g} and {intensity.high:g} of each image to 0 and 1",
        "standard": "each image to mean 0 and deviation 1",
        "none": "as in the file",
    }
    rows = [
        ("task", _describe_task(card)),
        ("network", f"{network.dims}-D U-Net, width {network.width}, depth {network.depth}, {network.padding} convolutions"),
        ("parameters", f"{network.parameters:,}"),
        ("receptive field", f"{network.receptive_field} pixels"),
        ("channels", str(network.channels)),
        ("intensities", kinds[intensity.kind]),
        ("pixel size", f"{unit}µm" if unit else "not known"),
    ]
    if card.task == "objects":
        least = f", of at least {decoding.min_size} pixels" if decoding.min_size else ""
        rows.append(("objects", f"connected where the probability exceeds {decoding.threshold:g}{least}"))
    return tuple(rows)


def describe_provenance(card: ModelCard) -> tuple[tuple[str, str], ...]:
    """Data, versions, machine and date that a model carries with it."""
    known = [(PROVENANCE[key], str(card.provenance[key])) for key in PROVENANCE if key in card.provenance]
    others = [(key.replace("_", " "), str(value)) for key, value in card.provenance.items() if key not in PROVENANCE]
    return (*known, *others)


def _draw_validation(run: Run, steering: str | None) -> tuple[Picture, ...]:
    """The worst validation images with the contours that the best network draws."""
    predictor = Predictor(run.model, device=run.recipe.device, precision=run.recipe.precision)
    examples = {example.name: example for example in run.validation}
    ranked = [image for image in rank(run.evaluation.images, steering) if image.name in examples]
    pictures = []
    for image in ranked[:MOST_PICTURES]:
        example = examples[image.name]
        truth = np.where(example.labels == run.recipe.targets.ignore_label, -1, example.labels)
        caption = describe_image(image.scores, steering)
        labels = predictor.segment(example.pixels)
        pictures.append(draw(example.name, example.pixels, labels, truth=truth, caption=caption))
    return tuple(pictures)


def _describe_task(card: ModelCard) -> str:
    if card.task == "objects":
        return "objects: touching things get different numbers"
    return f"classes: every pixel gets one of {', '.join(str(value) for value in card.class_values)}"


def _subtitle(run: Run) -> str:
    card = run.model.card
    task = "Objects" if card.task == "objects" else f"{len(card.class_values)} classes"
    clock = read_clock(run.history)
    time = "" if clock is None else f" in {_duration(clock[1][-1])}"
    device = f" on {card.provenance['device']}" if "device" in card.provenance else ""
    steps = run.recipe.steps or int(max((row["step"] for row in run.history), default=0))
    day = f" · {str(card.provenance['date'])[:10]}" if "date" in card.provenance else ""
    return f"{task} in {card.network.dims}-D images · {steps:,} steps{time}{device}{day}"


def _duration(minutes: float) -> str:
    if minutes < 1:
        return f"{60 * minutes:.0f} seconds"
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _pictures_note(shown: int, total: int) -> str:
    which = f"The {shown} worst of {total}, worst first. " if shown < total else "Worst first. " if shown > 1 else ""
    return which + "A blue line that stands alone was missed, an orange one was invented."


def _command(run: Run, data: Sequence[str | Path]) -> Command:
    """What repeats the run: the recipe file holds every choice, steps and seed stand out."""
    if len(data) not in (2, 4):
        raise ValueError(
            f"data must be images and labels, with those for validation or without, got {len(data)} of them; give 2 or 4"
        )
    recipe = run.recipe
    words = ["contractile", "train", *map(str, data[:2]), "--out", f"{run.folder}-again"]
    words += ["--recipe", str(run.folder / "recipe.toml"), "--steps", str(recipe.steps), "--seed", str(recipe.seed)]
    if len(data) == 4:
        words += ["--val-images", str(data[2]), "--val-labels", str(data[3])]
    note = "Steps instead of minutes: the same data, versions and machine give the same network."
    if tuple(data) == PLACEHOLDERS:
        note += " IMAGES and LABELS stand for the annotated images."
    return Command(shlex.join(words), note)
