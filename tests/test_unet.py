"""The network and its arithmetic: sizes from the configuration alone, refusals, two and three dimensions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contractile.unet import UNet, UNetConfig

configs = st.builds(
    UNetConfig,
    dims=st.sampled_from([2, 3]),
    width=st.just(2),
    depth=st.integers(1, 2),
    padding=st.sampled_from(["valid", "same"]),
    norm=st.sampled_from(["none", "batch"]),
    activate_up=st.booleans(),
    head_kernel=st.sampled_from([1, 3]),
    classes=st.integers(2, 3),
)


@settings(max_examples=40)
@given(config=configs, wanted=st.integers(1, 12))
def test_sizes_and_parameters_are_known_before_the_network_is_made(config, wanted):
    size = config.input_size(wanted)
    network = UNet(config).eval()
    with torch.no_grad():
        y = network(torch.zeros(1, config.channels, *[size] * config.dims))
    assert y.shape == (1, config.classes, *[config.output_size(size)] * config.dims)
    assert config.output_size(size) >= wanted
    assert sum(p.numel() for p in network.parameters()) == config.parameters


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("head_kernel", [1, 3])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_receptive_field_is_what_the_gradient_sees(padding, head_kernel, depth):
    config = UNetConfig(width=1, depth=depth, padding=padding, norm="none", head_kernel=head_kernel)
    network = UNet(config).double().eval()
    for p in network.parameters():
        torch.nn.init.constant_(p, 0.1)  # all positive: no ReLU closes, no gradient cancels
    size = config.input_size(4 * config.receptive_field)
    # Max-pooling passes the gradient of one winner; a linear pooling shows the whole field.
    network.pool = torch.nn.AvgPool2d(2)
    widths = []
    middle = config.output_size(size) // 2 // config.stride * config.stride
    for phase in range(config.stride):
        x = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        network(x)[0, 0, middle + phase, middle].backward()
        widths.append(int((x.grad[0, 0].abs().sum(dim=1) > 0).sum()))
    assert max(widths) == config.receptive_field


def test_an_input_that_does_not_fit_is_refused_with_the_nearest_sizes():
    with pytest.raises(ValueError, match=r"got 570; use 556 or 572"):
        UNetConfig.paper().output_size(570)
    with pytest.raises(ValueError, match=r"even before a pooling .* got 30; use 16 or 32"):
        UNet(UNetConfig(width=1))(torch.zeros(1, 1, 32, 30))
    with pytest.raises(ValueError, match=r"got 3; use 188"):
        UNetConfig.paper().feature_sizes(3)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 2, 16, 16), (1, 1, 16, 16, 16)])
def test_wrong_channels_or_axes_are_refused(shape):
    with pytest.raises(ValueError, match=r"x must have shape \(B, 1, Y, X\), got .* put the batch first"):
        UNet(UNetConfig(width=1))(torch.zeros(shape))


def test_sigmoid_goes_with_one_channel():
    with pytest.raises(ValueError, match="sigmoid must be true exactly when classes is 1"):
        UNetConfig(classes=1)
    with pytest.raises(ValueError, match="sigmoid must be true exactly when classes is 1"):
        UNetConfig(sigmoid=True)


def test_unknown_options_are_refused():
    with pytest.raises(ValidationError, match="widht"):
        UNetConfig(widht=3)


def test_a_sigmoid_network_counts_as_two_classes():
    network = UNet(UNetConfig(width=2, depth=1, classes=1, sigmoid=True)).eval()
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(network.class_scores(x).softmax(1)[:, 1:], network(x))


def test_dropout_acts_in_training_only():
    network = UNet(UNetConfig(width=4, depth=1, dropout=0.5, norm="none"))
    x = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        assert not torch.equal(network.train()(x), network(x))
        assert torch.equal(network.eval()(x), network(x))
