"""What is written for the pages of one input file, or of one image in it: products, gathered page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images import Image, overlay, write_labels, write_picture, write_probabilities
from contractile.images.image import Size
from contractile.images.series import Series, describe_planes
from contractile.prediction.blocks import Segmented
from contractile.prediction.objects import tabulate_objects, write_objects
from contractile.prediction.pages import Pages, Planes, PlanesFirst
from contractile.storage import Claim

PRODUCTS = {"labels": ".tif", "probabilities": ".tif", "overlay": ".png", "objects": ".csv"}


@dataclass(frozen=True)
class Written:
    """The files made from one series of pages of an input file, and the number of its pages."""

    source: Path
    pages: int
    files: tuple[Path, ...]


class Outputs:
    """The files made from one series of pages; they are written when all its pages are predicted."""

    def __init__(self, series: Series, out: Path, products: tuple[str, ...], dims: int) -> None:
        self.series, self.products, self.dims = series, products, dims
        name, pages = series.name, len(series.pages)
        named = {product: [out / f"{name}_{product}{PRODUCTS[product]}"] for product in products}
        if "overlay" in products and pages > 1:
            named["overlay"] = [out / f"{name}_{page:04d}_overlay.png" for page in range(pages)]
        self._named = named
        self.files = tuple(file for product in PRODUCTS for file in named.get(product, ()))
        # Of any products, so that two models do not mix theirs while they work.
        self.possible = tuple(out / f"{name}_{product}{suffix}" for product, suffix in PRODUCTS.items())
        self._sizes = list[Size]()
        self._found: list[Segmented] = []
        self._pictures: list[NDArray[np.uint8]] = []
        self._tables: list[dict[str, NDArray[Any]]] = []

    def add(self, page: int, image: Image, found: Segmented) -> None:
        """Take the results of one page."""
        self._sizes.append(image.pixel_size_um)
        if "overlay" in self.products:
            self._pictures.append(overlay(image.pixels, np.asarray(found)))
        if "objects" in self.products:
            size = image.pixel_size_um
            self._tables.append(tabulate_objects(found.blocks(), image, found.count, pixel_size_um=size))
        found.settle()
        self._found.append(found)

    def close(self, claim: Claim) -> Written:
        """Write the files, which appear together. Raises as `Claim.together` and the writers."""
        with claim.together():
            self._write()
        self.release()
        return Written(self.series.path, len(self.series.pages), self.files)

    def _write(self) -> None:
        stack = self.series.stack
        sizes: Any = self._sizes[0] if stack is None else self._sizes
        if self.dims == 3:
            planes = describe_planes(self.series)
            stack, sizes = planes.stack, planes.sizes_um
        if "labels" in self.products:
            write_labels(self._file("labels"), self._joined(self._found), pixel_size_um=sizes, stack=stack)
        if "probabilities" in self.products:
            maps = [found.maps if self.dims == 2 else PlanesFirst(found.maps) for found in self._found]
            write_probabilities(self._file("probabilities"), self._joined(maps), pixel_size_um=sizes, stack=stack)
        if "objects" in self.products:
            write_objects(self._file("objects"), self._tables, stack=self.series.stack)
        for file, picture in zip(self._named.get("overlay", ()), self._pictures, strict=True):
            write_picture(file, picture)

    def _file(self, product: str) -> Path:
        (file,) = self._named[product]
        return file

    def _joined(self, pages: Sequence[Any]) -> Any:
        """The results of all pages as one array (*S), (P, *S), or of volumes (planes, Y, X)."""
        joined = Planes(pages) if self.dims == 3 else pages[0] if self.series.stack is None else Pages(pages)
        return np.asarray(joined)

    def release(self) -> None:
        """Forget all results, which may be large."""
        self._found.clear()
        self._pictures.clear()
        self._tables.clear()
