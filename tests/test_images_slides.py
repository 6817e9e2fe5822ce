"""TIFFs of makers: whole slides of Aperio with their pyramids, LSM of Zeiss with its thumbnails."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from makers_files import pixels

from contractile.images import find, open_image, read

SLIDE = np.kron(pixels(60, 80, 3, dtype="u1"), np.ones((8, 8, 1), np.uint8))  # flat squares: JPEG keeps them
ABOUT = "Aperio Image Library v11.2.1\r\n640x480 (128x128) JPEG/RGB Q=95|AppMag = 20|MPP = 0.4990|Left = 3"


def write_slide(path: Path, description: str = ABOUT) -> None:
    """A slide as a scanner writes it: the image, a thumbnail, lower resolutions, the label, an overview."""
    with tifffile.TiffWriter(path) as tiff:
        for values, kind, form in (
            (SLIDE, 0, {"tile": (128, 128)}),
            (SLIDE[::8, ::8], 0, {"rowsperstrip": 16}),
            (SLIDE[::2, ::2], 0, {"tile": (128, 128)}),
            (SLIDE[::4, ::4], 0, {"tile": (128, 128)}),
            (SLIDE[:50, :60], 1, {"rowsperstrip": 16}),
            (SLIDE[:50, :90], 9, {"rowsperstrip": 16}),
        ):
            tiff.write(
                np.ascontiguousarray(values), photometric="rgb", compression="zlib", metadata=None, subfiletype=kind,
                description=description, **form,
            )  # fmt: skip


def test_a_slide_is_one_image_with_levels(tmp_path: Path) -> None:
    write_slide(tmp_path / "a.svs")
    [source] = find(tmp_path)
    with open_image(source) as image:
        assert image.pixel_size_um == pytest.approx((0.499, 0.499))
        assert image.unit == (128, 128)
        np.testing.assert_array_equal(image[:, 100:200, 300:400], np.moveaxis(SLIDE[100:200, 300:400], -1, 0))
        assert [level.shape[1:] for level in image.levels] == [(480, 640), (240, 320), (120, 160)]
        np.testing.assert_array_equal(image.levels[2].pixels, np.moveaxis(SLIDE[::4, ::4], -1, 0))
        assert image.levels[1].pixel_size_um == pytest.approx((0.998, 0.998))


@pytest.mark.parametrize("said", ["", "|MPP = none", "|MPP = 0"])
def test_a_slide_without_a_size(tmp_path: Path, said: str) -> None:
    write_slide(tmp_path / "a.svs", f"Aperio Image Library v11.2.1{said}")
    with open_image(find(tmp_path)[0]) as image:
        assert image.pixel_size_um is None


def test_an_lsm_has_its_planes_and_no_thumbnails(tmp_path: Path) -> None:
    values = pixels(4, 40, 50)
    facts = struct.pack("<2I6i", 0x0400494C, 500, 50, 40, 4, 1, 1, 2) + struct.pack("<2i", 10, 8)
    facts += struct.pack("<6d2HI", 2e-7, 3e-7, 1e-6, 0, 0, 0, 0, 0, 0)  # voxel size, origin, kinds of scan
    facts = (facts + bytes(4 * 4) + struct.pack("<d", 2.5)).ljust(500, b"\0")
    with tifffile.TiffWriter(tmp_path / "a.lsm") as tiff:
        for number, plane in enumerate(values):
            tag = [(34412, 1, len(facts), facts, True)] if number == 0 else []
            tiff.write(plane, photometric="minisblack", metadata=None, extratags=tag)
            tiff.write(plane[::5, ::5].astype(np.uint8), photometric="minisblack", metadata=None, subfiletype=1)
    [volume] = find(tmp_path, dims=3)
    image = read(volume, dims=3)
    np.testing.assert_array_equal(image.pixels[0], values)
    assert image.pixel_size_um == pytest.approx((1.0, 0.3, 0.2))
    assert len(find(tmp_path)) == 4
