"""A random forest over filters for `peers.py`, as in `rivals.py`. It ends when it is grown, long before ten minutes."""

from __future__ import annotations

import numpy as np
from peer_task import INSIDE, Clock, read_task, write_inside, write_labels
from rivals import TREES, grow_forest

from contractile.decode import Decoding, decode_objects


def main() -> None:
    task, clock = read_task(), Clock()
    truths = [one.astype(np.int32) for one in task.truths]
    kind = "classes" if task.membranes else "objects"
    predict = grow_forest([image[None] for image in task.images], truths, kind, seed=0)
    clock.end_training(TREES)
    for name, pixels in task.tests.items():
        maps = predict(pixels[None])
        if task.membranes:
            write_inside(task.out, name, maps[INSIDE])
        else:
            write_labels(task.out, name, decode_objects(maps, Decoding()))
    clock.tell(task.out)


if __name__ == "__main__":
    main()
