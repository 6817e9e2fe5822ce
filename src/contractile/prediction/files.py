"""Files in, files out: reading, prediction and writing overlap."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.errors import AlreadyThere, ContractileError
from contractile.images import (
    Image,
    Source,
    TiffSink,
    describe,
    find,
    is_ours,
    overlay,
    read,
    stem,
    write_picture,
)
from contractile.prediction.field import Field, Progress, ahead
from contractile.prediction.objects import is_table, tabulate_objects, write_objects
from contractile.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

PRODUCTS = {"labels": ".tif", "probabilities": ".tif", "overlay": ".png", "objects": ".csv"}
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
    `NAME_overlay.png` (one per page of a stack) and `NAME_objects.csv` (a row per object). A stack of P pages gives
    stacks: labels (P, Y, X), probabilities (P, K, Y, X), and a column `page`. `progress(name, done, total)` counts
    tiles. Raises ContractileError for an unknown product, a table of objects of a model that has none, two inputs that
    would write the same file, or an image that does not fit the model, naming it; AlreadyThere where a file that was
    not written by this package would be replaced; NotFound where there are no images.
    """
    _check_products(products, predictor.card.task)
    dims = predictor.card.network.dims
    sources = _leave_out_results(find(images, dims=dims), Path(out))
    files = {
        path: _Outputs(path, list(pages), Path(out), tuple(products), dims)
        for path, pages in groupby(sources, key=lambda source: source.path)
    }
    _check_names(files)
    _check_ours(file for outputs in files.values() for file in outputs.files)
    images_read = ahead(lambda source: (source, read(source, dims=dims)), sources)
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing: Future[Written] | None = None
        for path, pages in groupby(images_read, key=lambda pair: pair[0].path):
            outputs = files.pop(path)
            for page, (source, image) in enumerate(pages):
                tick = None if progress is None else _page_progress(progress, path.name, page, outputs.pages)
                outputs.add(page, image, *_predict_page(predictor, source, image, tta, tick))
            if writing is not None:
                yield writing.result()
            writing = writer.submit(outputs.close)
        if writing is not None:
            yield writing.result()


class _Outputs:
    """The files made from one input file; they are written when all its pages are predicted."""

    def __init__(self, path: Path, sources: Sequence[Source], out: Path, products: tuple[str, ...], dims: int) -> None:
        self.path, self.products, self.dims = path, products, dims
        self.pages, self._sizes = len(sources), set[tuple[int, ...]]()
        named = {product: [out / f"{stem(path)}_{product}{PRODUCTS[product]}"] for product in products}
        if "overlay" in products and len(sources) > 1:
            named["overlay"] = [out / f"{source.name}_overlay.png" for source in sources]
        self._named = named
        self.files = tuple(file for product in PRODUCTS for file in named.get(product, ()))
        self._sinks: dict[str, TiffSink] = {}
        self._pictures: list[NDArray[np.uint8]] = []
        self._tables: list[dict[str, NDArray[Any]]] = []

    def add(self, page: int, image: Image, labels: NDArray[np.int32], field: Field) -> None:
        """Take the results of one page. Raises ContractileError when its size is not that of the pages before."""
        self._sizes.add(labels.shape)
        if len(self._sizes) > 1:
            raise ContractileError(
                "pages of one stack must have the same size to give a stack", "split the file", where=self.path
            )
        if "labels" in self.products:
            self._put("labels", page, labels, image)
        if "probabilities" in self.products:
            self._put("probabilities", page, np.asarray(field), image)
        if "overlay" in self.products:
            self._pictures.append(overlay(image.pixels, labels))
        if "objects" in self.products:
            maps = np.asarray(field)
            self._tables.append(tabulate_objects(labels, image.pixels, maps, pixel_size_um=image.pixel_size_um))

    def _put(self, product: Literal["labels", "probabilities"], page: int, values: NDArray[Any], image: Image) -> None:
        if product not in self._sinks:
            (file,) = self._named[product]
            shape = (self.pages, *values.shape) if self.pages > 1 else values.shape
            size = image.pixel_size_um
            self._sinks[product] = TiffSink(file, shape, kind=product, dims=self.dims, pixel_size_um=size)
        self._sinks[product][page if self.pages > 1 else ...] = values

    def close(self) -> Written:
        """Write the files."""
        for sink in self._sinks.values():
            sink.close()
        if "objects" in self.products:
            write_objects(self._named["objects"][0], self._tables)
        for file, picture in zip(self._named.get("overlay", ()), self._pictures, strict=True):
            write_picture(file, picture)
        return Written(self.path, self.pages, self.files)


def _predict_page(
    predictor: Predictor, source: Source, image: Image, tta: bool, progress: Progress | None
) -> tuple[NDArray[np.int32], Field]:
    try:
        field = predictor.probabilities(image.pixels, tta=tta, progress=progress).hold()
    except ContractileError as error:
        raise error.at(describe(source)) from None
    return predictor.decode(field), field


def _check_products(products: Sequence[str], task: str) -> None:
    if not products or not set(products) <= set(PRODUCTS):
        raise ContractileError(
            f"products must be among {', '.join(PRODUCTS)}, got {', '.join(products)!r}", "correct the name"
        )
    if "objects" in products and task != "objects":
        raise ContractileError(
            f"products must not hold objects for a model of task {task}, got {', '.join(products)}",
            "train on labels that number their objects",
        )


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


def _check_ours(files: Iterable[Path]) -> None:
    """Refuse to replace what somebody else made, before any work is done."""
    for file in files:
        if file.exists() and not (is_table(file) if file.suffix == ".csv" else is_ours(file)):
            raise AlreadyThere(
                f"out must not hold files of the same names from elsewhere, got {file}, which may have been drawn by "
                "hand",
                "choose another folder",
            )


def _page_progress(progress: FileProgress, name: str, page: int, pages: int) -> Progress:
    return lambda done, total: progress(name, page * total + done, pages * total)
