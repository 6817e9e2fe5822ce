"""The moving parts of a run: network, optimiser, samples, validation, state."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from numpy.typing import NDArray

from contractile.dataset import Batch, Example, Samples
from contractile.engine import EngineConfig, find_device, keep_freed_memory, native_precision
from contractile.evaluate import EvaluateConfig, Evaluation, evaluate
from contractile.images import replacing
from contractile.instances import Decoding, typical_diameter
from contractile.loss import combined
from contractile.model import Model, ModelCard, load, save
from contractile.predict import Predictor
from contractile.recipe import OptimizerConfig, Recipe
from contractile.targets import TargetConfig, unannotated
from contractile.train.decoding import choose_decoding
from contractile.train.folder import (
    HISTORY_FILE,
    MODEL_FILE,
    RECIPE_FILE,
    STATE_FILE,
    check_data,
    trace_provenance,
    write_history,
)
from contractile.unet import UNet, fold

logger = logging.getLogger(__name__)

MEASURED_STEPS = 6
# Validation during the run looks at this many images, evenly spaced; the last one looks at all.
VALIDATED_IMAGES = 12
CALIBRATED_IMAGES = 8  # show int8 what activations to expect
VALIDATION_SCORES = {
    "binary": ("iou", "dice", "pixel_error", "rand_error", "v_rand", "v_info"),
    "classes": ("iou", "dice"),
    "objects": ("f1", "pq", "ap", "seg", "iou", "dice"),
}


@dataclass(frozen=True)
class Run:
    """A finished run: folder, recipe, best model, and that model's scores on the validation images."""

    folder: Path
    recipe: Recipe
    model: Model
    evaluation: Evaluation
    history: list[dict[str, float]]
    validation: list[Example]


class Trainer:
    """One run, step by step; `train` and `fit` call the tune."""

    def __init__(
        self, recipe: Recipe, training: Sequence[Example], validation: Sequence[Example], folder: Path
    ) -> None:
        self.recipe, self.folder = recipe, folder
        self.validation = list(validation)
        self.calibration = training[:: math.ceil(len(training) / CALIBRATED_IMAGES)]
        keep_freed_memory()
        self.fabric = _make_fabric(recipe, folder)
        torch.manual_seed(recipe.seed)
        self.network = UNet(recipe.network)
        if recipe.network.dims == 2 and recipe.network.symmetry == "none":  # tied kernels see to it themselves
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = _make_optimizer(self.network, recipe.optimizer)
        self._class_scores, self.optimizer = self.fabric.setup(_ClassScores(self.network), optimizer)
        self._diameter = typical_diameter([e.labels for e in training]) if recipe.targets.task == "objects" else 0.0
        self.samples = Samples(training, recipe.targets, recipe.samples, seed=recipe.seed)
        self.provenance = trace_provenance([*training, *validation], recipe)
        self.step = 0
        self.best: float | None = None
        self.history: list[dict[str, float]] = []
        self.seconds_before = 0.0  # of an interrupted run

    @property
    def latest_loss(self) -> float:
        return next((row["loss"] for row in reversed(self.history) if "loss" in row), math.nan)

    def measure_steps(self, seconds: float, started: float) -> int:
        """How many steps the time budget holds, at the speed of a few real steps that are then undone."""
        if (self.folder / STATE_FILE).is_file():
            raise ValueError(f"recipe of {self.folder} must name its steps to be resumed, got none; train anew")
        before = copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))
        times = []
        for step in range(MEASURED_STEPS):
            begun = time.monotonic()
            self.take_step(self.samples.batch(step))
            times.append(time.monotonic() - begun)
        begun = time.monotonic()
        self._evaluate(self._some_validation()[:1])  # compiles what scores need
        one = time.monotonic()
        self._evaluate(self._some_validation()[:1])
        per_image = time.monotonic() - one
        images = (self.recipe.validations - 1) * len(self._some_validation()) + 2 * len(self.validation)
        self.network.load_state_dict(before[0])
        self.optimizer.load_state_dict(before[1])
        self.step = 0
        left = seconds - (time.monotonic() - started) - images * per_image
        steps = max(1, int(left / median(times[1:])))
        logger.info("%.2f s a step, %.1f s a validation image: %d steps", median(times[1:]), per_image, steps)
        return steps

    def begin(self, steps: int) -> None:
        """Write the recipe, or take up the last state of an interrupted run."""
        self.recipe = self.recipe.model_copy(update={"steps": steps})
        torch.manual_seed(self.recipe.seed)
        if (self.folder / STATE_FILE).is_file():
            state = torch.load(self.folder / STATE_FILE, map_location="cpu", weights_only=True)
            check_data(self.provenance["data_sha256"], began_with=state["data"])
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            self.step, self.best, self.history = state["step"], state["best"], state["history"]
            self.seconds_before = max((row.get("seconds", 0.0) for row in self.history), default=0.0)
        with replacing(self.folder / RECIPE_FILE) as path:
            path.write_text(self.recipe.to_toml(), encoding="utf-8")
        if self.step == 0 and self.fabric.is_global_zero:
            self._save_state()  # so that a run stopped before its first validation can be resumed, too

    def take_step(self, batch: Batch) -> float:
        """One optimiser step; returns the loss."""
        self._class_scores.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.recipe.steps or 0, self.recipe.optimizer)
        image, classes, weight = (self.fabric.to_device(part) for part in (batch.image, batch.classes, batch.weight))
        depth = None if batch.depth is None else self.fabric.to_device(batch.depth)
        if image.ndim == 4:
            image = image.contiguous(memory_format=torch.channels_last)
        scores = self._class_scores(image)  # (B, C, *tile) -> (B, K, *core)
        loss = combined(scores.float(), classes, weight=weight, depth=depth, config=self.recipe.loss)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.step += 1
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(
                f"loss must stay a number, got {value} at step {self.step}; lower optimizer.learning_rate "
                f"(now {self.recipe.optimizer.learning_rate}) in the recipe"
            )
        return value

    def record(self, loss: float, seconds: float) -> None:
        rate = learning_rate(self.step - 1, self.recipe.steps or 0, self.recipe.optimizer)
        row = {"step": float(self.step), "seconds": round(seconds, 2), "learning_rate": rate, "loss": loss}
        self.history.append(row)
        self.fabric.log_dict({"loss": loss, "learning_rate": rate}, step=self.step)

    def validate(self) -> None:
        """Score some validation images; keep the network when it is the best so far, and the state anyway."""
        evaluation = self._evaluate(self._some_validation())
        scores = _defined(evaluation)
        self.history.append({"step": float(self.step), **{f"val_{name}": value for name, value in scores.items()}})
        self.fabric.log_dict({f"val_{name}": value for name, value in scores.items()}, step=self.step)
        steering = scores.get(steering_score(self.recipe), 0.0)
        if self.fabric.is_global_zero:
            if self.best is None or steering >= self.best:
                self.best = steering
                save(self._model(scores), self.folder / MODEL_FILE)
            self._save_state()
            write_history(self.folder / HISTORY_FILE, self.history)
        self.fabric.barrier()

    def finish(self) -> Run:
        """The best network scored on all validation images, and its card completed with the scores."""
        self.fabric.barrier()
        best = load(self.folder / MODEL_FILE)
        predictor = self._predictor(best)
        maps = [predictor.probabilities(example.pixels) for example in self.validation]
        card = best.card.model_copy(update={"decoding": self._choose_decoding(maps)})
        predictor.card = card
        evaluation = self._score(predictor, self.validation, maps, resamples=EvaluateConfig().resamples)
        ranges = predictor.measure_ranges(example.pixels for example in self.calibration)
        found = {"scores": _defined(evaluation), "activation_ranges": ranges}
        model = Model(best.network, card.model_copy(update=found))
        if self.fabric.is_global_zero:
            save(model, self.folder / MODEL_FILE)
        return Run(self.folder, self.recipe, model, evaluation, self.history, self.validation)

    def _some_validation(self) -> list[Example]:
        return self.validation[:: self._every]

    @property
    def _every(self) -> int:
        return math.ceil(len(self.validation) / VALIDATED_IMAGES)

    def _choose_decoding(self, maps: Sequence[NDArray[np.float32]]) -> Decoding:
        """What does best on some validation images, of all of which `maps` are the probabilities."""
        targets = self.recipe.targets
        if targets.task != "objects":
            return Decoding()
        truths = [_scored_labels(example.labels, targets) for example in self._some_validation()]
        return choose_decoding(maps[:: self._every], truths, score=self.recipe.score, dims=self.recipe.network.dims)

    def _evaluate(self, examples: Sequence[Example]) -> Evaluation:
        """What the user's own `predict` and `evaluate` say of the network as it stands."""
        predictor = self._predictor(self._model({}))
        return self._score(predictor, examples, [predictor.probabilities(example.pixels) for example in examples])

    def _score(
        self,
        predictor: Predictor,
        examples: Sequence[Example],
        maps: Sequence[NDArray[np.float32]],
        *,
        resamples: int = 0,
    ) -> Evaluation:
        targets = self.recipe.targets
        two = targets.task == "classes" and len(targets.class_values) == 2
        config = EvaluateConfig(
            dims=self.recipe.network.dims,
            classes=targets.class_values if targets.task == "classes" and not two else None,
            resamples=resamples,
        )
        return evaluate(
            list(maps) if two else [predictor.decode(one) for one in maps],
            [_scored_labels(example.labels, targets) for example in examples],
            names=[example.name for example in examples],
            scores=VALIDATION_SCORES["binary" if two else targets.task],
            config=config,
        )

    def _predictor(self, model: Model) -> Predictor:
        return Predictor(model, engine=EngineConfig(device=self.recipe.device, precision="float32"))

    def _model(self, scores: dict[str, float]) -> Model:
        """The network as it stands, as an ordinary one."""
        return Model(fold(self.network), self._card(scores))

    def _card(self, scores: dict[str, float]) -> ModelCard:
        recipe, example = self.recipe, self.validation[0]
        return ModelCard(
            network=recipe.network.model_copy(update={"symmetry": "none"}),
            task=recipe.targets.task,
            class_values=recipe.targets.class_values,
            diameter=self._diameter or None,
            pixel_size_um=example.pixel_size_um,
            normalization=recipe.samples.normalization,
            scores=scores,
            provenance={**self.provenance, "step": self.step, "steps": recipe.steps, "seed": recipe.seed},
        )

    def _save_state(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "data": self.provenance["data_sha256"],
            "step": self.step,
            "best": self.best,
            "history": self.history,
        }
        with replacing(self.folder / STATE_FILE) as path:
            torch.save(state, path)


def _defined(evaluation: Evaluation) -> dict[str, float]:
    return {name: score.value for name, score in evaluation.summary.items() if score.value is not None}


def steering_score(recipe: Recipe) -> str:
    """The validation score that the best network is chosen by."""
    return recipe.score if recipe.targets.task == "objects" else "iou"


def _scored_labels(labels: NDArray[np.int32], targets: TargetConfig) -> NDArray[np.int32]:
    """Labels as they are scored: -1 where ignored, and two classes, whatever their values, as 0 and 1."""
    ignored = unannotated(labels, targets)
    two = len(targets.class_values) == 2
    return np.where(ignored, -1, labels == targets.class_values[1] if two else labels).astype(np.int32)


class _ClassScores(torch.nn.Module):
    """Trains what prediction uses; as a module of its own, since Fabric's marked methods took twice the time."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.class_scores(x)


def learning_rate(step: int, steps: int, config: OptimizerConfig) -> float:
    """The rate of step number `step` of `steps`: a linear rise over the warm-up, then the schedule."""
    warmup = min(config.warmup, steps // 4)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    if config.schedule == "constant":
        return config.learning_rate
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _make_fabric(recipe: Recipe, folder: Path) -> Fabric:
    device = find_device(recipe.device)
    precision = native_precision(device) if recipe.precision == "auto" else recipe.precision
    fabric = Fabric(
        accelerator=device.type,
        devices=1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        loggers=TensorBoardLogger(folder, name="tensorboard", version=""),
    )
    fabric.launch()
    return fabric


def _make_optimizer(network: UNet, config: OptimizerConfig) -> torch.optim.Optimizer:
    """Weights decay; biases and normalisation do not."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    if config.kind == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=config.momentum)
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.momentum, 0.999))
