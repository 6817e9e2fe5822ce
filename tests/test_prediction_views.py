"""Views that test-time averaging takes the mean over: each comes back to its place, and the mean knows no direction."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from contractile.engine import EngineConfig
from contractile.model import Model, ModelCard
from contractile.prediction import Predictor
from contractile.prediction.field import Held
from contractile.prediction.views import views
from contractile.unet import UNet, UNetConfig, fold

EXACT = EngineConfig(device="cpu", precision="float32")


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), turns=st.integers(0, 3))
def test_the_mean_over_turned_views_commutes_with_the_symmetries(shape, turns):
    def average(image):
        each = views(image.shape[1:], "square")
        blurred = [Held(ndimage.gaussian_filter(np.asarray(view.see(image)), (0, 1, 1))) for view in each]
        return sum(np.asarray(view.restore(one)) for view, one in zip(each, blurred, strict=True)) / len(each)

    image = np.random.default_rng(0).random((2, *shape), np.float32)
    turned = average(np.rot90(image, turns, (1, 2))[:, :, ::-1])
    np.testing.assert_allclose(np.rot90(turned[:, :, ::-1], -turns, (1, 2)), average(image), atol=1e-4)


def test_turned_views_hold_the_whole_image_and_come_back_to_their_place():
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(2, 47, 90)), (0, 4, 4)).astype(np.float32)
    image /= image.std()  # half a pixel beside its place it differs by 0.07 on average
    for view in views((47, 90), "square"):
        assert np.abs(np.asarray(view.restore(view.see(image))) - image).mean() < 0.015


def test_turned_views_differ_where_kernels_are_tied():
    torch.manual_seed(1)
    tied = fold(UNet(UNetConfig(width=8, depth=2, symmetry="square")).eval())
    card = ModelCard(network=tied.config, class_values=(0, 1))
    image = np.random.default_rng(0).random((1, 40, 40), np.float32)
    plain = np.asarray(Predictor(Model(tied, card), engine=EXACT).probabilities(image))
    eight = Predictor(Model(tied, card), engine=EXACT).probabilities(image, tta=True)
    told = Model(tied, card.model_copy(update={"symmetry": "square"}))
    between = np.asarray(Predictor(told, engine=EXACT).probabilities(image, tta=True))
    np.testing.assert_allclose(eight, plain, atol=1e-5)
    assert np.abs(between - plain).max() > 1e-4
