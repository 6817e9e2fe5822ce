"""What the files of a set may mean other than they were taken for. The truth shows it, and it is said once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.evaluation.agreement import Channels, Masks, is_mask
from contractile.evaluation.backgrounds import Backgrounds
from contractile.evaluation.measures import Case, EvaluateConfig, Task
from contractile.evaluation.pairs import Pair
from contractile.images.names import some
from contractile.labels import connected, find_mark

logger = logging.getLogger(__name__)


class Doubt(Protocol):
    """Looks at the images of a set one by one, and says at the end what is doubtful."""

    def look(self, pair: Pair, case: Case) -> None:
        """Take one image into account."""

    def conclude(self) -> None:
        """Log a warning, or raise ContractileError where scores would mean nothing."""


def doubts_of(task: Task, config: EvaluateConfig, *, again: bool = False) -> list[Doubt]:
    """What to look for in a set with this task. `again`: its truth was looked at before."""
    given = config.background is not None
    common: list[Doubt] = [Unannotated(), Backgrounds(task, given)]
    if config.ignore_label is None and not again:
        common.append(Marked(config))
    if task.kind == "classes":
        return common + ([Strangers(task)] if config.classes is None else [])
    return [*common, Masks(given), Channels(config)] + ([OneNumber()] if task.kind == "objects" else [])


@dataclass
class Unannotated:
    """Truths of which no pixel is annotated."""

    _wheres: list[str] = field(default_factory=list)
    _images: int = 0

    def look(self, pair: Pair, case: Case) -> None:
        self._images += 1
        if case.truth.max(initial=-1) < 0:
            self._wheres.append(pair.truth_where)

    def conclude(self) -> None:
        """Raise ContractileError where this is all of them."""
        if len(self._wheres) == self._images:
            problem = "every pixel of the truth is negative, which means not annotated: there is nothing to score"
            raise ContractileError(problem, "give annotations, in which 0 is background", where=self._wheres[0])


@dataclass
class Marked:
    """Truths with a number that looks like a mark of what is not annotated (`labels.find_mark`)."""

    config: EvaluateConfig
    _values: list[NDArray[Any]] = field(default_factory=list)
    _wheres: list[str] = field(default_factory=list)

    def look(self, pair: Pair, case: Case) -> None:
        self._values.append(np.unique(case.truth))
        self._wheres.append(pair.truth_where)

    def conclude(self) -> None:
        """Log a warning where there is such a number, and nobody said that it is a class."""
        mark = find_mark(self._values)
        if mark is None or mark in (self.config.classes or ()):
            return
        wheres = [where for where, values in zip(self._wheres, self._values, strict=True) if mark in values]
        problem = f"the truth holds {mark}, far above all its other numbers, and it counts like the others"
        cure = f"if it means not annotated, give --ignore-label {mark} (ignore_label={mark})"
        logger.warning("%s: %s; %s", some(wheres), problem, cure)


@dataclass
class Strangers:
    """Predicted numbers that are no class of the truth."""

    task: Task
    _where: str = ""
    _found: list[int] = field(default_factory=list)

    def look(self, pair: Pair, case: Case) -> None:
        """Keep those of the first file that holds some."""
        if case.prediction.labels is not None and not self._found:
            self._where = pair.where
            self._found = sorted(set(np.unique(case.prediction.labels).tolist()) - set(self.task.values))

    def conclude(self) -> None:
        """Log a warning where there are some."""
        if self._found:
            found, classes = (some([str(value) for value in values]) for values in (self._found, self.task.values))
            problem = f"holds {found}, but the classes of the truth are {classes}: these pixels count as wrong"
            logger.warning("%s: %s; give the classes the same numbers in both", self._where, problem)


@dataclass
class OneNumber:
    """Masks where objects are asked for: all objects of an image have one number."""

    _where: str = ""
    _numbered: bool = False

    def look(self, pair: Pair, case: Case) -> None:
        labels = case.prediction.labels
        if labels is None or self._numbered:
            return
        self._numbered = not is_mask(labels)
        if not (self._where or self._numbered) and len(np.unique(case.truth[case.truth > 0])) > 1:
            self._where = pair.where if connected(labels > 0).max(initial=0) > 1 else ""

    def conclude(self) -> None:
        """Log a warning where no image has more numbers than one."""
        if self._where and not self._numbered:
            found = "all objects have one number, so that they count as one object"
            logger.warning("%s: %s; give each object a number of its own", self._where, found)
