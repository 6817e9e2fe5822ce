"""The table of objects."""

import numpy as np
import pytest

from contractile.decode import CERTAIN
from contractile.grid import Mosaic
from contractile.prediction.objects import Block, tabulate_objects


def two_boxes():
    labels = np.zeros((10, 12), np.int32)
    labels[2:5, 3:8], labels[6:, 0:2] = 1, 2
    pixels = np.arange(120, dtype=np.uint8).reshape(1, 10, 12)
    inside = np.rint(CERTAIN * np.where(labels == 1, 0.75, 0.25)).astype(np.uint16)
    return labels, pixels, inside


def blocks(labels, inside, side):
    """The blocks of labels, each with numbers of its own."""
    mosaic = Mosaic(labels.shape, (side,) * labels.ndim)
    for region in mosaic.regions():
        numbers, local = np.unique(np.append(0, labels[region]), return_inverse=True)
        yield Block(region, local[1:].reshape(labels[region].shape).astype(np.int32), numbers, inside[region])


@pytest.mark.parametrize("side", [1, 3, 20])
def test_a_table_of_objects(side):
    labels, pixels, inside = two_boxes()
    table = tabulate_objects(blocks(labels, inside, side), pixels, 2, pixel_size_um=(0.5, 0.2))
    first, second = ({name: float(column[row]) for name, column in table.items()} for row in (0, 1))
    assert first == pytest.approx(
        {
            "id": 1, "area_px": 15, "centroid_y_px": 3, "centroid_x_px": 5,
            "box_top_px": 2, "box_left_px": 3, "box_bottom_px": 5, "box_right_px": 8,
            "mean_intensity": 41, "mean_probability": 0.75,
            "area_um2": 1.5, "centroid_y_um": 1.5, "centroid_x_um": 1.0,
        },
        abs=1e-5,
    )  # fmt: skip
    assert (second["id"], second["area_px"]) == (2, 8)
    assert second["mean_probability"] == pytest.approx(0.25, abs=1e-5)
    assert list(tabulate_objects(blocks(labels, inside, side), pixels, 2)) == list(table)[:10]


def test_a_table_of_a_volume_with_two_channels():
    labels, pixels, inside = two_boxes()
    volume, channels = np.stack([labels, labels]), np.stack([pixels[0], pixels[0] + 1])
    table = tabulate_objects(blocks(volume, np.stack([inside] * 2), 4), np.stack([channels] * 2, axis=1), 2)
    assert {name: float(column[0]) for name, column in table.items()} == pytest.approx(
        {
            "id": 1, "volume_px": 30, "centroid_z_px": 0.5, "centroid_y_px": 3, "centroid_x_px": 5,
            "box_front_px": 0, "box_top_px": 2, "box_left_px": 3, "box_back_px": 2, "box_bottom_px": 5,
            "box_right_px": 8, "mean_intensity_0": 41, "mean_intensity_1": 42, "mean_probability": 0.75,
        },
        abs=1e-5,
    )  # fmt: skip


def test_what_was_dropped_is_in_no_table():
    labels, pixels, inside = two_boxes()
    whole = Block((slice(0, 10), slice(0, 12)), labels, np.array([0, 0, 1]), inside)
    assert tabulate_objects([whole], pixels, 1)["area_px"].tolist() == [8]
    assert all(len(column) == 0 for column in tabulate_objects([], pixels, 0).values())
