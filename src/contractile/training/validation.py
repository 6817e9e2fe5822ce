"""How good a network is on the validation images: what the user's own `predict` and `evaluate` say of it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from contractile.dataset import Example, pasted_copies
from contractile.decode import Decoding
from contractile.engine import EngineConfig
from contractile.evaluation import EvaluateConfig, Evaluation, evaluate
from contractile.model import Model
from contractile.prediction import Predictor
from contractile.recipe import Recipe
from contractile.targets import TargetConfig, unannotated
from contractile.training.decoding import TRIED, choose_decoding

# Validation during the run looks at this many images, evenly spaced; the last one looks at all.
VALIDATED_IMAGES = 12
DECODED_IMAGES = 48  # that choose the decoding
VALIDATION_SCORES = {
    "binary": ("iou", "dice", "pixel_error", "rand_error", "v_rand", "v_info"),
    "classes": ("iou", "dice"),
    "objects": ("f1", "pq", "ap", "seg", "iou", "dice"),
}

Maps = Sequence[NDArray[np.float32]]


class Validation:
    """The validation images of a run, scored as its recipe says."""

    def __init__(self, recipe: Recipe, examples: Sequence[Example]) -> None:
        self.recipe, self.examples = recipe, list(examples)
        self.some = self.examples[:: math.ceil(len(self.examples) / VALIDATED_IMAGES)]  # looked at during the run
        self._decoded = slice(None, None, math.ceil(len(self.examples) / DECODED_IMAGES))

    def predictor(self, model: Model) -> Predictor:
        return Predictor(model, engine=EngineConfig(device=self.recipe.device, precision="float32"))

    def look(self, model: Model) -> Evaluation:
        """Scores on some of the images."""
        predictor = self.predictor(model)
        return self.score(predictor, self.some, [predictor.probabilities(example.pixels) for example in self.some])

    def score(self, predictor: Predictor, examples: Sequence[Example], maps: Maps, *, resamples: int = 0) -> Evaluation:
        """Scores of the probabilities `maps` (K, *S) that the predictor gave for `examples`."""
        targets = self.recipe.targets
        two = targets.task == "classes" and len(targets.class_values) == 2
        config = EvaluateConfig(
            dims=self.recipe.network.dims,
            classes=targets.class_values if targets.task == "classes" and not two else None,
            objects=targets.task == "objects",
            resamples=resamples,
        )
        return evaluate(
            list(maps) if two else [predictor.decode(one) for one in maps],
            [_scored_labels(example.labels, targets) for example in examples],
            names=[example.name for example in examples],
            scores=VALIDATION_SCORES["binary" if two else targets.task],
            config=config,
        )

    def choose_decoding(self, predictor: Predictor, maps: Maps) -> Decoding:
        """What does best on the images (of very many, some of them), of all of which `maps` are the probabilities.

        Where training pastes objects into images, so that they touch, it is done here, too.
        """
        recipe, examples = self.recipe, self.examples[self._decoded]
        if recipe.targets.task != "objects":
            return Decoding()
        crowded = pasted_copies(examples, recipe.targets, recipe.samples, seed=recipe.seed)
        maps = [*maps[self._decoded], *(predictor.probabilities(example.pixels) for example in crowded)]
        truths = [_scored_labels(example.labels, recipe.targets) for example in (*examples, *crowded)]
        return choose_decoding(maps, truths, score=recipe.score, dims=recipe.network.dims)

    def measure_seconds(self, model: Model) -> float:
        """How long all validation of a run will take, from that of one image: what is done once, and for each image."""
        one = self.some[:1]
        for _ in range(2):  # the first time compiles
            times = [time.monotonic()]
            predictor = self.predictor(model)
            for _ in range(2):  # the first time starts the engine
                maps = [predictor.probabilities(one[0].pixels)]
                times.append(time.monotonic())
            self.score(predictor, one, maps)
            times.append(time.monotonic())
        first, image, scoring = np.diff(times)
        looks = self.recipe.validations + 1  # the last of them at all images
        images = self.recipe.validations * len(self.some) + len(self.examples)
        decoded = len(self.examples[self._decoded]) if self.recipe.targets.task == "objects" else 0
        pasted = decoded * self.recipe.samples.pasted
        tried = TRIED * (decoded + pasted)
        return float(looks * max(0.0, first - image) + images * (image + scoring) + pasted * image + tried * scoring)


def defined_scores(evaluation: Evaluation) -> dict[str, float]:
    return {name: score.value for name, score in evaluation.summary.items() if score.value is not None}


def steering_score(recipe: Recipe) -> str:
    """The validation score that says whether a network is kept."""
    return recipe.score if recipe.targets.task == "objects" else "iou"


def _scored_labels(labels: NDArray[np.int32], targets: TargetConfig) -> NDArray[np.int32]:
    """Labels as they are scored: -1 where ignored, and two classes, whatever their values, as 0 and 1."""
    ignored = unannotated(labels, targets)
    two = len(targets.class_values) == 2
    return np.where(ignored, -1, labels == targets.class_values[1] if two else labels).astype(np.int32)
