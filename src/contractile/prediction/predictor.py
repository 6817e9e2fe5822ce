"""The journey forward: image -> field of probabilities -> labels."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from contractile.decode import inside_probability
from contractile.engine import EngineConfig, Placed, example_shape, place
from contractile.errors import ContractileError, WrongType, check_progress, shown
from contractile.grid import Block, cut
from contractile.intensity import Intensity
from contractile.model import Model, ModelCard
from contractile.model import load as load_model
from contractile.prediction.arrays import as_image, as_probabilities, is_dask, refuse_dask
from contractile.prediction.blocks import segment
from contractile.prediction.field import Field, Held, Mean, NetworkField, Progress, TileLimit
from contractile.prediction.scaling import LARGEST_SCALE, Diameter, find_scale, restored, scaled
from contractile.prediction.unlike import find_unlike
from contractile.prediction.views import UNCHANGED, views
from contractile.quality import Expected, ExpectedDice, Unlike

if TYPE_CHECKING:
    from contractile.unet import UNet


@dataclass(frozen=True)
class Assessed:
    """Labels (*S), and how good they are to be expected; None and () where the model cannot tell.

    `confidence` (n,) is the chance of each object 1 ... n that it matches a true one at an IoU of 0.5; `expected` is
    what that means for the image. `unlike` says how far the image is from the training images: more than 1 is unlike
    them. `dice` are the Dice scores that are expected of classes, in the order of the card.
    """

    labels: NDArray[np.int32]
    confidence: NDArray[np.float64] | None = None
    expected: Expected | None = None
    unlike: Unlike | None = None
    dice: tuple[ExpectedDice, ...] = ()


class Predictor:
    """A model placed on a device: `segment(image)` and `probabilities(image)` for images of any size.

    `tile` limits the side of a tile in pixels (default: the largest that fits in memory). When memory runs out, tiles
    of the image are halved.

    `diameter` is that of the objects in the images, in pixels: each image is resampled until they have the size that
    the model learned from, and its probabilities are resampled back. "estimate" finds the diameter for every image;
    models made for images of any size do this by default. Other models leave images as they are.

    The first image decides which engine is used: a fast one must give the labels of float32 PyTorch on a part of it.

    Raises ContractileError for a tile under one pixel, a diameter that the model cannot use or be resampled to, and an
    engine that this machine does not have; WrongType for arguments of other types.
    """

    def __init__(
        self,
        model: Model,
        *,
        engine: EngineConfig | None = None,
        tile: int | None = None,
        diameter: Diameter = None,
    ) -> None:
        if not isinstance(model, Model):
            raise WrongType(f"model must be a Model, got {shown(model)}", "use contractile.load(path)")
        if not isinstance(engine, EngineConfig | None):
            raise WrongType(f"engine must be an EngineConfig, got {shown(engine)}", 'use EngineConfig(device="cpu")')
        _check_tile(tile)
        self.model, self.card, self.engine = model, model.card, engine or EngineConfig()
        self.tile = tile
        self.diameter = _check_diameter(diameter, model.card) or ("estimate" if model.card.any_size else None)
        self.placed: Placed | None = None
        self._others: list[Placed] = []  # further networks, whose outputs are averaged with that of the first

    @property
    def network(self) -> UNet:
        """The network as a PyTorch module."""
        return self.model.network

    def segment(self, image: Any, *, tta: bool = False, progress: Progress | None = None) -> NDArray[np.int32]:
        """Labels (*S) of an image (C, *S) or, with one channel, (*S); arguments and errors as of `probabilities`.

        Task "objects": 0 background, 1..N the objects. Task "classes": the values that the classes had in the label
        files.
        """
        return self.decode(self.probabilities(image, tta=tta, progress=progress))

    def probabilities(
        self, image: Any, *, tta: bool = False, progress: Progress | None = None, curve: Intensity | None = None
    ) -> Field:
        """The field of class probabilities (K, *S) of an image (C, *S) or, with one channel, (*S), of any size.

        Nothing is computed until the field is sliced: `field[:, 0:512, 0:512]`, or `np.asarray(field)` for all of it.
        The image is anything that can be sliced: an array, an image on disk, a Zarr array; or lists of numbers, or a
        PyTorch tensor. Of a Dask array it is a Dask array, which is as lazy and tells no progress; its objects must
        have the model's size.
        `tta` averages over mirrored and turned copies, eight in 2-D; networks whose kernels are tied under these
        symmetries would give eight times the same, so for them over copies turned by 0, 30 and 60 degrees.
        `progress(done, total)` is called after each tile. `curve` is that of the image, where it is known already.
        Raises ContractileError when channels or axes do not fit the model, or pixels are not finite, and WrongType for
        an image that holds no real numbers.
        """
        check_progress(progress, "(done, total)")
        image = as_image(image, self.card.network.channels, self.card.network.dims)
        intensity = curve or self.card.normalization.fit(image)
        find_objects = partial(self._find_objects, intensity=intensity)
        scale = find_scale(image, intensity, self.card, self.diameter, find_objects)
        if is_dask(image):
            from contractile.prediction import lazy

            lazy.refuse(scale, tta)
            self.placed = self.placed or self.place(image, intensity)
            return cast(Field, lazy.lazily(self, image, intensity))  # whoever needs a `Field` calls `refuse_dask`
        field = self.look(scaled(image, scale), intensity, tta=tta, progress=progress)
        return restored(field, image.shape[1:], scale)

    def assess(self, image: Any, *, tta: bool = False, progress: Progress | None = None) -> Assessed:
        """Labels of an image, and how good they are to be expected; arguments and errors as of `probabilities`.

        Raises WrongType for a Dask array, too.
        """
        refuse_dask(image)
        pixels = as_image(image, self.card.network.channels, self.card.network.dims)
        curve = self.card.normalization.fit(pixels)
        field = self.probabilities(pixels, tta=tta, progress=progress, curve=curve)
        unlike = find_unlike(self.card, scaled(pixels, field.scale), curve)
        found, confidence, calibration = segment(field, self.card), self.card.confidence, self.card.calibration
        shown = None if confidence is None else found.shown(confidence.typical / field.scale ** (field.ndim - 1))
        dice = () if calibration is None or found.tally is None else calibration.expect(found.tally)
        if confidence is None or shown is None:
            return Assessed(np.asarray(found), unlike=unlike, dice=dice)
        return Assessed(np.asarray(found), confidence.of(shown.features), confidence.expect(shown), unlike)

    @cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of the weights and the card."""
        found = hashlib.sha256(self.card.model_dump_json().encode())
        for name, values in sorted(self.model.weights.items()):
            found.update(name.encode() + values.tobytes())
        return found.hexdigest()

    @property
    def chosen(self) -> EngineConfig:
        """The engine as it was chosen for the first image; before that, as it was asked for."""
        if self.placed is None:
            return self.engine
        return self.engine.model_copy(update={"backend": self.placed.backend, "precision": self.placed.precision})

    @property
    def mark(self) -> str:
        """What changes with all on which results depend: model, engine, tile and diameter."""
        return f"{self.fingerprint} {self.chosen.model_dump_json()} {self.tile} {self.diameter}"

    def decode(self, probabilities: Any, *, scale: float = 1.0) -> NDArray[np.int32]:
        """Probabilities (K, *S), a field or an array, -> labels (*S), as `segment` gives them.

        A field knows by how much the image was enlarged for the network (`field.scale`). An array does not: give
        `scale` where it was, as smoothing and the smallest object are in pixels that the network sees.
        Raises ContractileError for maps that are not those of this model.
        """
        network = self.card.network
        if not isinstance(probabilities, Field):
            probabilities = Held(as_probabilities(probabilities, network.maps, network.dims), scale=scale)
        return np.asarray(segment(probabilities, self.card))

    def look(
        self,
        image: Any,
        intensity: Intensity,
        *,
        tta: bool = False,
        progress: Progress | None = None,
        limit: TileLimit | None = None,
    ) -> Field:
        """What all networks say about an image (C, *S) as it is: the mean over them, and with `tta` over its views.

        `limit` is that of tiles, where several fields share it.
        """
        placed = self.placed = self.placed or self.place(image, intensity)
        if not self._others:
            self._others = [place(one, self.chosen) for one in self.model.others]
        limit = limit or TileLimit(self.tile)
        seen = views(image.shape[1:], self.card.symmetry) if tta else [UNCHANGED]
        looks = list(product(seen, (placed, *self._others)))
        fields = []
        for number, (view, network) in enumerate(looks):
            shared = _share(progress, number, len(looks))
            field = NetworkField(view.see(image), network, intensity, limit=limit, progress=shared)
            fields.append(view.restore(field))
        return Mean(fields) if len(fields) > 1 else fields[0]

    def place(self, image: Any, intensity: Intensity) -> Placed:
        """The network on its device. The middle of this image is the example that a fast engine is checked on."""
        sides = zip(image.shape[1:], example_shape(self.card.network), strict=True)
        read = tuple(((size - side) // 2, (size - side) // 2 + side) for size, side in sides)
        example = intensity.apply(cut(image, Block(read=read, write=read)))[None]
        return place(self.model.stored, self.engine, example=example)

    def _find_objects(self, image: Any, *, intensity: Intensity) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """An image (C, Y, X) at the model's own scale -> labels and probability of being inside, (Y, X) each."""
        maps = np.asarray(self.look(image, intensity))
        return self.decode(maps), inside_probability(maps)


def _check_tile(tile: object) -> None:
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int | np.integer) or tile < 1):
        problem = f"tile must be a whole number of at least 1 pixel, got {shown(tile)}"
        raise ContractileError(problem, "use 512, or leave it out")


def _check_diameter(diameter: Diameter, card: ModelCard) -> Diameter:
    if diameter is None:
        return None
    if card.diameter is None or card.network.dims != 2:
        raise ContractileError(
            f"diameter must be left out for a model of {card.network.dims}-D images and task {card.task} that "
            f"knows no diameter of its own, got {diameter}",
            "resample the images to the model's pixel size instead",
        )
    number = isinstance(diameter, int | float | np.number) and not isinstance(diameter, bool)
    if diameter != "estimate" and not (number and 0 < diameter < math.inf):
        raise ContractileError(
            f"diameter must be a positive number of pixels or 'estimate', got {shown(diameter)}", "use e.g. 30"
        )
    own = card.diameter * card.shrunk
    low, high = own / LARGEST_SCALE, own * LARGEST_SCALE
    if diameter != "estimate" and not low <= diameter <= high:
        raise ContractileError(
            f"diameter must be at most {LARGEST_SCALE:g} times smaller or larger than the model's own, {low:.3g} to "
            f"{high:.3g} pixels, got {shown(diameter)}",
            "resample the images first, or train on objects of this size",
        )
    return diameter


def load(path: str | Path, *, engine: EngineConfig | None = None) -> Predictor:
    """Read a model file, a run folder or a pretrained model by name, and place it on a device.

    Raises NotFound where there is none, ContractileError for a file that holds no model of ours, and WrongType for what
    is no path.
    """
    if not isinstance(path, str | Path):
        problem = f"path must be that of a model file or run folder, or a pretrained model's name, got {shown(path)}"
        raise WrongType(problem, "give e.g. run/model.safetensors")
    return Predictor(load_model(path), engine=engine)


def _share(progress: Progress | None, index: int, views: int) -> Progress | None:
    """The progress of one view out of several, as part of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, views * total)
