"""Predicted x true -> a table of scores with intervals. The same call scores validation and results."""

from __future__ import annotations

from contractile.evaluate.groups import GROUPS, EvaluateConfig
from contractile.evaluate.result import Comparison, Difference, Evaluation, ImageScores, Score
from contractile.evaluate.table import evaluate

__all__ = [
    "GROUPS",
    "Comparison",
    "Difference",
    "EvaluateConfig",
    "Evaluation",
    "ImageScores",
    "Score",
    "evaluate",
]
