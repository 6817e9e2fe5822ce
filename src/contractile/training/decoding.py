"""How the output of a trained network is best turned into objects: chosen on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.decode import Decoding, decode_objects
from contractile.evaluation import EvaluateConfig, evaluate
from contractile.labels import object_sizes

SHARES_OF_AN_OBJECT = (0.0, 0.02, 0.05, 0.1, 0.2)  # smaller things may be specks, beside the median object
CANDIDATES: dict[str, tuple[float, ...]] = {
    "smooth": (0.5, 1.0, 1.5, 2.0),
    "core": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    "threshold": (0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
}
TRIED = 1 + len(SHARES_OF_AN_OBJECT) + sum(map(len, CANDIDATES.values()))


def choose_decoding(
    probabilities: Sequence[NDArray[np.float32]], truths: Sequence[NDArray[np.int32]], *, score: str, dims: int = 2
) -> Decoding:
    """The decoding whose `score` over all images is best: one parameter after the other, the default where they tie.

    `probabilities` (K, *S) and `truths` (*S, negative where ignored) of each image. Of two decodings with the same
    score that of the higher PQ is better: SEG does not mind specks, users do. Where the score is undefined, as without
    any true object, the default decoding is returned.
    """
    chosen = Decoding()
    sizes = object_sizes(truths)
    best = _score(probabilities, truths, chosen, score, dims) if len(sizes) else None
    if best is None:
        return chosen
    median = float(np.median(sizes))
    candidates: dict[str, Any] = {**CANDIDATES, "min_size": sorted({round(s * median) for s in SHARES_OF_AN_OBJECT})}
    for field, values in candidates.items():
        for value in values:
            tried = chosen.model_copy(update={field: value})
            found = _score(probabilities, truths, tried, score, dims)
            if found is not None and found > best:
                best, chosen = found, tried
    return chosen


def _score(
    probabilities: Sequence[NDArray[np.float32]],
    truths: Sequence[NDArray[np.int32]],
    decoding: Decoding,
    score: str,
    dims: int,
) -> tuple[float, float] | None:
    """The score, and what decides between equals."""
    decoded = [decode_objects(one, decoding) for one in probabilities]
    config = EvaluateConfig.model_validate({"dims": dims, "objects": True, "resamples": 0})
    found = evaluate(decoded, list(truths), scores=sorted({score, "pq"}), config=config).summary
    main, other = found[score].value, found["pq"].value
    return None if main is None else (main, other or 0.0)
