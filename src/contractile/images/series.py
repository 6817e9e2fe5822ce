"""The images of one file: which of its pages belong together, and what the planes of a volume are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from contractile.images.axes import Layout, arrange
from contractile.images.formats import open_rasters
from contractile.images.gate import check_pages
from contractile.images.image import Stack
from contractile.images.sources import Source, counting_axes, stack_along
from contractile.images.writing import KnownSize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from contractile.images.raster import Raster


@dataclass(frozen=True)
class Series:
    """Pages of one file that are alike, in order; `stack` says what they are, and is None for a single page.

    `name` is that of the file, followed by the number of the image where the file holds several: `a_0001`. `number` is
    None where it holds one.
    """

    name: str
    pages: tuple[Source, ...]
    stack: Stack | None
    number: int | None = None

    @property
    def path(self) -> Path:
        return self.pages[0].path

    @property
    def image(self) -> str:
        """The name of the file; where it holds several images, with the number of this one: `a_0001.lif`."""
        return self.path.name if self.number is None else f"{self.name}{self.path.suffix}"

    def __str__(self) -> str:
        """The series in a message: its path, and its number where it has one."""
        return f"{self.path}" if self.number is None else f"{self.path} (image {self.number})"


@dataclass(frozen=True)
class Planes:
    """What the planes of the volumes of a series are, in order, and the size in micrometres of the pixels of each.

    Volumes (Z, Y, X) at two times have planes "TZ". Where a volume is made of frames, its planes are "T". A size has
    entries for Z, Y and X; each is None where the file does not give it.
    """

    stack: Stack
    sizes_um: list[KnownSize]


def split_series(pages: Sequence[Source], *, dims: int = 2) -> list[Series]:
    """The series in all pages of one file, as `find` gives them: one, or where images are not alike one for each.

    Raises as `find`.
    """
    first = pages[0]
    if len(pages) == 1 or first.stack is not None:
        stack = first.stack if first.stack and math.prod(first.stack.lengths) == len(pages) else None
        stack = stack or (Stack("Q", (len(pages),)) if len(pages) > 1 else None)
        return [Series(first.stem, tuple(pages), stack)]
    with _open(first, dims) as found:
        counts = [layout.pages for _, layout in found]
        stacks = [stack_along(raster, counting_axes(raster, layout)) for raster, layout in found]
    ends = [*accumulate(counts)]
    return [
        Series(f"{first.stem}_{number:04d}", tuple(pages[end - count : end]), stack if count > 1 else None, number)
        for number, (stack, count, end) in enumerate(zip(stacks, counts, ends, strict=True))
    ]


def describe_planes(series: Series) -> Planes:
    """What the planes of a series of volumes are. Raises as `find`."""
    sizes: list[KnownSize] = []
    planes: list[Stack] = []
    first, last = series.pages[0].page or 0, series.pages[-1].page or 0
    page = 0
    with _open(series.pages[0], 3) as found:
        for raster, layout in found:
            if first <= page <= last:
                depth = layout.space_axes[0]
                planes.append(stack_along(raster, [*counting_axes(raster, layout), depth]))
                z, y, x = (raster.scale.get(axis) for axis in (raster.axes[depth], "Y", "X"))
                count = layout.pages * raster.lengths[depth]
                check_pages(count, series.path)
                sizes += [(z, y, x)] * count
            page += layout.pages
    whole = replace(planes[0], spacing_um=None)  # each plane has one of its own
    if len(planes) > 1:  # images that are alike are pages without a name
        whole = replace(whole, axes=f"Q{whole.axes}", lengths=(len(planes), *whole.lengths))
    return Planes(whole, sizes)


@contextmanager
def _open(source: Source, dims: int) -> Iterator[list[tuple[Raster, Layout]]]:
    axes = source.axes or (source.guess.axes if source.guess else None)
    with open_rasters(source.path, dims=dims, axes=axes) as rasters:
        yield [(one, arrange(one.axes, one.lengths, dims=dims, file=str(source.path))) for one in rasters]
