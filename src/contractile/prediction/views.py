"""The views of an image that test-time averaging takes the mean over (the paper: seven rotated ones, section 3).

A network may say different things about mirrored and quarter-turned copies of an image, unless its kernels are tied
under these symmetries. Then all eight copies give the same, and the views are turned by angles in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.grid import Block, cut
from contractile.prediction.field import Field, Region

ANGLES = (30, 60)  # degrees; together with the image as it is they divide the quarter turn evenly
SPLINE_REACH = {1: 2, 3: 16}  # pixels, by the order of the spline: what lies farther away changes a value by under 1e-8


class View(NamedTuple):
    """`see` turns an image (C, *S) into what the network sees; `restore` turns its field back to (K, *S)."""

    see: Callable[[Any], Any]
    restore: Callable[[Field], Field]


UNCHANGED = View(see=lambda image: image, restore=lambda field: field)


def views(shape: Sequence[int], symmetry: Literal["none", "square"]) -> list[View]:
    """Views of an image of `shape` (*S) for a network whose kernels are tied under `symmetry`.

    "none": all mirrored copies and quarter turns of the last two axes (eight views in 2-D). "square": the image as it
    is and turned by each of ANGLES; mirrored pixels fill the corners that a turned image does not reach.
    """
    if symmetry == "none":
        return [_oriented(transposed, flips) for transposed, flips in _symmetries(len(shape))]
    return [UNCHANGED, *(_turned(angle, tuple(shape[-2:])) for angle in ANGLES)]


def _symmetries(axes: int) -> Iterator[tuple[bool, frozenset[int]]]:
    """(whether the last two axes change places, the axes then flipped): symmetries of the square, times a flip in Z."""
    for transposed in (False, True):
        for y in ((), (-2,)):
            for x in ((), (-1,)):
                yield transposed, frozenset((*y, *x))
                if axes == 3:
                    yield transposed, frozenset((*y, *x, -3))


def _oriented(transposed: bool, flips: frozenset[int]) -> View:
    if not transposed and not flips:
        return UNCHANGED
    swapped = frozenset({-1: -2, -2: -1}.get(axis, axis) for axis in flips) if transposed else flips
    return View(lambda image: Oriented(image, transposed, flips), lambda field: Oriented(field, transposed, swapped))


class Oriented(Field):
    """Values (C, *S) with the last two axes exchanged where `transposed`, then flipped along the axes `flips` (< 0)."""

    def __init__(self, source: Any, transposed: bool, flips: frozenset[int]) -> None:
        self.source, self.transposed, self.flips = source, transposed, flips
        *front, y, x = source.shape
        self.shape = (*front, x, y) if transposed else tuple(source.shape)
        self.dtype, self.scale = source.dtype, getattr(source, "scale", 1.0)

    def compute(self, region: Region) -> NDArray[Any]:
        wanted = list(region)
        for axis in self.flips:
            size = self.shape[axis]
            wanted[axis] = slice(size - region[axis].stop, size - region[axis].start)
        if self.transposed:
            wanted[-2], wanted[-1] = wanted[-1], wanted[-2]
        values = self.source[(slice(None), *wanted)]
        return np.flip(np.swapaxes(values, -2, -1) if self.transposed else values, tuple(self.flips))


def _turned(angle: float, shape: tuple[int, ...]) -> View:
    """The whole image turned about its middle: the network sees the rectangle that holds all of it."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    around = tuple(np.ceil(np.abs([[cosine, sine], [sine, cosine]]) @ shape).astype(int).tolist())
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return View(
        see=lambda image: Turned(image, turn, around, order=3),
        restore=lambda field: Turned(field, turn.T, shape, order=1),  # linear: probabilities still add up to 1
    )


class Turned(Field):
    """Values (..., Y, X) turned: pixel p of (..., *shape) comes from `matrix` @ p, both counted from the middle."""

    def __init__(self, source: Any, matrix: NDArray[np.float64], shape: tuple[int, ...], *, order: int) -> None:
        self.source, self.matrix, self.order = source, matrix, order
        self.shape, self.scale = (*source.shape[:-2], *shape), getattr(source, "scale", 1.0)

    def compute(self, region: Region) -> NDArray[np.float32]:
        start = np.array([part.start for part in region[-2:]])
        size = tuple(part.stop - part.start for part in region[-2:])
        middle, here = ((np.array(shape[-2:]) - 1) / 2 for shape in (self.source.shape, self.shape))
        offset = middle + self.matrix @ (start - here)  # where the first pixel of the region comes from
        corners = offset + np.array([[y, x] for y in (0, size[0] - 1) for x in (0, size[1] - 1)]) @ self.matrix.T
        reach = SPLINE_REACH[self.order]
        low = np.floor(corners.min(axis=0)).astype(int) - reach
        high = np.ceil(corners.max(axis=0)).astype(int) + reach + 1
        plane = tuple(zip(low.tolist(), high.tolist(), strict=True))
        read = (*((part.start, part.stop) for part in region[:-2]), *plane)
        values = cut(self.source, Block(read=read, write=read)).astype(np.float32, copy=False)
        out = np.empty((*values.shape[:-2], *size), np.float32)
        for index in np.ndindex(values.shape[:-2]):
            ndimage.affine_transform(
                values[index], self.matrix, offset - low, output=out[index], order=self.order, mode="mirror"
            )
        return out
