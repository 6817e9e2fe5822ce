"""Blocks that are done by Dask workers: the same files, also where workers are killed."""

import os
import signal
import threading
import time

import numpy as np
import pytest
import tifffile
from conftest import entries
from test_prediction import EXACT, NETWORKS, make_model

from contractile import grid
from contractile.decode import Decoding
from contractile.errors import ContractileError
from contractile.grid import Mosaic
from contractile.images import read_labels, read_probabilities
from contractile.prediction import Predictor, blocks, lazy, predict_files
from contractile.work import connect

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


def test_what_a_dask_array_cannot_have(lazy_place):
    predictor, pixels = lazy_place
    with pytest.raises(ContractileError, match="tta must be False for a Dask array, got True; give an array"):
        predictor.probabilities(da.from_array(pixels), tta=True)
    with pytest.raises(ContractileError, match=r"this model must see this one resampled by 0\.5; resample it first"):
        lazy.refuse(0.5, False)
