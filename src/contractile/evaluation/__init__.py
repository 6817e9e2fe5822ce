"""Predicted x true -> a table of scores with intervals. Training scores its validation images with the same call.

`pairs` and `challenge` find the files that belong together, `measures` turns one image into terms, `sets` all of them,
`table` adds them up and turns them into the scores that `contractile.metrics` describes, `uncertainty` resamples the
images.
"""

from __future__ import annotations

from contractile.evaluation.measures import EvaluateConfig as EvaluateConfig
from contractile.evaluation.result import Comparison as Comparison
from contractile.evaluation.result import Difference as Difference
from contractile.evaluation.result import Evaluation as Evaluation
from contractile.evaluation.result import ImageScores as ImageScores
from contractile.evaluation.result import Score as Score
from contractile.evaluation.table import compare as compare
from contractile.evaluation.table import evaluate as evaluate
