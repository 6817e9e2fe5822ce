"""Whether labels lie where the objects of their image are: images of odd shapes, and sides that do not fit."""

import numpy as np
import pytest
import tifffile

from contractile.check import check_dataset
from contractile.synthetic import SceneConfig, draw_scene


def scene(folder, shape, *, planes=None):
    """A pair of files, of which the image may have fewer planes than the labels."""
    image, labels = draw_scene(SceneConfig(shape=shape, radius=9), np.random.default_rng(0))
    tifffile.imwrite(folder / "image.tif", image[0, :planes].clip(0).astype(np.uint16), photometric="minisblack")
    tifffile.imwrite(folder / "labels.tif", labels, photometric="minisblack")
    return folder / "image.tif", folder / "labels.tif"


def test_a_volume_and_labels_with_more_planes(tmp_path):
    """The plane of the labels that is looked at is none of the image."""
    findings = check_dataset(*scene(tmp_path, (20, 64, 64), planes=5), dims=3)
    assert "image and labels differ in size: (5, 64, 64) and (20, 64, 64)" in [one.problem for one in findings]


@pytest.mark.parametrize("shape", [(40, 3000), (3000, 40)])
def test_a_long_narrow_image(tmp_path, shape):
    """Shrunken as far as its long side asks, it would have no row."""
    findings = check_dataset(*scene(tmp_path, shape))
    assert [one.problem for one in findings if one.level == "error"] == []
