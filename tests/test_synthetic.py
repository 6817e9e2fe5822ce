"""Synthetic scenes: repeatable, with exact labels, and as hard as those of a microscope."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from contractile.labels import connected
from contractile.synthetic import SceneConfig, draw_cells, draw_scene

SMALL = {"radius": 6.0}
shapes = st.one_of(st.tuples(*[st.integers(8, 70)] * 2), st.tuples(*[st.integers(6, 24)] * 3))


@settings(max_examples=25, deadline=None)
@given(
    shape=shapes,
    seed=st.integers(0, 99),
    objects=st.none() | st.integers(0, 9),
    rugged=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_every_scene_is_an_image_with_whole_numbered_cells(
    shape: tuple[int, ...], seed: int, objects: int | None, rugged: float
) -> None:
    config = SceneConfig(shape=shape, objects=objects, ruggedness=rugged, **SMALL)
    image, labels = draw_scene(config, np.random.default_rng(seed))
    assert (image.shape, image.dtype) == ((1, *shape), np.float32)
    assert (labels.shape, labels.dtype) == (shape, np.int32)
    assert np.isfinite(image).all()
    count = int(labels.max())
    assert objects is None or count <= objects
    assert set(np.unique(labels)) - {0} == set(range(1, count + 1))
    for number in range(1, count + 1):
        assert connected(labels == number).max() == 1


def test_the_same_seed_gives_the_same_scene() -> None:
    config = SceneConfig(shape=(64, 64))
    one, two, other = (draw_scene(config, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])
    assert (one[1] != other[1]).any()


@pytest.mark.parametrize("shape", [(300, 300), (40, 90, 90)])
def test_cells_cover_what_was_asked_for_and_touch(shape: tuple[int, ...]) -> None:
    labels = draw_cells(SceneConfig(shape=shape, radius=8), np.random.default_rng(0)).labels
    assert 0.3 < (labels > 0).mean() < 0.6
    pieces = connected(labels > 0).max()
    assert pieces < 0.7 * labels.max()  # connected components alone find too few


def test_crowding_decides_how_many_cells_touch() -> None:
    pieces = []
    for crowding in (0.0, 0.4):
        config = SceneConfig(shape=(300, 300), crowding=crowding, coverage=0.3, elongation=1, ruggedness=0)
        labels = draw_cells(config, np.random.default_rng(0)).labels
        pieces.append(connected(labels > 0).max() / labels.max())
    assert pieces[0] > 0.95 > 0.8 > pieces[1]


def test_depth_and_lead_tell_outline_and_seam() -> None:
    cells = draw_cells(SceneConfig(shape=(200, 200)), np.random.default_rng(0))
    assert ((cells.labels > 0) <= (cells.depth > 0)).all()
    seam = (cells.labels[:, 1:] != cells.labels[:, :-1]) & (cells.labels[:, 1:] > 0) & (cells.labels[:, :-1] > 0)
    assert cells.lead[:, 1:][seam].mean() < 0.3 * cells.lead[cells.labels > 0].mean()


def test_the_seam_between_cells_is_dark() -> None:
    calm = {
        "texture": 0.0,
        "brightness_spread": 0.0,
        "blur": 0.0,
        "haze": 0.0,
        "shading": 0.0,
        "read_noise": 0.0,
        "photons": 1e4,
    }
    ratios = []
    for seam in (0.0, 0.8):
        image, labels = draw_scene(SceneConfig(shape=(200, 200), seam=seam, **calm), np.random.default_rng(0))
        between = ndimage.maximum_filter(labels, 3) != labels
        between &= ndimage.minimum_filter(labels, 3) > 0
        ratios.append(image[0][between].mean() / image[0][labels > 0].mean())
    assert ratios[1] < 0.75 * ratios[0]


def test_cells_are_brighter_than_the_ground_but_not_by_a_threshold() -> None:
    image, labels = draw_scene(SceneConfig(shape=(400, 400)), np.random.default_rng(0))
    assert image[0][labels > 0].mean() > 2 * image[0][labels == 0].mean()
    best = max(
        np.logical_and(image[0] > t, labels > 0).sum() / np.logical_or(image[0] > t, labels > 0).sum()
        for t in np.linspace(5, 80, 40)
    )
    assert 0.6 < best < 0.95


@pytest.mark.parametrize("wanted", [0, 1, 5])
def test_as_many_cells_as_wanted(wanted: int) -> None:
    _, labels = draw_scene(SceneConfig(shape=(128, 128), objects=wanted, crowding=0), np.random.default_rng(3))
    assert labels.max() == wanted


def test_a_large_scene_holds_nearly_all_cells_wanted() -> None:
    _, labels = draw_scene(SceneConfig(shape=(1024, 1024), objects=375), np.random.default_rng(0))
    assert labels.max() > 350


@pytest.mark.parametrize(
    "wrong", [{"shape": (8,)}, {"coverage": 1.2}, {"radius": 0}, {"shading": 1}, {"objects": -1}, {"size": 3}]
)
def test_configurations_that_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} (must be|does not exist)"):
        SceneConfig(**wrong)
