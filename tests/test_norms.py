"""Norms of a finished network: their statistics are those of many samples."""

import pytest
import torch

from contractile.training.norms import measure_statistics
from contractile.unet import UNet, UNetConfig


def batches(n):
    generator = torch.Generator().manual_seed(3)
    return [5 + 2 * torch.randn(2, 1, 16, 16, generator=generator) for _ in range(n)]


def first_norm(network):
    return network.contract[0][1]


def test_statistics_are_means_over_the_batches_whatever_they_were():
    network = UNet(UNetConfig(width=4, depth=1)).eval()
    norm, convolution = first_norm(network), network.contract[0][0]
    norm.running_mean.fill_(100.0)
    weights = [p.clone() for p in network.parameters()]
    measure_statistics(network, batches(8), shared=False)
    with torch.no_grad():
        maps = [convolution(batch).movedim(1, 0).flatten(1) for batch in batches(8)]
    torch.testing.assert_close(norm.running_mean, torch.stack([m.mean(dim=1) for m in maps]).mean(dim=0))
    torch.testing.assert_close(norm.running_var, torch.stack([m.var(dim=1) for m in maps]).mean(dim=0))
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))
    assert norm.momentum == pytest.approx(0.1)
    assert not any(layer.training for layer in network.modules())


def test_measuring_twice_changes_nothing():
    network = UNet(UNetConfig(width=4, depth=2)).eval()
    measure_statistics(network, batches(5), shared=False)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    measure_statistics(network, batches(5), shared=False)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_members_of_an_orbit_share_them():
    network = UNet(UNetConfig(width=8, depth=1)).eval()
    measure_statistics(network, batches(3), shared=True)
    assert first_norm(network).running_mean.unique().numel() == 1
    assert first_norm(network).running_var.unique().numel() == 1
