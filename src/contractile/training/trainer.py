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

from contractile.dataset import Batch, Example, Samples
from contractile.engine import find_device, native_precision
from contractile.errors import ContractileError, NotFinished
from contractile.evaluation import EvaluateConfig, Evaluation
from contractile.images import replacing
from contractile.labels import diameters
from contractile.loss import combined
from contractile.model import Model, ModelCard, load, save
from contractile.recipe import Recipe
from contractile.targets import unannotated
from contractile.training.folder import (
    HISTORY_FILE,
    MODEL_FILE,
    RECIPE_FILE,
    STATE_FILE,
    check_data,
    trace_provenance,
    write_history,
)
from contractile.training.norms import measure_statistics
from contractile.training.optimizer import learning_rate, make_optimizer, set_rate
from contractile.training.validation import Validation, defined_scores, steering_score
from contractile.unet import UNet, fold

logger = logging.getLogger(__name__)

MEASURED_STEPS = 6
FEW_STEPS = 20
CHANCE = 0.01  # by which scores on few images differ for no reason (docs/log.md)
CALIBRATED_IMAGES = 8  # show int8 what activations to expect
NORM_BATCHES = 30  # at most, that the statistics of the final network are measured on; of few steps a tenth
FORWARD = 1 / 3  # of the time of a step


@dataclass(frozen=True)
class Run:
    """A finished run: folder, recipe, the model that was kept, and that model's scores on the validation images."""

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
        self.validation = Validation(recipe, validation)
        self.calibration = training[:: math.ceil(len(training) / CALIBRATED_IMAGES)]
        self.fabric = _make_fabric(recipe, folder)
        torch.manual_seed(recipe.seed)
        self.network = UNet(recipe.network)
        if recipe.network.dims == 2 and recipe.network.symmetry == "none":  # tied kernels see to it themselves
            self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = make_optimizer(self.network, recipe.optimizer)
        self._class_scores, self.optimizer = self.fabric.setup(_ClassScores(self.network), optimizer)
        self._diameters = (0.0, 0.0, 0.0)
        if recipe.targets.task == "objects":
            self._diameters = diameters(
                [np.where(unannotated(e.labels, recipe.targets), 0, e.labels) for e in training]
            )
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
            raise ContractileError(f"recipe of {self.folder} must name its steps to be resumed, got none", "train anew")
        before = copy.deepcopy((self.network.state_dict(), self.optimizer.state_dict()))
        times = []
        for step in range(MEASURED_STEPS):
            begun = time.monotonic()
            self.take_step(self.samples.batch(step))
            times.append(time.monotonic() - begun)
        validating = self.validation.measure_seconds(self._model({}))
        self.network.load_state_dict(before[0])
        self.optimizer.load_state_dict(before[1])
        self.step = 0
        a_step = median(times[1:])
        left = seconds - (time.monotonic() - started) - validating
        steps = int(left / a_step)
        steps = max(1, steps - math.ceil(FORWARD * self._norm_batches(steps)))
        logger.info("%.2f s a step, %.0f s for all validation: %d steps", a_step, validating, steps)
        if steps < FEW_STEPS:
            logger.warning(
                "the time budget of %.0f s holds %d step(s), since validation will take %.0f s and a step %.1f s; give "
                "more minutes, fewer validation images or a lower number of validations",
                *(seconds, steps, validating, a_step),
            )
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
            if state["random_cuda"] is not None:
                torch.cuda.set_rng_state(state["random_cuda"], self.fabric.device)
            self.step, self.best, self.history = state["step"], state["best"], state["history"]
            self.seconds_before = max((row.get("seconds", 0.0) for row in self.history), default=0.0)
        with replacing(self.folder / RECIPE_FILE) as path:
            path.write_text(self.recipe.to_toml(), encoding="utf-8")
        if self.step == 0 and self.fabric.is_global_zero:
            self._save_state()  # so that a run stopped before its first validation can be resumed, too

    def take_step(self, batch: Batch) -> float:
        """One optimiser step; returns the loss."""
        self._class_scores.train()
        set_rate(self.optimizer, learning_rate(self.step, self.recipe.steps or 0, self.recipe.optimizer))
        image, classes, weight = (self.fabric.to_device(part) for part in (batch.image, batch.classes, batch.weight))
        if image.ndim == 4:
            image = image.contiguous(memory_format=torch.channels_last)
        scores = self._class_scores(image)  # (B, C, *tile) -> (B, K, *core)
        loss = combined(scores.float(), classes, weight=weight, config=self.recipe.loss)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.step += 1
        value = float(loss.detach())
        if not math.isfinite(value):
            raise NotFinished(
                f"loss must stay a number, got {value} at step {self.step}",
                (f"lower optimizer.learning_rate (now {self.recipe.optimizer.learning_rate}) in the recipe"),
            )
        return value

    def record(self, loss: float, seconds: float) -> None:
        rate = learning_rate(self.step - 1, self.recipe.steps or 0, self.recipe.optimizer)
        row = {"step": float(self.step), "seconds": round(seconds, 2), "learning_rate": rate, "loss": loss}
        self.history.append(row)
        self.fabric.log_dict({"loss": loss, "learning_rate": rate}, step=self.step)

    def validate(self) -> None:
        """Score some validation images; keep the network unless an earlier one was clearly better, the state anyway."""
        scores = defined_scores(self.validation.look(self._model({})))
        self.history.append({"step": float(self.step), **{f"val_{name}": value for name, value in scores.items()}})
        self.fabric.log_dict({f"val_{name}": value for name, value in scores.items()}, step=self.step)
        steering = scores.get(steering_score(self.recipe), 0.0)
        if self.fabric.is_global_zero:
            self.best = steering if self.best is None else max(self.best, steering)
            if steering >= self.best - CHANCE:
                save(self._model(scores), self.folder / MODEL_FILE)
            self._save_state()
            write_history(self.folder / HISTORY_FILE, self.history)
        self.fabric.barrier()

    def finish(self) -> Run:
        """The network that was kept, scored on all validation images, and its card completed with the scores."""
        self.fabric.barrier()
        kept, validation = load(self.folder / MODEL_FILE), self.validation
        self._measure_norms(kept.network)
        predictor = validation.predictor(kept)
        maps = [predictor.probabilities(example.pixels) for example in validation.examples]
        card = kept.card.model_copy(update={"decoding": validation.choose_decoding(predictor, maps)})
        predictor.card = card
        evaluation = validation.score(predictor, validation.examples, maps, resamples=EvaluateConfig().resamples)
        ranges = predictor.measure_ranges(example.pixels for example in self.calibration)
        found = {"scores": defined_scores(evaluation), "activation_ranges": ranges}
        model = Model(kept.network, card.model_copy(update=found))
        if self.fabric.is_global_zero:
            save(model, self.folder / MODEL_FILE)
        return Run(self.folder, self.recipe, model, evaluation, self.history, validation.examples)

    def _measure_norms(self, network: UNet) -> None:
        """Give a finished network the statistics of many samples, as it met them in training."""
        device = self.fabric.device
        numbers = range(self._norm_batches(self.step))
        images = (self.samples.batch(number).image.to(device) for number in numbers)
        with self.fabric.autocast():
            measure_statistics(network.to(device), images, shared=self.recipe.network.symmetry == "square")
        network.cpu()

    def _norm_batches(self, steps: int) -> int:
        return min(NORM_BATCHES, 1 + steps // 10) if self.recipe.network.norm == "batch" else 0

    def _model(self, scores: dict[str, float]) -> Model:
        """The network as it stands, as an ordinary one."""
        return Model(fold(self.network), self._card(scores))

    def _card(self, scores: dict[str, float]) -> ModelCard:
        recipe, example = self.recipe, self.validation.examples[0]
        small, typical, large = self._diameters
        return ModelCard(
            network=recipe.network.model_copy(update={"symmetry": "none"}),
            symmetry=recipe.network.symmetry,
            task=recipe.targets.task,
            class_values=recipe.targets.class_values,
            diameter=typical or None,
            diameters=(small, large) if typical else None,
            pixel_size_um=example.pixel_size_um,
            normalization=recipe.samples.normalization,
            scores=scores,
            provenance={**self.provenance, "step": self.step, "steps": recipe.steps, "seed": recipe.seed},
        )

    def _save_state(self) -> None:
        device = self.fabric.device
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "data": self.provenance["data_sha256"],
            "step": self.step,
            "best": self.best,
            "history": self.history,
        }
        with replacing(self.folder / STATE_FILE) as path:
            torch.save(state, path)


class _ClassScores(torch.nn.Module):
    """Trains what prediction uses; as a module of its own, since Fabric's marked methods took twice the time."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.class_scores(x)


def _make_fabric(recipe: Recipe, folder: Path) -> Fabric:
    device = find_device(recipe.device)
    precision = native_precision(device) if recipe.precision == "auto" else recipe.precision
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        loggers=TensorBoardLogger(folder, name="tensorboard", version=""),
    )
    fabric.launch()
    return fabric
