"""Before anything is written: do exported weights, tiled as other programs do, give what `prediction` gives?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.engine import EngineConfig
from contractile.errors import NotFinished
from contractile.export.frame import Tiles
from contractile.export.to_onnx import Floats, Run
from contractile.grid import cut, plan
from contractile.intensity import Intensity
from contractile.model import Model
from contractile.prediction import Predictor

MOST_OFF = 1e-4  # of a probability
EXACT = EngineConfig(device="cpu", backend="torch", precision="float32")


def predict_exactly(model: Model, image: NDArray[Any], curve: Intensity) -> Floats:
    """Probabilities (K, *S) of an image (C, *S), whose pixels have the size that the networks want, by `prediction`."""
    as_it_is = model.with_card(any_size=False, shrunk=1.0)
    return np.asarray(Predictor(as_it_is, engine=EXACT).probabilities(image, curve=curve)[...])


def prove(run: Run, values: Floats, ours: Floats, tiles: Tiles, *, name: str) -> float:
    """How far at most the probabilities of exported weights are from `ours` (K, *S), for `values` (C, *S).

    The image is cut into two tiles or so along each axis. Raises NotFinished where they are off by more than 1e-4.
    """
    sides = [
        2 * halo + max(1, math.ceil(size / 2 / step)) * step
        for size, step, halo in zip(values.shape[1:], tiles.step, tiles.halo, strict=True)
    ]
    off = 0.0
    for block in plan(values.shape[1:], sides, margin=tiles.halo, stride=tiles.step):
        kept = tuple(
            slice(start - first, stop - first)
            for (start, stop), (first, _) in zip(block.write, block.read, strict=True)
        )
        found = run(cut(values, block)[None])[0][(slice(None), *kept)]
        off = max(off, float(np.abs(found - ours[(slice(None), *block.owned)]).max()))
    if not off <= MOST_OFF:
        problem = f"the exported {name} weights give other probabilities than the model, by up to {off:.2g} where"
        raise NotFinished(f"{problem} {MOST_OFF:g} is allowed", "please report this, with the model")
    return off
