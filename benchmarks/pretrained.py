"""The model `nuclei` of the package: completes a training run on dsb2018, and measures it under many conditions.

    python benchmarks/accuracy.py dsb2018 DATA --minutes 30 --recipe recipes/nuclei.toml
    python benchmarks/pretrained.py runs/dsb2018-nuclei-30min-0 [--against MODEL] [--write]

The validation images of the dataset, which training never saw, are scored as they are, shrunk, and enlarged. Each time
three ways are compared: without a diameter, with the known diameter, and with the diameter estimated for each image.
Then they are scored with every nucleus dimmed by a factor of its own, with the noise of a camera, and with that of few
photons; and objects are counted in fields that are empty, hold one nucleus, or have a hot pixel (`conditions.py`). The
diameter is estimated there, as it is by default. `--against` measures another model on the same images: `nuclei` is the
one in the package.
`--write` puts the model into the package, with the measured scores on its card. Kernels are stored, and measured, in
half precision.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import torch
from accuracy import SCORES, value
from conditions import blank, dimmed, one_nucleus, with_hot_pixel, with_photon_noise, with_read_noise
from scipy import ndimage

from contractile.evaluation import evaluate
from contractile.images import find, read, read_labels
from contractile.labels import typical_diameter
from contractile.model import PRETRAINED_FOLDER, Model, load, save
from contractile.prediction import Predictor
from contractile.prediction.scaling import Resampled, scaled_shape

MAGNIFICATIONS = (0.5, 1.0, 2.0, 4.0)
WAYS = ("as it is", "diameter known", "diameter estimated")
LEVELS = (0.5, 0.75, 0.9)
SEEDS = 20  # fields of each kind
FAR = 10  # pixels from a hot pixel, beyond which labels must not change
CONDITIONS = {
    "every nucleus dimmed by 1 to 16": partial(dimmed, spread="logarithm"),
    "the same, factors uniform": partial(dimmed, spread="factor"),
    **{f"read noise, signal to noise {n}": partial(with_read_noise, signal_to_noise=n) for n in (8, 4, 2)},
    **{f"photon noise, {n} photons": partial(with_photon_noise, photons=n) for n in (100, 30, 10)},
}
DESCRIPTION = (
    "Nuclei in 2-D fluorescence images, bright on dark. Learned from nine tenths of the {images} training images of "
    "the 2018 Data Science Bowl's fluorescence subset (BBBC038, CC0; Caicedo et al. 2019, "
    "doi:10.1038/s41592-019-0612-7); the others had a say in which state was kept. On its validation images, never "
    "learned from: {scores}. Limits: one channel; most nuclei seen were {low:.0f} to {high:.0f} pixels wide, images "
    "of others are resampled; no bright-field or stained tissue, no 3-D; nuclei that overlap share no pixels."
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that accuracy.py made")
    parser.add_argument("--against", help="another model, measured on the same images")
    parser.add_argument("--write", action="store_true", help="put the model into the package")
    arguments = parser.parse_args()
    model, data = load(arguments.run / "run"), arguments.run / "data"
    set_kernels(model, torch.float16)
    set_kernels(model, torch.float32)
    images = [read(source).pixels for source in find(data / "test_images")]
    truths = [read_labels(source.path) for source in find(data / "test_labels")]
    print(f"| magnification (AP at IoU {LEVELS}) | {' | '.join(WAYS)} |\n|--:|---|---|---|")
    found: dict[float, list[list[float]]] = {}
    for magnification in MAGNIFICATIONS:
        scaled = [rescale(*pair, magnification) for pair in zip(images, truths, strict=True)]
        found[magnification] = [score(model, scaled, way) for way in WAYS]
        cells = [" / ".join(f"{ap:.3f}" for ap in one) for one in found[magnification]]
        print(f"| {magnification:g} | {' | '.join(cells)} |", flush=True)
    pairs = list(zip(images, truths, strict=True))
    models = [model] if arguments.against is None else [model, load(arguments.against)]
    print_conditions(models, pairs)
    print_fields(models, [image for image, _ in pairs])
    if arguments.write:
        path = PRETRAINED_FOLDER / "nuclei.safetensors"
        path.parent.mkdir(exist_ok=True)
        set_kernels(model, torch.float16)
        save(finished(model, data, found[1.0][2]), path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def print_head(title: str, models: list[Model]) -> None:
    print(f"\n| {title} | this model |{' against |' * (len(models) - 1)}\n|---|{'---|' * len(models)}")


def print_conditions(models: list[Model], pairs: list[tuple[Any, Any]]) -> None:
    """AP of the models on the same images under CONDITIONS."""
    print_head(f"condition (AP at IoU {LEVELS})", models)
    for name, change in CONDITIONS.items():
        rng = np.random.default_rng(0)
        changed = [(change(image, truth, rng), truth) for image, truth in pairs]
        cells = [" / ".join(f"{ap:.3f}" for ap in score(model, changed, WAYS[2])) for model in models]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_fields(models: list[Model], images: list[Any]) -> None:
    """False objects in empty fields, one nucleus found or not, and the labels that a hot pixel changes."""
    rows = {"empty field: false objects": [], "one nucleus: found": [], "one nucleus: false objects": []}
    rows["hot pixel: share of pixels changed far from it"] = []
    for model in models:
        predictor, counts = Predictor(model), []
        for seed in range(SEEDS):
            rng = np.random.default_rng(seed)
            empty = predictor.segment(blank(rng)).max()
            field, truth = one_nucleus(rng)
            labels = predictor.segment(field)
            found = evaluate(labels, truth, scores=["f1"]).summary["f1"].value > 0
            image = images[seed % len(images)].astype(np.uint16)
            hot, place = with_hot_pixel(image, rng)
            far = np.ones(image.shape[1:], bool)
            far[tuple(slice(max(0, at - FAR), at + FAR + 1) for at in place)] = False
            changed = (predictor.segment(image) > 0) != (predictor.segment(hot) > 0)
            counts.append((empty, found, labels.max() - found, changed[far].mean()))
        for row, values in zip(rows.values(), zip(*counts, strict=True), strict=True):
            row.append(f"{np.mean(values):.4g} (most {np.max(values):.4g})")
    print_head(f"fields, mean of {SEEDS} seeds", models)
    for name, cells in rows.items():
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def set_kernels(model: Model, precision: torch.dtype) -> None:
    for parameter in model.network.parameters():
        if parameter.ndim > 1:
            parameter.data = parameter.data.to(precision)


def rescale(image: Any, truth: Any, magnification: float) -> tuple[Any, Any]:
    """An image (C, Y, X) and its labels (Y, X) as if taken at `magnification` times their own."""
    shape = scaled_shape(truth.shape, magnification)
    factors = np.divide(shape, truth.shape)
    return np.asarray(Resampled(image, shape)), ndimage.zoom(truth, factors, order=0, grid_mode=True, mode="nearest")


def score(model: Model, pairs: list[tuple[Any, Any]], way: str) -> list[float]:
    """AP at LEVELS over the objects of all images, in one of WAYS; the known diameter is the true one of each image."""
    predictor = Predictor(model)
    predicted = []
    for image, truth in pairs:
        known = typical_diameter([truth]) or model.card.diameter
        predictor.diameter = {WAYS[0]: None, WAYS[1]: known, WAYS[2]: "estimate"}[way]
        predicted.append(predictor.segment(image))
    scored = evaluate(predicted, [truth for _, truth in pairs], scores=["ap"])
    return [value(scored, name) for name in SCORES["dsb2018"]]


def finished(model: Model, data: Path, scores: list[float]) -> Model:
    """The model with a card that says what it is for."""
    low, high = model.card.diameters
    text = DESCRIPTION.format(
        images=len(find(data / "train_labels")),
        scores=", ".join(f"AP {ap:.2f} at IoU {level:g}" for level, ap in zip(LEVELS, scores, strict=True)),
        low=low,
        high=high,
    )
    return Model(model.network, model.card.model_copy(update={"any_size": True, "description": text}))


if __name__ == "__main__":
    main()
