"""The gradient of a 3x3 kernel is PyTorch's, for every size, and a network learns the same with either."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import parametrize

from contractile.training import convolution
from contractile.training.convolution import Conv2d, kernel_gradient, use_quick_gradients
from contractile.unet import UNet, UNetConfig


def reference(x, gradient, padding):
    weight = torch.zeros(gradient.shape[1], x.shape[1], 3, 3, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.conv2d(x.double(), weight, padding=padding).backward(gradient.double())
    return weight.grad


@settings(max_examples=40)
@given(
    batch=st.integers(1, 3),
    ins=st.integers(1, 9),
    outs=st.sampled_from([4, 8, 12]),
    rows=st.integers(3, 40),
    columns=st.integers(3, 60),
    padding=st.integers(0, 1),
    channels_last=st.booleans(),
)
def test_the_gradient_is_that_of_the_definition(batch, ins, outs, rows, columns, padding, channels_last):
    torch.manual_seed(0)
    form = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(batch, ins, rows, columns).contiguous(memory_format=form)
    gradient = torch.randn(batch, outs, rows - 2 + 2 * padding, columns - 2 + 2 * padding).contiguous(
        memory_format=form
    )
    found = kernel_gradient(x, gradient, padding)
    torch.testing.assert_close(found.double(), reference(x, gradient, padding), atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("columns", [1021, 1022, 1023, 1500])
def test_a_row_longer_than_what_is_taken_together(columns):
    x, gradient = torch.randn(1, 2, 4, columns), torch.randn(1, 4, 4, columns)
    torch.testing.assert_close(
        kernel_gradient(x, gradient, 1).double(), reference(x, gradient, 1), atol=1e-3, rtol=1e-4
    )


def gradients(config, *, quick):
    """Gradients of all parameters of a network, and how many of them `kernel_gradient` computed."""
    torch.manual_seed(0)
    network = UNet(config)
    size = config.input_size(20)
    with pytest.MonkeyPatch.context() as patch:
        calls = []
        patch.setattr(convolution, "only_avx2", lambda: True)
        patch.setattr(convolution, "kernel_gradient", lambda *given: calls.append(1) or kernel_gradient(*given))
        if quick:
            use_quick_gradients(network)
        network.class_scores(torch.randn(2, 1, size, size)).square().mean().backward()
    return [parameter.grad for parameter in network.parameters()], len(calls)


@pytest.mark.parametrize(
    ("config", "by_us"),
    [
        (UNetConfig(width=8, depth=2, symmetry="square"), 10),
        (UNetConfig.paper().model_copy(update={"width": 4, "depth": 2, "dropout": 0.0}), 10),
        (UNetConfig(width=4, depth=2, flat_levels=(1, 1)), 6),  # only 3x3 kernels
        (UNetConfig(width=3, depth=1), 0),  # not a multiple of four: PyTorch's own
        (UNetConfig(width=4, depth=1, head_kernel=3, classes=4), 7),
    ],
)
def test_a_network_learns_the_same(config, by_us):
    (ours, calls), (theirs, none) = gradients(config, quick=True), gradients(config, quick=False)
    assert (calls, none) == (by_us, 0)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("symmetry", ["none", "square"])
def test_only_the_given_network_changes_and_keeps_its_weights(symmetry):
    network, other = (UNet(UNetConfig(width=8, depth=1, symmetry=symmetry)) for _ in range(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for _ in range(2):  # again changes nothing
        use_quick_gradients(network)
    assert isinstance(network.contract[0][0], Conv2d)
    assert not isinstance(other.contract[0][0], Conv2d)
    assert before.keys() == network.state_dict().keys()
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    if symmetry == "square":
        parametrize.remove_parametrizations(network.contract[0][0], "weight")
        parametrize.remove_parametrizations(network.contract[0][0], "bias")
        assert type(network.contract[0][0]) is Conv2d


def test_without_gradients_it_is_the_ordinary_layer(monkeypatch):
    monkeypatch.setattr(convolution, "only_avx2", lambda: True)
    monkeypatch.setattr(convolution, "kernel_gradient", None)  # must not be needed
    layer, x = Conv2d(2, 4, 3), torch.randn(1, 2, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(x, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
