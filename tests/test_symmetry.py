"""Symmetry built into the kernels: turn or mirror the image and the result turns or mirrors along."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.unet import UNet, UNetConfig, adopt, fold
from contractile.unet.symmetry import ORBIT, TiedKernel, transform

CONFIGS = {
    "padded": UNetConfig(width=8, depth=2, symmetry="square"),
    "valid": UNetConfig(width=8, depth=1, padding="valid", norm="none", symmetry="square"),
    "two channels": UNetConfig(width=8, depth=1, channels=2, classes=3, activate_up=True, symmetry="square"),
    "3-D": UNetConfig(dims=3, width=8, depth=1, symmetry="square"),
    "coarse Z": UNetConfig(dims=3, width=8, depth=2, flat_levels=(1, 0, 0), head_kernel=3, symmetry="square"),
    "coarse Z, valid": UNetConfig(
        dims=3, width=8, depth=1, flat_levels=(1, 0, 0), padding="valid", norm="none", symmetry="square"
    ),
    "wide head": UNetConfig(width=16, depth=1, classes=3, head_kernel=3, symmetry="square"),
    "wide head, 3-D": UNetConfig(dims=3, width=8, depth=1, head_kernel=3, symmetry="square"),
}


def trained(config):
    """A network whose weights and statistics have moved, as after some training."""
    torch.manual_seed(0)
    network = UNet(config)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        size = config.input_size(8)
        network(torch.randn(2, config.channels, *[size] * config.dims)).pow(2).mean().backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module", params=CONFIGS)
def pair(request):
    network = trained(CONFIGS[request.param])
    return network, fold(network)


@settings(max_examples=16)
@given(symmetry=st.integers(0, ORBIT - 1), seed=st.integers(0, 100))
def test_the_result_turns_with_the_image(pair, symmetry, seed):
    network, plain = pair
    config = network.config
    height, width = config.input_size(9), config.input_size(20)
    depth = [config.input_size(4)] * (config.dims - 2)
    x = np.random.default_rng(seed).standard_normal((1, config.channels, *depth, height, width)).astype(np.float32)
    with torch.no_grad():
        straight = plain(torch.from_numpy(x)).numpy()
        turned = plain(torch.from_numpy(transform(x, symmetry).copy())).numpy()
    np.testing.assert_allclose(turned, transform(straight, symmetry), atol=1e-5)


def test_a_folded_network_is_an_ordinary_one(pair):
    network, plain = pair
    assert plain.config == network.config.model_copy(update={"symmetry": "none"})
    assert set(plain.state_dict()) == set(UNet(plain.config).state_dict())
    assert not plain.training
    free = sum(p.numel() for p in network.parameters())
    assert free < sum(p.numel() for p in plain.parameters()) / 4


def test_folding_leaves_the_network_as_it_was(pair):
    network, plain = pair
    again = fold(network)
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), again.state_dict().values(), strict=True))
    size = network.config.input_size(8)
    network.train()(torch.randn(1, network.config.channels, *[size] * network.config.dims)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_weights_of_a_folded_network_can_be_taken_up_again(pair):
    network, plain = pair
    torch.manual_seed(1)
    other = UNet(network.config)
    adopt(other, plain)
    again = fold(other)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, atol=1e-6, rtol=1e-5)
    fresh = UNet(network.config)
    head = fresh.head.weight.detach().clone()
    adopt(fresh, plain, head=False)
    assert torch.equal(fresh.head.weight, head)


def test_without_statistics_training_and_folded_networks_agree():
    network = trained(CONFIGS["valid"])
    x = torch.randn(1, 1, network.config.input_size(8), network.config.input_size(8))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x), fold(network)(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kernel", [(3, 3), (1, 3, 3)])
@pytest.mark.parametrize("members", [1, ORBIT])
def test_gradients_are_those_of_the_expansion(kernel, members):
    expanded = torch.randn(2 * ORBIT, 3 * members, *kernel, dtype=torch.float64)
    tied = TiedKernel(expanded, orbits_in=members == ORBIT, transposed=False)
    free = tied.right_inverse(expanded).requires_grad_()
    assert free.shape == (2, 3, members, *kernel)
    assert tied(free).shape == expanded.shape
    assert torch.autograd.gradcheck(tied, (free,))


def test_initial_weights_keep_their_variance():
    torch.manual_seed(0)
    network = fold(UNet(UNetConfig(width=32, depth=1, symmetry="square")))
    layer = network.contract[0][3]
    assert float(layer.weight.detach().std()) == pytest.approx((2 / (9 * 32)) ** 0.5, rel=0.1)


def test_widths_that_hold_no_whole_orbits_are_refused():
    with pytest.raises(
        ValueError, match="symmetry square needs a width that is a multiple of 8, got width 12; use width 8"
    ):
        UNetConfig(width=12, symmetry="square")
