"""Files in, files out: reading, prediction and writing overlap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import AlreadyThere, ContractileError
from contractile.images import (
    Image,
    Source,
    describe,
    find,
    is_ours,
    overlay,
    read,
    stem,
    write_labels,
    write_picture,
    write_probabilities,
)
from contractile.prediction.objects import tabulate_objects, write_objects
from contractile.prediction.predictor import Predictor, Progress, ahead

logger = logging.getLogger(__name__)

PRODUCTS = ("labels", "probabilities", "overlay", "objects")
FileProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Written:
    """The files made from one input file, and the number of its pages."""

    source: Path
    pages: int
    files: tuple[Path, ...]


def predict_files(
    predictor: Predictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    products: Sequence[str] = ("labels",),
    tta: bool = False,
    progress: FileProgress | None = None,
) -> Iterator[Written]:
    """Segment files into the folder `out`, one input at a time, as they are asked for.

    For NAME.tif: `NAME_labels.tif`, and on request `NAME_probabilities.tif` (float32, classes first),
    `NAME_overlay.png` (one per page, of a stack) and `NAME_objects.csv` (a row per object). A stack of P pages gives
    stacks: labels (P, Y, X), probabilities (P, K, Y, X), and a column `page`. `progress(name, done, total)` counts
    tiles. Raises ValueError for an unknown product, a table of objects of a model that has none, two inputs that
    would write the same file, or an image that does not fit the model, naming it; FileExistsError where a TIFF that
    was not written by this package would be replaced; FileNotFoundError where there are no images.
    """
    unknown = [product for product in products if product not in PRODUCTS]
    if unknown or not products:
        raise ContractileError(
            f"products must be among {', '.join(PRODUCTS)}, got {', '.join(products)!r}", "correct the name"
        )
    if "objects" in products and predictor.card.task != "objects":
        raise ContractileError(
            f"products must not hold objects for a model of task {predictor.card.task}, got {', '.join(products)}",
            "train on labels that number their objects",
        )
    dims = predictor.card.network.dims
    sources = _leave_out_results(find(images, dims=dims), Path(out))
    counts = {path: len(list(pages)) for path, pages in groupby(sources, key=lambda source: source.path)}
    _check_names(counts)
    _check_not_drawn_by_hand([Path(out) / f"{stem(path)}_{product}.tif" for path in counts for product in products])
    images_read = ahead(lambda source: (source, read(source, dims=dims)), sources)
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing: Future[Written] | None = None
        for path, pages in groupby(images_read, key=lambda pair: pair[0].path):
            results = _File(path, counts[path], Path(out), tuple(products), dims)
            for page, (source, image) in enumerate(pages):
                tick = None if progress is None else _page_progress(progress, path.name, page, counts[path])
                results.add(source, image, *_predict_page(predictor, source, image, tta, tick))
            if writing is not None:
                yield writing.result()
            writing = writer.submit(results.write)
        if writing is not None:
            yield writing.result()


class _File:
    """What was predicted from one input file, until it is written."""

    def __init__(self, path: Path, count: int, out: Path, products: tuple[str, ...], dims: int) -> None:
        self.path, self.count, self.out, self.products, self.dims = path, count, out, products, dims
        self.names: list[str] = []
        self.images: list[NDArray[Any]] = []  # for overlays alone
        self.pixel_size_um: tuple[float, ...] | None = None
        self.labels: list[NDArray[np.int32]] = []
        self.maps: list[NDArray[np.float32]] = []
        self.tables: list[dict[str, NDArray[Any]]] = []

    def add(self, source: Source, image: Image, labels: NDArray[np.int32], maps: NDArray[np.float32]) -> None:
        self.names.append(source.name)
        self.pixel_size_um = image.pixel_size_um
        if "overlay" in self.products:
            self.images.append(image.pixels)
        self.labels.append(labels)
        if "probabilities" in self.products:
            self.maps.append(maps)
        if "objects" in self.products:
            self.tables.append(tabulate_objects(labels, image.pixels, maps, pixel_size_um=image.pixel_size_um))

    def write(self) -> Written:
        files: list[Path] = []
        name, size = stem(self.path), self.pixel_size_um
        if "labels" in self.products:
            files.append(self.out / f"{name}_labels.tif")
            write_labels(files[-1], _stack(self.labels, self.path), pixel_size_um=size)
        if self.maps:
            files.append(self.out / f"{name}_probabilities.tif")
            write_probabilities(files[-1], _stack(self.maps, self.path), dims=self.dims, pixel_size_um=size)
        if self.tables:
            files.append(self.out / f"{name}_objects.csv")
            write_objects(files[-1], self.tables)
        if "overlay" in self.products:
            for page, pixels, labels in zip(self.names, self.images, self.labels, strict=True):
                files.append(self.out / f"{name if self.count == 1 else page}_overlay.png")
                write_picture(files[-1], overlay(pixels, labels))
        return Written(self.path, self.count, tuple(files))


def _predict_page(
    predictor: Predictor, source: Source, image: Image, tta: bool, progress: Progress | None
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    try:
        scale = predictor.scale(image.pixels)
        maps = predictor.probabilities(image.pixels, tta=tta, progress=progress, scale=scale)
    except ValueError as error:
        raise ValueError(f"{describe(source)}: {error}") from None
    return predictor.decode(maps, scale=scale), maps


def _stack(pages: Sequence[NDArray[Any]], path: Path) -> NDArray[Any]:
    """One page as it is; several as (P, ...). Raises ValueError when pages differ in size."""
    if len({page.shape for page in pages}) > 1:
        raise ContractileError(
            "pages of one stack must have the same size to give a stack", "split the file", where=path
        )
    return pages[0] if len(pages) == 1 else np.stack(pages)


def _leave_out_results(sources: Sequence[Source], out: Path) -> list[Source]:
    """Without what an earlier prediction of the other sources has put into the same folder."""
    folder, names = out.absolute(), {source.name for source in sources} | {stem(source.path) for source in sources}
    results = [f"{name}_{product}" for name in names for product in PRODUCTS]
    kept = [source for source in sources if source.path.absolute().parent != folder or stem(source.path) not in results]
    if len(kept) < len(sources):
        logger.warning("%d earlier result(s) in %s are not predicted again", len(sources) - len(kept), out)
    return kept


def _check_names(paths: Iterable[Path]) -> None:
    seen: dict[str, Path] = {}
    for path in paths:
        other = seen.setdefault(stem(path), path)
        if other != path:
            raise ContractileError(
                f"images must have different names, got {other} and {path}", "predict them into two folders"
            )


def _check_not_drawn_by_hand(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.exists() and not is_ours(path):
            raise AlreadyThere(
                (
                    f"out must not hold files of the same names from elsewhere, got {path}, which may "
                    "have been drawn by hand"
                ),
                "choose another folder",
            )


def _page_progress(progress: FileProgress, name: str, page: int, pages: int) -> Progress:
    return lambda done, total: progress(name, page * total + done, pages * total)
