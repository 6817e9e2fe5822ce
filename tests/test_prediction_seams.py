"""What tiles change: nothing with ours, and with the margin that a network needs; a lot with those of other tools."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.engine import EngineConfig, Placed
from contractile.errors import ContractileError, OutOfMemory, WrongType
from contractile.intensity import Normalization
from contractile.model import Model, ModelCard, combine
from contractile.prediction import Predictor
from contractile.prediction import seams as room
from contractile.prediction.peers import Habit, habits, lay
from contractile.prediction.seams import measure_seams
from contractile.prediction.tilings import Watched, see_all, see_tiles, take_part
from contractile.unet import UNet, UNetConfig

EXACT = EngineConfig(device="cpu", backend="torch", precision="float32")
NETWORKS = {
    "padded": UNetConfig(width=2, depth=2),
    "unpadded": UNetConfig(width=2, depth=2, padding="valid", norm="none"),
    "sigmoid": UNetConfig.compact().model_copy(update={"width": 2, "depth": 2}),
    "three classes, two channels": UNetConfig(width=2, depth=1, channels=2, classes=3),
    "volumes": UNetConfig(dims=3, width=2, depth=1),
    "volumes, coarse in Z": UNetConfig(dims=3, width=2, depth=1, flat_levels=(1, 0, 0)),
    "unpadded volumes": UNetConfig(dims=3, width=2, depth=1, padding="valid", norm="none"),
}


def make_predictor(config, *, change=None, engine=EXACT, tile=None, **card):
    torch.manual_seed(1)
    network = UNet(config).eval()
    for layer in network.modules():  # batch norm as after training: no statistic is trivial
        if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            torch.nn.init.normal_(layer.running_mean, std=0.2)
            torch.nn.init.uniform_(layer.running_var, 1, 2)
    if change is not None:
        with torch.no_grad():
            change(network)
    values = () if card.get("task") == "objects" else tuple(range(max(2, config.classes)))
    return Predictor(Model(network, ModelCard(network=config, class_values=values, **card)), engine=engine, tile=tile)


def noise(config, *shape, seed=0):
    return np.random.default_rng(seed).random((config.channels, *shape), np.float32)


def sized(config, longest=70):
    return (longest, longest + 21) if config.dims == 2 else (9, 20, 26)


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=2)
@given(data=st.data())
def test_our_tiles_change_nothing_and_keep_more_than_is_needed(name, data):
    config = NETWORKS[name]
    shape = [data.draw(st.integers(n - 5, n)) for n in sized(config)]
    found = measure_seams(make_predictor(config), noise(config, *shape, seed=data.draw(st.integers(0, 9))))
    assert max(found.whole.largest, found.moved.largest, found.float32) < 1e-5
    assert found.whole.pixels == found.moved.pixels == 0
    assert found.margins.kept == config.margin
    assert all(need <= kept for need, kept in zip(found.margins.needed, config.margin, strict=True))
    assert all(seen <= need for seen, need in zip(found.margins.visible, found.margins.needed, strict=True))
    assert found.shape == found.pixels.shape[1:] == tuple(shape)
    assert max(peer.largest for peer in found.peers) > 1e-3
    assert found.off_grid.largest > 1e-4
    assert found.objects is None
    assert found.crossing is None


def add_up(network):
    """All kernels add up what they see; the last one brings the sums back to scores of about one."""
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            torch.nn.init.ones_(layer.weight)
            torch.nn.init.zeros_(layer.bias)
    network.head.weight *= torch.tensor([0.0, 1e-6]).reshape(2, 1, 1, 1)


def felt(config, axis, side=64):
    """How many pixels deep the border of a tile is felt: the pixels that depend on what lies beyond it."""
    depends = [config._support(n, n, axis) for n in range(side)]
    return max(1 + min(n, side - 1 - n) for n, (low, high) in enumerate(depends) if low < 0 or high >= side)


@pytest.mark.parametrize("flat", [(), (1, 0)])
def test_the_margin_of_a_network_whose_reach_is_known(flat):
    config = UNetConfig(width=1, depth=1, norm="none", flat_levels=flat)
    plain = Normalization(kind="none")
    predictor = make_predictor(config, change=add_up, normalization=plain)
    found = measure_seams(predictor, 1 + noise(config, 96, 120))
    reach = tuple(felt(config, axis) for axis in range(2))
    assert reach == ((2, 8) if flat else (8, 8))
    assert found.margins.needed == reach
    assert found.margins.kept == config.margin
    for need, curve in zip(reach, found.margins.curves, strict=True):
        assert curve[need] <= found.margins.rounding < curve[need - 1]
        assert (np.diff(curve) <= 0).all()


def test_a_margin_too_small_by_one_is_felt():
    """The same by a way of its own: tiles that drop as much as is said are exact, and not with one pixel less."""
    config = UNetConfig(width=1, depth=1, norm="none", flat_levels=(1, 0))
    predictor = make_predictor(config, change=add_up, normalization=Normalization(kind="none"))
    image = 1 + noise(config, 40, 64)
    whole = predictor.network.eval()
    need = measure_seams(predictor, image).margins.needed[1]

    def see(values):
        with torch.inference_mode():
            return whole.class_scores(torch.from_numpy(values)[None]).softmax(dim=1)[0].numpy()

    whole_map, part = see(image), see(image[..., 20:])  # the grid of a pooling of 2 goes on
    assert np.abs(part[..., need:] - whole_map[..., 20 + need :]).max() < 1e-6
    assert np.abs(part[..., need - 1 :] - whole_map[..., 19 + need :]).max() > 1e-6


def test_the_tiles_that_are_measured_are_those_of_predictions():
    config = NETWORKS["padded"]
    predictor = make_predictor(config, tile=60)
    image = noise(config, 90, 75)
    maps = np.asarray(predictor.probabilities(image))
    apply = predictor.card.normalization.fit(image).apply
    part = take_part(image, config, apply, limit=60, most=4096)
    network = Watched(predictor.placed, lambda pixels: None)
    assert max(part.tile) <= 60
    np.testing.assert_allclose(see_tiles(network, part, (0, 0)), maps, atol=1e-6)
    np.testing.assert_allclose(see_all(network, part), maps, atol=1e-6)


def test_the_middle_of_a_large_image_has_its_true_neighbours(monkeypatch):
    monkeypatch.setattr("contractile.prediction.tilings.PART", {2: (64, 80)})
    config = NETWORKS["padded"]
    predictor, image = make_predictor(config), noise(config, 101, 200)
    found = measure_seams(predictor, image)
    assert found.start == (16, 60)
    assert found.shape == (101, 200)
    np.testing.assert_array_equal(found.pixels, image[:, 16:80, 60:140])
    part = take_part(image, config, predictor.card.normalization.fit(image).apply, limit=None, most=4096)
    maps = see_all(Watched(predictor.placed, lambda pixels: None), part)
    np.testing.assert_allclose(maps, predictor.probabilities(image)[:, 16:80, 60:140], atol=1e-6)


def test_objects_that_change_are_counted():
    """Discs of white: the network copies its input, so that only what lies beyond a border changes anything."""

    def copy(network):
        for layer in network.modules():
            if isinstance(layer, torch.nn.Conv2d):
                torch.nn.init.zeros_(layer.weight)
                torch.nn.init.zeros_(layer.bias)
        mean = network.contract[0][0].weight
        mean[:] = 1 / mean[0].numel()
        network.contract[0][2].weight[:, :, 1, 1] = torch.eye(len(mean))
        first, second = network.expand[-1][0].weight, network.expand[-1][2].weight
        first[:, len(mean) :, 1, 1] = torch.eye(len(mean))
        second[:, :, 1, 1] = torch.eye(len(mean))
        network.head.weight[1], network.head.bias[1] = 20 / len(mean), -14

    config = UNetConfig(width=2, depth=1, norm="none")
    predictor = make_predictor(config, change=copy, task="objects", normalization=Normalization(kind="none"))
    image = np.zeros((1, 96, 96), np.float32)
    for top, left in itertools.product(range(4, 96, 24), range(4, 96, 24)):
        image[:, top : top + 14, left : left + 14] = 1
    found = measure_seams(predictor, image, tile=48)
    assert found.objects == 16
    assert found.whole.objects == found.moved.objects == 0
    assert found.crossing == len(crossed(found))
    zeros = found.peers[0]
    assert zeros.title == "zeros, no overlap"
    assert zeros.largest > 0.9
    assert 0 < zeros.pixels < 0.1


def crossed(found):
    """The squares of the test above that a line between our tiles goes through: each is 12 pixels wide."""
    spans = [(top + 1, top + 13) for top in range(4, 96, 24)]
    return [
        (y, x)
        for y, x in itertools.product(spans, spans)
        if any(y[0] < line < y[1] for line in found.whole.lines[0])
        or any(x[0] < line < x[1] for line in found.whole.lines[1])
    ]


def test_windows_of_other_tools():
    config = NETWORKS["padded"]
    image = noise(config, 200, 100)
    part = take_part(image, config, lambda values: values, limit=None, most=4096)
    for habit in habits(2):
        count = np.zeros(part.size, int)
        for window in lay(part, habit):
            assert all(side.start % 4 == 0 for side in window)
            count[part.overlap(window)[0]] += 1
        assert count.min() > 0
        assert (count.max() > 1) == (habit.overlap > 0)
    assert Habit("mirror", 0.25, ("equal", "gaussian")).titles() == [
        "mirrored, 25% overlap, mean",
        "mirrored, 25% overlap, Gaussian",
    ]
    assert [len(habits(dims)) for dims in (2, 3)] == [6, 4]


def test_progress_ends_where_it_said():
    calls = []
    for name in ("padded", "unpadded"):
        config = NETWORKS[name]
        calls.clear()
        measure_seams(make_predictor(config), noise(config, 60, 90), progress=lambda *call: calls.append(call))
        done, total = zip(*calls, strict=True)
        assert set(total) == {done[-1]}
        assert list(done) == sorted(done)


def test_a_fast_engine_is_measured_beside_float32(monkeypatch):
    config = NETWORKS["padded"]
    engine = EngineConfig(device="cpu", backend="torch", precision="bfloat16")
    rounded = make_predictor(config, engine=engine)
    monkeypatch.setattr("contractile.engine.Agreement.holds", lambda self: True)
    calls = []
    found = measure_seams(rounded, noise(config, 60, 90), progress=lambda *call: calls.append(call))
    assert found.precision == "bfloat16"
    assert found.float32 < 1e-5
    assert found.margins.rounding < 1e-4
    assert found.whole.largest < 0.1
    assert calls[-1][0] == calls[-1][1]


def test_an_image_that_the_model_wants_smaller_is_measured_as_the_network_sees_it():
    config = NETWORKS["padded"]
    predictor = make_predictor(config, task="objects", diameter=20.0)
    resized = Predictor(Model(predictor.network, predictor.card), engine=EXACT, diameter=40)
    found = measure_seams(resized, noise(config, 120, 160))
    assert found.scale == 0.5
    assert found.shape == (60, 80)
    assert found.whole.largest < 1e-5


def test_of_several_networks_the_first_is_measured_and_that_is_said(caplog):
    config = NETWORKS["padded"]
    models = [make_predictor(config).model for _ in range(2)]
    measure_seams(Predictor(combine(models), engine=EXACT), noise(config, 60, 60))
    assert "the model is the mean of 2 networks, of which the first is measured" in caplog.text


def test_a_short_axis_is_not_cut():
    config = NETWORKS["padded"]
    found = measure_seams(make_predictor(config), noise(config, 3, 100))
    assert found.whole.lines[0] == ()
    assert len(found.whole.lines[1]) > 1
    assert found.moved.largest < 1e-5


@pytest.mark.parametrize(
    ("tile", "words"),
    [
        (55, "tile must be at least 56 pixels (two margins of 24 and two steps of the pooling, 4) to be moved on the "
         "grid of this network, got 55; use 56 or more, or leave it out"),
    ],
)  # fmt: skip
def test_a_tile_too_small(tile, words):
    config = NETWORKS["padded"]
    assert config.margin == (24, 24)
    for predictor, more in ((make_predictor(config), {"tile": tile}), (make_predictor(config, tile=tile), {})):
        with pytest.raises(ContractileError) as error:
            measure_seams(predictor, noise(config, 60, 60), **more)
        assert str(error.value) == words


def test_a_tile_that_would_hold_the_whole_image(caplog):
    config = NETWORKS["padded"]
    found = measure_seams(make_predictor(config), noise(config, 60, 60), tile=500)
    assert found.tile == (68, 68)
    assert caplog.messages == [
        "tiles of 500 pixels would hold all 60 x 60 pixels that are measured: tiles of 68 x 68 are taken"
    ]


def test_an_image_too_small_for_two_tiles():
    config = NETWORKS["padded"]
    with pytest.raises(ContractileError) as error:
        measure_seams(make_predictor(config), noise(config, 8, 8))
    assert str(error.value) == (
        "image must have at least 9 x 9 pixels along one of its axes to be cut into two tiles, got 8 x 8; give a "
        "larger image"
    )


def test_what_cannot_be_measured():
    config = NETWORKS["padded"]
    with pytest.raises(WrongType, match=r"predictor must be a Predictor, got 'nuclei'; use contractile\.load"):
        measure_seams("nuclei", noise(config, 60, 60))
    with pytest.raises(WrongType, match="progress must be a function"):
        measure_seams(make_predictor(config), noise(config, 60, 60), progress=3)
    with pytest.raises(ContractileError, match=r"image must have shape \(1, Y, X\) for this model, got \(2, 60, 60\)"):
        measure_seams(make_predictor(config), np.zeros((2, 60, 60)))


class Disk:
    """An image on disk, of which nobody looked at every pixel."""

    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, pixels.dtype

    def __getitem__(self, region):
        return self.pixels[region]


def test_numbers_that_are_none(monkeypatch):
    """They are found where the statistics of a large image did not meet them."""
    config = NETWORKS["padded"]
    image = noise(config, 60, 60)
    image[0, 30, 30] = np.nan
    predictor, fit = make_predictor(config, normalization=Normalization(kind="none")), Normalization.fit
    monkeypatch.setattr(Normalization, "fit", lambda self, pixels: fit(self, np.zeros((1, 9, 9))))
    with pytest.raises(ContractileError, match=r"image must hold finite numbers where it is measured, got \d+ NaN or"):
        measure_seams(predictor, Disk(image))


def test_a_part_that_does_not_fit_into_memory(monkeypatch, caplog):
    config = NETWORKS["padded"]
    run = Placed.__call__

    def guarded(placed, batch):
        if batch.size > 150**2:
            raise OutOfMemory("too large", "use a smaller tile")
        return run(placed, batch)

    predictor = make_predictor(config)
    monkeypatch.setattr(Placed, "__call__", guarded)
    found = measure_seams(predictor, noise(config, 200, 200))
    assert max(found.pixels.shape) < 110
    assert caplog.messages == ["out of memory: a smaller part of the image is measured"]
    monkeypatch.setattr(room, "_measure", lambda *_: guarded(None, np.zeros((200, 200))))
    with pytest.raises(OutOfMemory, match="too large"):
        measure_seams(predictor, noise(config, 200, 200))
