"""A recipe for a dataset, a device and a time budget.

Every rule is one line of `_default`; what was measured to choose it is in docs/log.md.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch

from contractile.augment import AugmentConfig
from contractile.dataset import Example, SampleConfig
from contractile.engine import find_device, native_precision
from contractile.errors import ContractileError
from contractile.recipe.changes import NAMES, apply_changes
from contractile.recipe.recipe import OptimizerConfig, Recipe
from contractile.recipe.survey import Survey, survey
from contractile.targets import TargetConfig
from contractile.unet import UNetConfig

logger = logging.getLogger(__name__)

DEFAULT_MINUTES = 10.0
SHORT_MINUTES = 3.0
DEPTHS = {2: (3, 4, 5), 3: (2, 3, 4)}
SEEN_STRUCTURES = 2.0  # the field of view in structures: the whole of one, wherever in it a pixel lies
STEP_PIXELS = {2: 4 * 256**2, 3: 2 * 64**3}  # of one optimiser step: what a laptop does in under a second
LARGEST_BATCH = 16
# Of 256 x 256, roughly, to tell few passes over the images from many: two cores, with and without bfloat16, and a GPU.
TILES_PER_SECOND = {"float32": 4.0, "bfloat16": 16.0, "cuda": 100.0}
VARIED_PASSES = 5.0  # from which on samples vary fully, and
TURNED_PASSES = 30.0  # from which on they turn to any angle though kernels are tied
RARE = 0.1
W0 = {"classes": 5.0, "objects": 10.0}
FOCUS = 0.33


def derive(examples: Sequence[Example], changes: Mapping[str, Any]) -> Recipe:
    """The recipe for a dataset: a named base fitted to the data, then the caller's changes on top.

    `changes` holds recipe fields, nested as in the TOML file; `base` names the recipe they depart from. Logs two
    lines: what the data look like, and what was chosen for them. Raises ValueError for an unknown base or field,
    naming it.
    """
    base = changes.get("base", "default")
    if base not in NAMES:
        raise ContractileError(f"recipe must be one of {', '.join(NAMES)} or a TOML file, got {base!r}", "use default")
    asked = changes.get("targets", {})
    seen = survey(examples, **{key: asked.get(key) for key in ("task", "ignore_label", "known_around")})
    dims: Literal[2, 3] = 2 if len(seen.shape) == 2 else 3
    recipe = Recipe.paper(dims=dims) if base == "paper" else _default(seen, dims, changes)
    fitted = {
        "network": {"channels": seen.channels, "classes": _classes(seen, recipe.targets, asked)},
        "targets": {"task": seen.task, "class_values": seen.class_values},
        **({} if "steps" in changes or "minutes" in changes else {"minutes": DEFAULT_MINUTES}),
    }
    recipe = apply_changes(recipe, fitted, changes)
    for line in explain(seen, recipe):
        logger.info("%s", line)
    return recipe


def _default(seen: Survey, dims: Literal[2, 3], changes: Mapping[str, Any]) -> Recipe:
    """Padded network with batch norm, Muon and a cosine; the rest follows data, device and budget."""
    fast = _device(changes).type == "cuda"
    short = not fast and _minutes(changes) < SHORT_MINUTES and "steps" not in changes
    depth = _depth(seen.largest, dims)
    tile = _tile(seen.shape, UNetConfig(dims=dims, depth=depth))
    pixels = STEP_PIXELS[dims] / (2 if short else 1)
    batch = min(max(1, round(pixels / math.prod(tile))), LARGEST_BATCH)
    symmetry: Literal["none", "square"] = "none" if short else "square"
    asked_symmetry = changes.get("network", {}).get("symmetry", symmetry)
    return Recipe(
        # Few steps go further with free kernels and small batches. Tied ones leave the last layer few features, and
        # more where it sees what surrounds a pixel (docs/log.md).
        network=UNetConfig(
            dims=dims,
            width=32 if fast else 16,
            depth=depth,
            symmetry=symmetry,
            head_kernel=3 if asked_symmetry == "square" else 1,
        ),
        samples=SampleConfig(
            tile=tile,
            core=tile,
            batch=batch,
            focus=FOCUS if seen.rarest < RARE else 0.0,
            augment=_augment(_passes(seen, dims, changes), asked_symmetry),
        ),
        # What parts two near pieces weighs more, and where objects touch is a class of its own (docs/log.md).
        targets=TargetConfig(separation="contact", w0=W0[seen.task], balance=False),
        optimizer=OptimizerConfig(warmup=20 if short else 50),
    )


def _classes(seen: Survey, targets: TargetConfig, asked: Mapping[str, Any]) -> int:
    """Channels of the output: one for each class, or for what keeps objects apart."""
    if seen.task == "classes":
        return len(asked.get("class_values", seen.class_values))
    return targets.model_copy(update={"separation": asked.get("separation", targets.separation)}).n_classes


def _depth(largest: float, dims: Literal[2, 3]) -> int:
    """The fewest poolings whose receptive field holds a large structure and what surrounds it."""
    deep_enough = (
        depth
        for depth in DEPTHS[dims]
        if UNetConfig(dims=dims, depth=depth).receptive_field >= SEEN_STRUCTURES * largest
    )
    return next(deep_enough, DEPTHS[dims][-1])


def _tile(shape: Sequence[int], network: UNetConfig) -> tuple[int, ...]:
    """Tiles hold the field of view, but no more than the image: beyond it lie only mirror images."""
    stride = network.stride
    side = 256 if network.dims == 2 else 64
    if network.receptive_field > side:
        side = round(1.5 * side / stride) * stride
    return tuple(min(side, max(stride, size // stride * stride)) for size in shape)


def _augment(passes: float, symmetry: str) -> AugmentConfig:
    """How samples vary: little where few are seen twice, and by quarter turns alone where kernels are tied.

    A network that turns with the image by quarters learns faster from images that are upright. Other angles make its
    outlines more exact once it has seen each image often (docs/log.md).
    """
    varied = AugmentConfig() if passes >= VARIED_PASSES else AugmentConfig.mild()
    if symmetry == "none" or passes >= TURNED_PASSES:
        return varied
    return varied.model_copy(update={"rotation": 0.0, "quarter_turns": True})


def _passes(seen: Survey, dims: int, changes: Mapping[str, Any]) -> float:
    """About how often a run sees each annotated pixel."""
    if changes.get("steps"):
        pixels = float(changes["steps"]) * STEP_PIXELS[dims]
    else:
        device = _device(changes)
        speed = "cuda" if device.type == "cuda" else native_precision(device)
        pixels = 60 * _minutes(changes) * TILES_PER_SECOND[speed] * 256**2
    return pixels / max(1, seen.area)


def _minutes(changes: Mapping[str, Any]) -> float:
    return float(changes.get("minutes") or DEFAULT_MINUTES)


def _device(changes: Mapping[str, Any]) -> torch.device:
    return find_device(str(changes.get("device", "auto")))


def explain(seen: Survey, recipe: Recipe) -> tuple[str, str]:
    """Two lines for the user: what the data look like, and what was chosen because of it."""
    network, samples = recipe.network, recipe.samples
    size, tile = (" x ".join(str(n) for n in shape) for shape in (seen.shape, samples.tile))
    kinds = "objects" if seen.task == "objects" else f"{len(seen.class_values)} classes"
    if seen.guessed:
        other = "classes" if seen.task == "objects" else "objects"
        kinds += f' (a guess; if they are {other}, a recipe with targets.task = "{other}" says so)'
    partly = f", {seen.labelled:.0%} of it annotated" if seen.labelled < 0.995 else ""
    large = f", large ones {seen.largest:.0f}" if seen.largest > 1.2 * seen.structure else ""
    data = (
        f"data: {seen.images} image(s) of {size} pixels, {seen.channels} channel(s){partly}; {kinds}, about "
        f"{seen.structure:.0f} pixels wide{large}; the rarer class takes {seen.rarest:.0%}"
    )
    sees = network.receptive_field / max(1.0, seen.structure)
    tied = ", kernels tied under quarter turns and mirrors" if network.symmetry == "square" else ""
    budget = f"{recipe.steps} steps" if recipe.steps else f"{recipe.minutes:g} minutes"
    focus = f", {samples.focus:.0%} of them around rare pixels" if samples.focus else ""
    varied = "full" if samples.augment.elastic_std == AugmentConfig().elastic_std else "mild"
    chosen = (
        f"recipe {recipe.base} for {budget} on {find_device(recipe.device).type}: depth {network.depth} sees "
        f"{network.receptive_field} pixels ({sees:.1f} structures), width {network.width}{tied}; "
        f"batches of {samples.batch} x {tile}{focus}, {varied} augmentation"
    )
    return data, chosen
