"""Whether background and objects may be exchanged in the predictions of a set, or another channel is meant."""

from __future__ import annotations

import logging
import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.evaluation.measures import Case, EvaluateConfig
from contractile.evaluation.pairs import Pair
from contractile.evaluation.predictions import Labels

logger = logging.getLogger(__name__)

WHITE = 0.5  # probability above which a pixel counts as predicted
AGAINST = -0.3  # correlation of prediction and truth below which background and objects may be exchanged
AHEAD = 0.3  # by which the correlation of another channel is higher
ROUNDING = 0.02  # by which the sum of probabilities may miss 1
EXCHANGED = "%s: predicted mostly where the truth has background (correlation %.2f), as if one had them exchanged; %s"


def is_mask(labels: Labels) -> bool:
    """Whether labels (*S) hold one number at most, beside 0."""
    return bool(((labels == 0) | (labels == labels.max(initial=0))).all())


@dataclass
class Agreement:
    """How far a mask and the truth agree, on the annotated pixels of several images."""

    both: int = 0
    predicted: int = 0
    true: int = 0
    pixels: int = 0

    def add(self, mask: NDArray[np.bool_], truth: Labels) -> None:
        """Count one image: `mask` and `truth` (*S)."""
        annotated, white = truth >= 0, truth > 0
        counted: tuple[Any, ...] = (mask & white, mask & annotated, white, annotated)
        both, predicted, true, pixels = (int(np.count_nonzero(one)) for one in counted)
        self.both, self.predicted = self.both + both, self.predicted + predicted
        self.true, self.pixels = self.true + true, self.pixels + pixels

    @property
    def correlation(self) -> float:
        """Phi coefficient: 1 is the same, -1 the opposite, 0 chance, or that one of the two is all or nothing."""
        spread = self.predicted * (self.pixels - self.predicted) * self.true * (self.pixels - self.true)
        return (self.pixels * self.both - self.predicted * self.true) / math.sqrt(spread) if spread else 0.0


@dataclass
class Masks:
    """Predicted labels as one mask: whether they lie on the truth. `given`: the caller said what is background."""

    given: bool
    _agreement: Agreement = field(default_factory=Agreement)
    _where: str = ""
    _values: set[int] = field(default_factory=set)  # the largest of each image
    _are_masks: bool = True

    def look(self, pair: Pair, case: Case) -> None:
        labels = case.prediction.labels
        if labels is None or self.given:
            return
        self._where = self._where or pair.where
        self._agreement.add(labels > 0, case.truth)
        self._values |= {int(labels.max(initial=0))} - {0}
        self._are_masks = self._are_masks and is_mask(labels)

    def conclude(self) -> None:
        """Log a warning where background and objects seem to be exchanged."""
        correlation = self._agreement.correlation
        if correlation >= AGAINST:
            return
        cure = "exchange them there"
        if self._are_masks and len(self._values) == 1:
            (value,) = self._values
            cure = f"--background {value} (background={value}) reads {value} of the prediction as background"
        logger.warning(EXCHANGED, self._where, correlation, cure)


@dataclass
class Channels:
    """Predicted probabilities: which channel is that of the objects."""

    config: EvaluateConfig
    _taken: Agreement = field(default_factory=Agreement)
    _each: dict[int, Agreement] = field(default_factory=lambda: defaultdict(Agreement))
    _where: str = ""

    def look(self, pair: Pair, case: Case) -> None:
        """Take one image into account; say once which channels are taken where nobody says what they are."""
        channels = case.prediction.probabilities
        if channels is None or self.config.white is not None:
            return
        if not self._where:
            self._where = case.prediction.map_where or pair.where
            if len(channels) > 1 and not case.prediction.is_ours:
                self._say(channels)
        self._taken.add(case.white_map > WHITE, case.truth)
        for number, channel in enumerate(channels):
            self._each[number].add(channel > WHITE, case.truth)

    def _say(self, channels: NDArray[Any]) -> None:
        count = len(channels)
        usual = count == 2 and bool(np.allclose(channels.sum(axis=0), 1, atol=ROUNDING))
        rest = "channel 1" if count == 2 else f"channels 1 to {count - 1} together"
        found = f"channel 0 is taken as background, {rest} as objects"
        level = logging.INFO if usual else logging.WARNING
        logger.log(level, "%s: %s; --white N (white=N) takes channel N as objects", self._where, found)

    def conclude(self) -> None:
        """Log a warning where another channel agrees much better with the truth, or the opposite does."""
        taken = self._taken.correlation
        best = max(self._each, key=lambda number: self._each[number].correlation, default=0)
        found = self._each[best].correlation
        if found > taken + AHEAD:
            better = f"channel {best} agrees better with the truth (correlation {found:.2f} against {taken:.2f})"
            logger.warning("%s: %s; --white %d (white=%d) takes it as objects", self._where, better, best, best)
        elif taken < AGAINST:
            logger.warning(EXCHANGED, self._where, taken, "score 1 - probability if it is the prediction")
