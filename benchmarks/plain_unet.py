"""A plain U-Net for `peers.py`, as many write it: the network of 2015 with batch norm and padding, Adam, flips.

64 to 1024 channels, crops of 256 pixels in batches of 4, cross-entropy over background, inside and border (or membrane
and inside). A tenth of the images is left out; the weights with the least loss on them are kept.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from peer_task import INSIDE, Classes, Clock, Pixels, Task, read_task, write_inside, write_labels
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 128, 256, 512, 1024)
SIDE, BATCH, RATE = 256, 4, 1e-4
VALIDATED = 0.1  # of the images
CHECKS, CHECKED = 10, 16  # how often the loss of the validation images is looked at, and of how many at most


class Plain(nn.Module):
    """(B, 1, Y, X) -> scores (B, classes, Y, X); Y and X are multiples of 16."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        steps = zip((1, *WIDTHS), WIDTHS, strict=False)
        self.down = nn.ModuleList(convolve_twice(before, after) for before, after in steps)
        above = WIDTHS[-2::-1]
        self.grow = nn.ModuleList(nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in above)
        self.up = nn.ModuleList(convolve_twice(2 * width, width) for width in above)
        self.head = nn.Conv2d(WIDTHS[0], classes, 1)

    def forward(self, values: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for number, level in enumerate(self.down):
            values = level(F.max_pool2d(values, 2) if number else values)
            kept.append(values)
        for grow, level, skipped in zip(self.grow, self.up, kept[-2::-1], strict=True):
            values = level(torch.cat([skipped, grow(values)], dim=1))
        scores: Tensor = self.head(values)
        return scores


def convolve_twice(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (before, after):
        layers += [nn.Conv2d(channels, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def standardize(pixels: Pixels) -> Pixels:
    values = pixels.astype(np.float32)
    return (values - values.mean()) / max(float(values.std()), 1e-6)


def crop(pair: tuple[Pixels, Pixels], rng: np.random.Generator) -> Any:
    """A random crop of SIDE pixels of an image and its classes, flipped and turned; small ones are mirrored out."""
    lack = [(0, max(0, SIDE - length)) for length in pair[0].shape]
    full = [np.pad(one, lack, mode="symmetric") for one in pair]
    corner = [int(rng.integers(length - SIDE + 1)) for length in full[0].shape]
    window = tuple(slice(start, start + SIDE) for start in corner)
    turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
    cut = (np.rot90(one[window], turns) for one in full)
    return tuple(np.ascontiguousarray(one[:, ::-1] if mirrored else one) for one in cut)


def batch_of(pairs: list[tuple[Pixels, Pixels]], chosen: Any, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    values, classes = zip(*(crop(pairs[index], rng) for index in chosen), strict=True)
    return torch.from_numpy(np.stack(values)[:, None]), torch.from_numpy(np.stack(classes).astype(np.int64))


def train(network: nn.Module, pairs: list[tuple[Pixels, Pixels]], clock: Clock, seconds: float) -> int:
    """Train until the time is over; the best weights are in the network then. Returns the number of steps."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pairs))
    left_out, learned = np.split(order, [max(1, round(VALIDATED * len(pairs)))])
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    best, kept, steps, checked = float("inf"), copy.deepcopy(network.state_dict()), 0, 0
    while clock.seconds < seconds:
        network.train()
        values, classes = batch_of(pairs, rng.choice(learned, BATCH), rng)
        optimizer.zero_grad()
        F.cross_entropy(network(values), classes).backward()
        optimizer.step()
        steps += 1
        if clock.seconds >= seconds * (checked + 1) / CHECKS:
            checked = int(CHECKS * clock.seconds / seconds)
            loss = validate(network, [pairs[index] for index in left_out[:CHECKED]])
            if loss < best:
                best, kept = loss, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return steps


@torch.inference_mode()
def validate(network: nn.Module, pairs: list[tuple[Pixels, Pixels]]) -> float:
    """The mean loss of one crop of each image, the same ones each time."""
    network.eval()
    rng = np.random.default_rng(1)
    batches = (batch_of(pairs, [index], rng) for index in range(len(pairs)))
    return float(np.mean([float(F.cross_entropy(network(values), classes)) for values, classes in batches]))


@torch.inference_mode()
def predict(network: nn.Module, pixels: Pixels) -> Pixels:
    """Probabilities (classes, Y, X) of an image of any size."""
    lack = [(0, -length % 16) for length in pixels.shape]
    values = torch.from_numpy(np.pad(standardize(pixels), lack, mode="symmetric")[None, None])
    found: Pixels = network.eval()(values).softmax(dim=1)[0].numpy()
    return found[:, : pixels.shape[0], : pixels.shape[1]]


def main() -> None:
    task: Task = read_task()
    torch.manual_seed(0)
    clock = Clock()
    known = Classes(1, 1) if task.membranes else Classes.of(task.truths)
    classes = task.truths if task.membranes else [known.of_labels(one) for one in task.truths]
    pairs = [(standardize(image), one) for image, one in zip(task.images, classes, strict=True)]
    network = Plain(2 if task.membranes else 3)
    clock.end_training(train(network, pairs, clock, task.seconds))
    for name, pixels in task.tests.items():
        chances = predict(network, pixels)
        if task.membranes:
            write_inside(task.out, name, chances[INSIDE])
        else:
            write_labels(task.out, name, known.to_labels(chances.argmax(axis=0)))
    clock.tell(task.out)


if __name__ == "__main__":
    main()
