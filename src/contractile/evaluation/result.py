"""The result of an evaluation: frozen values, ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Score(BaseModel):
    """One measured score. `value` is None where it is undefined, and `reason` says why.

    `low` and `high` are the ends of the 95 % bootstrap interval over images (None for fewer than two images). `detail`
    holds what is behind the number: rule, best threshold, counts, curves.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


def _flat(scores: Mapping[str, Score]) -> dict[str, Any]:
    """Scores as {name: number or null}, and their reasons, intervals and details in tables by the same names."""
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
    """Scores of a set of images: `summary` holds those of the set, `images` those of each image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    summary: dict[str, Score]
    images: list[ImageScores]

    def to_json(self) -> str:
        """JSON text: each score's name with its number (null where undefined), then `reasons`, `intervals` (95 %) and
        `details`, and the same for each of the `images`."""
        return json.dumps(self._as_table(), indent=2, allow_nan=False)

    def _as_table(self) -> dict[str, Any]:
        images = [{"name": image.name, **_flat(image.scores)} for image in self.images]
        return {**_flat(self.summary), "images": images}


class Difference(BaseModel):
    """One score of two predictions of the same images; `value` is `first` - `second`.

    `p_value` is that of the paired permutation test; `low` and `high` are the ends of the 95 % paired bootstrap
    interval. `better` is "first" or "second", or None where the two score the same.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    first: float | None = None
    second: float | None = None
    value: float | None = None
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
        """JSON text: `first` and `second` as in `Evaluation.to_json`, and the `differences` by name of the score."""
        table = {
            "first": self.first._as_table(),
            "second": self.second._as_table(),
            "differences": {key: difference.model_dump() for key, difference in self.differences.items()},
        }
        return json.dumps(table, indent=2, allow_nan=False)
