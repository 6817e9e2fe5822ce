"""How deep inside its object every pixel lies: what tells touching objects apart without a gap between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contractile.targets.separation import check_labels, neighbours, renumber

CORE = 0.5  # depth beyond which a pixel belongs to the core of its object
LONGEST_WAY = 16  # pixels along a thin part that are told apart
OUTSIDE_CORE = np.float32(0.45)  # most that a pixel may have which is deep inside, but not part of the core
TOUCHING = 0.05  # most that a pixel may have which touches another object, so that floods meet there


def object_depth(labels: NDArray[Any]) -> NDArray[np.float32]:
    """Depth of each pixel in its object: 1 in the middle, near 0 at the edge, 0 outside; (*S) -> (*S).

    The distance to the nearest pixel that is not of the object, less half a pixel, divided by the largest in the
    object, so that it does not depend on the object's size (as Scherr et al. 2020, doi:10.1371/journal.pone.0243219).
    The edge of the image is no edge of an object: what is cut off there goes on.

    Every object has exactly one core, the connected part (4 neighbours, in 3-D 6) above 0.5 that holds its deepest
    pixel: what else is deep, such as the smaller half of a dumb-bell, is held at 0.45. What touches another object
    is held at 0.05 or less, so that no two cores touch.
    """
    check_labels(labels)
    depth = np.zeros(labels.shape, np.float32)
    consecutive = renumber(labels)
    most = _most_outside_core(consecutive)
    for number, box in enumerate(ndimage.find_objects(consecutive), start=1):
        around = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
        inside = consecutive[around] == number
        depth[around][inside] = _depth_of_one(inside, most[around])[inside]
    return depth


def _depth_of_one(inside: NDArray[np.bool_], most: NDArray[np.float32]) -> NDArray[np.float32]:
    """Depth of one object in a box that holds it and, but for the edge of the image, a rim around it.

    `most` is what a pixel may have outside the core; below OUTSIDE_CORE it touches another object.
    """
    if inside.all():
        return np.ones(inside.shape, np.float32)
    distance = ndimage.distance_transform_edt(inside) - 0.5
    depth: NDArray[np.float32] = np.maximum(distance / distance.max(), 0).astype(np.float32)
    core = inside & (depth > CORE) & (most == OUTSIDE_CORE)
    if not core.any():  # all of it touches others: the deepest pixels must do
        core = inside & (depth == depth.max())
    parts = ndimage.label(core)[0]
    main = parts == parts.flat[np.argmax(np.where(core, depth, -1))]
    return np.where(main, np.maximum(depth, np.float32(0.51)), np.minimum(depth, most))


def _most_outside_core(labels: NDArray[np.int32]) -> NDArray[np.float32]:
    """What a pixel may have outside its core (*S): less where it touches another object.

    And less again, the longer the way that the other object's flood takes to the touching pixel along its own
    touching pixels, so that a thin tip is flooded by its own object before the neighbour comes through its flank.
    """
    along = [tuple(step * one for one in row) for row in np.eye(labels.ndim, dtype=int).tolist() for step in (1, -1)]
    pairs = [neighbours(labels.shape, step) for step in along]
    touching = np.zeros(labels.shape, bool)
    for here, there in pairs:
        touching[here] |= (labels[here] != labels[there]) & (labels[here] > 0) & (labels[there] > 0)
    steps = np.where(touching, LONGEST_WAY, 0).astype(np.int32)  # to the part of the object that touches nothing
    for _ in range(LONGEST_WAY):
        before = steps.copy()
        for here, there in pairs:
            way_on = np.where(labels[here] == labels[there], before[there] + 1, LONGEST_WAY)
            steps[here] = np.minimum(steps[here], way_on)
        if (steps == before).all():
            break
    way = np.ones(labels.shape, np.int32)
    for here, there in pairs:
        other = (labels[here] != labels[there]) & (labels[there] > 0)
        way[here] = np.maximum(way[here], np.where(other, steps[there], 1))
    return np.where(touching, TOUCHING / way, OUTSIDE_CORE).astype(np.float32)
