"""Pairs of prediction and truth: arrays, files, folders or stacks. Images pair by name.

Each file is read when its image is scored, so that a folder larger than memory can be evaluated.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, WrongType, shown
from contractile.evaluation.predictions import MAP, ROLES, Labels, Prediction, Reader
from contractile.images import Source, describe, list_files, open_image, read_labels, say_guesses, stem
from contractile.images.arrays import as_array
from contractile.images.drawings import Numbering
from contractile.images.joined import Opened, match_pages, open_item, page_name
from contractile.images.layouts import Item, list_labels, list_truth
from contractile.images.names import Match, pair_names, some
from contractile.images.notes import say
from contractile.images.planes import refuse_planes
from contractile.images.reading import name_pages
from contractile.images.shape_files import numbering_of
from contractile.images.sides import without_by_products, without_images, without_shapes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """One image to score. For messages, `where` names the predicted file and `truth_where` the true one.

    `name` is that of the prediction, without what says that it is one; `truth_name` is the same for all predictions.
    """

    name: str
    truth_name: str
    where: str
    truth_where: str
    load_truth: Callable[[], Labels]
    load_prediction: Callable[[], Prediction]
    load_pixel_size: Callable[[], tuple[float, ...] | None] = lambda: None
    files: tuple[Path, ...] = ()
    task: Literal["objects", "classes"] | None = None  # where the truth says it: shapes do


def pair_up(
    predicted: Any,
    truth: Any,
    reader: Reader,
    *,
    names: Sequence[str] | None = None,
    axes: str | None = None,
) -> list[Pair]:
    """Pair predictions with truths, in the order of the truths.

    Both are paths (folder, glob, file, stack, or a list of files), or both are arrays or lists of arrays. Files pair by
    name as in training, stacks page by page. Arrays pair in order: labels (*S) of integers, or probabilities (K, *S) or
    (*S) of floats. A predicted folder may hold both labels and probabilities of an image, and the truth may lie beside
    its images. `axes` names the axes of the files (`find`), `names` are those of arrays (`check_sides`).

    Raises ContractileError, which names the image, when a prediction is missing or has no truth.
    """
    if is_path(predicted):
        return _pair_files(predicted, truth, reader, axes)
    return _pair_arrays(_as_list(predicted, "predicted"), _as_list(truth, "true"), names, reader)


def check_sides(predicted: Any, truth: Any, *, names: Sequence[str] | None, axes: str | None) -> None:
    """Raise ContractileError unless both are paths without `names`, or both are arrays without letters of `axes`."""
    if is_path(predicted) != is_path(truth):
        raise ContractileError(
            "predicted and truth must both be paths or both be arrays, "
            f"got {type(predicted).__name__} and {type(truth).__name__}",
            "read files with contractile.read_labels",
        )
    for name, places in (("predicted", predicted), ("truth", truth)) if is_path(predicted) else ():
        strange = [one for one in places if not isinstance(one, str | Path)] if isinstance(places, list | tuple) else []
        if strange:
            raise WrongType(f"{name} must hold paths only, got {shown(strange[0])}", "give paths or arrays, not both")
    if is_path(predicted) and names is not None:
        raise ContractileError(
            f"names are for arrays, got {shown(names)} for files", "leave them out: files have names"
        )
    if not is_path(predicted) and axes is not None:
        cure = "leave it out: arrays are labels (*S) or probabilities (K, *S)"
        raise ContractileError(f"axes are for files, got {axes!r} for arrays", cure)


def place(paths: Any) -> str:
    """A path, or the first three of a list and how many more there are, for messages."""
    return str(paths) if isinstance(paths, str | Path) else some([str(path) for path in paths])


def is_path(value: Any) -> bool:
    """Whether this is a path or a list of paths."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, str | Path)


def _as_list(value: Any, which: str) -> list[NDArray[Any]]:
    images = value if isinstance(value, list | tuple) else [value]
    cure = "give an array or a list of arrays, or paths on both sides"
    return [np.asarray(as_array(one, f"{which} image {number}", cure)) for number, one in enumerate(images)]


def _pair_arrays(
    predicted: list[NDArray[Any]], truth: list[NDArray[Any]], names: Sequence[str] | None, reader: Reader
) -> list[Pair]:
    if len(predicted) != len(truth) or not truth:
        raise ContractileError(
            f"predicted and truth must hold the same number of images (not 0), got {len(predicted)} and {len(truth)}",
            "pass one prediction per truth, in the same order",
        )
    if names is not None and (
        isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(one, str) for one in names)
    ):
        raise WrongType(f"names must be a list of texts, got {shown(names)}", "leave them out for numbers")
    digits = len(str(len(truth) - 1))
    chosen = list(names) if names is not None else [f"{i:0{digits}d}" for i in range(len(truth))]
    if len(chosen) != len(truth) or len(set(chosen)) != len(chosen):
        raise ContractileError(
            f"names must hold a different name for each image, got {some(chosen)} for {len(truth)} images",
            "leave them out for numbers",
        )
    return [_array_pair(n, p, t, reader) for n, p, t in zip(chosen, predicted, truth, strict=True)]


def _array_pair(name: str, predicted: NDArray[Any], truth: NDArray[Any], reader: Reader) -> Pair:
    where, truth_where = f"predicted image {name}", f"true image {name}"
    if truth.dtype.kind not in "iub":
        raise ContractileError(
            f"must hold integer labels, got {truth.dtype}", "convert it to integers", where=truth_where
        )
    if truth.ndim not in (2, 3) or not truth.size:
        problem = f"must be labels (Y, X) or (Z, Y, X) of one image at least, got {truth.dtype} {truth.shape}"
        cure = "give np.array(labels), or a list of arrays of several images"
        raise ContractileError(problem, cure, where=truth_where)
    if truth.ndim < reader.dims:
        problem = f"must be a volume (Z, Y, X) where dims is 3, got {truth.dtype} {truth.shape}"
        raise ContractileError(problem, "leave dims out: the arrays show it", where=truth_where)
    if not predicted.size:
        problem = f"must have pixels, got {predicted.dtype} {predicted.shape}"
        raise ContractileError(problem, "check how it was cut", where=where)
    labels = truth.astype(np.uint8) if truth.dtype.kind == "b" else truth
    prediction = reader.take(predicted, truth.ndim, where)
    return Pair(name, name, where, truth_where, lambda: labels, lambda: prediction)


def _pair_files(predicted: Any, truth: Any, reader: Reader, axes: str | None) -> list[Pair]:
    truths = list_truth(truth)
    groups: dict[str, list[Item]] = {}
    for item in list_predictions(predicted):
        groups.setdefault(_image_name(item.name), []).append(item)
    if not groups:
        found = some([file.name for file in list_files(predicted, shapes=True)])
        problem = f"holds no label files (such as {truths[0].name}_labels.tif), only {found}"
        raise ContractileError(problem, "run predict with --save labels, or labels,overlay", where=place(predicted))
    reader.numbering = _number(truths, [one for items in groups.values() for one in items], reader.task)
    match = pair_names(list(groups), [one.name for one in truths])
    if len(match.partners) < max(len(groups), len(truths)) and 1 in (len(groups), len(truths)):
        return _pair_in_order(predicted, groups, truth, truths, reader, axes)
    _check_all(list(groups), predicted, [one.name for one in truths], truth, match)
    by_truth = {other: name for name, other in match.partners.items()}
    return [
        pair
        for one in truths
        for pair in _pair_pages(by_truth[one.name], groups[by_truth[one.name]], one, reader, axes)
    ]


def _number(truths: Sequence[Item], predictions: Sequence[Item], task: str | None) -> Numbering:
    """What shapes on both sides mean: true ones decide, and classes have one number on both sides."""
    sides = [[(one.files[0], one.entry) for one in side if one.entry is not None] for side in (truths, predictions)]
    found = numbering_of(sides[0] or sides[1], task=task)
    return numbering_of([*sides[0], *sides[1]], task="classes") if found.classes else found


def list_predictions(predicted: Any) -> list[Item]:
    """The files that are predictions, and not images, overlays or what else lies beside them.

    Shapes are predictions where there is nothing else.
    """
    files = list_files(predicted, shapes=True)
    rasters = without_shapes(files)
    if not rasters:
        return list_labels(files)
    files = [file for file in rasters if "overlay" not in ROLES.findall(stem(file))]
    maps = {file for file in files if MAP.search(stem(file))}
    others = set(without_images(without_by_products([file for file in files if file not in maps])))
    return [Item(stem(file), (file,)) for file in files if file in maps or file in others]


def _image_name(name: str) -> str:
    """The name of the image that a prediction is of: a_labels, a_prob -> a."""
    return ROLES.sub("", MAP.sub("", name))


def _pair_pages(name: str, items: Sequence[Item], truth: Item, reader: Reader, axes: str | None) -> list[Pair]:
    """The pages of the files of one image, and those of its truth."""
    true = Opened(truth, open_item(truth, dims=reader.dims, axes=axes, labels=True))
    found: list[list[Source]] = []
    for item in items:
        opened = Opened(item, open_item(item, dims=reader.dims, axes=axes))
        opened, true, others = match_pages(opened, true, dims=reader.dims, axes=axes)
        if others is not None:
            say(f"axes {others}, from the shape of the truth (--axes settles it otherwise)", [item.files[0]])
        count = len(found[0]) if found else len(true.pages)  # as many as shapes of all pages were taken for
        if not len(opened.pages) == len(true.pages) == count:
            for side in (true, opened):
                if planes := name_pages(side.pages, dims=reader.dims):
                    raise refuse_planes(planes, side.item.files[0])
            problem = f"has {len(opened.pages)} page(s), and the truth {truth.files[0]} has {count}"
            raise ContractileError(problem, "predict the images that the truth was drawn on", where=item.files[0])
        say_guesses([page for page in opened.pages if page.axes is None])
        found.append(opened.pages)
    ends = [""] if len(true.pages) == 1 else [f"_{page:04d}" for page in range(len(true.pages))]
    pages = zip(ends, zip(*found, strict=True), true.pages, strict=True)
    return [_file_pair(name + end, truth.name + end, list(side), source, reader) for end, side, source in pages]


def _pair_in_order(
    predicted: Any, groups: dict[str, list[Item]], truth: Any, items: Sequence[Item], reader: Reader, axes: str | None
) -> list[Pair]:
    """A stack on one side, and files of single pages on the other: by name, or in order where there are as many."""
    truths = {
        page_name(item, source): source
        for item in items
        for source in open_item(item, dims=reader.dims, axes=axes, labels=True)
    }
    pages: dict[str, list[Source]] = {}
    for one in (one for each in groups.values() for one in each):
        for source in open_item(one, dims=reader.dims, axes=axes):
            pages.setdefault(_image_name(source.name), []).append(source)
    names, true_names = list(pages), list(truths)
    match = pair_names(names, true_names)
    if len(match.partners) < len(truths) == len(pages):
        match = Match(dict(zip(names, true_names, strict=True)), "order", tuple(names))
    _check_all(names, predicted, true_names, truth, match)
    by_truth = {other: name for name, other in match.partners.items()}
    return [_file_pair(by_truth[one], one, pages[by_truth[one]], source, reader) for one, source in truths.items()]


def _check_all(names: Sequence[str], predicted: Any, true_names: Sequence[str], truth: Any, match: Match) -> None:
    """Raise ContractileError unless all have a partner; say how partners were found where names do not say it."""
    taken = set(match.partners.values())
    missing = [name for name in true_names if name not in taken]
    extra = [name for name in names if name not in match.partners]
    if missing:
        problem = f"no prediction for {some(missing)} of {place(truth)}"
        raise ContractileError(problem, "predict these images too", where=place(predicted))
    if extra:
        problem = f"no truth for {some(extra)} of {place(predicted)}"
        raise ContractileError(problem, "move these predictions away", where=place(truth))
    if match.doubtful:
        logger.warning("predictions and truths are paired %s; rename them if that is wrong", match)


def _file_pair(name: str, truth_name: str, sources: list[Source], truth: Source, reader: Reader) -> Pair:
    if truth.drawn is not None:
        truth = replace(truth, drawn=replace(truth.drawn, on=sources[0], numbering=reader.numbering))
    sources = [
        one if one.drawn is None else replace(one, drawn=replace(one.drawn, on=truth, numbering=reader.numbering))
        for one in sources
    ]
    return Pair(
        name,
        truth_name,
        describe(sources[0]),
        describe(truth),
        lambda: read_labels(truth, dims=reader.dims),
        lambda: reader.read(sources),
        lambda: read_pixel_size([truth, *sources], reader.dims),
        files=tuple(file for source in (*sources, truth) for file in source.files),
        task=None if truth.drawn is None else "classes" if reader.numbering.classes else "objects",
    )


def read_pixel_size(sources: Sequence[Source], dims: int) -> tuple[float, ...] | None:
    """That of the first of the files that know it; shapes have none."""
    for source in sources:
        if source.drawn is None:
            with open_image(source, dims=dims) as image:
                if image.pixel_size_um is not None:
                    return image.pixel_size_um
    return None
