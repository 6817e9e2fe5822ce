"""What is written for one input file: its products, gathered page by page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import Image, Source, Stack, TiffSink, overlay, write_picture
from contractile.images.image import Size
from contractile.prediction.field import Field
from contractile.prediction.objects import tabulate_objects, write_objects

PRODUCTS = {"labels": ".tif", "probabilities": ".tif", "overlay": ".png", "objects": ".csv"}


@dataclass(frozen=True)
class Written:
    """The files made from one input file, and the number of its pages."""

    source: Path
    pages: int
    files: tuple[Path, ...]


class Outputs:
    """The files made from one input file; they are written when all its pages are predicted."""

    def __init__(self, path: Path, sources: Sequence[Source], out: Path, products: tuple[str, ...], dims: int) -> None:
        self.path, self.products, self.dims = path, products, dims
        self.name = sources[0].stem
        self.pages, self.stack = len(sources), _stack_of(sources)
        named = {product: [out / f"{self.name}_{product}{PRODUCTS[product]}"] for product in products}
        if "overlay" in products and len(sources) > 1:
            named["overlay"] = [out / f"{source.name}_overlay.png" for source in sources]
        self._named = named
        self.files = tuple(file for product in PRODUCTS for file in named.get(product, ()))
        self._shapes, self._sizes = set[tuple[int, ...]](), list[Size]()
        self._sinks: dict[str, TiffSink] = {}
        self._pictures: list[NDArray[np.uint8]] = []
        self._tables: list[dict[str, NDArray[Any]]] = []

    def add(self, page: int, image: Image, labels: NDArray[np.int32], field: Field) -> None:
        """Take the results of one page. Raises ContractileError when its size is not that of the pages before."""
        self._shapes.add(labels.shape)
        if len(self._shapes) > 1:
            raise ContractileError(
                "pages of one stack must have the same size to give a stack", "split the file", where=self.path
            )
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
        if product not in self._sinks:
            (file,) = self._named[product]
            shape = values.shape if self.stack is None else (self.pages, *values.shape)
            self._sinks[product] = TiffSink(file, shape, kind=product, dims=self.dims, stack=self.stack)
        self._sinks[product][... if self.stack is None else page] = values

    def close(self) -> Written:
        """Write the files."""
        for sink in self._sinks.values():
            sink.pixel_size_um = self._sizes[0] if self.stack is None else self._sizes
            sink.close()
        if "objects" in self.products:
            write_objects(self._named["objects"][0], self._tables, stack=self.stack)
        for file, picture in zip(self._named.get("overlay", ()), self._pictures, strict=True):
            write_picture(file, picture)
        return Written(self.path, self.pages, self.files)


def _stack_of(sources: Sequence[Source]) -> Stack | None:
    """What the pages of a file are: unnamed (Q) where the file does not say; None for a single image."""
    if len(sources) == 1:
        return None
    stack = sources[0].stack
    return stack if stack and math.prod(stack.lengths) == len(sources) else Stack("Q", (len(sources),))
