"""A recipe for a dataset, a device and a time budget.

Every rule is one line of `_default`; what was measured to choose it is in docs/log.md.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from contractile.augment import AugmentConfig
from contractile.dataset import Example, SampleConfig
from contractile.engine import find_device, native_precision
from contractile.errors import ContractileError
from contractile.intensity import Normalization
from contractile.recipe.changes import apply_changes, read_recipe
from contractile.recipe.plausible import check_examples, check_memory
from contractile.recipe.recipe import OptimizerConfig, Recipe
from contractile.recipe.survey import Survey, survey
from contractile.targets import TargetConfig
from contractile.unet import UNetConfig

logger = logging.getLogger(__name__)

DEFAULT_MINUTES = 10.0
SHORT_SECONDS = 180.0
DEPTHS = {2: (3, 4, 5), 3: (2, 3)}  # four in 3-D: margins of 96 pixels on all sides make prediction 100 times slower
SEEN_STRUCTURES = 2.0  # field of view in structures: all of one is seen from any pixel in it
COARSE = 2.0  # an axis is flat until its pixels are at most so many times as large as those of the finest axis
TILE_SIDE = {2: 256, 3: 64}
STEP_PIXELS = {2: 4 * 256**2, 3: 2 * 64**3}  # per optimiser step; in 2-D a laptop takes less than a second
# For volumes on a processor: many small steps teach more (docs/log.md). PyTorch is slow for a single small tile.
MANY_STEPS_SIDE, MANY_STEPS_PIXELS = 32, 3 * 32**3
LARGEST_BATCH = 16
# Tiles of 256 x 256, a rough guess that tells few passes over the images from many: two cores without and with
# bfloat16, and a GPU.
TILES_PER_SECOND = {"float32": 4.0, "bfloat16": 16.0, "cuda": 100.0}
VARIED_PASSES = 5.0  # with fewer passes over the images, samples vary less
TURNED_PASSES = 30.0  # with fewer passes, samples for tied kernels turn by quarter turns only
RARE = 0.1  # a class with a smaller share of the pixels is rare
W0 = {"classes": 5.0, "objects": 10.0}
DIMMED = 16.0  # objects on a dark background are dimmed by up to this factor: dim ones are found beside bright ones
FEW_IMAGES = 10  # annotated images and copies with pasted objects together; up to half as many images are few
NOISY = {"light_chance": 0.5, "noise": 0.2, "photons": 0.2}  # new images may be noisier than the few annotated ones
MOST_COPIED = 2**25  # pixels of all copies together
LEARNED_STEPS = 100  # with fewer steps, pasted objects make the result worse
FOCUS = 0.33  # share of the samples around rare pixels
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


def derive(examples: Sequence[Example], changes: Mapping[str, Any]) -> Recipe:
    """The recipe for a dataset: a named base fitted to the data, then the caller's changes on top.

    `changes` holds recipe fields, nested as in the TOML file; `base` names the recipe they depart from. Logs two
    lines: what the data look like, and what was chosen for them. Raises ContractileError, naming the field, for a base,
    field or value that does not exist or does not fit, for a step that cannot fit into memory, and for images that are
    too small or show nothing.
    """
    changes = read_recipe(changes)
    check_examples(examples)
    asked = changes.get("targets", {})
    told = {key: asked[key] for key in ("task", "ignore_label", "known_around", "spacing") if key in asked}
    seen = survey(examples, **told)
    recipe = Recipe.paper(dims=seen.dims) if changes.get("base") == "paper" else _default(seen, changes)
    kept_apart = recipe.targets.model_copy(update={"separation": asked.get("separation", recipe.targets.separation)})
    classes = len(asked.get("class_values", seen.class_values)) or kept_apart.n_classes
    spacing = {"spacing": seen.pixel_size} if any(recipe.network.flat_levels) else {}  # else pixels count as cubes
    fitted = {
        "network": {"channels": seen.channels, "classes": classes},
        "targets": {"task": seen.task, "class_values": seen.class_values, **spacing},
        "samples": {"augment": spacing},
        **({} if "steps" in changes or "minutes" in changes else {"minutes": DEFAULT_MINUTES}),
    }
    recipe = apply_changes(recipe, fitted, {"samples": _fitting_tile(recipe, changes)}, changes)
    check_memory(recipe, examples)
    for line in explain(seen, recipe):
        logger.info("%s", line)
    return recipe


def _fitting_tile(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A tile that suits the network that was asked for, about as large as that of the recipe, and its core."""
    asked, network = changes.get("samples", {}), _as_asked(recipe.network, changes.get("network", {}))
    if "core" in asked:
        return {}
    with suppress(ContractileError):  # a tile that was asked for and cannot be: `apply_changes` complains
        tile = asked.get("tile") or [
            network.input_size(max(1, side - 2 * margin if network.padding == "valid" else side), axis)
            for axis, (side, margin) in enumerate(zip(recipe.samples.tile, network.margin, strict=True))
        ]
        return {"tile": tuple(tile), "core": tuple(network.output_size(n, axis) for axis, n in enumerate(tile))}
    return {}


def _default(seen: Survey, changes: Mapping[str, Any]) -> Recipe:
    """Padded network with batch norm, Muon and a cosine; the rest follows data, device and budget."""
    device, folds = find_device(changes.get("device", "auto")), max(1, int(changes.get("folds", 1)))
    steps = max(1, changes["steps"] // folds) if changes.get("steps") else None  # of each network
    seconds = 60 * float(changes.get("minutes") or DEFAULT_MINUTES) / folds
    fast = device.type == "cuda"
    short = not fast and seconds < SHORT_SECONDS and "steps" not in changes
    network, many = _as_asked(_see_structures(seen), changes.get("network", {})), seen.dims == 3 and not fast
    tile = _tile(seen, network, many=many)
    step_pixels = MANY_STEPS_PIXELS if many else STEP_PIXELS[seen.dims]
    least = 2 if many else 1
    square = not short and network.stride[-1] == network.stride[-2]
    symmetry = changes.get("network", {}).get("symmetry", "square" if square else "none")
    pixels_per_second = 256**2 * TILES_PER_SECOND["cuda" if fast else native_precision(device)]
    passes = (float(steps) * step_pixels if steps else seconds * pixels_per_second) / max(1, seen.area)
    # With few steps, free kernels and small batches get further. Tied kernels leave the last layer few features, and
    # more where it sees the neighbours of a pixel, too (docs/log.md).
    head = {"symmetry": "square" if square else "none", "head_kernel": 3 if symmetry == "square" else 1}
    return Recipe(
        network=network.model_copy(update={"width": 32 if fast else 16, **head}),
        samples=SampleConfig(
            tile=tile,
            core=tile,
            batch=min(max(least, round(step_pixels / (2 if short else 1) / math.prod(tile))), LARGEST_BATCH),
            focus=FOCUS if seen.rarest < RARE else 0.0,
            pasted=0 if short or (steps or LEARNED_STEPS) < LEARNED_STEPS else _pasted(seen),
            augment=_augment(seen, passes, symmetry),
            normalization=Normalization(kind="compressive" if seen.dark else "linear"),
        ),
        # Pixels between two near objects weigh more; where objects touch is a class of its own (docs/log.md).
        targets=TargetConfig(separation="contact", w0=W0[seen.task], balance=False),
        optimizer=OptimizerConfig(warmup=20 if short else 50),
    )


def _see_structures(seen: Survey) -> UNetConfig:
    """The network with the fewest poolings whose receptive field holds a large structure and its surroundings.

    Along an axis with large pixels it is flat until pooling has made the pixels of the other axes about as large.
    """
    flat = [max(0, math.ceil(math.log2(size / COARSE))) for size in seen.pixel_size]
    for depth in DEPTHS[seen.dims]:
        levels = tuple(min(n, depth) for n in flat) if any(flat) else ()
        network = UNetConfig(dims=seen.dims, depth=depth, flat_levels=levels)
        if _field_of_view(network, seen) >= SEEN_STRUCTURES * seen.largest:
            break
    return network


def _as_asked(network: UNetConfig, asked: Mapping[str, Any]) -> UNetConfig:
    """The network with the levels and the padding that were asked for, which tiles have to suit.

    What cannot be a network stays as it is here: `apply_changes` complains.
    """
    levels = {name: asked[name] for name in ("depth", "flat_levels", "padding") if name in asked}
    with suppress(ValueError):
        return UNetConfig.model_validate({**network.model_dump(), **levels})
    return network


def _field_of_view(network: UNetConfig, seen: Survey) -> float:
    """The receptive field along the axis where it is smallest, in pixels of the finest axis."""
    return min(n * size for n, size in zip(network.receptive_field, seen.pixel_size, strict=True))


def _tile(seen: Survey, network: UNetConfig, *, many: bool) -> tuple[int, ...]:
    """Tiles hold the field of view, but no more than the image: beyond it there are only mirror images.

    With `many` steps, tiles are small, even smaller than the field of view.
    """
    sides = []
    for axis, (size, stride) in enumerate(zip(seen.shape, network.stride, strict=True)):
        side = (MANY_STEPS_SIDE if many else TILE_SIDE[network.dims]) / seen.pixel_size[axis]
        if network.receptive_field[axis] > side and not many:
            side *= 1.5
        sides.append(max(stride, min(round(side / stride), size // stride) * stride))
    return tuple(sides)


def _augment(seen: Survey, passes: float, symmetry: str) -> AugmentConfig:
    """How samples vary: little where few pixels are seen twice, and by quarter turns alone where kernels are tied.

    Light varies where structures are bright on a dark background. On other backgrounds, light and noise vary where
    classes are learned from few images; objects are found worse with it (docs/log.md).

    A network with tied kernels learns faster from images that are not turned by other angles. Other angles make its
    outlines more exact once it has seen each image often (docs/log.md).
    """
    varied = AugmentConfig() if passes >= VARIED_PASSES else AugmentConfig.mild()
    if seen.dark:
        light = {"dimmed": DIMMED if seen.task == "objects" else 1.0}
    elif seen.task == "classes" and seen.annotated <= FEW_IMAGES // 2:
        light = NOISY
    else:
        light = {"light_chance": 0.0}
    varied = varied.model_copy(update=light)
    if symmetry == "none" or passes >= TURNED_PASSES:
        return varied
    return varied.model_copy(update={"rotation": 0.0, "quarter_turns": True})


def _pasted(seen: Survey) -> int:
    """How many copies of each annotated image get pasted objects: few show few ways in which objects touch.

    The gain was measured for one image in 2-D (docs/log.md).
    """
    if seen.task != "objects" or seen.dims != 2 or seen.area == 0:
        return 0
    return min(max(0, FEW_IMAGES // seen.annotated - 1), MOST_COPIED // seen.pixels)


def explain(seen: Survey, recipe: Recipe) -> tuple[str, str]:
    """Two lines for the user: what the data look like, and what was chosen because of it."""
    network, samples = recipe.network, recipe.samples
    size, tile = (" x ".join(str(n) for n in shape) for shape in (seen.shape, samples.tile))
    kinds = "objects" if seen.task == "objects" else f"{len(seen.class_values)} classes"
    if seen.guessed:
        other = "classes" if seen.task == "objects" else "objects"
        kinds += f' (a guess; if they are {other}, a recipe with targets.task = "{other}" says so)'
    dark = ", on a dark background" if seen.dark else ""
    partly = f", {seen.labelled:.0%} of it annotated" if seen.labelled < 0.995 else ""
    large = f", large ones {seen.largest:.0f}" if seen.largest > 1.2 * seen.structure else ""
    data = (
        f"data: {seen.images} image(s) of {size} pixels, {seen.channels} channel(s){partly}; {kinds}, about "
        f"{seen.structure:.0f} pixels wide{large}{dark}; the rarer class takes {seen.rarest:.0%}"
    )
    fields = network.receptive_field if len(set(network.receptive_field)) > 1 else network.receptive_field[:1]
    field = " x ".join(map(str, fields))
    sees = _field_of_view(network, seen) / max(1.0, seen.structure)
    tied = ", kernels tied under quarter turns and mirrors" if network.symmetry == "square" else ""
    budget = f"{recipe.steps} steps" if recipe.steps else f"{recipe.minutes:g} minutes"
    focus = f", {samples.focus:.0%} of them around rare pixels" if samples.focus else ""
    pasted = f", {samples.pasted} more copies of each annotated image with objects pasted in" if samples.pasted else ""
    varied = "full" if samples.augment.elastic_std == AugmentConfig().elastic_std else "mild"
    chosen = (
        f"recipe {recipe.base} for {budget} on {find_device(recipe.device).type}: depth {network.depth} sees "
        f"{field} pixels ({sees:.1f} structures), width {network.width}{tied}{_explain_flat(seen, network)}; "
        f"batches of {samples.batch} x {tile}{focus}, {varied} augmentation{pasted}"
    )
    return data, chosen


def _explain_flat(seen: Survey, network: UNetConfig) -> str:
    """Along which axes the finest levels of the network are not flat, and why."""
    names, flat = ("Z", "Y", "X")[-network.dims :], network.flat_levels or (0,) * network.dims
    number, size = max(flat), max(seen.pixel_size)
    if number == 0:
        return ""
    coarse = " and ".join(name for name, levels in zip(names, flat, strict=True) if levels)
    others = " and ".join(name for name, levels in zip(names, flat, strict=True) if not levels)
    levels = "the finest level looks and pools" if number == 1 else f"the {NUMBERS[number]} finest levels look and pool"
    why = f"{coarse} pixels are {size:.2g} times as large: " if size > 1 else ""
    return f"; {why}{levels} along {others} only"
