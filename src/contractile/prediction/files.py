"""Files in, files out: reading, prediction and writing overlap."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

from contractile.errors import AlreadyThere, ContractileError, NotFinished
from contractile.images import (
    Image,
    Source,
    describe,
    find_joined,
    grey_of,
    is_ours,
    leave_out_labels,
    list_image_files,
    list_joined,
    open_image,
    read,
    say_rest,
    stem,
)
from contractile.images.writing import check_folder
from contractile.prediction.field import Progress, ahead
from contractile.prediction.objects import is_table
from contractile.prediction.outputs import PRODUCTS, Outputs, Written
from contractile.prediction.predictor import Predictor

logger = logging.getLogger(__name__)

COLOURS = (3, 4)  # channels of a colour picture without and with transparency
NAMED = 5  # files in the line that ends the work
FileProgress = Callable[[str, int, int], None]


def predict_files(
    predictor: Predictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    products: Sequence[str] = ("labels",),
    tta: bool = False,
    axes: str | None = None,
    progress: FileProgress | None = None,
) -> Iterator[Written]:
    """Segment files into the folder `out`, one input at a time, as they are asked for.

    For NAME.tif: `NAME_labels.tif`, and on request `NAME_probabilities.tif` (float32, classes are channels),
    `NAME_overlay.png` (one per page of a stack) and `NAME_objects.csv` (a row per object). A stack gives stacks with
    the same axes, spacing and frame interval, and columns `page`, `t`, `z` ... `axes` are the letters of the files'
    axes, such as "YXC" (default: those that the model was trained with). A grey picture that is stored as colour is
    taken as grey by a model of one channel. `progress(name, done, total)` counts tiles.

    Raises ContractileError, before any work, for an unknown product, a table of objects of a model that has none, two
    inputs that would write the same file, or images of which none can be read or fits the model; AlreadyThere where a
    file that was not written by this package would be replaced; NotWritable for a folder that takes no files; NotFound
    where there are no images; NotWritten where a result cannot be written. A file among others that cannot be read or
    predicted is logged as a warning and left out; when all others are done, NotFinished names it.
    """
    _check_products(products, predictor.card.task)
    check_folder(out)
    network, failures = predictor.card.network, _Failures()
    paths = leave_out_labels(_leave_out_results(list_image_files(images), Path(out)))
    look = {"channels": network.channels, "dims": network.dims, "axes": axes or predictor.card.axes}
    sources = _find(paths, look, failures)
    files = {
        path: Outputs(path, list(pages), Path(out), tuple(products), network.dims)
        for path, pages in groupby(sources, key=lambda source: source.path)
    }
    _check_names(files.values())
    _check_ours(file for outputs in files.values() for file in outputs.files)
    _check_channels(sources, network.channels, network.dims)
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing: Future[Written] | None = None
        for outputs in _predict_each(predictor, sources, files, failures, tta=tta, progress=progress):
            if writing is not None:
                yield writing.result()
            writing = writer.submit(outputs.close)
        if writing is not None:
            yield writing.result()
    say_rest()
    failures.finish()


class _Failures:
    """The files that gave no result, and why. They are logged once a file has given one."""

    def __init__(self) -> None:
        self.errors: dict[Path, ContractileError] = {}
        self._done, self._logged = 0, 0

    def add(self, path: Path, error: ContractileError) -> None:
        self.errors[path] = error if error.where else error.at(path)
        self._log()

    def count_result(self) -> None:
        self._done += 1
        self._log()

    def _log(self) -> None:
        if self._done:
            for error in list(self.errors.values())[self._logged :]:
                logger.warning("%s", error)
            self._logged = len(self.errors)

    def finish(self) -> None:
        """Raise the first error where there is no result at all, NotFinished where there are some."""
        if not self.errors:
            return
        total = self._done + len(self.errors)
        if not self._done:
            raise _first_of(total, next(iter(self.errors.values())))
        names = [str(path) for path in self.errors]
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        problem = f"{len(names)} of {total} files gave no result: {shown}"
        raise NotFinished(problem, "mend them or leave them out; the results of the others are complete")


def _first_of(files: int, error: ContractileError) -> ContractileError:
    """The first error of several files that all have one."""
    more = f" (so none of the {files} files could be predicted)" if files > 1 else ""
    return type(error)(f"{error.problem}{more}", error.cure, where=error.where)


def _find(paths: Sequence[Path], look: dict[str, Any], failures: _Failures) -> list[Source]:
    """The images in all files that can be opened. `look` are options of `find_joined`, which says what this raises."""
    try:
        return find_joined(paths, **look)
    except ContractileError as error:
        first = error
    readable: list[Path] = []
    for item in list_joined(paths, **look):
        try:
            find_joined(item.files, **look, quiet=True)
            readable += item.files
        except ContractileError as error:
            failures.add(item.files[0], error)
    if not readable:
        raise _first_of(len(paths), first)
    return find_joined(readable, **look)


def _predict_each(
    predictor: Predictor,
    sources: Sequence[Source],
    files: dict[Path, Outputs],
    failures: _Failures,
    *,
    tta: bool,
    progress: FileProgress | None,
) -> Iterator[Outputs]:
    """The results of each file that can be read and predicted, taken out of `files`."""
    wanted = (source for source in sources if source.path not in failures.errors)
    for path, pages in groupby(ahead(_Reader(predictor).read, wanted), key=lambda pair: pair[0].path):
        error = _fill(files[path], pages, predictor, tta=tta, progress=progress)
        outputs = files.pop(path)
        if error is not None:
            failures.add(path, error)
            continue
        failures.count_result()
        yield outputs


def _fill(
    outputs: Outputs,
    pages: Iterable[tuple[Source, Image | Exception]],
    predictor: Predictor,
    *,
    tta: bool,
    progress: FileProgress | None,
) -> ContractileError | None:
    """Predict the pages of one file. Returns the error of a page that cannot be read or predicted.

    Raises ContractileError where no image can be predicted, because the network cannot be placed on its device.
    """
    for page, (source, image) in enumerate(pages):
        if isinstance(image, ContractileError):
            return image
        if isinstance(image, Exception):
            raise image
        tick = None if progress is None else _page_progress(progress, outputs.path.name, page, outputs.pages)
        try:
            field = predictor.probabilities(image.pixels, tta=tta, progress=tick).hold()
            outputs.add(page, image, predictor.decode(field), field)
        except ContractileError as error:
            if predictor.placed is None:
                raise
            return error.at(error.where or describe(source))
    return None


class _Reader:
    """Reads images as a model wants them."""

    def __init__(self, predictor: Predictor) -> None:
        self._channels, self._dims = predictor.card.network.channels, predictor.card.network.dims
        self._said = False

    def read(self, source: Source) -> tuple[Source, Image | Exception]:
        """The image, or the reason why there is none: an error must not reach the images that were read before."""
        try:
            return source, self._fit(source, read(source, dims=self._dims))
        except Exception as error:  # raised again when it is the turn of this image, unless it is a file's fault
            return source, error

    def _fit(self, source: Source, image: Image) -> Image:
        if image.shape[0] == self._channels:
            return image
        grey = grey_of(image.pixels) if self._channels == 1 else None
        if grey is None:
            raise _misfit(source, image.shape[0], self._channels)
        if not self._said:
            logger.warning(
                "%s is grey, stored as colour: one of its equal channels is taken, here and in files alike",
                describe(source),
            )
            self._said = True
        return Image(image.name, grey, image.pixel_size_um)


def _misfit(source: Source, found: int, wanted: int) -> ContractileError:
    """The error for an image with other channels than the model's."""
    problem = f"the image has {found} channel(s), but the model takes {wanted}"
    cure = f"give images with the {wanted} channels that it was trained on"
    if wanted == 1:
        cure = "save the channel that shows the objects as a file of its own"
        cure += ", or convert the picture to grey" if found in COLOURS else ""
    return ContractileError(problem, f"{cure}; where the axes were misread, name them (--axes)", where=describe(source))


def _check_channels(sources: Sequence[Source], channels: int, dims: int) -> None:
    """Raise ContractileError where no file has the channels of the model; the pixels are not read for it."""
    firsts = [next(pages) for _, pages in groupby(sources, key=lambda source: source.path)]
    first: ContractileError | None = None
    for source in firsts:
        try:
            with open_image(source, dims=dims) as image:
                found = image.shape[0]
        except ContractileError:
            continue  # it is named when its turn comes
        if found == channels or (channels == 1 and found in COLOURS):  # the colours may turn out to be equal
            return
        first = first or _misfit(source, found, channels)
    if first is not None:
        raise _first_of(len(firsts), first)


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


def _leave_out_results(paths: Sequence[Path], out: Path) -> list[Path]:
    """Each file once, without what an earlier prediction of the other files has put into the same folder."""
    places: dict[str, Path] = {}
    for path in paths:
        places.setdefault(os.path.abspath(path), path)
    once = list(places.values())
    names, folder = {stem(path) for path in once}, out.absolute()
    kept = [path for path in once if path.absolute().parent != folder or _made_from(stem(path)).isdisjoint(names)]
    if len(kept) < len(once):
        logger.warning("%d earlier result(s) in %s are not predicted again", len(once) - len(kept), out)
    return kept


def _made_from(name: str) -> set[str]:
    """The names of the files that a result may have been made from: all of a file, or one page of it."""
    image, _, product = name.rpartition("_")
    return {image, re.sub(r"_\d{4,}$", "", image)} if product in PRODUCTS else set()


def _check_names(files: Iterable[Outputs]) -> None:
    seen: dict[str, Path] = {}
    for name, path in ((outputs.name, outputs.path) for outputs in files):
        other = seen.setdefault(name, path)
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
