from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import stored_scenes, stored_values
from scipy import ndimage

from contractile.metrics.warping import TopologyErrors, count_topology_errors, is_simple, warp

# clockwise from above, as the bits of a ring
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
maps = arrays(bool, (8, 9), elements=st.booleans())
grey = arrays(np.float64, (8, 9), elements=st.floats(0, 1, width=32))


def test_simple_points_are_those_of_the_challenge():
    table = stored_values()["simple_point_n4"]
    for code, expected in enumerate(table):
        ring = sum(((code >> ((1 + dx) + 3 * (1 + dy))) & 1) << i for i, (dy, dx) in enumerate(RING))
        assert is_simple(ring) == (expected == "1"), code


def count_parts(white):
    """Objects (4-connected) and parts of the background (8-connected) with the outside."""
    padded = np.pad(white, 1)
    return ndimage.label(padded)[1], ndimage.label(~padded, np.ones((3, 3)))[1]


@given(grey, maps)
def test_warping_keeps_the_topology(proposal, white):
    warped = warp(proposal, white, 0.5)
    assert count_parts(warped) == count_parts(white)
    target = proposal > 0.5
    assert (warped != target).sum() <= (white != target).sum()


@given(maps)
def test_a_perfect_proposal_leaves_nothing(white):
    assert count_topology_errors(white.astype(float), white, 0.5) == TopologyErrors()


def test_a_gap_in_a_membrane_is_a_merger():
    white = np.ones((7, 7), bool)
    white[:, 3] = False
    proposal = white.astype(float)
    proposal[3, 3] = 1
    assert count_topology_errors(proposal, white, 0.5) == TopologyErrors(mergers=1)


def test_a_wall_through_an_object_is_a_split():
    white = np.zeros((7, 7), bool)
    white[1:6, 1:6] = True
    proposal = white.astype(float)
    proposal[:, 3] = 0
    errors = count_topology_errors(proposal, white, 0.5)
    assert (errors.mergers, errors.splits) == (0, 1)


def test_a_vanished_object_is_free():
    white = np.zeros((7, 7), bool)
    white[1:6, 1:6] = True
    assert count_topology_errors(np.zeros((7, 7)), white, 0.5) == TopologyErrors(object_deletions=1)


@pytest.mark.parametrize("record", stored_values()["isbi"]["records"], ids=lambda r: f"{r['truth']}-{r['proposal']}")
def test_stored_counts_of_the_challenge(record):
    scenes = stored_scenes()
    proposal, white = (
        scenes["isbi_" + record["proposal"]].astype(float),
        scenes["isbi_" + record["truth"]] > 0,
    )
    assert astuple(count_topology_errors(proposal, white, 0.0)) == tuple(record["counts"])
