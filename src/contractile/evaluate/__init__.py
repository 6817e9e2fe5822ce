"""Predicted x true -> a table of scores with intervals. The same call scores validation and results.

`pairs` and `challenge` bring the files together, `measures` turns one image into terms, `keys` turns
terms added up over images into scores, `uncertainty` resamples them, `table` is the whole.
"""

from __future__ import annotations

from contractile.evaluate.keys import TITLES as TITLES
from contractile.evaluate.measures import GROUPS as GROUPS
from contractile.evaluate.measures import EvaluateConfig as EvaluateConfig
from contractile.evaluate.result import Comparison as Comparison
from contractile.evaluate.result import Difference as Difference
from contractile.evaluate.result import Evaluation as Evaluation
from contractile.evaluate.result import ImageScores as ImageScores
from contractile.evaluate.result import Score as Score
from contractile.evaluate.table import compare as compare
from contractile.evaluate.table import evaluate as evaluate
