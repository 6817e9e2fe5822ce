"""Teaches the pretrained `nuclei` to judge its own results: confidence and likeness, for its card.

    python benchmarks/judging.py DATA/dsb2018 [--write]

DATA/dsb2018 is the folder that `splits.py` made. Confidence is learned from the tenth of the training images that
training held out, at the scale that is estimated for each image, as `predict` does it; likeness from all training
images. `--write` puts both on the card of the model in the package. `quality.py` measures them on the test images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import torch
from annotator import load
from pretrained import set_kernels

from contractile.dataset import split
from contractile.labels import renumber
from contractile.model import PRETRAINED_FOLDER, Model, save
from contractile.model import load as load_model
from contractile.prediction import Predictor
from contractile.prediction.blocks import segment
from contractile.prediction.scaling import scaled
from contractile.prediction.unlike import known_by
from contractile.quality import fit_confidence, fit_likeness
from contractile.training.quality import area_of, compare

HELD_OUT = 0.1  # of the training images, as recipes/nuclei.toml has it by default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--write", action="store_true", help="put both on the card of the model in the package")
    given = parser.parse_args()
    model = load_model("nuclei")
    predictor, card = Predictor(model), model.card
    assert card.diameter is not None
    typical = area_of(card.diameter, card.network.dims)
    examples = load(given.data, "train")
    _, held_out = split(examples, HELD_OUT)
    known = []
    for one in held_out:
        field = predictor.probabilities(one.pixels)
        truth = renumber(one.labels)
        known.append(compare(segment(field, card), truth, typical / field.scale ** (field.ndim - 1)))
    rows = []
    for one in examples:
        curve = card.normalization.fit(one.pixels)
        field = predictor.probabilities(one.pixels, curve=curve)
        rows.append(known_by(scaled(one.pixels, field.scale), curve))
    confidence, likeness = fit_confidence(known, typical=typical), fit_likeness(rows)
    print(f"{len(held_out)} images, {sum(len(one.right) for one in known)} objects; {len(rows)} images for likeness")
    print(confidence)
    if given.write:
        set_kernels(model, torch.float16)  # as they are stored in the package
        path = PRETRAINED_FOLDER / "nuclei.safetensors"
        save(Model(model.network, card.model_copy(update={"confidence": confidence, "likeness": likeness})), path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
