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

from contractile.images import Source, find, read, read_labels, read_probabilities

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]

ROLES = re.compile(r"_(labels|probabilities|overlay)(?=$|_\d+$)")  # what predict adds to a name
WORDS = re.compile(
    r"(^|[_\-. ])(images?|imgs?|raw|volume|masks?|labels?|seg|segmentation|gt|truth|groundtruth|annotations?)(?=$|[_\-. ]|\d)",
    re.IGNORECASE,
)
SHOWN_NAMES = 3


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


def pair_up(predicted: Any, truth: Any, *, names: Sequence[str] | None = None, dims: int = 2) -> list[Pair]:
    """Pair predictions with truths.

    Both are paths (folder, glob, file, stack, or a list of files), paired by name; or both are arrays
    or lists of arrays, paired by place: labels (*S) of integers, probabilities (K, *S) or (*S) of
    floats. Raises ValueError when one is missing or left over, naming it.
    """
    if _is_path(predicted) != _is_path(truth):
        raise ValueError(
            "predicted and truth must both be paths or both be arrays, got "
            f"{type(predicted).__name__} and {type(truth).__name__}; read the file with contractile.read_labels"
        )
    if _is_path(predicted):
        return _pair_files(predicted, truth, dims)
    return _pair_arrays(_as_list(predicted), _as_list(truth), names)


def _is_path(value: Any) -> bool:
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, str | Path)


def _as_list(value: Any) -> list[NDArray[Any]]:
    return [np.asarray(v) for v in value] if isinstance(value, list | tuple) else [np.asarray(value)]


def _pair_arrays(
    predicted: list[NDArray[Any]], truth: list[NDArray[Any]], names: Sequence[str] | None
) -> list[Pair]:
    if len(predicted) != len(truth):
        raise ValueError(
            f"predicted and truth must hold as many images, got {len(predicted)} and {len(truth)}; "
            "pass one prediction per truth, in the same order"
        )
    digits = len(str(max(len(truth) - 1, 0)))
    chosen = list(names) if names is not None else [f"{i:0{digits}d}" for i in range(len(truth))]
    if len(chosen) != len(truth):
        raise ValueError(f"names must hold one name per image, got {len(chosen)} for {len(truth)} images; add the rest")
    return [
        _array_pair(n, _as_prediction(p, t.ndim, n), _as_truth(t, n))
        for n, p, t in zip(chosen, predicted, truth, strict=True)
    ]


def _array_pair(name: str, prediction: Prediction, truth: Labels) -> Pair:
    return Pair(name, f"predicted image {name}", f"true image {name}", lambda: truth, lambda: prediction)


def _as_truth(truth: NDArray[Any], name: str) -> Labels:
    if truth.dtype.kind not in "iub":
        raise ValueError(f"true image {name} must hold integer labels, got {truth.dtype}; convert it to integers")
    return truth.astype(np.uint8) if truth.dtype.kind == "b" else truth


def _as_prediction(predicted: NDArray[Any], dims: int, name: str) -> Prediction:
    if predicted.dtype.kind in "iub":
        labels = predicted.astype(np.uint8) if predicted.dtype.kind == "b" else predicted
        return Prediction(labels, None)
    if predicted.dtype.kind != "f" or predicted.ndim not in (dims, dims + 1):
        raise ValueError(
            f"predicted image {name} must be integer labels (*S) or probabilities (K, *S) or (*S) for a truth of "
            f"{dims} dimensions, got {predicted.dtype} {predicted.shape}; check the order of the axes"
        )
    return Prediction(None, predicted if predicted.ndim == dims + 1 else predicted[None])


def _pair_files(predicted: Any, truth: Any, dims: int) -> list[Pair]:
    truths = find(truth, dims=dims)
    groups: dict[str, list[Source]] = {}
    for source in find(predicted, dims=dims):
        if not re.search(r"_overlay(?=$|_\d+$)", source.name):
            groups.setdefault(ROLES.sub("", source.name), []).append(source)
    matched = _match(list(groups), [s.name for s in truths])
    missing = [s.name for i, s in enumerate(truths) if i not in matched.values()]
    extra = [name for name in groups if name not in matched]
    if missing:
        raise ValueError(f"{predicted}: no prediction for {_some(missing)} of {truth}; predict these images too")
    if extra:
        raise ValueError(f"{truth}: no truth for {_some(extra)} of {predicted}; move these predictions away")
    order = sorted(matched.items(), key=lambda item: item[1])
    return [_file_pair(name, groups[name], truths[i], dims) for name, i in order]


def _file_pair(name: str, sources: list[Source], truth: Source, dims: int) -> Pair:
    return Pair(
        name,
        str(sources[0].path),
        str(truth.path),
        lambda: read_labels(truth, dims=dims),
        lambda: _read_prediction(sources, dims),
    )


def _read_prediction(sources: list[Source], dims: int) -> Prediction:
    labels: Labels | None = None
    probabilities: Probabilities | None = None
    for source in sources:
        if _holds_probabilities(source, dims):
            probabilities = read_probabilities(source, dims=dims)
        else:
            labels = read_labels(source, dims=dims)
    return Prediction(labels, probabilities)


def _holds_probabilities(source: Source, dims: int) -> bool:
    role = ROLES.search(source.name)
    if role:
        return role.group(1) == "probabilities"
    return bool(read(source, dims=dims).pixels.dtype.kind == "f")


def _match(predicted: list[str], truth: list[str]) -> dict[str, int]:
    """predicted name -> place in `truth`: by whole name, else without words such as mask, else by numbers."""
    if len(predicted) == len(truth) == 1:
        return {predicted[0]: 0}
    keys: tuple[Callable[[str], str], ...] = (str, lambda n: WORDS.sub("", n), lambda n: "-".join(_numbers(n)))
    for key in keys:
        places = {key(n): i for i, n in enumerate(truth)}
        mine = {n: key(n) for n in predicted}
        unique = len(places) == len(truth) and len(set(mine.values())) == len(predicted)
        if unique and any(k in places for k in mine.values()):
            return {n: places[k] for n, k in mine.items() if k in places}
    return {}


def _numbers(name: str) -> list[str]:
    return [str(int(digits)) for digits in re.findall(r"\d+", name)]


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES])
    return shown if len(names) <= SHOWN_NAMES else f"{shown} and {len(names) - SHOWN_NAMES} more"
