"""The journey forward: image -> tiles -> network -> stitched probabilities -> labels.

Tiled and untiled prediction agree to rounding: context is real pixels, mirrored only at the image's border.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from contractile.decode import decode_objects, inside_probability
from contractile.engine import Engine, EngineConfig, Ranges, fit_tile, measure_ranges
from contractile.errors import ContractileError
from contractile.grid import Block, cut, paste, plan
from contractile.intensity import Affine
from contractile.model import Model, ModelCard
from contractile.model import load as load_model
from contractile.prediction.scaling import LARGEST_SCALE, SAME_SIZE, estimate_diameter, resample, scaled_shape
from contractile.prediction.views import views

logger = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")
Progress = Callable[[int, int], None]
Probabilities = NDArray[np.float32]
CALIBRATION_TILES = 8
CALIBRATION_SIDE = {2: 512, 3: 64}


class Predictor:
    """A model placed on a device: `segment(image)` and `probabilities(image)` for images of any size.

    `tile` limits the side of a tile, in pixels (default: the largest that fits in memory). When memory
    runs out, tiles are halved and the image is begun again.

    `diameter`, in pixels, is that of the objects in the images: each image is resampled until they have the size that
    the model learned from, and its probabilities are resampled back. "estimate" finds it for every image, which
    is what models made for images of any size do unless told; others leave images as they are.

    Raises ValueError for a tile under one pixel, and a diameter that the model cannot use or be resampled to.
    """

    def __init__(
        self,
        model: Model,
        *,
        engine: EngineConfig | None = None,
        tile: int | None = None,
        diameter: float | Literal["estimate"] | None = None,
    ) -> None:
        self.card: ModelCard = model.card
        self.engine = Engine(model.network, engine, ranges=model.card.activation_ranges)
        if tile is not None and tile < 1:
            raise ContractileError(f"tile must be at least 1 pixel, got {tile}", "use 512, or leave it out")
        self.tile = tile
        self.diameter = _check_diameter(diameter, model.card) or ("estimate" if model.card.any_size else None)

    def segment(self, image: Any, *, tta: bool = False, progress: Progress | None = None) -> NDArray[np.int32]:
        """Labels (*S) of an image (C, *S) or, with one channel, (*S); arguments and errors as of `probabilities`.

        Task "objects": 0 background, 1..N the objects. Task "classes": the classes' values in the label
        files that the model learned from.
        """
        scale = self.scale(image)
        return self.decode(self.probabilities(image, tta=tta, progress=progress, scale=scale), scale=scale)

    def scale(self, image: Any) -> float:
        """By how much an image (C, *S) is resampled for the network: model's diameter / diameter of its objects.

        1 without a diameter, and for one that the network has seen, or so near to it that it does not mind.
        """
        own, diameter = self.card.diameter, self.diameter
        if own is None or diameter is None:
            return 1.0
        small, large = self.card.diameters or (own, own)
        if diameter == "estimate":
            diameter = estimate_diameter(self._canonical(image), (small, own, large), self._find_objects)
            diameter = own * 2 ** (round(4 * math.log2(diameter / own)) / 4)  # so that images share shapes
        return 1.0 if small / SAME_SIZE < diameter < large * SAME_SIZE else own / diameter

    def _find_objects(self, pixels: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """An image (C, Y, X) at the model's own scale -> labels and probability of being inside, (Y, X) each."""
        maps = self._stitched(pixels, None)
        return self.decode(maps), inside_probability(maps)

    def decode(self, probabilities: Probabilities, *, scale: float = 1.0) -> NDArray[np.int32]:
        """Probabilities (K, *S) of an image that was resampled by `scale` -> labels (*S), as `segment` does."""
        if self.card.task == "objects":
            decoding = self.card.decoding
            smallest = round(decoding.min_size / scale ** (probabilities.ndim - 1))
            here = {"min_size": smallest, "smooth": decoding.smooth / scale}
            return decode_objects(probabilities, decoding.model_copy(update=here))
        values = np.asarray(self.card.class_values, np.int32)
        labels: NDArray[np.int32] = values[probabilities.argmax(axis=0)]
        return labels

    def probabilities(
        self, image: Any, *, tta: bool = False, progress: Progress | None = None, scale: float | None = None
    ) -> Probabilities:
        """Class probabilities (K, *S) of an image (C, *S) or, with one channel, (*S), of any size.

        `tta` averages over mirrored and turned copies, eight in 2-D; for kernels tied under these symmetries, which
        would give eight times the same, over copies turned by 0, 30 and 60 degrees (the paper averaged seven
        rotations). `progress(done, total)` is called after each tile. The network sees the image resampled by `scale`,
        that of `scale(image)` unless given. Resampled and turned images are held in memory as a whole. Raises
        ValueError when channels or axes do not fit the model.
        """
        pixels = self._canonical(image)
        scale = self.scale(pixels) if scale is None else scale
        if scale == 1:
            return self._averaged(pixels, tta, progress)
        scaled = resample(pixels, scaled_shape(pixels.shape[1:], scale))
        return resample(self._averaged(scaled, tta, progress), pixels.shape[1:])

    def _averaged(self, pixels: Any, tta: bool, progress: Progress | None) -> Probabilities:
        """Probabilities of an image as it is, or the mean over its views."""
        if not tta:
            return self._stitched(pixels, progress)
        seen = views(pixels.shape[1:], self.card.symmetry)
        intensity = self.card.normalization.fit(pixels)
        total: Probabilities = np.zeros((max(2, self.card.network.classes), *pixels.shape[1:]), np.float32)
        for index, view in enumerate(seen):
            maps = self._stitched(view.see(pixels), _share(progress, index, len(seen)), intensity)
            total += view.restore(maps)
        return total / np.float32(len(seen))

    def measure_ranges(self, images: Iterable[Any]) -> Ranges:
        """Range of every convolution's input on a tile from the middle of each image (C, *S): what int8 needs."""
        return measure_ranges(self.engine.network, (self._middle_tile(self._canonical(image)) for image in images))

    def _middle_tile(self, pixels: Any) -> NDArray[np.float32]:
        config = self.card.network
        tile = fit_tile(config, pixels.shape[1:], min(CALIBRATION_SIDE[config.dims], self.engine.largest_tile()))
        tiles = plan(pixels.shape[1:], tile, margin=config.margin, stride=config.stride)
        return _prepare(pixels, tiles[len(tiles) // 2], self.card.normalization.fit(pixels))[1]

    def _canonical(self, image: Any) -> Any:
        """(*S) -> (1, *S); an array that fits the model's axes and channels passes."""
        config = self.card.network
        if image.ndim == config.dims:
            image = np.asarray(image)[None]
        if image.ndim != config.dims + 1 or image.shape[0] != config.channels:
            space = ", ".join(("Z", "Y", "X")[-config.dims :])
            raise ContractileError(
                f"image must have shape ({config.channels}, {space}) for this model, got {tuple(image.shape)}",
                f"put channels first and keep the {config.channels} channel(s) it was trained on",
            )
        return image

    def _stitched(self, pixels: Any, progress: Progress | None, intensity: Affine | None = None) -> Probabilities:
        """Probabilities of an image whose grey values are brought to scale by `intensity`, its own unless given."""
        intensity = intensity or self.card.normalization.fit(pixels)
        limit = self.tile or self.engine.largest_tile()
        while True:
            tile = fit_tile(self.card.network, pixels.shape[1:], limit)
            try:
                return self._run_tiles(pixels, tile, intensity, progress)
            except MemoryError:
                smaller = max(tile) // 2
                if fit_tile(self.card.network, pixels.shape[1:], smaller) == tile:
                    raise
                logger.warning("out of memory with tiles of %s pixels; trying %d", tile, smaller)
                limit = smaller

    def _run_tiles(
        self, pixels: Any, tile: tuple[int, ...], intensity: Affine, progress: Progress | None
    ) -> Probabilities:
        config = self.card.network
        tiles = plan(pixels.shape[1:], tile, margin=config.margin, stride=config.stride)
        prepare = partial(_prepare, pixels, intensity=intensity)
        # A padded network returns the whole tile: its rim saw the padding's zeros and is dropped.
        rim = config.margin if config.padding == "same" else 0
        core = (slice(None), *(slice(rim, size - rim) for size in tile))
        out: Probabilities = np.empty((max(2, config.classes), *pixels.shape[1:]), np.float32)

        if self.engine.needs_calibration:
            some = tiles[:: -(-len(tiles) // CALIBRATION_TILES)]
            self.engine.calibrate(prepare(part)[1] for part in some)
        for done, (part, batch) in enumerate(ahead(prepare, tiles), start=1):
            values = self.engine(batch)[0]  # (K, *S')
            paste(out, part, values[core] if rim else values)
            if progress is not None:
                progress(done, len(tiles))
        return out


def _check_diameter(
    diameter: float | Literal["estimate"] | None, card: ModelCard
) -> float | Literal["estimate"] | None:
    if diameter is None:
        return None
    if card.diameter is None or card.network.dims != 2:
        raise ContractileError(
            (
                f"diameter must be left out for a model of {card.network.dims}-D images and task {card.task} "
                f"that knows no diameter of its own, got {diameter}"
            ),
            "resample the images to the model's pixel size instead",
        )
    if diameter != "estimate" and not 0 < diameter < math.inf:
        raise ContractileError(
            f"diameter must be a positive number of pixels or 'estimate', got {diameter}", "use e.g. 30"
        )
    low, high = card.diameter / LARGEST_SCALE, card.diameter * LARGEST_SCALE
    if diameter != "estimate" and not low <= diameter <= high:
        raise ContractileError(
            (
                f"diameter must be at most {LARGEST_SCALE:g} times smaller or larger than the model's "
                f"own, {low:.3g} to {high:.3g} pixels, got {diameter}"
            ),
            "resample the images first, or train on objects of this size",
        )
    return diameter


def _prepare(pixels: Any, part: Block, intensity: Affine) -> tuple[Block, NDArray[np.float32]]:
    return part, intensity.apply(cut(pixels, part))[None]  # (1, C, *tile)


def load(path: str | Path, *, engine: EngineConfig | None = None) -> Predictor:
    """Read a model file, a run folder or a pretrained model by name, and place it on a device.

    Raises FileNotFoundError where there is none, ValueError for a file that holds no model of ours.
    """
    return Predictor(load_model(path), engine=engine)


def probabilities(model: Model, image: Any) -> Probabilities:
    """Class probabilities (K, *S) of one image; see `Predictor.probabilities`."""
    return Predictor(model).probabilities(image)


def segment(model: Model, image: Any) -> NDArray[np.int32]:
    """Labels (*S) of one image; see `Predictor.segment`."""
    return Predictor(model).segment(image)


def _share(progress: Progress | None, index: int, views: int) -> Progress | None:
    """The progress of one view out of several, as part of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, views * total)


def ahead(make: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """`make(item)` for each item, in order; the next one is already being made in the background."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[Future[U]] = deque()
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
