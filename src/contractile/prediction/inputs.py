"""What is predicted of the files that are given: images that fit the model, and no results of an earlier call."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.grid import as_slices
from contractile.images import Image, Source, describe, grey_of, open_image, read, stem
from contractile.images.failures import first_of
from contractile.images.notes import say
from contractile.images.reading import refuse_not_finite
from contractile.prediction.blocks import IN_MEMORY
from contractile.prediction.outputs import PRODUCTS
from contractile.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

COLOURS = (3, 4)  # channels of a colour picture without and with transparency
MIDDLE = 64  # pixels from the middle of an image to each side, which tell whether it is grey
SAMPLE = 2**14  # pixels that show the range of an image
USUAL = (0.5, 99.5)  # percentiles of this range
FAR, HUGE = 1e5, 1e30  # a value so many times the range away, or so large, is none that a camera gives

ABSURD = "values far beyond all others, which no camera gives (`contractile check` names them)"


def leave_out_results(paths: Sequence[Path], out: Path) -> list[Path]:
    """Each file once, without what an earlier prediction of the other files has put into the same folder."""
    places: dict[str, Path] = {}
    for path in paths:
        places.setdefault(os.path.abspath(path), path)
    once = list(places.values())
    names, folder = {stem(path) for path in once}, out.resolve()
    kept = [path for path in once if path.parent.resolve() != folder or _made_from(stem(path)).isdisjoint(names)]
    if len(kept) < len(once):
        logger.warning("%d earlier result(s) in %s are not predicted again", len(once) - len(kept), out)
    return kept


def _made_from(name: str) -> set[str]:
    """The names of the files that a result may have been made from: all of a file, an image in it, or a page of it."""
    image, _, product = name.rpartition("_")
    names = [image]
    for _ in range(2):  # of a page, of an image in a file
        names.append(re.sub(r"_\d{4,}$", "", names[-1]))
    return set(names) if product in PRODUCTS else set()


def check_channels(firsts: Sequence[Source], channels: int, dims: int) -> None:
    """Raise ContractileError where no image has the channels of the model; the pixels are not read for it.

    `firsts` are the first pages of all files, or of all images in them.
    """
    first: ContractileError | None = None
    for source in firsts:
        try:
            with open_image(source, dims=dims) as image:
                found = image.shape[0]
        except ContractileError:
            continue  # it is named when its turn comes
        if found == channels or (channels == 1 and found in COLOURS):  # the colours may turn out to be equal
            return
        first = first or _misfit(source, found, channels)
    if first is not None:
        raise first_of(len(firsts), first, "predicted")


def _misfit(source: Source, found: int, wanted: int) -> ContractileError:
    """The error for an image with other channels than the model's."""
    problem = f"the image has {found} channel(s), but the model takes {wanted}"
    cure = f"give images with the {wanted} channels that it was trained on"
    if wanted == 1:
        cure = "save the channel that shows the objects as a file of its own"
        cure += ", or convert the picture to grey" if found in COLOURS else ""
    return ContractileError(problem, f"{cure}; where the axes were misread, name them (--axes)", where=describe(source))


class Reader:
    """Reads images as a model wants them."""

    def __init__(self, predictor: Predictor) -> None:
        self._channels, self._dims = predictor.card.network.channels, predictor.card.network.dims
        self._said = False

    def read(self, source: Source) -> Image | Exception:
        """The image, or the reason why there is none: an error must not reach the images that were read before."""
        try:
            with ExitStack() as opened:
                image = opened.enter_context(open_image(source, dims=self._dims))
                if math.prod(image.shape) * image.dtype.itemsize > IN_MEMORY:
                    return self._open(source, image, opened)
            image = read(source, dims=self._dims)
            if has_absurd_value(image.pixels):
                say(ABSURD, [source.path])
            return self._fit(source, image)
        except Exception as error:  # raised again when it is the turn of this image, unless it is a file's fault
            return error

    def _open(self, source: Source, image: Image, opened: ExitStack) -> Image:
        """An image that is read region by region; closing it closes all that is `opened`."""
        if image.shape[0] != self._channels:
            grey = self._channels == 1 and image.shape[0] in COLOURS and grey_of(_middle(image)) is not None
            if not grey:
                raise _misfit(source, image.shape[0], self._channels)
            self._say_grey(source)
        pixels = Checked(image, self._channels, source)
        return Image(image.name, pixels, image.pixel_size_um, origin_um=image.origin_um, file=opened.pop_all())

    def _fit(self, source: Source, image: Image) -> Image:
        if image.shape[0] == self._channels:
            return image
        grey = grey_of(image.pixels) if self._channels == 1 else None
        if grey is None:
            raise _misfit(source, image.shape[0], self._channels)
        self._say_grey(source)
        return Image(image.name, grey, image.pixel_size_um, origin_um=image.origin_um)

    def _say_grey(self, source: Source) -> None:
        if not self._said:
            logger.warning(
                "%s is grey, stored as colour: one of its equal channels is taken, here and in files alike",
                describe(source),
            )
            self._said = True


class Checked:
    """Pixels (C, *S) of a large image, checked in each region that is read.

    Reading raises ContractileError for NaN and infinite pixels, and for colours in an image that is taken as grey.
    Values far beyond all others in the region are said.
    """

    def __init__(self, image: Image, channels: int, source: Source) -> None:
        self._image, self._source = image, source
        self.shape, self.dtype, self.ndim = (channels, *image.shape[1:]), image.dtype, image.ndim

    def __getitem__(self, region: Any) -> NDArray[Any]:
        slices, taken = as_slices(region, self.shape)
        if self._image.shape == self.shape:
            pixels = self._image[slices]
        else:
            colours = self._image[(slice(None), *slices[1:])]
            grey = grey_of(colours) if colours.size else colours[:1]
            if grey is None:
                problem = "has colours, though not in its middle, and the model takes grey images"
                raise ContractileError(problem, "convert it to grey", where=describe(self._source))
            pixels = grey[slices[0]]
        refuse_not_finite(pixels, self._source)
        if has_absurd_value(pixels):
            say(ABSURD, [self._source.path])
        found: NDArray[Any] = pixels[taken]
        return found


def _middle(image: Image) -> NDArray[Any]:
    """The pixels (C, *M) in the middle of an image."""
    middle = (slice(max(0, size // 2 - MIDDLE), size // 2 + MIDDLE) for size in image.shape[1:])
    return image[(slice(None), *middle)]


def has_absurd_value(pixels: NDArray[Any]) -> bool:
    """Whether pixels (C, *S) hold values that cannot be meant, such as 3e38 among hundreds; 16 bits cannot."""
    if pixels.dtype.itemsize < 4 or not pixels.size:
        return False
    for channel in pixels:
        flat = channel.ravel()
        usual = np.percentile(flat[:: max(1, flat.size // SAMPLE)].astype(np.float64), USUAL)
        low, high = float(channel.min()), float(channel.max())
        width, beyond = float(usual[1] - usual[0]), max(float(usual[0]) - low, high - float(usual[1]))
        if beyond > FAR * width > 0 or (max(-low, high) > HUGE and beyond > width):
            return True
    return False
