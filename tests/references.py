"""Where the reference values of the scores lie, for the tests of metrics and evaluate."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "shared" / "references"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the full reference set is not at {SHARED}")


@cache
def stored_values():
    """Values copied into the project: what the reference implementations print on a few small scenes."""
    return json.loads((HERE / "data" / "reference_scores.json").read_text(encoding="utf-8"))


@cache
def stored_scenes():
    """The scenes themselves, by name."""
    with np.load(HERE / "data" / "reference_scores.npz") as scenes:
        return {name: scenes[name] for name in scenes.files}


def load_shared(group, name):
    """A JSON file of the full reference set."""
    return json.loads((SHARED / group / name).read_text(encoding="utf-8"))


def nuclei(*kinds):
    """Predicted and true labels of one image of nuclei."""
    return [stored_scenes()[f"matching_0_{kind}"] for kind in kinds]


def cells(rng, shape=(24, 24)):
    """A grid of square cells behind one-pixel membranes: truth 0 / 255 and a noisy P(white)."""
    truth = np.full(shape, 255, np.uint8)
    truth[::8], truth[:, ::8] = 0, 0
    noise = rng.normal(0, 0.2, shape)
    return truth, np.clip(truth / 255 * 0.6 + 0.2 + noise, 0, 1).astype(np.float32)
