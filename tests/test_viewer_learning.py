"""The page's side of the learner: what it sends, what it keeps of the answers, and that a killed learner comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from contractile.errors import ContractileError
from contractile.images import find
from contractile.synthetic import SceneConfig, draw_scene
from contractile.viewer.acts import AddAll, Flood, Paint
from contractile.viewer.child import Child
from contractile.viewer.latest import Latest
from contractile.viewer.learner.messages import Begin, Painted, Shown, Told
from contractile.viewer.learning import SCORES, Learning, _read_scores
from contractile.viewer.session import Session
from contractile.viewer.session_file import PageInfo

PATIENCE_S = 300.0


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    pixels, _ = draw_scene(SceneConfig(shape=(96, 128)), np.random.default_rng(3))
    tifffile.imwrite(tmp_path / "cells.tif", pixels[0].clip(0, 2**16 - 1).astype(np.uint16))
    page = PageInfo(name="cells", shape=(96, 128))
    with_truth = Session(tmp_path / "session", [page], task="objects")
    yield with_truth
    with_truth.close()


class Silent(Learning):
    """Without a process."""

    def _keep_alive(self) -> None:
        return


def begin(session: Session, task: Any = "objects") -> Begin:
    place = session.folder.parent
    return Begin(
        tuple(find(place / "cells.tif")), task, () if task == "objects" else (0, 1), place / "models", minutes=5
    )


def shown(labels: NDArray[np.int32], corner: tuple[int, int] = (0, 0), image: int = 0) -> Shown:
    region = (slice(corner[0], corner[0] + labels.shape[0]), slice(corner[1], corner[1] + labels.shape[1]))
    inside = np.where(labels > 0, 200, 10).astype(np.uint8)
    return Shown(image, region, labels, inside, np.full(labels.shape, 255, np.uint8), 7)


def part(y0: int, y1: int, x0: int, x1: int) -> tuple[slice, slice]:
    return slice(y0, y1), slice(x0, x1)


def wait_for(happens: Callable[[], Any]) -> Any:
    """What `happens` gives, once it gives something."""
    end = time.monotonic() + PATIENCE_S
    while not (found := happens()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.1)
    return found


def test_layers_are_what_was_predicted_by_level(session: Session) -> None:
    learning = Silent(session, begin(session))
    assert learning.layer(0, "prediction", (1, 1), part(0, 9, 0, 9)) is None
    labels = np.zeros((8, 8), np.int32)
    labels[2:4, 2:4] = 5
    learning._take(shown(labels, corner=(10, 20)))
    found = learning.layer(0, "prediction", (1, 1), part(8, 16, 20, 26))
    assert found is not None
    assert (found[2:] == labels[:6, :6]).all()
    assert (found[:2] == -1).all()
    inside = learning.layer(0, "inside", (2, 2), part(5, 9, 10, 14))
    assert inside is not None
    assert inside.tolist() == [[10] * 4, [10, 200, 10, 10], [10] * 4, [10] * 4]
    assert learning.layer(0, "certainty", (1, 1), part(40, 44, 40, 44)) is None
    learning.close()


def test_objects_are_found_under_a_pixel_and_in_a_region(session: Session) -> None:
    learning = Silent(session, begin(session))
    assert learning.object_at(0, 3, 3) is None
    labels = np.zeros((8, 12), np.int32)
    labels[1:3, 1:3], labels[4:8, 6:10] = 3, 4
    learning._take(shown(labels, corner=(10, 20)))
    found = learning.object_at(0, 12, 22)
    assert found is not None
    assert found.region == part(11, 13, 21, 23)
    assert found.mask.all()
    assert found.probability == pytest.approx(200 / 255)
    assert learning.object_at(0, 10, 20) is None
    assert learning.object_at(0, 90, 20) is None
    region, inside = learning.objects_in(0, part(10, 17, 20, 31))
    assert region == part(10, 17, 20, 31)
    assert set(np.unique(inside)) == {0, 3}  # the other one leaves the region
    learning.close()


def test_objects_that_are_cut_where_the_prediction_ends_are_no_whole_objects(session: Session) -> None:
    learning = Silent(session, begin(session))
    labels = np.zeros((8, 12), np.int32)
    labels[1:3, 1:3], labels[4:8, 6:10], labels[5:7, 10:] = 3, 4, 5
    learning._take(shown(labels, corner=(10, 20)))
    assert set(np.unique(learning.objects_in(0, part(0, 96, 0, 128))[1])) == {0, 3}
    cut = [found.cut for y, x in ((12, 22), (15, 27), (15, 31)) if (found := learning.object_at(0, y, x))]
    assert cut == [False, True, True]
    learning._take(shown(labels, corner=(88, 116)))  # the image ends there, too
    assert set(np.unique(learning.objects_in(0, part(0, 96, 0, 128))[1])) == {0, 3, 4, 5}
    found = learning.object_at(0, 93, 123)
    assert found
    assert not found.cut
    learning.close()


def test_of_classes_the_connected_part_is_found(session: Session) -> None:
    learning = Silent(session, begin(session, "classes"))
    labels = np.zeros((4, 6), np.int32)
    labels[:, 2] = 1
    learning._take(shown(labels))
    found = learning.object_at(0, 0, 5)
    assert found is not None
    assert found.region == part(0, 4, 3, 6)
    assert found.value == 0
    region, inside = learning.objects_in(0, part(1, 3, 2, 9))
    assert region == part(1, 3, 2, 9)
    assert inside.tolist() == [[1, 0, 0, 0, 0, 0, 0]] * 2  # a class need not lie wholly in view
    learning.close()


def test_predictions_are_kept_as_long_as_there_is_room(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.zeros((8, 12), np.int32)
    one = shown(labels)
    each = one.labels.nbytes + one.inside.nbytes + one.certainty.nbytes
    monkeypatch.setattr("contractile.viewer.learning.Latest", lambda: Latest(2 * each))
    learning = Silent(session, begin(session))
    for image in (0, 1, 0, 2):
        learning._take(shown(labels, image=image))
    layers = [learning.layer(image, "inside", (1, 1), part(0, 8, 0, 12)) for image in range(3)]
    assert [one is not None for one in layers] == [True, False, True]
    learning._take(shown(np.zeros((80, 120), np.int32), image=3))  # too large, but the newest stays
    layers = [learning.layer(image, "inside", (1, 1), part(0, 8, 0, 12)) for image in range(4)]
    assert [one is not None for one in layers] == [False, False, False, True]
    learning.close()


def test_what_the_learner_has_the_page_has() -> None:
    rng, (page, learner) = np.random.default_rng(5), (Latest(3000), Latest(3000))
    seen = set[int]()
    for turn in range(200):
        if turn % 50 == 49:
            learner.clear()  # the user begins anew
        message = shown(np.zeros((rng.integers(1, 20), 10), np.int32), image=int(rng.integers(8)))
        page.put(message)
        learner.put(message)
        learner.get(int(rng.integers(8)))
        for image in range(8):
            assert learner.get(image) in (None, page.get(image))
        seen.add(sum(page.get(image) is not None for image in range(8)))
    assert len(seen) > 2


def test_wishes_are_checked(session: Session) -> None:
    learning = Silent(session, begin(session))
    with pytest.raises(ContractileError, match=r"do must be one of pause, resume, .* got 'dance'"):
        learning.command("dance")
    with pytest.raises(ContractileError, match=r"minutes must be from 0 to 1440, got -3"):
        learning.command("longer", minutes=-3)
    with pytest.raises(ContractileError, match=r"model must be one of the published ones, got '0001'"):
        learning.command("go_back", model="0001")
    learning.close()


def test_scores_outlive_the_process(session: Session) -> None:
    learning, news = Silent(session, begin(session)), list[tuple[str, dict[str, Any]]]()
    learning.on_news(lambda kind, values: news.append((kind, values)))
    learning._take(Told("score", {"model": "0001", "seconds": 3.0, "steps": 20, "value": 0.5}))
    learning._take(Told("suggestions", {"found": [{"image": 0}, {"image": 1}]}))
    assert [kind for kind, _ in news] == ["scores", "suggestions"]
    assert learning.suggestions(1) == [{"image": 0}]
    assert learning.models() == []  # its file is not there
    assert learning.model() is None
    learning.close()
    scores = session.folder / SCORES
    scores.write_text(scores.read_text() + '{"model": "0002", "sec')
    (session.folder.parent / "models").mkdir()
    (session.folder.parent / "models" / "0001.safetensors").touch()
    again = Silent(session, begin(session))
    assert again._go_on().start == again.model()
    assert again._go_on().seconds == 3
    assert [row["model"] for row in again.scores()] == ["0001"]
    assert _read_scores(session.folder / "nothing") == ([], None)
    again.close()


def test_the_model_that_the_user_went_back_to_is_the_model(session: Session) -> None:
    learning = Silent(session, begin(session))
    models = session.folder.parent / "models"
    models.mkdir()
    for number in (1, 2, 3):
        (models / f"000{number}.safetensors").touch()
        learning._take(Told("score", {"model": f"000{number}", "seconds": 3.0 * number, "steps": 20}))
    assert learning.model() == models / "0003.safetensors"
    learning._take(Told("back", {"model": "0001"}))
    again = Silent(session, begin(session))
    for one in (learning, again):
        assert one.model() == models / "0001.safetensors"
        assert one._go_on().start == models / "0001.safetensors"
        assert one._go_on().seconds == 9
        assert len(one.scores()) == 3
    (models / "0001.safetensors").unlink()
    assert learning.model() == models / "0003.safetensors"
    (models / "0004.safetensors").touch()
    again._take(Told("score", {"model": "0004", "seconds": 12.0, "steps": 20}))
    assert again.model() == models / "0004.safetensors"
    assert Silent(session, begin(session)).model() == models / "0004.safetensors"


def test_a_learner_learns_and_comes_back_when_it_is_killed(session: Session) -> None:
    _, truth = draw_scene(SceneConfig(shape=(96, 128)), np.random.default_rng(3))
    learning, news = Learning(session, begin(session)), list[str]()
    learning.on_news(lambda kind, values: news.append(kind))
    learning.look_at(0, part(0, 96, 0, 128))
    session.act(AddAll(image=0, region=(0, 96, 0, 128), labels=truth))
    background = np.argwhere(truth == 0)[0].tolist()
    session.act(Flood(image=0, point=background, value=0))
    wait_for(lambda: "predicted" in news)
    found = learning.layer(0, "inside", (1, 1), part(0, 96, 0, 128))
    assert found is not None
    assert found.shape == (96, 128)
    assert wait_for(lambda: learning.status()["steps"]) > 0
    child = learning._child
    assert child is not None
    child.kill()
    wait_for(lambda: learning._child is not child and "learning" in news[-3:] and learning.status()["steps"])
    learning.command("pause")
    assert wait_for(lambda: learning.status()["state"] == "paused")
    learning.close()
    learning.close()
    assert learning._child is not None
    assert learning._child.status is not None


@pytest.mark.parametrize("at_once", [2**22, 1])
@pytest.mark.parametrize("slow", ["held", "whole_numbers"])  # what is read amid it, and what is read last
def test_of_two_strokes_on_one_place_the_newer_is_sent_last(
    session: Session, monkeypatch: pytest.MonkeyPatch, at_once: int, slow: str
) -> None:
    monkeypatch.setattr("contractile.viewer.learning.AT_ONCE", at_once)  # 1: all is sent by tiles
    learning, sent = Silent(session, begin(session)), list[Any]()
    monkeypatch.setattr(learning, "_child", SimpleNamespace(send=sent.append, end=lambda: None))

    def paint(value: Any) -> None:
        session.act(Paint(image=0, points=[(30, 30)], radius=5, value=value))

    other, read = threading.Thread(target=paint, args=(0,)), getattr(session, slow)

    def read_slowly(*place: Any) -> Any:
        found = read(*place)
        if not started.is_set():
            started.set()
            other.start()
            other.join(0.5)  # it waits for this one; if it did not, it would be done
        return found

    started = threading.Event()
    monkeypatch.setattr(session, slow, read_slowly)
    paint("new")
    other.join()
    painted = [one for one in sent if isinstance(one, Painted)]
    assert len(painted) == 2
    place = tuple(slice(30 - side.start, 31 - side.start) for side in painted[-1].region)
    assert (painted[-1].labels[place] == 0).all()
    assert (session.labels(0, part(30, 31, 30, 31)) == 0).all()
    learning.close()


def test_a_learner_that_failed_for_good_is_sent_nothing(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contractile.viewer.child.PROGRAM", "raise SystemExit(3)")
    monkeypatch.setattr("contractile.viewer.learning.RESTARTS", 1)
    children = list[Child]()
    monkeypatch.setattr("contractile.viewer.learning.Child", lambda: children.append(Child()) or children[-1])
    learning = Learning(session, begin(session))
    wait_for(lambda: learning.status()["state"] == "failed")
    left = children[-1]._queue.qsize()
    session.act(Flood(image=0, point=(1, 1), value=0))
    learning.look_at(0, part(0, 96, 0, 128))
    learning.command("pause")
    assert len(children) == 2
    assert children[-1]._queue.qsize() == left
    learning.close()


def test_nobody_waits_for_a_learner_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contractile.viewer.child.PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr("contractile.viewer.child.ENDING_S", 0.1)
    child = Child()
    for _ in range(4):
        child.send(np.zeros(2**20))  # far more than a pipe holds
    child.end()
    assert list(child.listen()) == []
    assert child.status == -9
