"""The best way to turn the output of a trained network into objects, chosen on validation images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from contractile.decode import Decoding, decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import object_sizes

SHARES_OF_AN_OBJECT = {  # of the median object, in pixels
    "split": (0.0, 0.25, 1.0),  # cores fall into pieces of at least this size
    "min_size": (0.0, 0.02, 0.05, 0.1, 0.2),  # smaller things may be specks
}
CANDIDATES: dict[str, tuple[float, ...]] = {
    "smooth": (0.5, 1.0, 1.5, 2.0),
    "core": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "threshold": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "sure": (0.5, 0.6, 0.7, 0.8),
}
SPECK = 0.2  # of the median annotated object: what is smaller is a speck, unless validation images say otherwise
SPLIT = 0.5  # of the median annotated object: a core is split into pieces of this size, unless they say otherwise
RARE = 0.05  # of the annotated objects, at most so many are smaller than a speck
EVIDENCE = 0.9  # objects that must be better for another decoding: one image may have two or three in all
MOST_TRIED = 1 + sum(map(len, [*CANDIDATES.values(), *SHARES_OF_AN_OBJECT.values()]))  # decodings, by `choose_decoding`


def first_decoding(labels: Iterable[NDArray[np.int32]]) -> Decoding:
    """The decoding that another one must beat, from the sizes of annotated objects (*S, not above 0 where ignored)."""
    sizes = object_sizes(labels)
    if len(sizes) == 0:
        return Decoding()
    median = float(np.median(sizes))
    speck = round(min(SPECK * median, np.quantile(sizes, RARE)))
    return Decoding(split=max(1, round(SPLIT * median)), min_size=speck)


def choose_decoding(
    probabilities: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[np.int32]],
    *,
    score: str,
    dims: int = 2,
    first: Decoding | None = None,
    least: float = 0.0,
) -> Decoding:
    """The decoding with the best `score` over all images, found one parameter after the other.

    `probabilities` (K, *S) and `truths` (*S, negative where ignored) of each image. The search begins with `first` (by
    default `Decoding()`). Another decoding is taken where its score is higher, and higher than that of `first` by more
    than `least`; or where its score is no lower and this holds for its PQ, since SEG does not count specks. Where
    nothing is right so far, anything is better. `first` is returned where the score is undefined, as without any true
    object.
    """
    config = EvaluateConfig.model_validate({"dims": dims, "objects": True, "resamples": 0})

    def rate(decoding: Decoding) -> tuple[float, float]:
        decoded = [decode_objects(one, decoding) for one in probabilities]
        found = evaluate(decoded, list(truths), scores=sorted({score, "pq"}), config=config).summary
        main, other = found[score].value, found["pq"].value
        return (-math.inf, 0.0) if main is None else (main, other or 0.0)

    chosen, sizes = first or Decoding(), object_sizes(truths)
    if len(sizes) == 0:
        return chosen
    best = start = rate(chosen)
    candidates: dict[str, Sequence[float]] = dict(CANDIDATES)
    for field, shares in SHARES_OF_AN_OBJECT.items():
        candidates[field] = sorted({round(share * float(np.median(sizes))) for share in shares})
    for field, values in candidates.items():
        for value in values:
            tried = chosen.model_copy(update={field: value})
            rating = rate(tried)
            higher, other = (rating[n] > best[n] and rating[n] > start[n] + least for n in (0, 1))
            if higher or (rating[0] >= best[0] and other) or rating[0] > best[0] == 0:
                best, chosen = rating, tried
    return chosen
