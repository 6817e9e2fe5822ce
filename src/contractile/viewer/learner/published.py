"""The models that a session published: numbered files in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contractile.model import Model, save
from contractile.viewer.learner.scoring import Score

RECENT, EVERY = 5, 10  # models that are kept: the last few, and one of so many


class Published:
    """The published models in a folder, numbered from 1."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._number = max((int(one.stem) for one in _files(folder)), default=0)
        self._best, self._kept = 0.0, set[str]()
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
            model = model.with_card(scores={"held_out": round(found.value, 4)}, provenance=provenance)
            row |= vars(found)
        save(model, self.path(self.last))
        if found is not None and found.value >= self._best:
            self._best, self._kept = found.value, {*self._kept, self.last}
        self._thin_out()
        return row

    def _thin_out(self) -> None:
        """Remove files of models, but for the last few, every tenth, and those that were the best so far."""
        for file in _files(self._folder)[:-RECENT]:
            if int(file.stem) % EVERY and file.stem not in self._kept:
                file.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    """The files of models in a folder, the first one first."""
    return sorted(file for file in folder.glob("[0-9]*.safetensors") if file.stem.isdigit())
