"""What is written for the pages of one input file, or of one image in it: products, gathered page by page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import (
    Facts,
    Image,
    check_list,
    encode_picture,
    overlay,
    place_inside,
    smallest_type,
    write_encoded,
    write_labels,
    write_probabilities,
)
from contractile.images.image import Size
from contractile.images.series import Series, describe_planes
from contractile.prediction.blocks import IN_MEMORY, Segmented
from contractile.prediction.objects import tabulate_objects
from contractile.prediction.pages import Pages, Planes, PlanesFirst
from contractile.prediction.shapes import SHAPES, name_values, write_shapes
from contractile.prediction.spool import Spool
from contractile.prediction.tables import TABLES, write_objects
from contractile.prediction.tracks import Movie
from contractile.quality import Expected, ExpectedDice, Shown, Unlike, expect_together
from contractile.storage import Claim

Form = Literal["tiff", "ome-zarr", "ome-zarr-0.4"]
FORMS: tuple[Form, ...] = ("tiff", "ome-zarr", "ome-zarr-0.4")
PRODUCTS = {
    **{"labels": ".tif", "probabilities": ".tif", "overlay": ".png", "objects": TABLES["csv"], **SHAPES},
    "ctc": ".tif",  # a result folder of the Cell Tracking Challenge
}
OF_OBJECTS = ("objects", "ctc")  # products that a model of classes does not have
OWN_NAME = "contractile"  # of labels inside of the image that they are of


@dataclass(frozen=True)
class Written:
    """The files made from one series of pages of an input file, the number of its pages, and what was found there.

    `image` is the name of the file, of one of several images in it with its number.
    `count` is the number of objects; None for classes. `expected` is what the model expects of them, `unlike` how far
    the page that is least like the training images is from them; None where the model cannot tell. `dice` are the Dice
    scores that are expected of classes, in the order of the card.
    """

    source: Path
    pages: int
    files: tuple[Path, ...]
    count: int | None = None
    expected: Expected | None = None
    unlike: Unlike | None = None
    dice: tuple[ExpectedDice, ...] = ()
    image: str = ""

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.image or self.source.name

    def as_json(self) -> dict[str, Any]:
        """Numbers, texts and lists, from which `from_json` makes the same again."""
        files = [str(file) for file in self.files]
        return {**vars(self), "source": str(self.source), "files": files}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Written:
        """Raises KeyError, TypeError or ValueError for what `as_json` did not make."""
        expected, unlike = told["expected"], told["unlike"]
        return cls(
            source=Path(told["source"]),
            pages=int(told["pages"]),
            files=tuple(map(Path, told["files"])),
            count=told["count"],
            expected=None if expected is None else Expected(*expected),
            unlike=None if unlike is None else Unlike(*unlike),
            dice=tuple(ExpectedDice(*one) for one in told["dice"]),
            image=str(told["image"]),
        )


@dataclass(frozen=True)
class Wish:
    """What is asked for: products, where, and in which form; `inside` is the OME-Zarr that its labels go into.

    `table` is the form of the table of objects.
    """

    products: tuple[str, ...]
    out: Path
    form: Form = "tiff"
    inside: Path | None = None
    table: str = "csv"

    def suffix(self, product: str) -> str:
        if product == "objects":
            return TABLES[self.table]
        return ".zarr" if self.form != "tiff" and product in ("labels", "probabilities") else PRODUCTS[product]

    def file(self, name: str, product: str) -> Path:
        """The file of a product of the input `name`."""
        if product == "labels" and self.inside is not None:
            return place_inside(self.inside, OWN_NAME)
        word = "objects" if product == "geojson" else product
        return self.out / f"{name}_{word}{self.suffix(product)}"

    def version(self, product: str) -> str | None:
        """The version of OME-Zarr of a product; None for labels inside of another one, which follow it."""
        if product == "labels" and self.inside is not None:
            return None
        return "0.4" if self.form.endswith("0.4") else "0.5"


class Outputs:
    """The files made from one series of pages; they are written when all its pages are predicted."""

    def __init__(self, series: Series, wish: Wish, dims: int, movie: Movie | None = None) -> None:
        self.series, self.products, self.dims, self.movie = series, wish.products, dims, movie
        self._wish, name, pages = wish, series.name, len(series.pages)
        named = {product: [wish.file(name, product)] for product in wish.products}
        if "overlay" in wish.products and pages > 1:
            named["overlay"] = [wish.out / f"{name}_{page:04d}_overlay.png" for page in range(pages)]
        if movie is not None:
            named["ctc"] = movie.files(name)
        self._named = named
        self.files = tuple(file for product in PRODUCTS for file in named.get(product, ()))
        zarrs = () if wish.form == "tiff" else ("labels", "probabilities")
        self.folders = tuple(file for product in zarrs for file in named.get(product, ()))
        # Of any products, so that two models do not mix theirs while they work.
        self.possible = tuple(wish.file(name, product) for product in PRODUCTS)
        self._sizes = list[Size]()
        self._origin: Size = None
        self._found: list[Segmented] = []
        self._pictures = Spool(wish.out)  # of thousands of pages they would fill the memory
        self._tables: list[dict[str, NDArray[Any]]] = []
        self._shown: list[Shown] = []
        self._tallies: list[NDArray[np.float64]] = []
        self._unlike: list[Unlike] = []

    def add(self, image: Image, found: Segmented, unlike: Unlike | None = None) -> None:
        """Take the results of the next page. Raises NotWritten and NotWritable."""
        confidence = found.card.confidence
        chances = None
        if confidence is not None:
            self._shown.append(found.shown(confidence.typical / found.scale ** len(found.shape)))
            chances = confidence.of(self._shown[-1].features)
        self._tallies += [] if found.tally is None else [found.tally]
        self._unlike += [] if unlike is None else [unlike]
        self._sizes.append(image.pixel_size_um)
        self._origin = image.origin_um if len(self.series.pages) == 1 else None
        if "overlay" in self.products:
            self._pictures.add(encode_picture(overlay(image, found)))
        if found.card.task == "objects" and {"objects", *SHAPES} & set(self.products):
            size = image.pixel_size_um
            table = tabulate_objects(found.blocks(), image, found.count, pixel_size_um=size)
            self._tables.append(table if chances is None else {**table, "confidence": chances})
        found.settle()
        self._found.append(found)

    def close(self, claim: Claim) -> Written:
        """Write the files, which appear together. Raises as `Claim.together` and the writers."""
        with claim.together():
            self._write()
        judged = self._judged()
        written = Written(self.series.path, len(self.series.pages), self.files, image=self.series.image, **judged)
        self.release()
        return written

    def _judged(self) -> dict[str, Any]:
        """What is known of the quality of the results, as `Written` names it."""
        card = self._found[0].card
        dice: tuple[ExpectedDice, ...] = ()
        if card.calibration is not None:
            dice = card.calibration.expect(np.sum(self._tallies, axis=0), images=len(self._tallies))
        return {
            "count": sum(found.count for found in self._found) if card.task == "objects" else None,
            "expected": None if card.confidence is None else expect_together(card.confidence, self._shown),
            "unlike": max(self._unlike, key=lambda one: one.score, default=None),
            "dice": dice,
        }

    def _write(self) -> None:
        for product in ("labels", "probabilities"):
            if product in self.products:
                self._write_tiff(product) if self._wish.form == "tiff" else self._write_zarr(product)
        if "objects" in self.products:
            write_objects(self._named["objects"][0], self._tables, stack=self.series.stack)
        for product in (product for product in SHAPES if product in self.products):
            names = name_values(self._found[0].card)
            pages = (
                [(labels, names) for labels in self._found] if names else zip(self._found, self._tables, strict=True)
            )
            stack, image = self.series.stack, self.series.image
            write_shapes(self._named[product][0], product, list(pages), stack=stack, image=image)
        if self.movie is not None:
            frames: Any = (np.asarray(found) for found in self._found)  # one is in memory at a time
            self.movie.write(self.series.name, frames, self._sizes)
        for file, picture in zip(self._named.get("overlay", ()), self._pictures, strict=True):
            write_encoded(file, picture)

    def _write_tiff(self, product: str) -> None:
        stack = self.series.stack
        sizes: Any = self._sizes[0] if stack is None else self._sizes
        if self.dims == 3:
            planes = describe_planes(self.series)
            stack, sizes = planes.stack, planes.sizes_um
        (file,) = self._named[product]
        if product == "labels":
            labels = _joined(self._found, stack, planes=self.dims == 3)
            write_labels(file, labels, pixel_size_um=sizes, stack=stack, count=self._largest())
            return
        maps = [found.maps if self.dims == 2 else PlanesFirst(found.maps) for found in self._found]
        maps = _joined(maps, stack, planes=self.dims == 3)
        write_probabilities(file, maps, pixel_size_um=sizes, stack=stack)

    def _write_zarr(self, product: str) -> None:
        from contractile.images import ZarrSink, pour  # Zarr is slow to load

        stack, (file,), labels = self.series.stack, self._named[product], product == "labels"
        planes = describe_planes(self.series) if self.dims == 3 else None
        page = "YX" if planes is None else f"{planes.stack.axes[-1]}YX"
        pages = self._found if labels else [found.maps for found in self._found]
        values: Any = pages[0] if stack is None else Pages(pages)
        sizes: Any = planes.sizes_um if planes else self._sizes[0] if stack is None else self._sizes
        interval = planes.stack.interval_s if planes else None
        facts = Facts(pixel_size_um=sizes, origin_um=self._origin, interval_s=interval)
        dtype: np.dtype[Any] = np.dtype(np.float32)
        if labels:
            largest, table = self._largest(), self._tables[0] if len(self._tables) == 1 else None
            dtype = np.dtype(np.int32) if largest is None else smallest_type(largest)
            facts = replace(facts, count=largest, objects=table)
        axes = page if labels else f"C{page}"
        with ZarrSink(file, values.shape, dtype, axes=axes, stack=stack, version=self._wish.version(product)) as sink:
            pour(values, sink)
            sink.facts = facts

    def _largest(self) -> int | None:
        """The largest number in the labels of all pages, where they are objects or classes of no negative value."""
        largest = [found.largest for found in self._found]
        return None if None in largest else max(one or 0 for one in largest)

    def release(self) -> None:
        """Forget all results, which may be large."""
        self._found.clear()
        self._pictures.clear()
        self._tables.clear()
        self._shown.clear()
        self._tallies.clear()
        self._unlike.clear()


def _joined(pages: Sequence[Any], stack: object, *, planes: bool) -> Any:
    """The results of all pages as one array (*S), (P, *S), or of volumes (planes, Y, X); in memory where small."""
    joined = Planes(pages) if planes else pages[0] if stack is None else Pages(pages)
    small = math.prod(joined.shape) * joined.dtype.itemsize <= IN_MEMORY
    return np.asarray(joined) if small else joined


def choose_place(out: Path, form: str, paths: Sequence[Path], products: Sequence[str]) -> Wish:
    """Where results go. An `out` that is the only image itself, an OME-Zarr, takes labels inside, all else beside it.

    Raises ContractileError for an unknown form, and for an `out` that is another Zarr.
    """
    if form not in FORMS:
        raise ContractileError(f"form must be one of {', '.join(FORMS)}, got {form!r}", "use ome-zarr")
    known: Form = FORMS[FORMS.index(form)]
    if out.suffix.lower() != ".zarr" and not (out / "zarr.json").exists() and not (out / ".zattrs").exists():
        return Wish(tuple(products), out, known)
    if known == "tiff" or [path.resolve() for path in paths] != [out.resolve()]:
        problem = f"results go into an OME-Zarr only where it is the one image that is predicted, got {out}"
        alone = "predict it alone with --format ome-zarr, or name a folder"
        raise ContractileError(problem, alone if out.exists() else "name a folder whose name does not end with .zarr")
    wish = Wish(tuple(products), out.parent, known, inside=out)
    if "labels" in products:
        check_list(wish.file("", "labels"))
    return wish
