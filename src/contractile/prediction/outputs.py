"""What is written for the pages of one input file, or of one image in it: products, gathered page by page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.images import Image, TiffSink, overlay, write_picture
from contractile.images.image import Size
from contractile.images.series import Planes, Series, describe_planes
from contractile.prediction.field import Field
from contractile.prediction.objects import tabulate_objects, write_objects
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
        self._planes: Planes | None = None  # of volumes
        self._sinks: dict[str, TiffSink] = {}
        self._pictures: list[NDArray[np.uint8]] = []
        self._tables: list[dict[str, NDArray[Any]]] = []

    def add(self, page: int, image: Image, labels: NDArray[np.int32], field: Field) -> None:
        """Take the results of one page."""
        self._sizes.append(image.pixel_size_um)
        if "labels" in self.products:
            self._put("labels", page, labels)
        if "probabilities" in self.products:
            self._put("probabilities", page, np.asarray(field))
        if "overlay" in self.products:
            self._pictures.append(overlay(image.pixels, labels))
        if "objects" in self.products:
            maps = np.asarray(field)
            self._tables.append(tabulate_objects(labels, image.pixels, maps, pixel_size_um=image.pixel_size_um))

    def _put(self, product: Literal["labels", "probabilities"], page: int, values: NDArray[Any]) -> None:
        """Put labels (*S) or probabilities (K, *S) of a page where they belong."""
        if self.dims == 3:
            return self._put_planes(product, page, np.moveaxis(values, -3, 0))
        stack = self.series.stack
        if product not in self._sinks:
            (file,) = self._named[product]
            shape = values.shape if stack is None else (len(self.series.pages), *values.shape)
            self._sinks[product] = TiffSink(file, shape, kind=product, stack=stack)
        self._sinks[product][... if stack is None else page] = values

    def _put_planes(self, product: Literal["labels", "probabilities"], page: int, values: NDArray[Any]) -> None:
        """Put the planes (Z, Y, X) or (Z, K, Y, X) of a volume where they belong."""
        self._planes = self._planes or describe_planes(self.series)
        if product not in self._sinks:
            (file,) = self._named[product]
            shape = (len(self.series.pages) * len(values), *values.shape[1:])
            self._sinks[product] = TiffSink(file, shape, kind=product, stack=self._planes.stack)
        self._sinks[product][page * len(values) : (page + 1) * len(values)] = values

    def close(self, claim: Claim) -> Written:
        """Write the files, which appear together. Raises as `Claim.together` and the writers."""
        with claim.together():
            self._write()
        self.release()
        return Written(self.series.path, len(self.series.pages), self.files)

    def _write(self) -> None:
        for sink in self._sinks.values():
            sizes = self._sizes[0] if self.series.stack is None else self._sizes
            sink.pixel_size_um = sizes if self._planes is None else self._planes.sizes_um
            sink.close()
        if "objects" in self.products:
            write_objects(self._named["objects"][0], self._tables, stack=self.series.stack)
        for file, picture in zip(self._named.get("overlay", ()), self._pictures, strict=True):
            write_picture(file, picture)

    def release(self) -> None:
        """Forget all results, which may be large."""
        self._sinks.clear()
        self._pictures.clear()
        self._tables.clear()
