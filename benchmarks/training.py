"""How fast training samples are made, in one process and thread.

    python benchmarks/training.py [--quick] [--record] [--dataset IMAGES LABELS]...

Prints Markdown tables: parts of the work beside a well-known way to do the same (median times, measured in turns, and
how many times faster ours is); the time for the samples of a step beside the step itself; and, for each dataset given,
the time for the targets and weight maps of all its images beside a run of ten minutes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split

import numpy as np
from numpy.typing import NDArray
from ratios import judge
from scipy import ndimage

from contractile.augment import AugmentConfig, Sample, apply_warp, draw_warp
from contractile.dataset import Example, Samples, load_examples, pair_up
from contractile.recipe import derive
from contractile.synthetic import SceneConfig, draw_scene
from contractile.targets import make_target
from contractile.training import optimizer
from contractile.training.state import begin, launch, take_step

LARGEST_SHARE = 0.1  # of a step, for making its samples
LARGEST_SHARE_OF_RUN = 0.02  # of ten minutes, for the targets and weight maps of a dataset
RUN_S = 600

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
        times = f"{1e3 * self.ours_s:.1f} ms | {1e3 * self.other_s:.1f} ms | {ratio:.2f} x"
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

    SciPy gets the coordinates, and its time is that of three calls of order 3. elasticdeform does only the elastic
    part, with the same interpolations as ours. Ours draws and applies the whole warp, to the same float32 image and to
    the uint8 image of a file.
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
        print("elasticdeform is not installed: pip install --no-binary elasticdeform elasticdeform\n")
    else:
        others["elasticdeform, elastic part alone"] = (elastic, 1.0)
    for name, (other, promised) in others.items():
        for image in (arrays[0][None], stored):
            ours_s, other_s = take_turns(lambda image=image: ours(image), other, repeats=repeats)
            yield Row(f"joint warp {size} x {size}, {image.dtype}", name, ours_s, other_s, promised)


def draw_examples(side: int) -> list[Example]:
    """Four drawn scenes."""
    scenes = [draw_scene(SceneConfig(shape=(side, side)), np.random.default_rng(seed)) for seed in range(4)]
    return [Example(f"scene {seed}", *scene) for seed, scene in enumerate(scenes)]


def one_thread_for_small_products(*, side: int, repeats: int) -> Row:
    """A step of the default, whose optimiser computes small products with one thread, beside one that does not."""
    examples = draw_examples(side)
    recipe = derive(examples, {"steps": 1000, "device": "cpu"})
    batch = Samples(examples, recipe.targets, recipe.samples).batch(0)
    ours = begin(recipe, launch(recipe))
    largest, optimizer.SMALL_PRODUCT = optimizer.SMALL_PRODUCT, 0
    other = begin(recipe, launch(recipe))
    optimizer.SMALL_PRODUCT = largest
    seconds = take_turns(lambda: take_step(ours, batch), lambda: take_step(other, batch), repeats=repeats)
    return Row("step, small products with one thread", "with all threads", *seconds, 1.0)


def sample_share(*bases: str, side: int, repeats: int) -> Iterator[str]:
    """The time to make the samples of a step (one thread) beside the step itself (all threads), for each recipe."""
    examples = draw_examples(side)
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


def weight_maps(images: str, labels: str) -> Iterator[str]:
    """The time for class and weight maps of all images, each whole, with the targets of each recipe."""
    examples = load_examples(pair_up(images, labels))
    for base in ("default", "paper"):
        targets = derive(examples, {"base": base, "steps": 1000, "device": "cpu"}).targets
        start = time.perf_counter()
        for example in examples:
            make_target(example.labels, targets)
        seconds = time.perf_counter() - start
        share = seconds / RUN_S
        held = "yes" if share <= LARGEST_SHARE_OF_RUN else "no"
        row = f"{len(examples)} | {seconds:.2f} s | {share:.2%} | {LARGEST_SHARE_OF_RUN:.0%} | {held}"
        yield f"| {images} | {base} | {row} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a small size, to see that it works")
    parser.add_argument("--record", action="store_true", help="keep these ratios as the ones to hold")
    parser.add_argument(
        "--dataset", nargs=2, action="append", default=[], metavar=("IMAGES", "LABELS"), help="may be repeated"
    )
    arguments = parser.parse_args()
    quick = arguments.quick
    print("| part | beside | ours | the other | faster | promised | held |")
    print("|---|---|---|---|---|---|---|")
    ratios = {}
    products = one_thread_for_small_products(side=256 if quick else 512, repeats=2 if quick else 20)
    for row in itertools.chain(joint_warp(size=64 if quick else 572, repeats=3 if quick else 40), [products]):
        print(row)
        ratios[f"{row.part}; {row.other}"] = row.other_s / row.ours_s
    print("\n| recipe | making its samples | training step | share | at most | held |")
    print("|---|---|---|---|---|---|")
    bases = ("default",) if quick else ("default", "paper")
    for line in sample_share(*bases, side=256 if quick else 512, repeats=2 if quick else 9):
        print(line)
    if arguments.dataset:
        print("\n| weight maps of a dataset | recipe | images | time | share of ten minutes | at most | held |")
        print("|---|---|--:|--:|--:|--:|---|")
    for images, labels in arguments.dataset:
        for line in weight_maps(images, labels):
            print(line)
    sys.exit(0 if quick or judge("parts of training", ratios, record=arguments.record) else 1)


if __name__ == "__main__":
    main()
