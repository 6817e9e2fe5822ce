"""The evaluation itself: measure every image once, add up the terms, turn them into scores, resample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from contractile.errors import ContractileError, WrongType, check_progress, nearest, shown
from contractile.evaluation import challenge, uncertainty
from contractile.evaluation.doubts import Doubt, doubts_of
from contractile.evaluation.measures import Case, EvaluateConfig, Measured, Task, measure
from contractile.evaluation.pairs import Pair, is_path, pair_up
from contractile.evaluation.predictions import Labels, Prediction, Reader
from contractile.evaluation.result import Comparison, Difference, Evaluation, ImageScores, Score
from contractile.images import say_rest
from contractile.labels import find_meaning
from contractile.metrics import GROUPS, METRICS
from contractile.metrics.metric import Floats

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Measurements:
    """What was measured: terms of every image by name, and of the whole set for scores that images do not have."""

    images: dict[str, Measured]
    whole: Measured

    @property
    def keys(self) -> list[str]:
        """Names of the scores."""
        return list(next(iter(self.images.values())))

    def of(self, key: str) -> list[Floats | str]:
        """Terms to add up for the score of the set."""
        return [self.whole[key]] if key in self.whole else [m[key] for m in self.images.values()]


def evaluate(
    predicted: Any,
    truth: Any,
    *,
    scores: Sequence[str] | None = None,
    config: EvaluateConfig | None = None,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Score predictions against truths, image by image and as a set.

    Both are paths (folder, glob, file, stack; or the result folder of a Cell Tracking Challenge sequence against its
    NN_GT), or both are arrays or lists of arrays. Predictions are labels (*S) of integers, or probabilities (K, *S) or
    (*S): floats, files with a name such as a_prob.tif, or integers where `config.probabilities` says so; truths are
    labels (*S), negative where they are to be ignored. `scores` are names of scores or groups
    (`contractile.metrics.METRICS`, `GROUPS`); by default those that fit the truth. `names` are those of the images,
    where they are arrays. `progress(done, all)` is called after each image.

    Raises ContractileError, which names the image, for pairs that cannot be scored, WrongType for arguments of other
    types, and NotFound. The value of a score that is undefined is None, and its `reason` says why.
    """
    config = _check_config(config)
    check_progress(progress, "(done, total)")
    return _summarise(_measure(predicted, truth, scores, config, names, progress), config)


def compare(
    predicted: Any,
    other: Any,
    truth: Any,
    *,
    scores: Sequence[str] | None = None,
    config: EvaluateConfig | None = None,
    names: Sequence[str] | None = None,
) -> Comparison:
    """Score two predictions of the same images and test whether they differ.

    The test is a paired permutation test of the score of the set (see `uncertainty.permutation_test`). Images on which
    one of the two scores is undefined are left out. Arguments and errors are those of `evaluate`.
    """
    config = _check_config(config)
    first, second = (_measure(p, truth, scores, config, names, None) for p in (predicted, other))
    if list(first.images) != list(second.images):
        raise ContractileError(
            "predicted and other must predict the same images, got different names", "predict all with both"
        )
    shared = [key for key in first.keys if key in second.keys]
    differences = {key: _difference(key, first, second, config) for key in shared}
    return Comparison(first=_summarise(first, config), second=_summarise(second, config), differences=differences)


def find_task(pairs: Sequence[Pair], config: EvaluateConfig) -> Task:
    """What the configuration says the truth holds, otherwise what `labels.find_meaning` finds."""
    if config.classes is not None:
        return Task("classes", config.classes)
    if config.objects:
        return Task("objects")
    [told] = tasks if len(tasks := {pair.task for pair in pairs}) == 1 else [None]
    meaning = find_meaning((pair.load_truth() for pair in pairs), task=told)
    if meaning.class_values in ((), (0,)) and meaning.task == "classes":  # every truth is empty
        return Task("objects" if pairs[0].load_prediction().labels is not None else "binary")
    return Task.of(meaning)


def _measure(
    predicted: Any,
    truth: Any,
    scores: Sequence[str] | None,
    config: EvaluateConfig,
    names: Sequence[str] | None,
    progress: Progress | None,
) -> Measurements:
    _check_scores(scores)
    if challenge.is_challenge(truth):
        return _measure_challenge(predicted, truth, scores, config, progress)
    asked = "objects" if config.objects else "classes" if config.classes is not None else None
    reader = Reader(config.dims, config.probabilities, config.background, asked)
    pairs = _with_ignored(pair_up(predicted, truth, reader, names=names, axes=config.axes), config)
    task = find_task(pairs, config)
    doubts = doubts_of(task, config) if is_path(predicted) else []  # arrays are what the caller says
    return Measurements(_measure_pairs(pairs, task, scores, config, progress, doubts), {})


def _with_ignored(pairs: Sequence[Pair], config: EvaluateConfig) -> list[Pair]:
    """The same pairs; the truth is negative where it was `ignore_label`."""
    if config.ignore_label is None:
        return list(pairs)

    def mark(load: Callable[[], Labels]) -> Labels:
        truth = load()
        return np.where(truth == config.ignore_label, -1, truth.astype(np.int64))

    return [replace(pair, load_truth=partial(mark, pair.load_truth)) for pair in pairs]


def _measure_challenge(
    predicted: Any, truth: Any, scores: Sequence[str] | None, config: EvaluateConfig, progress: Progress | None
) -> Measurements:
    """DET and TRA on the frames of the folder TRA, SEG and all other groups on those of the folder SEG."""
    sequence = challenge.open_sequence(predicted, truth, config.dims)
    pairs = challenge.list_pairs(sequence, config.dims)
    images = _measure_pairs(pairs, Task("objects"), scores or ("ctc",), config, progress)
    keys = list(next(iter(images.values())))
    if not sequence.tra:
        return Measurements(images, {})
    if not sequence.seg and "seg" in keys:
        images = {name: m | {"seg": "needs the folder SEG in the truth"} for name, m in images.items()}
    if not {"det", "tra"} & set(keys):
        return Measurements(images, {})
    frames, graph = challenge.measure_frames(sequence, config)
    merged: dict[str, Measured] = {}
    for name in sorted({*images, *frames}, key=challenge.frame_order):
        measured: Measured = dict.fromkeys(keys, "this frame is not in the folder SEG of the truth")
        measured |= {"det": "this frame is not in the folder TRA of the truth", "tra": "a score of whole sequences"}
        measured |= {k: v for k, v in images.get(name, {}).items() if k not in ("det", "tra")}
        measured |= frames.get(name, {})
        merged[name] = {key: measured[key] for key in keys}
    return Measurements(merged, {"tra": graph} if "tra" in keys else {})


def _measure_pairs(
    pairs: Sequence[Pair],
    task: Task,
    scores: Sequence[str] | None,
    config: EvaluateConfig,
    progress: Progress | None,
    doubts: Sequence[Doubt] = (),
) -> dict[str, Measured]:
    measured: dict[str, Measured] = {}
    for i, pair in enumerate(pairs):
        case = _open_case(pair, task, config)
        measured[pair.name] = _measure_case(pair, case, scores)
        for doubt in doubts:
            doubt.look(pair, case)
        if progress:
            progress(i + 1, len(pairs))
    say_rest(file for pair in pairs for file in pair.files)
    for doubt in doubts:
        doubt.conclude()
    keys = dict.fromkeys(key for m in measured.values() for key in m)
    missing = "needs object labels, and the prediction of this image holds probabilities"
    return {name: {key: m.get(key, missing) for key in keys} for name, m in measured.items()}


def _open_case(pair: Pair, task: Task, config: EvaluateConfig) -> Case:
    truth, prediction = pair.load_truth(), pair.load_prediction()
    challenge.check_shapes(prediction.shape, truth.shape, pair.where, pair.truth_where)
    return Case(prediction, truth, task, config, pair.load_pixel_size)


def _measure_case(pair: Pair, case: Case, scores: Sequence[str] | None) -> Measured:
    measured: Measured = {}
    try:
        for group, keys in _choose(scores, case.task, case.prediction).items():
            measured |= measure(group, case, keys)
    except ContractileError as error:
        raise error.at(pair.where) from None
    return measured


def _check_config(config: EvaluateConfig | None) -> EvaluateConfig:
    if not isinstance(config, EvaluateConfig | None):
        raise WrongType(f"config must be an EvaluateConfig, got {shown(config)}", "use EvaluateConfig(dims=2)")
    return config or EvaluateConfig()


def _check_scores(scores: Sequence[str] | None) -> None:
    known = list(dict.fromkeys([*GROUPS, *METRICS]))
    if scores is None:
        return
    if isinstance(scores, str) or not isinstance(scores, Sequence) or not all(isinstance(s, str) for s in scores):
        raise WrongType(f"scores must be a list of names, got {shown(scores)}", 'write e.g. ["dice", "iou"]')
    unknown = [s for s in scores if s not in known]
    if unknown or not scores:
        match = nearest(unknown[0], known) if unknown else None
        raise ContractileError(
            f"scores must be among {', '.join(known)}, got {', '.join(unknown) or 'none'}",
            f"write {match}" if match else "correct the name, or leave `scores` out for those that fit",
        )


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


def _summarise(terms: Measurements, config: EvaluateConfig) -> Evaluation:
    images = [
        ImageScores(name=name, scores={key: _score(key, [value], None) for key, value in measured.items()})
        for name, measured in terms.images.items()
    ]
    return Evaluation(summary={key: _score(key, terms.of(key), config) for key in terms.keys}, images=images)


def _score(key: str, terms: Sequence[Floats | str], config: EvaluateConfig | None) -> Score:
    """The score of images with these `terms`; with a configuration also its interval."""
    arrays = [t for t in terms if not isinstance(t, str)]
    if not arrays:
        return Score(value=None, reason=str(terms[0]))
    metric, sums = METRICS[key], np.stack(arrays)
    total = sums.sum(axis=0)
    value = metric.score(total)
    if value is None:
        return Score(value=None, reason=metric.undefined)
    low, high = None, None
    if config is not None and config.resamples:
        rng = np.random.default_rng(config.seed)
        low, high = uncertainty.bootstrap(sums, metric.formula, config.resamples, rng) or (None, None)
    return Score(value=value, low=low, high=high, detail=metric.explain(total))


def _difference(key: str, first: Measurements, second: Measurements, config: EvaluateConfig) -> Difference:
    metric = METRICS[key]
    both = [
        (a, b)
        for a, b in zip(first.of(key), second.of(key), strict=True)
        if not isinstance(a, str) and not isinstance(b, str)
    ]
    if not both:
        return Difference(reason="no image on which both are defined")
    one, two = (np.stack(side) for side in zip(*both, strict=True))
    scores = [metric.score(side.sum(axis=0)) for side in (one, two)]
    if scores[0] is None or scores[1] is None:
        return Difference(reason=metric.undefined)
    rng = np.random.default_rng(config.seed)
    low, high = uncertainty.bootstrap(one, metric.formula, config.resamples, rng, other=two) or (None, None)
    p_value = uncertainty.permutation_test(one, two, metric.formula, config.resamples, rng)
    gap = scores[0] - scores[1]
    ahead = "first" if (gap < 0) == metric.lower_is_better else "second"
    return Difference(
        first=scores[0], second=scores[1], value=gap, low=low, high=high, p_value=p_value, better=ahead if gap else None
    )
