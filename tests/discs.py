"""Small runs that tests share: bright discs, a recipe of a few steps, and a folder of images and labels."""

import numpy as np
import pytest
import tifffile

from contractile.dataset import Example, Samples
from contractile.recipe import derive
from contractile.training import train
from contractile.training.state import begin, launch

TINY = {
    "steps": 12,
    "validations": 2,
    "device": "cpu",
    "network": {"width": 2, "depth": 2, "symmetry": "none"},
    "samples": {"tile": [32, 32], "core": [32, 32], "batch": 2},
}


def bright_discs(name, seed):
    """Discs that are brighter than their surroundings: learned within a few steps."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:48, :48]
    labels = np.zeros((48, 48), np.int32)
    for number, (cy, cx) in enumerate(rng.integers(6, 42, (4, 2)), start=1):
        labels[(y - cy) ** 2 + (x - cx) ** 2 < 25] = number
    pixels = (100 * (labels > 0) + rng.normal(60, 8, labels.shape)).clip(0, 255).astype(np.uint8)
    return Example(name, pixels[None], (labels > 0).astype(np.int32) * 255)


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        one = bright_discs(str(number), number)
        for kind, array in (("images", one.pixels[0]), ("labels", one.labels.astype(np.uint8))):
            (tmp_path / kind).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / kind / f"{number}.tif", array)
    return tmp_path


def run(folder, out="run", **changes):
    return train(folder / "images", folder / "labels", out=folder / out, recipe={**TINY, **changes})


def started(**changes):
    """A state before its first step, and the samples that it learns from."""
    examples = [bright_discs(str(number), number) for number in range(2)]
    recipe = derive(examples, {**TINY, **changes})
    return begin(recipe, launch(recipe)), Samples(examples, recipe.targets, recipe.samples)
