"""The models that come with the package: small, described, and of use on images that they never saw."""

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from test_cli import call

from contractile.evaluation import evaluate
from contractile.images import read_labels
from contractile.model import PRETRAINED, load, read_card
from contractile.prediction import Predictor


def nuclei(diameter, *, seed=0):
    """A picture of blurred bright ellipses of about a diameter on a dark ground, and their labels."""
    rng = np.random.default_rng(seed)
    step, across = round(1.5 * diameter), 7
    y, x = np.mgrid[: across * step, : across * step]
    labels = np.zeros(y.shape, np.int32)
    image = np.zeros(y.shape)
    for number in range(across * across):
        row, column = (np.array(divmod(number, across)) + 0.5) * step + rng.normal(0, 0.06 * diameter, 2)
        long, short = diameter / 2 * rng.uniform(1, 1.2), diameter / 2 * rng.uniform(0.8, 1)
        turn = rng.uniform(0, np.pi)
        u = (y - row) * np.cos(turn) + (x - column) * np.sin(turn)
        v = (x - column) * np.cos(turn) - (y - row) * np.sin(turn)
        inside = ((u / long) ** 2 + (v / short) ** 2 < 1) & (labels == 0)
        labels[inside] = number + 1
        image[inside] = rng.uniform(60, 160)
    image = ndimage.gaussian_filter(image, diameter / 20) + 10
    return np.clip(rng.poisson(image), 0, 255).astype(np.uint8), labels


@pytest.mark.parametrize("name", PRETRAINED)
def test_it_is_small_and_says_what_it_is(name):
    card = read_card(name)
    assert PRETRAINED[name].stat().st_size <= 5e6
    assert "Limits" in card.description
    assert card.scores
    assert (card.any_size, card.task) == (True, "objects")


@pytest.mark.parametrize("diameter", [12, 24, 60])
def test_nuclei_of_any_size_are_found(diameter):
    image, truth = nuclei(diameter)
    found = Predictor(load("nuclei")).segment(image)
    assert evaluate([found], [truth], scores=["f1"]).summary["f1"].value > 0.9


def test_the_command_line_takes_a_model_by_name(capsys, tmp_path):
    image, truth = nuclei(20, seed=1)
    tifffile.imwrite(tmp_path / "nuclei.tif", image)
    status, _, _ = call(capsys, "predict", "nuclei", tmp_path / "nuclei.tif", "--out", tmp_path / "out")
    assert status == 0
    (labels,) = (tmp_path / "out").glob("*labels.tif")
    found = read_labels(labels)
    assert evaluate([found], [truth], scores=["f1"]).summary["f1"].value > 0.9


def dark_field(light, *, seed=0):
    """What a camera makes of light (Y, X): photons, and noise of its own."""
    rng = np.random.default_rng(seed)
    return (rng.poisson(light) + rng.normal(0, 10, light.shape)).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("background", [100.0, 1000.0])
def test_an_empty_field_has_no_nuclei(background, seed):
    found = Predictor(load("nuclei")).segment(dark_field(np.full((200, 200), background), seed=seed))
    assert found.max() <= 1


@pytest.mark.parametrize("sigma", [1, 2])
def test_noise_that_a_filter_has_smoothed_is_no_nuclei(sigma):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (200, 200)), sigma)
    image = (200 + 20 * noise / noise.std()).clip(0).astype(np.uint16)
    assert Predictor(load("nuclei")).segment(image).max() <= 1


@pytest.mark.parametrize("times", [20, 100])
@pytest.mark.parametrize("defect", ["dust", "columns"])
def test_nuclei_are_found_beside_bright_defects(defect, times):
    image, truth = nuclei(20, seed=4)
    damaged = image.astype(np.uint16)
    place = (slice(4, 12), slice(4, 12)) if defect == "dust" else (slice(None), slice(80, 82))
    damaged[place] = times * 160
    found, marked = Predictor(load("nuclei"), diameter=20).segment(damaged), truth.copy()
    marked[np.isin(truth, truth[place])] = -1  # what the defect covers does not count
    marked[truth == 0] = 0
    marked[place] = -1
    assert evaluate(found, marked).summary["f1"].value > 0.85


@pytest.mark.parametrize("brightness", [2000.0, 200.0])
def test_one_nucleus_in_a_large_field_is_found_alone(brightness):
    y, x = np.indices((300, 300))
    inside = (y - 200) ** 2 + (x - 100) ** 2 < 121
    image = dark_field(ndimage.gaussian_filter(brightness * inside, 1.3) + 100)
    found = Predictor(load("nuclei")).segment(image)
    assert found.max() == 1
    assert ((found > 0) & inside).sum() / ((found > 0) | inside).sum() > 0.7


@pytest.mark.parametrize("value", [65535, 0])
def test_one_pixel_changes_nothing_far_from_it(value):
    image, _ = nuclei(20, seed=2)
    image = image.astype(np.uint16) * 20
    damaged = image.copy()
    damaged[100, 100] = value
    before, after = (Predictor(load("nuclei"), diameter=20).segment(one) > 0 for one in (image, damaged))
    far = np.ones(image.shape, bool)
    far[90:111, 90:111] = False
    assert (before != after)[far].mean() < 0.001


def test_dim_nuclei_are_found_beside_bright_ones():
    image, truth = nuclei(24, seed=3)
    light = image.astype(float) - 10
    factors = np.where(np.arange(truth.max() + 1) % 2, 1, 1 / 12)
    dimmed = dark_field(100 + 30 * light * ndimage.gaussian_filter(factors[truth], 1))
    assert evaluate(Predictor(load("nuclei"), diameter=24).segment(dimmed), truth).summary["f1"].value > 0.85
