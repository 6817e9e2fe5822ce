"""Running a network on batches: devices, precision, back ends that are checked, tiles that fit."""

import importlib.util
import logging
import os

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.engine import (
    Engine,
    EngineConfig,
    find_device,
    fit_tile,
    free_memory,
    measure_ranges,
    native_precision,
    run,
)
from contractile.engine.agreement import measure_agreement
from contractile.engine.arrange import fold_norms, split_first_kernel, split_image
from contractile.engine.cache import cache_folder, prune
from contractile.engine.int8 import Int8Backend
from contractile.engine.openvino_backend import OpenVinoBackend
from contractile.engine.torch_backend import TorchBackend
from contractile.grid import plan
from contractile.unet import UNet, UNetConfig

EXACT = EngineConfig(device="cpu", backend="torch", precision="float32")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra contractile[openvino] is not installed"
)
NETWORKS = {
    "valid": UNetConfig(width=4, depth=2, padding="valid", norm="none", dropout=0.5),
    "padded": UNetConfig(width=4, depth=2),
    "compact": UNetConfig.compact().model_copy(update={"width": 4, "depth": 2}),
    "valid 3-D": UNetConfig(dims=3, width=2, depth=1, padding="valid"),
    "padded 3-D": UNetConfig(dims=3, width=2, depth=1, channels=2, classes=3),
}


def make_network(config):
    torch.manual_seed(0)
    network = UNet(config)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.normal_(layer.running_mean, std=0.2)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
            torch.nn.init.uniform_(layer.weight, 0.5, 2)
            torch.nn.init.normal_(layer.bias)
    return network.eval()


def make_batch(config, size=20):
    side = config.input_size(size)
    return np.random.default_rng(0).random((1, config.channels, *[side] * config.dims), np.float32)


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
    for part in plan(shape, tile, margin=config.margin, stride=config.stride):
        for (start, stop), size in zip(part.write, tile, strict=True):
            assert stop - start <= size - 2 * config.margin


def test_one_tile_where_the_image_fits():
    assert fit_tile(UNetConfig.paper(), (512, 388), 700) == (700, 572)


def test_fewest_tiles_of_equal_size():
    tile = fit_tile(UNetConfig.paper(), (1000, 1000), 700)
    assert len(plan((1000, 1000), tile, margin=92, stride=16)) == 4
    assert max(tile) <= 700


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_batch_norm_changes_nothing(name):
    network = make_network(NETWORKS[name])
    batch = torch.from_numpy(make_batch(NETWORKS[name]))
    folded = fold_norms(network)
    assert not any(isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d) for m in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(batch), network(batch), atol=1e-4, rtol=1e-4)


@needs_openvino
@pytest.mark.parametrize("name", NETWORKS)
def test_openvino_computes_the_same_network(name):
    network, batch = make_network(NETWORKS[name]), make_batch(NETWORKS[name])
    with torch.no_grad():
        expected = network.class_scores(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(OpenVinoBackend(network, precision="float32")(batch), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_add_up_to_one(name):
    config = NETWORKS[name]
    values = Engine(make_network(config), EngineConfig(device="cpu"))(make_batch(config))
    assert values.shape[:2] == (1, max(2, config.classes))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)


def test_bfloat16_agrees_with_float32():
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    exact = TorchBackend(network, device=torch.device("cpu"), precision="float32")(batch)
    rounded = TorchBackend(network, device=torch.device("cpu"), precision="bfloat16")(batch)
    assert 0 < np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()


def test_a_back_end_that_changes_labels_is_not_used(monkeypatch, caplog):
    class Wrong(TorchBackend):
        def __call__(self, batch):
            scores = super().__call__(batch)
            return -scores if self._type == torch.bfloat16 else scores

    monkeypatch.setattr(run, "TorchBackend", Wrong)
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    engine = Engine(network, EngineConfig(device="cpu", backend="torch", precision="bfloat16"))
    np.testing.assert_allclose(engine(batch), Engine(network, EXACT)(batch), atol=1e-6)
    assert (engine.backend, engine.precision) == ("torch", "float32")
    assert "torch bfloat16 changes" in caplog.text


def test_agreement_is_measured_and_told(caplog):
    caplog.set_level(logging.INFO)
    network = make_network(NETWORKS["padded"])
    with torch.no_grad():
        network.head.bias[1] += 100  # every pixel is surely of one class: no rounding changes a label
    engine = Engine(network, EngineConfig(device="cpu", backend="torch", precision="bfloat16"))
    engine(make_batch(NETWORKS["padded"]))
    assert engine.precision == "bfloat16"
    assert engine.agreement.changed_labels == 0
    assert "0.000 % of labels changed" in caplog.text


def test_an_image_in_three_parts_is_the_image():
    image = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    high, low, again = split_image(image).reshape(2, 3, 3, 8, 8).unbind(1)
    assert torch.equal(high, again)
    for part in (high, low):
        assert torch.equal(part.bfloat16().float(), part)
    np.testing.assert_allclose((high + low).numpy(), image, rtol=2**-16)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_split_first_kernel_computes_the_same(name):
    folded, batch = fold_norms(make_network(NETWORKS[name])), make_batch(NETWORKS[name])
    with torch.no_grad():
        split, whole = split_first_kernel(folded)(split_image(batch)), folded(torch.from_numpy(batch))
    np.testing.assert_allclose(split.numpy(), whole.numpy(), atol=1e-4, rtol=1e-4)


def test_a_first_kernel_that_nearly_cancels_survives_bfloat16():
    network = make_network(UNetConfig(width=4, depth=1, padding="valid", norm="none"))
    with torch.no_grad():  # an edge filter on a bright image: the answer is a small difference of large terms
        weight = network.contract[0][0].weight
        weight.copy_(100 * (weight - weight.mean(dim=(2, 3), keepdim=True)))
    batch = 1 + 0.01 * make_batch(network.config, 32)
    exact = TorchBackend(network, device=torch.device("cpu"), precision="float32")(batch)
    rounded = TorchBackend(network, device=torch.device("cpu"), precision="bfloat16")(batch)
    assert np.abs(rounded - exact).max() < 0.05 * np.abs(exact).max()
    with torch.no_grad():
        network.bfloat16()
        plain = network(torch.from_numpy(batch).bfloat16()).float().numpy()
    assert np.abs(plain - exact).max() > 0.2 * np.abs(exact).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_ranges_are_those_of_each_convolution_in_turn(name):
    network, batch = make_network(NETWORKS[name]), make_batch(NETWORKS[name])
    ranges = measure_ranges(network, [batch, 2 * batch])
    convolutions = 2 * len(network.contract) + 3 * len(network.up) + 1
    assert len(ranges) == convolutions
    assert ranges[0] == pytest.approx((batch.min(), 2 * batch.max()))
    assert all(low <= high for low, high in ranges)
    assert ranges[1][0] == 0  # after a ReLU


@needs_openvino
@pytest.mark.parametrize("name", NETWORKS)
def test_int8_comes_close_to_the_network(name):
    network, batch = make_network(NETWORKS[name]), make_batch(NETWORKS[name], 32)
    exact = TorchBackend(network, device=torch.device("cpu"), precision="float32")(batch)
    ranges = measure_ranges(network, [batch])
    values = Int8Backend(network, precision="float32", ranges=ranges)(batch)
    assert values.shape == exact.shape
    difference = np.abs(values - exact)
    assert 0 < difference.mean() < 0.1 * exact.std()


@needs_openvino
def test_int8_is_calibrated_by_training_or_by_the_first_tiles():
    network = make_network(UNetConfig(width=4, depth=1))
    with torch.no_grad():
        network.head.bias[1] += 100  # every pixel is surely of one class: no rounding changes a label
    batch = make_batch(network.config, 32)
    config = EngineConfig(device="cpu", precision="int8")
    engine = Engine(network, config)
    assert engine.needs_calibration
    engine.calibrate([batch, batch[..., :16, :16]])
    assert not engine.needs_calibration
    values = engine(batch)
    assert (engine.backend, engine.precision) == ("openvino", "int8")
    assert engine(batch[..., :16, :16]).shape == (1, 2, 16, 16)
    known = Engine(network, config, ranges=measure_ranges(network, [batch, batch[..., :16, :16]]))
    assert not known.needs_calibration
    np.testing.assert_array_equal(known(batch), values)
    np.testing.assert_allclose(Engine(network, config)(batch), values, atol=0.05)


@needs_openvino
def test_compiled_networks_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    values = OpenVinoBackend(network, precision="float32")(batch)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "contractile").iterdir()}
    assert len(kept) == 1
    np.testing.assert_array_equal(OpenVinoBackend(network, precision="float32")(batch), values)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "contractile").iterdir()} == kept


def test_the_cache_forgets_the_oldest(tmp_path):
    for age, name in enumerate(("new", "older", "oldest")):
        path = tmp_path / name
        path.write_bytes(bytes(10))
        os.utime(path, (1000 - age, 1000 - age))
    prune(tmp_path, 20)
    assert {path.name for path in tmp_path.iterdir()} == {"new", "older"}


def test_without_a_place_for_it_there_is_no_cache(monkeypatch, tmp_path):
    (tmp_path / "contractile").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_replayed_graph_computes_the_same(name):
    network = make_network(NETWORKS[name])
    backend = TorchBackend(network, device=torch.device("cuda"), precision="float32")
    exact = TorchBackend(network, device=torch.device("cpu"), precision="float32")
    for size in (20, 40, 20):
        batch = make_batch(NETWORKS[name], size)
        for image in (batch, 1 - batch):
            np.testing.assert_allclose(backend(image), exact(image), atol=1e-2, rtol=1e-2)


def test_memory_that_runs_out_is_a_memory_error(monkeypatch):
    engine = Engine(make_network(NETWORKS["padded"]), EXACT)

    def exhausted(batch):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(engine, "_run", exhausted)
    with pytest.raises(MemoryError, match=r"a batch of shape \(1, 1, 8, 8\) does not fit on cpu"):
        engine(np.zeros((1, 1, 8, 8), np.float32))


def test_other_errors_are_left_alone(monkeypatch):
    engine = Engine(make_network(NETWORKS["padded"]), EXACT)
    with pytest.raises(ValueError, match="x must have shape"):
        engine(np.zeros((1, 2, 8, 8), np.float32))

    def broken(batch):
        raise RuntimeError("something else")

    monkeypatch.setattr(engine, "_run", broken)
    with pytest.raises(RuntimeError, match="something else"):
        engine(np.zeros((1, 1, 8, 8), np.float32))


def test_devices():
    assert find_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or mps, got 'gpu'; use auto"):
        find_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device must be one that this machine has, got 'cuda'"):
            find_device("cuda")
    assert native_precision(torch.device("cpu")) in ("float32", "bfloat16")
    assert free_memory(torch.device("cpu")) > 0
    assert Engine(make_network(NETWORKS["padded"]), EXACT).largest_tile() >= 64


def test_engines_that_are_not_there(monkeypatch):
    network = make_network(NETWORKS["padded"])
    with pytest.raises(ValueError, match="precision int8 needs the OpenVINO engine, got engine torch"):
        Engine(network, EngineConfig(device="cpu", backend="torch", precision="int8"))
    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"engine openvino is not installed; pip install 'contractile\[openvino\]'"):
        Engine(network, EngineConfig(device="cpu", backend="openvino"))
    assert Engine(network, EngineConfig(device="cpu")).backend == "torch"


@needs_openvino
def test_openvino_is_for_the_processor(monkeypatch):
    monkeypatch.setattr(run, "find_device", lambda name: torch.device("meta"))
    with pytest.raises(ValueError, match="engine openvino runs on the processor, got device meta"):
        Engine(make_network(NETWORKS["padded"]), EngineConfig(backend="openvino"))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [20, 300])
def test_agreement_finds_exact_arithmetic_exact_and_counts_what_differs(monkeypatch, name, size):
    """Comparing the middle is comparing the same pixels, on the pooling grid and away from the padding."""
    config = NETWORKS[name]
    size = min(size, 70) if config.dims == 3 else size
    monkeypatch.setattr("contractile.engine.agreement.COMPARED_SIDE", {2: 32, 3: 8})
    network = make_network(config)
    side = config.input_size(size)
    batch = np.random.default_rng(0).random((1, config.channels, *[side] * config.dims), np.float32)

    def exact(part):
        with torch.no_grad():
            return network.class_scores(torch.from_numpy(np.ascontiguousarray(part))).softmax(dim=1).numpy()

    answer = exact(batch)
    same = measure_agreement(answer, batch, exact, config)
    assert same.changed_labels == 0
    assert same.largest_difference < 1e-4
    other = measure_agreement(np.roll(answer, 1, axis=1), batch, exact, config)
    assert other.changed_labels > 0.5  # all but ties
