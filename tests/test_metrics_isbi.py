import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scenes import stored_scenes, stored_values

from contractile.errors import ContractileError
from contractile.metrics import METRICS
from contractile.metrics.isbi import LEVELS, THRESHOLDS, curve, measure

QUICK = ("pixel_error", "rand_error", "v_rand", "v_info")
maps = arrays(np.uint8, (9, 8), elements=st.integers(0, 1))
grey = arrays(np.float32, (9, 8), elements=st.floats(0, 1, width=32))


def score(predicted, truth, names=QUICK):
    """Best scores of a set of slices."""
    measured = [measure(p, t, names=names) for p, t in zip(predicted, truth, strict=True)]
    return {n: float(METRICS[n].formula(sum(m[n] for m in measured))) for n in names}


def test_thresholds_are_accumulated_doubles():
    assert THRESHOLDS[3] == 0.30000000000000004
    assert THRESHOLDS[10] == 0.9999999999999999
    assert len(THRESHOLDS) == 11


@given(maps)
def test_perfect_is_perfect(truth):
    for predicted in (truth, truth.astype(np.float32), truth.astype(bool)):
        result = score([predicted], [truth], names=tuple(LEVELS))
        assert result["pixel_error"] == 0
        assert result["warping_error"] == 0
        if truth.any():
            assert result["rand_error"] == pytest.approx(0, abs=1e-12)


@given(grey, maps)
def test_bounds_are_kept(predicted, truth):
    result = score([predicted], [truth], names=tuple(LEVELS))
    for value in result.values():
        assert np.isnan(value) or -1e-9 <= value <= 1 + 1e-9
    assert np.isnan(result["v_rand"]) == (not truth.any())


def test_two_cells_and_one_membrane():
    truth = np.ones((5, 11), np.uint8)
    truth[:, 5] = 0
    merged = np.ones((5, 11), np.uint8)
    # 2 cells of 25 pixels in one basin: F = 2 * 2 * 25^2 / (2 * 25^2 + 50^2)
    result = score([merged], [truth])
    assert result["v_rand"] == pytest.approx(2 / 3)
    assert result["rand_error"] == pytest.approx(1 / 3)
    assert result["v_info"] == 0
    assert result["pixel_error"] == pytest.approx(1 - 2 * 50 / (50 + 55))


def test_one_perfect_object_has_no_information():
    truth = np.ones((4, 4), np.uint8)
    result = score([truth], [truth])
    assert (result["v_rand"], result["v_info"]) == (1, 0)


def test_truth_may_be_0_and_255_and_labels_binary():
    truth = np.zeros((6, 6), np.uint8)
    truth[1:3, 1:5], truth[4, 1:5] = 1, 1
    assert score([truth * 7], [truth.astype(np.int32) * 255]) == score([truth.astype(float)], [truth])


def test_measures_add_up_over_slices():
    rng = np.random.default_rng(0)
    predicted, truth = rng.random((3, 9, 9)), rng.integers(0, 2, (3, 9, 9))
    each = [score([p], [t])["v_rand"] for p, t in zip(predicted, truth, strict=True)]
    together = score(predicted, truth)["v_rand"]
    assert 0 < together <= np.mean(each) + 1e-12  # one threshold for all


def test_refuses_volumes_and_other_shapes():
    with pytest.raises(ContractileError, match=r"two-dimensional slices of one shape .* score a stack slice by slice"):
        measure(np.zeros((2, 3, 3)), np.zeros((2, 3, 3), int))
    with pytest.raises(ContractileError, match=r"got \(3, 4\) and \(3, 3\)"):
        measure(np.zeros((3, 4)), np.zeros((3, 3), int))


def test_refuses_ignored_pixels():
    with pytest.raises(
        ContractileError, match=r"truth must not hold ignored pixels .* got -1; leave the isbi scores out"
    ):
        measure(np.zeros((3, 3)), np.full((3, 3), -1))


@pytest.mark.parametrize("record", stored_values()["isbi"]["records"], ids=lambda r: f"{r['truth']}-{r['proposal']}")
def test_stored_values_of_the_challenge(record):
    scenes = stored_scenes()
    truth = scenes["isbi_" + record["truth"]]
    measured = measure(scenes["isbi_" + record["proposal"]], truth, names=QUICK)
    scores = {name: curve(name, measured[name])[0] for name in QUICK}
    assert scores["pixel_error"] == pytest.approx(1 - record["pixel_f"], abs=1e-9)
    if truth.any():
        expected = (1 - record["rand_f"], record["v_rand"], record["v_info"])
        assert [scores[n] for n in ("rand_error", "v_rand", "v_info")] == pytest.approx(expected, abs=1e-9)
    else:  # the challenge prints NaN statistics and a best score of 0
        assert all(np.isnan(scores[n]) for n in ("rand_error", "v_rand", "v_info"))
