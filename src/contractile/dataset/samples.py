"""Annotated images -> training samples: targets, random places, warps and grey values."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.augment import (
    AugmentConfig,
    Picture,
    Sample,
    apply_warp,
    change_grey_values,
    change_light,
    dim_objects,
    draw_warp,
    nearest,
    paste_objects,
    with_rims,
)
from contractile.dataset.examples import Example, find_annotated
from contractile.errors import ContractileError, in_one_line
from contractile.intensity import Intensity, Normalization
from contractile.labels import renumber, without_mark
from contractile.spacing import in_finest
from contractile.targets import Target, TargetConfig, class_balance, known_labels, make_target

PREFETCHED = 3
SAMPLE_SALT, PASTE_SALT = 1, 2  # keep the two streams of random numbers apart
Side = Annotated[int, Field(ge=1, le=2**15)]  # of a tile, in pixels


def _make_targets(labels: Sequence[NDArray[np.int32]], config: TargetConfig) -> list[Target]:
    """The target of each image. Classes are balanced over all images together."""
    if not config.balance:
        return [make_target(one, config) for one in labels]
    plain = config.model_copy(update={"balance": False, "w0": 0.0})
    weights = class_balance([make_target(one, plain).classes for one in labels], config.n_classes)
    return [make_target(one, config, class_weights=weights.tolist()) for one in labels]


@in_one_line
class SampleConfig(BaseModel):
    """How one training sample is made. `tile` is its input and `core` its output, in pixels per axis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: tuple[Side, ...] = Field(
        examples=[[256, 256]], description="pixels that the network sees in one sample, along each axis"
    )
    core: tuple[Side, ...] = Field(
        examples=[[256, 256]],
        description="pixels of a sample that are learned from: fewer than `tile` for unpadded networks",
    )
    batch: int = Field(default=1, ge=1, le=2**16, description="samples in one step of the optimiser")
    focus: float = Field(default=0.0, ge=0, le=1, description="share of samples around a pixel of a rarer class")
    pasted: int = Field(
        default=0,
        ge=0,
        le=100,
        description="extra copies of each annotated image, with objects of all images pasted in",
    )
    augment: AugmentConfig = AugmentConfig()
    normalization: Normalization = Normalization()


@dataclass(frozen=True)
class Batch:
    """image (B, C, *tile) float32, classes (B, *core) int64 with -1 ignored, weight (B, *core) float32."""

    image: torch.Tensor
    classes: torch.Tensor
    weight: torch.Tensor


class _Places:
    """Pixels of several images that a sample may be centred on."""

    def __init__(self, shapes: Sequence[tuple[int, ...]], pixels: Sequence[NDArray[np.int64] | None]) -> None:
        """`pixels` are flat indices for each image, or None where every pixel may be a centre."""
        self._shapes, self._pixels = shapes, pixels
        self._sizes = [math.prod(s) if p is None else len(p) for s, p in zip(shapes, pixels, strict=True)]
        self._chance = np.array(self._sizes) / sum(self._sizes)

    @classmethod
    def annotated(cls, maps: Sequence[NDArray[np.int16]]) -> _Places:
        return cls([one.shape for one in maps], [np.flatnonzero(one >= 0) if (one < 0).any() else None for one in maps])

    @classmethod
    def of_class(cls, maps: Sequence[NDArray[np.int16]], value: int) -> _Places:
        return cls([one.shape for one in maps], [np.flatnonzero(one == value) for one in maps])

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]]:
        """(image, pixel): every place in all images is drawn with the same chance."""
        which = int(rng.choice(len(self._sizes), p=self._chance))
        shape, pixels = self._shapes[which], self._pixels[which]
        if pixels is None:
            return which, tuple(int(rng.integers(size)) for size in shape)
        place = np.unravel_index(pixels[rng.integers(len(pixels))], shape)
        return which, tuple(int(at) for at in place)


def _rarer_places(maps: Sequence[NDArray[np.int16]], n_classes: int) -> list[_Places]:
    """The places of each class that occurs, except for the most common one."""
    counts = np.sum([np.bincount(one[one >= 0], minlength=n_classes) for one in maps], axis=0)
    return [_Places.of_class(maps, int(value)) for value in np.flatnonzero(counts) if value != counts.argmax()]


def _fit_each(examples: Sequence[Example], normalization: Normalization) -> list[Intensity]:
    """The curve of each image. Raises ContractileError, naming the image, for pixels without one."""
    curves = []
    for example in examples:
        try:
            curves.append(normalization.fit(example.pixels))
        except ContractileError as error:
            raise error.at(f"image {example.name}") from None
    return curves


def pasted_copies(
    examples: Sequence[Example], targets: TargetConfig, config: SampleConfig, *, seed: int = 0
) -> list[Example]:
    """`config.pasted` copies of all annotated examples, with objects of all examples pasted in (`paste_objects`).

    Objects are given the range of grey values of the image that they are pasted into.
    """
    if config.pasted == 0:
        return []
    examples = [examples[number] for number in find_annotated(examples, targets)]
    intensity = _fit_each(examples, config.normalization)
    known = [known_labels(e.labels, targets) for e in examples]
    known = [np.where(one < 0, one, renumber(one)) for one in known]  # leaves numbers for what is pasted
    pictures = [Picture(a.apply(e.pixels), one) for e, a, one in zip(examples, intensity, known, strict=True)]
    pasted = []
    for number in range(config.pasted * len(examples)):
        which = number % len(examples)
        rng = np.random.default_rng([PASTE_SALT, seed, number])
        picture = paste_objects(pictures[which], pictures, rng=rng)
        pixels = intensity[which].invert(picture.pixels, examples[which].pixels.dtype)
        labels = np.where(picture.labels == targets.ignore_label, picture.labels.max() + 1, picture.labels)
        pasted.append(replace(examples[which], pixels=pixels, labels=labels))
    return pasted


class Samples:
    """Training samples of annotated images. Sample number n is the same each time.

    Images are drawn in proportion to their annotated area, and positions uniformly among annotated pixels. A share
    `focus` of the samples is drawn around a pixel of a class other than the most common one; each of these classes is
    equally likely. Targets and weight maps (`targets`) are made once, of whole images, and warped together with them.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        targets: TargetConfig,
        config: SampleConfig,
        *,
        seed: int = 0,
        curves: Sequence[Intensity] | None = None,
        made: Sequence[Target] | None = None,
    ) -> None:
        """`curves` are those of the images that the examples are parts of; by default each is an image of its own.

        `made` are the targets of the examples, where somebody has them already.
        """
        self.config = config
        self.seed = seed
        self.examples = list(examples)
        self.curves = _fit_each(examples, config.normalization) if curves is None else list(curves)
        copied = find_annotated(examples, targets) if config.pasted else []
        self._intensity = [*self.curves, *[self.curves[number] for number in copied] * config.pasted]
        examples = [*examples, *pasted_copies(examples, targets, config, seed=seed)]
        self._pixels = [example.pixels for example in examples]
        dimmed = targets.task == "objects" and config.augment.dimmed > 1
        space = in_finest(targets.spacing, examples[0].labels.ndim)
        self._objects = (
            [with_rims(without_mark(one.labels, targets.ignore_label), spacing=space) for one in examples]
            if dimmed
            else []
        )
        made = made if made and not config.pasted else _make_targets([one.labels for one in examples], targets)
        self.targets = list(made)
        maps = [target.classes for target in self.targets]
        if not any((one >= 0).any() for one in maps):
            problem = f"labels of the {len(maps)} training image(s) must hold annotated pixels, got only ignored ones"
            raise ContractileError(problem, "name other images for validation, or annotate more")
        self._everywhere = _Places.annotated(maps)
        self._rarer = _rarer_places(maps, targets.n_classes) if config.focus > 0 else []

    def __getitem__(self, number: int) -> Sample:
        """Sample `number`: image (C, *tile) float32, classes (*core) int64, weight (*core) float32."""
        rng = np.random.default_rng([SAMPLE_SALT, self.seed, number])
        places = self._everywhere
        if self._rarer and rng.random() < self.config.focus:
            places = self._rarer[rng.integers(len(self._rarer))]
        which, centre = places.draw(rng)
        target, config = self.targets[which], self.config
        whole = Sample(self._pixels[which], target.classes, target.weight)
        drawn = draw_warp(config.tile, centre, config=config.augment, rng=rng)
        part, intensity = apply_warp(drawn, whole, inner=config.core), self._intensity[which]
        light = intensity.relative(part.image)
        if self._objects and rng.random() < config.augment.grey_chance:
            light = dim_objects(light, nearest(drawn, self._objects[which]), config.augment.dimmed, rng=rng)
        image = intensity.bend(*change_light(light, intensity.noise, config.augment, rng=rng))
        return part._replace(image=change_grey_values(image, config.augment, rng=rng))

    def batch(self, step: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """The batch of one optimiser step in process `rank` of `ranks`."""
        first = (step * ranks + rank) * self.config.batch
        samples = [self[number] for number in range(first, first + self.config.batch)]
        return Batch(*(torch.from_numpy(np.stack(arrays)) for arrays in zip(*samples, strict=True)))

    def batches(self, start: int = 0, *, rank: int = 0, ranks: int = 1) -> Generator[Batch, None, None]:
        """Batches from step `start` on, without end. A background thread makes them."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="samples") as pool:
            waiting: list[Future[Batch]] = []
            step = start
            try:
                while True:
                    while len(waiting) < PREFETCHED:
                        waiting.append(pool.submit(self.batch, step, rank=rank, ranks=ranks))
                        step += 1
                    yield waiting.pop(0).result()
            finally:
                for future in waiting:
                    future.cancel()
