"""Seeded images of nuclei under other conditions: dimmed one by one, noisy, empty, with one nucleus, with a hot pixel.

Images are (1, Y, X), labels (Y, X). What is made of an 8-bit image has 16 bits: a grey level becomes STEP levels above
OFFSET, so that noise is not cut off and dim light is not lost by rounding, as in the files of a scientific camera.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import expand_labels

Image = NDArray[Any]
Labels = NDArray[np.integer[Any]]

STEP, OFFSET = 64.0, 1000.0
RIM, RING = 4, 10  # pixels beyond the outline that an object lights up; that its surroundings reach to
DIMMEST = 16.0


def dimmed(image: Image, labels: Labels, rng: np.random.Generator, *, spread: str = "logarithm") -> Image:
    """The brightness of every object above its surroundings, divided by a random factor from 1 to 16.

    `spread`: factors are uniform in their "logarithm", or themselves ("factor": most objects become very dim).
    """
    light = image[0].astype(np.float64)
    near, around = expand_labels(labels, RIM), expand_labels(labels, RING)
    ground = float(np.median(light[around == 0])) if (around == 0).any() else float(light.min())
    changed = light.copy()
    for number in np.unique(labels[labels > 0]):
        ring = light[(around == number) & (near == 0)]
        below = float(np.median(ring)) if ring.size else ground
        factor = np.exp(rng.uniform(0, np.log(DIMMEST))) if spread == "logarithm" else rng.uniform(1, DIMMEST)
        mine = near == number
        changed[mine] = below + (light[mine] - below) / factor
    return as_camera(changed)


def with_read_noise(image: Image, labels: Labels, rng: np.random.Generator, *, signal_to_noise: float) -> Image:
    """Normal noise as strong everywhere: the typical object is `signal_to_noise` times as bright."""
    light = image[0].astype(np.float64)
    return as_camera(light + rng.normal(0, _contrast(light, labels) / signal_to_noise, light.shape))


def with_photon_noise(image: Image, labels: Labels, rng: np.random.Generator, *, photons: float) -> Image:
    """Every pixel counts photons; a pixel of the typical object counts `photons` of them above the darkest pixel."""
    light = image[0].astype(np.float64)
    per_level = photons / _contrast(light, labels)
    low = float(np.percentile(light, 1))
    return as_camera(low + rng.poisson(np.maximum(light - low, 0) * per_level) / per_level)


def as_camera(light: NDArray[np.float64]) -> Image:
    """Grey levels of 8 bits (Y, X), with fractions -> 16 bits (1, Y, X)."""
    return np.rint(OFFSET + STEP * light).clip(0, 65535).astype(np.uint16)[None]


def _contrast(light: NDArray[np.float64], labels: Labels) -> float:
    """The median brightness of object pixels above that of the background."""
    inside = labels > 0
    return max(1.0, float(np.median(light[inside]) - np.median(light[~inside]))) if inside.any() else 50.0


def blank(rng: np.random.Generator, shape: tuple[int, int] = (300, 300)) -> Image:
    """A field without objects: photons of a dark background, and the noise of a camera."""
    return _record(np.full(shape, 100.0), rng)


def one_nucleus(rng: np.random.Generator, shape: tuple[int, int] = (520, 520)) -> tuple[Image, Labels]:
    """One bright disc, 22 pixels wide, somewhere in a dark field, and its label."""
    y, x = np.indices(shape)
    centre = rng.uniform(40, np.array(shape) - 40)
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 121
    return _record(ndimage.gaussian_filter(2000.0 * inside, 1.3) + 100, rng), inside.astype(np.int32)


def with_hot_pixel(image: Image, rng: np.random.Generator) -> tuple[Image, tuple[int, int]]:
    """An image of 16 bits with one saturated pixel, and its place."""
    changed = image.copy()
    place = tuple(int(rng.integers(n)) for n in image.shape[1:])
    changed[(0, *place)] = 65535
    return changed, (place[0], place[1])


def _record(light: NDArray[np.float64], rng: np.random.Generator) -> Image:
    return (rng.poisson(light) + rng.normal(0, 10, light.shape)).clip(0, 65535).astype(np.uint16)[None]
