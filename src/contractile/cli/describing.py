"""Models and image files in words: what `info` prints."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import (
    Source,
    Stack,
    find,
    leave_out_labels,
    list_image_files,
    named_files,
    open_image,
    say_channels,
    say_rest,
)
from contractile.images.failures import Failures, find_readable
from contractile.images.formats import open_rasters
from contractile.images.series import Series, split_series

if TYPE_CHECKING:
    from contractile.images import Image
    from contractile.model import ModelCard

AT_MOST = 2**26  # values of a file that are read to find its range
MOST_PAGES = 512  # that are read for that
WIDTH = 100  # characters of a line about a model


def describe_all(
    models: Sequence[str], images: Sequence[str], axes: str | None = None, *, as_json: bool = False
) -> Iterator[str]:
    """The card of each model in words, or with `as_json` as JSON; a line for each image file.

    Pages of one kind share a line.

    `images` are folders, globs and files, `axes` the letters of their axes, where somebody gave them. What cannot be
    read among others is logged, and the others are described. Raises NotFinished in the end then, and what `read_card`,
    `find` and `open_image` raise where nothing can be described.
    """
    from contractile.model import read_card

    failures = Failures("described")
    for place in models:
        try:
            card = read_card(place)
        except ContractileError as error:
            failures.add(place, error)
            continue
        failures.count_result()
        if as_json:
            yield from json.dumps({**card.model_dump(mode="json"), **_judges(card)}, indent=2).splitlines()
        else:
            yield f"{place}: {card.task}, {card.network.parameters:,} parameters"
            yield from _describe_model(card)
    files = _list(images, failures)
    sources = find_readable([[file] for file in files], partial(find, axes=axes), failures.add) if files else []
    for path, pages in groupby(sources, key=lambda source: source.path):
        try:
            yield from _describe_file(list(pages))
        except ContractileError as error:
            failures.add(path, error)
        else:
            failures.count_result()
    say_rest(files)
    failures.finish()


def _describe_model(card: ModelCard) -> Iterator[str]:
    """A card in words: what the model is for, its scores, what it is and where it comes from."""
    from contractile.metrics import METRICS
    from contractile.report.card import describe_card

    yield from textwrap.wrap(card.description, WIDTH, initial_indent="  ", subsequent_indent="  ")
    model, origin = describe_card(card)
    rows = list(model.rows)
    if card.class_names:
        rows.append(("classes", ", ".join(map("{} {}".format, card.class_values, card.class_names))))
    if card.axes is not None:
        rows.append(("axes of image files", card.axes))
    rows += [("scores", "on the validation images, which also decide which network is kept")] if card.scores else []
    for name, value in card.scores.items():
        rows.append((f"  {name}", f"{value:.3f}" + (f", {METRICS[name].title}" if name in METRICS else "")))
    judges = {name: text for name, text in _judges(card).items() if text is not None}
    rows += [*judges.items(), *origin.rows]
    broad = max(len(name) for name, _ in rows) + 2
    for name, text in rows:
        indent = " " * (2 + broad)
        lines = textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent, break_long_words=False)
        yield from (f"  {name}".ljust(len(indent)) + lines[0].strip(), *lines[1:]) if lines else (f"  {name}",)


def _judges(card: ModelCard) -> dict[str, str | None]:
    """What a model judges its results by, in words instead of hundreds of numbers."""
    sure, even, like = card.confidence, card.calibration, card.likeness
    return {
        "confidence": None if sure is None else f"learned from {sure.objects} objects in {sure.images} image(s)",
        "calibration": None if even is None else f"learned from {even.images} image(s)",
        "likeness": None if like is None else f"learned from {len(like.images)} images or parts of them",
    }


def _list(places: Sequence[str], failures: Failures) -> list[Path]:
    """The files of images at several places."""
    there: list[str] = []
    for place in places:
        try:
            list_image_files(place)
            there.append(place)
        except ContractileError as error:
            failures.add(place, error)
    files = leave_out_labels(list_image_files(there), named=named_files(there)) if there else []
    say_channels(files)
    return files


def _describe_file(sources: list[Source]) -> Iterator[str]:
    for series in split_series(sources):
        yield _describe(series)


def _describe(series: Series) -> str:
    pages, first = series.pages, series.pages[0]
    name = first.path.name if series.number is None else f"{first.path.name} (image {series.number})"
    with open_image(first) as image:
        size = " x ".join(str(n) for n in image.shape[1:])
        parts = [f"{size} pixels", f"{image.shape[0]} channel(s)", str(image.dtype)]
    many = "" if len(pages) == 1 else f"{_count(len(pages), series.stack)} of "
    parts += [_range(pages), f"axes {_letters(series)}"]
    parts.append(_pixel_size(pages, series.number))
    return f"{name}: {many}{', '.join(parts)}"


def _pixel_size(pages: Sequence[Source], number: int | None) -> str:
    """`0.2 x 0.2 um per pixel`, or of images with sizes of their own `0.2 x 0.2 to 0.4 x 0.4 um per pixel`."""
    with open_rasters(pages[0].path, dims=2, axes=pages[0].axes) as rasters:
        chosen = rasters if number is None else [rasters[number]]
        sizes = [tuple(one.scale[axis] for axis in "YX") if {"Y", "X"} <= one.scale.keys() else None for one in chosen]
    known = sorted({size for size in sizes if size is not None})
    if not known:
        return "pixel size unknown"
    ends = " to ".join(" x ".join(f"{n:g}" for n in size) for size in dict.fromkeys((known[0], known[-1])))
    return f"{ends} um per pixel{'' if None not in sizes else ' where it is known'}"


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


def _letters(series: Series) -> str:
    """The letters of an image's axes, and where they are from."""
    source = series.pages[0]
    with open_rasters(source.path, dims=2, axes=source.axes) as rasters:
        raster = rasters[series.number or 0]
    return f"{raster.axes} (as given)" if source.axes else f"{raster.axes} (guessed)" if raster.guessed else raster.axes


def _range(pages: Sequence[Source]) -> str:
    """`12 to 4095`: the smallest and the largest value, as far as they can be found in reasonable time."""
    low, high, bad, read, seen = math.inf, -math.inf, 0, 0, ""
    for number, page in enumerate(pages):
        with open_image(page) as image:
            size = math.prod(image.shape)
            if number and (read + size > AT_MOST or number == MOST_PAGES):
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
