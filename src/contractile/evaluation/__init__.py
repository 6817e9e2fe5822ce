"""Predicted x true -> a table of scores with intervals. The same call scores validation and results.

`pairs` and `challenge` bring the files together, `measures` turns one image into terms, `keys` turns
terms added up over images into scores, `uncertainty` resamples them, `table` is the whole.
"""

from __future__ import annotations

from contractile.evaluation.keys import TITLES as TITLES
from contractile.evaluation.measures import GROUPS as GROUPS
from contractile.evaluation.measures import EvaluateConfig as EvaluateConfig
from contractile.evaluation.result import Comparison as Comparison
from contractile.evaluation.result import Difference as Difference
from contractile.evaluation.result import Evaluation as Evaluation
from contractile.evaluation.result import ImageScores as ImageScores
from contractile.evaluation.result import Score as Score
from contractile.evaluation.table import compare as compare
from contractile.evaluation.table import evaluate as evaluate
