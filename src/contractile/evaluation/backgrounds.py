"""Label files whose background is another value than 0: the other side shows which."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np

from contractile.errors import ContractileError
from contractile.evaluation.measures import Case, Task
from contractile.evaluation.pairs import Pair
from contractile.evaluation.predictions import Labels

logger = logging.getLogger(__name__)

FIRST = 3  # when so many images, the first ones, have no background 0, the set has none
MOST = 0.5  # share of the background that one value fills, and of its pixels that are background, at least
KEPT = 8  # truths without 0 that are looked at together
FIX = "contractile check IMAGES LABELS --fix DIR"


def find_stand_in(labels: Labels, other: Labels) -> int | None:
    """The value in `labels` (*S) where `other` (*S) has background 0; None where `labels` have a 0, or it is not clear.

    It fills at least half of the background of `other`, and at least half of its pixels are that.
    """
    if (labels == 0).any():
        return None
    values, counts = np.unique(labels[other == 0], return_counts=True)
    if not values.size:
        return None
    value, shared = values[counts.argmax()], counts.max()
    own = np.count_nonzero((labels == value) & (other >= 0))
    return int(value) if value > 0 and shared >= MOST * max(counts.sum(), own) else None


@dataclass
class Side:
    """The predictions, or the truths: the files without 0, and the value that each has where the other side has 0."""

    found: list[tuple[str, int]] = field(default_factory=list)
    judged: int = 0

    def look(self, where: str, labels: Labels, other: Labels) -> None:
        """Note a file if it is one of these. One of a single value, and one beside no 0, shows nothing."""
        if (other == 0).any() and (labels != labels.flat[0]).any():
            self.judged += 1
            value = find_stand_in(labels, other)
            self.found += [] if value is None else [(where, value)]

    @property
    def is_whole(self) -> bool:
        """Whether no file has a background 0."""
        return len(self.found) == self.judged > 0


@dataclass
class Backgrounds:
    """Looks at the backgrounds of a set. `given`: the caller said what the background of the predictions is."""

    task: Task
    given: bool
    _predicted: Side = field(default_factory=Side)
    _true: Side = field(default_factory=Side)
    _truths: list[tuple[str, Labels]] = field(default_factory=list)  # the first ones without 0
    _bare_truths: int = 0
    _images: int = 0

    def look(self, pair: Pair, case: Case) -> None:
        """Take one image into account. Raises as `conclude` once it is clear."""
        labels = case.prediction.labels
        self._images += 1
        if labels is not None and not self.given:
            self._predicted.look(pair.where, labels, case.truth)
        if labels is not None or self.task.kind != "classes":
            self._true.look(pair.truth_where, case.truth, case.labels)
        if not (case.truth == 0).any():
            self._bare_truths += 1
            self._truths += [(pair.truth_where, case.truth)] if len(self._truths) < KEPT else []
        if self._images == FIRST:
            self._refuse()

    def conclude(self) -> None:
        """Log a warning where some predictions have another background than 0.

        Raises ContractileError where all of one side have.
        """
        self._refuse()
        if self._predicted.found:
            where, value = self._predicted.found[0]
            more = f" and {len(self._predicted.found) - 1} more" if len(self._predicted.found) > 1 else ""
            logger.warning("%s%s: %s; %s", where, more, *self._explain(value))

    def _refuse(self) -> None:
        if self._predicted.is_whole:
            where, value = self._predicted.found[0]
            raise ContractileError(*self._explain(value), where=where)
        if self._true.is_whole:
            where, value = self._true.found[0]
            problem = f"the truth holds no 0, but {value} where the predictions have background"
            by_check = f" ({FIX} does so)" if self._find_instead() == value else ""
            raise ContractileError(problem, f"write 0 in place of {value}{by_check}", where=where)
        is_bare = self.task.kind == "objects" and self._bare_truths == self._images
        if is_bare and (instead := self._find_instead()) is not None:
            problem = f"the truth holds no 0, but {instead} where background should be"
            raise ContractileError(problem, f"write 0 in its place ({FIX} does so)", where=self._truths[0][0])

    def _explain(self, value: int) -> tuple[str, str]:
        """(problem, cure) of predictions with `value` in place of background."""
        problem = f"the prediction holds no 0, but {value} where the truth has background"
        if self.task.kind == "classes":
            return problem, "give the classes the same numbers as in the truth"
        cure = f"--background {value} (background={value}) reads {value} as background, --background 0 as an object"
        return problem, cure

    def _find_instead(self) -> int | None:
        """The value that `check` takes for background in the truths without 0; a negative one is not annotated."""
        from contractile.check.background import find_instead  # slow to load, and hardly ever needed

        found = find_instead([truth.astype(np.int32) for _, truth in self._truths]) if self._truths else None
        return found.value if found and found.value > 0 else None
