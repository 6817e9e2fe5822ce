"""The statistics of a trained network's norms, measured anew on training samples."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from contractile.unet import UNet, share_statistics

NORMS = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)
BATCHES = 30  # at most that many batches are measured; after few steps, a tenth as many as there were steps


def count_batches(network: UNet, steps: int) -> int:
    """How many batches the norms of a network are measured on after so many steps; 0 without norms."""
    return min(BATCHES, 1 + steps // 10) if network.config.norm == "batch" else 0


@torch.no_grad()
def measure_statistics(network: UNet, images: Iterable[Tensor], *, shared: bool) -> None:
    """Replace the running statistics of a network, in place, by the means over batches `images` (B, C, *S) each.

    The ones kept during training are a decaying mean of about the last ten batches, while the weights still moved: few
    images, and noisy (Wu and Johnson 2021, arXiv:2105.07576, section 3). With `shared`, all members of an orbit of
    channels get the same statistics.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, NORMS)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
        norm.train()
    for image in images:
        network(image)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    network.eval()
    if shared:
        share_statistics(network)
