"""Running a network on batches: devices, number types, back ends that are checked, tiles that fit."""

import importlib.util
import logging
import math
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.engine import (
    Device,
    EngineConfig,
    example_shape,
    find_device,
    fit_tile,
    free_memory,
    hardware,
    native_precision,
    place,
    placed,
    torch_backend,
)
from contractile.engine.agreement import Agreement, measure_agreement
from contractile.engine.arrange import arrange
from contractile.engine.cache import cache_folder, write_entry
from contractile.engine.halves import arrange_image, round_to_bfloat16
from contractile.engine.openvino_backend import OpenVinoBackend
from contractile.engine.torch_backend import TorchBackend
from contractile.errors import ContractileError, OutOfMemory
from contractile.grid import plan
from contractile.memory import limited_memory
from contractile.unet import StoredUNet, UNet, UNetConfig

CPU = Device("cpu")
EXACT = EngineConfig(device="cpu", backend="torch", precision="float32")
ROUNDED = EngineConfig(device="cpu", backend="torch", precision="bfloat16")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra contractile[openvino] is not installed"
)
NETWORKS = {
    "valid": UNetConfig(width=4, depth=2, padding="valid", norm="none", dropout=0.5),
    "padded": UNetConfig(width=4, depth=2),
    "compact": UNetConfig.compact().model_copy(update={"width": 4, "depth": 2}),
    "valid 3-D": UNetConfig(dims=3, width=2, depth=1, padding="valid"),
    "padded 3-D": UNetConfig(dims=3, width=2, depth=1, channels=2, classes=3),
    "flat 3-D": UNetConfig(dims=3, width=2, depth=2, padding="valid", flat_levels=(1, 0, 0)),
}


@pytest.fixture(autouse=True, scope="module")
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


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


def make_sure_network(config):
    """Every pixel is surely of one class: no rounding changes a label."""
    network = make_network(config)
    with torch.no_grad():
        network.head.bias[1] += 100
    return network


def make_batch(config, size=20, batch=1):
    sides = [config.input_size(size, axis) for axis in range(config.dims)]
    return np.random.default_rng(0).random((batch, config.channels, *sides), np.float32)


configs = st.builds(
    lambda dims, flat, **others: UNetConfig(
        dims=dims, flat_levels=(min(flat, others["depth"]), 0, 0) if dims == 3 else (), **others
    ),
    dims=st.sampled_from([2, 3]),
    flat=st.integers(0, 4),
    width=st.just(4),
    depth=st.integers(1, 4),
    padding=st.sampled_from(["valid", "same"]),
)


@settings(max_examples=60)
@given(configs, st.lists(st.integers(1, 120), min_size=3, max_size=3), st.integers(1, 300))
def test_a_fitted_tile_fits_the_network_and_covers_the_image(config, shape, limit):
    shape = tuple(shape[: config.dims])
    tile = fit_tile(config, shape, limit)
    for axis, (size, margin, stride) in enumerate(zip(tile, config.margin, config.stride, strict=True)):
        smallest = config.input_size(stride + (2 * margin if config.padding == "same" else 0), axis)
        config.output_size(size, axis)
        assert size <= max(limit, smallest)
    for part in plan(shape, tile, margin=config.margin, stride=config.stride):
        for (start, stop), size, margin in zip(part.write, tile, config.margin, strict=True):
            assert stop - start <= size - 2 * margin


def test_one_tile_where_the_image_fits():
    assert fit_tile(UNetConfig.paper(), (512, 388), 700) == (700, 572)


def test_fewest_tiles_of_equal_size():
    tile = fit_tile(UNetConfig.paper(), (1000, 1000), 700)
    assert len(plan((1000, 1000), tile, margin=(92, 92), stride=(16, 16))) == 4
    assert max(tile) <= 700


@settings(max_examples=60)
@given(configs)
def test_an_example_is_the_smallest_input_that_keeps_enough_pixels(config):
    enough = {2: 128, 3: 32}[config.dims]
    shape = example_shape(config)
    smaller = [size - stride for size, stride in zip(shape, config.stride, strict=True)]
    for have, less in zip(config.kept(shape), config.kept(smaller), strict=True):
        assert less.stop - less.start < enough <= have.stop - have.start


@pytest.mark.parametrize("name", NETWORKS)
def test_folding_batch_norm_changes_nothing(name):
    network = make_network(NETWORKS[name])
    batch = torch.from_numpy(make_batch(NETWORKS[name]))
    folded = arrange(network, "float32")
    assert not any(isinstance(m, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d) for m in folded.modules())
    with torch.no_grad():
        torch.testing.assert_close(folded(batch), network(batch), atol=1e-4, rtol=1e-4)


@needs_openvino
@pytest.mark.parametrize("name", NETWORKS)
def test_openvino_computes_the_same_network_at_every_shape(name):
    network = make_network(NETWORKS[name])
    backend = OpenVinoBackend(StoredUNet.of(network), precision="float32")
    for size, number in ((1, 1), (20, 2), (50, 1), (20, 1)):
        batch = make_batch(NETWORKS[name], size, number)
        with torch.no_grad():
            expected = network.class_scores(torch.from_numpy(batch)).softmax(dim=1).numpy()
        np.testing.assert_allclose(backend(batch), expected, atol=1e-5)


@needs_openvino
def test_openvino_takes_sides_that_differ():
    network = make_network(NETWORKS["valid"])
    batch = np.random.default_rng(0).random((1, 1, 60, 92), np.float32)
    with torch.no_grad():
        expected = network.class_scores(torch.from_numpy(batch)).softmax(dim=1).numpy()
    values = OpenVinoBackend(StoredUNet.of(network), precision="float32")(batch)
    np.testing.assert_allclose(values, expected, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_probabilities_add_up_to_one(name):
    config = NETWORKS[name]
    values = place(make_network(config), EngineConfig(device="cpu"))(make_batch(config))
    assert values.shape[:2] == (1, max(2, config.classes))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("backend", ["torch", pytest.param("openvino", marks=needs_openvino)])
def test_bfloat16_agrees_with_float32(backend):
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    exact = place(network, EXACT)(batch)
    rounded = place(network, EngineConfig(device="cpu", backend=backend, precision="bfloat16"))(batch)
    assert np.abs(rounded - exact).max() < 0.05
    if backend == "torch" or native_precision(CPU) == "bfloat16":  # OpenVINO rounds only where the hardware does
        assert np.abs(rounded - exact).max() > 0


class WrongUnlessExact(TorchBackend):
    """Turns the labels of everything but float32 PyTorch over."""

    def __init__(self, network, *, precision, device=None, threads=None):
        super().__init__(StoredUNet.of(network).network, device=device or CPU, precision=precision)
        self.right = bool(device) and precision == "float32"

    def __call__(self, batch):
        found = super().__call__(batch)
        return found if self.right else found[:, ::-1]

    def keeps(self):
        return False

    def kept_agreement(self):
        return None


def test_a_back_end_that_changes_labels_is_not_used(monkeypatch, caplog):
    monkeypatch.setattr(torch_backend, "TorchBackend", WrongUnlessExact)
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    engine = place(network, ROUNDED, example=batch)
    np.testing.assert_allclose(engine(batch), place(network, EXACT)(batch), atol=1e-6)
    assert (engine.backend, engine.precision, engine.agreement) == ("torch", "float32", None)
    assert re.search(
        r"torch bfloat16 changes too much on this image: \d+\.\d{3} % of labels changed, .*; "
        r"allowed: 0\.100 % of labels changed, 0\.200 % of pixels moved .* off by at most 0\.1000; using torch float32",
        caplog.text,
    )


class Flatter(TorchBackend):
    """Keeps the largest class, and moves probabilities: what is not float32 PyTorch is less sure."""

    def __init__(self, network, *, precision, device=None, threads=None):
        super().__init__(network, device=device or CPU, precision="float32")
        self.share = 1 if precision == "float32" else 0.6

    def __call__(self, batch):
        power = super().__call__(batch) ** np.float32(self.share)
        return power / power.sum(axis=1, keepdims=True)


class NoNumbers(WrongUnlessExact):
    def __call__(self, batch):
        found = super().__call__(batch)
        return found if self.right else np.full_like(found, np.nan)


@pytest.mark.parametrize("kind", [Flatter, NoNumbers])
def test_a_back_end_that_moves_probabilities_is_not_used(monkeypatch, caplog, kind):
    monkeypatch.setattr(torch_backend, "TorchBackend", kind)
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    engine = place(network, ROUNDED, example=batch)
    assert (engine.backend, engine.precision, engine.agreement) == ("torch", "float32", None)
    assert "torch bfloat16 changes too much on this image" in caplog.text
    if kind is Flatter:
        assert "0.000 % of labels changed" in caplog.text


@needs_openvino
@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_the_next_more_exact_back_end_is_tried_until_one_agrees(monkeypatch, caplog, precision):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(placed, "OpenVinoBackend", WrongUnlessExact)
    monkeypatch.setattr(placed, "native_precision", lambda device: "bfloat16")
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    engine = place(network, EngineConfig(device="cpu", backend="openvino", precision=precision), example=batch)
    assert (engine.backend, engine.precision) == ("torch", "float32")
    changes = [record for record in caplog.records if " changes " in record.message]
    assert [record.message.split(" changes ")[0] for record in changes] == ["openvino bfloat16", "openvino float32"]
    assert [record.message.split("; using ")[1] for record in changes] == ["openvino float32", "torch float32"]
    assert {record.levelname for record in changes} == {"INFO" if precision == "auto" else "WARNING"}


def test_agreement_is_measured_and_told(caplog):
    caplog.set_level(logging.INFO)
    engine = place(make_sure_network(NETWORKS["padded"]), ROUNDED, example=make_batch(NETWORKS["padded"]))
    assert engine.precision == "bfloat16"
    assert engine.agreement.changed_labels == 0
    assert 0 <= engine.agreement.largest_difference < 1e-6
    assert (
        "torch bfloat16: 0.000 % of labels changed, 0.000 % of pixels moved across a threshold, probab" in caplog.text
    )


def test_without_an_example_nothing_is_compared(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch_backend, "TorchBackend", WrongUnlessExact)
    engine = place(make_network(NETWORKS["padded"]), ROUNDED)
    engine(make_batch(NETWORKS["padded"]))
    assert (engine.backend, engine.precision, engine.agreement) == ("torch", "bfloat16", None)
    assert not caplog.records


def test_what_was_placed_does_not_change_and_changes_nothing():
    network, batch = make_network(NETWORKS["padded"]).train(), make_batch(NETWORKS["padded"])
    before = {key: values.clone() for key, values in network.state_dict().items()}
    engine = place(network, EngineConfig(device="cpu"), example=batch)
    first = engine(batch)
    assert network.training
    assert all(torch.equal(values, before[key]) for key, values in network.state_dict().items())
    with torch.no_grad():
        network.head.weight.zero_()  # training goes on
    np.testing.assert_array_equal(engine(batch), first)
    with pytest.raises(FrozenInstanceError):
        engine.backend = "torch"


def test_an_image_in_three_parts_is_the_image():
    image = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    high, low, again = np.moveaxis(arrange_image(image, "bfloat16").reshape(2, 3, 3, 8, 8), 1, 0)
    np.testing.assert_array_equal(high, again)
    for part in map(torch.from_numpy, (high.copy(), low.copy())):
        assert torch.equal(part.bfloat16().float(), part)
    np.testing.assert_allclose(high + low, image, rtol=2**-16)


def test_numpy_rounds_to_bfloat16_as_pytorch_does():
    """All upper halves with lower halves around the middle: ties, carries, infinity, denormals."""
    upper = np.arange(2**16, dtype=np.uint32) << 16
    for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        values = (upper | np.uint32(lower)).view(np.float32)
        found, expected = round_to_bfloat16(values), torch.from_numpy(values.copy()).bfloat16().float().numpy()
        number = ~np.isnan(values)
        np.testing.assert_array_equal(found[number].view(np.uint32), expected[number].view(np.uint32))
        assert np.isnan(found[~number]).all()
    np.testing.assert_array_equal(round_to_bfloat16(np.float32(1.01).reshape(1, 1)), [[1.0078125]])


@pytest.mark.parametrize("name", NETWORKS)
def test_a_split_first_kernel_computes_the_same(name):
    network, batch = make_network(NETWORKS[name]), make_batch(NETWORKS[name])
    with torch.no_grad():
        split = arrange(network, "bfloat16")(torch.from_numpy(arrange_image(batch, "bfloat16")))
        whole = arrange(network, "float32")(torch.from_numpy(batch))
    np.testing.assert_allclose(split.numpy(), whole.numpy(), atol=1e-4, rtol=1e-4)


def test_a_first_kernel_that_nearly_cancels_survives_bfloat16():
    network = make_network(UNetConfig(width=4, depth=1, padding="valid", norm="none"))
    with torch.no_grad():  # an edge filter on a bright image: the answer is a small difference of large terms
        weight = network.contract[0][0].weight
        weight.copy_(100 * (weight - weight.mean(dim=(2, 3), keepdim=True)))
    batch = 1 + 0.01 * make_batch(network.config, 32)
    exact = place(network, EXACT)(batch)
    rounded = place(network, ROUNDED)(batch)
    with torch.no_grad():
        network.bfloat16()
        plain = network(torch.from_numpy(batch).bfloat16()).float().softmax(dim=1).numpy()
    assert np.abs(rounded - exact).mean() < 0.25 * np.abs(plain - exact).mean()


@needs_openvino
def test_a_first_start_prints_nothing_and_reports_to_nobody(tmp_path):
    script = """
import logging
from contractile.engine import EngineConfig, place
from contractile.unet import StoredUNet, UNet, UNetConfig
logging.basicConfig(level=logging.INFO)
assert place(UNet(UNetConfig(width=4, depth=1)), EngineConfig(device="cpu")).backend == "openvino"
assert len(logging.getLogger().handlers) == 1
"""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]  # OpenVINO's reports leave a folder in the home


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NETWORKS)
def test_a_replayed_graph_computes_the_same(name):
    network = make_network(NETWORKS[name])
    backend = TorchBackend(network, device=Device("cuda"), precision="float32")
    exact = TorchBackend(network, device=CPU, precision="float32")
    for size in (20, 40, 20):
        batch = make_batch(NETWORKS[name], size)
        for image in (batch, 1 - batch):
            np.testing.assert_allclose(backend(image), exact(image), atol=1e-2, rtol=1e-2)
    assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.enabled


def fail_with(error):
    def scores(batch):
        raise error

    return scores


@pytest.mark.parametrize(
    "error", [RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError("std::bad_alloc")]
)
def test_memory_that_runs_out_is_told(error):
    engine = replace(place(make_network(NETWORKS["padded"]), EXACT), run=fail_with(error))
    with pytest.raises(OutOfMemory, match=r"a batch of shape \(1, 1, 8, 8\) does not fit on cpu; use smaller tiles"):
        engine(np.zeros((1, 1, 8, 8), np.float32))
    with pytest.raises(MemoryError):
        engine(np.zeros((1, 1, 8, 8), np.float32))


def test_other_errors_are_left_alone():
    engine = place(make_network(NETWORKS["padded"]), EXACT)
    with pytest.raises(ValueError, match="x must have shape"):
        engine(np.zeros((1, 2, 8, 8), np.float32))
    with pytest.raises(RuntimeError, match="something else"):
        replace(engine, run=fail_with(RuntimeError("something else")))(np.zeros((1, 1, 8, 8), np.float32))


def test_devices():
    assert find_device("cpu") == CPU
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or mps, got 'gpu'; use auto"):
        find_device("gpu")
    with pytest.raises(ValueError, match="device must be one that this machine has, got 'cpu:9'; use auto or cpu"):
        find_device("cpu:9")
    assert find_device("cpu:0").type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device must be one that this machine has, got 'cuda'; use auto or cpu"):
            find_device("cuda")
    assert native_precision(CPU) in ("float32", "bfloat16")
    assert free_memory(CPU) > 0
    assert place(make_network(NETWORKS["padded"]), EXACT).largest_tile() >= 64


def test_engines_that_are_not_there(monkeypatch):
    network = make_network(NETWORKS["padded"])
    with pytest.raises(ContractileError, match="precision must be 'auto', 'float32' or 'bfloat16', got 'int8'"):
        EngineConfig(precision="int8")
    monkeypatch.setattr(placed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"engine openvino is not installed; pip install 'contractile\[openvino\]'"):
        place(network, EngineConfig(device="cpu", backend="openvino"))
    assert place(network, EngineConfig(device="cpu")).backend == "torch"


@needs_openvino
def test_openvino_is_for_the_processor(monkeypatch):
    monkeypatch.setattr(placed, "find_device", lambda name: Device("cuda", 1))
    with pytest.raises(ValueError, match="engine openvino runs on the processor, got device cuda:1; use device cpu"):
        place(make_network(NETWORKS["padded"]), EngineConfig(backend="openvino"))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [20, 70])
def test_agreement_finds_exact_arithmetic_exact_and_counts_what_differs(name, size):
    config = NETWORKS[name]
    network, batch = make_network(config), make_batch(config, size)
    kept = config.kept(batch.shape[2:])
    with torch.no_grad():
        exact = network.class_scores(torch.from_numpy(batch)).softmax(dim=1).numpy()
    same = measure_agreement(exact, exact, kept)
    assert same.changed_labels == 0
    assert same.largest_difference < 1e-4
    other = measure_agreement(np.roll(exact, 1, axis=1), exact, kept)
    assert other.changed_labels > 0.5  # all but ties
    assert other.largest_difference > 0.1
    assert (same.moved_pixels, other.moved_pixels > 0.5) == (0, True)
    assert (same.holds(), other.holds()) == (True, False)


@pytest.mark.parametrize(
    ("labels", "difference", "moved", "holds"),
    [
        (0.001, 0.1, 0.002, True),
        (0.0011, 0.0, 0.0, False),
        (0.0, 0.11, 0.0, False),
        (0.0, 0.0, 0.0021, False),
        (math.nan, 0.0, 0.0, False),
        (0.0, math.nan, 0.0, False),
        (0.0, 0.0, math.nan, False),
    ],
)
def test_what_may_change(labels, difference, moved, holds):
    assert Agreement(labels, difference, moved).holds() == holds


def test_pixels_that_cross_a_threshold_are_counted():
    exact = np.zeros((1, 3, 1, 4), np.float32)
    exact[0, :, 0] = [[0.38, 0.9, 0.1, 1.0], [0.31, 0.05, 0.8, 0.0], [0.31, 0.05, 0.1, 0.0]]
    fast = exact.copy()
    fast[0, :, 0, 0] = 0.41, 0.295, 0.295  # inside: 0.62 -> 0.59, so that an object is lost at threshold 0.6
    found = measure_agreement(fast, exact, (slice(None), slice(None)))
    assert found.changed_labels == 0
    assert found.moved_pixels == 0.25
    assert found.largest_difference == pytest.approx(0.03)


def test_only_what_is_kept_is_compared_and_everything_where_nothing_is():
    exact = np.zeros((1, 2, 8, 8), np.float32)
    exact[:, 0] = 1
    fast = exact.copy()
    fast[:, :, 0] = fast[:, ::-1, 0]  # the first row gets the other label
    assert measure_agreement(fast, exact, (slice(1, 7), slice(0, 8))).changed_labels == 0
    assert measure_agreement(fast, exact, (slice(0, 4), slice(0, 8))).changed_labels == 0.25
    assert measure_agreement(fast, exact, (slice(5, -3), slice(5, -3))).changed_labels == 0.125
    assert measure_agreement(fast, exact, (slice(0, 8), slice(0, 8))).largest_difference == 1


def forbid(*_, **__):
    raise AssertionError("PyTorch must not be asked")


@needs_openvino
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_warm_start_compares_through_float32_openvino(monkeypatch, tmp_path, precision):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, batch = make_sure_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    config = EngineConfig(device="cpu", backend="openvino", precision=precision)
    first = place(network, config, example=batch)
    assert (first.backend, first.precision) == ("openvino", precision)
    monkeypatch.setattr(torch_backend, "TorchBackend", forbid)
    again = place(network, config, example=1 - batch)
    assert (again.backend, again.precision) == ("openvino", precision)
    assert again.agreement.holds()
    (verdict,) = cache_folder().glob("*.agreement")
    verdict.write_bytes(b"damaged")
    with pytest.raises(AssertionError, match="PyTorch must not be asked"):
        place(network, config, example=batch)


@needs_openvino
def test_what_a_fast_precision_changes_is_added_to_what_float32_does(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, batch = make_sure_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    exact, fast = (EngineConfig(device="cpu", backend="openvino", precision=name) for name in ("float32", "bfloat16"))
    alone = place(network, exact, example=batch).agreement
    before = place(network, fast, example=batch).agreement
    changed = Agreement(0.0005, 0.05, 0.001)
    OpenVinoBackend(StoredUNet.of(network), precision="float32").keep_agreement(changed)
    monkeypatch.setattr(torch_backend, "TorchBackend", forbid)
    after = place(network, fast, example=batch).agreement
    assert after.largest_difference == pytest.approx(0.05 + before.largest_difference - alone.largest_difference)
    assert (after.changed_labels, after.moved_pixels) == pytest.approx((0.0005, 0.001))


@needs_openvino
@pytest.mark.parametrize("content", [b"", b"[]", b'{"changed_labels": 0}', b"nonsense"])
def test_a_verdict_that_cannot_be_read_is_found_again(monkeypatch, tmp_path, caplog, content):
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, batch = make_sure_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    config = EngineConfig(device="cpu", backend="openvino", precision="float32")
    place(network, config, example=batch)
    (verdict,) = cache_folder().glob("*.agreement")
    whole = verdict.read_bytes()
    write_entry(cache_folder(), verdict.name, content)
    assert place(network, config, example=batch).agreement.holds()
    assert "what a network was found to change cannot be used, and is found again" in caplog.text
    assert verdict.read_bytes() == whole


@needs_openvino
def test_a_verdict_is_kept_only_where_it_allows_the_network(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network, batch = make_network(NETWORKS["padded"]), make_batch(NETWORKS["padded"])
    config = EngineConfig(device="cpu", backend="openvino", precision="bfloat16")
    monkeypatch.setattr(Agreement, "holds", lambda _: False)
    assert place(network, config, example=batch).backend == "torch"
    assert not list(cache_folder().glob("*.agreement"))


def test_two_changes_change_at_most_their_sum():
    assert Agreement(0.25, 0.5, 0.125) + Agreement(0.5, 0.25, 0.125) == Agreement(0.75, 0.75, 0.25)


def test_a_machine_without_a_driver_has_no_card(monkeypatch):
    monkeypatch.setattr(hardware, "_may_have_card", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", forbid)
    assert find_device("auto") == CPU
    monkeypatch.setattr(hardware, "_may_have_card", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("auto") == Device("cuda")
    assert str(find_device("cuda:1")) == "cuda:1"
    with pytest.raises(ValueError, match="device must be one that this machine has, got 'cuda:2'"):
        find_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert find_device("auto") == find_device("mps") == Device("mps")


@pytest.mark.skipif(sys.platform != "linux", reason="asks for a library of Linux")
def test_a_driver_or_an_amd_card_may_be_there(monkeypatch, tmp_path):
    look = hardware._may_have_card.__wrapped__
    monkeypatch.setattr(hardware, "AMD_CARDS", str(tmp_path / "kfd"))
    monkeypatch.setitem(hardware.DRIVERS, "linux", "libnothing-of-this-name.so.1")
    assert not look()
    monkeypatch.setitem(hardware.DRIVERS, "linux", "libc.so.6")
    assert look()
    monkeypatch.setitem(hardware.DRIVERS, "linux", "libnothing-of-this-name.so.1")
    (tmp_path / "kfd").touch()
    assert look()


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="reads /proc/cpuinfo")
def test_the_flags_of_the_processor_say_what_pytorch_says():
    features = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    known = any(getattr(torch.cpu, name, lambda: False)() for name in features)
    assert native_precision(CPU) == ("bfloat16" if known else "float32")


def test_a_limit_of_memory_bounds_tiles_which_keep_their_size(monkeypatch):
    network = make_network(UNetConfig(width=16, depth=2))
    free = 4e9
    monkeypatch.setattr(placed, "free_memory", lambda device: free)
    engine = place(network, EXACT)
    assert engine.largest_tile() == 1280
    free = 1e9
    assert engine.largest_tile() == int((0.25e9 / (4 * 16 * 6)) ** 0.5)
    with limited_memory(2 * 10**9):
        first = engine.largest_tile()
        free = 0.5e9
        assert engine.largest_tile() == first == int((0.25e9 / (4 * 16 * 6)) ** 0.5)
    assert engine.largest_tile() < first


def test_tiles_of_volumes_are_large_since_their_margins_are(monkeypatch):
    network = make_network(UNetConfig(dims=3, width=2, depth=3))
    monkeypatch.setattr(placed, "free_memory", lambda device: 1e12)
    engine = place(network, EXACT)
    assert engine.largest_tile() == 256
    assert engine.largest_tile() ** 3 / (256 - 2 * max(network.config.margin)) ** 3 < 5
