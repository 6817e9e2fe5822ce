"""The network and its sizes per axis: from the configuration alone, refusals, two and three dimensions, export."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.unet import UNet, UNetConfig


@st.composite
def configs(draw, **fixed):
    """Configurations of any kind, small enough to run."""
    dims = fixed.pop("dims", None) or draw(st.sampled_from([2, 3]))
    depth = draw(st.integers(1, 5 - dims))
    options = {
        "width": st.just(2),
        "flat_levels": st.just(()) | st.tuples(*[st.integers(0, depth)] * dims),
        "padding": st.sampled_from(["valid", "same"]),
        "norm": st.sampled_from(["none", "batch"]),
        "activate_up": st.booleans(),
        "head_kernel": st.sampled_from([1, 3]),
        "classes": st.integers(2, 3),
    }
    chosen = {name: draw(values) for name, values in options.items() if name not in fixed}
    return UNetConfig(dims=dims, depth=depth, **chosen, **fixed)


def input_shape(config, wanted=1):
    return [config.input_size(wanted, axis) for axis in range(config.dims)]


@settings(max_examples=60)
@given(config=configs(), wanted=st.integers(1, 12))
def test_sizes_and_parameters_are_known_before_the_network_is_built(config, wanted):
    shape = input_shape(config, wanted)
    network = UNet(config).eval()
    with torch.no_grad():
        y = network(torch.zeros(1, config.channels, *shape))
    sizes = [config.output_size(size, axis) for axis, size in enumerate(shape)]
    assert y.shape == (1, config.classes, *sizes)
    assert min(sizes) >= wanted
    assert sum(p.numel() for p in network.parameters()) == config.parameters


@settings(max_examples=200)
@given(config=configs(), size=st.integers(1, 200), data=st.data())
def test_a_size_fits_where_each_layer_in_turn_can_take_it(config, size, data):
    axis = data.draw(st.integers(-config.dims, config.dims - 1))
    kernels, poolings = ([sizes[axis] for sizes in level] for level in (config.kernels, config.poolings))
    eaten = [2 * (kernel - 1) if config.padding == "valid" else 0 for kernel in kernels]
    maps, even = [size - eaten[0]], True
    for pooling, less in zip(poolings, eaten[1:], strict=True):
        even &= maps[-1] % pooling == 0
        maps.append(maps[-1] // pooling - less)
    for pooling, less in zip(poolings[::-1], eaten[-2::-1], strict=True):
        maps.append(maps[-1] * pooling - less)
    out = maps[-1] - (config.head[axis] - 1 if config.padding == "valid" else 0)
    if even and min(*maps, out) >= 1:
        assert config.feature_sizes(size, axis) == maps
        assert config.output_size(size, axis) == out
        assert config.input_size(out, axis) == size
    else:
        with pytest.raises(ValueError, match=f"got {size}; use"):
            config.output_size(size, axis)


def transparent(config):
    """A network whose output depends on all that it can see: weights are positive and poolings take means.

    No ReLU closes, no part of a gradient cancels, and none goes to the largest of a group alone.
    """
    network = UNet(config).double().eval()
    for p in network.parameters():
        torch.nn.init.constant_(p, 0.1)
    mean = torch.nn.AvgPool2d if config.dims == 2 else torch.nn.AvgPool3d
    for name, layer in list(network.named_modules()):
        if isinstance(layer, torch.nn.MaxPool2d | torch.nn.MaxPool3d):
            network.set_submodule(name, mean(layer.kernel_size))
    return network


bare = configs(width=1, norm="none", activate_up=False, classes=2)


@settings(max_examples=40)
@given(config=bare, data=st.data())
def test_the_receptive_field_is_what_the_gradient_reaches(config, data):
    axis = data.draw(st.integers(0, config.dims - 1))
    shape = input_shape(config)
    shape[axis] = config.input_size(2 * config.receptive_field[axis] + config.stride[axis], axis)
    x = torch.ones(1, 1, *shape, dtype=torch.float64, requires_grad=True)
    along = transparent(config)(x)[0].sum(dim=0).movedim(axis, 0).flatten(1).sum(dim=1)  # (K, *S) -> (S[axis],)
    widths = []
    middle = len(along) // 2
    for value in along[middle : middle + config.stride[axis]]:
        (gradient,) = torch.autograd.grad(value, x, retain_graph=True)
        pixels = gradient[0, 0].movedim(axis, 0).flatten(1).sum(dim=1).nonzero()
        widths.append(int(pixels[-1] - pixels[0]) + 1)
    assert max(widths) == config.receptive_field[axis]


@settings(max_examples=40)
@given(config=bare, data=st.data())
def test_what_is_kept_of_a_tile_is_the_same_in_a_larger_image(config, data):
    axis = data.draw(st.integers(0, config.dims - 1))
    context = config.margin if config.padding == "same" else [0] * config.dims
    shape = [config.input_size(1 + 2 * rim, a) for a, rim in enumerate(context)]
    stride = config.stride[axis]
    torch.manual_seed(0)
    larger = [size + 2 * stride if a == axis else size for a, size in enumerate(shape)]
    image = torch.rand(1, 1, *larger, dtype=torch.float64)
    network = transparent(config)
    kept = config.kept(shape)
    with torch.no_grad():
        tile = network(image.narrow(axis + 2, stride, shape[axis]))[(..., *kept)]
        whole = network(image).narrow(axis + 2, stride, config.output_size(shape[axis], axis))[(..., *kept)]
    assert tile.numel() > 0
    torch.testing.assert_close(tile, whole)
    assert list(tile.shape[2:]) == [size - 2 * rim for size, rim in zip(shape, config.margin, strict=True)]


def test_kept_is_empty_for_a_tile_of_nothing_but_margin():
    config = UNetConfig(depth=2)
    assert config.margin == (24, 24)
    assert config.kept((64, 48)) == (slice(24, 40), slice(24, 24))
    assert UNetConfig.paper().kept((572, 188)) == (slice(0, 388), slice(0, 4))


@settings(max_examples=30)
@given(config=configs())
def test_no_flat_levels_means_zero_on_every_axis(config):
    none, zeros = (config.model_copy(update={"flat_levels": flat}) for flat in ((), (0,) * config.dims))
    for name in ("kernels", "poolings", "head", "stride", "margin", "receptive_field", "parameters"):
        assert getattr(none, name) == getattr(zeros, name)
    assert all(len(set(sizes)) == 1 for sizes in (none.stride, none.margin, none.receptive_field))
    assert none.stride == (2**none.depth,) * none.dims


@settings(max_examples=20)
@given(config=configs(dims=2, flat_levels=()))
def test_a_network_of_images_is_one_of_volumes_that_is_flat_along_z(config):
    """Z is flat at every level but the lowest; with the weights there in the middle slice, each section is an image."""
    deep = config.model_copy(update={"dims": 3, "flat_levels": (config.depth, 0, 0)})
    sections, volumes = UNet(config).eval(), UNet(deep).eval()
    weights = volumes.state_dict()
    for name, weight in sections.state_dict().items():
        if weight.ndim == 4:
            weights[name].zero_()[:, :, weights[name].shape[2] // 2] = weight
        else:
            weights[name].copy_(weight)
    size = config.input_size(3)
    x = torch.randn(1, 1, 5, size, size)
    with torch.no_grad():
        planes = torch.stack([sections(plane) for plane in x.unbind(2)], dim=2)
        torch.testing.assert_close(volumes(x), planes[:, :, 2:3] if config.padding == "valid" else planes)


def test_coarse_z_by_hand():
    config = UNetConfig(dims=3, depth=2, flat_levels=(1, 0, 0), head_kernel=3)
    assert config.kernels == ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert config.poolings == ((1, 2, 2), (2, 2, 2))
    assert config.head == (1, 3, 3)
    assert config.stride == (2, 4, 4)
    network = UNet(config)
    layers = [layer for layer in network.modules() if isinstance(layer, torch.nn.Conv3d)]
    assert [layer.kernel_size for layer in layers[:6]] == [(1, 3, 3)] * 2 + [(3, 3, 3)] * 4
    assert [layer.stride for layer in network.modules() if isinstance(layer, torch.nn.ConvTranspose3d)] == [
        (2, 2, 2),
        (1, 2, 2),
    ]


def test_a_configuration_without_flat_levels_is_read_as_before():
    old = {key: value for key, value in UNetConfig.paper().model_dump().items() if key != "flat_levels"}
    assert UNetConfig.model_validate(old) == UNetConfig.paper()
    flat = UNetConfig(dims=3, flat_levels=(2, 0, 0))
    assert UNetConfig.model_validate_json(flat.model_dump_json()) == flat


@pytest.mark.parametrize("flat", [(1,), (0, 1, 0), (5, 0), (-1, 0)])
def test_flat_levels_that_fit_no_axes_or_levels_are_refused(flat):
    with pytest.raises(ValueError, match=r"flat_levels must be empty or one number from 0 to depth = 4 per axis, got"):
        UNetConfig(flat_levels=flat)


def test_tied_kernels_need_square_levels():
    with pytest.raises(ValueError, match=r"symmetry square needs the same flat_levels for the last two axes"):
        UNetConfig(flat_levels=(1, 0), symmetry="square")
    UNetConfig(dims=3, flat_levels=(2, 1, 1), symmetry="square")


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
    with pytest.raises(ContractileError, match="widht does not exist, got 3; write width"):
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


EXPORTED = {
    "unpadded": UNetConfig(width=2, depth=1, padding="valid", norm="none", head_kernel=3),
    "padded, sigmoid": UNetConfig(width=2, depth=1, norm="none", classes=1, sigmoid=True),
    "3-D": UNetConfig(dims=3, width=2, depth=1, flat_levels=(1, 0, 0)),
}


class Scores(torch.nn.Module):
    """What a network is exported as: its class scores."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.class_scores(x)


@pytest.fixture(scope="module", params=EXPORTED)
def exportable(request):
    """A network, an input of the size that it is exported at, and one of another size."""
    config = EXPORTED[request.param]
    shapes = [[config.input_size(wanted + 20 * axis, axis) for axis in range(config.dims)] for wanted in (8, 40)]
    return Scores(UNet(config).eval()), *(torch.randn(1, 1, *shape) for shape in shapes)


def test_volumes_of_two_planes_are_learned_from_in_bfloat16():
    """The gradients of a kernel are about those in float32, whatever lies in memory that was freed."""
    layer = UNet(UNetConfig(dims=3, depth=1, width=16, norm="none")).train().contract[0][2]
    for planes in (1, 2, 3):
        x = torch.randn(1, 16, planes, 4, 4, generator=torch.Generator().manual_seed(0))
        x, found = x.contiguous(memory_format=torch.channels_last_3d), []
        for low in (False, True, True, True):
            layer.zero_grad()
            junk = [torch.full((size,), torch.nan) for size in (16, 64, 100, 256, 1000, 4096, 10**4, 10**5, 10**6)]
            del junk
            with torch.autocast("cpu", torch.bfloat16, enabled=low):
                layer(x).float().sum().backward()
            found.append(layer.weight.grad.clone())
        for one in found[1:]:
            torch.testing.assert_close(one, found[0], rtol=0, atol=0.02 * float(found[0].abs().max()))


def test_an_exported_network_runs_at_other_sizes(exportable):
    network, example, other = exportable
    free = {0: None, 1: None, **dict.fromkeys(range(2, example.ndim), torch.export.Dim.AUTO)}
    with torch.no_grad():
        exported = torch.export.export(network, (example,), dynamic_shapes=(free,))
        torch.testing.assert_close(exported.module()(other), network(other))


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # PyTorch's own, on copying an exported program
def test_an_export_of_one_size_is_reshaped_by_openvino(exportable):
    openvino = pytest.importorskip("openvino", reason="OpenVINO is an optional back end")
    network, example, other = exportable
    with torch.no_grad():
        model = openvino.convert_model(torch.export.export(network, (example,)))
        expected = network(other).numpy()
    model.reshape(list(other.shape))
    found = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(other.numpy())[0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"width": 10**7}, "width must be a whole number from 1 to 4096, got 10000000; use e.g. 16"),
        ({"channels": 0}, "channels must be a whole number from 1 to 4096, got 0; use e.g. 1"),
        ({"classes": 10**9}, "classes must be a whole number from 1 to 4096, got 1000000000; use e.g. 2"),
        ({"padding": "smae"}, "padding must be 'valid' or 'same', got 'smae'; use 'same'"),
        (
            {"width": 4096, "depth": 8},
            "network must have at most 1,000,000,000 weights, got 32,618,518,142,978 (130,474 GB) with width 4096 and "
            "depth 8; lower width or depth",
        ),
    ],
)
def test_sizes_beyond_reason_are_refused(fields, line):
    with pytest.raises(ContractileError) as caught:
        UNetConfig(**fields)
    assert str(caught.value) == line


@pytest.mark.parametrize("config", [None, {"width": 8}, 16])
def test_a_network_is_built_from_its_configuration(config):
    with pytest.raises(TypeError, match=r"config must be a UNetConfig, got .*; use e.g. UNetConfig\(width=16\)"):
        UNet(config)


@pytest.mark.parametrize("x", [None, [1.0], np.zeros((1, 1, 16, 16), np.float32)])
def test_the_input_is_a_tensor(x):
    with pytest.raises(TypeError, match=r"x must be a torch tensor, got (NoneType|list|ndarray); convert with"):
        UNet(UNetConfig(width=1, depth=1))(x)
