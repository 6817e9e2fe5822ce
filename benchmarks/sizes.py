"""Would a model find more if each image were shown at another size? It is shown at five, and each result is scored.

    python benchmarks/sizes.py MODEL data/dsb2018 [--test 28]

DATA is the folder that `splits.py` made. Printed, of the test images (at most --test, evenly spaced): AP at 0.5 of all
objects where every image is shown at one size; where each has the size that scores best ("if we knew": a bound that no
rule can pass); where each has the size at which the network is surest inside its objects; where the size is found as by
`predict --diameter estimate`; and of the mean map.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import contractile

contractile.prepare_process()  # before PyTorch starts its threads

# isort: split
import numpy as np
import torch
from annotator import load as load_part
from numpy.typing import NDArray
from skimage.transform import resize

from contractile.decode import decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import renumber
from contractile.model import load
from contractile.prediction import Predictor

SIZES = (0.5, 0.71, 1.0, 1.41, 2.0)
INSIDE = 0.3  # probability from which a pixel counts for how sure the network is


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--test", type=int, default=28)
    given = parser.parse_args()
    torch.set_num_threads(1)
    test = load_part(given.data, "test", given.test)
    predictor, truths = Predictor(load(given.model)), [renumber(one.labels) for one in test]
    maps = [[show_at(predictor, one.pixels, size) for size in SIZES] for one in test]  # by image, by size
    labels = [[decode_objects(one, predictor.card.decoding) for one in each] for each in maps]
    alone = np.array(
        [[rate([one], [truth]) for one in each] for each, truth in zip(labels, truths, strict=True)]
    )  # (images, sizes)
    for number, size in enumerate(SIZES):
        print(f"all at {size:g}: AP {rate([each[number] for each in labels], truths):.3f}")
    best = alone.argmax(1)
    print(f"if we knew: AP {rate([each[n] for each, n in zip(labels, best, strict=True)], truths):.3f}, sizes {best}")
    surest = np.array([[sureness(one) for one in each] for each in maps]).argmax(1)
    print(f"surest: AP {rate([each[n] for each, n in zip(labels, surest, strict=True)], truths):.3f}, sizes {surest}")
    guessing = Predictor(load(given.model), diameter="estimate")
    print(f"estimated: AP {rate([guessing.segment(one.pixels) for one in test], truths):.3f}")
    together = [decode_objects(np.mean(each, axis=0), predictor.card.decoding) for each in maps]
    print(f"mean map: AP {rate(together, truths):.3f}")


def show_at(predictor: Predictor, pixels: NDArray[np.generic], size: float) -> NDArray[np.float32]:
    """The map (K, Y, X) of an image (C, Y, X) that the network sees at another size."""
    shape = pixels.shape[1:]
    sides = [max(32, round(size * side)) for side in shape]
    seen = pixels if size == 1 else np.stack([enlarge(one.astype(np.float32), sides) for one in pixels])
    found = np.asarray(predictor.probabilities(seen))
    return np.stack([enlarge(one, shape) for one in found])


def enlarge(plane: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """A plane (Y, X) with other sides; smoothed first where they are smaller."""
    if plane.shape == tuple(shape):
        return plane
    changed: NDArray[np.float32] = resize(plane, shape, order=1, mode="reflect", anti_aliasing=True).astype(np.float32)
    return changed


def sureness(probabilities: NDArray[np.float32]) -> float:
    """The mean probability of the inside where it is not small."""
    inside = probabilities[1]
    return float(inside[inside > INSIDE].mean()) if (inside > INSIDE).any() else 0.0


def rate(labels: Sequence[NDArray[np.int32]], truths: Sequence[NDArray[np.int32]]) -> float:
    """AP at 0.5 of all objects of the images; 0 where it is undefined."""
    config = EvaluateConfig(objects=True, resamples=0)
    return evaluate(list(labels), list(truths), scores=("ap",), config=config).summary["ap"].value or 0.0


if __name__ == "__main__":
    main()
