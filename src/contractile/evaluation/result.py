"""What an evaluation says: frozen values, ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Score(BaseModel):
    """One score. `value` is None where it is undefined, and `reason` says why.

    `low` and `high` bound the 95 % bootstrap interval over images (None for fewer than two images).
    `detail` holds what stands behind the number: rule, best threshold, counts, curves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


def _flat(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Scores as {key: number or null}, with what stands behind them in tables of the same keys."""
    return {
        **{key: score.value for key, score in scores.items()},
        "reasons": {key: score.reason for key, score in scores.items() if score.reason is not None},
        "intervals": {key: [score.low, score.high] for key, score in scores.items() if score.low is not None},
        "details": {key: score.detail for key, score in scores.items() if score.detail},
    }


class ImageScores(BaseModel):
    """The scores of one image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    scores: dict[str, Score]


class Evaluation(BaseModel):
    """Scores of a set of images: `summary` for the set, `images` one by one in order of name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: dict[str, Score]
    images: list[ImageScores]

    def to_json(self) -> str:
        """JSON text: each score's key with its number (null where undefined), then `reasons`, `intervals`
        (95 %), `details`, and the same for each of the `images`."""
        return json.dumps(self._as_table(), indent=2, allow_nan=False)

    def _as_table(self) -> dict[str, Any]:
        images = [{"name": image.name, **_flat(image.scores)} for image in self.images]
        return {**_flat(self.summary), "images": images}


class Difference(BaseModel):
    """One score of two predictions of the same images: `first` - `second` is `value`.

    `p_value` is that of the paired permutation test, `low` and `high` the 95 % paired bootstrap interval.
    `better` names the better prediction ("first", "second"), None when they score the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    first: float | None
    second: float | None
    value: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    better: str | None = None
    reason: str | None = None


class Comparison(BaseModel):
    """Two predictions of the same images against one truth."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first: Evaluation
    second: Evaluation
    differences: dict[str, Difference]

    def to_json(self) -> str:
        """JSON text: `first` and `second` as an evaluation's, and the `differences` by key."""
        table = {
            "first": self.first._as_table(),
            "second": self.second._as_table(),
            "differences": {key: difference.model_dump() for key, difference in self.differences.items()},
        }
        return json.dumps(table, indent=2, allow_nan=False)
