"""Blocks that are done by Dask workers: the same files, also where workers are killed."""

import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from conftest import entries
from test_prediction import EXACT, NETWORKS, make_model

from contractile import grid
from contractile.decode import Decoding
from contractile.engine import Placed
from contractile.errors import ContractileError, OutOfMemory, WrongType
from contractile.grid import Mosaic
from contractile.images import read_labels, read_probabilities
from contractile.model import combine
from contractile.prediction import Predictor, blocks, lazy, predict_files
from contractile.prediction.seams import measure_seams
from contractile.unet import UNetConfig
from contractile.work import connect, forget

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
pytest.importorskip("distributed")

SHAPE = (2100, 2150)  # four blocks, of which three are small
PRODUCTS = ("labels", "probabilities", "objects")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """An image of four blocks, and the results of this process."""
    folder = tmp_path_factory.mktemp("dask")
    rng = np.random.default_rng(0)
    tifffile.imwrite(folder / "a.tif", np.kron(rng.integers(0, 255, (35, 43), np.uint8), np.ones((60, 50), np.uint8)))
    assert tifffile.imread(folder / "a.tif").shape == SHAPE
    predict(folder, "here")
    return folder


def predict(folder, out, **options):
    model = make_model(NETWORKS["default"], task="objects", decoding=Decoding(threshold=0.5, core=0.6, smooth=1))
    predictor = Predictor(model, engine=EXACT)
    return list(predict_files(predictor, folder / "a.tif", out=folder / out, products=PRODUCTS, **options))


def check_same(place, out):
    """The same values and table; an OME-TIFF has a number of its own."""
    for read, name in ((read_labels, "a_labels.tif"), (read_probabilities, "a_probabilities.tif")):
        np.testing.assert_array_equal(read(place / out / name), read(place / "here" / name))
    assert (place / out / "a_objects.csv").read_bytes() == (place / "here" / "a_objects.csv").read_bytes()
    assert len(entries(place / out)) == 3


def test_workers_give_the_files_of_one_process(place):
    assert len(Mosaic.of(SHAPE)) == 4
    seen = []
    with connect("local", workers=2) as work:
        predict(place, "two", work=work, progress=lambda *told: seen.append(told))
    check_same(place, "two")
    assert seen[-1] == ("a.tif", 4, 4)


def test_a_killed_worker_changes_nothing(place, monkeypatch):
    with connect("local", workers=2) as work:

        def kill():
            for _ in range(2):
                time.sleep(1.5)
                running = work.client.run(os.getpid)
                os.kill(next(iter(running.values())), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        predict(place, "killed", work=work)
        killer.join()
    check_same(place, "killed")


def test_what_one_process_began_workers_finish(place, monkeypatch):
    done = []
    real = blocks.Segmented.compute

    def stop(self, number):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(number)
        return real(self, number)

    monkeypatch.setattr(blocks, "IN_MEMORY", 1000)
    monkeypatch.setattr("contractile.prediction.unfinished.IN_MEMORY", 1000)
    monkeypatch.setattr(blocks.Segmented, "compute", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(place, "begun")
    seen = []
    with connect("local", workers=1) as work:
        predict(place, "begun", work=work, resume=True, progress=lambda *told: seen.append(told))
    assert seen[0] == ("a.tif", 2, 4)
    check_same(place, "begun")


# a Dask array in, a Dask array out


@pytest.fixture
def lazy_place(monkeypatch):
    monkeypatch.setitem(grid.BLOCK, 2, (64, 64))
    model = make_model(NETWORKS["default"])
    pixels = np.random.default_rng(0).integers(0, 255, (150, 170), np.uint8).astype(np.float32)
    return Predictor(model, engine=EXACT), pixels[None]


def test_a_dask_array_gives_a_lazy_dask_array(lazy_place):
    predictor, pixels = lazy_place
    read = []

    def load(block_info=None):
        read.append(block_info[None]["chunk-location"])
        return pixels[tuple(slice(*one) for one in block_info[None]["array-location"])]

    image = da.map_blocks(load, chunks=da.core.normalize_chunks((1, 50, 60), pixels.shape), dtype=pixels.dtype)
    found = predictor.probabilities(image)
    expected = np.asarray(predictor.probabilities(pixels))
    assert isinstance(found, da.Array)
    assert (found.shape, found.dtype, found.chunks[1]) == (expected.shape, np.float32, (64, 64, 22))
    read.clear()
    np.testing.assert_allclose(found[:, :10, :10].compute(), expected[:, :10, :10], atol=1e-6)
    assert len(read) < 16  # not the whole image
    np.testing.assert_allclose(found.compute(scheduler="threads"), expected, atol=1e-6)
    assert any("network-0" in str(key) for key in found.dask)


def test_a_dask_array_on_workers(lazy_place):
    predictor, pixels = lazy_place
    found = predictor.probabilities(da.from_array(pixels, chunks=(1, 80, 80)))
    with connect("local", workers=1) as work:
        values = work.client.compute(found).result()
    np.testing.assert_allclose(values, np.asarray(predictor.probabilities(pixels)), atol=1e-5)


def test_all_networks_of_a_model_see_a_dask_array(lazy_place):
    """The first one has the smallest margin."""
    _, pixels = lazy_place
    small, large = make_model(UNetConfig(width=2, depth=1)), make_model(NETWORKS["default"])
    predictor = Predictor(combine([small, large]), engine=EXACT)
    expected = np.asarray(predictor.probabilities(pixels))
    assert np.abs(expected - np.asarray(Predictor(small, engine=EXACT).probabilities(pixels))).max() > 1e-2
    found = predictor.probabilities(da.from_array(pixels, chunks=(1, 80, 80)))
    np.testing.assert_allclose(found.compute(scheduler="threads"), expected, atol=1e-5)


def names_of_tasks(found):
    return {str(key) for key in found.dask if "network" in str(key)}


@pytest.mark.parametrize("change", [{"tile": 64}, {"precision": "bfloat16"}, {"backend": "another"}])
def test_tasks_of_another_tile_or_engine_have_other_names(lazy_place, change):
    predictor, pixels = lazy_place
    image = da.from_array(pixels, chunks=(1, 80, 80))
    names = names_of_tasks(predictor.probabilities(image))
    assert len(names) == 9
    other = Predictor(predictor.model, engine=EXACT, tile=change.pop("tile", None))
    other.placed = replace(predictor.placed, **change)
    assert names.isdisjoint(names_of_tasks(other.probabilities(image)))
    assert names == names_of_tasks(predictor.probabilities(image))


def test_each_curve_has_a_result_of_its_own(lazy_place):
    predictor, pixels = lazy_place
    image = da.from_array(pixels, chunks=(1, 80, 80))
    curve = predictor.card.normalization.fit(pixels)
    curves = [curve, replace(curve, offset=curve.offset + 40)]
    found = dask.compute(*(predictor.probabilities(image, curve=one) for one in curves), scheduler="threads")
    for values, one in zip(found, curves, strict=True):
        np.testing.assert_allclose(values, np.asarray(predictor.probabilities(pixels, curve=one)), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_memory_that_ran_out_is_known_to_the_next_block(lazy_place, monkeypatch, caplog):
    _, pixels = lazy_place
    predictor = Predictor(make_model(UNetConfig(width=2, depth=1)), engine=EXACT)
    expected, run = np.asarray(predictor.probabilities(pixels)), Placed.__call__
    found = predictor.probabilities(da.from_array(pixels, chunks=(1, 80, 80)))

    def guarded(placed, batch):
        if batch.size > 60**2:
            raise OutOfMemory("too large", "use a smaller tile")
        return run(placed, batch)

    monkeypatch.setattr(Placed, "__call__", guarded)
    forget()
    np.testing.assert_allclose(found.compute(scheduler="threads"), expected, atol=1e-5)
    assert caplog.text.count("out of memory with tiles of") == 1


def test_labels_of_a_dask_array_are_those_of_its_pixels(lazy_place):
    predictor, pixels = lazy_place
    found = predictor.segment(da.from_array(pixels, chunks=(1, 80, 80)))
    assert np.mean(found == predictor.segment(pixels)) > 0.999


def test_what_takes_no_dask_array(lazy_place):
    predictor, pixels = lazy_place
    image = da.from_array(pixels)
    line = (
        "image must be an array in memory, or one that reads its regions from disk, got a Dask array; "
        "give image.compute()"
    )
    for call in (predictor.assess, lambda pixels: measure_seams(predictor, pixels)):
        with pytest.raises(WrongType) as error:
            call(image)
        assert str(error.value) == line


def test_what_a_dask_array_cannot_have(lazy_place):
    predictor, pixels = lazy_place
    with pytest.raises(ContractileError, match="tta must be False for a Dask array, got True; give an array"):
        predictor.probabilities(da.from_array(pixels), tta=True)
    with pytest.raises(ContractileError, match=r"this model must see this one resampled by 0\.5; resample it first"):
        lazy.refuse(0.5, False)
