"""Axis letters of a file -> the canonical order (C, *S), one page at a time.

The letters are those of tifffile, OME and ImageJ. Y, X and Z are space. C and S (the samples of a colour pixel) are
channels. Every other letter (T, Q, I, P, R ...) counts pages. With two spatial dimensions Z counts pages, too: each
plane of a stack is one image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from contractile.errors import ContractileError

Index = tuple[int | slice, ...]
FEW = 4  # so many channels are a colour picture with transparency, or four stains
FEW_BEHIND = 16  # an axis that is too short to be a side of the image holds at most so many channels
SHORTER = 4  # times that an axis is shorter than its neighbours when it is no side of the image


@dataclass(frozen=True)
class Layout:
    """The role of each axis of an array.

    `page_axes` count pages, `space_axes` are *S in order. `channel_axis` is None for an array with a single channel
    and no axis for it.
    """

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
        places = np.unravel_index(page, [self.lengths[axis] for axis in self.page_axes])
        index: dict[int, int | slice] = dict(zip(self.space_axes, space, strict=True))
        index |= {axis: int(place) for axis, place in zip(self.page_axes, places, strict=True)}
        if self.channel_axis is not None:
            index[self.channel_axis] = channels
        return tuple(index.get(axis, 0) for axis in range(len(self.lengths)))  # axes without a role have length 1

    def order(self) -> tuple[int, ...]:
        """How to transpose what `index` cuts out, so that it becomes (C, *S), or (*S) without an axis of channels."""
        wanted = (*(() if self.channel_axis is None else (self.channel_axis,)), *self.space_axes)
        return tuple(sorted(wanted).index(axis) for axis in wanted)


def arrange(axes: str, lengths: tuple[int, ...], *, dims: int, file: str) -> Layout:
    """Give every axis of an array in `file` its role. `dims` is the number of spatial dimensions wanted, 2 or 3.

    Raises ContractileError where the axes cannot be read as images of `dims` dimensions.
    """
    if dims not in (2, 3):
        raise ContractileError(f"dims must be 2 (images) or 3 (volumes), got {dims}", "use 2 or 3")
    found = f"axes {axes} with lengths {lengths}"
    if axes.count("Y") != 1 or axes.count("X") != 1:
        raise ContractileError(f"{found} need one Y and one X", "export the image again as OME-TIFF", where=file)
    if 0 in lengths:
        raise ContractileError(f"{found} hold no pixels", "export the file again or leave it out", where=file)
    channels = [i for i, letter in enumerate(axes) if letter in "CS" and lengths[i] > 1]
    if len(channels) > 1:
        raise ContractileError(f"{found} mix channels with colour", "save the channels along one axis", where=file)
    others = [i for i, letter in enumerate(axes) if letter not in "CSYX"]
    depth = [] if dims == 2 else [_depth_axis(axes, lengths, others, file)]
    pages = tuple(i for i in others if i not in depth)
    return Layout(lengths, pages, channels[0] if channels else None, (*depth, axes.index("Y"), axes.index("X")))


def _depth_axis(axes: str, lengths: tuple[int, ...], others: list[int], file: str) -> int:
    """Z. Where there is no Z, the only axis that counts pages."""
    if "Z" in axes:
        return axes.index("Z")
    candidates = [i for i in others if lengths[i] > 1] or others[-1:]
    if len(candidates) != 1:
        reason = "leave the depth open" if candidates else "have no depth"
        problem = f"axes {axes} with lengths {lengths} {reason}, but dims=3 needs a volume"
        raise ContractileError(problem, f"use dims=2, or {_name_depth(axes, candidates)}", where=file)
    return candidates[0]


def _name_depth(axes: str, candidates: list[int]) -> str:
    """What to do about axes that have no depth by their letters: one of them may be it."""
    planes = candidates or [i for i, letter in enumerate(axes) if letter in "CS"]
    if not planes:
        return "give stacks of planes"
    last = planes[-1]
    return f"name the axes, where {axes[last]} is depth (--axes {axes[:last]}Z{axes[last + 1 :]})"


def guess_axes(
    lengths: tuple[int, ...], *, dims: int, file: str, pages_first: bool = False, labels: bool = False
) -> str:
    """The axes of an array whose file does not name them.

    A short axis behind the axes of space is channels: at most `FEW_BEHIND` and a quarter of both axes before it, or at
    most `FEW`. So is an axis of at most `FEW` just before the axes of space, or first of all. Every other axis in front
    counts pages. With `pages_first` (TIFF, which has pages) an axis in front always counts pages. Labels have no
    channels: all their further axes count pages.

    Raises ContractileError where the array has too few or too many axes for an image of `dims` dimensions.
    """
    space = "YX" if dims == 2 else "ZYX"
    extra = len(lengths) - dims
    if extra == 0:
        return "YXZ" if dims == 3 and _is_behind(lengths) else space
    if extra > 1 and lengths[-2] == 1 and lengths[-1] <= FEW_BEHIND:  # no side of an image
        rest = (*lengths[:-2], lengths[-1])
        known = guess_axes(rest, dims=dims, file=file, pages_first=pages_first, labels=labels)
        return f"{known[:-1]}Q{known[-1]}"
    if extra > 2 and lengths[0] == 1:
        return "Q" + guess_axes(lengths[1:], dims=dims, file=file, pages_first=pages_first, labels=labels)
    if extra < 0 or (extra > 2 and not (pages_first or labels)):
        problem = f"an array of shape {lengths} is no image with dims={dims}"
        raise ContractileError(problem, f"save it as (C, {', '.join(space)}), or name its axes (--axes)", where=file)
    pages = "Q" * (extra - 1)
    if lengths[-1] == 1 or (_is_behind(lengths) and lengths[-1] <= FEW_BEHIND):
        return f"{pages}{space}{'Q' if labels and lengths[-1] > 1 else 'C'}"
    if labels or pages_first:
        return f"{pages}Q{space}"
    return _guess_channels(lengths, space, extra)


def _guess_channels(lengths: tuple[int, ...], space: str, extra: int) -> str:
    """The axes of an array with one or two axes more than `space`, which may be channels."""
    pages = "Q" * (extra - 1)
    if lengths[-1] <= FEW < lengths[extra - 1]:
        return f"{pages}{space}C"
    if lengths[extra - 1] <= FEW:
        return f"{pages}C{space}"
    if lengths[0] <= FEW:
        return f"CQ{space}"
    if space == "ZYX" and lengths[extra] <= FEW:
        return f"{pages}ZCYX"
    if _is_behind(lengths) and lengths[-3] == lengths[-2]:  # two equal sides are Y and X
        return f"{pages}{space}Q"
    return f"{pages}Q{space}"


def _is_behind(lengths: tuple[int, ...]) -> bool:
    """Whether the last axis is clearly shorter than the two before it, too short to be X."""
    return SHORTER * lengths[-1] <= min(lengths[-3:-1])
