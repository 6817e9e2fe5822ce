"""How likely it is that an object is right, and how good a segmentation is, without a truth.

Two small models of some numbers for each object (FEATURES), fitted on images that the network never learned
from: the chance that an object matches a true one (logistic), and how many true objects are hidden in it besides, as
where two are merged (Poisson). They are stored with the network as plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.errors import in_one_line

Floats = NDArray[np.float64]
Number = Annotated[float, Field(allow_inf_nan=False, ge=-1e9, le=1e9)]
Positive = Annotated[float, Field(gt=0, le=1e9)]
Weights = tuple[Number, ...]

FEATURES = (
    *("inside", "unsure", "outline", "core", "peak", "touching", "size", "odd_size", "uneven", "cut"),
    *("long", "waist", "dip"),
)
FARTHEST = 3.0  # standard deviations: features beyond count as so far
PENALTY = 5.0  # on the square of each weight: as much as some objects say about it
FLAT = 0.1  # on the square of the weight of `rest`, which few images tell
LEAST_OBJECTS = 10  # to fit on; with fewer, nothing can be said
NORMAL = 1.96  # standard deviations of a 95 % interval
UNKNOWN_SPREAD = 0.1  # of the score of an image, where too few are known
FEWEST = 3  # images that tell how it varies
DIGITS = 5  # of the numbers that are stored


class Shown(NamedTuple):
    """What an image shows of its n objects: `features` (n, F), and `rest`, what looks like objects but was dropped.

    `rest` is in typical objects: the sum of the probabilities of such pixels / the area of one.
    """

    features: Floats
    rest: float


class Known(NamedTuple):
    """An image with a truth: what it shows, which of its n objects are `right` (n,), and where the others are.

    `missed` (n,) are the true objects that no object matches but which lie mostly in this one; `alone` is the number
    of those that lie in none. `ap` is the AP at an IoU of 0.5; None where there is neither an object nor a true one.
    """

    shown: Shown
    right: NDArray[np.bool_]
    missed: Floats
    alone: int
    ap: float | None


class Expected(NamedTuple):
    """What is expected of an image, with 95 % intervals: AP at an IoU of 0.5, and the number of true objects."""

    ap: float
    ap_low: float
    ap_high: float
    objects: float
    objects_low: float
    objects_high: float


@in_one_line
class Confidence(BaseModel):
    """The two models, on standardised features: (feature - mean) / scale. The last weight is that of 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    typical: float = Field(gt=0, le=1e12, description="area of a typical object, in pixels as the network sees them")
    means: Weights = Field(min_length=len(FEATURES), max_length=len(FEATURES))
    scales: tuple[Positive, ...] = Field(min_length=len(FEATURES), max_length=len(FEATURES))
    right: Weights = Field(min_length=len(FEATURES) + 1, max_length=len(FEATURES) + 1, description="log odds")
    missed: Weights = Field(min_length=len(FEATURES) + 1, max_length=len(FEATURES) + 1, description="logarithm")
    alone: tuple[Number, Number] = Field(description="true objects in no object: for each object, and for each `rest`")
    spread: float = Field(ge=0, le=1, description="standard deviation of the AP of images around what is expected")
    objects: int = Field(ge=0, description="objects that it was fitted on")
    images: int = Field(ge=0, description="images that it was fitted on")

    def of(self, features: Floats) -> Floats:
        """Features (n, F) -> the chance (n,) that each object matches a true one at an IoU of 0.5."""
        result: Floats = 1 / (1 + np.exp(-self._standardised(features) @ np.array(self.right)))
        return result

    def expect(self, shown: Shown) -> Expected | None:
        """What is expected of an image; None where it has no object, nor anything that looks like one."""
        return expect_together(self, [shown])

    def hidden(self, features: Floats) -> Floats:
        """Features (n, F) -> the expected number (n,) of true objects that lie in each object and are not matched."""
        result: Floats = np.exp(np.minimum(self._standardised(features) @ np.array(self.missed), math.log(10)))
        return result

    def _standardised(self, features: Floats) -> Floats:
        """(n, F + 1)."""
        return _with_one(np.clip((features - np.array(self.means)) / np.array(self.scales), -FARTHEST, FARTHEST))


def expect_together(confidence: Confidence, images: Sequence[Shown]) -> Expected | None:
    """What is expected of several images as one set.

    The AP is right / (objects + missed). Each object is right or not by its own chance, independently; the number of
    missed ones is Poisson; the AP of an image varies by `spread` besides; and the chances themselves are no surer than
    a share that was counted on as many objects as they were learned from.
    """
    found = _expect(confidence, images)
    if found is None:
        return None
    ap, count = found.ap, found.objects
    ap_error, count_error = NORMAL * found.ap_error, NORMAL * found.objects_error
    low, high = max(0.0, ap - ap_error), min(1.0, ap + ap_error)
    return Expected(ap, low, high, count, max(0.0, count - count_error), count + count_error)


class _Moments(NamedTuple):
    """What is expected, and its standard deviation, which knows no bounds: half of it may lie beyond 1."""

    ap: float
    ap_error: float
    objects: float
    objects_error: float


def _expect(confidence: Confidence, images: Sequence[Shown]) -> _Moments | None:
    chances = np.concatenate([confidence.of(one.features) for one in images])
    features = np.concatenate([one.features for one in images])
    missed = float(confidence.hidden(features).sum() + _alone(confidence, len(features), sum(o.rest for o in images)))
    right, total = float(chances.sum()), len(features) + missed
    if total < 0.5:
        return None
    uncertain = float((chances * (1 - chances)).sum())
    ap, count = right / total, right + missed
    share = right / max(1, len(features))
    learned = share * (1 - share) / max(1, confidence.objects)
    beyond = confidence.spread**2 / len(images) + learned
    ap_error = math.sqrt(uncertain / total**2 + missed * (right / total**2) ** 2 + beyond)
    return _Moments(ap, ap_error, count, math.sqrt(uncertain + missed + beyond * count**2))


def _alone(confidence: Confidence, objects: int, rest: float) -> float:
    return confidence.alone[0] * objects + confidence.alone[1] * rest


def fit_confidence(images: Sequence[Known], *, typical: float) -> Confidence | None:
    """The models of images with a truth that the network never learned from; None where there are too few objects.

    One object that is right and one that is wrong, both of mean features, are added, so that no chance is 0 or 1.
    """
    features = np.concatenate([np.zeros((0, len(FEATURES))), *(one.shown.features for one in images)])
    if len(features) < LEAST_OBJECTS:
        return None
    means, scales = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-3)
    rows = _with_one(np.clip((features - means) / scales, -FARTHEST, FARTHEST))
    mean = np.zeros((2, rows.shape[1]))
    mean[:, -1] = 1
    right = np.concatenate([*(one.right for one in images), [False, True]]).astype(np.float64)
    missed = np.concatenate([one.missed for one in images])
    told = {
        "typical": typical,
        "means": _rounded(means),
        "scales": _rounded(scales),
        "right": _rounded(_fit_logistic(np.concatenate([rows, mean]), right)),
        "missed": _rounded(_fit_poisson(rows, missed)),
        "alone": _rounded(_fit_alone(images)),
        "objects": len(features),
        "images": len(images),
    }
    first = Confidence(spread=0.0, **told)
    return first.model_copy(update={"spread": round(_spread(first, images), DIGITS)})


def _spread(confidence: Confidence, images: Sequence[Known]) -> float:
    """By how much the AP of images varies around what is expected, beyond chance: a standard deviation.

    Of very few images, on which the chances were fitted, it would be near 0 whatever others are like.
    """
    beyond = []
    for one in images:
        found = _expect(confidence, [one.shown])
        if found is not None and one.ap is not None:
            beyond.append((one.ap - found.ap) ** 2 - found.ap_error**2)  # not from the interval, which is cut at 1
    if len(beyond) < FEWEST:
        return UNKNOWN_SPREAD
    return math.sqrt(max(0.0, float(np.mean(beyond))))


def _fit_alone(images: Sequence[Known]) -> Floats:
    """How many true objects lie in no object: (2,), for each object, and for each `rest`.

    Least squares of the share of such objects, so that one image with hundreds of them counts as any other.
    """
    from scipy.optimize import nnls  # slow to load, and only training needs it

    rows = np.array([(len(one.right), one.shown.rest, one.alone) for one in images], np.float64)
    rows /= rows[:, :1] + 1
    rows = np.concatenate([rows, [(0.0, math.sqrt(FLAT), 0.0)]])
    found: Floats = nnls(rows[:, :2], rows[:, 2])[0]
    return found


def _with_one(rows: Floats) -> Floats:
    return np.concatenate([rows, np.ones((len(rows), 1))], axis=1)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), DIGITS) for value in values)


def _fit_logistic(rows: Floats, right: Floats) -> Floats:
    """Weights (F + 1,) of the log odds that maximise the penalised likelihood."""

    def cost(weights: Floats) -> tuple[float, Floats]:
        odds = rows @ weights
        chance = 1 / (1 + np.exp(-odds))
        value = float((np.logaddexp(0, odds) - right * odds).sum())
        return _penalised(value, rows.T @ (chance - right), weights)

    return _minimise(cost, rows.shape[1])


def _fit_poisson(rows: Floats, counts: Floats) -> Floats:
    """Weights (F + 1,) of the logarithm of the expected count; half a count in all is added, so that it is never 0."""
    counts = counts + 0.5 / len(counts)

    def cost(weights: Floats) -> tuple[float, Floats]:
        log = np.clip(rows @ weights, -30, 5)
        expected = np.exp(log)
        return _penalised(float((expected - counts * log).sum()), rows.T @ (expected - counts), weights)

    return _minimise(cost, rows.shape[1])


def _penalised(value: float, slope: Floats, weights: Floats) -> tuple[float, Floats]:
    held = PENALTY * np.append(np.ones(len(weights) - 1), 0.0)
    return value + float((held * weights**2).sum()) / 2, slope + held * weights


def _minimise(cost: object, size: int) -> Floats:
    from scipy.optimize import minimize  # slow to load, and only training needs it

    found: Floats = minimize(cost, np.zeros(size), jac=True, method="L-BFGS-B").x
    return found
