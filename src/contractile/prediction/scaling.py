"""Objects of another size than the model learned from: the image is resampled until they have the model's size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from contractile.intensity import Intensity
from contractile.labels import typical_diameter
from contractile.model import ModelCard
from contractile.prediction.field import Field, Region

MOST_OFF = 1.0  # octaves between the size that is found and that of the model
FACTORS = (1.0, 0.5, 2.0, 0.25, 4.0)  # tried in turn when the size of the objects is estimated
SURE = 6.0  # standard deviations by which objects must rise above the noise to tell their size
LOOKED_AT = 512  # pixels per axis that the network sees of an image while sizes are estimated
LARGEST_SCALE = 8.0  # of an image, up or down
SAME_SIZE = 1.25  # sizes closer than this are the same: augmentation by scale makes a network stand that much

Diameter = float | Literal["estimate"] | None  # of the objects, in pixels of the image
FindObjects = Callable[[Any], tuple[NDArray[np.int32], NDArray[np.float32]]]  # image -> labels, probability inside


class Resampled(Field):
    """Values (C, *S) brought to (C, *shape), linearly; where they become smaller they are averaged, not picked.

    An output pixel i covers the input around (i + 0.5) * in / out - 0.5, weighted by a triangle as wide as the larger
    of the two pixels (as torch.nn.functional.interpolate with antialias=True and align_corners=False).
    """

    def __init__(self, source: Any, shape: Sequence[int], *, scale: float = 1.0) -> None:
        self.source, self.shape, self.scale = source, (source.shape[0], *shape), scale

    def compute(self, region: Region) -> NDArray[np.float32]:
        mixes = [
            _mix(part, have, want)
            for part, have, want in zip(region, self.source.shape[1:], self.shape[1:], strict=True)
        ]
        values = np.asarray(self.source[(slice(None), *(read for read, _ in mixes))], np.float32)
        for axis, (_, weights) in enumerate(mixes, start=1):
            moved = np.moveaxis(values, axis, 0)  # (in, ...)
            mixed = weights @ moved.reshape(len(moved), -1)
            values = np.moveaxis(mixed.reshape(-1, *moved.shape[1:]), 0, axis)
        return np.ascontiguousarray(values)


def _mix(part: slice, have: int, want: int) -> tuple[slice, sparse.csr_array]:
    """Along one axis: the input pixels that output pixels `part` of `want` need, and their weights (out, in)."""
    ratio = have / want
    reach = max(1.0, ratio)
    centres = (np.arange(part.start, part.stop) + 0.5) * ratio
    first = np.maximum((centres - reach + 0.5).astype(int), 0)
    last = np.minimum((centres + reach + 0.5).astype(int), have)
    taps = first[:, None] + np.arange((last - first).max())  # (out, most)
    weights = np.maximum(1 - np.abs(taps - centres[:, None] + 0.5) / reach, 0) * (taps < last[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    read = slice(int(first.min()), int(last.max()))
    rows = np.repeat(np.arange(len(taps)), taps.shape[1])
    columns = np.minimum(taps, read.stop - 1).ravel() - read.start
    shape = (len(taps), read.stop - read.start)
    return read, sparse.csr_array((weights.ravel().astype(np.float32), (rows, columns)), shape=shape)


def scaled_shape(shape: Sequence[int], factor: float) -> tuple[int, ...]:
    """The size of an image resampled by `factor`, at least one pixel along each axis."""
    return tuple(max(1, round(size * factor)) for size in shape)


def scaled(image: Any, factor: float) -> Any:
    """An image (C, *S) resampled by `factor`."""
    return image if factor == 1 else Resampled(image, scaled_shape(image.shape[1:], factor))


def restored(field: Field, shape: Sequence[int], factor: float) -> Field:
    """What a network says about an image that was resampled by `factor`, brought back to the image's own shape (*S)."""
    return field if factor == 1 else Resampled(field, shape, scale=factor)


def find_scale(
    image: Any, intensity: Intensity, card: ModelCard, diameter: Diameter, find_objects: FindObjects
) -> float:
    """By how much an image (C, *S) is enlarged for the network: the model's diameter / that of its objects.

    Without a diameter, and for one that the network has seen, or so near to it that it makes no difference, it is
    shrunk as the training images were. `find_objects` is needed where the diameter is estimated.
    """
    own, usual = card.diameter, 1 / card.shrunk
    if own is None or diameter is None:
        return usual
    small, large = card.diameters or (own, own)
    if diameter == "estimate":
        diameter = estimate_diameter(scaled(image, usual), (small, own, large), find_objects, intensity)
        diameter = own * 2 ** (round(4 * math.log2(diameter / own)) / 4)  # so that images share shapes
    else:
        diameter *= usual
    return usual if small / SAME_SIZE < diameter < large * SAME_SIZE else usual * own / diameter


def estimate_diameter(
    pixels: Any, seen: tuple[float, float, float], find_objects: FindObjects, intensity: Intensity
) -> float:
    """Diameter in pixels of the objects in an image (C, Y, X); `seen` are the model's small, typical and large ones.

    The middle of the image is segmented at five magnifications by `find_objects` (image -> labels, probability of
    being inside an object). The right magnification gives objects of a size that the model knows, with a high
    probability, which rise above the noise (`intensity` knows it): magnified noise looks like objects, too. Where none
    gives any object, the model's own diameter is returned, so that the image stays as it is.
    """
    small, own, large = seen
    best, found = 0.0, own
    for factor in FACTORS:
        part = _middle(pixels, LOOKED_AT / factor)
        magnified = Resampled(part, scaled_shape(part.shape[1:], factor))
        labels, inside = find_objects(magnified)
        size = typical_diameter([labels])
        off = max(0.0, math.log2(small / size), math.log2(size / large)) if size else math.inf
        fit = _certainty(labels, inside) * math.exp(-(off**2)) if off < MOST_OFF else 0.0
        if fit > best and _stand_out(labels, intensity.relative(magnified[...]), intensity.noise, size / factor) < SURE:
            continue
        if fit > best:
            best, found = fit, size / factor
    return found


def _stand_out(
    labels: NDArray[np.int32], light: NDArray[np.float32], noise: NDArray[np.float64], diameter: float
) -> float:
    """How far the mean light of a typical object, `diameter` pixels wide, differs from its surroundings.

    In standard deviations of what noise alone would do to the mean; of the channel (C, Y, X) where it is most.
    """
    inside = labels > 0
    contrast = np.abs(light[:, inside].mean(axis=1) - light[:, ~inside].mean(axis=1)) if not inside.all() else np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nanmax(contrast * math.sqrt(math.pi) / 2 * diameter / noise, initial=0))


def _certainty(labels: NDArray[np.int32], inside: NDArray[np.float32]) -> float:
    """Mean probability inside the objects found, as far above a half as it is: 0 to 1.

    Fewer objects say less: shrunk far enough, any image is a single blob.
    """
    number = int(labels.max(initial=0))
    return max(0.0, 2 * float(inside[labels > 0].mean()) - 1) * number / (number + 1)


def _middle(pixels: Any, side: float) -> NDArray[Any]:
    """The middle of an image (C, *S), at most `side` pixels along each axis."""
    starts = [max(0, round((size - side) / 2)) for size in pixels.shape[1:]]
    cut = tuple(slice(start, start + round(side)) for start in starts)
    return np.asarray(pixels[(slice(None), *cut)])
