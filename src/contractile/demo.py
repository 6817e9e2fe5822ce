"""From nothing to a report on synthetic images: draw, train, segment one large image in tiles, score."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contractile.evaluation import Evaluation, evaluate
from contractile.images import overlay, write_image, write_labels, write_picture
from contractile.prediction import Predictor
from contractile.report import write_report
from contractile.synthetic import SceneConfig, draw_scene
from contractile.training import Run, Status, train

TRAINING_IMAGES = 12
TRAINING_SIDE = 320
LARGE_SIDE = 2048
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
    announce: Callable[[str], None] = lambda message: None,
    training_progress: Callable[[Status], None] | None = None,
    tile_progress: Callable[[int, int], None] | None = None,
) -> Demo:
    """Train for `minutes` on synthetic touching cells; segment and score a square image, `large_side` pixels wide.

    Everything is written into `out`: images, labels, the run, and the labels and overlay of the large image.
    `announce` is called with a line before each part, `training_progress` after each step, `tile_progress` after each
    tile (done, total).
    """
    rng = np.random.default_rng(2015)
    announce(
        f"drawing {TRAINING_IMAGES} images of {TRAINING_SIDE} x {TRAINING_SIDE} pixels "
        f"and one of {large_side} x {large_side}"
    )
    _draw_training_set(out, rng)
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
    write_labels(out / "large_labels.tif", labels)
    write_picture(out / "large_overlay.png", overlay(image, labels, truth=truth))
    announce("scoring and writing the report")
    evaluation = evaluate(labels, truth)
    return Demo(
        run, evaluation, out / "large_overlay.png", write_report(run, data=(str(out / "images"), str(out / "labels")))
    )


def _new_folder(out: Path) -> Path:
    """`run`, or the first of `run_2`, `run_3`, ... that does not exist yet, so that earlier demos are kept."""
    names = itertools.chain(["run"], (f"run_{number}" for number in itertools.count(2)))
    return next(out / name for name in names if not (out / name).exists())


def _draw_training_set(out: Path, rng: np.random.Generator) -> None:
    for number in range(TRAINING_IMAGES):
        image, labels = draw_scene(SceneConfig(shape=(TRAINING_SIDE, TRAINING_SIDE)), rng)
        write_image(out / "images" / f"cells_{number:02d}.tif", image)
        write_labels(out / "labels" / f"cells_{number:02d}.tif", labels)
