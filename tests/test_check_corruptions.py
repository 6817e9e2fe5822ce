"""Each way in which people's data go wrong (benchmarks/corruptions.py) is named, here in synthetic scenes."""

import sys
from pathlib import Path

import numpy as np
import pytest

from contractile.check import check_dataset
from contractile.synthetic import SceneConfig, draw_scene

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from corruptions import ASKED, CORRUPTIONS, Copy  # noqa: E402


@pytest.fixture(scope="module")
def scenes():
    """Six images of 8 bits with their labels."""
    found = []
    for number in range(6):
        image, labels = draw_scene(SceneConfig(shape=(128, 128), radius=9), np.random.default_rng(number))
        pixels = (image[0] * 255 / (image.max() + 5)).clip(0, 255).astype(np.uint8)
        found.append((f"im{number:03d}", pixels, labels.astype(np.uint16)))
    return found


def test_nothing_is_wrong_with_the_scenes(scenes, tmp_path):
    copy = Copy(tmp_path / "set", scenes)
    assert check_dataset(copy.images, copy.labels) == []


def test_there_are_twenty_five_that_count():
    assert len({corruption.title for corruption in CORRUPTIONS}) == len(CORRUPTIONS) > ASKED == 25


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.title)
def test_a_corruption_is_named(corruption, scenes, tmp_path):
    copy = Copy(tmp_path / "set", scenes)
    file = corruption.act(copy, np.random.default_rng(1))
    findings = check_dataset(copy.images, copy.labels)
    right = [one for one in findings if one.kind == corruption.named or corruption.named in one.cure]
    assert right, findings
    assert file in f"{right[0].where} {right[0].problem}"
