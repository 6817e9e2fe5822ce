"""What a stroke does to labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.measure import grid_points_in_poly

from contractile.errors import ContractileError
from contractile.viewer import strokes
from contractile.viewer.canvas import UNKNOWN, Canvas


def done(canvas, pieces):
    for region, labels in pieces:
        canvas[region] = labels
    return canvas[0 : canvas.shape[0], 0 : canvas.shape[1]]


def painted(shape, *args, **kwargs):
    canvas = Canvas(shape)
    return done(canvas, strokes.paint(canvas, *args, **kwargs))


def test_a_brush_is_a_disc():
    found = painted((21, 21), [(10, 10)], 5, 1)
    y, x = np.mgrid[:21, :21]
    assert np.array_equal(found == 1, (y - 10) ** 2 + (x - 10) ** 2 <= 25)


def test_the_smallest_brush_changes_the_pixel_under_each_point():
    found = painted((5, 5), [(1.2, 2.4), (3.4, 2.4)], 0, 1)
    assert found[1, 2] == 1
    assert found[3, 2] == 1
    assert set(np.unique(found)) == {-1, 1}
    assert (painted((5, 5), [(4.4, 0.4)], 0.2, 3) == 3).sum() == 1


def test_a_line_is_as_wide_as_its_brush_everywhere():
    found = painted((20, 40), [(10, 5), (10, 35)], 3, 2) == 2
    assert found[7:14, 5:36].all()
    assert found.sum() == (painted((20, 40), [(10, 20)], 3, 2) == 2).sum() + 7 * 30


def test_what_lies_outside_of_the_image_is_cut_off():
    found = painted((10, 10), [(-3, 5), (30, 5)], 1, 1) == 1
    assert np.array_equal(found, np.isin(np.arange(10), (4, 5, 6))[None].repeat(10, 0))
    canvas = Canvas((10, 10))
    assert list(strokes.paint(canvas, [(100, 100)], 3, 1)) == []
    assert list(strokes.paint(canvas, [(-100, -1)], 3, 1)) == []
    assert list(strokes.flood(canvas, (10.6, 0), 1)) == []


def test_a_long_stroke_costs_what_it_covers():
    canvas = Canvas((60_000, 60_000))
    pieces = list(strokes.paint(canvas, [(0, 0), (19_999, 19_999)], 20, 1))
    assert 79 <= len(pieces) <= 5 * 79
    done_on = Canvas((60_000, 60_000))
    for region, labels in pieces:
        done_on[region] = labels
    assert done_on[15_000:15_001, 15_000:15_001] == 1
    assert done_on[15_000:15_001, 15_100:15_101] == UNKNOWN


def test_a_line_of_many_points_is_nearly_the_line():
    turn = np.linspace(0, np.pi, 250)
    points = np.stack([100 + 80 * np.sin(turn), 100 + 80 * np.cos(turn)], 1)
    found = painted((220, 220), points.tolist(), 30, 1) == 1
    y, x = np.mgrid[:220, :220]
    away = np.hypot(y[..., None] - points[:, 0], x[..., None] - points[:, 1]).min(-1)
    assert not (found & (away > 30.8)).any()
    assert not (~found & (away < 29.2)).any()


def test_a_fill_takes_what_is_within_and_on_its_outline():
    canvas = Canvas((12, 12))
    found = done(canvas, strokes.fill(canvas, [(2, 2), (2, 8), (9, 8), (9, 2)], 4))
    assert np.array_equal(np.argwhere(found == 4).min(0), (2, 2))
    assert np.array_equal(np.argwhere(found == 4).max(0), (9, 8))
    assert (found == 4).sum() == 8 * 7


def test_a_fill_leaves_what_is_known_where_it_is_asked_to():
    canvas = Canvas((12, 12))
    canvas[0:12, 0:5] = np.full((12, 5), 9, np.int32)
    found = done(canvas, strokes.fill(canvas, [(2, 2), (2, 8), (9, 8), (9, 2)], 4, over=False))
    assert (found == 9).sum() == 60
    assert (found == 4).sum() == 8 * 4


def test_a_large_fill_is_made_of_pieces():
    canvas = Canvas((3000, 3000))
    found = done(canvas, strokes.fill(canvas, [(100, 100), (100, 2900), (2900, 2900), (2900, 100)], 0))
    assert (found == 0).sum() == 2801**2


corners = st.lists(st.tuples(st.integers(-20, 140), st.integers(-20, 140)), min_size=3, max_size=12, unique=True)


@given(corners)
def test_within_an_outline_is_the_even_odd_rule(outline):
    shifted = np.array(outline, float) + np.array(
        [0.25, 0.375]
    )  # no pixel lies on a side that is vertical or horizontal
    found = strokes._within(shifted, (slice(0, 100), slice(0, 90)))
    wanted = grid_points_in_poly((100, 90), shifted)
    edge = strokes._near(np.concatenate([shifted, shifted[:1]]), 0.01, (slice(0, 100), slice(0, 90)))
    assert np.array_equal(found | edge, wanted | edge)


def test_a_flood_fills_the_connected_area():
    canvas = Canvas((300, 700))
    done(canvas, strokes.paint(canvas, [(0, 350), (299, 350)], 2, 1))
    found = done(canvas, strokes.flood(canvas, (10, 10), 0))
    assert (found[:, :348] == 0).all()
    assert (found[:, 348:353] == 1).all()
    assert (found[:, 353:] == UNKNOWN).all()
    found = done(canvas, strokes.flood(canvas, (150, 350), 7))
    assert (found == 7).sum() == 5 * 300


def test_a_flood_goes_neither_across_corners_nor_too_far(monkeypatch):
    canvas = Canvas((2, 2))
    canvas[0:1, 1:2] = canvas[1:2, 0:1] = np.ones((1, 1), np.int32)
    assert (done(canvas, strokes.flood(canvas, (0, 0), 3)) == 3).sum() == 1
    rule = r"an area to fill must have at most 4,194,304 pixels, all within 2,048 of the point, got a larger one; close"
    with pytest.raises(ContractileError, match=rule):
        list(strokes.flood(Canvas((10, 5000)), (5, 10), 0))
    monkeypatch.setattr(strokes, "MOST_FLOODED", 100)
    with pytest.raises(ContractileError, match="must have at most 100 pixels"):
        list(strokes.flood(Canvas((20, 20)), (5, 10), 0))


def test_numbers_are_replaced_everywhere():
    canvas = Canvas((600, 600))
    canvas[0:600, 0:10] = np.full((600, 10), 3, np.int32)
    canvas[0:600, 10:20] = np.full((600, 10), 4, np.int32)
    found = done(canvas, strokes.replace(canvas, 3, 4))
    assert (found == 4).sum() == 600 * 20
    assert list(strokes.replace(canvas, 3, 4)) == [] or (done(canvas, strokes.replace(canvas, 3, 4)) == found).all()


def test_a_line_splits_an_object_and_leaves_none_of_its_pixels():
    canvas = Canvas((40, 40))
    done(canvas, strokes.fill(canvas, [(5, 5), (5, 34), (34, 34), (34, 5)], 2))
    found = done(canvas, strokes.split(canvas, 2, [(0, 12), (39, 12)], 9))
    assert set(np.unique(found)) == {-1, 2, 9}
    assert (found[5:35, 5:12] == 9).all()
    assert (found[5:35, 13:35] == 2).all()
    assert (found > 0).sum() == 30 * 30


def test_a_line_that_splits_nothing_changes_nothing():
    canvas = Canvas((40, 40))
    done(canvas, strokes.paint(canvas, [(20, 20)], 10, 2))
    assert list(strokes.split(canvas, 2, [(0, 0), (39, 0)], 9)) == []
    assert list(strokes.split(canvas, 5, [(0, 20), (39, 20)], 9)) == []


def test_an_object_in_many_parts_gets_as_many_numbers():
    canvas = Canvas((10, 50))
    canvas[2:8, 0:50] = np.full((6, 50), 1, np.int32)
    found = done(canvas, strokes.split(canvas, 1, [(0, 10), (9, 10), (9, 40), (0, 40)], 20))
    assert set(np.unique(found)) == {-1, 1, 20, 21}
    assert found[5, 25] == 1


def test_an_object_that_is_too_large_is_not_split(monkeypatch):
    monkeypatch.setattr(strokes, "LARGEST", 99)
    canvas = Canvas((20, 20))
    canvas[0:10, 0:10] = np.ones((10, 10), np.int32)
    with pytest.raises(ContractileError, match=r"must lie in a box of at most 99 pixels, got one of 100; erase along"):
        list(strokes.split(canvas, 1, [(0, 5), (10, 5)], 2))


def test_only_what_is_unknown_is_accepted():
    canvas = Canvas((10, 10))
    canvas[0:10, 0:5] = np.zeros((10, 5), np.int32)
    mask = np.zeros((4, 6), bool)
    mask[1:3] = True
    region = (slice(2, 6), slice(2, 8))
    found = done(canvas, strokes.accept(canvas, region, np.where(mask, 6, -1).astype(np.int32), mask))
    assert np.array_equal(np.argwhere(found == 6), [[y, x] for y in (3, 4) for x in (5, 6, 7)])
    assert (found == 0).sum() == 50
