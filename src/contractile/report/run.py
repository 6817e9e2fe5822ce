"""The page of a training run."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from contractile.decode import Decoding
from contractile.engine import EngineConfig
from contractile.errors import ContractileError
from contractile.prediction import Predictor
from contractile.report.card import describe_card
from contractile.report.curves import draw_curves, read_clock
from contractile.report.page import Page, Text, write_page
from contractile.report.pictures import MOST_PICTURES, Picture, draw
from contractile.report.scores import count, describe_image, pick_steering, rank, summarise, tabulate_images
from contractile.storage import check_replaceable
from contractile.targets import known_labels

if TYPE_CHECKING:
    from contractile.training import Run

REPORT_FILE = "report.html"
PLACEHOLDERS = ("IMAGES", "LABELS")


def write_report(
    run: Run,
    *,
    path: str | Path | None = None,
    data: Sequence[str | Path] = PLACEHOLDERS,
    overwrite: bool = False,
) -> Path:
    """Write RUN/report.html (or `path`): one page with the scores, curves, worst images and settings of a run.

    `data` are the images and labels as they were given to `train`, followed by those of validation where they were
    given. They become part of the command that repeats the run. An earlier page is replaced, unless it was changed
    since; any other file only with `overwrite`. Raises ContractileError for another number of `data`, AlreadyThere for
    a file that must not be replaced, NotWritten or NotWritable when the page cannot be written.
    """
    from contractile.training import steering_score

    target = Path(os.path.expanduser(path)) if path else run.folder / REPORT_FILE
    check_replaceable([target], overwrite=overwrite)
    steering = pick_steering(run.evaluation, steering_score(run.recipe))
    recipe, card = run.recipe, run.model.card
    pictures = _draw_validation(run, steering)
    page = Page(
        title=run.folder.resolve().name,
        subtitle=_subtitle(run),
        scores=summarise(run.evaluation, steering, card.class_values),
        scored=f"Scores of the network that was kept, on {count(len(run.evaluation.images), 'validation image')}. "
        "Validation images are not trained on, but they decide at which step the network is kept.",
        curves=draw_curves(
            run.history, steering=steering, kept=card.provenance.get("step"), note=_validation_note(run)
        ),
        pictures=pictures,
        pictures_note=_pictures_note(len(pictures), len(run.validation)),
        table=tabulate_images(run.evaluation, steering),
        command=_command(run, data),
        command_note=_command_note(data),
        facts=describe_card(card),
        texts=(Text("Recipe", recipe.to_toml()), Text("Model card", card.model_dump_json(indent=2))),
        footer=f"contractile {card.provenance.get('contractile', '')}".strip(),
    )
    return write_page(page, target)


def _draw_validation(run: Run, steering: str | None) -> tuple[Picture, ...]:
    """The worst validation images, with predicted and true contours."""
    engine = EngineConfig(device=run.recipe.device, backend="torch", precision="float32")
    examples = {example.name: example for example in run.validation}
    ranked = [image for image in rank(run.evaluation.images, steering) if image.name in examples]
    pictures = []
    for image in ranked[:MOST_PICTURES]:
        example = examples[image.name]
        truth = known_labels(example.labels, run.recipe.targets)
        caption = describe_image(image.scores, steering)
        labels = Predictor(run.unseen.get(image.name, run.model), engine=engine).segment(example.pixels)
        pictures.append(draw(example.name, example.pixels, labels, truth=truth, caption=caption))
    return tuple(pictures)


def _subtitle(run: Run) -> str:
    card = run.model.card
    task = "Objects" if card.task == "objects" else f"{len(card.class_values)} classes"
    clock = read_clock(run.history)
    first = f" of {run.recipe.folds} networks, the first" if run.recipe.folds > 1 else ""
    time = "" if clock is None else f"{first} in {_duration(clock[1][-1])}"
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
    some = f"During training only some of the {total} images are scored." if total > VALIDATED_IMAGES else ""
    decoded = "The scores above use the decoding that was chosen after training, the curve the one before that choice."
    return f"{some} {decoded if run.model.card.decoding != Decoding() else ''}".strip()


def _pictures_note(shown: int, total: int) -> str:
    which = f"The {shown} worst of {total} images" if shown < total else "All images"
    lines = "A blue line alone marks something that was missed, an orange line alone something that was invented."
    return f"{which}, the worst first. {lines}"


def _count_steps(run: Run) -> int:
    """The steps of all folds together. Where minutes set them, the history tells those of the first fold."""
    return run.recipe.steps or run.recipe.folds * int(max((row["step"] for row in run.history), default=0))


def _command(run: Run, data: Sequence[str | Path]) -> str:
    """The command that repeats the run. The recipe file holds every setting; steps and seed are shown as well."""
    if len(data) not in (2, 4):
        raise ContractileError(
            f"data must name images and labels, and may name those of validation, got {len(data)} names", "use 2 or 4"
        )
    from contractile.training import RECIPE_FILE

    repeated = {
        "--out": f"{run.folder}-again",
        "--recipe": run.folder / RECIPE_FILE,
        "--steps": _count_steps(run),
        "--seed": run.recipe.seed,
    }
    if "start" in run.model.card.provenance:
        repeated["--start"] = run.model.card.provenance["start"]
    if len(data) == 4:
        repeated |= {"--val-images": data[2], "--val-labels": data[3]}
    options = [str(word) for option in repeated.items() for word in option]
    return shlex.join(["contractile", "train", *map(str, data[:2]), *options])


def _command_note(data: Sequence[str | Path]) -> str:
    note = "The same data, versions, machine and number of steps give the same network."
    return note + (" IMAGES and LABELS stand for the annotated images." if tuple(data) == PLACEHOLDERS else "")
