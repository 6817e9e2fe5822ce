"""Seamless is a theorem: tiled equals untiled, for every network. And files in, files out."""

import csv

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.engine import EngineConfig, Placed
from contractile.errors import AlreadyThere, ContractileError, OutOfMemory
from contractile.images import read_labels, read_probabilities
from contractile.intensity import Normalization
from contractile.model import Model, ModelCard, save
from contractile.prediction import Field, Predictor, load, predict_files
from contractile.prediction.objects import tabulate_objects
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


@pytest.mark.parametrize("shape", [(2, 40, 40), (40,), (1, 1, 40, 40)])
def test_an_image_that_does_not_fit_the_model(shape):
    with pytest.raises(
        ValueError, match=r"image must have shape \(1, Y, X\) for this model, got .*; put channels first"
    ):
        predictor(make_model(NETWORKS["default"])).probabilities(np.zeros(shape))


def test_a_tile_of_nothing():
    with pytest.raises(ValueError, match="tile must be at least 1 pixel, got 0"):
        predictor(make_model(NETWORKS["default"]), tile=0)


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "one.tif", rng.integers(0, 255, (40, 50), np.uint8))
    tifffile.imwrite(tmp_path / "pages.tif", rng.integers(0, 255, (3, 32, 32), np.uint8), photometric="minisblack")
    save(make_model(NETWORKS["default"], class_values=(0, 255)), tmp_path / "model.safetensors")
    return tmp_path


def test_files_and_stacks(files):
    one = load(files / "model.safetensors", engine=EXACT)
    seen = []
    written = list(
        predict_files(
            one,
            [files / "one.tif", files / "pages.tif"],
            out=files / "out",
            products=("labels", "probabilities", "overlay"),
            progress=lambda name, done, total: seen.append((name, done, total)),
        )
    )
    assert [w.pages for w in written] == [1, 3]
    names = {path.name for path in (files / "out").iterdir()}
    assert names == {
        "one_labels.tif", "one_probabilities.tif", "one_overlay.png",
        "pages_labels.tif", "pages_probabilities.tif",
        "pages_0000_overlay.png", "pages_0001_overlay.png", "pages_0002_overlay.png",
    }  # fmt: skip
    assert {path for w in written for path in w.files} == set((files / "out").iterdir())
    assert tifffile.imread(files / "out" / "pages_labels.tif").shape == (3, 32, 32)
    assert tifffile.imread(files / "out" / "pages_probabilities.tif").shape == (3, 2, 32, 32)
    maps = read_probabilities(files / "out" / "one_probabilities.tif")
    np.testing.assert_array_equal(read_labels(files / "out" / "one_labels.tif"), one.decode(maps))
    assert seen[-1] == ("pages.tif", 3, 3)


def test_results_beside_their_images_are_not_predicted(files, caplog):
    one = load(files / "model.safetensors", engine=EXACT)
    products = ("labels", "probabilities", "overlay")
    (files / "model.safetensors").unlink()
    tifffile.imwrite(files / "other_labels.tif", np.zeros((20, 20), np.uint8))  # nobody's result
    for _ in range(2):
        written = list(predict_files(one, files, out=files, products=products))
        assert [w.source.name for w in written] == ["one.tif", "other_labels.tif", "pages.tif"]
    assert "earlier result(s)" in caplog.text


def test_labels_drawn_by_hand_are_not_replaced(files):
    one, drawn = load(files / "model.safetensors", engine=EXACT), np.ones((20, 20), np.uint8)
    tifffile.imwrite(files / "one_labels.tif", drawn)
    with pytest.raises(FileExistsError, match=r"one_labels.tif, which may have been drawn by hand; choose another"):
        list(predict_files(one, files / "one.tif", out=files))
    np.testing.assert_array_equal(tifffile.imread(files / "one_labels.tif"), drawn)
    (files / "one_labels.tif").write_bytes(b"not a picture")
    with pytest.raises(FileExistsError, match="choose another folder"):
        list(predict_files(one, files / "one.tif", out=files))


@pytest.mark.parametrize("name", ["one_overlay.png", "one_objects.csv", "one_probabilities.tif"])
def test_no_file_from_elsewhere_is_replaced(files, name):
    one = predictor(make_model(NETWORKS["default"], task="objects", class_values=()))
    everything = ("labels", "probabilities", "overlay", "objects")
    for _ in range(2):  # our own may be replaced
        list(predict_files(one, files / "one.tif", out=files / "out", products=everything))
    (files / "out" / name).write_bytes(b"mine")
    with pytest.raises(AlreadyThere, match=rf"{name}, which may have been drawn by hand; choose another folder"):
        list(predict_files(one, files / "one.tif", out=files / "out", products=everything))
    assert (files / "out" / name).read_bytes() == b"mine"


def test_a_file_that_would_not_be_written_stays_and_does_not_matter(files):
    one = load(files / "model.safetensors", engine=EXACT)
    (files / "out").mkdir()
    (files / "out" / "one_overlay.tif").write_bytes(b"mine")
    list(predict_files(one, files / "one.tif", out=files / "out", products=("labels", "overlay")))
    assert (files / "out" / "one_overlay.tif").read_bytes() == b"mine"


def test_pages_of_one_stack_have_one_size(files):
    with tifffile.TiffWriter(files / "mixed.tif") as writer:
        for side in (20, 24):
            writer.write(np.zeros((side, side), np.uint8), photometric="minisblack")
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ContractileError, match=r"mixed.tif: pages of one stack must have the same size .*; split the"):
        list(predict_files(one, files / "mixed.tif", out=files / "out"))


def two_boxes():
    labels = np.zeros((10, 12), np.int32)
    labels[2:5, 3:8], labels[6:, 0:2] = 1, 2
    pixels = np.arange(120, dtype=np.uint8).reshape(1, 10, 12)
    inside = np.where(labels == 1, 0.75, 0.25).astype(np.float32)
    return labels, pixels, np.stack([1 - inside, inside])


def test_a_table_of_objects():
    labels, pixels, maps = two_boxes()
    table = tabulate_objects(labels, pixels, maps, pixel_size_um=(0.5, 0.2))
    first, second = ({name: float(column[row]) for name, column in table.items()} for row in (0, 1))
    assert first == pytest.approx(
        {
            "id": 1, "area_px": 15, "centroid_y_px": 3, "centroid_x_px": 5,
            "box_top_px": 2, "box_left_px": 3, "box_bottom_px": 5, "box_right_px": 8,
            "mean_intensity": 41, "mean_probability": 0.75,
            "area_um2": 1.5, "centroid_y_um": 1.5, "centroid_x_um": 1.0,
        }
    )  # fmt: skip
    assert (second["id"], second["area_px"], second["mean_probability"]) == (2, 8, 0.25)
    assert list(tabulate_objects(labels, pixels, maps)) == list(table)[:10]


def test_a_table_of_a_volume_with_two_channels():
    labels, pixels, maps = two_boxes()
    volume, channels = np.stack([labels, labels]), np.stack([pixels[0], pixels[0] + 1])
    table = tabulate_objects(volume, np.stack([channels] * 2, axis=1), np.stack([maps] * 2, axis=1))
    assert {name: float(column[0]) for name, column in table.items()} == pytest.approx(
        {
            "id": 1, "volume_px": 30, "centroid_z_px": 0.5, "centroid_y_px": 3, "centroid_x_px": 5,
            "box_front_px": 0, "box_top_px": 2, "box_left_px": 3, "box_back_px": 2, "box_bottom_px": 5,
            "box_right_px": 8, "mean_intensity_0": 41, "mean_intensity_1": 42, "mean_probability": 0.75,
        }
    )  # fmt: skip


def test_tables_of_files_and_stacks(files):
    model = make_model(NETWORKS["default"], task="objects", class_values=())
    inputs = [files / "one.tif", files / "pages.tif"]
    list(predict_files(predictor(model), inputs, out=files / "out", products=("labels", "objects")))
    for name, pages in (("one", 1), ("pages", 3)):
        labels = np.reshape(tifffile.imread(files / "out" / f"{name}_labels.tif"), (pages, -1))
        with (files / "out" / f"{name}_objects.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == sum(page.max() for page in labels)
        for row in rows:
            assert int(row["area_px"]) == (labels[int(row.get("page", 0))] == int(row["id"])).sum()


def test_classes_have_no_table_of_objects(files):
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ValueError, match="products must not hold objects for a model of task classes"):
        list(predict_files(one, files / "one.tif", out=files / "out", products=("objects",)))


def test_unknown_products_are_refused(files):
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(
        ValueError, match="products must be among labels, probabilities, overlay, objects, got 'lables'"
    ):
        list(predict_files(one, files / "one.tif", out=files / "out", products=("lables",)))


def test_two_inputs_of_one_name_are_refused(files):
    (files / "more").mkdir()
    tifffile.imwrite(files / "more" / "one.tif", np.zeros((4, 4), np.uint8))
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ValueError, match=r"images must have different names, got .*one.tif and .*one.tif"):
        list(predict_files(one, [files / "one.tif", files / "more" / "one.tif"], out=files / "out"))


def test_an_image_of_the_wrong_kind_is_named(files):
    tifffile.imwrite(files / "rgb.tif", np.zeros((8, 8, 3), np.uint8), photometric="rgb")
    one = load(files / "model.safetensors", engine=EXACT)
    with pytest.raises(ValueError, match=r"rgb.tif.*image must have shape \(1, Y, X\)"):
        list(predict_files(one, files / "rgb.tif", out=files / "out"))
