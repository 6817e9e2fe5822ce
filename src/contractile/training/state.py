"""The state of a run, everything that a step changes, and the step itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch import Tensor

from contractile.dataset import Batch
from contractile.engine import find_device, native_precision
from contractile.engine.hardware import is_out_of_memory
from contractile.errors import ContractileError, NotFinished, OutOfMemory
from contractile.loss import combined
from contractile.model import Model, ModelCard
from contractile.recipe import Recipe
from contractile.training.curves import Curves
from contractile.training.optimizer import learning_rate, make_optimizer, set_rate
from contractile.training.saved import ANEW, Origin, Saved
from contractile.training.stopping import Stopping
from contractile.unet import UNet, fold, memory_format

REMEMBERED = ("exp_avg", "exp_avg_sq", "momentum_buffer")  # by an optimiser of each parameter, in its shape


def launch(recipe: Recipe) -> Fabric:
    """Lightning Fabric on the recipe's device and in its precision, in this process alone, whatever a cluster says."""
    device = find_device(recipe.device)
    precision = native_precision(device) if recipe.precision == "auto" else recipe.precision
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision="bf16-mixed" if precision == "bfloat16" else "32-true",
        plugins=[LightningEnvironment()],  # else Fabric stops in a SLURM job of several tasks
    )
    fabric.launch()
    return fabric


class Learner(UNet):
    """A network that gives the scores that prediction uses; a method marked for Fabric took twice the time."""

    forward = UNet.class_scores


@dataclass
class State:
    """Everything that changes during a run, beside the recipe and the machinery that change it.

    The fields that are saved are those of `Saved`. Between two steps a state is whole. A signal that comes in a step
    ends it: then the state is again the one before it.
    """

    recipe: Recipe
    fabric: Fabric
    network: UNet
    on_device: torch.nn.Module
    optimizer: torch.optim.Optimizer
    origin: Origin = field(default_factory=Origin)
    step: int = 0
    validated: int = 0
    kept: int | None = None
    best: float | None = None
    losses: list[float] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    curves: Curves = field(default_factory=Curves)
    stopping: Stopping = field(default_factory=Stopping)

    def record(self, **values: float) -> None:
        """Add a row to the history, and to the TensorBoard curves."""
        self.history.append({"step": float(self.step), **values})
        self.curves.add(self.step, {name: value for name, value in values.items() if name != "seconds"})

    def model(self, card: ModelCard, scores: Mapping[str, float] | None = None) -> Model:
        """The network as it is now, as an ordinary one, with its card."""
        settings = self.recipe.model_dump(mode="json", exclude_none=True)
        where = {"step": self.step, "steps": self.recipe.steps, "seed": self.recipe.seed, "settings": settings}
        found = {"scores": dict(scores or {}), "provenance": {**card.provenance, **where}}
        return Model(fold(self.network), card.model_copy(update=found))

    def saved(self) -> Saved:
        """All that a run needs to go on as if it had not been interrupted, bit for bit, beside `tensors`."""
        names = ("recipe", "origin", "step", "validated", "kept", "best", "losses", "history")
        return Saved(**{name: getattr(self, name) for name in names})

    def tensors(self) -> dict[str, Tensor]:
        """Copies, in main memory, of weights, of what the optimiser remembers, and of the states of random numbers."""
        device = self.fabric.device
        found = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        for number, held in self.optimizer.state_dict()["state"].items():
            found |= {f"optimizer.{number}.{name}": value for name, value in held.items() if value is not None}
        found["random"] = torch.get_rng_state()
        if device.type == "cuda":
            found["random_cuda"] = torch.cuda.get_rng_state(device)
        return {
            name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
            for name, value in found.items()
        }

    def restore(self, saved: Saved, tensors: Mapping[str, Tensor]) -> None:
        """Go back to a state, in place. Raises ContractileError for tensors that are not those of this network."""
        _check_tensors(tensors, self)
        network = {name: tensors[f"network.{name}"] for name in self.network.state_dict()}
        self.network.load_state_dict(network)
        content = self.optimizer.state_dict()
        self.optimizer.load_state_dict({**content, "state": _arrange(tensors, self.optimizer)})
        try:
            torch.set_rng_state(tensors["random"])
            if "random_cuda" in tensors and self.fabric.device.type == "cuda":
                torch.cuda.set_rng_state(tensors["random_cuda"], self.fabric.device)
        except (RuntimeError, TypeError) as error:
            raise ContractileError("the state of the random numbers is damaged", ANEW) from error
        self.step, self.validated, self.kept, self.best = saved.step, saved.validated, saved.kept, saved.best
        self.origin, self.losses, self.history = saved.origin, list(saved.losses), list(saved.history)


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters in the order in which the state of an optimiser numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _check_tensors(tensors: Mapping[str, Tensor], state: State) -> None:
    """Raise ContractileError unless names, shapes and types are those of a state of this recipe."""
    expected = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    for number, parameter in enumerate(_parameters(state.optimizer)):
        held = {f"optimizer.{number}.{name}": parameter for name in REMEMBERED}
        expected |= {name: value for name, value in held.items() if name in tensors}
        if f"optimizer.{number}.step" in tensors:
            expected[f"optimizer.{number}.step"] = torch.zeros(())
    expected["random"] = torch.get_rng_state()
    if "random_cuda" in tensors:
        expected["random_cuda"] = tensors["random_cuda"]
    odd = sorted(set(expected) ^ set(tensors))
    odd = odd or [name for name, value in expected.items() if not _is_alike(value, tensors[name])]
    if odd:
        raise ContractileError(f"is not the state of a run with its recipe ({odd[0]} does not fit)", ANEW)


def _is_alike(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype


def _arrange(tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """What an optimiser remembers, each tensor laid out in memory as its parameter is."""
    arranged: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(_parameters(optimizer)):
        held = {name: tensors.get(f"optimizer.{number}.{name}") for name in (*REMEMBERED, "step")}
        found = {
            name: value.clone() if name == "step" else torch.empty_like(parameter.detach()).copy_(value)
            for name, value in held.items()
            if value is not None
        }
        arranged |= {number: found} if found else {}
    return arranged


def begin(recipe: Recipe, fabric: Fabric) -> State:
    """The state before the first step: it depends on the recipe and its seed alone."""
    torch.manual_seed(recipe.seed)
    network = Learner(recipe.network)
    if recipe.network.symmetry == "none":  # tied kernels choose this format themselves
        fastest = memory_format(recipe.network.dims, fabric.device.type)
        network = network.to(memory_format=fastest)  # type: ignore[call-overload]
    optimizer = make_optimizer(network, recipe.optimizer)
    on_device, optimizer = fabric.setup(network, optimizer)
    for parameter in network.parameters():
        parameter.register_hook(_let_signals_in)  # type: ignore[no-untyped-call]
    torch.manual_seed(recipe.seed)  # dropout draws the same numbers for networks of any size
    return State(recipe, fabric, network, on_device, optimizer)


def _let_signals_in(gradient: Tensor) -> None:
    """Do nothing, in Python: between two lines of Python a signal is noticed, which may end a long backward pass."""


def take_step(state: State, batch: Batch) -> float:
    """One step of the optimiser, which changes `state`; returns the loss of the batch.

    Raises NotFinished where the loss is not a finite number, OutOfMemory where the batch does not fit. Where a signal
    ends the step before the optimiser has begun, the state is the one before it.
    """
    before, number = _Volatile(state), state.step
    try:
        loss = _find_gradients(state, batch)
        with state.stopping.whole():
            state.optimizer.step()
            state.step += 1
            value = float(loss.detach())
            state.losses.append(value)
    except BaseException as error:
        if state.step == number:
            before.restore()
        if isinstance(error, RuntimeError) and is_out_of_memory(error):
            size = f"a batch of {len(batch.image)} tiles of {' x '.join(str(n) for n in batch.image.shape[2:])} pixels"
            problem = f"{size} does not fit on {state.fabric.device}"
            raise OutOfMemory(problem, "lower samples.batch or samples.tile") from error
        raise
    if not math.isfinite(value):
        raise not_finite(state, f"loss must stay a number, got {value}")
    return value


def check_finite(state: State) -> None:
    """Raise NotFinished where the network holds what is no number; the loss of the last step was found before it."""
    for name, tensor in state.network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise not_finite(state, f"weights must stay numbers, got others in {name}")


def not_finite(state: State, problem: str) -> NotFinished:
    """The error for a run whose rate was too high."""
    rate = state.recipe.optimizer.learning_rate
    return NotFinished(f"{problem} at step {state.step}", f"lower optimizer.learning_rate (now {rate}) in the recipe")


class _Volatile:
    """What a step changes before the optimiser does: statistics of norms, and the random numbers of dropout."""

    def __init__(self, state: State) -> None:
        self._device = state.fabric.device
        self._buffers = [(buffer, buffer.clone()) for buffer in state.network.buffers()]
        self._random = torch.get_rng_state()
        self._random_cuda = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    def restore(self) -> None:
        for buffer, before in self._buffers:
            buffer.copy_(before)
        torch.set_rng_state(self._random)
        if self._random_cuda is not None:
            torch.cuda.set_rng_state(self._random_cuda, self._device)


def _find_gradients(state: State, batch: Batch) -> Tensor:
    """The loss of a batch, and its gradients in the parameters."""
    recipe, fabric = state.recipe, state.fabric
    state.on_device.train()
    set_rate(state.optimizer, learning_rate(state.step, recipe.steps or 0, recipe.optimizer))
    image, classes, weight = (fabric.to_device(part) for part in (batch.image, batch.classes, batch.weight))
    image = image.contiguous(memory_format=memory_format(image.ndim - 2, image.device.type))
    scores = state.on_device(image)  # (B, C, *tile) -> (B, K, *core)
    loss = combined(scores.float(), classes, weight=weight, config=recipe.loss)
    state.optimizer.zero_grad()
    fabric.backward(loss)
    return loss
