"""Pairs on disk -> an endless, seeded stream of training samples.

Images and labels may be two folders, two globs, two stacks of pages, or folders of the Cell Tracking Challenge (`01`
beside `01_GT/SEG` or `01_ST/SEG`). They are paired by name.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from contractile.augment import AugmentConfig, Picture, Sample, change_grey_values, paste_objects, warp
from contractile.errors import ContractileError
from contractile.images import Source, describe, find, match_names, read, read_labels
from contractile.intensity import Normalization
from contractile.targets import Target, TargetConfig, class_balance, make_target, unannotated

logger = logging.getLogger(__name__)

PREFETCHED = 3
SHOWN_NAMES = 3
SMALLEST_PART = 0.2  # share of an example that is cut off for validation, at least
SAMPLE_SALT, PASTE_SALT = 1, 2  # keep the two streams of random numbers apart


@dataclass(frozen=True)
class Pair:
    """An image and its labels on disk."""

    name: str
    image: Source
    labels: Source


@dataclass(frozen=True)
class Example:
    """A pair in memory: pixels (C, *S) of the type of their file, labels (*S) int32."""

    name: str
    pixels: NDArray[Any]
    labels: NDArray[np.int32]
    pixel_size_um: tuple[float, ...] | None = None


def pair_up(images: str | Path, labels: str | Path, *, dims: int = 2) -> list[Pair]:
    """Match images and labels by name, in natural order (t2 before t10).

    Names match as a whole ("a.tif", "a.png"), without words such as image, raw, mask, labels ("a_img", "a_mask"), or
    by their numbers ("t007", "man_seg007"). One image and one label file always match, and two files of equally many
    pages match page by page. Images without labels are left out with a warning. Raises ContractileError when nothing
    matches, or when labels have no image; and as `find`.
    """
    pictures, truths = find(images, dims=dims), find(_label_folder(labels), dims=dims)
    matched = _match(pictures, truths)
    if not matched:
        sides = f"{len(pictures)} image(s) in {images} ({_some(pictures)}) and {len(truths)} label file(s)"
        problem = f"no pairs found: {sides} in {labels} ({_some(truths)}) share no names"
        raise ContractileError(problem, "name each label file like its image", where=labels)
    taken = {pair.labels for pair in matched}
    orphans = [truth for truth in truths if truth not in taken]
    if orphans:
        problem = f"labels without an image in {images}: {_some(orphans)} ({len(orphans)} of {len(truths)})"
        raise ContractileError(problem, "add the images, or move these label files away", where=labels)
    if len(matched) < len(pictures):
        logger.warning("%d of %d images have no labels and are left out", len(pictures) - len(matched), len(pictures))
    return matched


def _label_folder(labels: str | Path) -> str | Path:
    """The folder SEG in `labels` where there is one: the Cell Tracking Challenge keeps its masks there."""
    inner = Path(labels) / "SEG"
    return inner if inner.is_dir() else labels


def _match(images: Sequence[Source], labels: Sequence[Source]) -> list[Pair]:
    if len(images) == len(labels) and len({one.path for one in images}) == len({one.path for one in labels}) == 1:
        return [Pair(one.name, one, other) for one, other in zip(images, labels, strict=True)]  # page by page
    by_name = {source.name: source for source in labels}
    partners = match_names([source.name for source in images], [source.name for source in labels])
    return [Pair(one.name, one, by_name[partners[one.name]]) for one in images if one.name in partners]


def _some(sources: Sequence[Source]) -> str:
    names = ", ".join(source.name for source in sources[:SHOWN_NAMES])
    return names + (", ..." if len(sources) > SHOWN_NAMES else "")


def load_examples(pairs: Sequence[Pair], *, dims: int = 2) -> list[Example]:
    """Read pairs into memory and check that they fit together.

    Raises ContractileError for an image and labels of different sizes, for images with different numbers of channels,
    and for labels that hold a single value in the whole set; and as `read` and `read_labels`.
    """
    examples = [_load(pair, dims) for pair in pairs]
    channels = {example.pixels.shape[0]: example.name for example in examples}
    if len(channels) > 1:
        counts = ", ".join(f"{name}: {count}" for count, name in sorted(channels.items()))
        problem = f"images must all have the same number of channels, got {counts}"
        raise ContractileError(problem, "convert them to one kind")
    values = sorted({int(v) for example in examples for v in np.unique(example.labels) if v >= 0})
    if len(values) < 2:
        found = f"the value {values[0]}" if values else "pixels to ignore"
        rule = "labels must hold at least two classes (or background and objects)"
        problem = f"{rule}, got only {found} in all {len(examples)} file(s)"
        raise ContractileError(problem, "check that these are the annotations")
    return examples


def _load(pair: Pair, dims: int) -> Example:
    image = read(pair.image, dims=dims)
    labels = read_labels(pair.labels, dims=dims)
    if image.shape[1:] != labels.shape:
        found = f"image {pair.image.name} {image.shape[1:]} and labels {pair.labels.name} {labels.shape}"
        problem = f"labels must have the size of their image, got {found}"
        raise ContractileError(problem, "crop or resample one of them", where=describe(pair.labels))
    return Example(pair.name, image.pixels, labels, image.pixel_size_um)


def split(
    examples: Sequence[Example], fraction: float, targets: TargetConfig | None = None
) -> tuple[list[Example], list[Example]]:
    """(training, validation): the last annotated examples validate, a `fraction` of all annotated ones.

    The choice is not random: neighbouring frames and sections look alike, and would make the score too good. Where
    that is less than one example, the last annotated one is cut across its longest axis, and at least a fifth of its
    annotated pixels validate. `targets` say which labels are annotated (by default all >= 0).
    Raises ContractileError unless 0 < fraction < 1, or when nothing is annotated.
    """
    if not 0 < fraction < 1:
        raise ContractileError(f"val_fraction must lie between 0 and 1, got {fraction}", "use 0.1")
    targets = targets or TargetConfig()
    annotated = [number for number, example in enumerate(examples) if not unannotated(example.labels, targets).all()]
    if not annotated:
        problem = f"labels of the {len(examples)} image(s) must hold annotated pixels, got only ignored ones"
        raise ContractileError(problem, "annotate at least one image")
    wanted = fraction * len(annotated)
    if wanted >= 1:
        held_out = annotated[-min(round(wanted), len(annotated) - 1) :]
        return [e for n, e in enumerate(examples) if n not in held_out], [examples[n] for n in held_out]
    last = annotated[-1]
    known = ~unannotated(examples[last].labels, targets)
    first, second = _cut(examples[last], known, max(wanted, SMALLEST_PART))
    return [*examples[:last], first, *examples[last + 1 :]], [second]


def _cut(example: Example, known: NDArray[np.bool_], share: float) -> tuple[Example, Example]:
    """An example in two, cut across its longest axis. The second part holds `share` of the pixels that are `known`."""
    axis = int(np.argmax(example.labels.shape))
    across = tuple(a for a in range(example.labels.ndim) if a != axis)
    before = np.cumsum(known.sum(axis=across))
    at = 1 + int(np.argmin(np.abs(before[:-1] - (1 - share) * before[-1]))) if len(before) > 1 else 1

    def part(along: slice) -> Example:
        index = tuple(along if a == axis else slice(None) for a in range(example.labels.ndim))
        pixels, labels = example.pixels[(slice(None), *index)], example.labels[index]
        return replace(example, pixels=np.ascontiguousarray(pixels), labels=np.ascontiguousarray(labels))

    return part(slice(0, at)), part(slice(at, None))


def _make_targets(labels: Sequence[NDArray[np.int32]], config: TargetConfig) -> list[Target]:
    """The target of each image. Classes are balanced over all images together."""
    if not config.balance:
        return [make_target(one, config) for one in labels]
    plain = config.model_copy(update={"balance": False, "w0": 0.0})
    weights = class_balance([make_target(one, plain).classes for one in labels], config.n_classes)
    return [make_target(one, config, class_weights=weights.tolist()) for one in labels]


class SampleConfig(BaseModel):
    """How one training sample is made. `tile` is its input and `core` its output, in pixels per axis."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tile: tuple[int, ...]
    core: tuple[int, ...]
    batch: int = Field(default=1, ge=1)
    focus: float = Field(default=0.0, ge=0, le=1, description="share of samples around a pixel of a rarer class")
    pasted: int = Field(default=0, ge=0, description="extra copies of each image, with objects of all images pasted in")
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


def pasted_copies(
    examples: Sequence[Example], targets: TargetConfig, config: SampleConfig, *, seed: int = 0
) -> list[Example]:
    """`config.pasted` copies of all examples, with objects of all examples pasted in (`paste_objects`).

    Objects are given the range of grey values of the image that they are pasted into.
    """
    if config.pasted == 0:
        return []
    intensity = [config.normalization.fit(example.pixels) for example in examples]
    known = [np.where(e.labels == targets.ignore_label, -1, e.labels).astype(np.int32) for e in examples]
    pictures = [Picture(a.apply(e.pixels), one) for e, a, one in zip(examples, intensity, known, strict=True)]
    pasted = []
    for number in range(config.pasted * len(examples)):
        which = number % len(examples)
        rng = np.random.default_rng([PASTE_SALT, seed, number])
        picture = paste_objects(pictures[which], pictures, rng=rng)
        pixels = intensity[which].invert(picture.pixels, examples[which].pixels.dtype)
        pasted.append(replace(examples[which], pixels=pixels, labels=picture.labels))
    return pasted


class Samples:
    """Training samples of annotated images. Sample number n is the same each time.

    Images are drawn in proportion to their annotated area, and positions uniformly among annotated pixels. A share
    `focus` of the samples is drawn around a pixel of a class other than the most common one; each of these classes is
    equally likely. Targets and weight maps (`targets`) are made once, of whole images, and warped together with them.
    """

    def __init__(
        self, examples: Sequence[Example], targets: TargetConfig, config: SampleConfig, *, seed: int = 0
    ) -> None:
        self.config = config
        self.seed = seed
        intensity = [config.normalization.fit(example.pixels) for example in examples]
        self._intensity = intensity * (1 + config.pasted)
        examples = [*examples, *pasted_copies(examples, targets, config, seed=seed)]
        self._pixels = [example.pixels for example in examples]
        self.targets = _make_targets([example.labels for example in examples], targets)
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
        part = warp(whole, centre, tile=config.tile, inner=config.core, config=config.augment, rng=rng)
        image = self._intensity[which].apply(part.image)
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
