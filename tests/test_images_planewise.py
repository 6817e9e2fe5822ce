"""Arrays that are read plane by plane: any region is that of the whole, and no other plane is read."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.errors import ContractileError
from contractile.images.extras import heard, load_extra
from contractile.images.planewise import Planewise

WHOLE = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


def slices(length: int) -> st.SearchStrategy[slice | int]:
    ends = st.integers(-length - 1, length + 1) | st.none()
    parts: st.SearchStrategy[slice | int] = st.builds(slice, ends, ends, st.integers(1, 3) | st.none())
    return parts | st.integers(-length, length - 1)


@settings(max_examples=200, deadline=None)
@given(st.tuples(*map(slices, WHOLE.shape)), st.integers(0, 3))
def test_any_region_is_that_of_the_whole(region: tuple[slice | int, ...], outer: int) -> None:
    shape = WHOLE.shape
    array = Planewise(shape[:outer], shape[outer:], WHOLE.dtype, lambda place: WHOLE[place])
    np.testing.assert_array_equal(array[region], WHOLE[region])
    assert array[region].dtype == WHOLE.dtype


def test_only_planes_of_the_region_are_read_and_the_last_is_kept() -> None:
    asked: list[tuple[int, ...]] = []
    array = Planewise((2, 3), (4, 5), WHOLE.dtype, lambda place: asked.append(place) or WHOLE[place])  # type: ignore[func-returns-value]
    assert array.chunks == (1, 1, 4, 5)
    for _ in range(2):
        np.testing.assert_array_equal(array[1, 2, :2], WHOLE[1, 2, :2])
    assert asked == [(1, 2)]
    array.forget()
    np.testing.assert_array_equal(array[1, 1:], WHOLE[1, 1:])
    assert asked == [(1, 2), (1, 1), (1, 2)]


def test_what_is_behind_a_plane_is_not_read() -> None:
    array = Planewise((2, 3), (3, 4), WHOLE.dtype, lambda place: WHOLE[place], (2, 2))
    assert array.chunks == (1, 1, 2, 2)
    np.testing.assert_array_equal(array[...], WHOLE[..., :3, :4])


def test_warnings_of_libraries_become_lines() -> None:
    with heard() as lines:
        for text in ("a\n  word", "a\n  word", "another"):
            warnings.warn(text, stacklevel=1)
        assert lines == []
    assert lines == ["a word", "another"]


def test_a_library_that_is_missing_is_named(tmp_path: Path) -> None:
    assert load_extra("json", "none", tmp_path).__name__ == "json"
    what = r"it is read by the extra nd2, which is not installed; pip install 'contractile\[nd2\]'"
    with pytest.raises(ContractileError, match=what):
        load_extra("no_library_of_this_name", "nd2", tmp_path / "a")
