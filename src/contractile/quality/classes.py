"""How good a segmentation into classes is, without a truth: the Dice score of each class that is to be expected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.errors import in_one_line
from contractile.quality.confidence import FEWEST, NORMAL, UNKNOWN_SPREAD

Floats = NDArray[np.float64]
Share = Annotated[float, Field(ge=0, le=1)]

SHARPEST, BLUNTEST = 8.0, 0.125  # powers of a probability that are tried
LEAST = 1e-6  # of a probability
FIT_ON = 2**18  # pixels


class ExpectedDice(NamedTuple):
    """The Dice score of a class that is to be expected, with a 95 % interval; NaN where no pixel gets the class."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """The score and its interval in words."""
        return "not found" if math.isnan(self.value) else f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@in_one_line
class Calibration(BaseModel):
    """Probabilities to the power `sharpness`, made to add up to 1, are how often a pixel really has the class."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sharpness: float = Field(ge=BLUNTEST / 2, le=2 * SHARPEST)
    spread: tuple[Share, ...] = Field(description="by how much the Dice score of an image varies, for each class")
    images: int = Field(ge=0, description="images that it was fitted on")

    def apply(self, maps: NDArray[Any]) -> NDArray[np.float32]:
        """Probabilities (K, *S) -> calibrated ones (K, *S)."""
        powers = np.power(np.maximum(maps, LEAST, dtype=np.float32), np.float32(self.sharpness))
        result: NDArray[np.float32] = powers / powers.sum(axis=0)
        return result

    def tally(self, maps: NDArray[Any]) -> Floats:
        """What counts of probabilities (K, *S), for each class (K, 3); those of parts of an image add up.

        The pixels that get the class; how many of these have it, as far as is known; how many of all have it.
        """
        chances, chosen = self.apply(maps), np.asarray(maps).argmax(axis=0)
        rows = []
        for number, chance in enumerate(chances):
            own = chosen == number
            right, true = (float(part.sum(dtype=np.float64)) for part in (chance[own], chance))
            rows.append((float(own.sum()), right, true))
        return np.array(rows)

    def expect(self, tally: Floats, *, images: int = 1) -> tuple[ExpectedDice, ...]:
        """The expected Dice score 2 |P and T| / (|P| + |T|) of each class, from the sum of all tallies (K, 3)."""
        found = []
        for (chosen, right, true), spread in zip(tally, self.spread, strict=True):
            if chosen == 0:
                found.append(ExpectedDice(math.nan, math.nan, math.nan))
                continue
            value, error = float(2 * right / (chosen + true)), NORMAL * spread / math.sqrt(images)
            found.append(ExpectedDice(value, max(0.0, value - error), min(1.0, value + error)))
        return tuple(found)


def fit_calibration(
    maps: Sequence[NDArray[np.float32]], classes: Sequence[NDArray[np.integer[Any]]]
) -> Calibration | None:
    """The calibration of images that a network never learned from; None where nothing is known.

    `maps` (K, *S) are its probabilities, `classes` (*S) the number of the true class of each pixel, -1 where not known.
    The sharpness is the one with the highest likelihood.
    """
    from scipy.optimize import minimize_scalar  # slow to load, and only training needs it

    known = [one >= 0 for one in classes]
    number = sum(int(one.sum()) for one in known)
    if number == 0:
        return None
    step = max(1, number // FIT_ON)
    some = [one[:, seen][:, ::step] for one, seen in zip(maps, known, strict=True)]
    log = np.log(np.concatenate(some, axis=1) + LEAST)
    true = np.concatenate([one[seen][::step] for one, seen in zip(classes, known, strict=True)])

    def cost(power: float) -> float:
        scores = np.exp2(power) * log
        highest = scores.max(axis=0)
        total = highest + np.log(np.exp(scores - highest).sum(axis=0))
        return float((total - scores[true, np.arange(len(true))]).mean())

    bounds = (math.log2(BLUNTEST), math.log2(SHARPEST))
    power = float(minimize_scalar(cost, bounds=bounds, method="bounded").x)
    first = Calibration(sharpness=round(2**power, 4), spread=(0.0,) * len(log), images=len(maps))
    spread = tuple(round(one, 4) for one in _spread(first, maps, classes))
    return first.model_copy(update={"spread": spread})


def _spread(
    calibration: Calibration, maps: Sequence[NDArray[np.float32]], classes: Sequence[NDArray[np.integer[Any]]]
) -> list[float]:
    """The root mean square of what Dice scores of images differ from what was expected, for each class.

    Images in which no pixel gets the class do not count.
    """
    apart: list[list[float]] = [[] for _ in calibration.spread]
    for one, true in zip(maps, classes, strict=True):
        seen = true >= 0
        if not seen.any():
            continue
        part, wanted = one[:, seen], true[seen]
        chosen, expected = part.argmax(axis=0), calibration.expect(calibration.tally(part))
        for number, found in enumerate(expected):
            if math.isnan(found.value):
                continue
            both = int((chosen == number).sum() + (wanted == number).sum())
            apart[number].append(found.value - 2 * int(((chosen == number) & (wanted == number)).sum()) / both)
    return [
        min(1.0, math.sqrt(float(np.mean(np.square(one))))) if len(one) >= FEWEST else UNKNOWN_SPREAD for one in apart
    ]
