"""How many steps a time budget holds."""

from __future__ import annotations

import logging
import math
import time
from statistics import median

from lightning_fabric import Fabric

from contractile.dataset import Samples
from contractile.model import ModelCard
from contractile.recipe import Recipe
from contractile.training.norms import count_batches
from contractile.training.state import begin, take_step
from contractile.training.validation import Validation

logger = logging.getLogger(__name__)

MEASURED_STEPS = 6
FEW_STEPS = 20
FORWARD = 1 / 3  # share of a step's time that the norms' statistics take for one batch


def count_steps(
    recipe: Recipe,
    fabric: Fabric,
    samples: Samples,
    validation: Validation,
    card: ModelCard,
    *,
    deadline: float,
    looks: int = 0,
) -> int:
    """How many steps fit in before `deadline` (of `time.monotonic`); at least 1.

    All validation, and `looks` more, must fit in as well.

    It takes a few real steps and validates one image, on a state that is then thrown away.
    """
    trial = begin(recipe, fabric)
    times = []
    for number in range(MEASURED_STEPS):
        begun = time.monotonic()
        take_step(trial, samples.batch(number))
        times.append(time.monotonic() - begun)
    validating = validation.measure_seconds(trial.model(card), looks=looks)
    a_step = median(times[1:])
    left = deadline - time.monotonic() - validating
    steps = int(left / a_step)
    steps = max(1, steps - math.ceil(FORWARD * count_batches(trial.network, steps)))
    logger.info("%.2f s a step, %.0f s for all validation: %d steps", a_step, validating, steps)
    if steps < FEW_STEPS:
        logger.warning(
            "only %d step(s) fit into %.3g minutes, since validation takes %.0f s and a step %.1f s: the network will "
            "learn hardly anything; give more minutes (10 is usual)%s",
            *(steps, recipe.minutes or 0, validating, a_step),
            ", or validations = 2 in a recipe" if recipe.validations > 2 else "",
        )
    return steps
