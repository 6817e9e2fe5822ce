"""From nothing to a report on synthetic images: draw, train, segment one large image in tiles, score."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contractile.errors import AlreadyThere
from contractile.evaluation import Evaluation, evaluate
from contractile.images import overlay, write_image, write_labels, write_picture
from contractile.prediction import Predictor
from contractile.report import write_report
from contractile.storage import Claim, claimed
from contractile.synthetic import SceneConfig, draw_scene
from contractile.training import Run, Status, train

TRAINING_IMAGES = 12
TRAINING_SIDE = 320
LARGE_SIDE = 2048
LABELS, OVERLAY = "large_labels.tif", "large_overlay.png"
MINUTES = 2.0  # includes half a minute of compiling in a first run


@dataclass(frozen=True)
class Demo:
    """What the demo made: the run, the scores on the large image, and the files to look at."""

    run: Run
    evaluation: Evaluation
    overlay: Path
    report: Path


def run_demo(
    out: Path,
    *,
    minutes: float = MINUTES,
    large_side: int = LARGE_SIDE,
    overwrite: bool = False,
    announce: Callable[[str], None] = lambda message: None,
    training_progress: Callable[[Status], None] | None = None,
    tile_progress: Callable[[int, int], None] | None = None,
) -> Demo:
    """Train for `minutes` on synthetic touching cells; segment and score a square image, `large_side` pixels wide.

    Everything is written into `out`: images, labels, the run, and the labels and overlay of the large image.
    `announce` is called with a line before each part, `training_progress` after each step, `tile_progress` after each
    tile (done, total). Files of an earlier demo are replaced, unless they were changed since; what else is there only
    with `overwrite`. Raises AlreadyThere for a file that must not be replaced and for images of others, InUse where
    another process writes into `out`, NotWritten or NotWritable where a file cannot be written.
    """
    out = Path(os.path.expanduser(out))
    pairs = [(out / "images" / name, out / "labels" / name) for name in _names()]
    _check_alone(pairs)
    rng = np.random.default_rng(2015)
    with claimed([*itertools.chain(*pairs), out / LABELS, out / OVERLAY], by="demo", overwrite=overwrite) as claim:
        announce(
            f"drawing {TRAINING_IMAGES} images of {TRAINING_SIDE} x {TRAINING_SIDE} pixels "
            f"and one of {large_side} x {large_side}"
        )
        _draw_training_set(pairs, claim, rng)
        image, truth = draw_scene(SceneConfig(shape=(large_side, large_side)), rng)
        announce(f"training for {minutes:g} minute(s)")
        run = train(
            out / "images",
            out / "labels",
            out=_new_folder(out),
            recipe={"minutes": minutes},
            progress=training_progress,
        )
        announce("segmenting the large image in tiles")
        labels = Predictor(run.model).segment(image, progress=tile_progress)
        with claim.together():
            write_labels(out / LABELS, labels)
            write_picture(out / OVERLAY, overlay(image, labels, truth=truth))
        announce("scoring and writing the report")
        evaluation = evaluate(labels, truth)
        report = write_report(run, data=(str(out / "images"), str(out / "labels")))
    return Demo(run, evaluation, out / OVERLAY, report)


def _names() -> list[str]:
    return [f"cells_{number:02d}.tif" for number in range(TRAINING_IMAGES)]


def _check_alone(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Raise AlreadyThere where other files lie among those that the demo trains on."""
    for folder in {path.parent for pair in pairs for path in pair}:
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        others = [path for path in there if path.name not in _names() and not path.name.startswith(".")]
        if others:
            problem = f"out must hold no other images than those of a demo, got {others[0]}"
            raise AlreadyThere(problem, "choose another folder")


def _new_folder(out: Path) -> Path:
    """`run`, or the first of `run_2`, `run_3`, ... that does not exist yet, so that earlier demos are kept."""
    names = itertools.chain(["run"], (f"run_{number}" for number in itertools.count(2)))
    return next(out / name for name in names if not (out / name).exists())


def _draw_training_set(pairs: Sequence[tuple[Path, Path]], claim: Claim, rng: np.random.Generator) -> None:
    for image_file, label_file in pairs:
        image, labels = draw_scene(SceneConfig(shape=(TRAINING_SIDE, TRAINING_SIDE)), rng)
        with claim.together():
            write_image(image_file, image)
            write_labels(label_file, labels)
