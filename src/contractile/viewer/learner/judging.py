"""How a model does on images whose truth is known, such as those that a run was validated on: the worst first."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from contractile.evaluation import EvaluateConfig, evaluate
from contractile.images import Source, read_labels
from contractile.viewer.learner.doubting import Doubt
from contractile.viewer.learner.looking import Looker, enough


class Judge:
    """Compares one image after another with its truth, and keeps what it found."""

    def __init__(self, truths: Sequence[tuple[int, Source]], shape_of: Callable[[int], Sequence[int]]) -> None:
        """`truths` are images by number and their labels. `shape_of(image)` is (Y, X)."""
        self._waiting, self._shape_of = list(truths), shape_of
        self._found: list[Doubt] = []

    @property
    def is_done(self) -> bool:
        """Whether all images were compared."""
        return not self._waiting

    def look(self, looker: Looker) -> None:
        """Compare the next image; of a huge one, its middle. Raises ContractileError where it cannot be read."""
        number, source = self._waiting.pop(0)
        height, width = self._shape_of(number)
        region = enough((slice(0, height), slice(0, width)), (height, width))
        value, words = _compare(looker.look(number, region).labels, read_labels(source)[region], looker.model.card.task)
        self._found.append(Doubt(number, region, 1 - value, f"{words} beside the truth"))

    def worst(self, most: int) -> list[Doubt]:
        """The images, the worst first."""
        return sorted(self._found, key=lambda one: -one.value)[:most]


def _compare(labels: NDArray[np.int32], truth: NDArray[np.int32], task: str) -> tuple[float, str]:
    """A score from 0 to 1, and its words: AP at IoU 0.5 of objects, the mean Dice of classes."""
    objects = task == "objects"
    name, words = ("ap", "AP at 0.5 is") if objects else ("dice", "Dice is")
    config = EvaluateConfig(objects=objects, resamples=0)
    value = evaluate([labels], [truth], scores=(name,), config=config).summary[name].value
    value = 1.0 if value is None else float(value)  # nothing is there, and nothing was found
    return value, f"{words} {value:.2f}"
