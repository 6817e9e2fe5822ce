"""How good a network is on the validation images, by the same prediction and scores that users call."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from contractile.dataset import Example, find_annotated, pasted_copies
from contractile.decode import Decoding
from contractile.engine import EngineConfig
from contractile.errors import ContractileError
from contractile.evaluation import EvaluateConfig, Evaluation, evaluate
from contractile.labels import connected, object_sizes
from contractile.model import Model
from contractile.prediction import Predictor
from contractile.recipe import Recipe
from contractile.targets import TargetConfig, unannotated
from contractile.training.decoding import EVIDENCE, MOST_TRIED, choose_decoding, first_decoding
from contractile.training.quality import learn_calibration, learn_confidence

VALIDATED_IMAGES = 12  # annotated images, evenly spaced, that are scored during the run; after the last step all are
DECODED_IMAGES = 48  # annotated images, evenly spaced, that choose the decoding
CHANCE = 0.01  # scores of many objects differ by this much by chance (docs/log.md)
VALIDATION_SCORES = {
    "binary": ("iou", "dice", "pixel_error", "rand_error", "v_rand", "v_info"),
    "classes": ("iou", "dice"),
    "objects": ("f1", "pq", "ap", "seg", "iou", "dice"),
}

Maps = Sequence[NDArray[np.float32]]


def steering_score(recipe: Recipe) -> str:
    """The name of the validation score that decides which network is kept."""
    return recipe.score if recipe.targets.task == "objects" else "iou"


class Validation:
    """The validation images of a run, and how its recipe has them scored.

    The objects of `known` images, which the network learns from, tell how large objects are. `first` is the decoding
    until validation images have chosen a better one. Raises ContractileError where nothing in them is annotated.
    """

    def __init__(self, recipe: Recipe, examples: Sequence[Example], known: Sequence[Example] = ()) -> None:
        self.recipe, self.examples = recipe, list(examples)
        numbers = find_annotated(examples, recipe.targets)
        if not numbers:
            found = f"only ignored ones in {len(examples)} image(s)" if examples else "no image"
            problem = f"validation images must hold annotated pixels, got {found}"
            raise ContractileError(problem, "give at least one annotated image to validate on")
        _check_classes(examples, recipe.targets)
        annotated = (_scored_labels(one.labels, recipe.targets) for one in (*known, *examples))
        self.first = first_decoding(annotated) if recipe.targets.task == "objects" else Decoding()
        self._some = [self.examples[n] for n in _spaced(numbers, VALIDATED_IMAGES)]
        self._decoded = _spaced(numbers, DECODED_IMAGES)

    @cached_property
    def chance(self) -> float:
        """How much two scores of `look` may differ by chance: by nearly one object, where few objects are scored.

        For classes, a connected piece counts as an object.
        """
        truths = [_scored_labels(one.labels, self.recipe.targets) for one in self._some]
        if self.recipe.targets.task == "objects":
            number = len(object_sizes(truths))
        else:
            number = sum(int(connected(one == value).max()) for one in truths for value in np.unique(one[one > 0]))
        return max(CHANCE, EVIDENCE / max(1, number))

    def look(self, model: Model) -> dict[str, float]:
        """Scores of a model on some of the images; only those that are defined."""
        return defined_scores(self._score(model, self._some, self.predict(model, self._some)))

    def conclude(self, model: Model, maps: Maps | None = None) -> tuple[Model, Evaluation]:
        """The model with the decoding that suits it best, its confidence and scores; and its scores on all images.

        `maps` (K, *S) are the probabilities of each image, where networks that did not learn from it gave them.
        """
        given = maps is not None
        maps = self.predict(model, self.examples) if maps is None else maps
        decoding = self._choose_decoding(model, maps, copies=not given)
        model = model.with_card(decoding=decoding)
        truths = [_scored_labels(example.labels, self.recipe.targets) for example in self.examples]
        learned = learn_confidence(model.card, maps, truths), learn_calibration(model.card, maps, truths)
        model = model.with_card(confidence=learned[0], calibration=learned[1])
        found = self._score(model, self.examples, maps, resamples=EvaluateConfig().resamples)
        return model.with_card(scores=defined_scores(found)), found

    def measure_seconds(self, model: Model, *, looks: int = 0) -> float:
        """How long all validation of a run, and `looks` more, will take.

        One image is validated, and the times are added up for all.
        """
        one = self._some[:1]
        for _ in range(2):  # the first time compiles
            predictor, times = self._predictor(model), [time.monotonic()]
            for _ in range(2):  # the first time places the network
                maps = [np.asarray(predictor.probabilities(one[0].pixels))]
                times.append(time.monotonic())
            self._score(model, one, maps)
            times.append(time.monotonic())
        first, image, scoring = np.diff(times)
        looks += self.recipe.validations
        images = looks * len(self._some) + len(self.examples)
        decoded = len(self._decoded) if self.recipe.targets.task == "objects" else 0
        pasted = decoded * self.recipe.samples.pasted
        tried = MOST_TRIED * (decoded + pasted)
        return float(
            (looks + 1) * max(0.0, first - image) + images * (image + scoring) + pasted * image + tried * scoring
        )

    def _predictor(self, model: Model) -> Predictor:
        return Predictor(model, engine=EngineConfig(device=self.recipe.device, backend="torch", precision="float32"))

    def predict(self, model: Model, examples: Sequence[Example]) -> Maps:
        """Probabilities (K, *S) of each image."""
        predictor = self._predictor(model)
        return [np.asarray(predictor.probabilities(example.pixels)) for example in examples]

    def _score(self, model: Model, examples: Sequence[Example], maps: Maps, *, resamples: int = 0) -> Evaluation:
        """Scores of the probabilities that a model gave for `examples`."""
        targets, predictor = self.recipe.targets, self._predictor(model)
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

    def _choose_decoding(self, model: Model, maps: Maps, *, copies: bool) -> Decoding:
        """The best decoding for (at most 48 of) the images, of which `maps` are the probabilities.

        Where training pastes objects into images, so that they touch, `copies` with pasted objects count, too.
        """
        recipe, examples = self.recipe, [self.examples[n] for n in self._decoded]
        if recipe.targets.task != "objects":
            return Decoding()
        crowded = pasted_copies(examples, recipe.targets, recipe.samples, seed=recipe.seed) if copies else []
        maps = [*(maps[n] for n in self._decoded), *self.predict(model, crowded)]
        truths = [_scored_labels(example.labels, recipe.targets) for example in (*examples, *crowded)]
        objects = len(object_sizes(truths[: len(examples)]))  # pasted ones are copies of these
        least, dims = EVIDENCE / max(1, objects), recipe.network.dims
        return choose_decoding(maps, truths, score=recipe.score, dims=dims, first=self.first, least=least)


def _spaced(numbers: Sequence[int], most: int) -> Sequence[int]:
    """At most so many of the numbers, evenly spaced."""
    return numbers[:: math.ceil(len(numbers) / most)]


def _check_classes(examples: Sequence[Example], targets: TargetConfig) -> None:
    """Raise ContractileError where validation images have classes that are not learned."""
    for one in examples if targets.task == "classes" else ():
        found = set(np.unique(one.labels[~unannotated(one.labels, targets)]).tolist())
        if more := sorted(found - set(targets.class_values)):
            problem = f"validation labels hold the value {more[0]}, which is none of {targets.class_values}"
            raise ContractileError(problem, "correct them, or annotate this class in training images", where=one.name)


def defined_scores(evaluation: Evaluation) -> dict[str, float]:
    return {name: score.value for name, score in evaluation.summary.items() if score.value is not None}


def _scored_labels(labels: NDArray[np.int32], targets: TargetConfig) -> NDArray[np.int32]:
    """Labels as they are scored: -1 where ignored, and two classes, whatever their values, as 0 and 1."""
    ignored = unannotated(labels, targets)
    two = len(targets.class_values) == 2
    return np.where(ignored, -1, labels == targets.class_values[1] if two else labels).astype(np.int32)
