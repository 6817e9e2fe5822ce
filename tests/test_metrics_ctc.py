from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import stored_scenes, stored_values

from contractile.errors import ContractileError
from contractile.metrics import METRICS
from contractile.metrics.contingency import select_objects, tabulate
from contractile.metrics.ctc import (
    GraphErrors,
    check_tracks,
    clear_border,
    count_detection_errors,
    count_tracking_errors,
    parse_tracks,
    score_objects,
)

labels = arrays(np.int32, (6, 6), elements=st.integers(0, 4))


def overlap(pred, true):
    return select_objects(tabulate(pred, true))


def count(frames, predicted, true):
    return count_tracking_errors(frames, parse_tracks(predicted), parse_tracks(true))


@given(labels)
def test_perfect_is_perfect(true):
    objects = overlap(true, true)
    assert (score_objects(objects) == 1).all()
    assert count_detection_errors(objects) == GraphErrors(vertices=len(objects.true_ids))


@given(labels, labels, st.permutations(range(1, 5)))
def test_bounds_and_relabelling(pred, true, order):
    one, two = overlap(pred, true), overlap(np.array([0, *order])[pred], true)
    assert score_objects(one) == pytest.approx(score_objects(two))
    assert ((score_objects(one) >= 0) & (score_objects(one) <= 1)).all()
    errors = count_detection_errors(one)
    assert errors == count_detection_errors(two)
    assert np.isnan(errors.det) == (not true.any())
    assert np.isnan(errors.det) or 0 <= errors.det <= 1


def test_an_overlap_of_one_half_finds_nothing():
    true = np.array([[1, 1, 1, 1]])
    assert score_objects(overlap(np.array([[1, 1, 0, 0]]), true)).tolist() == [0]
    assert score_objects(overlap(np.array([[1, 1, 1, 0]]), true)).tolist() == [0.75]


def test_one_prediction_over_three_objects_is_split_twice():
    true = np.array([[1, 2, 3, 0]])
    errors = count_detection_errors(overlap(np.array([[7, 7, 7, 0]]), true))
    assert errors == GraphErrors(vertices=3, splits=2)
    assert errors.det == pytest.approx(1 - 10 / 30)


def test_missed_and_extra():
    errors = count_detection_errors(overlap(np.array([[0, 0, 0, 5]]), np.array([[1, 0, 2, 0]])))
    assert errors == GraphErrors(vertices=2, missed=2, extra=1)
    assert errors.det == 0


def test_links_lost_moved_and_of_the_wrong_kind():
    frame = np.array([[1, 0, 2]])
    frames = {t: overlap(frame, frame) for t in range(3)}
    true = "1 0 2 0\n2 0 2 0\n"
    assert count(frames, true, true).tra == 1
    lost = count(
        {t: overlap(np.array([[1 if t < 2 else 3, 0, 2]]), frame) for t in range(3)},
        "1 0 1 0\n2 0 2 0\n3 2 2 0",
        true,
    )
    assert (lost.missing_edges, lost.redundant_edges, lost.wrong_edges) == (1, 0, 0)
    assert lost.tra == pytest.approx(1 - 1.5 / (10 * 6 + 1.5 * 4))
    child = count(
        {t: overlap(np.array([[1 if t < 2 else 3, 0, 2]]), frame) for t in range(3)},
        "1 0 1 0\n2 0 2 0\n3 2 2 1",
        true,
    )
    assert (child.missing_edges, child.redundant_edges, child.wrong_edges) == (0, 0, 1)
    swapped = {t: overlap(frame if t < 2 else frame[:, ::-1], frame) for t in range(3)}
    errors = count(swapped, true, true)
    assert (errors.missing_edges, errors.redundant_edges, errors.wrong_edges) == (2, 2, 0)


def test_tracks_may_end_long_after_the_last_frame():
    frame = np.array([[1, 0, 2_000_000_000]])
    frames = {t: overlap(frame, frame) for t in (0, 1, 2, 5)}
    long = "1 0 2000000000 0\n2000000000 0 2000000000 0\n"
    errors = count(frames, long, long)
    assert (errors.vertices, errors.edges, errors.tra) == (8, 4, 1)  # frames 3 and 4 are not there
    assert count(frames, "1 0 1 0\n2000000000 0 2000000000 0\n", long).missing_edges == 1


@pytest.mark.parametrize("border", [0, 1])
def test_objects_with_large_numbers(border):
    true = np.zeros((6, 6), np.int32)
    true[0, :2], true[2:4, 2:4], true[2:4, 4:] = 1, 2, 3
    large = np.where(true > 0, 2_000_000_000 + true, 0)
    kept, expected = clear_border(large, border), clear_border(true, border)
    np.testing.assert_array_equal(kept, np.where(expected > 0, 2_000_000_000 + expected, 0))
    assert score_objects(overlap(kept, large)).tolist() == score_objects(overlap(expected, true)).tolist()


def test_undefined_without_objects():
    empty = np.zeros((2, 2), int)
    errors = count({0: overlap(empty, empty)}, "", "")
    assert np.isnan(errors.det)
    assert np.isnan(errors.tra)
    assert METRICS["tra"].score(errors.array) is None


def test_errors_add_up():
    assert GraphErrors(vertices=1, splits=2) + GraphErrors(vertices=3, wrong_edges=4) == GraphErrors(
        vertices=4, splits=2, wrong_edges=4
    )


def test_field_of_interest_keeps_what_reaches_inside():
    image = np.zeros((10, 10), int)
    image[0:2, 0:2], image[0:4, 5:7], image[5, 5] = 1, 2, 3
    image[9, 9] = -1
    cleared = clear_border(image, 3)
    assert sorted(np.unique(cleared)) == [-1, 0, 2, 3]
    assert (cleared == 2).sum() == (image == 2).sum()
    assert clear_border(image, 0) is image
    volume = clear_border(np.repeat(image[None], 2, axis=0), 3)
    assert np.array_equal(volume[0], cleared)


@pytest.mark.parametrize("border", [-1, 5, 50])
def test_refuses_a_border_that_leaves_nothing(border):
    with pytest.raises(
        ContractileError, match=r"border must be at least 0 and leave a field inside \(10, 10\).* use 0"
    ):
        clear_border(np.zeros((10, 10), int), border)


def test_tracks_are_read():
    assert parse_tracks("1 0 5 0\n\n 2 6 7 1 \n").tolist() == [[1, 0, 5, 0], [2, 6, 7, 1]]
    assert parse_tracks("").shape == (0, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 5", r"line 1 must be four whole numbers .* got '1 0 5'; write one line per track"),
        ("1 0 5 0\n1 6 7 x", r"line 2 must be four whole numbers"),
        ("1 0 5 0\n1 6 7 0", r"line 2 must be a new label above 0 .* give every track its own label"),
        ("1 5 4 0", r"first frame <= last frame"),
        ("0 0 4 0", r"a new label above 0"),
        (
            "1 0 5 0\n2 5 7 1",
            r"the parent of track 2 must be a track that ends before frame 5, got 1; correct it",
        ),
        ("2 5 7 9", r"the parent of track 2 .* got 9"),
    ],
)
def test_refuses_broken_tracks(text, message):
    with pytest.raises(ContractileError, match=message):
        parse_tracks(text)


def test_refuses_tracks_that_do_not_fit_the_masks():
    tracks = parse_tracks("1 0 1 0")
    check_tracks(tracks, {0: [1], 1: [1], 2: []})
    with pytest.raises(ContractileError, match=r"frame 2 holds label 1, .* got frames 0 to 1; add or lengthen"):
        check_tracks(tracks, {2: [1]})
    with pytest.raises(ContractileError, match=r"frame 0 holds label 4, .* got none"):
        check_tracks(tracks, {0: [1, 4]})


@pytest.mark.parametrize("record", stored_values()["ctc"]["records"], ids=lambda r: r["result"])
def test_stored_values_of_the_challenge(record):
    scenes = stored_scenes()
    masks = scenes["ctc_" + record["result"]]
    frames = {t: overlap(masks[t], scenes[f"ctc_TRA_{t:03d}"]) for t in range(4)}
    errors = count(frames, record["tracks"], stored_values()["ctc"]["true_tracks"])
    detection, links = astuple(errors)[1:4], astuple(errors)[5:]
    assert list(detection + links) == record["counts"]
    each = [score_objects(overlap(masks[t], scenes[f"ctc_SEG_{t:03d}"])) for t in (0, 2, 3)]
    seg = METRICS["seg"].score(sum(np.array([scores.sum(), scores.size]) for scores in each))
    assert (seg, errors.det, errors.tra) == pytest.approx((record["seg"], record["det"], record["tra"]), abs=1e-6)
