"""Starting from a model: a recipe that fits it, its weights, and whether they are better than none."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric

from contractile.dataset import Example, Samples
from contractile.errors import ContractileError
from contractile.model import Model, ModelCard
from contractile.recipe import Recipe
from contractile.recipe.changes import listed
from contractile.training.state import State, begin, take_step
from contractile.training.validation import Validation, steering_score
from contractile.unet import adopt

logger = logging.getLogger(__name__)

TRIED = 20  # of all steps, the part after which a network that starts from a model is compared with one from nothing
LEAST_STEPS = 10
TRIED_LOOKS = 2  # at validation images, beside those of the run: one at each of the two networks
TAKEN = ("dims", "depth", "width", "channels", "flat_levels", "padding", "norm", "activate_up", "head_kernel")


def changes_for(start: Model, examples: Sequence[Example], asked: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of the recipe so that the weights of a model fit: its network, and grey values as it knows them.

    What was `asked` for goes first. Raises ContractileError where the images are of another kind than the model's, or
    a field of the network that was asked for is not that of the model.
    """
    card, channels, dims = start.card, examples[0].pixels.shape[0], examples[0].labels.ndim
    if (card.network.channels, card.network.dims) != (channels, dims):
        kinds = f"{card.network.channels} channel(s) in {card.network.dims}-D, got {channels} in {dims}-D"
        cure = "start from another model, or from nothing"
        if card.network.dims != dims:
            cure = f"{cure}, or give --dims {card.network.dims} where the images are that"
        raise ContractileError(f"start is a model of images with {kinds}", cure)
    if card.shrunk != 1:
        problem = f"start is a model of images that were shrunk {card.shrunk:g} times"
        raise ContractileError(problem, "shrink the images and labels by as much first, or start from another model")
    network = {name: getattr(card.network, name) for name in TAKEN} | {"symmetry": card.symmetry}
    for name, value in asked.get("network", {}).items():
        if name in network and listed(network[name]) != listed(value):
            problem = f"network.{name} must be that of the model to start from, {network[name]}, got {value}"
            raise ContractileError(problem, "leave it out, or start from nothing")
    return {"network": network, "samples": {"normalization": card.normalization.model_dump()}}


def begin_from(start: Model, recipe: Recipe, fabric: Fabric) -> State:
    """The state before the first step, with the weights of a model; of several networks, those of the first.

    Where the classes mean something else, or their number is another one, the last layer begins anew.
    """
    state, card, targets = begin(recipe, fabric), start.card, recipe.targets
    alike = (card.task, card.class_values) == (targets.task, targets.class_values)
    adopt(state.network, start.network, head=alike and card.network.classes == recipe.network.classes)
    return state


def choose_start(
    start: Model,
    recipe: Recipe,
    fabric: Fabric,
    samples: Samples,
    scoring: Validation,
    card: ModelCard,
    show: Callable[[State], None],
) -> State:
    """Take the first steps from a model and from nothing; the state that is better on the validation images.

    Where their scores differ by less than `scoring.chance`, the state with the lower loss is returned. `show` is called
    after each step.
    """
    found: dict[str, tuple[float, float, State]] = {}  # with its score and loss
    tried = steps_tried(recipe.steps or 0)
    if start.card.others:
        logger.warning("start holds %d networks: the first one is taken", 1 + len(start.card.others))
    logger.info("the first %d step(s) are taken twice: from the model and from nothing", tried)
    for name, state in (("start", begin_from(start, recipe, fabric)), ("nothing", begin(recipe, fabric))):
        for number in range(tried):
            take_step(state, samples.batch(number))
            show(state)
        losses, state.losses = state.losses, []
        with torch.random.fork_rng(devices=[]):  # a network is made, which draws weights
            scores = scoring.look(state.model(card))
        score = scores.get(steering_score(recipe), 0.0)
        found[name] = score, sum(losses[len(losses) // 2 :]), state
    (from_start, loss, started), (from_nothing, other_loss, anew) = found["start"], found["nothing"]
    told = f"after {started.step} steps the validation images score {from_start:.3f} from the model and"
    alike = abs(from_start - from_nothing) < scoring.chance
    helps = loss <= other_loss if alike else from_start > from_nothing
    way = "from the model" if helps else "without the model"
    logger.warning("%s %.3f from nothing: the run goes on %s", told, from_nothing, way)
    return started if helps else anew


def steps_tried(steps: int) -> int:
    """How many of so many steps are taken twice, from the model and from nothing."""
    return min(max(LEAST_STEPS, steps // TRIED), steps)
