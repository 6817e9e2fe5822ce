"""Training: examples -> samples -> loss -> model file. `train` reads files, `fit` takes examples in memory."""

from __future__ import annotations

from contractile.training.calls import fit as fit
from contractile.training.calls import train as train
from contractile.training.folder import RECIPE_FILE as RECIPE_FILE
from contractile.training.loop import Progress as Progress
from contractile.training.loop import Run as Run
from contractile.training.loop import Status as Status
from contractile.training.optimizer import learning_rate as learning_rate
from contractile.training.validation import VALIDATED_IMAGES as VALIDATED_IMAGES
from contractile.training.validation import VALIDATION_SCORES as VALIDATION_SCORES
from contractile.training.validation import steering_score as steering_score
