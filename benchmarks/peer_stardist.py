"""StarDist for `peers.py`, trained from nothing as its example notebook does. Runs in the environment of StarDist.

From the notebook: 32 rays, grey values between the percentiles 1 and 99.8, a seventh of the images to validate on,
turns, flips and changes of grey values, thresholds optimised on the validation images, and a grid that is coarse enough
for the field of view of the network to hold the median object. The rest are the defaults of the package, but for the
epochs: 400 of 100 steps would take hours, and the learning rate is halved after a tenth of them without progress. Here
the epochs are short and end with the time, and the rate is halved after a tenth of those that are expected.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import tensorflow
from csbdeep.utils import normalize
from peer_task import Clock, Pixels, Task, read_task, write_labels
from stardist import calculate_extents, fill_label_holes
from stardist.models import Config2D, StarDist2D

PATIENCE = 4  # epochs: a tenth of those that ten minutes hold
STEPS = 20  # of an epoch
VALIDATED = 0.15
FOR_THRESHOLDS = 0.1  # of the time, after the network is trained
COARSEST = 16


class Deadline(tensorflow.keras.callbacks.Callback):  # type: ignore[misc]
    """Ends the training when the time is over, and counts the steps."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock, self.limit, self.steps = clock, seconds, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps += 1
        if self.clock.seconds >= self.limit:
            self.model.stop_training = True


def vary(pixels: Pixels, labels: Pixels) -> tuple[Pixels, Pixels]:
    """Flips, turns, other grey values and noise, with the numbers of the notebook."""
    axes = tuple(np.random.permutation(2))
    pixels, labels = pixels.transpose(axes), labels.transpose(axes)
    for axis in range(2):
        if np.random.rand() > 0.5:
            pixels, labels = np.flip(pixels, axis), np.flip(labels, axis)
    pixels = pixels * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    return pixels + 0.02 * np.random.uniform(0, 1) * np.random.normal(0, 1, pixels.shape), labels


def make_model(truths: list[Pixels], folder: str) -> Any:
    """A model whose field of view holds the median object: the grid is made coarser until it does."""
    median, grid = calculate_extents(truths), 2
    while True:
        config = Config2D(
            n_rays=32, grid=(grid, grid), n_channel_in=1, use_gpu=False, train_steps_per_epoch=STEPS,
            train_reduce_lr={"factor": 0.5, "patience": PATIENCE, "min_delta": 0}, train_tensorboard=False,
        )  # fmt: skip
        model = StarDist2D(config, name=f"grid{grid}", basedir=folder)
        if grid >= COARSEST or not any(median > np.array(model._axes_tile_overlap("YX"))):
            return model
        grid *= 2


def train(task: Task, clock: Clock, folder: str) -> tuple[Any, int]:
    """The model with its best weights and its thresholds, and the number of steps."""
    images = [normalize(pixels, 1, 99.8, axis=(0, 1)) for pixels in task.images]
    truths = [fill_label_holes(labels) for labels in task.truths]
    order = np.random.RandomState(42).permutation(len(images))
    left_out, learned = np.split(order, [max(1, round(VALIDATED * len(images)))])
    held = [images[index] for index in left_out], [truths[index] for index in left_out]
    model = make_model(truths, folder)
    model.prepare_for_training()
    deadline = Deadline(clock, (1 - FOR_THRESHOLDS) * task.seconds)
    model.callbacks.append(deadline)
    model.train(
        [images[index] for index in learned], [truths[index] for index in learned], validation_data=held,
        augmenter=vary, epochs=100_000, seed=0,
    )  # fmt: skip
    model.optimize_thresholds(*held)
    return model, deadline.steps


def main() -> None:
    task = read_task()
    np.random.seed(0)
    tensorflow.random.set_seed(0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        model, steps = train(task, clock, folder)
        clock.end_training(steps)
        for name, pixels in task.tests.items():
            labels, _ = model.predict_instances(normalize(pixels, 1, 99.8, axis=(0, 1)))
            write_labels(task.out, name, labels)
        clock.tell(task.out)


if __name__ == "__main__":
    main()
