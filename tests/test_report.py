"""The report: self-contained, escaped, honest about what is undefined, small."""

import base64
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contractile.dataset import Example, SampleConfig
from contractile.decode import Decoding
from contractile.errors import AlreadyThere
from contractile.evaluation import Evaluation, ImageScores, Score
from contractile.images.overlay import PREDICTED, TRUE
from contractile.model import Model, ModelCard
from contractile.recipe import Recipe
from contractile.report import write_report
from contractile.report.curves import draw_curves, find_score, read_clock, smooth
from contractile.report.pictures import LARGEST_SIDE, MOST_PICTURES, draw
from contractile.report.scores import rank, summarise, tabulate_images
from contractile.targets import TargetConfig
from contractile.training import Run
from contractile.unet import UNet, UNetConfig

NASTY = '"><img src=x onerror=alert(1)><script>alert(2)</script>.tif'
HISTORY = [
    {"step": 5.0, "seconds": 30.0, "learning_rate": 1e-3, "loss": 2.0},
    {"step": 5.0, "val_iou": 0.5, "val_pixel_error": 0.4},
    {"step": 10.0, "seconds": 60.0, "learning_rate": 5e-4, "loss": 0.1},
    {"step": 10.0, "val_iou": 0.75, "val_pixel_error": 0.2},
    {"step": 15.0, "seconds": 90.0, "learning_rate": 1e-4, "loss": 0.05},
    {"step": 15.0, "val_iou": 0.7, "val_pixel_error": 0.1},
]


class Reader(HTMLParser):
    """Collects tags, attributes and text, and checks that every tag is closed."""

    VOID = frozenset({"meta", "img", "br", "path", "use", "rect", "line"})

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def text_of(path):
    return " ".join(" ".join(read(path).text).split())


def draw_labels(shape, value=None):
    """Two bars, numbered 1 and 2, or both of one class value."""
    labels = np.zeros(shape, np.int32)
    labels[..., 2:8, 2:8] = value or 1
    labels[..., 10:16, 4:20] = value or 2
    return labels


def make_example(name, dims, value):
    shape = (24, 28) if dims == 2 else (5, 24, 28)
    labels = draw_labels(shape, value)
    pixels = (50 * (labels > 0) + np.random.default_rng(3).normal(100, 5, shape)).astype(np.float32)
    return Example(name, pixels[None], labels, (0.5,) * dims)


def make_evaluation(names, **scores):
    """Each score of the set, and the same minus a tenth per image."""
    scores = scores or {"ap": 0.75, "iou": 0.8125, "pixel_error": 0.125}
    images = [
        ImageScores(name=name, scores={key: Score(value=value - 0.1 * i) for key, value in scores.items()})
        for i, name in enumerate(names)
    ]
    summary = {key: Score(value=value, low=value - 0.05, high=value + 0.0625) for key, value in scores.items()}
    return Evaluation(summary=summary, images=images)


def make_run(folder, *, task="objects", dims=2, names=("first", "second"), evaluation=None, history=()):
    values = (0, 255) if task == "classes" else ()
    network = UNetConfig(dims=dims, width=2, depth=1)
    recipe = Recipe(
        network=network,
        samples=SampleConfig(tile=(16,) * dims, core=(16,) * dims),
        targets=TargetConfig(task=task, class_values=values),
        device="cpu",
        precision="float32",
        minutes=2,
        steps=15,
        seed=7,
    )
    provenance = {
        "data_sha256": "c0ffee",
        "torch": "2.99",
        "machine": "Some machine",
        "device": "cpu",
        "date": "2030-01-02",
        "step": 15,
    }
    card = ModelCard(
        network=network, task=task, class_values=values, provenance=provenance, pixel_size_um=(0.5,) * dims
    )
    examples = [make_example(name, dims, 255 if values else None) for name in names]
    return Run(
        folder=folder,
        recipe=recipe,
        model=Model(UNet(network).eval(), card),
        evaluation=evaluation or make_evaluation(names),
        history=list(history),
        validation=examples,
    )


def decode(uri):
    kind, data = uri.removeprefix("data:image/").split(";base64,")
    decoder = {"png": imagecodecs.png_decode, "jpeg": imagecodecs.jpeg8_decode}[kind]
    return decoder(base64.b64decode(data))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("task", ["objects", "classes"])
def test_a_page_is_self_contained(tmp_path, task, dims):
    path = write_report(make_run(tmp_path / "run", task=task, dims=dims, history=HISTORY))
    assert path == tmp_path / "run" / "report.html"
    page = read(path)
    assert not {"script", "link", "iframe", "object", "base"} & set(page.tags)
    assert page.tags.count("svg") == 4
    sources = [value for _, name, value in page.attributes if name in ("src", "srcset")]
    assert len(sources) == 4
    assert all(source.startswith("data:image/") for source in sources)
    links = [value for _, name, value in page.attributes if name.endswith("href")]
    assert all(link.startswith("#") for link in links)
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    html = path.read_text(encoding="utf-8")
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert ("slice 3 of 5" in html) == (dims == 3)
    assert ("at step 15 (dashed line): this network was kept" in text_of(path)) == (task == "classes")
    assert "prefers-color-scheme: dark" in html
    assert "width=device-width" in html


def test_a_page_holds_what_is_worth_knowing_of_a_run(tmp_path):
    run = make_run(tmp_path / "my run", history=HISTORY)
    path = write_report(run, data=["some images", "labels"])
    text = text_of(path)
    assert "my run" in text
    assert "Objects in 2-D images" in text
    assert "15 steps in 1.5 minutes on cpu" in text
    assert "AP 0.7500 95 % interval 0.7000 to 0.8125" in text
    assert "1 - F1 of the white pixels; lower is better" in text
    assert "this network was kept" not in text  # the history holds no score by which networks of this task are chosen
    for value in (
        "c0ffee",
        "2.99",
        "Some machine",
        "0.5 \N{MULTIPLICATION SIGN} 0.5 µm",
        "predicted",
        "true",
    ):
        assert value in text
    assert " ".join(run.recipe.to_toml().split()) in text
    folder = tmp_path / "my run"
    command = f"contractile train 'some images' labels --out {shlex.quote(f'{folder}-again')}"
    command += f" --recipe {shlex.quote(str(folder / 'recipe.toml'))} --steps 15 --seed 7"
    assert command in text
    assert "IMAGES" not in text


def test_the_page_says_how_cores_are_split(tmp_path):
    run = make_run(tmp_path)
    split = run.model.with_card(decoding=Decoding(split=40), task="objects", class_values=())
    text = text_of(write_report(replace(run, model=split)))
    assert "split where a higher probability gives pieces of at least 40 pixels" in text


def test_curves_say_how_their_scores_differ_from_those_above(tmp_path):
    run = make_run(tmp_path, history=HISTORY)
    assert "chosen after training" not in text_of(write_report(run))
    text = text_of(write_report(replace(run, model=run.model.with_card(decoding=Decoding(threshold=0.4)))))
    assert "The scores above use the decoding that was chosen after training, the curve the one before" in text
    many = make_run(tmp_path, names=[f"n{i}" for i in range(13)], history=HISTORY)
    assert "During training only some of the 13 images are scored." in text_of(write_report(many))


def test_the_command_names_validation_and_says_what_stands_for_data(tmp_path):
    run = make_run(tmp_path / "run")
    four = write_report(run, data=("a", "b", "c", "d"), path=tmp_path / "four.html")
    assert four == tmp_path / "four.html"
    assert "--val-images c --val-labels d" in text_of(four)
    assert "IMAGES and LABELS stand for" in text_of(write_report(run))
    with pytest.raises(ValueError, match=r"data must name images and labels.*got 3 names; use 2 or 4"):
        write_report(run, data=("a", "b", "c"))


def test_the_command_gives_the_steps_of_all_folds(tmp_path):
    run = make_run(tmp_path / "run", history=HISTORY)
    assert max(row["step"] for row in HISTORY) == 15
    budget = run.recipe.model_copy(update={"folds": 3, "steps": None, "minutes": 30})
    text = text_of(write_report(replace(run, recipe=budget)))
    assert "45 steps of 3 networks, the first in 1.5 minutes" in text
    assert "--steps 45 " in text


def test_names_are_escaped(tmp_path):
    path = write_report(make_run(tmp_path / '"><b onclick=x>', names=(NASTY, "<i>")))
    page = read(path)
    assert not {"script", "b onclick=x", "i onclick=x"} & set(page.tags)
    assert page.tags.count("img") == 4
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert NASTY in "".join(page.text)
    page = read(write_report(make_run(tmp_path / "run"), data=(NASTY, "<i>")))
    assert not {"script", "i"} & set(page.tags[page.tags.index("pre") :])
    assert page.tags.count("img") == 4


def test_undefined_scores_say_why(tmp_path):
    names = ("first", "second", "third")
    reason = "the truth holds no <object>"
    undefined = Score(value=None, reason=reason)
    evaluation = make_evaluation(names)
    images = [image.model_copy(update={"scores": image.scores | {"seg": undefined}}) for image in evaluation.images]
    images[0] = images[0].model_copy(update={"scores": images[0].scores | {"iou": Score(value=None, reason="empty")}})
    evaluation = Evaluation(summary={"seg": undefined, **evaluation.summary}, images=images)
    text = text_of(write_report(make_run(tmp_path, names=names, evaluation=evaluation)))
    assert f"SEG undefined {reason}" in text
    table = tabulate_images(evaluation, "ap")
    assert table.notes == (reason, "empty")
    assert f"1 undefined: {reason}" in text
    assert "2 undefined: empty" in text
    assert [row[0].text for row in table.rows] == ["third", "second", "first"]
    assert [row[0].text for row in tabulate_images(evaluation, "iou").rows] == ["third", "second", "first"]


def test_a_run_whose_scores_are_all_undefined_still_has_its_page(tmp_path):
    nothing = {"ap": Score(value=None, reason="nothing there")}
    evaluation = Evaluation(summary=nothing, images=[ImageScores(name="first", scores=nothing)])
    text = text_of(write_report(make_run(tmp_path, names=("first",), evaluation=evaluation)))
    assert "AP undefined nothing there" in text


def test_images_are_ranked_worst_first_for_scores_and_errors():
    evaluation = make_evaluation(["a", "b", "c"])
    assert [image.name for image in rank(evaluation.images, "ap")] == ["c", "b", "a"]
    assert [image.name for image in rank(evaluation.images, "pixel_error")] == ["a", "b", "c"]
    assert [image.name for image in rank(evaluation.images, None)] == ["a", "b", "c"]


def test_details_are_shown_below_the_score():
    detail = {
        "tp": [12, 3],
        "fp": [4, 13],
        "fn": [1, 10],
        "rule": "pooled over the set",
        "by_iou": [0.7, 0.1],
    }
    summary = {
        "dice": Score(value=0.5, detail={"by_class": [0.25, None]}),
        "ap": Score(value=0.7, detail=detail),
        "v_rand": Score(value=0.9, detail={"threshold": 0.4, "by_threshold": [0.1]}),
        "voi_split": Score(value=0.3),
        "odd_new_score": Score(value=1234.5678),
    }
    rows = {row.name: row for row in summarise(Evaluation(summary=summary, images=[]), "ap", (0, 255))}
    assert next(iter(rows)) == "AP"
    assert rows["AP"].detail == "12 found, 1 missed, 4 invented; pooled over the set"
    assert rows["Dice"].detail == "class 0: 0.250, class 255: \N{EN DASH}"
    assert rows["V_Rand"].detail == "best threshold 0.4"
    assert rows["V_Rand"].band == (90, 90, 90)
    assert rows["Splits (bits)"].band is None
    assert rows["Odd new score"].value == "1234.6"
    assert rows["AP"].note == "one image, so no interval"


def test_the_scores_to_look_at_first_come_first():
    evaluation = make_evaluation(["a"], dice=0.5, iou=0.5, ap=0.5, f1=0.5, pq=0.5)
    assert [row.name for row in summarise(evaluation, "pq")] == ["IoU", "F1", "PQ", "Dice", "AP"]
    of_classes = make_evaluation(["a"], dice=0.5, iou=0.5, pixel_error=0.5)
    assert [row.name for row in summarise(of_classes, "iou")][:2] == ["IoU", "Dice"]
    assert len(summarise(evaluation, None)) == 5


def test_a_page_stays_small():
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(1, 65).reshape(8, 8), np.ones((64, 64), np.int32)).astype(np.int32)
    picture = draw("a", rng.normal(size=(1, 512, 512)), labels, truth=np.roll(labels, 5))
    assert MOST_PICTURES * (len(picture.raw) + len(picture.drawn)) < 5e6


def test_the_worst_images_are_shown(tmp_path):
    names = [f"n{i:02d}" for i in range(MOST_PICTURES + 3)]
    path = write_report(make_run(tmp_path, names=names, evaluation=make_evaluation(names, ap=0.9)))
    shown = [value for tag, name, value in read(path).attributes if (tag, name) == ("img", "alt")][::2]
    assert shown == names[: -MOST_PICTURES - 1 : -1]
    assert f"The {MOST_PICTURES} worst of {len(names)} images, the worst first." in text_of(path)
    assert f"on {len(names)} validation images." in text_of(path)


def test_nothing_is_left_half_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"cannot be written .*choose a folder you may write to"):
        write_report(make_run(tmp_path / "run"), path=tmp_path / "file" / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_pictures_show_predicted_and_true_contours():
    labels = draw_labels((24, 28))
    pixels = np.random.default_rng(0).normal(size=(1, 24, 28)) + labels
    picture = draw("a", pixels, labels, truth=np.roll(labels, 4, axis=1))
    raw, drawn = decode(picture.raw), decode(picture.drawn)
    assert raw.ndim == 2  # a grey image is kept as one
    assert raw.shape == drawn.shape[:2] == (picture.height, picture.width) == (24 * 18, 28 * 18)
    for colour in (PREDICTED, TRUE):
        assert (drawn == colour).all(axis=-1).any()
    ignored = decode(draw("a", pixels, labels, truth=np.full_like(labels, -1)).drawn)
    assert not (ignored == TRUE).all(axis=-1).any()


@given(st.integers(1, 2000), st.integers(1, 40), st.booleans())
def test_pictures_of_any_shape_are_shown(long, short, upright):
    shape = (long, short) if upright else (short, long)
    labels = np.ones(shape, np.int32)
    picture = draw("a", np.zeros((2, *shape)), labels, truth=labels)
    assert decode(picture.raw).shape[:2] == (picture.height, picture.width)
    assert 1 <= min(picture.height, picture.width) <= max(picture.height, picture.width) <= LARGEST_SIDE


def test_a_volume_is_shown_by_its_middle_slice():
    labels = np.zeros((5, 24, 28), np.int32)
    labels[2] = draw_labels((24, 28))
    pixels = np.zeros((1, *labels.shape)) + np.arange(28)
    flat = draw("a", pixels[:, 2], labels[2], truth=labels[2])
    assert draw("a", pixels, labels, truth=labels).drawn == flat.drawn


def test_labels_of_another_image_are_refused():
    labels = np.ones((8, 9), np.int32)
    with pytest.raises(ValueError, match=r"labels of a must have the shape of the image \(8, 8\), got \(8, 9\)"):
        draw("a", np.ones((1, 8, 8)), labels, truth=labels)
    with pytest.raises(ValueError, match=r"truth of a must have the shape of the image \(8, 9\), got \(9, 8\)"):
        draw("a", np.ones((1, 8, 9)), labels, truth=labels.T)


def test_curves_mark_what_was_kept_and_follow_the_style_of_the_page():
    curves = {curve.title: curve for curve in draw_curves(HISTORY, steering="iou", kept=15)}
    assert list(curves) == ["Loss", "Learning rate", "Validation scores", "Validation errors"]
    assert curves["Validation scores"].caption == "IoU 0.700 at step 15 (dashed line): this network was kept."
    for curve in curves.values():
        assert curve.svg.startswith("<svg")
        assert "var(--series-1)" in curve.svg
        assert "minutes" in curve.svg
        assert "#0000" not in curve.svg
        assert "xmlns" not in curve.svg
    assert draw_curves([]) == ()
    (only,) = draw_curves([{"step": 1.0, "seconds": 2.0, "loss": 0.0}])
    assert "minutes" not in only.svg


def test_the_score_of_the_network_that_was_kept():
    rows = [{"step": 2.0, "loss": 1.0}, {"step": 2.0, "val_iou": 0.5}, {"step": 4.0, "val_iou": 0.8}]
    assert find_score(rows, "iou", 2) == 0.5
    assert find_score(rows, "iou", 3) is None
    assert find_score(rows, "dice", 4) is None
    assert find_score(rows, None, None) is None


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1e4)), min_size=2, max_size=20))
def test_the_clock_rises_whatever_was_recorded(rows):
    clock = read_clock([{"step": float(step), "seconds": seconds} for step, seconds in rows])
    if clock is not None:
        steps, minutes = clock
        assert (np.diff(steps) > 0).all()
        assert (np.diff(minutes) > 0).all()


def test_a_resumed_clock_goes_on():
    rows = [(10, 60), (20, 120), (30, 60), (40, 120)]
    steps, minutes = read_clock([{"step": float(step), "seconds": float(seconds)} for step, seconds in rows])
    np.testing.assert_array_equal(steps, [10, 20, 30, 40])
    np.testing.assert_allclose(minutes, [1, 2, 3, 4])
    assert read_clock([{"step": 1.0, "seconds": 3.0}]) is None


@given(st.integers(1, 500), st.floats(-1e3, 1e3, allow_subnormal=False))
def test_smoothing_keeps_what_is_constant(length, value):
    np.testing.assert_allclose(smooth(np.full(length, value)), value)


def test_a_page_that_was_changed_is_kept(tmp_path):
    run = make_run(tmp_path)
    for _ in range(2):
        path = write_report(run)
    whole = path.read_bytes()
    path.write_bytes(whole + b"<!-- a note -->")
    with pytest.raises(AlreadyThere, match=rf"results must not replace files .*, got {path}; choose another place"):
        write_report(run)
    assert path.read_bytes() == whole + b"<!-- a note -->"
    assert write_report(run, overwrite=True).read_bytes() == whole
