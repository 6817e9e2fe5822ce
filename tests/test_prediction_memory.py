"""Memory that is short: tiles become smaller, before it runs out and after it has, and the result is the same."""

import importlib.util
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch

from contractile.cli.program import app
from contractile.engine import EngineConfig
from contractile.engine.openvino_backend import OpenVinoBackend
from contractile.errors import ContractileError, NotFound, OutOfMemory
from contractile.memory import LEAST, limited_memory, memory_limit
from contractile.model import Model, ModelCard
from contractile.prediction import Predictor
from contractile.unet import UNet, UNetConfig
from contractile.work.local_workers import _share, within_limit

CONFIG = UNetConfig(width=4, depth=2)
MESSAGES = (
    "Exception from src/inference/src/dev/plugin.cpp:54:\nstd::bad_alloc",
    "Check 'ptr' failed at src/plugins/intel_cpu/src/cpu_memory.cpp:257:\nFailed to allocate 114065408 bytes of memory",
    "Exception from src/inference/src/dev/plugin.cpp:54:\ncan't alloc",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes",
)
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra contractile[openvino] is not installed"
)


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    card = ModelCard(network=CONFIG, task="objects", diameter=12.0)
    engine = EngineConfig(device="cpu", backend="openvino", precision="float32")
    return Predictor(Model(UNet(CONFIG).eval(), card), engine=engine)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((150, 170), np.float32)


@needs_openvino
@pytest.mark.parametrize("message", MESSAGES)
def test_tiles_shrink_until_openvino_has_memory_for_them(monkeypatch, caplog, predictor, image, message):
    expected = np.asarray(predictor.probabilities(image))
    run, seen = OpenVinoBackend.__call__, []

    def hungry(self, batch):
        seen.append(max(batch.shape[2:]))
        if seen[-1] > 100:
            raise RuntimeError(message)
        return run(self, batch)

    monkeypatch.setattr(OpenVinoBackend, "__call__", hungry)
    found = np.asarray(predictor.probabilities(image))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert "out of memory with tiles of" in caplog.text
    assert seen[0] > 100 >= seen[-1]


@needs_openvino
def test_memory_that_does_not_suffice_for_the_smallest_tile_is_told(monkeypatch, predictor, image):
    field = predictor.probabilities(image)

    def starve(self, batch):
        raise MemoryError

    monkeypatch.setattr(OpenVinoBackend, "__call__", starve)
    with pytest.raises(OutOfMemory, match=r"a batch of shape \(1, 1, \d+, \d+\) does not fit on cpu; use smaller"):
        np.asarray(field)


def test_a_limit_gives_smaller_tiles_and_the_same_result(monkeypatch, image):
    torch.manual_seed(0)
    model = Model(UNet(CONFIG).eval(), ModelCard(network=CONFIG, task="objects", diameter=12.0))
    exact = EngineConfig(device="cpu", backend="torch", precision="float32")
    free, limited = Predictor(model, engine=exact), Predictor(model, engine=exact)
    expected, steps = np.asarray(free.probabilities(image)), []
    monkeypatch.setattr("contractile.engine.placed.free_memory", lambda device: 4e6)
    with limited_memory(2 * 10**9):
        found = np.asarray(limited.probabilities(image, progress=lambda done, total: steps.append(total)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert steps[-1] > 1


SCRIPT = """
import sys
from contractile.cli.program import app
app(sys.argv[1:], standalone_mode=False)
loaded = {"torch", "dask", "distributed", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""


def start(*words):
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_openvino
def test_a_warm_start_needs_no_pytorch(tmp_path):
    from contractile.images import write_labels
    from contractile.model import load

    image = tmp_path / "image.tif"
    write_labels(image, np.random.default_rng(0).integers(0, 200, (64, 64)).astype(np.int32))
    device = EngineConfig(device="cpu")
    warm = Predictor(load("nuclei"), engine=device)
    np.asarray(warm.probabilities(np.zeros((64, 64), np.float32)))
    start("predict", "nuclei", image, "--out", tmp_path / "out", "--device", "cpu", "--diameter", "20")
    assert (tmp_path / "out" / "image_labels.tif").exists()


def test_a_look_at_a_model_needs_no_pytorch():
    assert "parameters" in start("info", "nuclei")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lots", "--memory must be a number of bytes such as 2GB, 1500MB or 2GiB, got 'lots'; use 2GB"),
        ("1MB", "--memory must be at least 1000 MB, which a prediction takes with small tiles, got 1 MB; give 1000"),
    ],
)
def test_a_limit_that_is_none_or_too_small_is_refused(text, line):
    with pytest.raises(ContractileError) as caught:
        app(["predict", "nuclei", "image.tif", "--out", "out", "--memory", text], standalone_mode=False)
    assert str(caught.value).startswith(line)


def test_a_limit_ends_with_the_command(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("contractile.cli.words.refuse_image", lambda model, verb: None)
    monkeypatch.setattr("contractile.model.load", lambda place: seen.append(memory_limit()) or load_nothing())
    with pytest.raises(NotFound, match="nothing"):
        app(["predict", "nuclei", "image.tif", "--out", str(tmp_path), "--memory", "3GB"], standalone_mode=False)
    assert (seen, memory_limit()) == ([3 * 10**9], None)


def load_nothing():
    raise NotFound("nothing is there", "give a model")


@pytest.mark.parametrize(
    ("limit", "number", "share"), [(None, 8, None), (10**10, 8, 10**10 // 9), (2 * LEAST, 1, LEAST)]
)
def test_local_workers_share_a_limit(limit, number, share):
    with nullcontext() if limit is None else limited_memory(limit):
        assert within_limit(8) == number
        assert _share(number) == share
