"""The rate of each step, and Muon: orthogonal steps of kernels that symmetry survives."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.recipe import OptimizerConfig
from contractile.training.optimizer import (
    HEAD_RATE,
    KERNEL_RATE,
    Muon,
    learning_rate,
    make_optimizer,
    orthogonalise,
    set_rate,
)
from contractile.unet import Kernel, UNet, UNetConfig, find_kernels, fold

CONFIGS = {
    "free": UNetConfig(width=4, depth=1),
    "free, 3-D": UNetConfig(dims=3, width=4, depth=1),
    "tied": UNetConfig(width=8, depth=1, symmetry="square"),
    "tied, a first layer that is tall": UNetConfig(width=16, depth=1, symmetry="square"),
    "tied, two channels": UNetConfig(width=8, depth=1, channels=2, symmetry="square"),
    "tied, 3-D": UNetConfig(dims=3, width=8, depth=1, symmetry="square"),
}


@pytest.fixture(params=CONFIGS)
def network(request):
    torch.manual_seed(0)
    return UNet(CONFIGS[request.param])


def backward(network, seed=0):
    torch.manual_seed(seed)
    config = network.config
    network.zero_grad()
    network(torch.randn(2, config.channels, *[8] * config.dims)).pow(2).mean().backward()


def test_learning_rate():
    config = OptimizerConfig(learning_rate=1, warmup=10)
    assert learning_rate(0, 100, config) == pytest.approx(0.1)
    assert learning_rate(9, 100, config) == 1
    assert learning_rate(55, 100, config) == pytest.approx(0.5)
    assert learning_rate(99, 100, config) < 0.01
    assert learning_rate(99, 100, OptimizerConfig(learning_rate=1, schedule="constant")) == 1


@settings(max_examples=30)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), size=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_every_direction_moves_by_about_one(rows, columns, size, seed):
    generator = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(torch.randn(rows, columns, generator=generator), full_matrices=False)
    matrix = size * u @ torch.diag(torch.linspace(1, 0.1, min(rows, columns))) @ v
    kernel = Kernel(torch.nn.Parameter(matrix), tied=None, transposed=False)
    found = orthogonalise(matrix, kernel) / max(1, rows / columns) ** 0.5
    values = torch.linalg.svdvals(found)
    assert 0.6 < float(values.min()) <= float(values.max()) < 1.3
    assert float((found * (u @ v)).sum()) > 0.6 * min(rows, columns)  # the nearest one, not any


def test_kernels_are_those_of_every_convolution_but_the_last(network):
    config = network.config
    assert len(find_kernels(network)) == 4 * config.depth + 2 + config.depth
    assert all(kernel.parameter.ndim >= config.dims + 2 for kernel in find_kernels(network))


def test_values_of_a_kernel_become_rows_and_back(network):
    for kernel in find_kernels(network):
        assert torch.equal(kernel.values(kernel.rows(kernel.parameter)), kernel.parameter)


@pytest.mark.parametrize("config", [config for config in CONFIGS.values() if config.symmetry == "square"])
def test_a_tied_kernel_steps_as_that_of_the_folded_network(config):
    torch.manual_seed(0)
    network = UNet(config)
    for kernel, folded in zip(find_kernels(network), find_kernels(fold(network)), strict=True):
        whole = kernel.matrix(kernel.rows(orthogonalise(kernel.parameter, kernel)))
        reference = folded.rows(orthogonalise(folded.parameter, folded))
        torch.testing.assert_close(whole, reference, atol=1e-4, rtol=1e-3)


def test_a_first_step_moves_kernels_by_their_rate_and_the_rest_as_adamw(network):
    config = OptimizerConfig(learning_rate=1e-2, weight_decay=0)
    before = copy.deepcopy(network)
    optimizer = make_optimizer(network, config)
    backward(network)
    optimizer.step()
    for kernel, old in zip(find_kernels(network), find_kernels(before), strict=True):
        moved = kernel.matrix(kernel.rows(kernel.parameter - old.parameter))
        rows, columns = moved.shape
        largest = torch.linalg.matrix_norm(moved.detach(), 2) / max(1, rows / columns) ** 0.5
        assert 0.6 < float(largest) / (KERNEL_RATE * 1e-2) < 1.3
    moved = network.head.bias - before.head.bias
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 1e-2), atol=1e-4, rtol=0)


def test_an_optimiser_resumes_from_its_state(network):
    config = OptimizerConfig()
    optimizer = make_optimizer(network, config)
    backward(network, 1)
    optimizer.step()
    twin = copy.deepcopy(network)
    resumed = make_optimizer(twin, config)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for net, opt in ((network, optimizer), (twin, resumed)):
        backward(net, 2)
        opt.step()
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_weights_of_kernels_decay_and_nothing_moves_without_a_gradient(network):
    config = OptimizerConfig(learning_rate=1e-2, weight_decay=1.0)
    before = copy.deepcopy(network)
    optimizer = make_optimizer(network, config)
    optimizer.step()
    for one, other in zip(network.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    backward(network)
    for kernel in find_kernels(network):
        kernel.parameter.grad.zero_()
    optimizer.step()
    for kernel, old in zip(find_kernels(network), find_kernels(before), strict=True):
        torch.testing.assert_close(kernel.parameter, (1 - KERNEL_RATE * 1e-2) * old.parameter)


def test_a_closure_is_asked_for_the_loss(network):
    optimizer = make_optimizer(network, OptimizerConfig())
    assert isinstance(optimizer, Muon)

    before = copy.deepcopy(network)

    def closure():
        backward(network)
        return 0.5

    assert optimizer.step(closure) == 0.5
    assert all(not torch.equal(*pair) for pair in zip(network.parameters(), before.parameters(), strict=True))


@pytest.mark.parametrize(("small", "threads"), [(2**26, 1), (0, 2)])
def test_small_products_are_left_to_one_thread(network, monkeypatch, small, threads):
    seen = []

    def watched(values, kernel):
        seen.append(torch.get_num_threads())
        return orthogonalise(values, kernel)

    monkeypatch.setattr("contractile.training.optimizer.orthogonalise", watched)
    monkeypatch.setattr("contractile.training.optimizer.SMALL_PRODUCT", small)
    optimizer = make_optimizer(network, OptimizerConfig())
    backward(network)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        optimizer.step()
        assert set(seen) == {threads}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_products_are_exact_in_a_step_and_as_the_user_wants_them_after(network, monkeypatch):
    seen = []

    def watched(values, kernel):
        seen.append(torch.get_float32_matmul_precision())
        return orthogonalise(values, kernel)

    monkeypatch.setattr("contractile.training.optimizer.orthogonalise", watched)
    optimizer = make_optimizer(network, OptimizerConfig())
    backward(network)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        optimizer.step()
        assert set(seen) == {"highest"}
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize(("kind", "found"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW), ("muon", Muon)])
def test_weights_decay_biases_and_normalisation_do_not(network, kind, found):
    optimizer = make_optimizer(network, OptimizerConfig(kind=kind, weight_decay=0.5))
    assert type(optimizer) is found
    decayed, others, *last = optimizer.param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))
    assert [group["weight_decay"] for group in last] == [0.0] * (kind == "muon")
    assert {p.ndim > 1 for p in decayed["params"]} == {True}
    assert {p.ndim > 1 for p in others["params"]} == {False}


def test_the_last_layer_takes_longer_steps_than_what_is_not_a_kernel(network):
    optimizer = make_optimizer(network, OptimizerConfig())
    set_rate(optimizer, 0.1)
    head = set(map(id, network.head.parameters()))
    for group in optimizer.param_groups:
        assert group["lr"] == pytest.approx(0.1 * (HEAD_RATE if {*map(id, group["params"])} == head else 1))
