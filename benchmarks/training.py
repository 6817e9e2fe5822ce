"""Speed of what makes a training sample, beside a well-known way to do the same, in one process and thread; and the
share of a training step that making its samples takes.

    python benchmarks/training.py [--quick]

Prints a Markdown table: the median time of each way, measured in turns, and how many times faster ours is.
`--quick` runs the same at a small size, to see that the script works.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split

import numpy as np
import torch
from numpy.typing import NDArray
from ratios import judge
from scipy import ndimage

from contractile.augment import AugmentConfig, Sample, apply_warp, draw_warp
from contractile.dataset import Example, Samples
from contractile.recipe import derive
from contractile.synthetic import SceneConfig, draw_scene
from contractile.targets import separate, separation_weight
from contractile.training.convolution import kernel_gradient, only_avx2
from contractile.training.state import begin, launch, take_step

LARGEST_SHARE = 0.1  # of a step that making its samples may take

try:
    import elasticdeform
except ImportError:
    elasticdeform = None


@dataclass(frozen=True)
class Row:
    """One comparison: seconds of ours and of the other way, and the ratio that was promised."""

    part: str
    other: str
    ours_s: float
    other_s: float
    promised: float

    def __str__(self) -> str:
        ratio = self.other_s / self.ours_s
        held = "yes" if ratio >= self.promised else "no"
        times = f"{1e3 * self.ours_s:.1f} ms | {1e3 * self.other_s:.1f} ms | {ratio:.1f} x"
        return f"| {self.part} | {self.other} | {times} | {self.promised:g} x | {held} |"


def take_turns(*ways: Callable[[], object], repeats: int) -> list[float]:
    """Median seconds of each way; one after the other, so that a busy machine slows all of them."""
    for way in ways:
        way()  # compile, fill caches
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, taken in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            way()
            taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in seconds]


def joint_warp(*, size: int, repeats: int) -> Iterator[Row]:
    """Image, label and weight map of size x size through one elastic warp, rotation and scale included.

    SciPy is handed the coordinates, and its time is that of three calls of order 3; elasticdeform does the
    elastic part alone, with the interpolations that we use. Ours draws and applies the whole warp, to the
    same float32 image and to the uint8 image of a file.
    """
    rng = np.random.default_rng(0)
    shape = (size, size)
    stored = rng.integers(0, 256, (1, *shape)).astype(np.uint8)
    classes = rng.integers(0, 2, shape).astype(np.int16)
    weight = rng.random(shape, np.float32)
    config, centre = AugmentConfig(), (size // 2, size // 2)
    arrays = [stored[0].astype(np.float32), classes.astype(np.float32), weight]
    drawn = draw_warp(shape, centre, config=config, rng=rng)
    at = drawn.coordinates()

    def ours(image: NDArray[Any]) -> object:
        whole = Sample(image, classes, weight)
        return apply_warp(draw_warp(shape, centre, config=config, rng=rng), whole, inner=shape)

    def scipy() -> object:
        return [ndimage.map_coordinates(a, at, order=3, mode="mirror") for a in arrays]

    def elastic() -> object:
        return elasticdeform.deform_grid(arrays, drawn.vectors, order=[3, 0, 1], mode="mirror")

    others = {"scipy map_coordinates, order 3": (scipy, 10.0)}
    if elasticdeform is None:
        print("elasticdeform is not there: pip install --no-binary elasticdeform elasticdeform\n")
    else:
        others["elasticdeform, elastic part alone"] = (elastic, 1.0)
    for name, (other, promised) in others.items():
        for image in (arrays[0][None], stored):
            ours_s, other_s = take_turns(lambda image=image: ours(image), other, repeats=repeats)
            yield Row(f"joint warp {size} x {size}, {image.dtype}", name, ours_s, other_s, promised)


def weight_map(*, size: int, objects: int, repeats: int) -> Iterator[Row]:
    """Separation weight of a crowded image, beside one distance transform per object; equal within 1e-4."""
    labels = crowd(size, objects)

    def ours() -> NDArray[np.float32]:
        return separation_weight(labels, w0=10, sigma=5)

    def other() -> NDArray[np.float64]:
        nearest, second = np.full((2, *labels.shape), np.inf)
        for i in np.unique(labels[labels > 0]):
            distance = ndimage.distance_transform_edt(labels != i)
            second = np.minimum(second, np.maximum(nearest, distance))
            nearest = np.minimum(nearest, distance)
        between = 10 * np.exp(-((nearest + second) ** 2) / 50)
        return np.where(labels > 0, 0, between)

    difference = np.abs(ours() - other()).max()
    if difference > 1e-4:
        raise SystemExit(f"the two weight maps must be equal within 1e-4, got a difference of {difference}")
    (ours_s,) = take_turns(ours, repeats=repeats)
    (other_s,) = take_turns(other, repeats=1)
    found = len(np.unique(labels)) - 1
    part = f"weight map {size} x {size}, {found} objects, equal within {difference:.0e}"
    yield Row(part, "one distance transform per object", ours_s, other_s, 50)


def learning_kernels(*, size: int, repeats: int) -> Iterator[Row]:
    """Gradient of 3x3 kernels, of four images in channels-last order; only where our own is in use."""
    if not only_avx2():
        return
    for ins, outs, side in ((32, 16, size), (64, 32, size // 2), (128, 64, size // 4)):
        form = torch.channels_last
        x = torch.randn(4, ins, side, side).contiguous(memory_format=form)
        gradient = torch.randn(4, outs, side, side).contiguous(memory_format=form)
        weight = torch.randn(outs, ins, 3, 3).contiguous(memory_format=form)

        def other(x: Any = x, gradient: Any = gradient, weight: Any = weight) -> object:
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [False, True, False]
            )

        ours_s, other_s = take_turns(lambda x=x, g=gradient: kernel_gradient(x, g, 1), other, repeats=repeats)
        yield Row(f"kernel gradient {ins} -> {outs}, 4 x {side} x {side}", "PyTorch", ours_s, other_s, 1.5)


def crowd(size: int, objects: int) -> NDArray[np.int32]:
    """Round objects that touch, with a gap between them."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((size, size), np.int32)
    places = rng.choice(size * size, objects, replace=False)
    seeds.flat[places] = np.arange(1, objects + 1)
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    radius = 0.4 * size / np.sqrt(objects)
    return separate(np.where(distance <= radius, seeds[tuple(nearest)], 0))


def sample_share(*bases: str, side: int, repeats: int) -> Iterator[str]:
    """Making the samples of a step (one thread) beside the step itself (all threads), for each recipe."""
    examples = []
    for seed in range(4):
        image, labels = draw_scene(SceneConfig(shape=(side, side)), np.random.default_rng(seed))
        examples.append(Example(f"scene {seed}", image, labels))
    for base in bases:
        recipe = derive(examples, {"base": base, "steps": 1000, "device": "cpu"})
        state, samples = begin(recipe, launch(recipe)), Samples(examples, recipe.targets, recipe.samples)
        batch, numbers = samples.batch(0), itertools.count(1)
        making, step = take_turns(
            lambda samples=samples, numbers=numbers: samples.batch(next(numbers)),
            lambda state=state, batch=batch: take_step(state, batch),
            repeats=repeats,
        )
        share = making / step
        held = "yes" if share <= LARGEST_SHARE else "no"
        yield f"| {base} | {1e3 * making:.1f} ms | {1e3 * step:.0f} ms | {share:.1%} | {LARGEST_SHARE:.0%} | {held} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small size, to see that it works")
    parser.add_argument("--record", action="store_true", help="keep these ratios as the ones to hold")
    arguments = parser.parse_args()
    quick = arguments.quick
    print("| part | beside | ours | the other | faster | promised | held |")
    print("|---|---|---|---|---|---|---|")
    ratios = {}
    for row in chain(
        joint_warp(size=64 if quick else 572, repeats=3 if quick else 40),
        weight_map(size=128 if quick else 1024, objects=20 if quick else 500, repeats=3 if quick else 10),
        learning_kernels(size=32 if quick else 256, repeats=3 if quick else 20),
    ):
        print(row)
        part = row.part.split(", equal")[0]
        ratios[f"{part}; {row.other}"] = row.other_s / row.ours_s
    print("\n| recipe | making its samples | training step | share | at most | held |")
    print("|---|---|---|---|---|---|")
    bases = ("default",) if quick else ("default", "paper")
    for line in sample_share(*bases, side=256 if quick else 512, repeats=2 if quick else 9):
        print(line)
    sys.exit(0 if quick or judge("parts of training", ratios, record=arguments.record) else 1)


if __name__ == "__main__":
    main()
