"""What was painted on all images, as examples to learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.dataset import Example
from contractile.errors import ContractileError
from contractile.images import Image
from contractile.viewer.canvas import UNKNOWN, Canvas, overlap
from contractile.viewer.learner.messages import Cleared, Painted, Region

CONTEXT = 96  # pixels around what was painted that a network sees, too
LARGEST = 2**22  # pixels of an example; where more lies between what was painted, each tile is an example


class Annotated:
    """The annotation of all images: painted labels, and which pixels are held out.

    `unread` has the painted images that could not be read for the last `examples`, and why.
    """

    def __init__(self, open_image: Callable[[int], Image]) -> None:
        self._open = open_image
        self._known: dict[int, Canvas] = {}
        self._held: dict[int, Canvas] = {}
        self._whole: dict[int, set[int]] = {}
        self._cut: dict[int, list[Example]] = {}  # examples of images that did not change
        self.unread: dict[int, str] = {}

    def take(self, painted: Painted) -> None:
        """Remember what was painted."""
        number = painted.image
        if number not in self._known:
            height, width = self._open(number).shape[1:]
            self._known[number], self._held[number] = Canvas((height, width)), Canvas((height, width))
        self._known[number][painted.region] = painted.labels
        self._whole.setdefault(number, set()).update(painted.whole)
        self._held[number][painted.region] = np.where(painted.held, painted.labels, UNKNOWN)
        self._cut.pop(number, None)

    def clear(self, cleared: Cleared) -> None:
        """Forget what was painted in a region."""
        for canvas in (self._known.get(cleared.image), self._held.get(cleared.image)):
            for tile in list(canvas.painted()) if canvas is not None else ():
                part = overlap(tile, cleared.region)
                if canvas is not None and part is not None:
                    canvas[part] = np.full([side.stop - side.start for side in part], UNKNOWN, np.int32)
        self._cut.pop(cleared.image, None)

    def images(self) -> list[int]:
        """The numbers of the images on which something is painted."""
        return sorted(number for number, canvas in self._known.items() if any(canvas.painted()))

    def examples(self) -> list[Example]:
        """Parts of images around what was painted. What is held out counts as unknown.

        An object that was drawn with its outline ends there: the unknown pixels next to it count as background.
        Images that cannot be read are left out.
        """
        self.unread = {}
        for number in self.images():
            try:
                if number not in self._cut:
                    self._cut[number] = list(self._cut_out(number))
            except ContractileError as error:
                self.unread[number] = str(error)
        return [example for number in self.images() for example in self._cut.get(number, ())]

    @property
    def has_background(self) -> bool:
        """Whether somebody painted background."""
        return any(
            (self._known[number][tile] == 0).any() for number in self._known for tile in self._known[number].painted()
        )

    def known(self, number: int, region: Region) -> NDArray[np.bool_]:
        """Where something is painted (*region)."""
        if number not in self._known:
            return np.zeros([part.stop - part.start for part in region], bool)
        known: NDArray[np.bool_] = self._known[number][region] != UNKNOWN
        return known

    def held(self) -> list[tuple[int, Region, NDArray[np.int32]]]:
        """What is held out: image, region with context, labels (*region), -1 where not held out."""
        found = []
        for number, canvas in sorted(self._held.items()):
            for box in _join(canvas.painted(), canvas.shape):
                labels = canvas[box]
                if (labels != UNKNOWN).any():
                    found.append((number, box, labels))
        return found

    def _cut_out(self, number: int) -> Iterable[Example]:
        image, canvas = self._open(number), self._known[number]
        for box in _join(canvas.painted(), canvas.shape):
            labels = np.where(self._held[number][box] != UNKNOWN, UNKNOWN, canvas[box])
            tight = _tighten(labels, box, canvas.shape)
            if tight is not None:
                part, held = canvas[tight], self._held[number][tight] != UNKNOWN
                part[held] = UNKNOWN
                inside = np.isin(part, list(self._whole[number])) & (part > 0)
                part[ndimage.binary_dilation(inside) & (part == UNKNOWN) & ~held] = 0
                name = f"{number}:{tight[0].start},{tight[1].start}"
                pixels = np.array(image[(slice(None), *tight)])  # a part of an image in memory would keep all of it
                yield Example(name, pixels, part, image.pixel_size_um)


def image_of(example: Example) -> int:
    """The number of the image that an example is a part of."""
    return int(example.name.partition(":")[0])


def _tighten(labels: NDArray[np.int32], box: Region, shape: Sequence[int]) -> Region | None:
    """The part of a box around what is known, with context; None where nothing is."""
    places = np.nonzero(labels != UNKNOWN)
    if len(places[0]) == 0:
        return None
    y, x = (
        slice(max(0, part.start + int(at.min()) - CONTEXT), min(size, part.start + int(at.max()) + 1 + CONTEXT))
        for part, at, size in zip(box, places, shape, strict=True)
    )
    return y, x


def _join(tiles: Iterable[Region], shape: Sequence[int]) -> list[Region]:
    """Boxes around tiles that touch or nearly touch; a box that would be too large is left as its tiles."""
    boxes: list[list[Region]] = []
    for tile in tiles:
        near = [group for group in boxes if any(_is_near(tile, other) for other in group)]
        boxes = [group for group in boxes if group not in near] + [[tile, *(one for group in near for one in group)]]
    found: list[Region] = []
    for group in boxes:
        y = slice(min(one[0].start for one in group), max(one[0].stop for one in group))
        x = slice(min(one[1].start for one in group), max(one[1].stop for one in group))
        small = (y.stop - y.start) * (x.stop - x.start) <= LARGEST
        found += [(y, x)] if small else sorted(group, key=lambda one: (one[0].start, one[1].start))
    return found


def _is_near(one: Region, other: Region) -> bool:
    return all(a.start <= b.stop + CONTEXT and b.start <= a.stop + CONTEXT for a, b in zip(one, other, strict=True))
