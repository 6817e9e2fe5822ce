"""Pairs of prediction and truth: arrays, files, folders or stacks. Images pair by name.

Each file is read when its image is scored, so that a folder larger than memory can be evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import Source, describe, find, match_names, open_image, read, read_labels, read_probabilities

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]

ROLES = re.compile(r"_(labels|probabilities|overlay)(?=$|_\d+$)")  # what predict adds to a name
SHOWN_NAMES = 3
# A picture is a grey map and not labels when it has more values than this, and fewer equal neighbours than this share.
GREY_VALUES, ALIKE = 16, 0.4


@dataclass(frozen=True)
class Prediction:
    """What was predicted for one image: labels (*S), probabilities (K, *S), or both."""

    labels: Labels | None
    probabilities: Probabilities | None

    @property
    def shape(self) -> tuple[int, ...]:
        """*S."""
        if self.labels is not None:
            return self.labels.shape
        assert self.probabilities is not None
        return self.probabilities.shape[1:]


@dataclass(frozen=True)
class Pair:
    """One image to score. For messages, `where` names the predicted file and `truth_where` the true one."""

    name: str
    where: str
    truth_where: str
    load_truth: Callable[[], Labels]
    load_prediction: Callable[[], Prediction]
    load_pixel_size: Callable[[], tuple[float, ...] | None] = lambda: None


def pair_up(predicted: Any, truth: Any, *, names: Sequence[str] | None = None, dims: int = 2) -> list[Pair]:
    """Pair predictions with truths.

    Both are paths (folder, glob, file, stack, or a list of files), or both are arrays or lists of arrays. Files pair by
    name; two stacks, one file each, pair page by page. Arrays pair in order: labels (*S) of integers, or probabilities
    (K, *S) or (*S) of floats. A predicted folder may hold both labels and probabilities of an image. Raises
    ContractileError, which names the image, when a prediction is missing or has no truth.
    """
    if is_path(predicted) != is_path(truth):
        raise ContractileError(
            "predicted and truth must both be paths or both be arrays, "
            f"got {type(predicted).__name__} and {type(truth).__name__}",
            "read files with contractile.read_labels",
        )
    if is_path(predicted):
        return _pair_files(predicted, truth, dims)
    return _pair_arrays(_as_list(predicted), _as_list(truth), names)


def place(paths: Any) -> str:
    """One path, or the first of a list, for messages."""
    return str(paths) if isinstance(paths, str | Path) else some([str(path) for path in paths])


def is_path(value: Any) -> bool:
    """Whether this is a path or a list of paths."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, str | Path)


def some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"


def _as_list(value: Any) -> list[NDArray[Any]]:
    return [np.asarray(v) for v in value] if isinstance(value, list | tuple) else [np.asarray(value)]


def _pair_arrays(predicted: list[NDArray[Any]], truth: list[NDArray[Any]], names: Sequence[str] | None) -> list[Pair]:
    if len(predicted) != len(truth) or not truth:
        raise ContractileError(
            f"predicted and truth must hold the same number of images (not 0), got {len(predicted)} and {len(truth)}",
            "pass one prediction per truth, in the same order",
        )
    digits = len(str(len(truth) - 1))
    chosen = list(names) if names is not None else [f"{i:0{digits}d}" for i in range(len(truth))]
    if len(chosen) != len(truth) or len(set(chosen)) != len(chosen):
        raise ContractileError(
            f"names must hold a different name for each image, got {some(chosen)} for {len(truth)} images",
            "leave them out for numbers",
        )
    return [_array_pair(n, p, t) for n, p, t in zip(chosen, predicted, truth, strict=True)]


def _array_pair(name: str, predicted: NDArray[Any], truth: NDArray[Any]) -> Pair:
    where, truth_where = f"predicted image {name}", f"true image {name}"
    if truth.dtype.kind not in "iub":
        raise ContractileError(
            f"must hold integer labels, got {truth.dtype}", "convert it to integers", where=truth_where
        )
    labels = truth.astype(np.uint8) if truth.dtype.kind == "b" else truth
    prediction = _as_prediction(predicted, truth.ndim, where)
    return Pair(name, where, truth_where, lambda: labels, lambda: prediction)


def _as_prediction(predicted: NDArray[Any], dims: int, where: str) -> Prediction:
    if predicted.dtype.kind in "iub":
        return _from_integers(predicted.astype(np.uint8) if predicted.dtype.kind == "b" else predicted, where)
    if predicted.dtype.kind != "f" or predicted.ndim not in (dims, dims + 1):
        raise ContractileError(
            f"must be integer labels (*S) or probabilities (K, *S) or (*S) for a truth of {dims} dimensions, "
            f"got {predicted.dtype} {predicted.shape}",
            "check the order of the axes",
            where=where,
        )
    if predicted.size and not (predicted.min() >= -1e-4 and predicted.max() <= 1 + 1e-4):
        raise ContractileError(
            f"probabilities must lie in [0, 1], got {predicted.min()} to {predicted.max()}",
            "apply softmax or sigmoid, or save labels as integers",
            where=where,
        )
    return Prediction(None, predicted if predicted.ndim == dims + 1 else predicted[None])


def _from_integers(values: Labels, where: str) -> Prediction:
    """Labels, or probabilities stored as a grey map of 8 bits; the values decide which."""
    if values.dtype == np.uint8 and _is_grey(values):
        return Prediction(None, (values[None] / np.float32(255)).astype(np.float32))
    if values.min(initial=0) < 0:
        raise ContractileError(
            f"predicted labels must be 0 (background) or above, got {values.min()}",
            "only the truth may mark pixels to ignore with negative labels",
            where=where,
        )
    return Prediction(values, None)


def _is_grey(values: Labels) -> bool:
    """Whether the values between black and white mostly differ from their neighbours, as in a map but not in labels."""
    if len(np.unique(values)) <= GREY_VALUES:
        return False
    left, right = values[..., :-1], values[..., 1:]
    between = (left > 0) & (left < 255)
    return bool(between.any() and np.mean((left == right)[between]) < ALIKE)


def _pair_files(predicted: Any, truth: Any, dims: int) -> list[Pair]:
    truths = find(truth, dims=dims)
    groups: dict[str, list[Source]] = {}
    for source in find(predicted, dims=dims):
        if not re.search(r"_overlay(?=$|_\d+$)", source.name):
            groups.setdefault(ROLES.sub("", source.name), []).append(source)
    names = [s.name for s in truths]
    matched = _match_pages(groups, truths) or {
        name: names.index(other) for name, other in match_names(list(groups), names).items()
    }
    missing = [s.name for i, s in enumerate(truths) if i not in matched.values()]
    extra = [name for name in groups if name not in matched]
    if missing:
        raise ContractileError(
            f"no prediction for {some(missing)} of {place(truth)}", "predict these images too", where=place(predicted)
        )
    if extra:
        raise ContractileError(
            f"no truth for {some(extra)} of {place(predicted)}", "move these predictions away", where=place(truth)
        )
    order = sorted(matched.items(), key=lambda item: item[1])
    return [_file_pair(name, groups[name], truths[i], dims) for name, i in order]


def _file_pair(name: str, sources: list[Source], truth: Source, dims: int) -> Pair:
    return Pair(
        name,
        describe(sources[0]),
        describe(truth),
        lambda: read_labels(truth, dims=dims),
        lambda: _read_prediction(sources, dims),
        lambda: _read_pixel_size(truth, dims),
    )


def _read_pixel_size(source: Source, dims: int) -> tuple[float, ...] | None:
    with open_image(source, dims=dims) as image:
        return image.pixel_size_um


def _read_prediction(sources: list[Source], dims: int) -> Prediction:
    """Labels, probabilities or both, from the files of one image."""
    parts = [_read_one(source, dims) for source in sources]
    labels = [part.labels for part in parts if part.labels is not None]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    if len(labels) > 1 or len(probabilities) > 1:
        raise ContractileError(
            f"a second prediction of one image beside {sources[0].path}", "move one away", where=sources[-1].path
        )
    if labels and probabilities and probabilities[0].shape[1:] != labels[0].shape:
        raise ContractileError(
            "labels and probabilities of one image must have the same size, "
            f"got {labels[0].shape} and {probabilities[0].shape[1:]}",
            "predict both again",
            where=sources[0].path,
        )
    return Prediction(labels[0] if labels else None, probabilities[0] if probabilities else None)


def _read_one(source: Source, dims: int) -> Prediction:
    """Labels or probabilities: the name that `predict` gave the file decides, otherwise its content."""
    role = ROLES.search(source.name)
    if role and role.group(1) == "probabilities":
        return Prediction(None, read_probabilities(source, dims=dims))
    if role is None:
        pixels = read(source, dims=dims).pixels
        if pixels.dtype.kind == "f" and (
            len(pixels) > 1 or not np.array_equal(pixels, np.rint(pixels)) or pixels.max() <= 1
        ):
            return Prediction(None, read_probabilities(source, dims=dims))
        if len(pixels) == 1 and pixels.dtype == np.uint8:
            return _from_integers(pixels[0], describe(source))
    return _from_integers(read_labels(source, dims=dims), describe(source))


def _match_pages(groups: dict[str, list[Source]], truth: list[Source]) -> dict[str, int]:
    """Predicted name -> place in `truth`, where both are one stack with the same number of pages; otherwise empty."""
    stacks = [sources[0] for sources in groups.values()]
    for side in (stacks, truth):
        if len({s.path for s in side}) != 1 or side[0].page is None:
            return {}
    return {name: i for i, name in enumerate(groups)} if len(stacks) == len(truth) else {}
