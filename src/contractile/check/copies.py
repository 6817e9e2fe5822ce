"""Images that are there twice: saved with other grey values, mirrored or turned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from contractile.check.findings import Spot
from contractile.check.pixels import Seen
from contractile.check.prints import TURNS, Maps, turn

SAME = 0.998  # correlation of shrunken images: neighbouring frames of a slow time series reach 0.99
MOST = 400  # images that are compared with one another


def find_copies(images: Sequence[tuple[Seen, Maps]]) -> Iterator[Spot]:
    """Complaints about images that are an earlier one in another form; identical pixels are found without this.

    An image comes with its shrunken maps (2, y, x), as in `Print.image`.
    """
    shown = list(images)[:MOST]
    for shape in {maps.shape for _, maps in shown}:
        group = [(seen, maps) for seen, maps in shown if maps.shape == shape]
        known = np.stack([_flat(maps) for _, maps in group])
        taken: set[int] = set()
        for words, way in TURNS.items():
            turned = [turn(maps, *way) for _, maps in group]
            if turned[0].shape != shape:
                continue
            same = known @ np.stack([_flat(maps) for maps in turned]).T > SAME
            for first, second in np.argwhere(np.triu(same, 1)).tolist():
                one, other = group[first][0], group[second][0]
                if second not in taken and one.digest != other.digest:
                    taken.add(second)
                    yield Spot("near copy", other.where, f"{one.where}, {words}")


def _flat(image: Maps) -> NDArray[np.float32]:
    """A shrunken image as a vector of length 1."""
    vector = image.ravel()
    flat: NDArray[np.float32] = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return flat
