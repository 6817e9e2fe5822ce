import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from references import SHARED, needs_shared
from scipy import ndimage

from contractile.metrics.thinning import label_components, thin

maps = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.booleans())


@given(maps)
def test_components_are_those_of_scipy(white):
    ours, theirs = label_components(white), ndimage.label(white)[0]
    pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)


def test_components_are_numbered_column_by_column():
    white = np.array([[0, 1], [1, 0]], bool)
    assert label_components(white).tolist() == [[0, 2], [1, 0]]


@given(maps)
def test_basins_grow_from_the_components(white):
    basins, parts = thin(white), label_components(white)
    if not white.any():
        assert (basins == 1).all()
        return
    assert (basins[white] == parts[white]).all()
    assert basins.min() >= 0
    assert basins.max() == parts.max()


@given(maps)
def test_basins_never_touch(white):
    basins = thin(white)
    for one, two in ((basins[1:], basins[:-1]), (basins[:, 1:], basins[:, :-1])):
        assert ((one == two) | (one == 0) | (two == 0)).all()


def test_a_thick_membrane_becomes_one_pixel_wide():
    white = np.ones((9, 9), bool)
    white[:, 3:6] = False
    assert (thin(white) == 0).sum(axis=1).tolist() == [1] * 9


@needs_shared
@pytest.mark.parametrize(
    "name", ["a_blur2", "b_blur2_noise", "c_broken", "d_shift", "e_perfect", "f_soft_broken_float32"]
)
def test_basins_are_those_of_the_challenge_bit_for_bit(name):
    import tifffile

    proposals = tifffile.imread(SHARED / "isbi" / f"crop3_{name}.tif").astype(np.float64)
    expected = tifffile.imread(SHARED / "isbi" / f"crop3_{name}__official_thinned_basins_th0.5.tif")
    for proposal, basins in zip(proposals, expected, strict=True):
        assert np.array_equal(thin(proposal > 0.5), basins)
