"""Running a network on batches: devices, precision, tiles that fit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.engine import Engine, find_device, fit_tile, free_memory, native_precision
from contractile.tiles import plan
from contractile.unet import UNet, UNetConfig

configs = st.builds(
    UNetConfig,
    dims=st.sampled_from([2, 3]),
    width=st.just(4),
    depth=st.integers(1, 4),
    padding=st.sampled_from(["valid", "same"]),
)


@settings(max_examples=60)
@given(configs, st.lists(st.integers(1, 120), min_size=3, max_size=3), st.integers(1, 300))
def test_a_fitted_tile_fits_the_network_and_covers_the_image(config, shape, limit):
    shape = tuple(shape[: config.dims])
    tile = fit_tile(config, shape, limit)
    smallest = config.input_size(config.stride + (2 * config.margin if config.padding == "same" else 0))
    for size in tile:
        config.output_size(size)
        assert size <= max(limit, smallest)
    parts = plan(shape, tile, margin=config.margin, stride=config.stride)
    assert all(
        stop - start <= size - 2 * config.margin
        for p in parts
        for (start, stop), size in zip(p.write, tile, strict=True)
    )


def test_one_tile_where_the_image_fits():
    assert fit_tile(UNetConfig.paper(), (512, 388), 700) == (700, 572)


def test_fewest_tiles_of_equal_size():
    tile = fit_tile(UNetConfig.paper(), (1000, 1000), 700)
    assert len(plan((1000, 1000), tile, margin=92, stride=16)) == 4
    assert max(tile) <= 700


@pytest.mark.parametrize(
    "config", [UNetConfig(width=2, depth=1), UNetConfig(width=2, depth=1, classes=1, sigmoid=True)]
)
def test_probabilities_add_up_to_one(config):
    values = Engine(UNet(config), device="cpu")(np.random.default_rng(0).random((2, 1, 8, 8), np.float32))
    assert values.shape == (2, 2, 8, 8)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)


def test_bfloat16_agrees_with_float32():
    torch.manual_seed(0)
    network = UNet(UNetConfig(width=8, depth=2))
    x = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    exact = Engine(network, device="cpu", precision="float32")(x)
    np.testing.assert_allclose(Engine(network, device="cpu", precision="bfloat16")(x), exact, atol=0.03)


def test_memory_that_runs_out_is_a_memory_error(monkeypatch):
    engine = Engine(UNet(UNetConfig(width=2, depth=1)), device="cpu")

    def exhausted(x):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(engine._network, "class_scores", exhausted)
    with pytest.raises(MemoryError, match=r"a batch of shape \(1, 1, 8, 8\) does not fit on cpu"):
        engine(np.zeros((1, 1, 8, 8), np.float32))


def test_other_errors_are_left_alone():
    with pytest.raises(ValueError, match="x must have shape"):
        Engine(UNet(UNetConfig(width=2, depth=1)), device="cpu")(np.zeros((1, 2, 8, 8), np.float32))


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or mps, got 'gpu'; use auto"):
        find_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device must be one that this machine has, got 'cuda'"):
            find_device("cuda")
    assert native_precision(torch.device("cpu")) in ("float32", "bfloat16")
    assert free_memory(torch.device("cpu")) > 0
    assert Engine(UNet(UNetConfig(width=2, depth=1)), device="cpu").largest_tile() >= 64
