"""The images of a session: what they are, and their pixels by region and resolution, for several threads at once.

A resolution is read from the file where it has one. Of an image that is small enough it is computed where it is asked
for. Of a large one it is made in the background (`pyramids`); until then a few of its pixels stand for all.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.grid import Pixels, shared, within
from contractile.images import Image, Source, open_image
from contractile.images.folders import below_common
from contractile.images.raster import one_clear_line
from contractile.viewer.channels import describe_channels
from contractile.viewer.chunks import Chunks
from contractile.viewer.facts import Facts as Facts
from contractile.viewer.facts import Remembered
from contractile.viewer.lower import Halved, Part, Size, halvings, sample
from contractile.viewer.pyramids import Job, Maker, path_of
from contractile.viewer.shelf import Shelf, lasting

logger = logging.getLogger(__name__)

SIDE = 512  # pixels along each side of a chunk
HEAVY = 2**25  # bytes of a piece of a file that is kept as one chunk
LARGE = 4096**2  # pixels of an image whose lower resolutions are made in the background
MOST = 2**26  # pixels of all channels that are read for one request
LEAST, TIMES = 2**23, 32  # a few pixels stand for all: so many are read at least, and for each that is shown
FAR = 8  # times by which one resolution of a file may be larger than the next
FACTS = "facts.jsonl"  # in the cache
SHOWN = (np.uint8, np.uint16)  # types that are served as they are; all others become float32


@dataclass(frozen=True)
class _Form:
    """How the resolutions of an image are had: the first `stored` of `levels` are in its file."""

    channels: int
    dtype: np.dtype[Any]
    stored: int
    levels: tuple[Size, ...]
    made: Path | None  # where the others lie once they are made; None where each is computed when it is wanted

    @property
    def is_small(self) -> bool:
        """Whether the lowest resolution in the file is read as a whole for one request."""
        pixels = math.prod(self.levels[self.stored - 1])
        return pixels <= LARGE and self.channels * pixels <= MOST


class Pictures:
    """All images of a session, each a source. Files are opened when they are needed; `close` closes them.

    `cache` is a folder for lower resolutions of large images that have none; without it none are made. Methods raise
    ContractileError for the number of no image, and for a file that cannot be read: the others are not concerned.
    """

    def __init__(self, sources: Sequence[Source], *, cache: Path | None = None) -> None:
        self._sources, self._cache = tuple(sources), cache
        self._names, self._files = _unique_names(self._sources), _short_names(self._sources)
        self._pages = Counter(source.files for source in self._sources)
        self._shelf, self._chunks, self._maker = Shelf(), Chunks(), Maker(self._tell)
        self._forms: dict[int, _Form] = {}
        self._facts: dict[int, Facts] = {}
        self._remembered = Remembered(None if cache is None else cache / FACTS)
        self._told: list[Callable[[int], None]] = []

    def __len__(self) -> int:
        return len(self._sources)

    def names(self) -> list[str]:
        """One name per image, all different, also where large letters are small ones: NAME, or NAME_0003 of a page."""
        return [*self._names]

    def on_better(self, tell: Callable[[int], None]) -> None:
        """Call `tell(number)`, from a thread, when the lower resolutions of an image are made: it looks better now."""
        self._told.append(tell)

    def facts(self, number: int) -> Facts:
        """What is known of an image. Looks at a part of its pixels, once: the cache remembers what was found."""
        if number not in self._facts:
            using = self._use(number)
            found = self._remembered.find(self._sources[number])
            if found is None:
                with using as image:
                    found = self._describe(number, image)
                self._remembered.add(self._sources[number], found)
            self._facts[number] = self._placed(number, found)
        return self._facts[number]

    def pixels(self, number: int, level: int, region: Part) -> NDArray[Any]:
        """The pixels (C, h, w) of a region (Y, X) of a level, in pixels of that level: uint8, uint16 or float32.

        The array may be read-only. Raises ContractileError for a level that is not there and a region that is not
        inside of it.
        """
        with self._use(number) as image:
            form = self._form(number, image)
            _check(form, level, region)
            block = self._read(number, image, form, level, region)
        return block if block.dtype in SHOWN else block.astype(np.float32)

    def image(self, number: int) -> Image:
        """The image as it is in its file, by regions of any size. It is used until `close`, and not closed itself."""
        return lasting(lambda: self._use(number))

    def close(self) -> None:
        """Close all files, those in use when their use ends, and end what is made in the background."""
        self._maker.close()
        self._shelf.close()
        self._chunks.clear()

    def _use(self, number: int) -> AbstractContextManager[Image]:
        if not 0 <= number < len(self._sources):
            problem = f"the number of an image must be from 0 to {len(self._sources) - 1}, got {number}"
            raise ContractileError(problem, "open the session again")
        return self._shelf.use(number, partial(open_image, self._sources[number]))

    def _form(self, number: int, image: Image) -> _Form:
        if number not in self._forms:
            stored = [_plane(image)]
            for level in image.levels[1:]:
                near = all(few < n <= FAR * few or few == n for few, n in zip(_plane(level), stored[-1], strict=True))
                if not near or _plane(level) == stored[-1]:
                    break
                stored.append(_plane(level))
            levels = (*stored, *halvings(stored[-1]))
            form = _Form(image.shape[0], image.dtype, len(stored), levels, None)
            if self._cache is not None and not form.is_small:
                with one_clear_line(self._sources[number].path):
                    path = path_of(self._sources[number], image.shape, form.stored - 1, self._cache)
                form = replace(form, made=path)
            self._forms[number] = form
        return self._forms[number]

    def _describe(self, number: int, image: Image) -> Facts:
        form, size = self._form(number, image), image.pixel_size_um
        return Facts(
            id=number,
            name="",
            file="",
            page=0,
            pages=1,
            shape=form.levels[0],
            channels=describe_channels(image),
            dtype=image.dtype.name if image.dtype in SHOWN else "float32",
            levels=form.levels,
            pixel_size_um=None if size is None else (size[0], size[1]),
        )

    def _placed(self, number: int, facts: Facts) -> Facts:
        """Facts of an image with its place in this session."""
        source = self._sources[number]
        pages = self._pages[source.files]
        return replace(
            facts, id=number, name=self._names[number], file=self._files[number], page=source.page or 0, pages=pages
        )

    def _read(self, number: int, image: Image, form: _Form, level: int, region: Part) -> NDArray[Any]:
        if level < form.stored:
            return self._cut(("file", number, level), image.levels[level], region)
        if form.made is not None and form.made.exists():
            try:
                with self._shelf.use(("made", number), partial(_open_made, form, form.made)) as lower:
                    return self._cut(("made", number, level), lower.levels[level - form.stored], region)
            except ContractileError as error:
                logger.warning("%s; it is not used", error)
                form = self._forms[number] = replace(form, made=None)
        if form.is_small or _is_near(form, level, region):
            return self._mean(number, image, form, level, region)
        if form.made is not None:
            self._maker.ask(number, Job(self._sources[number], form.stored - 1, form.made))
        return self._sample(number, image, form, level, region)

    def _mean(self, number: int, image: Image, form: _Form, level: int, region: Part) -> NDArray[Any]:
        """A part of a level, computed from the level above it."""
        if level < form.stored:
            return self._cut(("file", number, level), image.levels[level], region)
        finer = partial(self._mean, number, image, form, level - 1)
        whole = (form.channels, *form.levels[level - 1])
        return self._cut(("mean", number, level), Halved(whole, form.dtype, finer), region)

    def _sample(self, number: int, image: Image, form: _Form, level: int, region: Part) -> NDArray[Any]:
        """A part of a level in which a few pixels stand for all."""
        finest = image.levels[form.stored - 1]
        factor = 2 ** (level - form.stored + 1)
        most = min(MOST, max(LEAST, TIMES * math.prod(one.stop - one.start for one in region)))
        key = ("sample", number, level, *((one.start, one.stop) for one in region))
        unit = (finest.unit[0], finest.unit[1])
        return self._chunks.get(key, lambda: sample(finest, unit, region, factor=factor, most=most))

    def _cut(self, key: tuple[Any, ...], pixels: Pixels, region: Part) -> NDArray[Any]:
        """A region of pixels (C, Y, X), of chunks that are kept."""
        channels, *size = pixels.shape
        sides = _chunk(pixels)
        rows, columns = (
            range(one.start // side, math.ceil(one.stop / side)) for one, side in zip(region, sides, strict=True)
        )
        out = np.empty((channels, *(one.stop - one.start for one in region)), pixels.dtype)
        for row in rows:
            for column in columns:
                place = zip((row, column), sides, size, strict=True)
                y, x = (slice(at * side, min((at + 1) * side, n)) for at, side, n in place)
                chunk = self._chunks.get((*key, row, column), partial(_fetch, pixels, y, x))
                both = shared(region, (y, x))
                out[(slice(None), *within(both, region))] = chunk[(slice(None), *within(both, (y, x)))]
        return out

    def _tell(self, number: int) -> None:
        for tell in self._told:
            tell(number)


def _open_made(form: _Form, path: Path) -> Image:
    """The lower resolutions that were made. Raises ContractileError where they are others."""
    image = open_image(Source("lower", path))
    if [one.shape for one in image.levels] != [(form.channels, *size) for size in form.levels[form.stored :]]:
        image.close()
        raise ContractileError("holds other resolutions than were made", "remove it", where=path)
    return image


def _fetch(pixels: Pixels, y: slice, x: slice) -> NDArray[Any]:
    return np.asarray(pixels[:, y, x])


def _plane(image: Pixels) -> Size:
    return image.shape[1], image.shape[2]


def _check(form: _Form, level: int, region: Part) -> None:
    if not 0 <= level < len(form.levels):
        problem = f"level must be from 0 to {len(form.levels) - 1}, got {level}"
        raise ContractileError(problem, "ask for one of the levels of the image")
    size = form.levels[level]
    if not all(0 <= one.start < one.stop <= n and one.step in (None, 1) for one, n in zip(region, size, strict=True)):
        got = ", ".join(f"{one.start}:{one.stop}" for one in region)
        raise ContractileError(f"region must lie within {size} of level {level}, got {got}", "ask for a part of it")


def _is_near(form: _Form, level: int, region: Part) -> bool:
    """Whether a region of a large image is computed of all its pixels when it is asked for."""
    steps = level - form.stored + 1
    shown = math.prod(one.stop - one.start for one in region)
    return steps <= 2 and form.channels * shown * 4**steps <= MOST


def _chunk(pixels: Pixels) -> Size:
    """The sides of the chunks that are kept: whole pieces of the file, as long as these are not too heavy."""
    unit = getattr(pixels, "unit", (1, 1))
    y, x = (min(n, one * math.ceil(SIDE / one)) for one, n in zip(unit, pixels.shape[1:], strict=True))
    return (y, x) if pixels.shape[0] * y * x * pixels.dtype.itemsize <= HEAVY else (SIDE, SIDE)


def _unique_names(sources: Sequence[Source]) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for source in sources:
        number, found = 1, source.name
        while found.casefold() in names:
            number += 1
            found = f"{source.name}_{number}"
        names[found.casefold()] = found
    return tuple(names.values())


def _short_names(sources: Sequence[Source]) -> tuple[str, ...]:
    """The files of the sources, as seen from the folder that holds all of them."""
    return tuple(path.as_posix() for path in below_common([source.path for source in sources]))
