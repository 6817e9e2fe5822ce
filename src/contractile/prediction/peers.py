"""What other tools do at the borders of tiles, so that `seams` can measure what it costs.

A window is a tile that knows nothing beyond its own border: there are zeros (those of the padding, in a padded network)
or the window mirrored. Windows lie side by side or overlap; where they overlap, class scores are averaged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contractile.prediction.tilings import Floats, Part, Region, Watched

Border = Literal["zeros", "mirror"]
Weights = Literal["equal", "gaussian"]

SIGMA = 1 / 8  # of the Gaussian weights, in sides of a window: what MONAI and nnU-Net take
LEAST = 1e-3  # of the largest weight
SMALLEST = np.finfo(np.float32).tiny  # its logarithm is finite


class Habit(NamedTuple):
    """How windows are laid and joined: `overlap` is the part of its side that a window shares with the next one."""

    border: Border
    overlap: float
    weights: tuple[Weights, ...]

    def titles(self) -> list[str]:
        """The name of each result, one for each kind of weights."""
        beyond = "zeros" if self.border == "zeros" else "mirrored"
        if self.overlap == 0:
            return [f"{beyond}, no overlap"]
        means = ["mean" if kind == "equal" else "Gaussian" for kind in self.weights]
        return [f"{beyond}, {self.overlap:.0%} overlap, {mean}" for mean in means]


BOTH: tuple[Weights, ...] = ("equal", "gaussian")
SIDE_BY_SIDE, OVERLAPS = Habit("zeros", 0, ("equal",)), (0.25, 0.5)


def habits(dims: int) -> list[Habit]:
    """What is measured. In volumes mirrored windows do not overlap: there would be too many of them."""
    found = [SIDE_BY_SIDE, *(Habit("zeros", overlap, BOTH) for overlap in OVERLAPS)]
    mirrored = [one._replace(border="mirror") for one in found]
    return found + (mirrored if dims == 2 else mirrored[:1])


def side_of(part: Part, border: Border) -> tuple[int, ...]:
    """The window (*T) for which the network sees as many pixels as in a tile of ours."""
    own = border == "zeros" and part.config.padding == "same"
    return part.tile if own else part.core


def lay(part: Part, habit: Habit) -> list[Region]:
    """The windows that see a part and the margin around it.

    All begin on the pooling grid, which other tools do not see to: what is measured is the cost of their borders alone.
    """
    sides = zip(part.size, side_of(part, habit.border), part.config.margin, part.config.stride, strict=True)
    axes = []
    for n, side, rim, stride in sides:
        step = max(1, int(side * (1 - habit.overlap)) // stride) * stride
        first = -math.ceil(rim / stride) * stride
        axes.append([slice(start, start + side) for start in range(first, max(n + rim - side, first) + step, step)])
    windows = list(itertools.product(*axes))
    return [window for window in windows if all(side.start < side.stop for side in part.overlap(window)[0])]


def look(network: Watched, window: Floats, border: Border) -> Floats:
    """Probabilities (K, *T) of a window (C, *T) that knows nothing beyond its border."""
    config = network.config
    if border == "zeros" and config.padding == "same":
        return np.asarray(network(window[None])[0])
    rims = [(0, 0), *((rim, rim) for rim in config.margin)]
    padded = np.pad(window, rims, mode="reflect" if border == "mirror" else "constant")
    kept: tuple[Any, ...] = (0, slice(None), *config.kept(padded.shape[1:]))
    return np.asarray(network(padded[None])[kept])


def join(network: Watched, part: Part, habit: Habit) -> list[Floats]:
    """Probabilities (K, *S) of a part, once for each kind of weights: from the mean scores of the windows."""
    sums = [np.zeros((), np.float32)] * len(habit.weights)
    totals = [np.zeros(part.size, np.float32) for _ in habit.weights]
    for window in lay(part, habit):
        there, here = part.overlap(window)
        maps = look(network, part.read(window), habit.border)[(slice(None), *here)]
        scores = np.log(np.maximum(maps, SMALLEST))  # up to a number for each pixel, which the soft-max removes
        for n, kind in enumerate(habit.weights):
            weights = _weigh([side.stop - side.start for side in window], kind)[here]
            sums[n] = sums[n] if sums[n].ndim else np.zeros((len(maps), *part.size), np.float32)
            sums[n][(slice(None), *there)] += weights * scores
            totals[n][there] += weights
    return [_softmax(scores / total) for scores, total in zip(sums, totals, strict=True)]


def _weigh(shape: Sequence[int], kind: Weights) -> Floats:
    """The weight (*T) of each pixel of a window."""
    weights = np.ones(shape, np.float32)
    if kind == "equal":
        return weights
    for axis, side in enumerate(shape):
        far = (np.arange(side) - (side - 1) / 2) / (SIGMA * side)
        along = [side if other == axis else 1 for other in range(len(shape))]
        weights *= np.exp(-(far**2) / 2).astype(np.float32).reshape(along)
    return np.asarray(np.maximum(weights, np.float32(LEAST) * weights.max()))


def _softmax(scores: Floats) -> Floats:
    raised: NDArray[np.float32] = np.exp(scores - scores.max(axis=0))
    return np.asarray(raised / raised.sum(axis=0))
