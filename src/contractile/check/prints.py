"""Whether labels lie where the objects of their image are: turned, shifted, of another image.

Two things are compared: brightness with what is labelled, and edges with the outlines of the labels. How they go
together (bright or dark objects, sharp or soft outlines) is learned from the set itself. An image is blamed only where
another place, another orientation or another image fits far better than what was given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

FINE, COARSE = 256, 64  # sides in pixels that images are shrunk to: for shifts, and for everything else
WINDOW = 16  # shifts, in pixels of the fine image, that are tried in each direction

Maps = NDArray[np.float32]

TURNS = {
    "as they are": (1, 1, False),
    "upside down": (-1, 1, False),
    "mirrored": (1, -1, False),
    "turned by 180 degrees": (-1, -1, False),
    "transposed": (1, 1, True),
    "turned by 90 degrees": (-1, 1, True),
    "turned by 270 degrees": (1, -1, True),
    "transposed the other way": (-1, -1, True),
}


@dataclass(frozen=True)
class Print:
    """What is kept of an image and its labels. Agreements are 4 numbers: brightness and edges x labelled and outlines.

    `image` and `labels` (2, y, x) are the shrunken maps; `turned` (8, 4) is the agreement when the labels are turned
    in each of the ways of `TURNS` (NaN where the shape forbids it), `shifted` (4, 2 W + 1, 2 W + 1) that when they are
    shifted by up to W steps of `step` pixels.
    """

    where: str
    shape: tuple[int, ...]
    image: Maps
    labels: Maps
    turned: NDArray[np.float64]
    shifted: NDArray[np.float64]
    step: int


def take_print(pixels: NDArray[Any], labels: NDArray[np.int32], where: str) -> Print | None:
    """The print of an image (C, *S) and its labels (*S); None where they are flat, too small or of different sizes."""
    if pixels.shape[1:] != labels.shape:
        return None
    plane = _plane(labels)
    pixels, labels = (pixels, labels) if labels.ndim == 2 else (pixels[:, plane], labels[plane])
    fine, coarse = (max(1, -(-max(labels.shape) // side)) for side in (FINE, COARSE))
    if min(labels.shape) < max(2 * WINDOW, coarse):  # a map needs at least one row
        return None
    with np.errstate(over="ignore"):  # infinite where float32 cannot hold them
        pixels = pixels.astype(np.float32)
    if not np.isfinite(pixels).all():
        return None
    known = labels >= 0
    image, drawn = _maps_of_image(pixels), _maps_of_labels(labels)
    if not drawn[1].any() or not image[1].any():
        return None
    small, outlined = (_shrink(maps, known, coarse) for maps in (image, drawn))
    shifted = _shift(*(_shrink(maps, known, fine) for maps in (image, drawn)))
    return Print(where, labels.shape, small, outlined, _turn_all(small, outlined), shifted, fine)


def _plane(labels: NDArray[np.int32]) -> int:
    """Of a volume: the annotated plane in the middle."""
    if labels.ndim == 2:
        return 0
    planes = np.flatnonzero((labels >= 0).any(axis=(1, 2)))
    return int(planes[len(planes) // 2]) if len(planes) else 0


def _maps_of_image(pixels: NDArray[np.float32]) -> Maps:
    """Brightness and edges (2, Y, X) of pixels (C, Y, X), compressed so that a few bright objects do not rule."""
    smooth = ndimage.gaussian_filter(pixels, (0, 1, 1))
    low, high = np.percentile(smooth, (1, 99.8), axis=(1, 2), keepdims=True)
    values = np.clip((smooth - low) / np.maximum(high - low, 1e-9), 0, 1)
    edges = np.hypot(*np.gradient(values, axis=(1, 2))).max(axis=0)
    maps: Maps = np.sqrt(np.stack([values.mean(axis=0), edges])).astype(np.float32)
    return maps


def _maps_of_labels(labels: NDArray[np.int32]) -> Maps:
    """What is labelled, and the outlines (2, Y, X)."""
    outlines = np.zeros(labels.shape, bool)
    for axis in range(2):
        along, result = np.moveaxis(labels, axis, 0), np.moveaxis(outlines, axis, 0)  # views
        differ = (along[1:] != along[:-1]) & (along[1:] >= 0) & (along[:-1] >= 0)
        result[1:] |= differ
        result[:-1] |= differ
    return np.stack([labels > 0, outlines]).astype(np.float32)


def _shrink(maps: Maps, known: NDArray[np.bool_], step: int) -> Maps:
    """Maps (2, Y, X) in blocks of `step` pixels, smoothed, with mean 0 and deviation 1 where pixels are known."""
    counts = [n // step for n in known.shape]
    middle = tuple(
        slice((n - k * step) // 2, (n - k * step) // 2 + k * step) for n, k in zip(known.shape, counts, strict=True)
    )
    blocks = (counts[0], step, counts[1], step)
    share = known[middle].reshape(blocks).mean((1, 3)) > 0.5
    small: Maps = ndimage.gaussian_filter(maps[(slice(None), *middle)].reshape(2, *blocks).mean((2, 4)), (0, 1, 1))
    for one in small:
        inside = one[share]
        spread = float(inside.std()) if inside.size else 0.0
        one[...] = np.where(share, (one - inside.mean()) / spread, 0) if spread > 0 else 0
    return small


def agree(image: Maps, labels: Maps) -> NDArray[np.float64]:
    """The agreement (4,) of maps (2, y, x) of one shape."""
    return np.array([float((one * other).mean()) for one in image for other in labels])


def turn(maps: Maps, y: int, x: int, swap: bool) -> Maps:
    """Maps (2, y, x) turned in one of the ways of `TURNS`."""
    turned = maps[:, ::y, ::x]
    return turned.transpose(0, 2, 1) if swap else turned


def _turn_all(image: Maps, labels: Maps) -> NDArray[np.float64]:
    result = np.full((len(TURNS), 4), np.nan)
    for place, way in enumerate(TURNS.values()):
        turned = turn(labels, *way)
        if turned.shape == image.shape:
            result[place] = agree(image, turned)
    return result


def _shift(image: Maps, labels: Maps) -> NDArray[np.float64]:
    """The agreement (4, 2 W + 1, 2 W + 1) for each shift of the labels; what leaves the image does not count."""
    size = [fft.next_fast_len(n + WINDOW, real=True) for n in image.shape[1:]]
    spectra = [fft.rfft2(maps, size) for maps in (image, labels)]
    maps = [fft.irfft2(one * np.conj(other), size) for one in spectra[0] for other in spectra[1]]
    window = np.roll(np.stack(maps), (WINDOW, WINDOW), (1, 2))[:, : 2 * WINDOW + 1, : 2 * WINDOW + 1]
    return np.asarray(window / image[0].size, np.float64)
