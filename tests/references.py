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
