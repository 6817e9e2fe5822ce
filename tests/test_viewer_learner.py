"""The learner: what it makes of painted pixels, what it shows, scores and suggests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from contractile.dataset import Example
from contractile.decode import Decoding
from contractile.engine import EngineConfig
from contractile.errors import ContractileError
from contractile.images import Image, Source, find, limited, open_image
from contractile.images.gate import Limits, limits
from contractile.intensity import Intensity, Normalization
from contractile.model import Model, ModelCard, load, save
from contractile.prediction import Predictor
from contractile.recipe import Recipe
from contractile.synthetic import SceneConfig, draw_scene
from contractile.unet import UNet, UNetConfig
from contractile.viewer.learner import looking, process
from contractile.viewer.learner.doubting import Doubter
from contractile.viewer.learner.growing import SETTLED, SURE, Growing
from contractile.viewer.learner.judging import Judge
from contractile.viewer.learner.looking import Looker, Seen, _keep_numbers, enough
from contractile.viewer.learner.messages import Begin, Cleared, Do, Inbox, Look, Painted, Shown, Told, write
from contractile.viewer.learner.opened import Images
from contractile.viewer.learner.painted import CONTEXT, Annotated, image_of
from contractile.viewer.learner.process import Learning
from contractile.viewer.learner.published import Published
from contractile.viewer.learner.scoring import Score, fit_of, score
from contractile.viewer.learner.shrinking import find_shrink, shrink
from contractile.viewer.shelf import MOST as FILES
from contractile.viewer.shelf import Shelf

Scene = tuple[Begin, Images, NDArray[np.int32]]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """A session of one synthetic image, the opened image, and its truth."""
    pixels, labels = draw_scene(SceneConfig(shape=(192, 256)), np.random.default_rng(3))
    tifffile.imwrite(tmp_path / "cells.tif", pixels[0].clip(0, 2**16 - 1).astype(np.uint16))
    begin = Begin(tuple(find(tmp_path / "cells.tif")), "objects", (), tmp_path / "models", minutes=1)
    images = Images(begin)
    yield begin, images, labels
    images.close()


EXACT = EngineConfig(backend="torch", precision="float32")


@pytest.fixture
def exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page looks in float32, so that what it shows can be compared."""
    monkeypatch.setattr(looking, "EngineConfig", lambda **_: EXACT)


def box(y0: int, y1: int, x0: int, x1: int) -> tuple[slice, slice]:
    return slice(y0, y1), slice(x0, x1)


def painted(
    labels: NDArray[np.int32], image: int = 0, corner: tuple[int, int] = (0, 0), held: object = None
) -> Painted:
    region = box(corner[0], corner[0] + labels.shape[0], corner[1], corner[1] + labels.shape[1])
    mask = np.zeros(labels.shape, bool) if held is None else np.asarray(held)
    return Painted(image, region, labels, mask)


def small_model() -> Model:
    """A network for objects that has learned nothing."""
    config = UNetConfig(depth=1, width=2, classes=3)
    return Model(UNet(config), ModelCard(network=config, task="objects"))


class Blank:
    """An image of any size, all zeros."""

    def __init__(self, *shape: int) -> None:
        self.shape, self.dtype, self.pixel_size_um = (1, *shape), np.dtype(np.uint8), None

    def __getitem__(self, region: tuple[slice, ...]) -> NDArray[np.uint8]:
        return np.zeros([1, *(part.stop - part.start for part in region[1:])], np.uint8)


def annotate(shape: tuple[int, int]) -> Annotated:
    return Annotated(lambda number: Blank(*shape))  # type: ignore[arg-type, return-value]


def test_an_example_is_what_was_painted_and_its_surroundings() -> None:
    annotated = annotate((5000, 6000))
    labels = np.full((20, 30), -1, np.int32)
    labels[5:9, 10:12] = 7
    annotated.take(painted(labels, corner=(2000, 3000)))
    [example] = annotated.examples()
    assert image_of(example) == 0
    assert example.labels.shape == (4 + 2 * CONTEXT, 2 + 2 * CONTEXT) == example.pixels.shape[1:]
    assert (example.labels == 7).sum() == 8
    assert (example.labels == -1).sum() == example.labels.size - 8
    assert (example.labels[CONTEXT : CONTEXT + 4, CONTEXT : CONTEXT + 2] == 7).all()


def test_strokes_far_apart_are_examples_of_their_own() -> None:
    annotated = annotate((60_000, 60_000))
    for corner in ((0, 0), (59_000, 59_000)):
        annotated.take(painted(np.ones((8, 8), np.int32), corner=corner))
    assert [one.labels.shape for one in annotated.examples()] == [(104, 104), (200, 200)]


def test_an_object_with_an_outline_ends_there() -> None:
    annotated = annotate((300, 300))
    labels = np.full((40, 40), -1, np.int32)
    labels[10:14, 10:14], labels[10:14, 30:34], labels[20:24, 10:14], labels[24:28, 10:14] = 1, 2, 3, 4
    annotated.take(replace(painted(labels, held=labels == 4), whole=frozenset({1, 3, 4})))
    [example] = annotated.examples()
    found = example.labels[:40, :40]
    assert (found[9, 10:14] == 0).all()
    assert (found[10:14, 9] == 0).all()
    assert found[9, 9] == -1
    assert (found[9, 30:34] == -1).all()  # a part of an object may be painted
    assert (found[24:29, 10:14] == -1).all()  # nothing is learned of what is held out, nor of where it ends
    assert not annotated.has_background
    annotated.take(painted(np.zeros((5, 5), np.int32)))
    assert annotated.has_background


def test_a_cleared_region_is_unknown_again() -> None:
    annotated = annotate((60_000, 60_000))
    for corner in ((0, 0), (59_000, 59_000)):
        annotated.take(painted(np.ones((8, 8), np.int32), corner=corner))
    annotated.clear(Cleared(0, box(4, 60_000, 0, 60_000)))
    annotated.clear(Cleared(1, box(0, 9, 0, 9)))
    [example] = annotated.examples()
    assert (example.labels == 1).sum() == 4 * 8


def test_what_is_held_out_is_not_learned_from() -> None:
    annotated = annotate((300, 300))
    labels = np.zeros((100, 100), np.int32)
    labels[:50] = 3
    annotated.take(painted(labels, held=labels == 3))
    [example] = annotated.examples()
    assert set(np.unique(example.labels)) == {-1, 0}
    [(image, _region, truth)] = annotated.held()
    assert image == 0
    assert (truth == 3).sum() == 5000
    assert set(np.unique(truth)) == {-1, 3}
    assert annotated.known(0, box(0, 100, 0, 100)).all()
    assert not annotated.known(1, box(0, 5, 0, 5)).any()


def test_a_network_waits_for_both_kinds(scene: Scene) -> None:
    begin, images, truth = scene
    growing = Growing(begin, images.curve)
    annotated = Annotated(images.open)
    for labels, needs in (
        (np.where(truth == 1, 1, -1), "paint some background, too"),
        (np.where(truth == 0, 0, -1), "paint at least one object, too"),
        (np.where(truth <= 1, truth, -1), None),
    ):
        annotated.take(painted(labels.astype(np.int32)))
        growing.learn_from(annotated.examples())
        assert growing.needs == needs
        assert growing.ready == (needs is None)
    growing.close()


def test_steps_change_what_is_shown_and_the_model_says_where_it_comes_from(
    scene: Scene,
) -> None:
    begin, images, truth = scene
    annotated, growing = Annotated(images.open), Growing(begin, images.curve)
    annotated.take(painted(truth))
    growing.learn_from(annotated.examples())
    losses = [growing.step() for _ in range(30)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    card = growing.model().card
    assert card.task == "objects"
    assert card.provenance["step"] == 30
    assert card.decoding.min_size > 0
    assert 0 < card.decoding.sure <= SURE
    looker = Looker(growing.model(), images.open, images.curve)
    shown = looker.show(0, box(0, 50, 0, 50), steps=growing.steps)
    assert shown.region == box(0, 192, 0, 256)
    assert shown.labels.shape == (192, 256) == shown.inside.shape
    steps = growing.steps
    growing.go_back(growing.model())
    assert growing.steps == steps
    growing.restart()
    assert growing.steps == 0
    growing.close()
    assert not growing.knows


def test_learning_goes_on_from_a_model(scene: Scene, tmp_path: Path) -> None:
    begin, images, truth = scene
    annotated, first = Annotated(images.open), Growing(begin, images.curve)
    annotated.take(painted(truth))
    first.learn_from(annotated.examples())
    for _ in range(3):
        first.step()
    save(first.model(), tmp_path / "start.safetensors")
    first.close()
    growing = Growing(replace(begin, start=tmp_path / "start.safetensors"), images.curve)
    assert growing.knows
    assert growing.model().stored.weights.keys() == first.model().stored.weights.keys()
    growing.learn_from(annotated.examples())
    weights = growing.model().stored.weights
    assert all((values == weights[name]).all() for name, values in first.model().stored.weights.items())
    growing.close()
    classes = replace(begin, task="classes", class_values=(0, 1), start=tmp_path / "start.safetensors")
    assert not Growing(classes, images.curve).knows


def test_models_have_the_names_of_the_classes_of_the_session(scene: Scene, tmp_path: Path) -> None:
    begin, images, truth = scene
    begin = replace(begin, task="classes", class_values=(0, 1))
    annotated, unnamed = Annotated(images.open), Growing(begin, images.curve)
    annotated.take(painted((truth > 0).astype(np.int32)))
    names = ("membrane", "inside")
    named = Growing(replace(begin, class_names=names), images.curve)
    for growing, expected in ((unnamed, ()), (named, names)):
        growing.learn_from(annotated.examples())
        growing.step()
        assert growing.model().card.class_names == expected
        growing.close()
    save(unnamed.model(), tmp_path / "start.safetensors")
    later = Growing(replace(begin, class_names=names, start=tmp_path / "start.safetensors"), images.curve)
    assert later.model().card.class_names == names
    anew = Growing(replace(begin, class_names=names), images.curve)
    anew.go_back(load(tmp_path / "start.safetensors"))
    assert anew.model().card.class_names == names
    other = Growing(replace(begin, class_values=(0, 1, 2), class_names=(*names, "more")), images.curve)
    other.go_back(load(tmp_path / "start.safetensors"))
    assert other.model().card.class_names == ()


def test_a_deeper_network_is_shown_once_it_has_learned(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, images, truth = scene
    annotated, growing = Annotated(images.open), Growing(begin, images.curve)
    annotated.take(painted(np.where(truth <= 1, truth, -1)[:40].astype(np.int32)))
    growing.learn_from(annotated.examples())
    growing.step()
    before = growing.model().card.network
    monkeypatch.setattr("contractile.viewer.learner.growing._with_depth", partial(_deepen, before.depth + 1))
    annotated.take(painted(truth))
    growing.learn_from(annotated.examples())
    growing.step()
    assert growing.model().card.network == before
    for _ in range(SETTLED):
        growing.step()
    assert growing.model().card.network.depth == before.depth + 1
    growing.close()


def _deepen(depth: int, recipe: Recipe, least: int) -> Recipe:
    return recipe.model_copy(update={"network": recipe.network.model_copy(update={"depth": depth})})


def test_a_small_image_is_predicted_whole_and_of_a_huge_one_the_middle() -> None:
    assert enough(box(3, 8, 2, 9), (900, 1000)) == box(0, 900, 0, 1000)
    assert enough(box(100, 700, 20, 900), (9000, 9000)) == box(36, 764, 0, 964)
    assert enough(box(0, 9000, 0, 1000), (9000, 9000)) == box(3476, 5524, 0, 1000)


def test_objects_keep_their_numbers() -> None:
    before = np.zeros((6, 12), np.int32)
    before[1:3, 1:4], before[1:3, 6:10] = 5, 9
    labels = np.zeros((6, 12), np.int32)
    labels[1:3, 6:9], labels[1:4, 1:4], labels[5, 5] = 1, 2, 3  # in another order, and a new one
    shown = Shown(0, box(10, 16, 20, 32), before, before.astype(np.uint8), before.astype(np.uint8), 1)
    kept = _keep_numbers(labels, box(10, 16, 20, 32), shown)
    assert kept[1, 6] == 9
    assert kept[1, 1] == 5
    assert kept[5, 5] == 10
    assert (kept > 0).sum() == (labels > 0).sum()
    assert (_keep_numbers(labels, box(50, 56, 20, 32), shown) == labels).all()


class Says(Looker):
    """A looker that says the same labels about any image."""

    def __init__(self, labels: NDArray[np.int32], task: str = "objects") -> None:
        config = UNetConfig(depth=1, width=8, classes=2)
        values = {} if task == "objects" else {"class_values": (0, 1)}
        self.model = Model(UNet(config), ModelCard(network=config, task=task, decoding=Decoding(), **values))
        self._labels = labels

    def look(self, number: int, region: tuple[slice, slice]) -> Seen:
        labels = self._labels[region]
        inside = (labels > 0).astype(np.float32)
        return Seen(region, np.stack([1 - inside, inside]), labels)


def test_the_score_is_the_fit_of_objects_that_are_held_out() -> None:
    truth = np.zeros((60, 60), np.int32)
    for number, corner in enumerate((2, 22, 42), start=1):
        truth[corner : corner + 10, 5:15] = number
    annotated = annotate((60, 60))
    annotated.take(painted(truth, held=truth > 0))
    found = truth.copy()
    found[truth == 2] = 0
    found[42:47, 5:15] = 0  # half of the third
    result = score(Says(found), annotated)
    assert result is not None
    assert result.value == pytest.approx(0.5)
    assert (result.number, result.found) == (3, 1)
    assert result.clean is None
    assert result.low < result.value < result.high
    annotated.take(painted(truth, held=truth == 1))
    assert score(Says(found), annotated) is None  # one object says nothing
    assert fit_of(truth == 1, np.zeros_like(truth)) == 0


def test_the_score_of_classes_counts_each_class_alike() -> None:
    truth = np.zeros((40, 40), np.int32)
    truth[:4] = 1
    annotated = annotate((40, 40))
    annotated.take(painted(truth, held=np.ones(truth.shape, bool)))
    said = np.zeros_like(truth)
    assert score(Says(said, "classes"), annotated) is None  # two pieces, of thousands of pixels, say nothing
    truth[20:22], said[20:22] = 1, 1
    annotated.take(painted(truth, held=np.ones(truth.shape, bool)))
    result = score(Says(said, "classes"), annotated)
    assert result is not None
    assert (result.number, result.found) == (4, 3)
    assert result.value == pytest.approx((1 + 1 / 3) / 2)
    assert result.low == pytest.approx(0.5)
    assert result.high == pytest.approx(1)


class Doubts(Says):
    """Sure everywhere but in one place."""

    def look(self, number: int, region: tuple[slice, slice]) -> Seen:
        seen = super().look(number, region)
        seen.maps[:, seen.labels == 5] = 0.5
        return seen


def test_a_suggestion_is_where_the_network_is_not_sure_and_nothing_is_painted() -> None:
    labels = np.zeros((512, 512), np.int32)
    labels[300:340, 100:140] = 5
    doubter, annotated = Doubter({0: (512, 512)}, lambda number: Blank(512, 512)), annotate((512, 512))  # type: ignore[arg-type, return-value]
    looker = Doubts(labels)
    doubter.look(looker, annotated)
    best = doubter.best(1)[0]
    y, x = best.region
    assert best.image == 0
    assert best.value > 0
    assert y.start <= 320 < y.stop
    assert x.start <= 120 < x.stop
    doubter.forget(0, box(310, 330, 110, 120))
    assert all(not (one.region[0].start <= 320 < one.region[0].stop) for one in doubter.best(5))
    annotated.take(painted(np.zeros((512, 512), np.int32)))
    doubter.look(looker, annotated)
    assert doubter.best(5) == []


def test_where_the_network_changes_its_mind_is_suggested_and_little_is_remembered_for_it() -> None:
    said = np.zeros((500, 510), np.int32)
    doubter, annotated = Doubter({0: said.shape}, lambda number: Blank(*said.shape)), annotate(said.shape)  # type: ignore[arg-type, return-value]
    doubter.look(Says(said), annotated)
    assert doubter.best(1) == []
    said[300:340, 100:140] = 5
    doubter.look(Says(said), annotated)
    y, x = doubter.best(1)[0].region
    assert y.start <= 320 < y.stop
    assert x.start <= 120 < x.stop
    assert sum((one if one.base is None else one.base).nbytes for one in doubter._before.values()) < said.nbytes / 50


def test_suggestions_are_spread_over_many_images_and_over_one_large_one() -> None:
    for shapes, most_of_one in (([(512, 512)] * 4, 2), ([(2048, 2048)], 8)):
        doubter = Doubter(dict(enumerate(shapes)), lambda number, shape=shapes[0]: Blank(*shape))  # type: ignore[arg-type, misc]
        for _ in range(16):
            doubter.look(Doubts(np.full(shapes[0], 5, np.int32)), annotate(shapes[0]))  # type: ignore[arg-type]
        found = [one.image for one in doubter.best(8)]
        assert len(found) == 8
        assert max(found.count(image) for image in range(len(shapes))) == most_of_one


def test_messages_come_out_as_they_went_in_and_the_end_is_noticed() -> None:
    stream = io.BytesIO()
    sent = [Look(1, box(0, 3, 0, 4)), Do("pause")]
    for message in sent:
        write(stream, message)
    stream.seek(0)
    inbox, found = Inbox(stream), []
    while not inbox.ended:
        found += inbox.take(wait=1)
    assert found == sent


def test_the_loop_shows_publishes_and_obeys(scene: Scene) -> None:
    begin, images, truth = scene
    answers = io.BytesIO()
    learning = Learning(begin, images, answers)
    assert not learning.work()
    learning.take(Look(0, box(0, 100, 0, 100)))
    learning.take(painted(truth, held=(truth > 0) & (truth % 5 == 3)))
    learning._painted_at = 0.0
    for _ in range(40):
        learning._publish.now()
        assert learning.work()
    learning.take(Do("pause"))
    while learning.work():
        pass
    answers.seek(0)
    inbox, messages = Inbox(answers), []
    while not inbox.ended:
        messages += inbox.take(wait=1)
    shown = [one for one in messages if isinstance(one, Shown)]
    assert shown
    assert shown[-1].labels.shape == (192, 256)
    told = [one for one in messages if isinstance(one, Told)]
    assert {"learning", "score", "suggestions"} <= {one.kind for one in told}
    entry = next(one.values for one in told if one.kind == "score")
    assert load(begin.folder / f"{entry['model']}.safetensors").card.task == "objects"
    assert told[-1].kind == "learning" or learning._status()["state"] == "paused"
    learning.take(Do("go_back", model="9999"))
    learning.take(Do("longer", minutes=2))
    assert learning._status()["state"] == "learning"
    assert learning._status()["minutes_left"] > 2
    learning.take(Do("restart"))
    assert learning._status()["steps"] == 0
    learning.close()


def test_an_earlier_model_is_shown_before_anything_is_annotated(scene: Scene) -> None:
    begin, images, truth = scene
    annotated, first = Annotated(images.open), Growing(begin, images.curve)
    annotated.take(painted(truth))
    first.learn_from(annotated.examples())
    first.step()
    save(first.model(), begin.folder / "0001.safetensors")
    first.close()
    learning = Learning(begin, images, io.BytesIO())
    learning.take(Do("go_back", model="0001"))
    learning.take(Look(0, box(0, 64, 0, 64)))
    assert learning.work()
    shown = learning._shown.get(0)
    assert shown is not None
    assert shown.labels.shape == (192, 256)
    learning.close()


def test_the_middle_of_a_huge_region_is_predicted_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, images, _ = scene
    monkeypatch.setattr(looking, "WHOLE", 64)  # pixels: the image is a huge one
    monkeypatch.setattr(looking, "MOST", 64**2)
    save(small_model(), begin.folder / "start.safetensors")
    learning = Learning(replace(begin, start=begin.folder / "start.safetensors"), images, io.BytesIO())
    view = Look(0, box(0, 192, 0, 256))
    learning.take(view)
    assert learning.work()
    shown = learning._shown.get(0)
    assert shown is not None
    assert shown.region != view.region
    assert not learning._is_new(view)
    assert learning._is_new(Look(0, box(0, 50, 0, 50)))
    learning.close()


def test_a_session_that_goes_on_shows_its_last_network_before_it_has_learned_more(scene: Scene) -> None:
    begin, images, truth = scene
    save(small_model(), begin.folder / "start.safetensors")
    learning = Learning(replace(begin, start=begin.folder / "start.safetensors"), images, io.BytesIO())
    learning.take(Look(0, box(0, 64, 0, 64)))
    learning.take(painted(truth))
    learning._painted_at = 0.0
    assert learning.work()
    shown = learning._shown.get(0)
    assert shown is not None
    assert shown.steps == 0
    assert learning._models.last is None  # what is known already is not published once more
    learning.close()


def test_the_learner_reads_as_much_as_the_page(scene: Scene) -> None:
    begin, _, _ = scene
    with limited(pixels=10, missing=True):
        told = replace(begin, bounds=limits())
    sent, seen = io.BytesIO(), list[Limits]()
    write(sent, told)
    sent.seek(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "Images", lambda told: seen.append(limits()) or Images(told))
        process.run(sent, io.BytesIO())
    assert (seen[0].pixels, seen[0].missing) == (10, True)
    assert limits().pixels != 10


@pytest.mark.usefixtures("exactly")
def test_large_objects_are_learned_from_shrunk_images(tmp_path: Path) -> None:
    y, x = np.mgrid[:300, :300]
    truth = np.zeros((300, 300), np.int32)
    for number, (cy, cx) in enumerate(((80, 80), (90, 220), (220, 150)), start=1):
        truth[(y - cy) ** 2 + (x - cx) ** 2 < 52**2] = number
    tifffile.imwrite(tmp_path / "cells.tif", (50 + 100 * (truth > 0)).astype(np.uint8))
    begin = Begin(tuple(find(tmp_path / "cells.tif")), "objects", (), tmp_path / "models")
    images = Images(begin)
    annotated, growing = Annotated(images.open), Growing(begin, images.curve)
    annotated.take(painted(truth))
    [example] = annotated.examples()
    assert find_shrink([example]) == 4
    small = shrink(example, 4)
    assert small.pixels.shape == (1, 75, 75)
    assert abs(small.pixels.mean() - example.pixels.mean()) < 1
    assert (small.labels == truth[2::4, 2::4]).all()
    growing.learn_from(annotated.examples())
    growing.step()
    model = growing.model()
    save(model, tmp_path / "model.safetensors")
    assert model.card.shrunk == load(tmp_path / "model.safetensors").card.shrunk == 4
    seen = Looker(model, images.open, images.curve).look(0, box(40, 240, 8, 296))
    whole = np.asarray(Predictor(model, engine=EXACT).probabilities(images.open(0)[...]))
    np.testing.assert_allclose(seen.maps, whole[:, 40:240, 8:296], atol=1e-5)
    growing.go_back(model.with_card(shrunk=2.0))
    assert growing.model().card.shrunk == 2
    growing.close()
    images.close()


@pytest.mark.usefixtures("exactly")
def test_nuclei_of_another_size_are_shown_as_predict_finds_them(tmp_path: Path) -> None:
    pixels, _ = draw_scene(SceneConfig(shape=(128, 128)), np.random.default_rng(3))
    large = pixels[0].clip(0, 2**16 - 1).astype(np.uint16).repeat(4, 0).repeat(4, 1)
    tifffile.imwrite(tmp_path / "large.tif", large)
    images = Images(Begin(tuple(find(tmp_path / "large.tif")), "objects", (), tmp_path / "models", minutes=1))
    model = load("nuclei")
    looker = Looker(model, images.open, images.curve)
    seen = looker.look(0, box(100, 300, 50, 400))
    assert looker._scale(0, images.open(0)) < 0.75
    whole = np.asarray(Predictor(model, engine=EXACT).probabilities(large[None]))
    np.testing.assert_allclose(seen.maps, whole[:, 100:300, 50:400], atol=1e-5)
    images.close()


@pytest.mark.parametrize(("width", "factor"), [(0, 1), (3, 1), (40, 1), (60, 2), (100, 4), (700, 8)])
def test_how_much_images_are_shrunk_follows_the_width_of_objects(width: int, factor: int) -> None:
    labels = np.full((width + 9, width + 9), -1, np.int32)
    labels[:width, :width] = 3
    example = Example("0:0,0", np.zeros((1, *labels.shape), np.uint8), labels)
    assert find_shrink([example]) == factor
    assert shrink(example, 1) is example


def test_images_with_a_truth_are_suggested_the_worst_first(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _begin, images, truth = scene
    half = np.where(truth > truth.max() // 2, truth, 0)
    for name, labels in (("whole", truth), ("half", half), ("none", np.zeros_like(truth))):
        tifffile.imwrite(tmp_path / f"{name}.tif", labels.astype(np.uint16))
    judge = Judge([(0, find(tmp_path / f"{name}.tif")[0]) for name in ("half", "none", "whole")], lambda _: truth.shape)
    looker = Looker(small_model(), images.open, images.curve)
    monkeypatch.setattr(Looker, "look", lambda self, number, region: Seen(region, np.zeros((3, 1, 1)), truth[region]))
    while not judge.is_done:
        judge.look(looker)
    assert [one.why for one in judge.worst(2)] == [
        "AP at 0.5 is 0.00 beside the truth",
        f"AP at 0.5 is {len(np.unique(half[half > 0])) / truth.max():.2f} beside the truth",
    ]
    assert judge.worst(3)[-1].value == 0


def test_a_run_is_compared_until_something_is_annotated(scene: Scene, tmp_path: Path) -> None:
    begin, images, truth = scene
    tifffile.imwrite(tmp_path / "truth.tif", truth.astype(np.uint16))
    save(small_model(), tmp_path / "start.safetensors")
    answers = io.BytesIO()
    truths = ((0, find(tmp_path / "truth.tif")[0]),)
    learning = Learning(replace(begin, start=tmp_path / "start.safetensors", truths=truths), images, answers)
    while not learning._judge.is_done:
        learning.work()
    assert not learning.work()  # there is nothing to do but wait
    assert learning._doubter is None
    learning.take(painted(truth))
    while learning._doubter is None:
        learning.work()
    learning.close()
    answers.seek(0)
    told = [one for one in Inbox(answers).take(wait=None) if isinstance(one, Told)]
    found = [one.values["found"] for one in told if one.kind == "suggestions"]
    assert found[0][0]["why"].endswith("beside the truth")
    assert all("beside" not in one["why"] for one in found[-1])


def test_an_image_that_cannot_be_read_does_not_end_the_learning(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, images, truth = scene
    learning = Learning(begin, images, io.BytesIO())
    learning.take(painted(truth))
    monkeypatch.setattr("contractile.viewer.learner.process.GATHERED_S", 0)
    monkeypatch.setattr("contractile.viewer.learner.process.FIRST_STEPS", 1)
    learning.work()
    learning.take(Look(0, box(0, 64, 0, 64)))

    def fail(*_: object, **__: object) -> None:
        raise ContractileError("the file is cut off", "copy it again", where="cells.tif")

    with monkeypatch.context() as broken:
        broken.setattr(Looker, "show", fail)
        while not learning._show.trouble:
            learning.work()
    status = learning._status()
    assert status["state"] == "learning"
    assert status["message"] == "cells.tif: the file is cut off; copy it again"
    learning._show.now()
    learning.work()
    assert learning._status()["message"] is None
    learning.close()


def test_a_curve_is_found_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    _begin, images, _ = scene
    fits = []
    fit = Normalization.fit

    def count(self: Normalization, pixels: object) -> Intensity:
        fits.append(self)
        return fit(self, pixels)  # type: ignore[arg-type]

    monkeypatch.setattr(Normalization, "fit", count)
    images.curve(0, Normalization())
    images.curve(0, Normalization())
    assert len(fits) == 1
    assert images.open(0) is images.open(0)
    assert images.open(0).shape == (1, 192, 256)


def test_few_files_are_open_however_many_images_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (3 * FILES, 16, 16), np.uint8)
    tifffile.imwrite(tmp_path / "planes.tif", pixels, imagej=True, metadata={"axes": "TYX"})
    images = Images(Begin(tuple(find(tmp_path / "planes.tif")), "objects", (), tmp_path / "models"))
    opened, closed, close = list[Image](), list[Image](), Image.close

    def count(source: Source) -> Image:
        opened.append(open_image(source))
        return opened[-1]

    monkeypatch.setattr("contractile.viewer.learner.opened.open_image", count)
    monkeypatch.setattr(Image, "close", lambda image: (closed.append(image), close(image))[1])
    for number in [*range(len(pixels)), 0]:
        image = images.open(number)
        assert image.shape == (1, 16, 16)
        assert (image[:, 2:5, 3:9] == pixels[number, 2:5, 3:9]).all()
        assert len(opened) - len(closed) <= FILES
    images.close()
    assert len(opened) == len(closed)


def test_of_an_image_in_memory_only_the_painted_part_is_kept(tmp_path: Path) -> None:
    Path(tmp_path / "large.png").write_bytes(imagecodecs.png_encode(np.zeros((600, 600), np.uint8)))
    images = Images(Begin(tuple(find(tmp_path / "large.png")), "objects", (), tmp_path / "models"))
    annotated = Annotated(images.open)
    annotated.take(painted(np.ones((8, 8), np.int32)))
    [example] = annotated.examples()
    assert example.pixels.base is None
    images.close()


def test_painting_on_an_image_that_cannot_be_read_is_told(scene: Scene, tmp_path: Path) -> None:
    begin, _, truth = scene
    content = (tmp_path / "cells.tif").read_bytes()
    (tmp_path / "cells.tif").unlink()
    images = Images(begin)
    learning = Learning(begin, images, io.BytesIO())
    learning.take(painted(truth))
    assert "cells.tif" in learning._status()["message"]
    assert not learning.work()
    (tmp_path / "cells.tif").write_bytes(content)
    learning.take(painted(truth))
    assert learning._status()["message"] is None
    assert learning._annotated.images() == [0]
    learning.close()
    images.close()


@pytest.fixture
def two(scene: Scene, tmp_path: Path) -> tuple[Begin, NDArray[np.int32], Path]:
    """A session of two images that are the same, their truth, and the file of the second one."""
    begin, _, truth = scene
    second = tmp_path / "later.tif"
    second.write_bytes((tmp_path / "cells.tif").read_bytes())
    return replace(begin, sources=(*begin.sources, *find(second))), truth, second


def test_suggestions_go_on_without_an_image_that_cannot_be_read(two: tuple[Begin, NDArray[np.int32], Path]) -> None:
    begin, truth, second = two
    second.write_bytes(b"damaged")
    images = Images(begin)
    answers = io.BytesIO()
    learning = Learning(begin, images, answers)
    learning.take(painted(truth))
    learning._learn_anew()
    learning._step()
    learning._around.now()
    learning._look_around()
    learning.close()
    images.close()
    assert "later.tif" in learning._status()["message"]
    answers.seek(0)
    found = [one.values["found"] for one in Inbox(answers).take(wait=None) if isinstance(one, Told)]
    assert all(one["image"] == 0 for each in found for one in each)


def test_learning_goes_on_without_a_painted_image_that_is_gone(
    two: tuple[Begin, NDArray[np.int32], Path],
) -> None:
    begin, truth, second = two
    images = Images(begin)
    images._shelf = Shelf(most=0)  # files are opened each time
    learning = Learning(begin, images, io.BytesIO())
    for number in (0, 1):
        learning.take(painted(truth, number, held=truth > truth.max() // 2))
    content = second.read_bytes()
    second.unlink()
    learning._learn_anew()
    status = learning._status()
    assert status["state"] == "learning"
    assert "later.tif" in status["message"]
    learning._step()
    learning._try(learning._publish_model, learning._publish)  # it has no score: a part of what is held out is gone
    assert "later.tif" in learning._publish.trouble
    assert learning._models.last == "0001"
    second.write_bytes(content)
    learning._learn_anew()
    learning._try(learning._publish_model, learning._publish)
    assert learning._status()["message"] is None
    learning.close()
    images.close()


def test_the_last_models_and_the_best_are_kept(tmp_path: Path) -> None:
    model = small_model()
    published = Published(tmp_path)
    for number in range(1, 25):
        found = Score(0.9 if number == 7 else 0.5 if number == 1 else 0.1, 0.0, 1.0, 5, 3)
        row = published.add(model, found, seconds=number, steps=10 * number)
    assert row["model"] == published.last == "0024"
    assert load(published.path("0007")).card.scores == {"held_out": 0.9}
    names = sorted(file.stem for file in tmp_path.glob("*.safetensors"))
    assert names == ["0001", "0007", "0010", "0020", "0021", "0022", "0023", "0024"]
    (tmp_path / "0010.safetensors").write_bytes(b"damaged")
    again = Published(tmp_path)
    assert again.last == "0024"
    for number in range(25, 27):
        again.add(model, Score(0.2, 0.0, 1.0, 5, 1), seconds=number, steps=10 * number)
    names = sorted(file.stem for file in tmp_path.glob("*.safetensors"))
    assert names == ["0001", "0007", "0010", "0020", "0022", "0023", "0024", "0025", "0026"]
