"""What a network at the local page is compared with, for `annotator.py`: a forest, and networks with whole images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode import Decoding, decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.images import find
from contractile.intensity import Normalization
from contractile.model import Model, load
from contractile.prediction import Predictor
from contractile.targets import TargetConfig, make_target

Labels = NDArray[np.int32]
Maps = NDArray[np.float32]

TREES, DEEPEST = 100, 20
LARGEST_SIGMA = 10.0  # of the features, in pixels: ilastik offers 0.3 to 10
MOST_PIXELS = 60_000  # that the forest learns from; more changes little


def target_of(task: str) -> TargetConfig:
    """The classes that the forest tells apart: those of the network."""
    values = (0, 1) if task == "classes" else ()
    return TargetConfig(task=task, class_values=values, separation="contact", w0=0.0, balance=False)  # type: ignore[arg-type]


def features(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Intensity, edges and texture at several scales: (C, Y, X) -> (Y, X, F)."""
    from skimage.feature import multiscale_basic_features

    values = Normalization(kind="linear").fit(pixels).apply(pixels)
    moved = np.moveaxis(values, 0, -1)
    found: NDArray[np.float32] = multiscale_basic_features(
        moved, channel_axis=-1, sigma_min=0.7, sigma_max=LARGEST_SIGMA
    )
    return found


def grow_forest(images: Sequence[NDArray[Any]], painted: Sequence[Labels], task: str, seed: int) -> Callable[..., Maps]:
    """A random forest that learned from painted pixels: a function from pixels (C, Y, X) to probabilities (K, Y, X)."""
    from sklearn.ensemble import RandomForestClassifier

    config, rng = target_of(task), np.random.default_rng(seed)
    known, classes = [], []
    for pixels, labels in zip(images, painted, strict=True):
        wanted = make_target(labels, config).classes
        known.append(features(pixels)[wanted >= 0])
        classes.append(wanted[wanted >= 0])
    values, wanted = np.concatenate(known), np.concatenate(classes)
    some = rng.permutation(len(wanted))[:MOST_PIXELS]
    forest = RandomForestClassifier(TREES, max_depth=DEEPEST, n_jobs=2, random_state=seed)
    forest.fit(values[some], wanted[some])

    def predict(pixels: NDArray[Any]) -> Maps:
        found = features(pixels)
        chances = forest.predict_proba(found.reshape(-1, found.shape[-1]))
        maps = np.zeros((config.n_classes, len(chances)), np.float32)
        maps[forest.classes_.astype(int)] = chances.T
        return maps.reshape(-1, *pixels.shape[1:])

    return predict


def network(path: Path) -> Callable[..., Maps]:
    """A model file as a function from pixels to probabilities."""
    predictor = Predictor(load(path))
    return lambda pixels: np.asarray(predictor.probabilities(pixels))


def score(predict: Callable[..., Maps], images: Sequence[NDArray[Any]], truths: Sequence[Labels], task: str,
          decoding: Decoding | None = None) -> dict[str, float]:  # fmt: skip
    """AP at 0.5 and SEG of objects; V_Rand and V_Info of classes."""
    maps = [predict(pixels) for pixels in images]
    if task == "classes":
        found = evaluate(maps, list(truths), scores=("v_rand", "v_info"), config=EvaluateConfig(resamples=0))
    else:
        labels = [decode_objects(one, decoding or Decoding()) for one in maps]
        config = EvaluateConfig(objects=True, resamples=0)
        found = evaluate(labels, list(truths), scores=("ap", "seg"), config=config)
    names = ("v_rand", "v_info") if task == "classes" else ("ap", "seg")
    return {name: round(float(found.summary[name].value or 0.0), 4) for name in names}


def train(images: Path, labels: dict[int, Labels], task: str, steps: Sequence[int], seed: int) -> Iterator[Model]:
    """The network of the page, trained on labels of some images of a folder: as it is after each of `steps`."""
    from contractile.viewer.learner.growing import Growing
    from contractile.viewer.learner.messages import Begin, Painted
    from contractile.viewer.learner.opened import Images
    from contractile.viewer.learner.painted import Annotated

    values = (0, 1) if task == "classes" else ()
    begin = Begin(tuple(find(images)), task, values, images, seed=seed)  # type: ignore[arg-type]
    opened = Images(begin)
    annotated, growing = Annotated(opened.open), Growing(begin, opened.curve)
    for image, one in labels.items():
        region = (slice(0, one.shape[0]), slice(0, one.shape[1]))
        annotated.take(Painted(image, region, one, np.zeros(one.shape, bool)))
    growing.learn_from(annotated.examples())
    for end in steps:
        while growing.steps < end:
            growing.step()
        yield growing.model()
    growing.close()
    opened.close()
