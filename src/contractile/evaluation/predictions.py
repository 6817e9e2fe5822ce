"""Whether a prediction is labels or probabilities, and reading it as such.

Names, types and the caller decide, never the look of the values: integers are labels unless the file is named like a
map ("a_prob.tif") or the caller says that predictions are probabilities.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import (
    Source,
    as_probabilities,
    describe,
    is_ours,
    open_image,
    read,
    read_labels,
    read_probabilities,
)
from contractile.images.drawings import Numbering
from contractile.images.names import label_words
from contractile.images.planes import name_channels

logger = logging.getLogger(__name__)

Labels = NDArray[np.integer[Any]]
Probabilities = NDArray[np.floating[Any]]

ROLES = re.compile(r"_(labels|probabilities|overlay)(?=$|_\d+$)")  # what predict adds to a name
MAP = re.compile(
    r"[_\-. ](probabilit(y|ies)|probs?|proba|prob(ability)?[_\-. ]?maps?|softmax|sigmoid|confidence|pmap)"
    r"([_\-. ]stage[_\-. ]?\d)?(?=$|_\d+$)",  # ilastik adds the stage
    re.IGNORECASE,
)
# Labels are doubtful when they have more values than this, and fewer of them than this share have an equal neighbour.
GREY_VALUES, ALIKE = 16, 0.4


@dataclass(frozen=True)
class Prediction:
    """What was predicted for one image: labels (*S), probabilities (K, *S), or both.

    `map_where` is the file of the probabilities; `is_ours` where this package wrote it.
    """

    labels: Labels | None
    probabilities: Probabilities | None
    map_where: str = ""
    is_ours: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """*S."""
        if self.labels is not None:
            return self.labels.shape
        assert self.probabilities is not None
        return self.probabilities.shape[1:]


@dataclass
class Reader:
    """Reads the predictions of one evaluation, and says once what they were taken for.

    `probabilities` says that integers are maps, 255 or 65535 standing for 1, but in files named NAME_labels.
    `background` is the value of labels that is background; where it occurs, 0 is an object. True shapes are objects or
    classes where the `task` says so; `numbering` is what they turned out to be.
    """

    dims: int
    probabilities: bool = False
    background: int | None = None
    task: str | None = None
    numbering: Numbering = field(default_factory=Numbering)
    met_background: bool = False  # whether a label had the value `background`
    met_ignored: bool = False  # whether a pixel of a truth, which others read, had `EvaluateConfig.ignore_label`
    _said: set[str] = field(default_factory=set)

    def read(self, sources: Sequence[Source]) -> Prediction:
        """Labels, probabilities or both, from the files of one image.

        Raises ContractileError for two files of one kind, for files of different sizes, and what reading raises.
        """
        parts = [self._read_one(source) for source in sources]
        labels = [part.labels for part in parts if part.labels is not None]
        probabilities = [part.probabilities for part in parts if part.probabilities is not None]
        if len(labels) > 1 or len(probabilities) > 1:
            problem = f"a second prediction of one image beside {sources[0].path}"
            raise ContractileError(problem, "move one away", where=sources[-1].path)
        if labels and probabilities and probabilities[0].shape[1:] != labels[0].shape:
            rule = "labels and probabilities of one image must have the same size"
            problem = f"{rule}, got {labels[0].shape} and {probabilities[0].shape[1:]}"
            raise ContractileError(problem, "predict both again", where=sources[0].path)
        maps = next((part for part in parts if part.probabilities is not None), Prediction(None, None))
        return replace(maps, labels=labels[0] if labels else None)

    def take(self, predicted: NDArray[Any], dims: int, where: str) -> Prediction:
        """An array for a truth of `dims` dimensions. Raises ContractileError for what it cannot be."""
        if predicted.dtype.kind == "b":
            predicted = predicted.astype(np.float32 if self.probabilities else np.uint8)
        if predicted.dtype.kind in "iu" and not self.probabilities:
            return self._labels(predicted, where, sure=False)
        if predicted.dtype.kind not in "fiu" or predicted.ndim not in (dims, dims + 1):
            rule = f"must be integer labels (*S) or probabilities (K, *S) or (*S) for a truth of {dims} dimensions"
            problem = f"{rule}, got {predicted.dtype} {predicted.shape}"
            raise ContractileError(problem, "check the order of the axes", where=where)
        probabilities = as_probabilities(predicted, where)
        return Prediction(None, probabilities if predicted.ndim == dims + 1 else probabilities[None])

    def read_mask(self, source: Source) -> Labels:
        """Labels (*S) of a file that holds nothing else, whatever it looks like. Raises ContractileError as `read`."""
        labels = self._labels(read_labels(source, dims=self.dims), describe(source), sure=True).labels
        assert labels is not None
        return labels

    def _read_one(self, source: Source) -> Prediction:
        role, where = ROLES.search(source.name), describe(source)
        if source.drawn is not None:
            return self._labels(read_labels(source, dims=self.dims), where, sure=True)
        named = role is not None and role.group(1) == "labels"
        with open_image(source, dims=self.dims) as image:
            dtype, channels = image.dtype, image.shape[0]
            if MAP.search(source.name) or (self.probabilities and not named) or (dtype.kind == "f" and _is_map(image)):
                self._tell("probabilities", where)
                maps = read_probabilities(source, dims=self.dims)
                return Prediction(None, maps, where, is_ours(source.path))
        try:
            labels = read_labels(source, dims=self.dims)
        except ContractileError as error:
            if channels == 1 or name_channels(read(source, dims=self.dims).pixels):
                raise
            cure = f"{error.cure}; or say that these are probabilities (--probabilities)"
            raise ContractileError(error.problem, cure, where=error.where) from None
        self._tell("labels", where)
        return self._labels(labels, where, sure=bool(label_words(source.name)) or is_ours(source.path), dtype=dtype)

    def _labels(self, values: Labels, where: str, *, sure: bool, dtype: Any = None) -> Prediction:
        if self.background is not None:
            self.met_background = self.met_background or bool((values == self.background).any())
            values = _with_background(values, self.background)
        if values.min(initial=0) < 0:
            problem = f"predicted labels must be 0 (background) or above, got {values.min()}"
            cure = "only the truth may mark pixels to ignore with negative labels"
            if self.background is None:
                value = int(values.min())
                cure += f"; --background {value} (background={value}) reads {value} as background"
            raise ContractileError(problem, cure, where=where)
        if not sure and "doubt" not in self._said and _is_doubtful(values, dtype or values.dtype):
            self._said.add("doubt")
            found = "taken as labels, since these are integers, but few neighbours are equal"
            logger.warning("%s: %s; --probabilities (probabilities=True) takes them as maps", where, found)
        return Prediction(values, None)

    def _tell(self, kind: str, where: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            logger.info("taken as %s: %s", kind, where)


def _with_background(values: Labels, background: int) -> Labels:
    """The labels with 0 in place of `background`; a 0 beside it becomes a number that does not occur."""
    there = values == background
    if background == 0 or not there.any():
        return values
    wide = values.astype(np.int64)
    wide[values == 0] = wide.max() + 1
    wide[there] = 0
    return wide


def _is_map(image: Any) -> bool:
    """Whether floats are probabilities: several channels, fractions, or nothing above 1."""
    pixels = image.pixels
    return len(pixels) > 1 or not np.array_equal(pixels, np.rint(pixels)) or bool(pixels.max(initial=0) <= 1)


def _is_doubtful(values: Labels, dtype: np.dtype[Any]) -> bool:
    """Whether integers between black and white mostly differ from their neighbours, as in a map of grey values."""
    if dtype not in (np.uint8, np.uint16):
        return False
    left, right = values[..., :-1], values[..., 1:]
    between = (left > 0) & (left < np.iinfo(dtype).max)
    few = bool(between.any()) and float(np.mean((left == right)[between])) < ALIKE
    return few and len(np.unique(values)) > GREY_VALUES
