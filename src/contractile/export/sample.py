"""The image that goes with exported weights: what they are compared on, and what a package shows."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.export.frame import Tiles
from contractile.export.proof import EXACT
from contractile.export.rule import typical_curve
from contractile.grid import Block, cut
from contractile.images import describe, find, say_rest
from contractile.intensity import Intensity
from contractile.model import Model
from contractile.prediction import Predictor
from contractile.prediction.inputs import Reader
from contractile.prediction.scaling import scaled

SIDE = {2: 384, 3: 64}  # pixels per axis, by the number of axes; more where a network takes no less
PATCH = 8  # pixels per axis of a patch of noise

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Sample:
    """The middle of an image: `pixels` (C, *S) float32 of the size that the networks want; `curve` of the whole image.

    *S is a tile that exported networks take: a smaller image is mirrored. `files` are those of the image, none for
    noise.
    """

    pixels: NDArray[np.float32]
    curve: Intensity
    files: tuple[Path, ...] = ()


def make_noise(model: Model, tiles: Tiles) -> Sample:
    """A sample where no image is given: patches and noise from 0 to 1, the same every time."""
    config, rng = model.card.network, np.random.default_rng(0)
    shape = tiles.fit((SIDE[config.dims],) * config.dims)
    coarse = rng.random((config.channels, *(-(-size // PATCH) for size in shape)), np.float32)
    patches = np.kron(coarse, np.ones((1, *(PATCH,) * config.dims), np.float32))[(slice(None), *map(slice, shape))]
    pixels = (patches + rng.random(patches.shape, np.float32)) / 2
    return Sample(pixels.astype(np.float32), typical_curve(model.card.normalization, config.channels))


def read_sample(place: str, model: Model, tiles: Tiles, *, axes: str | None = None) -> Sample:
    """The sample of the first image at a place. Raises what `find` and `read` raise, and for other channels."""
    card = model.card
    sources = find(place, dims=card.network.dims, axes=axes or card.axes)
    if len(sources) > 1:
        logger.warning("%s holds %d images: %s is taken", place, len(sources), describe(sources[0]))
    predictor = Predictor(model, engine=EXACT)
    image = Reader(predictor).read(sources[0])
    if isinstance(image, Exception):
        raise image
    with image:
        curve = card.normalization.fit(image)
        seen = scaled(image.sliceable, predictor.probabilities(image.sliceable, curve=curve).scale)
        pixels = _middle(seen, tiles.fit([min(size, SIDE[card.network.dims]) for size in seen.shape[1:]]))
    say_rest(sources[0].files)
    return Sample(pixels, curve, tuple(sources[0].files))


def _middle(image: Any, shape: Sequence[int]) -> NDArray[np.float32]:
    """The middle of an image (C, *S), mirrored where it is smaller than `shape`."""
    starts = [(size - side) // 2 for size, side in zip(image.shape[1:], shape, strict=True)]
    read = tuple((start, start + side) for start, side in zip(starts, shape, strict=True))
    return np.ascontiguousarray(cut(image, Block(read=read, write=read)), np.float32)
