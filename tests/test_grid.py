"""Tiles: one owner per pixel, true neighbours inside, mirrors outside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.grid import cut, mirror, paste, plan

geometries = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(
        st.tuples(*[st.integers(1, 40)] * dims),  # image
        st.integers(0, 6),  # margin
        st.sampled_from([1, 2, 4]),  # stride
        st.tuples(*[st.integers(0, 12)] * dims),  # what a tile has beyond 2 x margin + stride
    )
)


@settings(max_examples=200)
@given(geometries)
def test_every_pixel_has_exactly_one_owner(geometry):
    shape, margin, stride, extra = geometry
    tile = tuple(2 * margin + stride + more for more in extra)
    owners = np.zeros(shape, int)
    for part in plan(shape, tile, margin=margin, stride=stride):
        owners[part.owned] += 1
        for (read, read_stop), (write, write_stop), size in zip(part.read, part.write, tile, strict=True):
            assert read_stop - read == size
            assert write - read == margin
            assert write_stop + margin <= read_stop
            assert write % stride == 0
    assert (owners == 1).all()


@settings(max_examples=100)
@given(geometries)
def test_cutting_and_pasting_gives_the_image_back(geometry):
    shape, margin, stride, extra = geometry
    tile = tuple(2 * margin + stride + more for more in extra)
    image = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    out = np.full_like(image, -1)
    core = (slice(None), *(slice(margin, size - margin) for size in tile))
    for part in plan(shape, tile, margin=margin, stride=stride):
        paste(out, part, cut(image, part)[core])
    np.testing.assert_array_equal(out, image)


@settings(max_examples=100)
@given(geometries)
def test_a_cut_is_a_window_of_the_mirrored_image(geometry):
    shape, margin, stride, extra = geometry
    tile = tuple(2 * margin + stride + more for more in extra)
    image = np.arange(np.prod(shape)).reshape(1, *shape)
    pad = max(tile)
    padded = np.pad(image, [(0, 0)] + [(pad, 2 * pad)] * len(shape), mode="reflect")
    for part in plan(shape, tile, margin=margin, stride=stride):
        window = tuple(slice(start + pad, stop + pad) for start, stop in part.read)
        np.testing.assert_array_equal(cut(image, part), padded[(slice(None), *window)])


@given(st.integers(1, 9), st.integers(-50, 50))
def test_mirror_is_numpys_reflect(size, index):
    padded = np.pad(np.arange(size), (50, 60), mode="reflect")
    assert mirror(np.array([index]), size)[0] == padded[index + 50]


def test_the_papers_tiles_on_a_512_image():
    parts = plan((512, 512), (572, 572), margin=92, stride=16)
    assert [part.write for part in parts] == [
        ((0, 384), (0, 384)),
        ((0, 384), (384, 512)),
        ((384, 512), (0, 384)),
        ((384, 512), (384, 512)),
    ]
    assert len(plan((388, 388), (572, 572), margin=92, stride=16)) == 1
    assert len(plan((512, 512), (700, 700), margin=92, stride=16)) == 1


def test_only_the_tiles_region_is_read():
    class Watched:
        shape = (1, 1000, 1000)

        def __getitem__(self, key):
            self.key = key
            return np.zeros((1, *(s.stop - s.start for s in key[1:])))

    image = Watched()
    part = plan((1000, 1000), (64, 64), margin=8, stride=16)[-1]
    cut(image, part)
    assert all(s.stop - s.start <= 64 for s in image.key[1:])


@pytest.mark.parametrize(
    ("shape", "tile", "margin", "stride", "message"),
    [
        (
            (512, 512),
            (128, 572),
            92,
            16,
            r"tile must exceed 2 x margin = 184 .* got \(128, 572\); use at least \(200, 572\)",
        ),
        (
            (512, 512),
            (188, 188),
            92,
            16,
            r"tile must leave at least one stride = 16 .* got 188; use at least 200",
        ),
        (
            (512, 512),
            (572,),
            92,
            16,
            r"tile must have one size per axis of the image \(512, 512\), got \(572,\)",
        ),
        ((0, 512), (572, 572), 92, 16, r"shape must be at least 1 pixel on every axis, got \(0, 512\)"),
    ],
)
def test_refusals(shape, tile, margin, stride, message):
    with pytest.raises(ValueError, match=message):
        plan(shape, tile, margin=margin, stride=stride)
