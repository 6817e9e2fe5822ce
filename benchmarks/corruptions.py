"""Ways in which people's data go wrong, each done to a small copy of a good dataset. Used by doctor.py.

A corruption takes a `Copy` of a few images with their labels and a random generator, changes files as a person or a
program would, and returns the stem of the file that must be named ("" where any will do).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import find_boundaries

Array = NDArray[Any]
OBJECTS = ("dic-hela", "phc-u373", "dsb2018")
ALL = ("isbi2012", *OBJECTS)


class Copy:
    """Images and labels in two folders, all as TIFF: `images/NAME.tif` and `labels/NAME.tif`."""

    def __init__(self, folder: Path, pairs: list[tuple[str, Array, Array]]) -> None:
        self.folder, self.names = folder, [name for name, _, _ in pairs]
        self.images, self.labels = folder / "images", folder / "labels"
        for place in (self.images, self.labels):
            place.mkdir(parents=True)
        for name, image, labels in pairs:
            self.write("images", name, image)
            self.write("labels", name, labels)

    def read(self, kind: str, name: str) -> Array:
        return np.asarray(tifffile.imread(self.folder / kind / f"{name}.tif"))

    def write(self, kind: str, name: str, array: Array, **more: Any) -> None:
        colour = array.ndim == 3 and array.shape[-1] == 3
        more.setdefault("photometric", "rgb" if colour else "minisblack")
        tifffile.imwrite(self.folder / kind / f"{name}.tif", array, **more)

    def change(self, kind: str, name: str, how: Callable[[Array], Array]) -> None:
        self.write(kind, name, how(self.read(kind, name)))

    def change_all(self, kind: str, how: Callable[[Array], Array]) -> None:
        for name in self.names:
            self.change(kind, name, how)


Act = Callable[[Copy, np.random.Generator], str]


@dataclass(frozen=True)
class Corruption:
    """`named` is the kind of finding that is right, or words of its problem. `sets` are those where it can be done."""

    title: str
    named: str
    act: Act
    sets: tuple[str, ...] = ALL


def _one(copy: Copy, rng: np.random.Generator) -> str:
    return copy.names[int(rng.integers(len(copy.names)))]


def _two(copy: Copy, rng: np.random.Generator) -> tuple[str, str]:
    """Two images of one size, far apart in the order of the set."""
    shapes = {name: copy.read("labels", name).shape for name in copy.names}
    first = next(name for name in copy.names if list(shapes.values()).count(shapes[name]) > 1)
    alike = [name for name in copy.names if shapes[name] == shapes[first]]
    number = int(rng.integers(len(alike) // 2))
    return alike[number], alike[number + len(alike) // 2]


def truncated_image(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    path = copy.images / f"{name}.tif"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * rng.uniform(0.3, 0.95))])
    return name


def masks_as_jpeg(copy: Copy, rng: np.random.Generator) -> str:
    for name in copy.names:
        mask = ((copy.read("labels", name) > 0) * 255).astype(np.uint8)
        (copy.labels / f"{name}.jpg").write_bytes(imagecodecs.jpeg8_encode(mask, level=int(rng.integers(60, 98))))
        (copy.labels / f"{name}.tif").unlink()
    return copy.names[0]


def folders_swapped(copy: Copy, rng: np.random.Generator) -> str:
    copy.images.rename(copy.folder / "other")
    copy.labels.rename(copy.images)
    (copy.folder / "other").rename(copy.labels)
    return copy.names[0]


def mask_of_another_size(copy: Copy, rng: np.random.Generator) -> str:
    name, cut = _one(copy, rng), int(rng.integers(1, 4))
    copy.change("labels", name, lambda labels: labels[:-cut])
    return name


def image_twice(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    for kind in ("images", "labels"):
        copy.write(kind, "extra", copy.read(kind, name))
    return "extra"


def masks_exchanged(copy: Copy, rng: np.random.Generator) -> str:
    one, other = _two(copy, rng)
    labels = {name: copy.read("labels", name) for name in (one, other)}
    copy.write("labels", one, labels[other])
    copy.write("labels", other, labels[one])
    return one


def background_255(copy: Copy, rng: np.random.Generator) -> str:
    copy.change_all("labels", lambda labels: np.where(labels > 0, labels % 255, 255).astype(np.uint8))
    return copy.names[0]


def masks_in_colour(copy: Copy, rng: np.random.Generator) -> str:
    palette = rng.integers(40, 256, (3000, 3)).astype(np.uint8)
    palette[0] = 0
    copy.change_all("labels", lambda labels: palette[np.minimum(labels, 2999)])
    return copy.names[0]


def image_saturated(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    image = copy.read("images", name).astype(float)
    limit = np.percentile(image, 100 - rng.uniform(4, 15))
    copy.write("images", name, (image * 255 / max(limit, 1)).clip(0, 255).astype(np.uint8))
    return name


def no_data_pixel(copy: Copy, rng: np.random.Generator) -> str:
    name, value = _one(copy, rng), rng.choice([-9999, 3e38, -3.4e38, 1e9])
    for each in copy.names:
        image = copy.read("images", each).astype(np.float32)
        if each == name:
            image[tuple(rng.integers(size) for size in image.shape)] = value
        copy.write("images", each, image)
    return name


def objects_share_a_number(copy: Copy, rng: np.random.Generator) -> str:
    name = next(name for name in copy.names if len(np.unique(copy.read("labels", name))) > 3)
    labels = copy.read("labels", name)
    numbers = np.unique(labels[labels > 0])
    centres = np.array(ndimage.center_of_mass(labels > 0, labels, numbers))
    one = int(rng.integers(len(numbers)))
    farthest = int(np.argmax(((centres - centres[one]) ** 2).sum(axis=1)))
    copy.write("labels", name, np.where(labels == numbers[farthest], numbers[one], labels))
    return name


def specks(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    labels = copy.read("labels", name)
    places = np.argwhere(ndimage.binary_erosion(labels == 0, iterations=3))
    for place in rng.choice(places, 5):
        labels[tuple(place)] = labels.max() + 1
    copy.write("labels", name, labels)
    return name


def labels_copied_to_another_image(copy: Copy, rng: np.random.Generator) -> str:
    one, other = _two(copy, rng)
    copy.write("labels", other, copy.read("labels", one))
    return other


def labels_missing(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    (copy.labels / f"{name}.tif").unlink()
    return name


def another_bit_depth(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    copy.change("images", name, lambda image: image.astype(np.uint16) * 256)
    return name


def masks_inverted(copy: Copy, rng: np.random.Generator) -> str:
    copy.change_all("labels", lambda labels: ((labels == 0) * 255).astype(np.uint8))
    return copy.names[0]


def mask_turned(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    labels = copy.read("labels", name)
    ways = [np.flipud, np.fliplr, np.rot90, np.transpose] if labels.shape[0] == labels.shape[1] else [np.flipud]
    copy.write("labels", name, np.ascontiguousarray(ways[int(rng.integers(len(ways)))](labels)))
    return name


def mask_smoothed(copy: Copy, rng: np.random.Generator) -> str:
    name, sigma = _one(copy, rng), rng.uniform(0.5, 1.5)
    mask = ndimage.gaussian_filter((copy.read("labels", name) > 0) * 255.0, sigma)
    copy.write("labels", name, np.rint(mask).astype(np.uint8))
    return name


def masks_as_fractions(copy: Copy, rng: np.random.Generator) -> str:
    sigma = rng.uniform(0.6, 1.5)
    copy.change_all("labels", lambda labels: ndimage.gaussian_filter((labels > 0).astype(np.float32), sigma))
    return copy.names[0]


def pixel_sizes_mixed(copy: Copy, rng: np.random.Generator) -> str:
    odd = _one(copy, rng)
    for name in copy.names:
        size = 0.65 if name == odd else 0.325  # micrometres
        image = copy.read("images", name)
        more = {"resolution": (1 / size, 1 / size), "metadata": {"unit": "um"}, "imagej": True}
        copy.write("images", name, image, **more)
    return odd


def labels_empty(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    copy.change("labels", name, np.zeros_like)
    return name


def stripe_of_zeros(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    image = copy.read("images", name)
    first = int(rng.integers(image.shape[0] // 2))
    image[first : first + int(image.shape[0] * rng.uniform(0.1, 0.5))] = 0
    copy.write("images", name, image)
    return name


def image_in_colour(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    tint = rng.uniform(0.2, 1, 3)
    copy.change("images", name, lambda image: (image[..., None] * tint).astype(np.uint8))
    return name


def nan_in_image(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    image = copy.read("images", name).astype(np.float32)
    image[tuple(rng.integers(size) for size in image.shape)] = np.nan
    copy.write("images", name, image)
    return name


def numbers_resized(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    labels = copy.read("labels", name)
    small = labels[::2, ::2].astype(float)
    zoom = [size / part for size, part in zip(labels.shape, small.shape, strict=True)]
    copy.write("labels", name, np.rint(ndimage.zoom(small, zoom, order=1)).astype(np.uint16))
    return name


def labels_shifted(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    labels = copy.read("labels", name)
    far = int(rng.integers(12, 16) * max(1, -(-max(labels.shape) // 256)))
    copy.write("labels", name, np.pad(labels, ((far, 0), (0, far)))[: -far or None, far:])
    return name


def outlines_only(copy: Copy, rng: np.random.Generator) -> str:
    copy.change_all("labels", lambda labels: np.where(find_boundaries(labels, mode="inner"), labels, 0))
    return copy.names[0]


def one_number_for_all(copy: Copy, rng: np.random.Generator) -> str:
    name = next(name for name in copy.names if len(np.unique(copy.read("labels", name))) > 4)
    copy.change("labels", name, lambda labels: (labels > 0).astype(np.uint16))
    return name


def image_in_negative(copy: Copy, rng: np.random.Generator) -> str:
    name = _one(copy, rng)
    copy.change("images", name, lambda image: image.max() - image)
    return name


def images_as_labels(copy: Copy, rng: np.random.Generator) -> str:
    for name in copy.names:
        copy.write("labels", name, copy.read("images", name))
    return copy.names[0]


def image_constant(copy: Copy, rng: np.random.Generator) -> str:
    name, value = _one(copy, rng), int(rng.integers(0, 200))
    copy.change("images", name, lambda image: np.full_like(image, value))
    return name


def numbers_beyond_32_bits(copy: Copy, rng: np.random.Generator) -> str:
    copy.change_all("labels", lambda labels: labels.astype(np.uint64) * 3_000_000_000)
    return copy.names[0]


ASKED = 25  # so many, the first ones, are scored

CORRUPTIONS = (
    Corruption("truncated image", "copy the file again", truncated_image),
    Corruption("masks saved as JPEG", "grey", masks_as_jpeg),
    Corruption("folders swapped", "swapped", folders_swapped),
    Corruption("mask of another size", "size", mask_of_another_size),
    Corruption("image twice, under another name", "duplicate", image_twice),
    Corruption("masks of two images exchanged", "exchanged", masks_exchanged, ("isbi2012", "phc-u373", "dsb2018")),
    Corruption("background 255 instead of 0", "background", background_255, OBJECTS),
    Corruption("masks in colour", "colour", masks_in_colour, OBJECTS),
    Corruption("saturated image", "saturated", image_saturated),
    Corruption("a pixel without data", "far value", no_data_pixel),
    Corruption("two objects with one number", "split", objects_share_a_number, OBJECTS),
    Corruption("specks", "specks", specks, OBJECTS),
    Corruption("labels copied to another image", "duplicate labels", labels_copied_to_another_image),
    Corruption("labels missing", "unlabelled", labels_missing),
    Corruption("another bit depth", "types", another_bit_depth),
    Corruption("masks inverted", "inverted", masks_inverted, ("phc-u373", "dsb2018")),
    Corruption("mask turned or mirrored", "turned", mask_turned),
    Corruption("mask smoothed", "grey", mask_smoothed),
    Corruption("masks from 0 to 1 with fractions", "fractions", masks_as_fractions),
    Corruption("pixel sizes mixed", "pixel sizes", pixel_sizes_mixed),
    Corruption("labels empty", "empty", labels_empty),
    Corruption("stripe of zeros", "stripe", stripe_of_zeros, ("isbi2012", "dic-hela", "phc-u373")),
    Corruption("one image in colour", "channels", image_in_colour),
    Corruption("NaN in an image", "not finite", nan_in_image),
    Corruption("numbers resized with interpolation", "mixed", numbers_resized, OBJECTS),
    Corruption("labels shifted", "shifted", labels_shifted, ("isbi2012", "dsb2018")),
    Corruption("only outlines", "outlines", outlines_only, OBJECTS),
    Corruption("one number for all objects", "one number", one_number_for_all, OBJECTS),
    Corruption("image in negative", "contrast", image_in_negative, ("isbi2012", "dsb2018")),
    Corruption("images as their own labels", "same", images_as_labels),
    Corruption("constant image", "constant", image_constant),
    Corruption("numbers beyond 32 bits", "large numbers", numbers_beyond_32_bits, OBJECTS),
)
