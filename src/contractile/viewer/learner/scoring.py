"""How good a network is on the annotations that it never learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from contractile.labels import connected
from contractile.viewer.learner.looking import Looker
from contractile.viewer.learner.painted import Annotated

MATCH = 0.5  # IoU from which an object counts as found
RESAMPLES = 1000
LEAST = 3  # objects or pieces: with fewer there is no score


@dataclass(frozen=True)
class Score:
    """A score from 0 to 1 with its 95 % interval, over so many held-out objects (of classes: connected pieces).

    Objects: `value` is the mean IoU of each held-out object with the predicted object that fits it best, `found` the
    number with an IoU over 0.5. Classes: the share of held-out pixels that get their class, each class alike; `found`
    is the number of pieces of which more than half of the pixels do.
    `clean` is the share of held-out background pixels on which no object is predicted; None without such pixels.
    """

    value: float
    low: float
    high: float
    number: int
    found: int
    clean: float | None = None


def score(looker: Looker, annotated: Annotated, *, seed: int = 0) -> Score | None:
    """The score of a network; None where too little is held out."""
    fits: list[float] = []
    pieces: dict[int, list[tuple[float, float]]] = {}  # of each class: pixels of a piece that get it, and all of them
    empty = total = 0
    for number, region, truth in annotated.held():
        seen = looker.look(number, region)
        if looker.model.card.task == "objects":
            fits += [fit_of(truth == one, seen.labels) for one in np.unique(truth[truth > 0])]
            background = truth == 0
            empty, total = empty + int((seen.labels[background] == 0).sum()), total + int(background.sum())
        else:
            for value in np.unique(truth[truth >= 0]).tolist():
                numbers = connected(truth == value)
                right = np.bincount(numbers.ravel(), (seen.labels == value).ravel())
                sizes = np.bincount(numbers.ravel())
                pieces.setdefault(value, []).extend(zip(right[1:].tolist(), sizes[1:].tolist(), strict=True))
    clean = empty / total if total else None
    if looker.model.card.task == "objects":
        return _summarise(np.array(fits), seed, clean) if len(fits) >= LEAST else None
    enough = len(pieces) > 1 and sum(map(len, pieces.values())) >= LEAST
    return _summarise_classes(list(pieces.values()), seed) if enough else None


def fit_of(mask: NDArray[np.bool_], labels: NDArray[np.int32]) -> float:
    """The IoU of an object, a mask (*S), with the object in labels (*S) that fits it best; 0 without any."""
    numbers, common = np.unique(labels[mask & (labels > 0)], return_counts=True)
    if len(numbers) == 0:
        return 0.0
    sizes = np.array([int((labels == one).sum()) for one in numbers])
    return float((common / (int(mask.sum()) + sizes - common)).max())


def _summarise_classes(classes: Sequence[Sequence[tuple[float, float]]], seed: int) -> Score:
    """The score of classes, from the right and all pixels of their pieces; its interval if others had been held out."""
    rng, shares, resampled = np.random.default_rng(seed), [], []
    for pieces in classes:
        right, sizes = np.array(pieces).T
        drawn = rng.integers(len(pieces), size=(RESAMPLES, len(pieces)))
        shares.append(right.sum() / sizes.sum())
        resampled.append(right[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.quantile(np.mean(resampled, axis=0), (0.025, 0.975))
    number, found = sum(map(len, classes)), sum(right > MATCH * size for pieces in classes for right, size in pieces)
    return Score(float(np.mean(shares)), float(low), float(high), number, found)


def _summarise(fits: NDArray[np.float64], seed: int, clean: float | None) -> Score:
    rng = np.random.default_rng(seed)
    means = fits[rng.integers(len(fits), size=(RESAMPLES, len(fits)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Score(float(fits.mean()), float(low), float(high), len(fits), int((fits > MATCH).sum()), clean)
