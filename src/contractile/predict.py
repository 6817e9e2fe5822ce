"""The journey forward: image -> tiles -> network -> stitched probabilities -> labels.

Tiled and untiled prediction agree to rounding: context is real pixels, mirrored only at the image's border.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.engine import Engine, Precision, fit_tile
from contractile.images import (
    Image,
    Source,
    describe,
    find,
    overlay,
    read,
    stem,
    write_labels,
    write_picture,
    write_probabilities,
)
from contractile.instances import decode_objects
from contractile.model import Model, ModelCard
from contractile.model import load as load_model
from contractile.tiles import cut, paste, plan

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Probabilities = NDArray[np.float32]
Product = Literal["labels", "probabilities", "overlay"]
PRODUCTS: tuple[Product, ...] = ("labels", "probabilities", "overlay")


@dataclass(frozen=True)
class Written:
    """The files made from one input file, and the number of its pages."""

    source: Path
    pages: int
    files: tuple[Path, ...]


class Predictor:
    """A model placed on a device: `segment(image)` and `probabilities(image)` for images of any size.

    `tile` limits the side of a tile, in pixels (default: the largest that fits in memory). When memory
    runs out, tiles are halved and the image is begun again.
    """

    def __init__(
        self, model: Model, *, device: str = "auto", precision: Precision = "auto", tile: int | None = None
    ) -> None:
        self.card: ModelCard = model.card
        self.engine = Engine(model.network, device=device, precision=precision)
        if tile is not None and tile < 1:
            raise ValueError(f"tile must be at least 1 pixel, got {tile}; use 512, or leave it out")
        self.tile = tile

    def segment(self, image: Any, *, tta: bool = False, progress: Progress | None = None) -> NDArray[np.int32]:
        """Labels (*S) of an image (C, *S) or, with one channel, (*S).

        Task "objects": 0 background, 1..N the objects. Task "classes": the classes' values in the label
        files that the model learned from.
        """
        return self.decode(self.probabilities(image, tta=tta, progress=progress))

    def decode(self, probabilities: Probabilities) -> NDArray[np.int32]:
        """Probabilities (K, *S) -> labels (*S), as `segment` does."""
        if self.card.task == "objects":
            return decode_objects(probabilities, self.card.decoding)
        values = np.asarray(self.card.class_values, np.int32)
        labels: NDArray[np.int32] = values[probabilities.argmax(axis=0)]
        return labels

    def probabilities(self, image: Any, *, tta: bool = False, progress: Progress | None = None) -> Probabilities:
        """Class probabilities (K, *S) of an image (C, *S) or, with one channel, (*S), of any size.

        `tta` averages over all flips, and quarter turns of the last two axes (eight views in 2-D; the
        paper averaged seven rotations). `progress(done, total)` is called after each tile. Raises
        ValueError when channels or axes do not fit the model.
        """
        pixels = self._canonical(image)
        if not tta:
            return self._stitched(pixels, progress)
        views = list(_symmetries(pixels.ndim - 1))
        total: Probabilities | None = None
        for index, (turns, flips) in enumerate(views):
            step = _share(progress, index, len(views))
            view = self._stitched(np.flip(np.rot90(pixels, turns, (-2, -1)), flips), step)
            view = np.rot90(np.flip(view, flips), -turns, (-2, -1))
            total = view.copy() if total is None else total + view
        assert total is not None
        return total / np.float32(len(views))

    def _canonical(self, image: Any) -> Any:
        """(*S) -> (1, *S); an array that fits the model's axes and channels passes."""
        config = self.card.network
        if image.ndim == config.dims:
            image = np.asarray(image)[None]
        if image.ndim != config.dims + 1 or image.shape[0] != config.channels:
            space = ", ".join(("Z", "Y", "X")[-config.dims :])
            raise ValueError(
                f"image must have shape ({config.channels}, {space}) for this model, got {tuple(image.shape)}; "
                f"put channels first and keep the {config.channels} channel(s) it was trained on"
            )
        return image

    def _stitched(self, pixels: Any, progress: Progress | None) -> Probabilities:
        limit = self.tile or self.engine.largest_tile()
        while True:
            tile = fit_tile(self.card.network, pixels.shape[1:], limit)
            try:
                return self._run_tiles(pixels, tile, progress)
            except MemoryError:
                smaller = max(tile) // 2
                if fit_tile(self.card.network, pixels.shape[1:], smaller) == tile:
                    raise
                logger.warning("out of memory with tiles of %s pixels; trying %d", tile, smaller)
                limit = smaller

    def _run_tiles(self, pixels: Any, tile: tuple[int, ...], progress: Progress | None) -> Probabilities:
        config = self.card.network
        intensity = self.card.normalization.fit(pixels)
        tiles = plan(pixels.shape[1:], tile, margin=config.margin, stride=config.stride)
        # A padded network returns the whole tile: its rim saw the padding's zeros and is dropped.
        rim = config.margin if config.padding == "same" else 0
        core = (slice(None), *(slice(rim, size - rim) for size in tile))
        out: Probabilities = np.empty((max(2, config.classes), *pixels.shape[1:]), np.float32)
        for done, part in enumerate(tiles, start=1):
            values = self.engine(intensity.apply(cut(pixels, part))[None])[0]  # (C, *tile) -> (K, *S')
            paste(out, part, values[core] if rim else values)
            if progress is not None:
                progress(done, len(tiles))
        return out


def load(path: str | Path, *, device: str = "auto") -> Predictor:
    """Read a model file (or a run folder) and place it on a device."""
    return Predictor(load_model(path), device=device)


def probabilities(model: Model, image: Any) -> Probabilities:
    """Class probabilities (K, *S) of one image; see `Predictor.probabilities`."""
    return Predictor(model).probabilities(image)


def segment(model: Model, image: Any) -> NDArray[np.int32]:
    """Labels (*S) of one image; see `Predictor.segment`."""
    return Predictor(model).segment(image)


def predict_files(
    predictor: Predictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    products: Sequence[str] = ("labels",),
    tta: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Iterator[Written]:
    """Segment files into the folder `out`, one input at a time, as they are asked for.

    For NAME.tif: `NAME_labels.tif`, and on request `NAME_probabilities.tif` (float32, classes first) and
    `NAME_overlay.png` (one per page, of a stack). A stack of P pages gives stacks: labels (P, Y, X),
    probabilities (P, K, Y, X). `progress(name, done, total)` counts tiles. Raises ValueError for an unknown
    product, or two inputs that would write the same file.
    """
    unknown = [product for product in products if product not in PRODUCTS]
    if unknown or not products:
        raise ValueError(f"products must be among {', '.join(PRODUCTS)}, got {', '.join(products)!r}; correct the name")
    dims = predictor.card.network.dims
    files = [(path, list(pages)) for path, pages in groupby(find(images, dims=dims), key=lambda source: source.path)]
    _check_names([path for path, _ in files])
    for path, pages in files:
        tick = None if progress is None else _file_progress(progress, path.name, len(pages))
        yield _predict_file(predictor, path, pages, _Order(Path(out), tuple(products), tta), tick)


@dataclass(frozen=True)
class _Order:
    """What to make of a file, and where."""

    out: Path
    products: tuple[str, ...]
    tta: bool


def _predict_file(
    predictor: Predictor,
    path: Path,
    pages: Sequence[Source],
    order: _Order,
    tick: Callable[[int], Progress] | None,
) -> Written:
    target = order.out / stem(path)
    dims = predictor.card.network.dims
    labels, maps, files = [], [], []
    image: Image | None = None
    for number, page in enumerate(pages):
        image = read(page, dims=dims)
        try:
            probabilities = predictor.probabilities(
                image.pixels, tta=order.tta, progress=None if tick is None else tick(number)
            )
        except ValueError as error:
            raise ValueError(f"{describe(page)}: {error}") from None
        labels.append(predictor.decode(probabilities))
        if "probabilities" in order.products:
            maps.append(probabilities)
        if "overlay" in order.products:
            files.append(Path(f"{target}_overlay.png" if len(pages) == 1 else f"{order.out / page.name}_overlay.png"))
            write_picture(files[-1], overlay(image.pixels, labels[-1]))
    assert image is not None
    if "labels" in order.products:
        files.append(Path(f"{target}_labels.tif"))
        write_labels(files[-1], _stack(labels), pixel_size_um=image.pixel_size_um)
    if maps:
        files.append(Path(f"{target}_probabilities.tif"))
        write_probabilities(files[-1], _stack(maps), dims=dims, pixel_size_um=image.pixel_size_um)
    return Written(path, len(pages), tuple(files))


def _stack(pages: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """One page as it is; several as (P, ...). Raises ValueError when pages differ in size."""
    if len({page.shape for page in pages}) > 1:
        raise ValueError("pages of one stack must have the same size to be written as a stack; split the file")
    return pages[0] if len(pages) == 1 else np.stack(pages)


def _check_names(paths: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(stem(path), path)
        if other != path:
            raise ValueError(f"images must have different names, got {other} and {path}; predict them into two folders")


def _file_progress(progress: Callable[[str, int, int], None], name: str, pages: int) -> Callable[[int], Progress]:
    def of_page(page: int) -> Progress:
        return lambda done, total: progress(name, page * total + done, pages * total)

    return of_page


def _symmetries(axes: int) -> Iterator[tuple[int, tuple[int, ...]]]:
    """(quarter turns of the last two axes, axes to flip): the symmetries of the square, times a flip in depth."""
    for turns in range(4):
        for mirrored in ((), (-1,)):
            yield turns, mirrored
            if axes == 3:
                yield turns, (*mirrored, -3)


def _share(progress: Progress | None, index: int, views: int) -> Progress | None:
    """The progress of one view out of several, as part of the whole."""
    if progress is None:
        return None
    return lambda done, total: progress(index * total + done, views * total)
