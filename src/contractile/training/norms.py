"""The statistics of a trained network's norms, measured anew."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from contractile.unet import UNet, share_statistics

NORMS = (torch.nn.BatchNorm2d, torch.nn.BatchNorm3d)


@torch.no_grad()
def measure_statistics(network: UNet, images: Iterable[Tensor], *, shared: bool) -> None:
    """Replace the running statistics of a network, in place, by the means over batches `images` (B, C, *S) each.

    While a network learns they are a decaying mean of the last ten batches or so, of weights that still moved: of few
    images, and noisy (Wu and Johnson 2021, arXiv:2105.07576, section 3). `shared`: alike for the members of an orbit.
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
