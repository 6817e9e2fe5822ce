"""What an image is known by, and whether that is like the images that a model learned from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.grid import Pixels
from contractile.intensity import Intensity
from contractile.model import ModelCard
from contractile.quality import Unlike, statistics

SAMPLE = 2**18  # pixels of a small image; of a larger one, parts are looked at
SIDES = {2: (256, 256), 3: (16, 128, 128)}  # of a part
PARTS = 2  # along each of the last two axes


def known_by(image: Pixels, curve: Intensity) -> NDArray[np.float64]:
    """The numbers (C * N,) that an image (C, *S) is known by; of a large one, the mean of those of its parts."""
    with np.errstate(divide="ignore"):
        span = np.where(curve.scale > 0, 1 / curve.scale, 0.0)
    found = [statistics(curve.apply(part), span, curve.noise * span) for part in _parts(image)]
    result: NDArray[np.float64] = np.mean(found, axis=0)
    return result


def find_unlike(card: ModelCard, image: Pixels, curve: Intensity) -> Unlike | None:
    """How far an image (C, *S) is from the training images; None where the model does not know them."""
    return None if card.likeness is None else card.likeness.judge(known_by(image, curve))


def _parts(image: Pixels) -> Iterator[NDArray[Any]]:
    """The whole of a small image, else four parts of it, evenly spread."""
    space = image.shape[1:]
    if math.prod(space) <= SAMPLE:
        yield np.asarray(image[...])
        return
    sides = [min(n, side) for n, side in zip(space, SIDES[len(space)], strict=True)]
    shares = [(0.5,)] * (len(space) - 2) + [tuple((i + 0.5) / PARTS for i in range(PARTS))] * 2
    for place in np.ndindex(*(len(one) for one in shares)):
        starts = [
            min(max(0, round(share[i] * n - side / 2)), n - side)
            for share, i, n, side in zip(shares, place, space, sides, strict=True)
        ]
        yield np.asarray(image[(slice(None), *(slice(a, a + n) for a, n in zip(starts, sides, strict=True)))])
