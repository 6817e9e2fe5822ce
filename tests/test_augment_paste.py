"""Objects pasted into images: new ones stay whole, old ones keep half of themselves, all else stays as it was."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from contractile.augment import Picture, paste, paste_objects
from contractile.intensity import Normalization


class FixedKind(np.random.Generator):
    """A generator whose numbers from 0 to 1 are all the same; the others are random."""

    def __init__(self, kind):
        super().__init__(np.random.PCG64(0))
        self.kind = kind

    def random(self):
        return self.kind


def scene(seed, objects=6, size=60):
    """Discs of a grey value of their own on a dark ground; a stripe on the left that nobody annotated."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size]
    for number in range(1, objects + 1):
        row, column = rng.uniform(8, size - 8, 2)
        labels[(y - row) ** 2 + (x - column) ** 2 < rng.uniform(3, 6) ** 2] = number
    labels[:, 0] = -1
    return Picture((labels.clip(0) / 10).astype(np.float32)[None], labels)


@given(seed=st.integers(0, 10**6))
def test_pasted_objects_are_whole_and_hide_no_more_than_half(seed):
    before, donors = scene(seed), [scene(seed + 1), scene(seed + 2)]
    after = paste_objects(before, donors, rng=np.random.default_rng(seed))
    old, new = before.labels, after.labels
    pasted = np.unique(new[new > old.max()])
    assert 1 <= len(pasted) <= 3
    changed = np.isin(new, pasted)
    np.testing.assert_array_equal(new[~changed], old[~changed])
    for number in np.unique(old[old > 0]):
        assert np.count_nonzero(new == number) >= 0.5**3 * np.count_nonzero(old == number)
    shapes = {np.count_nonzero(d.labels == n) for d in donors for n in np.unique(d.labels)}
    assert np.count_nonzero(new == pasted[-1]) in shapes  # the last one lies on top
    far = ndimage.distance_transform_edt(~changed) >= 4  # also where hidden by a later one
    assert len(pasted) > 1 or (after.pixels[0][far] == before.pixels[0][far]).all()
    assert (before.labels == scene(seed).labels).all()


def test_the_same_generator_pastes_the_same():
    one, other = (paste_objects(scene(1), [scene(2)], rng=np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.labels, other.labels)


def test_an_object_in_the_middle_is_opaque_and_its_rim_is_soft():
    ground, donor = Picture(np.zeros((1, 40, 40), np.float32), np.zeros((40, 40), np.int32)), scene(0, objects=1)
    donor = replace(donor, pixels=np.ones_like(donor.pixels))
    after = paste_objects(ground, [donor], rng=np.random.default_rng(0))
    assert after.labels.max() == 1
    assert (after.pixels[0][after.labels == 1] == 1).all()
    outside = after.pixels[0][after.labels == 0]
    assert 0 < outside.max() < 1
    assert (outside == 0).mean() > 0.7


@given(seed=st.integers(0, 10**6))
def test_a_bare_object_leaves_its_neighbours_as_they_are(seed):
    before = scene(seed, objects=12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paste, "BARE_SHARE", 1.0)
        after = paste_objects(before, [scene(seed + 1)], rng=np.random.default_rng(seed))
    seen = (after.labels == before.labels) & (before.labels > 0)
    np.testing.assert_array_equal(after.pixels[0][seen], before.pixels[0][seen])


def test_a_rim_covers_neighbours_where_it_may(monkeypatch):
    monkeypatch.setattr(paste, "BARE_SHARE", 0.0)
    touched = 0
    for seed in range(10):
        before = scene(seed, objects=12)
        after = paste_objects(before, [scene(seed + 1)], rng=np.random.default_rng(seed))
        seen = (after.labels == before.labels) & (before.labels > 0)
        touched += int((after.pixels[0][seen] != before.pixels[0][seen]).any())
    assert touched > 0


@pytest.mark.parametrize(("kind", "nearest", "farthest"), [(0.6, 0, 6), (0.9, 10.5, 14.5)])
def test_a_quarter_lies_on_an_object_and_a_quarter_beside_one(kind, nearest, farthest):
    y, x = np.mgrid[:60, :60]
    disc = ((y - 30) ** 2 + (x - 30) ** 2 <= 6**2).astype(np.int32)
    empty, rng = np.zeros((1, 60, 60), np.float32), FixedKind(kind)
    for _ in range(30):
        centre = paste._Scene(Picture(empty, disc))._draw_centre(6.5, rng)
        assert nearest <= math.dist(centre, (30, 30)) <= farthest
    assert paste._Scene(Picture(empty, 0 * disc))._draw_centre(6.5, rng) is None


def test_an_object_pasted_where_nothing_is_annotated_is_an_object():
    blank, donor = Picture(np.zeros((1, 40, 40), np.float32), np.full((40, 40), -1, np.int32)), scene(0, objects=1)
    after = paste_objects(blank, [donor], rng=np.random.default_rng(0))
    assert np.unique(after.labels).tolist() == [-1, 1]


@pytest.mark.parametrize(
    "donor", [scene(0, objects=0), Picture(np.ones((1, 9, 9), np.float32), np.ones((9, 9), np.int32))]
)
def test_nothing_is_pasted_where_donors_have_nothing_whole(donor):
    before = scene(5)
    after = paste_objects(before, [donor], rng=np.random.default_rng(0))
    np.testing.assert_array_equal(after.labels, before.labels)
    np.testing.assert_array_equal(after.pixels, before.pixels)


def test_objects_that_pixels_without_annotation_cut_are_not_pasted():
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20], labels[24:30, 24:30] = 1, 2
    labels[15:20, 10:20] = -1
    picture = Picture(labels[None].astype(np.float32), labels)
    assert picture.whole == [2]
    labels[30, 24:30] = -1
    assert Picture(labels[None].astype(np.float32), labels).whole == []


def test_the_rim_of_an_object_holds_nothing_of_what_is_not_annotated():
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20], labels[22:30, 10:20] = 1, -1
    cut_out = paste._cut_out(Picture(labels[None].astype(np.float32), labels), np.random.default_rng(0))
    assert set(np.unique(cut_out.pixels[0][cut_out.opacity > 0])) == {0, 1}


def test_an_object_never_loses_more_than_half_however_many_are_pasted():
    labels = np.zeros((60, 60), np.int32)
    labels[20:40, 20:40] = 1
    place, square = paste._Scene(Picture(np.zeros((1, 60, 60), np.float32), labels)), np.ones((7, 7), bool)
    cut_out = paste._CutOut(np.ones((1, 7, 7), np.float32), square, square.astype(float))
    rng = np.random.default_rng(0)
    pasted = sum(place.put(cut_out, rng) for _ in range(300))
    assert pasted > 5
    assert (place.labels == 1).sum() >= 200


def test_volumes_are_pasted_into_as_well():
    labels = np.zeros((8, 20, 20), np.int32)
    labels[2:5, 5:9, 6:11] = 1
    volume = Picture(labels[None].astype(np.float32), labels)
    assert len(np.unique(paste_objects(volume, [volume], rng=np.random.default_rng(0)).labels)) == 3


@pytest.mark.parametrize("kind", ["linear", "compressive", "percentile"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_grey_values_come_back_from_their_normalised_form(dtype, kind):
    pixels = np.random.default_rng(0).integers(0, 255, (2, 20, 20)).astype(dtype)
    affine = Normalization(kind=kind).fit(pixels)
    np.testing.assert_allclose(affine.invert(affine.apply(pixels), pixels.dtype), pixels, atol=1e-3)
    beyond = affine.invert(affine.apply(pixels) * 10, np.dtype(np.uint8))
    assert (beyond.min(), beyond.max()) == (0, 255)
    constant = np.full((1, 4, 4), 7, dtype)
    flat = Normalization(kind=kind).fit(constant)
    np.testing.assert_array_equal(flat.invert(flat.apply(constant), constant.dtype), constant)
