"""Axis letters of a file -> the canonical order (C, *S), one page at a time.

The letters are those of tifffile, OME and ImageJ: Y X Z are space, C and S (samples of a colour
pixel) are channels, every other letter (T, Q, I, P, R ...) counts pages. With two spatial
dimensions Z counts pages as well, so that each plane of a stack is an image of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from contractile.errors import ContractileError

Index = tuple[int | slice, ...]


@dataclass(frozen=True)
class Layout:
    """Which axes of an array count pages, which one holds the channels (None: there is one channel
    without an axis), and which ones are space, in the order of `*S`."""

    lengths: tuple[int, ...]
    page_axes: tuple[int, ...]
    channel_axis: int | None
    space_axes: tuple[int, ...]

    @property
    def pages(self) -> int:
        return math.prod(self.lengths[axis] for axis in self.page_axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, *S) of every page."""
        channels = 1 if self.channel_axis is None else self.lengths[self.channel_axis]
        return (channels, *(self.lengths[axis] for axis in self.space_axes))

    def index(self, page: int, channels: slice, space: tuple[slice, ...]) -> Index:
        """The index into the file's array that cuts this region out of this page."""
        index: list[int | slice] = [0] * len(self.lengths)  # every other axis has length 1
        if self.page_axes:
            places = np.unravel_index(page, [self.lengths[axis] for axis in self.page_axes])
            for axis, place in zip(self.page_axes, places, strict=True):
                index[axis] = int(place)
        if self.channel_axis is not None:
            index[self.channel_axis] = channels
        for axis, part in zip(self.space_axes, space, strict=True):
            index[axis] = part
        return tuple(index)

    def order(self) -> tuple[int, ...]:
        """How to transpose what `index` cuts out, so that it becomes ([C], *S)."""
        wanted = (*(() if self.channel_axis is None else (self.channel_axis,)), *self.space_axes)
        remaining = sorted(wanted)
        return tuple(remaining.index(axis) for axis in wanted)


def arrange(axes: str, lengths: tuple[int, ...], *, dims: int, file: str) -> Layout:
    """Give every axis of a file its role. `dims` is 2 or 3, the number of spatial dimensions wanted.

    Raises ValueError where the axes cannot be read as images of `dims` dimensions; `file` is named.
    """
    if dims not in (2, 3):
        raise ValueError(f"dims must be 2 (images) or 3 (volumes), got {dims}")
    described = f"{file}: axes {axes} with lengths {lengths}"
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise ContractileError(f"{described} need one Y and one X to be an image", "re-export it as TIFF or OME-TIFF")
    if 0 in lengths:
        raise ContractileError(f"{described} hold no pixels", "re-export the file or leave it out")
    channels = [i for i, letter in enumerate(axes) if letter in "CS" and lengths[i] > 1]
    if len(channels) > 1:
        raise ContractileError(f"{described} mix channels with colour", "save it with one axis of channels")
    others = [i for i, letter in enumerate(axes) if letter not in "CSYX"]
    depth = [] if dims == 2 else [_depth_axis(axes, lengths, others, described)]
    return Layout(
        lengths=lengths,
        page_axes=tuple(i for i in others if i not in depth),
        channel_axis=channels[0] if channels else None,
        space_axes=(*depth, axes.index("Y"), axes.index("X")),
    )


def _depth_axis(axes: str, lengths: tuple[int, ...], others: list[int], described: str) -> int:
    """Z, or in a file that has no Z the only axis of pages."""
    if "Z" in axes:
        return axes.index("Z")
    candidates = [i for i in others if lengths[i] > 1] or others[-1:]
    if len(candidates) != 1:
        reason = "have no depth" if not candidates else "leave the depth open"
        raise ContractileError(f"{described} {reason}, but dims=3 needs a volume", "use dims=2 or name an axis Z")
    return candidates[0]


def guess_axes(lengths: tuple[int, ...], *, dims: int, file: str) -> str:
    """Axes of a bare array (.npy, Zarr without metadata): an axis of at most 4 is channels, in
    front of space or behind it; any further axis in front counts pages."""
    space = "YX" if dims == 2 else "ZYX"
    extra = len(lengths) - dims
    if extra == 0:
        return space
    if extra in (1, 2):
        pages = "Q" * (extra - 1)
        if lengths[-1] <= 4 < lengths[extra - 1]:
            return f"{pages}{space}C"
        if lengths[extra - 1] <= 4:
            return f"{pages}C{space}"
        if extra == 1:
            return f"Q{space}"
    wanted = f"(C, {', '.join(space)})"
    raise ContractileError(
        f"an array of shape {lengths} is no image with dims={dims}", f"save it as {wanted}", where=file
    )
