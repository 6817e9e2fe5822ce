"""Prints of images and their labels -> which labels are turned, shifted, of another image, or fit none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from contractile.check.findings import Spot
from contractile.check.prints import TURNS, WINDOW, Print, agree

MOST = 400  # images that are compared with one another
EDGES = np.array([0.0, 0.0, 0.0, 1.0])  # what is known beforehand: outlines lie on edges
ENOUGH = 4  # with fewer images nothing more is learned
CLEARLY = 0.15  # share of the usual agreement by which something else must be better, and ...
ABSOLUTE = 0.1  # ... of an agreement, which is 1 at most
NEARBY = 0.33  # of these, for shifts: neighbouring places agree nearly as well
SMALLEST = 2  # shift in pixels of the shrunken image
GOOD = 0.5  # share of the usual agreement that what is proposed must reach
BAD = 0.3  # share of the usual agreement below which labels belong to no image of the set
TOLD = 0.3  # agreement from which on brightness tells what is labelled

Weights = NDArray[np.float64]


class Option(NamedTuple):
    """Another place for labels: what would be wrong, the agreement (4,) there, and by how much it must be better."""

    kind: str
    agreement: NDArray[np.float64]
    detail: str
    margin: float

    def lead(self, weights: Weights) -> float:
        return float(self.agreement @ weights) - self.margin


def find_misplaced(prints: Sequence[Print]) -> Iterator[Spot]:
    """Complaints about labels that do not lie where the objects of their image are."""
    weights, rows = _learn(prints)
    partners = _find_partners(prints, weights)
    usual = float(np.median(rows @ weights)) if len(prints) else 0.0
    brightness = float(np.median([one.turned[0][0] for one in prints])) if len(prints) >= ENOUGH else 0.0
    if usual < TOLD:
        return
    for one, partner in zip(prints, partners, strict=True):
        own = float(one.turned[0] @ weights)
        margin = max(CLEARLY * usual, ABSOLUTE)
        best = max(
            Option("exchanged", agree(one.image, partner.labels), partner.where, margin),
            _best_turn(one, weights, margin),
            _best_shift(one, weights, margin * NEARBY),
            key=lambda option: option.lead(weights),
        )
        better = best.lead(weights) > own and best.agreement @ weights > GOOD * usual
        negative = min(abs(brightness), abs(one.turned[0][0])) > TOLD and brightness * one.turned[0][0] < 0
        if better and not (negative and best.agreement[-1] <= one.turned[0][-1]):
            yield Spot(best.kind, one.where, best.detail)
        elif negative:  # while its edges lie where they should
            yield Spot("contrast", one.where, "dark" if brightness > 0 else "bright")
        elif len(prints) >= ENOUGH and own < BAD * usual:
            yield Spot("no fit", one.where, f"{max(0.0, own / usual):.0%}")


def _learn(prints: Sequence[Print]) -> tuple[Weights, NDArray[np.float64]]:
    """How labels go together with brightness and edges in this set, and the agreements (n, 4) that show it.

    Each image counts as it is where its outlines fit best, wherever that is: all labels of a set may be misplaced.
    """
    partners = _find_partners(prints, EDGES)
    rows = np.zeros((len(prints), 4))
    for place, (one, partner) in enumerate(zip(prints, partners, strict=True)):
        options = np.concatenate([one.turned, one.shifted.reshape(4, -1).T, agree(one.image, partner.labels)[None]])
        rows[place] = options[np.nanargmax(options @ EDGES)]
    weights = np.median(rows, axis=0) if len(rows) else EDGES
    length = float(np.linalg.norm(weights))
    return (weights / length if len(rows) >= ENOUGH and length > TOLD else EDGES), rows


def _find_partners(prints: Sequence[Print], weights: Weights) -> list[Print]:
    """For each image the print with the labels that fit it: its own, unless exchanging some fits better in sum."""
    partners = list(prints)
    for shape in {one.shape for one in prints}:
        places = [place for place, one in enumerate(prints) if one.shape == shape][:MOST]
        images = np.stack([np.tensordot(weights.reshape(2, 2), prints[p].image, (0, 0)).ravel() for p in places])
        labels = np.stack([prints[p].labels.ravel() for p in places])
        scores = images @ labels.T
        new = optimize.linear_sum_assignment(-scores)[1]
        gains = scores[range(len(new)), new] - scores.diagonal()
        for place in np.flatnonzero((gains > 0) & (gains[np.argsort(new)] > 0)):  # and who gets its labels gains, too
            partners[places[place]] = prints[places[new[place]]]
    return partners


def _best_turn(one: Print, weights: Weights, margin: float) -> Option:
    best = 1 + int(np.nanargmax(one.turned[1:] @ weights))
    return Option("turned", one.turned[best], list(TURNS)[best], margin)


def _best_shift(one: Print, weights: Weights, margin: float) -> Option:
    """The best place at a distance, as rows and columns."""
    scores = np.tensordot(weights, one.shifted, 1)
    near = slice(WINDOW - SMALLEST + 1, WINDOW + SMALLEST)
    scores[near, near] = -np.inf
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    detail = f"{one.step * (int(y) - WINDOW):+d} rows, {one.step * (int(x) - WINDOW):+d} columns"
    return Option("shifted", one.shifted[:, y, x], detail, margin)
