"""The gradient of a 3x3 kernel is PyTorch's, for every size, and a network learns the same with either."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.unet import UNet, UNetConfig, convolution
from contractile.unet.convolution import Conv2d, kernel_gradient


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


def gradients(config, quick, monkeypatch):
    monkeypatch.setattr(convolution, "only_avx2", lambda: quick)
    torch.manual_seed(0)
    network = UNet(config)
    size = config.input_size(20)
    network.class_scores(torch.randn(2, 1, size, size)).square().mean().backward()
    return [parameter.grad for parameter in network.parameters()]


@pytest.mark.parametrize(
    "config",
    [
        UNetConfig(width=8, depth=2, symmetry="square"),
        UNetConfig.paper().model_copy(update={"width": 4, "depth": 2, "dropout": 0.0}),
        UNetConfig(width=3, depth=1),  # not a multiple of four: PyTorch's own
    ],
)
def test_a_network_learns_the_same(config, monkeypatch):
    pairs = zip(gradients(config, True, monkeypatch), gradients(config, False, monkeypatch), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-3)


def test_without_gradients_it_is_the_ordinary_layer(monkeypatch):
    monkeypatch.setattr(convolution, "only_avx2", lambda: True)
    monkeypatch.setattr(convolution, "kernel_gradient", None)  # must not be needed
    layer, x = Conv2d(2, 4, 3), torch.randn(1, 2, 9, 9)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), torch.nn.functional.conv2d(x, layer.weight, layer.bias))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).sum().backward()
