"""Blocks done by processes that live longer than a call: nothing of an earlier call is taken for a later one."""

import contextlib

import numpy as np
import pytest
import tifffile
from test_prediction import EXACT, make_model

from contractile import grid
from contractile.errors import ContractileError
from contractile.images import read_labels, read_probabilities
from contractile.prediction import Predictor, inputs, predict_files, remote
from contractile.unet import UNetConfig
from contractile.work import forget, here

MAPS = ("labels", "probabilities")


@pytest.fixture(autouse=True)
def worker(monkeypatch):
    """This process is a worker that has done nothing yet; blocks have 32 x 32 pixels."""
    monkeypatch.setitem(grid.BLOCK, 2, (32, 32))
    forget()
    yield
    forget()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number, name in enumerate("ab"):
        write(tmp_path / "in" / f"{name}.tif", seed=number)
    return tmp_path


def write(path, *, seed):
    tifffile.imwrite(path, np.random.default_rng(seed).integers(0, 255, (50, 70), np.uint8))


def predict(folder, out, *, names="a", work=None, **options):
    predictor = Predictor(make_model(UNetConfig(width=2, depth=1), class_values=(0, 255)), engine=EXACT)
    images = [folder / "in" / f"{name}.tif" for name in names]
    return list(predict_files(predictor, images, out=folder / out, work=work, **options))


def check_same(folder, products):
    """What the worker wrote is what is written without it."""
    for product, read in (("labels", read_labels), ("probabilities", read_probabilities)):
        if product in products:
            found, expected = (read(folder / out / f"a_{product}.tif") for out in ("there", "here"))
            np.testing.assert_array_equal(found, expected)
            assert np.asarray(expected).any()


@pytest.mark.parametrize(
    ("first", "second"), [({}, {"products": MAPS}), ({"products": MAPS}, {"tta": True, "products": MAPS})]
)
def test_another_option_is_heard(folder, first, second):
    predict(folder, "there", work=here(), **first)
    predict(folder, "there", work=here(), **second)
    predict(folder, "here", **second)
    check_same(folder, second["products"])


def test_a_replaced_image_is_read_again(folder):
    predict(folder, "there", work=here(), products=MAPS)
    write(folder / "in" / "a.tif", seed=5)
    predict(folder, "there", work=here(), products=MAPS)
    predict(folder, "here", products=MAPS)
    check_same(folder, MAPS)


class Elsewhere:
    """Workers that were started in another folder."""

    def __init__(self, folder):
        self.folder, self.work = folder, here()

    def each(self, function, items, *, name):
        def there(item):
            with contextlib.chdir(self.folder):
                return function(item)

        return self.work.each(there, items, name=name)


def test_workers_in_another_folder_find_relative_places(folder, monkeypatch):
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder)
    model = make_model(UNetConfig(width=2, depth=1), task="objects", class_values=())
    for work, out in ((Elsewhere(folder / "elsewhere"), "there"), (None, "here")):
        assert list(predict_files(Predictor(model, engine=EXACT), "in/a.tif", out=out, work=work))
    np.testing.assert_array_equal(read_labels("there/a_labels.tif"), read_labels("here/a_labels.tif"))


def test_a_call_that_ends_takes_nothing_from_another_one(folder):
    class Meanwhile:
        """While this call begins, another one with the same model and folder begins and ends."""

        def each(self, function, items, *, name):
            if name == "network":
                predict(folder, "there", names="b", work=here())
            return here().each(function, items, name=name)

    assert predict(folder, "there", work=Meanwhile())
    assert not list((folder / "there").glob(".*contractile-work"))


@pytest.fixture
def closed(monkeypatch):
    """The names of the images that the worker has closed."""
    names = []

    class Watched(inputs.Reader):
        def read(self, source):
            image = super().read(source)
            image._file.callback(names.append, source.name)
            return image

    monkeypatch.setattr(inputs, "IN_MEMORY", 1000)  # so that images are read region by region
    monkeypatch.setattr(remote, "Reader", Watched)
    return names


def test_an_image_is_closed_before_the_next_one_is_opened(folder, closed):
    assert len(predict(folder, "there", names="ab", work=here())) == 2
    assert closed == ["a"]
    forget()
    assert closed == ["a", "b"]


def test_an_image_that_cannot_be_predicted_is_closed(folder, closed, monkeypatch):
    def refuse(*_, **__):
        raise ContractileError("it is refused", "give another one")

    monkeypatch.setattr(remote, "Segmented", refuse)
    with pytest.raises(ContractileError, match="it is refused; give another one"):
        predict(folder, "there", work=here())
    assert closed == ["a"]
