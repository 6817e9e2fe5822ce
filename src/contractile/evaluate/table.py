"""The evaluation itself: measure every image once, add up, reduce, resample."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from contractile.evaluate import uncertainty
from contractile.evaluate.groups import GROUPS, KEYS, EvaluateConfig, Floats, Measured, Task, measure
from contractile.evaluate.pairs import Labels, Pair, Prediction, pair_up
from contractile.evaluate.result import Evaluation, ImageScores, Score

Progress = Callable[[int, int], None]


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

    Both are paths (folder, glob, file, stack) or arrays / lists of arrays: labels (*S) of integers or
    probabilities (K, *S) / (*S) of floats against labels (*S). `scores` names groups (`isbi`,
    `overlap`) or single keys; by default those that make sense for the truth. `progress(done, all)` is
    called after each image. Raises ValueError, in one line naming the image, for pairs that cannot be
    scored; scores that are merely undefined are None with a reason.
    """
    config = config or EvaluateConfig()
    pairs = pair_up(predicted, truth, names=names, dims=config.dims)
    task = find_task(pairs, config)
    measured = []
    for i, pair in enumerate(pairs):
        measured.append(_measure_pair(pair, task, config, scores))
        if progress:
            progress(i + 1, len(pairs))
    return _summarise([p.name for p in pairs], measured, config)


def find_task(pairs: Sequence[Pair], config: EvaluateConfig) -> Task:
    """Two-valued truth, objects, or classes: said by the configuration, otherwise seen from the truth.

    Labels are taken for classes when they are few (at most 32 values in the set) and most of them come
    in several separate pieces per image; an object is one piece.
    """
    if config.classes is not None:
        return Task("classes", config.classes)
    values: set[int] = set()
    pieces: list[int] = []
    for pair in pairs:
        truth = pair.load_truth()
        found = [int(v) for v in np.unique(truth) if v >= 0]
        values.update(found)
        if len(values) <= 32:
            pieces += [_count_pieces(truth == v) for v in found if v > 0]
    if len(values - {0}) <= 1:
        return Task("binary", tuple(sorted(values)))
    if len(values) <= 32 and np.mean(pieces) > 2:
        return Task("classes", tuple(sorted(values)))
    return Task("objects", ())


def _count_pieces(mask: Any) -> int:
    from scipy import ndimage

    return int(ndimage.label(mask)[1])


def _measure_pair(pair: Pair, task: Task, config: EvaluateConfig, scores: Sequence[str] | None) -> Measured:
    truth, prediction = pair.load_truth(), pair.load_prediction()
    if prediction.shape != truth.shape:
        raise ValueError(
            f"{pair.where}: predicted {prediction.shape} pixels for a truth of {truth.shape} ({pair.truth_where}); "
            "predict the image that the truth was drawn on"
        )
    measured: Measured = {}
    for group, keys in _choose(scores, task, prediction).items():
        try:
            measured |= measure(group, prediction, truth, task, config)(keys)
        except ValueError as error:
            raise ValueError(f"{pair.where}: {error}") from None
    return measured


def _choose(scores: Sequence[str] | None, task: Task, prediction: Prediction) -> dict[str, list[str]]:
    """-> group -> keys."""
    if scores is None:
        scores = ["overlap", "isbi"] if task.kind == "binary" else ["overlap"]
    known = [*GROUPS, *KEYS]
    unknown = [s for s in scores if s not in known]
    if unknown:
        raise ValueError(f"scores must be among {', '.join(known)}, got {', '.join(unknown)}; correct the name")
    wanted = {key for s in scores for key in GROUPS.get(s, (s,))}
    chosen = {group: [k for k in keys if k in wanted] for group, keys in GROUPS.items()}
    return {group: keys for group, keys in chosen.items() if keys}


def _summarise(names: Sequence[str], measured: Sequence[Measured], config: EvaluateConfig) -> Evaluation:
    keys = list(measured[0])
    images = [
        ImageScores(name=name, scores={key: _score(key, [m[key]], None) for key in keys})
        for name, m in zip(names, measured, strict=True)
    ]
    summary = {key: _score(key, [m[key] for m in measured], config) for key in keys}
    return Evaluation(summary=summary, images=images)


def _score(key: str, terms: Sequence[Floats | str], config: EvaluateConfig | None) -> Score:
    """Score of the images whose `terms` these are; with a configuration, also its interval."""
    arrays = [t for t in terms if not isinstance(t, str)]
    if not arrays:
        return Score(value=None, reason=str(terms[0]))
    sums = np.stack(arrays)
    value = float(KEYS[key].reduce(sums.sum(axis=0)))
    if not np.isfinite(value):
        return Score(value=None, reason=KEYS[key].undefined)
    interval = None
    if config is not None and config.resamples:
        rng = np.random.default_rng(config.seed)
        interval = uncertainty.bootstrap(sums, KEYS[key].reduce, config.resamples, rng)
    low, high = interval or (None, None)
    return Score(value=value, low=low, high=high, detail=KEYS[key].explain(sums.sum(axis=0)))
