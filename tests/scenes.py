"""Small scenes and what the reference implementations print for them, for the tests of metrics and evaluation."""

import json
from functools import cache
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"


@cache
def stored_values():
    """What the reference implementations print for the stored scenes."""
    return json.loads((DATA / "reference_scores.json").read_text(encoding="utf-8"))


@cache
def stored_scenes():
    """The scenes themselves, by name."""
    with np.load(DATA / "reference_scores.npz") as scenes:
        return {name: scenes[name] for name in scenes.files}


def nuclei(*kinds):
    """Predicted and true labels of one image of nuclei."""
    return [stored_scenes()[f"matching_0_{kind}"] for kind in kinds]


def cells(rng, shape=(24, 24)):
    """A grid of square cells with membranes one pixel wide: truth 0 / 255 and a noisy P(white)."""
    truth = np.full(shape, 255, np.uint8)
    truth[::8], truth[:, ::8] = 0, 0
    noise = rng.normal(0, 0.2, shape)
    return truth, np.clip(truth / 255 * 0.6 + 0.2 + noise, 0, 1).astype(np.float32)
