"""The models that a session published: numbered files in one folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.model import Model, read_card, save
from contractile.viewer.learner.scoring import Score

SCORE = "held_out"  # of a card: the score on what is held out
RECENT, EVERY = 5, 10  # models that are kept: the last few, and one of so many


class Published:
    """The published models in a folder, numbered from 1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._number = max((int(one.stem) for one in _files(folder)), default=0)
        self._best, self._kept = 0.0, set[str]()
        for file in _files(folder):
            with suppress(ContractileError):  # a damaged file is as if it was not there
                self._keep_if_best(file.stem, read_card(file).scores.get(SCORE))
        self.last: str | None = f"{self._number:04d}" if self._number else None

    def path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"

    def add(self, model: Model, found: Score | None, *, seconds: float, steps: int) -> dict[str, Any]:
        """Write a model, whose card says how it was scored. Returns the row of the table of scores."""
        self._number += 1
        self.last = f"{self._number:04d}"
        row = {"model": self.last, "seconds": round(seconds, 1), "steps": steps}
        if found is not None:
            how = f"{found.number} held-out annotations, 95 % interval {found.low:.2f} to {found.high:.2f}"
            provenance = {**model.card.provenance, "scored_on": how}
            model = model.with_card(scores={SCORE: round(found.value, 4)}, provenance=provenance)
            row |= vars(found)
        save(model, self.path(self.last))
        self._keep_if_best(self.last, model.card.scores.get(SCORE))
        self._thin_out()
        return row

    def _keep_if_best(self, name: str, value: float | None) -> None:
        if value is not None and value >= self._best:
            self._best, self._kept = value, {*self._kept, name}

    def _thin_out(self) -> None:
        """Remove files of models, but for the last few, every tenth, and those that were the best so far."""
        for file in _files(self._folder)[:-RECENT]:
            if int(file.stem) % EVERY and file.stem not in self._kept:
                file.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    """The files of models in a folder, the first one first."""
    return sorted(file for file in folder.glob("[0-9]*.safetensors") if file.stem.isdigit())
