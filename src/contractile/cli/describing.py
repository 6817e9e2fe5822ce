"""Image files in words: what `info` prints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.images import (
    Source,
    Stack,
    find,
    leave_out_labels,
    list_image_files,
    open_image,
    say_channels,
    say_rest,
)
from contractile.images.formats import open_rasters

if TYPE_CHECKING:
    from contractile.images import Image

AT_MOST = 2**26  # values of a file that are read to find its range


def describe_images(place: str, axes: str | None = None) -> Iterator[str]:
    """A line for each image file at `place` (a folder, glob or file); pages of one kind share a line.

    `axes` are the letters of the files' axes, where somebody gave them. Raises as `find` and `open_image`.
    """
    files = leave_out_labels(list_image_files(place))
    say_channels(files)
    for _, group in groupby(find(files, axes=axes), key=lambda source: source.path):
        sources = list(group)
        alike = sources[0].stack is not None
        for pages in [sources] if alike else [[source] for source in sources]:
            yield _describe(pages)
    say_rest()


def _describe(pages: Sequence[Source]) -> str:
    first = pages[0]
    single = first.page is not None and len(pages) == 1
    name = f"{first.path.name} (page {first.page})" if single else first.path.name
    with open_image(first) as image:
        size = " x ".join(str(n) for n in image.shape[1:])
        parts = [f"{size} pixels", f"{image.shape[0]} channel(s)", str(image.dtype)]
        um = image.pixel_size_um
    many = "" if len(pages) == 1 else f"{_count(len(pages), first.stack)} of "
    parts += [_range(pages), f"axes {_letters(first)}"]
    parts.append("pixel size unknown" if um is None else f"{' x '.join(f'{n:g}' for n in um)} um per pixel")
    return f"{name}: {many}{', '.join(parts)}"


def _count(pages: int, stack: Stack | None) -> str:
    """`50 pages (T 10, one every 60 s; Z 5, 2 um apart)`."""
    if stack is None:
        return f"{pages} pages"
    known = {
        "T": "" if stack.interval_s is None else f", one every {stack.interval_s:g} s",
        "Z": "" if stack.spacing_um is None else f", {stack.spacing_um:g} um apart",
    }
    axes = [f"{axis} {n}{known.get(axis, '')}" for axis, n in zip(stack.axes, stack.lengths, strict=True)]
    return f"{pages} pages ({'; '.join(axes)})"


def _letters(source: Source) -> str:
    """The letters of a file's axes, and where they are from."""
    with open_rasters(source.path, dims=2, axes=source.axes) as rasters:
        letters = rasters[0].axes
        guessed = rasters[0].guessed
    return f"{letters} (as given)" if source.axes else f"{letters} (guessed)" if guessed else letters


def _range(pages: Sequence[Source]) -> str:
    """`12 to 4095`: the smallest and the largest value, as far as they can be found in reasonable time."""
    low, high, bad, read, seen = math.inf, -math.inf, 0, 0, ""
    for number, page in enumerate(pages):
        with open_image(page) as image:
            size = math.prod(image.shape)
            if number and read + size > AT_MOST:
                seen = f" in the first {number} page(s)"
                break
            values, seen = _middle(image, size), " in its middle" if size > AT_MOST else ""
        finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if finite.size:
            low, high = min(low, finite.min()), max(high, finite.max())
        read, bad = read + size, bad + values.size - finite.size
    broken = f", {bad} pixels that are NaN or infinite" if bad else ""
    return f"{low:g} to {high:g}{seen}{broken}" if low <= high else f"no value{broken}"


def _middle(image: Image, size: int) -> NDArray[Any]:
    """All pixels of an image, or of a very large one those around its middle."""
    share = min(1.0, (AT_MOST / size) ** (1 / (image.ndim - 1)))
    lengths = [max(1, int(n * share)) for n in image.shape[1:]]
    region = [slice((n - part) // 2, (n + part) // 2) for n, part in zip(image.shape[1:], lengths, strict=True)]
    return image[(slice(None), *region)]
