"""The evaluation itself: measure every image once, add up the terms, turn them into scores, resample."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from contractile.errors import ContractileError, WrongType, check_progress, nearest, shown
from contractile.evaluation import uncertainty
from contractile.evaluation.measures import EvaluateConfig
from contractile.evaluation.result import Comparison, Difference, Evaluation, ImageScores, Score
from contractile.evaluation.sets import Asked, Measurements, Progress, measure_set
from contractile.metrics import GROUPS, METRICS
from contractile.metrics.metric import Floats

logger = logging.getLogger(__name__)


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
    _check_scores(scores)
    found = measure_set(predicted, truth, Asked(scores, config, progress), names)
    for reason in found.unused:
        logger.warning("%s", reason)
    return _summarise(found, config)


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

    The test is a paired permutation test of the score of the set (see `uncertainty.permutation_test`). Images belong
    together that have the same truth, whatever their files are named. Of a mean over images, those on which one of the
    two scores is undefined are left out; scores that pool pixels or objects take all. Arguments and errors are those
    of `evaluate`.
    """
    config = _check_config(config)
    _check_scores(scores)
    first = measure_set(predicted, truth, Asked(scores, config), names)
    second = measure_set(other, truth, Asked(scores, config, again=True), names)
    for reason in first.unused:
        if reason in second.unused:
            logger.warning("%s", reason)
    alone = [name for name in (*first.truths, *second.truths) if name not in first.truths or name not in second.truths]
    if alone:
        where = "predicted" if alone[0] in first.truths else "other"
        problem = f"predicted and other must predict the same images, got {alone[0]} of the truth in {where} alone"
        raise ContractileError(problem, "predict all with both")
    shared = [key for key in first.keys if key in second.keys]
    differences = {key: _difference(key, first, second, config) for key in shared}
    return Comparison(first=_summarise(first, config), second=_summarise(second, config), differences=differences)


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
    if metric.averaged:  # of others, an image without a score may hold what only one of the two invented
        both = [(a, b) for a, b in both if metric.score(a) is not None and metric.score(b) is not None]
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
