"""The simulated person at the local page: what it does about what it sees."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not part of this distribution", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))

from person import CLICK, OUTLINE, STROKE, Person, along, border  # noqa: E402

TRUTH = np.zeros((80, 120), np.int32)
Y, X = np.mgrid[:80, :120]
for NUMBER, MIDDLE in enumerate((30, 53, 100), start=1):  # the first two touch
    TRUTH[((Y - 40) ** 2 + (X - MIDDLE) ** 2 < 12**2) & (TRUTH == 0)] = NUMBER
UNKNOWN = np.full(TRUTH.shape, -1, np.int32)


def a_person(task="objects"):
    return Person(task, 24.0, np.random.default_rng(0))


def test_the_border_between_two_objects():
    (y0, x0), (y1, x1) = border(TRUTH, 1, 2)
    assert x0 == pytest.approx(41.5, abs=1)
    assert x1 == pytest.approx(41.5, abs=1)
    assert y0 < 35
    assert y1 > 45


def test_a_path_along_a_line():
    ridge = np.array([(10 + n // 3, n) for n in range(60)])
    path = along(ridge, 30, (80, 120), 40)
    assert len(path) == 41
    assert np.abs(np.diff(path, axis=0)).max() == 1
    assert {tuple(place) for place in path.tolist()} <= {tuple(place) for place in ridge.tolist()}


def test_first_an_object_then_background_then_its_neighbour():
    person, painted = a_person(), UNKNOWN.copy()
    acts = []
    while (act := person.decide(0, TRUTH, painted, None)) is not None:
        acts.append((act.fields["kind"], act.fields["value"], act.seconds))
        for number in person.done[0]:
            painted[number == TRUTH] = number
    assert acts[:2] == [("fill", "new", OUTLINE), ("paint", 0, STROKE)]
    assert acts[-1] == ("fill", 0, OUTLINE)
    assert 0 < len(person.done[0]) < 3  # one of them is far from the others


def test_what_is_shown_rightly_is_accepted_beside_what_is_not():
    shown = np.where(TRUTH == 2, 0, TRUTH)
    person = a_person()
    person.begun = True
    acts = [person.decide(0, TRUTH, UNKNOWN, shown) for _ in range(2)]
    assert [(act.fields["kind"], act.seconds) for act in acts] == [("fill", OUTLINE), ("accept", CLICK)]


def test_two_that_are_shown_as_one_are_accepted_and_cut():
    shown = np.where(TRUTH == 2, 1, TRUTH)
    person = a_person()
    person.begun = True
    accepted = person.decide(0, TRUTH, UNKNOWN, shown)
    cut = person.decide(0, TRUTH, np.where(shown == 1, 7, UNKNOWN), shown)
    assert (accepted.fields["kind"], cut.fields["kind"], cut.fields["number"]) == ("accept", "split", 7)
    assert person.done[0] == {1, 2}


def test_what_the_page_refuses_was_not_done():
    person = a_person()
    person.begun = True
    person.decide(0, TRUTH, UNKNOWN, np.where(TRUTH == 2, 1, TRUTH))
    person.give_up(0)
    assert person.done[0] == set()
    assert person.cut is None


def test_nothing_is_done_where_all_is_right():
    assert a_person().decide(0, TRUTH, UNKNOWN, TRUTH) is None


def test_gaps_in_thin_structures_come_first():
    walls = np.ones((100, 100), np.int32)
    walls[48:52], walls[:, 48:52] = 0, 0
    shown = walls.copy()
    shown[48:52, 60:95] = 1
    act = a_person("classes").decide(0, walls, np.full(walls.shape, -1, np.int32), shown)
    assert act.fields["value"] == 0
    assert sum(48 <= y < 52 and 60 <= x <= 95 for y, x in act.fields["points"]) > len(act.fields["points"]) / 3
    assert a_person("classes").decide(0, walls, np.full(walls.shape, -1, np.int32), walls) is None
