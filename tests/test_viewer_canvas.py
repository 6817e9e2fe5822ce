"""Labels of any size, of which only painted tiles exist."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractile.viewer.canvas import TILE, UNKNOWN, Canvas, tally


def part(y, x):
    return slice(*y), slice(*x)


def dense(canvas):
    return canvas[0 : canvas.shape[0], 0 : canvas.shape[1]]


def test_what_was_written_is_read_across_tiles():
    canvas = Canvas((600, 700))
    values = np.arange(200 * 300, dtype=np.int32).reshape(200, 300)
    canvas[200:400, 250:550] = values
    assert np.array_equal(canvas[200:400, 250:550], values)
    assert (canvas[0:200, 0:700] == UNKNOWN).all()
    assert next(canvas.painted()) == part((0, 256), (0, 256))
    assert list(canvas.painted())[-1] == part((256, 512), (512, 700))


def test_tiles_at_the_border_are_cut():
    canvas = Canvas((300, 260))
    canvas[299:300, 259:260] = np.full((1, 1), 7, np.int32)
    assert list(canvas.painted()) == [part((256, 300), (256, 260))]
    assert canvas.find(7) == part((299, 300), (259, 260))


def test_a_tile_of_one_value_takes_no_memory_and_can_be_written_again():
    canvas = Canvas((1024, 1024))
    canvas[0:1024, 0:1024] = np.zeros((1024, 1024), np.int32)
    assert all(tile.base.nbytes <= 4 for tile in canvas._tiles.values())
    canvas[10:20, 10:20] = np.full((10, 10), 3, np.int32)
    assert canvas.find(3) == part((10, 20), (10, 20))
    assert (canvas[0:10, 0:1024] == 0).all()
    assert (canvas[256:1024, 0:1024] == 0).all()


def test_what_becomes_unknown_again_is_gone():
    canvas = Canvas((600, 600))
    canvas[0:300, 0:300] = np.full((300, 300), 5, np.int32)
    canvas[0:300, 0:300] = np.full((300, 300), UNKNOWN, np.int32)
    assert canvas.is_empty
    assert list(canvas.painted()) == []
    assert canvas.find(5) is None
    assert canvas.tiles_of(5) == []


def test_an_object_is_found_where_it_is_now():
    canvas = Canvas((1000, 1000))
    canvas[100:700, 100:120] = np.full((600, 20), 4, np.int32)
    assert canvas.find(4) == part((100, 700), (100, 120))
    assert len(canvas.tiles_of(4)) == 3
    canvas[0:512, 0:256] = np.zeros((512, 256), np.int32)
    assert canvas.find(4) == part((512, 700), (100, 120))
    assert canvas.tiles_of(4) == [part((512, 768), (0, 256))]
    assert canvas.find(99) is None


@pytest.mark.parametrize("size", [50, 2000])
def test_every_nth_pixel_is_that_pixel(size):
    canvas = Canvas((1500, size))
    rng = np.random.default_rng(0)
    canvas[300:900, 10:40] = rng.integers(-1, 5, (600, 30)).astype(np.int32)
    rows, columns = np.arange(3, 1500, 7), np.arange(0, size, 11)
    assert np.array_equal(canvas.sample(rows, columns), dense(canvas)[np.ix_(rows, columns)])


def test_a_far_larger_canvas_takes_no_more_memory():
    canvas = Canvas((60_000, 60_000))
    canvas[0:10, 0:10] = np.ones((10, 10), np.int32)
    canvas[59_990:60_000, 59_990:60_000] = np.full((10, 10), 2, np.int32)
    assert sum(tile.nbytes for tile in canvas._tiles.values()) == 2 * 4 * TILE**2
    assert canvas.find(2) == part((59_990, 60_000), (59_990, 60_000))
    small = canvas.sample(np.arange(0, 60_000, 60), np.arange(0, 60_000, 60))
    assert small[0, 0] == 1
    assert (small == UNKNOWN).sum() == small.size - 1


@pytest.mark.parametrize("values", [[], [3], [-1, 5, 5, 2], [-1, 2**31 - 1, 0, 0], [-(2**31), 2**31 - 1]])
def test_labels_are_counted(values):
    numbers, counts = tally(np.array(values, np.int32))
    wanted = np.unique(values, return_counts=True)
    assert np.array_equal(numbers, wanted[0])
    assert np.array_equal(counts, wanted[1])


writes = st.lists(
    st.tuples(st.integers(0, 550), st.integers(1, 300), st.integers(0, 290), st.integers(1, 290), st.integers(-1, 3)),
    max_size=12,
)


@given(writes)
def test_it_is_an_array(steps):
    canvas, plain = Canvas((600, 300)), np.full((600, 300), UNKNOWN, np.int32)
    for top, height, left, width, value in steps:
        region = part((top, min(top + height, 600)), (left, min(left + width, 300)))
        plain[region] = value
        canvas[region] = plain[region]
    assert np.array_equal(dense(canvas), plain)
    for number in (1, 2, 3):
        y, x = np.nonzero(plain == number)
        found = part((y.min(), y.max() + 1), (x.min(), x.max() + 1)) if len(y) else None
        assert canvas.find(number) == found
    for region in canvas.painted():
        assert (plain[region] != UNKNOWN).any()
    assert canvas.is_empty == (plain == UNKNOWN).all()
