"""The size of a pixel along each axis: refused where no pixels have it, and in units of the finest."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.spacing import check_spacing, in_finest

sizes = st.lists(st.floats(1e-3, 1), min_size=2, max_size=3)


@given(sizes)
def test_the_finest_axis_has_size_1_and_the_others_keep_their_ratio(sizes):
    check_spacing(sizes)
    steps = in_finest(sizes, len(sizes))
    assert min(steps) == 1
    assert all(step * min(sizes) == pytest.approx(size) for step, size in zip(steps, sizes, strict=True))


def test_no_sizes_are_isotropic():
    check_spacing(())
    assert in_finest((), 3) == ()


@pytest.mark.parametrize("wrong", [(1.0, 0.0), (1.0, -1.0), (1.0, math.inf), (1.0, math.nan), (1001.0, 1.0)])
def test_sizes_that_no_pixels_have(wrong):
    with pytest.raises(ContractileError, match=r"spacing must be positive and differ by a factor of at most 1000, got"):
        check_spacing(wrong)


def test_one_size_for_each_axis():
    with pytest.raises(ContractileError, match=r"spacing must hold one number for each of the 2 axes, got \(5, 1, 1\)"):
        in_finest((5, 1, 1), 2)
