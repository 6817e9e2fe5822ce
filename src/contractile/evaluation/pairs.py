"""Predictions and truths brought together: arrays, files, folders, stacks. Images pair by name.

Nothing is loaded before it is scored, so a folder larger than memory can be evaluated.
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
from contractile.images import Source, find, match_names, open_image, read, read_labels, read_probabilities

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]

ROLES = re.compile(r"_(labels|probabilities|overlay)(?=$|_\d+$)")  # what predict adds to a name
SHOWN_NAMES = 3
GREY_VALUES = 16  # more values than this, and mostly no two neighbours alike: a grey map, not labels
ALIKE = 0.4


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
    """One image to score. `where` names the predicted file for messages, `truth_where` the true one."""

    name: str
    where: str
    truth_where: str
    load_truth: Callable[[], Labels]
    load_prediction: Callable[[], Prediction]
    load_pixel_size: Callable[[], tuple[float, ...] | None] = lambda: None


def pair_up(predicted: Any, truth: Any, *, names: Sequence[str] | None = None, dims: int = 2) -> list[Pair]:
    """Pair predictions with truths.

    Both are paths (folder, glob, file, stack, or a list of files), paired by name, or by page where each
    is one stack; or both are arrays or lists of arrays, paired by place: labels (*S) of integers,
    probabilities (K, *S) or (*S) of floats. A predicted folder may hold labels and probabilities of one
    image side by side. Raises ValueError when one is missing or left over, naming it.
    """
    if is_path(predicted) != is_path(truth):
        raise ContractileError(
            (
                f"predicted and truth must both be paths or both be arrays, got {type(predicted).__name__} "
                f"and {type(truth).__name__}"
            ),
            "read files with contractile.read_labels",
        )
    if is_path(predicted):
        return _pair_files(predicted, truth, dims)
    return _pair_arrays(_as_list(predicted), _as_list(truth), names)


def is_path(value: Any) -> bool:
    """Whether this names files, one or a list."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, str | Path)


def some(names: Sequence[str]) -> str:
    """The first names of a list that may be long."""
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"


def _as_list(value: Any) -> list[NDArray[Any]]:
    return [np.asarray(v) for v in value] if isinstance(value, list | tuple) else [np.asarray(value)]


def _pair_arrays(predicted: list[NDArray[Any]], truth: list[NDArray[Any]], names: Sequence[str] | None) -> list[Pair]:
    if len(predicted) != len(truth) or not truth:
        raise ContractileError(
            f"predicted and truth must hold as many images (not 0), got {len(predicted)} and {len(truth)}",
            "pass one prediction per truth, in the same order",
        )
    digits = len(str(len(truth) - 1))
    chosen = list(names) if names is not None else [f"{i:0{digits}d}" for i in range(len(truth))]
    if len(chosen) != len(truth) or len(set(chosen)) != len(chosen):
        raise ContractileError(
            (f"names must hold one name of its own per image, got {some(chosen)} for {len(truth)} images"),
            "correct them",
        )
    return [
        _array_pair(n, _as_prediction(p, t.ndim, n), _as_truth(t, n))
        for n, p, t in zip(chosen, predicted, truth, strict=True)
    ]


def _array_pair(name: str, prediction: Prediction, truth: Labels) -> Pair:
    return Pair(name, f"predicted image {name}", f"true image {name}", lambda: truth, lambda: prediction)


def _as_truth(truth: NDArray[Any], name: str) -> Labels:
    if truth.dtype.kind not in "iub":
        raise ContractileError(
            f"true image {name}: must hold integer labels, got {truth.dtype}", "convert it to integers"
        )
    return truth.astype(np.uint8) if truth.dtype.kind == "b" else truth


def _as_prediction(predicted: NDArray[Any], dims: int, name: str) -> Prediction:
    where = f"predicted image {name}"
    if predicted.dtype.kind in "iub":
        return _from_integers(predicted.astype(np.uint8) if predicted.dtype.kind == "b" else predicted, where)
    if predicted.dtype.kind != "f" or predicted.ndim not in (dims, dims + 1):
        raise ContractileError(
            (
                f"must be integer labels (*S) or probabilities (K, *S) or (*S) for a truth of {dims} "
                f"dimensions, got {predicted.dtype} {predicted.shape}"
            ),
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
    """Labels, or a grey 8-bit map of probabilities, told apart by looking."""
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
    """Whether neighbours between black and white mostly differ, as they do in a map and never in labels."""
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
    matched = _match_pages(groups, truths) or _match(list(groups), [s.name for s in truths])
    missing = [s.name for i, s in enumerate(truths) if i not in matched.values()]
    extra = [name for name in groups if name not in matched]
    if missing:
        raise ContractileError(
            f"no prediction for {some(missing)} of {truth}", "predict these images too", where=predicted
        )
    if extra:
        raise ContractileError(f"no truth for {some(extra)} of {predicted}", "move these predictions away", where=truth)
    order = sorted(matched.items(), key=lambda item: item[1])
    return [_file_pair(name, groups[name], truths[i], dims) for name, i in order]


def _file_pair(name: str, sources: list[Source], truth: Source, dims: int) -> Pair:
    return Pair(
        name,
        _describe(sources[0]),
        _describe(truth),
        lambda: read_labels(truth, dims=dims),
        lambda: _read_prediction(sources, dims),
        lambda: _read_pixel_size(truth, dims),
    )


def _describe(source: Source) -> str:
    return str(source.path) if source.page is None else f"{source.path} (page {source.page})"


def _read_pixel_size(source: Source, dims: int) -> tuple[float, ...] | None:
    with open_image(source, dims=dims) as image:
        return image.pixel_size_um


def _read_prediction(sources: list[Source], dims: int) -> Prediction:
    labels: Labels | None = None
    probabilities: Probabilities | None = None
    for source in sources:
        part = _read_one(source, dims)
        twice = (labels is not None and part.labels is not None) or (
            probabilities is not None and part.probabilities is not None
        )
        if twice:
            raise ContractileError(
                f"a second prediction of one image beside {sources[0].path}", "move one away", where=source.path
            )
        labels = part.labels if part.labels is not None else labels
        probabilities = part.probabilities if part.probabilities is not None else probabilities
    if labels is not None and probabilities is not None and probabilities.shape[1:] != labels.shape:
        raise ContractileError(
            (
                f"labels and probabilities of one image must have the same size, got {labels.shape} "
                f"and {probabilities.shape[1:]}"
            ),
            "predict both again",
            where=sources[0].path,
        )
    return Prediction(labels, probabilities)


def _read_one(source: Source, dims: int) -> Prediction:
    """Labels or probabilities: by the name predict gave, else by what the file holds."""
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
            return _from_integers(pixels[0], _describe(source))
    return _from_integers(read_labels(source, dims=dims), _describe(source))


def _match_pages(groups: dict[str, list[Source]], truth: list[Source]) -> dict[str, int]:
    """Two stacks, one file each, of as many pages: page by page."""
    stacks = [sources[0] for sources in groups.values()]
    for side in (stacks, truth):
        if len({s.path for s in side}) != 1 or side[0].page is None:
            return {}
    return {name: i for i, name in enumerate(groups)} if len(stacks) == len(truth) else {}


def _match(predicted: list[str], truth: list[str]) -> dict[str, int]:
    """Predicted name -> place in `truth`."""
    return {name: truth.index(other) for name, other in match_names(predicted, truth).items()}
