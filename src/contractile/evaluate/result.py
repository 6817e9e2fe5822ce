"""What an evaluation says: frozen values, ready for JSON."""

from __future__ import annotations

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
        """JSON text; undefined scores are null and carry their reason."""
        return self.model_dump_json(indent=2)


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
        """JSON text; undefined values are null and carry their reason."""
        return self.model_dump_json(indent=2)
