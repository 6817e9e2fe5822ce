"""The state of a run, everything that a step changes, and the step itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.tensorboard import TensorBoardLogger

from contractile.dataset import Batch
from contractile.engine import find_device, native_precision
from contractile.engine.hardware import is_out_of_memory
from contractile.errors import ContractileError, NotFinished, OutOfMemory
from contractile.loss import combined
from contractile.model import Model, ModelCard
from contractile.recipe import Recipe
from contractile.training.optimizer import learning_rate, make_optimizer, set_rate
from contractile.unet import UNet, fold


def launch(recipe: Recipe, folder: Path | None = None) -> Fabric:
    """Lightning Fabric on the recipe's device and in its precision; it logs to TensorBoard files in `folder`."""
    device = find_device(recipe.device)
    precision = native_precision(device) if recipe.precision == "auto" else recipe.precision
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        loggers=None if folder is None else TensorBoardLogger(folder, name="tensorboard", version=""),
    )
    fabric.launch()
    return fabric


class Learner(UNet):
    """A network that gives the scores that prediction uses; a method marked for Fabric took twice the time."""

    forward = UNet.class_scores


@dataclass
class State:
    """Everything that changes during a run, beside the recipe and the machinery that change it.

    `step` counts the steps taken, `best` is the best steering score so far, `history` holds a row for each point of the
    curves. `data` is the SHA-256 of the images and labels, which must stay the same when a run is resumed.
    """

    recipe: Recipe
    fabric: Fabric
    network: UNet
    on_device: torch.nn.Module
    optimizer: torch.optim.Optimizer
    data: str = ""
    step: int = 0
    best: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)

    def record(self, **values: float) -> None:
        """Add a row to the history, and to the TensorBoard curves."""
        self.history.append({"step": float(self.step), **values})
        self.fabric.log_dict({name: value for name, value in values.items() if name != "seconds"}, step=self.step)

    def model(self, card: ModelCard, scores: Mapping[str, float] | None = None) -> Model:
        """The network as it is now, as an ordinary one, with its card."""
        where = {"step": self.step, "steps": self.recipe.steps, "seed": self.recipe.seed}
        found = {"scores": dict(scores or {}), "provenance": {**card.provenance, **where}}
        return Model(fold(self.network), card.model_copy(update=found))

    def state_dict(self) -> dict[str, Any]:
        """All that a run needs to go on as if it had not been interrupted, bit for bit."""
        device = self.fabric.device
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
            "data": self.data,
            "step": self.step,
            "best": self.best,
            "history": self.history,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to a state, in place. Raises ContractileError where it belongs to other images and labels."""
        if state["data"] != self.data:
            raise ContractileError(
                f"images and labels must be those that the run began with (SHA-256 {state['data'][:8]}...), "
                f"got others ({self.data[:8]}...)",
                "give the same ones, or train anew into another folder",
            )
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        if state["random_cuda"] is not None:
            torch.cuda.set_rng_state(state["random_cuda"], self.fabric.device)
        self.step, self.best, self.history = state["step"], state["best"], list(state["history"])


def begin(recipe: Recipe, fabric: Fabric, *, data: str = "") -> State:
    """The state before the first step: it depends on the recipe and its seed alone."""
    torch.manual_seed(recipe.seed)
    network = Learner(recipe.network)
    if recipe.network.dims == 2 and recipe.network.symmetry == "none":  # tied kernels choose this format themselves
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, recipe.optimizer)
    on_device, optimizer = fabric.setup(network, optimizer)
    torch.manual_seed(recipe.seed)  # dropout draws the same numbers for networks of any size
    return State(recipe, fabric, network, on_device, optimizer, data)


def take_step(state: State, batch: Batch) -> float:
    """One step of the optimiser, which changes `state`; returns the loss of the batch.

    Raises NotFinished where the loss is not a finite number, OutOfMemory where the batch does not fit.
    """
    recipe, fabric = state.recipe, state.fabric
    state.on_device.train()
    set_rate(state.optimizer, learning_rate(state.step, recipe.steps or 0, recipe.optimizer))
    image, classes, weight = (fabric.to_device(part) for part in (batch.image, batch.classes, batch.weight))
    if image.ndim == 4:
        image = image.contiguous(memory_format=torch.channels_last)
    try:
        scores = state.on_device(image)  # (B, C, *tile) -> (B, K, *core)
        loss = combined(scores.float(), classes, weight=weight, config=recipe.loss)
        state.optimizer.zero_grad()
        fabric.backward(loss)
        state.optimizer.step()
    except RuntimeError as error:
        if is_out_of_memory(error):
            size = f"a batch of {len(image)} tiles of {' x '.join(str(n) for n in image.shape[2:])} pixels"
            raise OutOfMemory(
                f"{size} does not fit on {fabric.device}", "lower samples.batch or samples.tile"
            ) from error
        raise
    state.step += 1
    value = float(loss.detach())
    if not math.isfinite(value):
        raise NotFinished(
            f"loss must stay a number, got {value} at step {state.step}",
            f"lower optimizer.learning_rate (now {recipe.optimizer.learning_rate}) in the recipe",
        )
    return value
