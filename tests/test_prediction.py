"""Seamless is a theorem: tiled equals untiled, for every network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.engine import EngineConfig, Placed
from contractile.errors import OutOfMemory
from contractile.intensity import Normalization
from contractile.model import Model, ModelCard
from contractile.prediction import Field, Predictor
from contractile.unet import UNet, UNetConfig

EXACT = EngineConfig(device="cpu", precision="float32")
NETWORKS = {
    "paper": UNetConfig.paper().model_copy(update={"width": 2}),
    "default": UNetConfig(width=2),
    "compact": UNetConfig.compact().model_copy(update={"width": 2}),
    "valid 3-D": UNetConfig(dims=3, width=2, depth=2, padding="valid", norm="none"),
    "padded 3-D": UNetConfig(dims=3, width=2, depth=1),
    "padded 3-D, coarse in Z": UNetConfig(dims=3, width=2, depth=2, flat_levels=(1, 0, 0)),
    "two channels, three classes": UNetConfig(width=2, depth=2, channels=2, classes=3),
}


def make_model(config, **card):
    torch.manual_seed(1)
    network = UNet(config).eval()
    for layer in network.modules():  # batch norm as after training: no statistic is trivial
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.normal_(layer.running_mean, std=0.2)
            torch.nn.init.uniform_(layer.running_var, 1, 2)
    values = tuple(range(max(2, config.classes)))
    return Model(network, ModelCard(network=config, **{"class_values": values, **card}))


def predictor(model, tile=None):
    return Predictor(model, engine=EXACT, tile=tile)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=8)
@given(data=st.data())
def test_tiled_equals_untiled(name, data):
    config = NETWORKS[name]
    longest = 150 if config.dims == 2 else 18
    shape = tuple(data.draw(st.integers(1, longest)) for _ in range(config.dims))
    image = np.random.default_rng(0).random((config.channels, *shape), np.float32)
    model = make_model(config)
    whole = np.asarray(predictor(model, tile=4096).probabilities(image))
    smallest = config.input_size(max(config.stride)) + (0 if config.padding == "valid" else 2 * max(config.margin))
    tiled = predictor(model, tile=smallest + data.draw(st.integers(0, 2)) * max(config.stride)).probabilities(image)
    assert whole.shape == (max(2, config.classes), *shape)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (17, 1), (5, 333)])
@pytest.mark.parametrize("name", ["paper", "default"])
def test_narrow_images(name, shape):
    image = np.random.default_rng(0).random((1, *shape), np.float32)
    model = make_model(NETWORKS[name])
    whole = predictor(model).probabilities(image)
    assert whole.shape == (2, *shape)
    np.testing.assert_allclose(predictor(model, tile=1).probabilities(image), whole, atol=1e-5)


def test_the_border_is_mirrored_context():
    """An image and its mirrored extension agree on the image, up to intensity statistics."""
    model = make_model(NETWORKS["default"], normalization=Normalization(kind="none"))
    image = np.random.default_rng(0).random((1, 40, 48), np.float32)
    extended = np.pad(image, [(0, 0), (96, 96), (96, 96)], mode="reflect")
    inner = predictor(model).probabilities(extended)[:, 96:136, 96:144]
    np.testing.assert_allclose(predictor(model).probabilities(image), inner, atol=1e-5)


def test_test_time_averaging_commutes_with_the_symmetries():
    model = make_model(NETWORKS["default"])
    image = np.random.default_rng(0).random((1, 32, 48), np.float32)
    average = np.asarray(predictor(model).probabilities(image, tta=True))
    turned = np.asarray(predictor(model).probabilities(np.rot90(image, 1, (1, 2))[:, :, ::-1], tta=True))
    np.testing.assert_allclose(np.rot90(turned[:, :, ::-1], -1, (1, 2)), average, atol=1e-5)
    assert np.abs(average - np.asarray(predictor(model).probabilities(image))).max() > 1e-4


def test_labels_are_the_files_class_values():
    model = make_model(NETWORKS["default"], class_values=(0, 255))
    labels = Predictor(model).segment(np.random.default_rng(0).random((40, 40), np.float32))
    assert labels.shape == (40, 40)
    assert set(np.unique(labels)) <= {0, 255}
    assert Predictor(model).probabilities(np.zeros((40, 40), np.float32)).shape == (2, 40, 40)


def test_objects_are_numbered():
    model = make_model(NETWORKS["default"], task="objects", class_values=())
    maps = np.zeros((2, 9, 9), np.float32)
    maps[1, 1:4, 1:8] = maps[1, 6:8, 2:5] = 0.9
    labels = predictor(model).decode(maps)
    assert labels[2, 2] == 1
    assert labels[6, 3] == 2
    assert Predictor(model).segment(np.zeros((20, 20))).dtype == np.int32


def test_progress_counts_tiles_and_views():
    model, calls = make_model(NETWORKS["default"]), []

    def note(done, total):
        calls.append((done, total))

    predictor(model, tile=240).segment(np.zeros((1, 90, 50)), progress=note)
    assert calls == [(n, 4) for n in (1, 2, 3, 4)]
    calls.clear()
    predictor(model).segment(np.zeros((1, 9, 9)), tta=True, progress=note)
    assert calls == [(n, 8) for n in range(1, 9)]


def test_nothing_is_computed_before_the_field_is_sliced():
    calls = []
    field = predictor(make_model(NETWORKS["default"]), tile=240).probabilities(
        np.zeros((1, 900, 900)), progress=lambda done, total: calls.append(total)
    )
    assert isinstance(field, Field)
    assert not calls
    assert field[1, 400:410, 500:520].shape == (10, 20)
    assert calls == [1]


@pytest.fixture
def small_memory(monkeypatch):
    """Lets only batches of so many pixels pass through a network."""

    def limit(pixels):
        run = Placed.__call__

        def guarded(placed, batch):
            if batch.size > pixels:
                raise OutOfMemory("too large", "use a smaller tile")
            return run(placed, batch)

        monkeypatch.setattr(Placed, "__call__", guarded)

    return limit


def test_tiles_are_halved_when_memory_runs_out(small_memory, caplog):
    one = predictor(make_model(NETWORKS["default"]))
    image = np.random.default_rng(0).random((1, 400, 400), np.float32)
    whole = np.asarray(one.probabilities(image))
    small_memory(300**2)
    np.testing.assert_allclose(one.probabilities(image), whole, atol=1e-5)
    assert "out of memory with tiles of" in caplog.text
    small_memory(0)
    with pytest.raises(MemoryError, match="too large"):
        np.asarray(one.probabilities(image))


def test_tiles_stay_small_for_the_rest_of_an_image(small_memory, caplog):
    """In all its blocks and views; the next image is tried with large ones again."""
    one = predictor(make_model(UNetConfig(width=2, depth=1)))
    image = np.random.default_rng(0).random((1, 200, 200), np.float32)
    field = one.probabilities(image, tta=True)
    whole = np.asarray(field)
    small_memory(150**2)
    for part in (slice(0, 100), slice(100, 200)):
        np.testing.assert_allclose(field[:, part], whole[:, part], atol=1e-5)
    assert caplog.text.count("out of memory with tiles of") == 1
    np.asarray(one.probabilities(image))
    assert caplog.text.count("out of memory with tiles of") == 2


@pytest.mark.parametrize("shape", [(2, 40, 40), (40,), (1, 1, 40, 40)])
def test_an_image_that_does_not_fit_the_model(shape):
    with pytest.raises(
        ValueError, match=r"image must have shape \(1, Y, X\) for this model, got .*; put channels first"
    ):
        predictor(make_model(NETWORKS["default"])).probabilities(np.zeros(shape))


def test_a_tile_of_nothing():
    with pytest.raises(ValueError, match="tile must be a whole number of at least 1 pixel, got 0"):
        predictor(make_model(NETWORKS["default"]), tile=0)
