"""The views of an image that test-time averaging takes the mean over (the paper: seven rotated ones, section 3).

What a network gives for mirrored and quarter-turned images may differ, unless its kernels are tied under these
symmetries: its views are turned by angles between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ANGLES = (30, 60)  # degrees; with the image as it is they divide the quarter turn evenly


class View(NamedTuple):
    """An image (C, *S) -> what the network sees of it; and the maps (K, *S') it gives -> (K, *S), back in place."""

    see: Callable[[Any], Any]
    restore: Callable[[NDArray[np.float32]], NDArray[np.float32]]


def views(shape: Sequence[int], symmetry: Literal["none", "square"]) -> list[View]:
    """Views of an image of `shape` (*S) for a network whose kernels are tied under `symmetry`.

    "none": all flips, and quarter turns of the last two axes (eight views in 2-D). "square": the image as it is
    and turned by each of ANGLES, with mirrored pixels in the corners that a turned image does not fill.
    """
    if symmetry == "none":
        return [_symmetric(turns, flips) for turns, flips in _symmetries(len(shape))]
    return [_symmetric(0, ()), *(_turned(angle, tuple(shape[-2:])) for angle in ANGLES)]


def _symmetries(axes: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(quarter turns of the last two axes, axes to flip): the symmetries of the square, times a flip in depth."""
    for turns in range(4):
        for mirrored in ((), (-1,)):
            yield turns, mirrored
            if axes == 3:
                yield turns, (*mirrored, -3)


def _symmetric(turns: int, flips: tuple[int, ...]) -> View:
    return View(
        see=lambda pixels: np.flip(np.rot90(pixels, turns, (-2, -1)), flips) if turns or flips else pixels,
        restore=lambda maps: np.rot90(np.flip(maps, flips), -turns, (-2, -1)),
    )


def _turned(angle: float, shape: tuple[int, ...]) -> View:
    """The whole image turned about its middle: the network sees the square or oblong that holds all of it."""
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    around = np.ceil(np.abs([[cosine, sine], [sine, cosine]]) @ shape).astype(int)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    return View(
        see=lambda pixels: _resample(np.asarray(pixels), turn, tuple(around), order=3),
        restore=lambda maps: _resample(maps, turn.T, shape, order=1),  # linear: probabilities still add up to 1
    )


def _resample(stack: NDArray[Any], matrix: NDArray[np.float64], shape: tuple[int, ...], order: int) -> NDArray[Any]:
    """(..., Y, X) -> (..., *shape) float32: pixel p comes from matrix @ p, both counted from the middle."""
    middle, here = (np.array(stack.shape[-2:]) - 1) / 2, (np.array(shape) - 1) / 2
    offset = middle - matrix @ here
    out = np.empty((*stack.shape[:-2], *shape), np.float32)
    for plane in np.ndindex(stack.shape[:-2]):
        ndimage.affine_transform(stack[plane], matrix, offset, output=out[plane], order=order, mode="mirror")
    return out
