import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from contractile.labels import connected
from contractile.metrics.thinning import thin

maps = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.booleans())


@given(maps)
def test_basins_grow_from_the_components(white):
    basins, parts = thin(white), connected(white.T).T  # numbered column by column
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
