"""What cannot go well is refused before any work: images that show nothing, and sizes beyond the machine's memory.

Memory is estimated from below. A recipe that passes may still need too much; one that is refused cannot fit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from contractile import memory
from contractile.dataset import Example, find_annotated
from contractile.engine import find_device, total_memory
from contractile.errors import ContractileError
from contractile.recipe.recipe import Recipe

SMALLEST = 4  # pixels of an image along Y and X
COPIES = 3  # of each weight: itself, its gradient, and what the optimiser remembers
KEPT_MAPS = 4  # for the gradient, on each level: the results of its convolutions, on the way down and on the way up
FLOAT, HALF = 4, 2  # bytes
OF_A_PIXEL = 4 + 2 + 4  # bytes of its label, its class and its weight


def check_examples(examples: Sequence[Example]) -> None:
    """Raise ContractileError where an image is too small to learn from, or where all images are of one value."""
    for one in examples:
        if min(one.labels.shape[-2:]) < SMALLEST:
            size = " x ".join(str(n) for n in one.labels.shape)
            problem = f"an image must have at least {SMALLEST} pixels along Y and X to learn from, got {size}"
            raise ContractileError(problem, "leave it out", where=f"image {one.name}")
    if not any(_shows_something(one) for one in examples):
        raise ContractileError(
            f"images must show what is to be found, got a single value in each channel of all {len(examples)} image(s)",
            "check that these are the images",
        )


def _shows_something(example: Example) -> bool:
    return any(bool((channel != channel.flat[0]).any()) for channel in example.pixels)


def check_memory(recipe: Recipe, examples: Sequence[Example]) -> None:
    """Raise ContractileError where a batch, or pasted copies of the examples, cannot fit into the machine's memory."""
    device, samples = find_device(recipe.device), recipe.samples
    has, on_device = float(memory.total_memory()), total_memory(device)
    needs = step_bytes(recipe)
    if needs > on_device:
        tile = " x ".join(str(n) for n in samples.tile)
        raise ContractileError(
            f"a step must fit into the {_gigabytes(on_device)} of {device.type}, got samples.batch = "
            f"{samples.batch} tiles of {tile} pixels with network.width = {recipe.network.width}, which take at least "
            f"{_gigabytes(needs)}",
            "lower samples.batch, samples.tile or network.width",
        )
    copied = [examples[n] for n in find_annotated(examples, recipe.targets)] if samples.pasted else []
    copies = samples.pasted * sum(one.pixels.nbytes + OF_A_PIXEL * one.labels.size for one in copied)
    if copies > has:
        raise ContractileError(
            f"the copies that samples.pasted makes must fit into memory ({_gigabytes(has)}), got {samples.pasted} "
            f"of each of {len(copied)} image(s), which take at least {_gigabytes(copies)}",
            "use a lower number",
        )


def step_bytes(recipe: Recipe) -> float:
    """Bytes that a step of the optimiser takes, at least."""
    network, samples = recipe.network, recipe.samples
    pixels, maps = math.prod(samples.tile), 0.0
    for width, pooling in zip(network.widths, (*network.poolings, ()), strict=True):
        maps += KEPT_MAPS * width * pixels
        pixels //= math.prod(pooling)
    image = network.channels * math.prod(samples.tile)
    return COPIES * FLOAT * network.parameters + samples.batch * (HALF * maps + FLOAT * image)


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:,.0f} GB" if size >= 1e9 else f"{size / 1e9:.2g} GB"
