"""The paper to the letter: the figures that Ronneberger, Fischer and Brox (2015) print; teaching code's network."""

import math

import pytest
import torch
from torch import nn

from contractile.unet import UNet, UNetConfig


def test_figure_1_sizes():
    config = UNetConfig.paper()
    assert config.feature_sizes(572) == [568, 280, 136, 64, 28, 52, 100, 196, 388]
    assert config.output_size(572) == 388
    assert config.widths == (64, 128, 256, 512, 1024)
    assert config.margin == (92, 92)
    assert config.stride == (16, 16)


def test_tile_sizes_are_16_k_plus_60():
    config = UNetConfig.paper()
    fitting = {config.input_size(n): n for n in range(1, 613)}
    assert list(fitting) == list(range(188, 800, 16))
    assert all(config.output_size(size) == n for size, n in fitting.items())
    for n in set(range(1, 800)) - set(fitting):
        with pytest.raises(ValueError, match=f"got {n}; use"):
            config.output_size(n)
    assert config.input_size(512) == 700


@pytest.fixture(scope="module")
def paper_network():
    torch.manual_seed(0)
    return UNet(UNetConfig.paper())


def test_parameters_and_layers(paper_network):
    assert UNetConfig.paper().parameters == sum(p.numel() for p in paper_network.parameters()) == 31_030_658
    layers = [m for m in paper_network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    assert len(layers) == 23
    assert not any(isinstance(m, nn.BatchNorm2d) for m in paper_network.modules())
    assert all(m.padding == (0, 0) for m in layers)


def test_initialisation_has_the_variance_of_section_3(paper_network):
    for layer in paper_network.modules():
        if isinstance(layer, nn.Conv2d):
            expected = math.sqrt(2 / (layer.in_channels * math.prod(layer.kernel_size)))
        elif isinstance(layer, nn.ConvTranspose2d):
            expected = math.sqrt(2 / layer.in_channels)
        else:
            continue
        tolerance = 4 / math.sqrt(2 * layer.weight.numel())  # four standard errors
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=tolerance)
        assert not layer.bias.any()


def test_up_convolutions_halve_the_channels(paper_network):
    shapes = [
        (m.in_channels, m.out_channels, m.kernel_size, m.stride)
        for m in paper_network.modules()
        if isinstance(m, nn.ConvTranspose2d)
    ]
    assert shapes == [(2 * n, n, (2, 2), (2, 2)) for n in (512, 256, 128, 64)]


def test_the_smallest_tile_runs(paper_network):
    with torch.no_grad():
        assert paper_network(torch.zeros(1, 1, 188, 188)).shape == (1, 2, 4, 4)


def test_the_compact_network_of_teaching_code():
    torch.manual_seed(0)
    config = UNetConfig.compact()
    network = UNet(config).eval()
    assert config.parameters == sum(p.numel() for p in network.parameters()) == 487_449
    with torch.no_grad():
        y = network(torch.randn(10, 1, 224, 224))
    assert y.shape == (10, 1, 224, 224)
    assert float(y.min()) >= 0
    assert float(y.max()) <= 1
