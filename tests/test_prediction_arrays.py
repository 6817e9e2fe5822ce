"""What may be given as an image: numbers of any kind are taken as they are, all else gets one clear line."""

import numpy as np
import pytest
import torch
from PIL import Image
from test_prediction import EXACT, make_model

from contractile.errors import ContractileError
from contractile.prediction import Predictor
from contractile.prediction.arrays import as_image, as_probabilities
from contractile.unet import UNetConfig

PIXELS = np.arange(12, dtype=np.uint8).reshape(3, 4)
READ = "read it first: contractile.read(path)"


@pytest.mark.parametrize(
    "image",
    [
        PIXELS,
        PIXELS.tolist(),
        tuple(map(tuple, PIXELS.tolist())),
        [list(PIXELS[0]), *PIXELS[1:]],
        PIXELS.astype(np.float16),
        PIXELS.astype(np.longdouble),
        PIXELS.astype(">u4"),
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).float().requires_grad_(),
        torch.from_numpy(PIXELS).bfloat16(),
        np.ma.masked_array(PIXELS),
        np.matrix(PIXELS),
        Image.fromarray(PIXELS),
    ],
    ids=lambda image: type(image).__name__,
)
def test_numbers_are_taken_as_they_are(image):
    found = as_image(image, 1, 2)
    np.testing.assert_array_equal(np.asarray(found, np.float64), PIXELS[None])


def test_true_and_false_are_numbers():
    assert as_image(PIXELS > 5, 1, 2).dtype == np.uint8


def test_a_channel_is_added_to_what_is_read_where_it_is_sliced():
    class OnDisk:
        shape, dtype, ndim = PIXELS.shape, PIXELS.dtype, 2

        def __getitem__(self, region):
            assert region != ...
            return PIXELS[region]

    image = as_image(OnDisk(), 1, 2)
    assert (image.shape, image.ndim, image.dtype) == ((1, 3, 4), 3, np.uint8)
    for key in (np.s_[:, 1:3, 0:2], np.s_[0, 1], np.s_[..., ::2], np.s_[0:0]):
        np.testing.assert_array_equal(image[key], PIXELS[None][key])


def test_what_is_read_where_it_is_sliced_stays_on_disk():
    class OnDisk:
        shape, dtype = (1, 10**6, 10**6), np.dtype(np.uint16)

        def __getitem__(self, region):
            raise AssertionError("read too early")

    image = OnDisk()
    assert as_image(image, 1, 2) is image


@pytest.mark.parametrize(
    ("image", "line"),
    [
        ("a.tif", f"image must be an array, got the path a.tif; {READ}"),
        (b"a.tif", f"image must be an array, got the path a.tif; {READ}"),
        (None, "image must be an array, got None; give pixels (C, Y, X), or (Y, X) of one channel"),
        ({}, "image must be an array, got {}; give pixels (C, Y, X), or (Y, X) of one channel"),
        (
            [[1, 2], [3]],
            "image must be an array, got a list that NumPy cannot take as one; give rows of the same length, of "
            "numbers",
        ),
        ([], "image must have pixels, got shape (0,); check how it was cut or read"),
        (PIXELS[:0], "image must have pixels, got shape (0, 4); check how it was cut or read"),
        (
            PIXELS + 1j,
            "image must hold real numbers, got values of type complex128; give np.abs(image), or one part",
        ),
        (
            PIXELS.astype(object),
            "image must hold real numbers, got values of type object; convert with image.astype",
        ),
        (PIXELS.astype(str), "image must hold real numbers, got values of type <U3; convert with image.astype"),
        (
            np.ma.masked_array(PIXELS, PIXELS > 9),
            "image must have a value in every pixel, got a masked array without 2 of them; fill them, e.g. with "
            "filled(0)",
        ),
        (
            torch.zeros(2, 2).to_sparse(),
            "image must be a tensor that NumPy can take, got one of torch.sparse_coo and torch.float32; convert it, "
            "e.g. with to_dense() or dequantize()",
        ),
        (
            PIXELS[0],
            "image must have shape (1, Y, X) for this model, got (4,); put channels first, and give the 1 channel(s) "
            "that it was trained on",
        ),
        (
            PIXELS[..., None],
            "image must have shape (1, Y, X) for this model, got (3, 4, 1); move the channels to the front: "
            "np.moveaxis(image, -1, 0)",
        ),
        (
            np.where(PIXELS == 7, np.nan, PIXELS),
            "pixels must be finite numbers, got 1 NaN or infinite, the first at (0, 1, 3); replace them, e.g. with "
            "np.nan_to_num(image)",
        ),
    ],
)
def test_all_else_gets_one_line(image, line):
    with pytest.raises(ContractileError) as caught:
        as_image(image, 1, 2)
    assert str(caught.value) == line


def test_pixels_that_are_read_by_slicing_must_be_finite_too():
    pixels = np.random.default_rng(0).random((1, 64, 96), np.float32)
    pixels[0, 40, 90] = np.nan

    class OnDisk:
        shape, dtype, ndim = pixels.shape, pixels.dtype, 3

        def __getitem__(self, region):
            return pixels[region]

    predictor = Predictor(make_model(UNetConfig(width=2, depth=1), class_values=(0, 1)), engine=EXACT)
    curve = predictor.card.normalization.fit(np.nan_to_num(pixels))  # of a large image, a sample of blocks tells it
    field = predictor.probabilities(OnDisk(), curve=curve)
    assert np.isfinite(field[:, :16, :16]).all()
    with pytest.raises(ContractileError, match=r"must be finite numbers, got \d NaN or infinite in a part"):
        field[:, 32:, 80:]


@pytest.mark.parametrize(
    ("maps", "problem"),
    [
        (None, "probabilities must be an array, got None"),
        (PIXELS, "probabilities must be floats, got values of type uint8"),
        (np.ones((3, 4, 4)), "probabilities must have shape (2, Y, X) for this model, got (3, 4, 4)"),
        (np.ones((2, 0, 4)), "probabilities must have shape (2, Y, X) for this model, got (2, 0, 4)"),
    ],
)
def test_probabilities_are_those_of_the_model(maps, problem):
    with pytest.raises(ContractileError) as caught:
        as_probabilities(maps, 2, 2)
    assert str(caught.value) == f"{problem}; give what the method probabilities returns"
    assert as_probabilities(np.ones((2, 3, 4)), 2, 2).shape == (2, 3, 4)
