"""Tiles: one owner per pixel, true neighbours inside, mirrors outside."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.grid import cut, mirror, plan

geometries = st.integers(1, 3).flatmap(
    lambda dims: st.tuples(
        st.tuples(*[st.integers(1, 40)] * dims),  # image
        st.tuples(*[st.integers(0, 6)] * dims),  # margin
        st.tuples(*[st.sampled_from([1, 2, 4])] * dims),  # stride
        st.tuples(*[st.integers(0, 12)] * dims),  # what a tile has beyond 2 x margin + stride
    )
)


def tile_of(margin, stride, extra):
    return tuple(2 * rim + step + more for rim, step, more in zip(margin, stride, extra, strict=True))


@settings(max_examples=200)
@given(geometries)
def test_every_pixel_has_exactly_one_owner(geometry):
    shape, margin, stride, extra = geometry
    tile = tile_of(margin, stride, extra)
    owners = np.zeros(shape, int)
    for block in plan(shape, tile, margin=margin, stride=stride):
        owners[block.owned] += 1
        for (read, read_stop), (write, write_stop), size, rim, step in zip(
            block.read, block.write, tile, margin, stride, strict=True
        ):
            assert read_stop - read == size
            assert write - read == rim
            assert write_stop + rim <= read_stop
            assert write % step == 0
    assert (owners == 1).all()


@settings(max_examples=100)
@given(geometries)
def test_the_cores_of_all_blocks_give_the_image_back(geometry):
    shape, margin, stride, extra = geometry
    tile = tile_of(margin, stride, extra)
    image = np.arange(2 * np.prod(shape)).reshape(2, *shape)
    out = np.full_like(image, -1)
    for block in plan(shape, tile, margin=margin, stride=stride):
        core = [slice(rim, rim + stop - start) for rim, (start, stop) in zip(margin, block.write, strict=True)]
        out[(slice(None), *block.owned)] = cut(image, block)[(slice(None), *core)]
    np.testing.assert_array_equal(out, image)


@settings(max_examples=100)
@given(geometries)
def test_a_cut_is_a_window_of_the_mirrored_image(geometry):
    shape, margin, stride, extra = geometry
    tile = tile_of(margin, stride, extra)
    image = np.arange(np.prod(shape)).reshape(1, *shape)
    pad = max(tile)
    padded = np.pad(image, [(0, 0)] + [(pad, 2 * pad)] * len(shape), mode="reflect")
    for block in plan(shape, tile, margin=margin, stride=stride):
        window = tuple(slice(start + pad, stop + pad) for start, stop in block.read)
        np.testing.assert_array_equal(cut(image, block), padded[(slice(None), *window)])


@given(st.integers(1, 9), st.integers(-50, 50))
def test_mirror_is_numpys_reflect(size, index):
    padded = np.pad(np.arange(size), (50, 60), mode="reflect")
    assert mirror(np.array([index]), size)[0] == padded[index + 50]


PAPER = {"margin": (92, 92), "stride": (16, 16)}


def test_the_papers_tiles_on_a_512_image():
    blocks = plan((512, 512), (572, 572), **PAPER)
    assert [block.write for block in blocks] == [
        ((0, 384), (0, 384)),
        ((0, 384), (384, 512)),
        ((384, 512), (0, 384)),
        ((384, 512), (384, 512)),
    ]
    assert len(plan((388, 388), (572, 572), **PAPER)) == 1
    assert len(plan((512, 512), (700, 700), **PAPER)) == 1


def test_each_axis_has_its_own_margin_and_stride():
    blocks = plan((9, 32), (6, 40), margin=(1, 8), stride=(1, 16))
    assert [block.read for block in blocks] == [
        ((-1, 5), (-8, 32)),
        ((-1, 5), (8, 48)),
        ((3, 9), (-8, 32)),
        ((3, 9), (8, 48)),
        ((7, 13), (-8, 32)),
        ((7, 13), (8, 48)),
    ]
    assert [block.write for block in blocks][::2] == [((0, 4), (0, 16)), ((4, 8), (0, 16)), ((8, 9), (0, 16))]


def test_only_the_region_of_the_block_is_read():
    class Watched:
        shape = (1, 1000, 1000)

        def __getitem__(self, key):
            self.key = key
            return np.zeros((1, *(s.stop - s.start for s in key[1:])))

    image = Watched()
    block = plan((1000, 1000), (64, 64), margin=(8, 8), stride=(16, 16))[-1]
    cut(image, block)
    assert all(s.stop - s.start <= 64 for s in image.key[1:])


@pytest.mark.parametrize(
    ("shape", "tile", "message"),
    [
        (
            (512, 512),
            (128, 572),
            r"tile must exceed 2 x margin = \(184, 184\) on every axis, got \(128, 572\); use at least \(200, 572\)",
        ),
        ((512, 512), (188, 188), r"tile must leave at least one stride = 16 .* got 188; use at least 200"),
        (
            (512, 512),
            (572,),
            r"tile, margin and stride must have one number per axis of the image \(512, 512\), got \(572,\)",
        ),
        ((0, 512), (572, 572), r"shape must be at least 1 pixel on every axis, got \(0, 512\)"),
    ],
)
def test_refusals(shape, tile, message):
    with pytest.raises(ValueError, match=message):
        plan(shape, tile, **PAPER)


def test_a_margin_or_stride_for_other_axes_is_refused():
    with pytest.raises(ValueError, match=r"got \(572, 572\), \(92, 92, 92\) and \(16, 16\); give 2 numbers for each"):
        plan((512, 512), (572, 572), margin=(92, 92, 92), stride=(16, 16))
    with pytest.raises(ValueError, match=r"got \(572, 572\), \(92, 92\) and \(16,\); give 2 numbers for each"):
        plan((512, 512), (572, 572), margin=(92, 92), stride=(16,))
