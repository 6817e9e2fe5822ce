"""A set of images -> the terms of each. Every image is measured once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from contractile.errors import ContractileError
from contractile.evaluation import challenge
from contractile.evaluation.doubts import doubts_of
from contractile.evaluation.measures import Case, EvaluateConfig, Measured, Task, measure
from contractile.evaluation.pairs import Pair, check_sides, pair_up
from contractile.evaluation.predictions import Labels, Prediction, Reader
from contractile.evaluation.unused import Unused
from contractile.images import say_rest
from contractile.labels import find_meaning
from contractile.metrics import GROUPS
from contractile.metrics.metric import Floats

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Asked:
    """What is to be measured: names of scores or groups (None: those that fit), how, and who is told how far it is.

    `again` says that the same truth was looked at before, so that what is doubtful in it is not said twice.
    """

    scores: Sequence[str] | None
    config: EvaluateConfig
    progress: Progress | None = None
    again: bool = False


@dataclass(frozen=True)
class Measurements:
    """What was measured: terms of every image by name, and of the whole set for scores that images do not have.

    `truths` are the names of the truths of the images, in the same order. `unused` says which options changed nothing.
    """

    images: dict[str, Measured]
    truths: tuple[str, ...]
    unused: tuple[str, ...]
    whole: Measured

    @property
    def keys(self) -> list[str]:
        """Names of the scores."""
        return list(next(iter(self.images.values())))

    def of(self, key: str) -> list[Floats | str]:
        """Terms to add up for the score of the set."""
        return [self.whole[key]] if key in self.whole else [m[key] for m in self.images.values()]


def measure_set(predicted: Any, truth: Any, asked: Asked, names: Sequence[str] | None) -> Measurements:
    """The terms of all images. Arguments and errors are those of `table.evaluate`."""
    config = asked.config
    check_sides(predicted, truth, names=names, axes=config.axes)
    if challenge.is_challenge(truth):
        return _measure_challenge(predicted, truth, asked)
    told = "objects" if config.objects else "classes" if config.classes is not None else None
    reader = Reader(config.dims, config.probabilities, config.background, told)
    pairs = _with_ignored(pair_up(predicted, truth, reader, names=names, axes=config.axes), config, reader)
    return _measure_pairs(pairs, find_task(pairs, config, again=asked.again), asked, reader)


def find_task(pairs: Sequence[Pair], config: EvaluateConfig, *, again: bool = False) -> Task:
    """What the configuration says the truth holds, otherwise what `labels.find_meaning` finds.

    Where it takes for classes what may be objects, it says so, unless the truth was looked at before (`again`).
    """
    if config.classes is not None:
        return Task("classes", config.classes)
    if config.objects:
        return Task("objects")
    [told] = tasks if len(tasks := {pair.task for pair in pairs}) == 1 else [None]
    meaning = find_meaning((pair.load_truth() for pair in pairs), task=told)
    if meaning.class_values in ((), (0,)) and meaning.task == "classes":  # every truth is empty
        return Task("objects" if pairs[0].load_prediction().labels is not None else "binary")
    values = meaning.class_values
    if meaning.guessed and meaning.whole and 0 in values and not again:
        guess = f"its numbers are taken for the classes {', '.join(map(str, values))}, which is a guess"
        cure = "if each object has a number of its own, --objects (objects=True) scores them as objects"
        logger.warning("%s: %s; %s", pairs[0].truth_where, guess, cure)
    return Task.of(meaning)


def _with_ignored(pairs: Sequence[Pair], config: EvaluateConfig, reader: Reader) -> list[Pair]:
    """The same pairs; the truth is negative where it was `ignore_label`."""
    if config.ignore_label is None:
        return list(pairs)

    def mark(load: Callable[[], Labels]) -> Labels:
        truth = load()
        ignored = truth == config.ignore_label
        reader.met_ignored = reader.met_ignored or bool(ignored.any())
        return np.where(ignored, -1, truth.astype(np.int64))

    return [replace(pair, load_truth=partial(mark, pair.load_truth)) for pair in pairs]


def _measure_challenge(predicted: Any, truth: Any, asked: Asked) -> Measurements:
    """DET and TRA on the frames of the folder TRA, SEG and all other groups on those of the folder SEG."""
    config = asked.config
    challenge.check_options(truth, config)
    reader = Reader(config.dims, background=config.background)
    sequence = challenge.open_sequence(predicted, truth, config.dims, config.axes)
    pairs = _with_ignored(challenge.list_pairs(sequence, reader), config, reader)
    measured = _measure_pairs(pairs, Task("objects"), replace(asked, scores=asked.scores or ("ctc",)), reader)
    images, keys = measured.images, measured.keys
    if not sequence.tra:
        return measured
    if not sequence.seg and "seg" in keys:
        images = {name: m | {"seg": "needs the folder SEG in the truth"} for name, m in images.items()}
    if not {"det", "tra"} & set(keys):
        return replace(measured, images=images)
    markers = _with_ignored(challenge.list_markers(sequence, reader), config, reader)
    frames, graph = challenge.measure_frames(sequence, markers, config.border)
    merged: dict[str, Measured] = {}
    for name in sorted({*images, *frames}, key=challenge.frame_order):
        terms: Measured = dict.fromkeys(keys, "this frame is not in the folder SEG of the truth")
        terms |= {"det": "this frame is not in the folder TRA of the truth", "tra": "a score of whole sequences"}
        terms |= {k: v for k, v in images.get(name, {}).items() if k not in ("det", "tra")}
        terms |= frames.get(name, {})
        merged[name] = {key: terms[key] for key in keys}
    whole: Measured = {"tra": graph} if "tra" in keys else {}
    return replace(measured, images=merged, truths=tuple(merged), whole=whole)


def _measure_pairs(pairs: Sequence[Pair], task: Task, asked: Asked, reader: Reader) -> Measurements:
    are_files = any(pair.files for pair in pairs)
    doubts = doubts_of(task, asked.config, again=asked.again) if are_files else []  # arrays are what the caller says
    unused = Unused(asked.config, reader)
    measured: dict[str, Measured] = {}
    for i, pair in enumerate(pairs):
        case = _open_case(pair, task, asked.config)
        _check_pixel_size(case, asked.scores)
        name = pair.name if pair.name not in measured else pair.where  # a page of a stack and a file may share a name
        measured[name] = _measure_case(pair, case, asked.scores)
        unused.look(case, measured[name])
        for doubt in doubts:
            doubt.look(pair, case)
        if asked.progress:
            asked.progress(i + 1, len(pairs))
    say_rest(file for pair in pairs for file in pair.files)
    for doubt in doubts:
        doubt.conclude()
    keys = dict.fromkeys(key for m in measured.values() for key in m)
    missing = "needs object labels, and the prediction of this image holds probabilities"
    images: dict[str, Measured] = {name: {key: m.get(key, missing) for key in keys} for name, m in measured.items()}
    return Measurements(images, tuple(pair.truth_name for pair in pairs), tuple(unused.reasons()), {})


def _open_case(pair: Pair, task: Task, config: EvaluateConfig) -> Case:
    truth, prediction = pair.load_truth(), pair.load_prediction()
    challenge.check_shapes(prediction.shape, truth.shape, pair.where, pair.truth_where)
    return Case(prediction, truth, task, config, pair.load_pixel_size)


def _check_pixel_size(case: Case, scores: Sequence[str] | None) -> None:
    """Raise ContractileError where distances are asked for and `pixel_size` has another number of axes than a truth."""
    sizes, axes = case.config.pixel_size, case.truth.ndim
    if sizes is None or not {"surface", *GROUPS["surface"]}.intersection(scores or ()):
        return
    if len(sizes) not in (axes, max(axes, case.config.dims)):  # slices of volumes may have the size of these
        one = ("0.5,0.5", "2,0.5,0.5")[axes - 2]
        problem = f"pixel_size must hold one number for each of the {axes} axes of the truth, got {sizes}"
        raise ContractileError(problem, f"write e.g. --pixel-size {one} (pixel_size=({one}))")


def _measure_case(pair: Pair, case: Case, scores: Sequence[str] | None) -> Measured:
    measured: Measured = {}
    try:
        for group, keys in _choose(scores, case.task, case.prediction).items():
            measured |= measure(group, case, keys)
    except ContractileError as error:
        raise error.at(pair.where) from None
    return measured


def _choose(scores: Sequence[str] | None, task: Task, prediction: Prediction) -> dict[str, list[str]]:
    """Names of the scores asked for, or of those that fit truth and prediction, by group."""
    if scores is None:
        by_kind = {"binary": ["overlap", "isbi"], "objects": ["overlap", "ap", "seg", "det"], "classes": ["overlap"]}
        scores = by_kind[task.kind] if prediction.labels is not None or task.kind != "objects" else ["overlap"]
    elif prediction.labels is None and task.kind != "binary":
        of_objects = [s for s in scores if s in ("ap", "ctc", *GROUPS["ap"], *GROUPS["ctc"])]
        if of_objects:
            raise ContractileError(
                f"{', '.join(of_objects)} need object labels, got probabilities", "predict with --save labels"
            )
    wanted = {key for s in scores for key in GROUPS.get(s, ())} | set(scores)
    chosen = {group: [k for k in keys if k in wanted] for group, keys in GROUPS.items()}
    return {group: keys for group, keys in chosen.items() if keys}
