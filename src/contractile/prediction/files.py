"""Files in, files out: reading, prediction and writing overlap."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from contractile.errors import (
    AlreadyThere,
    ContractileError,
    InUse,
    NotFinished,
    NotWritable,
    NotWritten,
    OutOfMemory,
    WrongType,
    shown,
)
from contractile.images import (
    Image,
    Source,
    describe,
    find_joined,
    leave_out_labels,
    list_image_files,
    list_joined,
    named_files,
    say_rest,
)
from contractile.images.failures import Failures, find_readable
from contractile.images.series import split_series
from contractile.images.writing import check_folder
from contractile.prediction.field import Field, Progress
from contractile.prediction.inputs import Reader, check_channels, leave_out_results
from contractile.prediction.outputs import OF_OBJECTS, PRODUCTS, Outputs, Written, choose_place
from contractile.prediction.predictor import Predictor
from contractile.prediction.progress import FileProgress, Ticker
from contractile.prediction.scaling import scaled
from contractile.prediction.shapes import check_shapes
from contractile.prediction.tables import check_table
from contractile.prediction.tracks import in_order, plan_movies
from contractile.prediction.unfinished import Course, work_folder
from contractile.prediction.unlike import find_unlike
from contractile.quality import Unlike
from contractile.storage import Claim, check_lengths, claimed
from contractile.work import Work, here

logger = logging.getLogger(__name__)

OF_THE_FOLDER = (NotWritten, NotWritable, AlreadyThere, InUse)  # errors of the place of results, not of one file


def predict_files(
    predictor: Predictor,
    images: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    products: Sequence[str] = ("labels",),
    form: str = "tiff",
    table: str = "csv",
    tta: bool = False,
    axes: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    work: Work | None = None,
    progress: FileProgress | None = None,
    skipped: Callable[[Written], None] | None = None,
) -> Iterator[Written]:
    """Segment files into the folder `out`, one input at a time, as they are asked for.

    For NAME.tif: `NAME_labels.tif`, and on request `NAME_probabilities.tif` (float32, classes are channels),
    `NAME_overlay.png` (one per page of a stack) and `NAME_objects.csv` (a row per object; with `table` "parquet"
    `NAME_objects.parquet`, which needs `contractile[parquet]`). A stack gives stacks with the same axes, spacing and
    frame interval, and columns `page`, `t`, `z` ... A file of several images that are not
    alike gives files of each: `NAME_0000_labels.tif`, `NAME_0001_labels.tif`. `axes` are the letters of the files'
    axes, such as "YXC" (default: those that the model was trained with). A grey picture that is stored as colour is
    taken as grey by a model of one channel. `progress(name, done, total)` counts tiles.

    `form` is that of labels and probabilities: "tiff", "ome-zarr" (0.5) or "ome-zarr-0.4", with lower resolutions:
    `NAME_labels.zarr`, `NAME_probabilities.zarr`. Where `out` is the one image itself, an OME-Zarr, its labels go
    inside, to `labels/contractile`, and all else beside it.

    Images are read, predicted and written block by block. What is finished of a large one is kept in a hidden folder in
    `out`; with `resume` a prediction that was killed goes on there, and files that are finished are left out: `skipped`
    is told of each. `work` (`contractile.work.connect`) is another place than this process where blocks are done.

    The results of one image appear together. Results of an earlier prediction are replaced, unless they were changed
    since; what else is there only with `overwrite`. An image that is read is never replaced.

    Raises WrongType for `products` that are no list of names; ContractileError, before any work, for an unknown product
    or form, a table of objects of a model that has none, a table as Parquet that is no product or cannot be written,
    two inputs that would write the same file, names that are too long, or images of which none can be read or fits the
    model; AlreadyThere where a file would be replaced that is not such a result; InUse where another process predicts
    one of the images into the same folder; NotWritable for a folder that takes no files; NotFound where there are no
    images; NotWritten where a result cannot be written; NotFinished where the workers of `work` are gone;
    ContractileError with `resume` where the model, an option or the image is another one. A file among others that
    cannot be read or predicted, or whose results a format cannot hold, is logged as a warning and left out; when all
    others are done, NotFinished names it.
    """
    _check_products(products, predictor.card.task)
    check_table(table, products)
    check_shapes(products)
    out = os.path.expanduser(out)
    check_folder(out)
    out = Path(out)
    network, failures = predictor.card.network, Failures("predicted")
    paths = leave_out_labels(leave_out_results(list_image_files(images), out), named=named_files(images))
    look: dict[str, Any] = {"channels": network.channels, "dims": network.dims, "axes": axes or predictor.card.axes}
    groups = [item.files for item in list_joined(paths, **look)]
    wish = replace(choose_place(out, form, paths, products), table=table)
    sources = find_readable(groups, partial(find_joined, **look), failures.add)
    if not sources:
        failures.finish()
    series = [
        one
        for _, pages in groupby(sources, key=lambda source: source.path)
        for one in split_series(list(pages), dims=network.dims)
    ]
    movies = plan_movies(series, out) if "ctc" in products else {}
    if movies:
        series = in_order(series, movies)
    files = [Outputs(one, wish, network.dims, movies.get(one.name)) for one in series]
    _check_names(files)
    check_lengths(work_folder(out, one) for one in series)
    check_channels([outputs.series.pages[0] for outputs in files], network.channels, network.dims)
    wanted = [file for outputs in files for file in outputs.files]
    held = [file for outputs in files for file in outputs.possible]
    zarrs = [file for outputs in files for file in outputs.folders]
    within = [] if wish.inside is None else [wish.inside]
    kinds: dict[str, Any] = {"inputs": paths, "held": held, "folders": zarrs, "within": within}
    with claimed(wanted, by="predict", overwrite=overwrite, **kinds) as claim:
        course = Course(predictor, wish.out, tta=tta, products=products, form=form, resume=resume, work=work)
        if not movies:  # tracks go through all frames
            files = list(_unfinished(files, course, skipped))
        predicted = _predict_each(predictor, files, failures, course=course, progress=progress)
        with closing(predicted):  # else an error leaves it to Python, which may end it in a thread that reads for it
            yield from _write_each(predicted, claim, failures, course)
        course.end()
    say_rest(paths)
    failures.finish()


def _unfinished(
    files: Iterable[Outputs], course: Course, skipped: Callable[[Written], None] | None
) -> Iterator[Outputs]:
    """The files that are not finished; `skipped` is told of the others."""
    for outputs in files:
        written = course.find_finished(outputs.series, outputs.files)
        if written is None:
            yield outputs
        elif skipped is not None:
            skipped(written)


def _write_each(predicted: Iterable[Outputs], claim: Claim, failures: Failures, course: Course) -> Iterator[Written]:
    """Write the results of one series while the next one is predicted."""

    def write(outputs: Outputs) -> Written:
        written = outputs.close(claim)
        course.finish(outputs.series, written)
        return written

    with ThreadPoolExecutor(max_workers=1) as writer:
        writing: tuple[Outputs, Future[Written]] | None = None
        for outputs in predicted:
            if writing is not None:
                yield from _take(*writing, failures)
            writing = outputs, writer.submit(write, outputs)
        if writing is not None:
            yield from _take(*writing, failures)


def _take(outputs: Outputs, writing: Future[Written], failures: Failures) -> Iterator[Written]:
    """What was written of a series; nothing where a format cannot hold its results.

    What was predicted of a large image stays, so that `resume` with other products need not predict it again.
    """
    try:
        written = writing.result()
    except ContractileError as error:
        if not _is_of_one_file(error):
            raise
        failures.add(outputs.series, error)
        outputs.release()
    else:
        failures.count_result()
        yield written


def _is_of_one_file(error: ContractileError) -> bool:
    """Whether other files may do better: not where the folder takes no results, or where no worker is left."""
    return not isinstance(error, OF_THE_FOLDER) and type(error) is not NotFinished


def _may_pass(error: ContractileError) -> bool:
    """Whether the same file may be predicted later: `resume` then goes on after the blocks that are finished."""
    return isinstance(error, OutOfMemory) or isinstance(error.__cause__, OSError)


def _predict_each(
    predictor: Predictor,
    files: Iterable[Outputs],
    failures: Failures,
    *,
    course: Course,
    progress: FileProgress | None,
) -> Generator[Outputs, None, None]:
    """The results of each series that can be read and predicted."""
    owners = {source: outputs for outputs in files for source in outputs.series.pages}
    wanted = (source for source, outputs in owners.items() if str(outputs.series) not in failures.errors)
    with closing(here(ahead=1).each(Reader(predictor).read, wanted, name="images")) as read:
        for outputs, pages in groupby(read, key=lambda pair: owners[pair[0]]):
            error = _fill(outputs, pages, predictor, course=course, progress=progress)
            if error is not None:
                failures.add(outputs.series, error)
                outputs.release()
                if not _may_pass(error):
                    course.forget(outputs.series)
                continue
            yield outputs


def _fill(
    outputs: Outputs,
    pages: Iterable[tuple[Source, Image | Exception]],
    predictor: Predictor,
    *,
    course: Course,
    progress: FileProgress | None,
) -> ContractileError | None:
    """Predict the pages of one file. Returns the error of a page that cannot be read or predicted.

    Raises ContractileError where no image can be predicted, because the network cannot be placed on its device, and
    for what is no fault of this file.
    """
    for page, (source, image) in enumerate(pages):
        if isinstance(image, ContractileError):
            return image
        if isinstance(image, Exception):
            raise image
        ticker = Ticker(progress, outputs.series, page)
        try:
            with image:
                field, unlike = _begin(predictor, image, source, tta=course.tta, progress=ticker.tile)
                found = course.begin(outputs.series, page, field)
                course.carry_out(found, source, ticker)
                outputs.add(image, found, unlike)
        except ContractileError as error:
            if not _is_of_one_file(error) or (not error.where and predictor.placed is None):
                raise
            told = error.at(error.where or describe(source))
            told.__cause__ = error.__cause__
            return told
    return None


def _begin(
    predictor: Predictor, image: Image, source: Source, *, tta: bool, progress: Progress
) -> tuple[Field, Unlike | None]:
    """The field of an image, and how far it is from the training images.

    An error names the image, unless it is about the device of a network not placed yet.
    """
    pixels, card = image.sliceable, predictor.card
    try:
        curve = None if card.likeness is None else card.normalization.fit(pixels)
        field = predictor.probabilities(pixels, tta=tta, progress=progress, curve=curve)
        return field, None if curve is None else find_unlike(card, scaled(pixels, field.scale), curve)
    except ContractileError as error:
        if not error.where and not (predictor.placed is None and _has_grey_values(predictor, image)):
            raise error.at(describe(source)) from error
        raise


def _has_grey_values(predictor: Predictor, image: Image) -> bool:
    """Whether an image can be shown to the network, wherever that is."""
    with suppress(ContractileError):
        predictor.card.normalization.fit(image.sliceable)
        return True
    return False


def _check_products(products: Sequence[str], task: str) -> None:
    if not _are_names(products):
        likely = tuple(products.split(",")) if isinstance(products, str) and products else ("labels",)
        raise WrongType(f"products must be a list of names, got {shown(products)}", f"give {likely}")
    if not products or not set(products) <= set(PRODUCTS):
        raise ContractileError(
            f"products must be among {', '.join(PRODUCTS)}, got {', '.join(products)!r}", "correct the name"
        )
    named = [product for product in OF_OBJECTS if product in products]
    if named and task != "objects":
        raise ContractileError(
            f"products must not hold {named[0]} for a model of task {task}, got {', '.join(products)}",
            "train on labels that number their objects",
        )


def _are_names(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


def _check_names(files: Iterable[Outputs]) -> None:
    seen: dict[Path, Path] = {}
    for file, path in ((file, outputs.series.path) for outputs in files for file in outputs.files):
        other = seen.setdefault(file, path)
        if other != path:
            raise ContractileError(
                f"images must have different names, got {other} and {path}",
                "predict them into two folders, or leave one out",
            )
