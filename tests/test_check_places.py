"""Whether labels lie where the objects of their image are: images of odd shapes, and sides that do not fit."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from contractile.check import check_dataset
from contractile.images import write_image, write_labels
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


def spoilt(folder, side, labels):
    """Three pairs, of which one has a file that cannot be opened; one label image has a fault, too."""
    for number in range(3):
        image, truth = draw_scene(SceneConfig(shape=(96, 96), radius=9), np.random.default_rng(number))
        write_image(folder / "images" / f"cell{number}.tif", image.clip(0).astype(np.uint16))
        write_labels(folder / "labels" / f"cell{number}.tif", truth * (number != labels))
    (folder / side / "cell1.tif").write_bytes(b"II*\0nothing")
    return check_dataset(folder / "images", folder / "labels")


@pytest.mark.parametrize("side", ["images", "labels"])
@pytest.mark.parametrize("empty", [0, 1])
def test_beside_a_file_that_cannot_be_opened_the_others_are_looked_at(tmp_path, side, empty):
    findings = spoilt(tmp_path, side, empty)
    told = [(one.level, "/".join(Path(one.where).parts[-2:]), one.kind) for one in findings]
    assert told[0] == ("error", f"{side}/cell1.tif", "")
    if empty == 0 or side == "images":  # the labels of this image can be read
        assert told[1:] == [("warning", f"labels/cell{empty}.tif", "empty")]


def test_the_only_pair_cannot_be_opened(tmp_path):
    image, _ = scene(tmp_path, (64, 64))
    image.write_bytes(b"II*\0nothing")
    findings = check_dataset(image, tmp_path / "labels.tif")
    assert [(one.level, one.where) for one in findings] == [("error", str(image))]
