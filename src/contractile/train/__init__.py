"""Training: examples -> samples -> loss -> model file. `train` reads files, `fit` takes examples in memory."""

from __future__ import annotations

from contractile.train.folder import RECIPE_FILE as RECIPE_FILE
from contractile.train.loop import Progress as Progress
from contractile.train.loop import Status as Status
from contractile.train.loop import fit as fit
from contractile.train.loop import train as train
from contractile.train.optimizer import learning_rate as learning_rate
from contractile.train.trainer import Run as Run
from contractile.train.validation import VALIDATED_IMAGES as VALIDATED_IMAGES
from contractile.train.validation import VALIDATION_SCORES as VALIDATION_SCORES
from contractile.train.validation import steering_score as steering_score
