"""The network that learns from an annotation which grows."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contractile.dataset import Batch, Example, Samples
from contractile.decode import Decoding
from contractile.engine import find_device, native_precision
from contractile.errors import ContractileError
from contractile.intensity import Intensity, Normalization
from contractile.labels import object_sizes
from contractile.model import Model, ModelCard, load
from contractile.recipe import Recipe, derive
from contractile.targets import Target, TargetConfig, make_target
from contractile.training.origin import describe, trace
from contractile.training.state import State, begin, launch, take_step
from contractile.unet import fold
from contractile.viewer.learner.messages import Begin
from contractile.viewer.learner.painted import image_of
from contractile.viewer.learner.shrinking import find_shrink, shrink
from contractile.viewer.remembered import common_axes
from contractile.viewer.starting import why_not_learned, why_not_shown

TILE, BATCH = 128, 8  # small tiles: little of an image is annotated
GROWN = 2.0  # the recipe is derived again when so many times as much is annotated
STEPS = 10**6  # nobody knows how long the user will go on: the learning rate stays as it is
REMEMBERED = 0.98  # the part of the average of the weights that the next step leaves
DEPTH = 4  # of a network, at least: annotation grows, and a network that grew would have to begin anew
SETTLED = 60  # steps from which the average of a new network is shown instead of the earlier one
SPECK = 0.1  # of the typical annotated object: smaller predicted ones are not shown
CORE = 0.8  # probability of the core of an object: with less, neighbours run together after few steps (docs/log.md)
SURE = 0.8  # mean probability inside of an object, at most: less sure ones are not shown


class Growing:
    """A network, what it has learned so far, and the moving average of its weights, which is what is shown.

    `steps` counts from the first one on, over all networks. `loss` is a mean over the last few steps.
    """

    def __init__(self, told: Begin, curve: Callable[[int, Normalization], Intensity]) -> None:
        """`curve(image, normalization)` is that of a whole image."""
        self._told, self._curve = told, curve
        self._earlier = _load_start(told)
        self._state: State | None = None
        self._batches: Generator[Batch, None, None] | None = None  # made by a thread, ahead of time
        self._given: list[Example] = []
        self._examples: list[Example] = []  # the same, shrunk
        self._shrunk = 1.0
        self._seen: dict[int, tuple[Example, Example]] = {}  # examples as given (so that no other gets its id), shrunk
        self._targets: dict[int, tuple[Example, TargetConfig, Target]] = {}
        self._area = 0
        self._average: dict[str, Tensor] = {}
        self._averaged = 0
        self._card: ModelCard | None = None
        self.steps, self.loss = 0, 0.0
        self.needs: str | None = "paint some objects and some background" if told.task == "objects" else _NEEDS_CLASSES

    @property
    def ready(self) -> bool:
        """Whether there is something to learn from."""
        return self._batches is not None

    @property
    def knows(self) -> bool:
        """Whether there is a network that has learned something, here or before."""
        return bool(self._average) or self._earlier is not None

    def learn_from(self, examples: Sequence[Example]) -> None:
        """Take an annotation that has changed. The recipe follows it when it has grown twofold."""
        self.close()
        self.needs, self._given = _missing(examples, self._told), list(examples)
        if self.needs is not None:
            return
        area = sum(int((example.labels >= 0).sum()) for example in examples)
        examples = self._shrink(examples)
        if self._state is None or area > GROWN * self._area:
            self._derive(examples)
            self._area = area
        assert self._state is not None
        recipe, self._examples = self._state.recipe, list(examples)
        curves = [self._curve(image_of(one), recipe.samples.normalization) for one in examples]
        made = self._make_targets(examples, recipe.targets)
        samples = Samples(examples, recipe.targets, recipe.samples, seed=recipe.seed, curves=curves, made=made)
        self._batches = samples.batches(self.steps)
        self._card = None

    def _shrink(self, examples: Sequence[Example]) -> list[Example]:
        """The examples as the network sees them. Those of an image that did not change are there already."""
        if self._state is None:
            start, is_objects = self._start(examples), self._told.task == "objects"
            self._shrunk = start.card.shrunk if start else find_shrink(examples) if is_objects else 1.0
            self._seen.clear()
        before, self._seen = self._seen, {}
        for one in examples:
            known = before.get(id(one))
            self._seen[id(one)] = one, known[1] if known else shrink(one, self._shrunk)
        return [seen for _, seen in self._seen.values()]

    def _make_targets(self, examples: Sequence[Example], config: TargetConfig) -> list[Target]:
        """The targets of examples. Those of an image that did not change are there already."""
        before, self._targets = self._targets, {}
        for one in examples:
            key = id(one)
            known = before.get(key)
            target = known[2] if known is not None and known[1] == config else make_target(one.labels, config)
            self._targets[key] = one, config, target  # the example is kept, so that no other one gets its id
        return [target for _, _, target in self._targets.values()]

    def _derive(self, examples: Sequence[Example]) -> None:
        """The recipe for what is annotated now. Weights stay, unless a deeper network is needed."""
        told, before, start = self._told, self._state, self._start(examples)
        network = {"symmetry": "none", "head_kernel": 1} if start is None else start.card.network.model_dump()
        seen = before.recipe.samples.normalization if before else start.card.normalization if start else None
        axes = common_axes(told.sources)
        changes: dict[str, Any] = {
            "steps": STEPS,
            **({} if axes is None else {"axes": axes}),
            "seed": told.seed,
            "device": told.device,
            "precision": native_precision(find_device(told.device)),
            "targets": {"task": told.task, **({"class_values": told.class_values} if told.task == "classes" else {})},
            "network": network,
            "optimizer": {"schedule": "constant", "warmup": 20},
            # Nothing is pasted: the copies would have to be made again after each stroke.
            "samples": {"pasted": 0, **({} if seen is None else {"normalization": seen.model_dump()})},
        }
        least = before.recipe.network.depth if before else DEPTH if start is None else 0
        recipe = _with_small_tiles(_with_depth(derive(examples, changes), least))
        if before is not None and before.recipe.network == recipe.network:
            before.recipe = recipe
            return
        if self.knows:
            self._earlier = self.model()
        self._state = begin(recipe, launch(recipe))
        self._average, self._averaged, self._card = {}, 0, None
        if start is not None:
            self.go_back(start)

    def _start(self, examples: Sequence[Example]) -> Model | None:
        """The model that the first network goes on from; None where there is none, or it can only be looked at."""
        start = self._earlier if self._state is None else None
        channels, values = examples[0].pixels.shape[0], self._told.class_values
        fits = start is not None and why_not_learned(start.card, self._told.task, values, channels) is None
        return start if fits else None

    def step(self) -> float:
        """One step of training. Raises what `take_step` raises."""
        assert self._state is not None
        assert self._batches is not None
        loss = take_step(self._state, next(self._batches))
        self._state.losses.clear()
        self.steps += 1
        self.loss = loss if self.steps == 1 else 0.95 * self.loss + 0.05 * loss
        self._remember(self._state.network.state_dict())
        return loss

    def _remember(self, weights: dict[str, Tensor]) -> None:
        """Add weights to the moving average; early on it forgets faster."""
        self._averaged += 1
        keep = min(REMEMBERED, self._averaged / (self._averaged + 10)) if self._averaged > 1 else 0.0
        if keep == 0:
            self._average = {name: value.clone() for name, value in weights.items()}
            return
        for name, value in weights.items():
            if value.dtype.is_floating_point:
                self._average[name].mul_(keep).add_(value, alpha=1 - keep)
            else:
                self._average[name].copy_(value)

    def model(self) -> Model:
        """The average network as it is now, with its card."""
        if self._earlier is not None and self._averaged < SETTLED:
            return self._earlier
        assert self._state is not None
        state = self._state
        if self._card is None:
            self._card = self._describe(state.recipe)
        network = copy.deepcopy(state.network)
        network.load_state_dict(self._average)
        settings = state.recipe.model_dump(mode="json", exclude_none=True)
        provenance = {**self._card.provenance, "step": self.steps, "seed": state.recipe.seed, "settings": settings}
        # exp(-loss) is the usual probability of the right class: as sure as that, an object is shown early on, too.
        sure = min(SURE, math.exp(-self.loss)) if self._told.task == "objects" else 0.0
        decoding = self._card.decoding.model_copy(update={"sure": round(sure, 3)})
        told = {"provenance": provenance, "decoding": decoding}
        return Model(fold(network).eval(), self._card.model_copy(update=told))

    def _describe(self, recipe: Recipe) -> ModelCard:
        card = describe(recipe, self._examples, self._examples, trace(recipe, self._examples, []))
        provenance = {
            **card.provenance,
            "images": len({image_of(one) for one in self._examples}),
            "annotated": "in view",
        }
        sizes = object_sizes([np.where(one.labels < 0, 0, one.labels) for one in self._examples])
        speck = round(SPECK * float(np.median(sizes))) if recipe.targets.task == "objects" and len(sizes) else 0
        told = {"provenance": provenance, "decoding": Decoding(core=CORE, min_size=speck), "shrunk": self._shrunk}
        return card.model_copy(update={**told, "class_names": self._told.class_names})

    def close(self) -> None:
        """End the thread that makes batches; nothing is learned until `learn_from` is called again."""
        if self._batches is not None:
            self._batches.close()
            self._batches = None

    def restart(self) -> None:
        """Forget everything but the annotation."""
        self._state, self._earlier, self._average, self._averaged, self.steps = None, None, {}, 0, 0
        if self.ready:
            self.learn_from(self._given)

    def go_back(self, model: Model) -> None:
        """Go on from the weights of an earlier model. Raises ContractileError where they do not fit the network."""
        if self._state is None:  # nothing is annotated yet
            self._earlier = _with_names(model, self._told)
            return
        weights = {name: torch.from_numpy(np.array(value)) for name, value in model.stored.weights.items()}
        try:
            self._state.network.load_state_dict(weights)
        except RuntimeError as error:
            raise ContractileError("the model has another network than the one that learns", "restart") from error
        self._average, self._averaged = {name: value.clone() for name, value in weights.items()}, SETTLED
        self._earlier, self._card = None, None
        if model.card.shrunk != self._shrunk:
            self._shrunk = model.card.shrunk
            self._seen.clear()
            self.learn_from(self._given)


def _load_start(told: Begin) -> Model | None:
    """The model to start from; None where it cannot be shown, for example because the classes are others now."""
    if told.start is None:
        return None
    model = load(told.start)
    fits = why_not_shown(model.card, told.task, told.class_values) is None  # channels were compared before
    return _with_names(model, told) if fits else None


def _with_names(model: Model, told: Begin) -> Model:
    """The same model with the names that the session has for its classes."""
    fits = bool(told.class_names) and model.card.class_values == told.class_values
    return model.with_card(class_names=told.class_names) if fits else model


_NEEDS_CLASSES = "paint pixels of at least two classes"


def _missing(examples: Sequence[Example], told: Begin) -> str | None:
    """What must be painted before anything can be learned, in words; None where there is enough."""
    found = {int(value) for example in examples for value in np.unique(example.labels) if value >= 0}
    if told.task == "classes":
        return None if len(found) > 1 else _NEEDS_CLASSES
    if not found:
        return "paint some objects and some background"
    if 0 not in found:
        return "paint some background, too"
    return None if len(found) > 1 else "paint at least one object, too"


def _with_depth(recipe: Recipe, least: int) -> Recipe:
    """The same recipe with a network of at least so many poolings."""
    depth = max(least, recipe.network.depth)
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"depth": depth})})


def _with_small_tiles(recipe: Recipe) -> Recipe:
    """The same recipe with tiles that suit small annotated areas."""
    tile = tuple(max(stride, TILE // stride * stride) for stride in recipe.network.stride)
    core = tuple(recipe.network.output_size(size, axis) for axis, size in enumerate(tile))
    samples = recipe.samples.model_copy(update={"tile": tile, "core": core, "batch": BATCH})
    return recipe.model_copy(update={"samples": samples})
