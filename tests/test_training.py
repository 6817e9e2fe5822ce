"""The loop: it learns, it can be repeated and resumed, and it refuses before it writes."""

import copy
import csv
import dataclasses
import math

import numpy as np
import pytest
import tifffile
import torch
from discs import TINY, bright_discs, folder, run, started
from scipy import ndimage

from contractile.dataset import Example, Samples
from contractile.decode import Decoding, decode_objects
from contractile.engine import EngineConfig
from contractile.errors import ContractileError, NotFinished, OutOfMemory
from contractile.model import load
from contractile.prediction import Predictor
from contractile.recipe import derive
from contractile.training import fit, train
from contractile.training.decoding import choose_decoding, first_decoding
from contractile.training.norms import measure_statistics
from contractile.training.state import check_finite, launch, take_step
from contractile.training.validation import Validation

__all__ = ["folder"]  # a fixture


def test_a_run_folder_holds_everything(folder):
    result = run(folder)
    names = {path.name for path in (folder / "run").iterdir()}
    assert {"model.safetensors", "state.ckpt", "history.csv", "recipe.toml", "tensorboard"} <= names
    card = load(folder / "run").card
    assert card.class_values == (0, 255)
    assert card.scores["iou"] == pytest.approx(result.evaluation.summary["iou"].value)
    assert card.provenance["seed"] == 0
    assert len(card.provenance["data_sha256"]) == 64
    with (folder / "run" / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["step"]) for row in rows if row["val_iou"]] == [6, 12]


def test_the_network_learns(folder):
    result = run(folder, steps=120, network={"width": 8, "depth": 2})
    losses = [row["loss"] for row in result.history if "loss" in row]
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])
    assert result.evaluation.summary["iou"].value > 0.6


def test_channels_must_be_those_of_the_recipe(folder):
    with pytest.raises(ValueError, match=r"image 0 must have the 3 channel\(s\) of the recipe's network, got 1"):
        run(folder, network={"width": 8, "depth": 2, "channels": 3})
    assert not (folder / "run").exists()


def test_two_classes_of_any_values_beside_ignored_pixels(folder):
    for path in (folder / "labels").iterdir():
        labels = np.where(tifffile.imread(path) > 0, 2, 1).astype(np.uint8)
        labels[:4] = 0  # nobody looked here
        tifffile.imwrite(path, labels)
    result = run(folder, steps=120, targets={"ignore_label": 0}, network={"width": 8, "depth": 2})
    assert result.recipe.targets.class_values == (1, 2)
    (one,) = result.validation
    predicted = Predictor(result.model, engine=EngineConfig(device="cpu", precision="float32")).segment(one.pixels)
    white, true, seen = predicted == 2, one.labels == 2, one.labels > 0
    expected = (white & true).sum() / ((white | true) & seen).sum()
    assert result.evaluation.summary["iou"].value == pytest.approx(expected)
    assert expected > 0.6


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_minutes_become_steps_and_are_written_down(folder, dropout):
    changes = {key: value for key, value in TINY.items() if key != "steps"}
    changes |= {"minutes": 0.05, "network": {**TINY["network"], "dropout": dropout}}
    result = train(folder / "images", folder / "labels", out=folder / "run", recipe=changes)
    assert result.recipe.steps >= 1
    assert result.recipe.minutes == 0.05
    assert f"steps = {result.recipe.steps}" in (folder / "run" / "recipe.toml").read_text()
    repeated = train(folder / "images", folder / "labels", out=folder / "again", recipe=folder / "run" / "recipe.toml")
    for one, other in zip(result.model.network.parameters(), repeated.model.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_batch_that_does_not_fit_is_named():
    class Full(torch.nn.Module):
        def forward(self, x):
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    state, samples = started()
    message = r"a batch of 2 tiles of 32 x 32 pixels does not fit on cpu; lower samples.batch or samples.tile"
    with pytest.raises(OutOfMemory, match=message):
        take_step(dataclasses.replace(state, on_device=Full()), samples.batch(0))


def test_a_job_of_several_tasks_trains_in_one_process(monkeypatch):
    for name, value in {
        "SLURM_NTASKS": "4",
        "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "2",
        "SLURM_LOCALID": "2",
    }.items():
        monkeypatch.setenv(name, value)
    fabric = launch(started()[0].recipe)
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_a_network_whose_numbers_are_none_any_more_is_not_kept():
    state, _ = started()
    check_finite(state)
    state.network.contract[0][0].weight.data[0] = math.inf
    message = (
        r"weights must stay numbers, got others in contract\.0\.0\.weight at step 0; lower optimizer\.learning_rate"
    )
    with pytest.raises(NotFinished, match=message):
        check_finite(state)


def test_weights_that_the_last_step_made_infinite_are_no_model(folder, monkeypatch):
    def spoil(state, batch):
        loss = take_step(state, batch)
        if state.step == 3:
            state.network.contract[0][0].weight.data[0] = math.inf
        return loss

    monkeypatch.setattr("contractile.training.loop.take_step", spoil)
    with pytest.raises(NotFinished, match="weights must stay numbers"):
        run(folder, steps=3, validations=1)
    assert not (folder / "run" / "model.safetensors").exists()


def test_the_paper_recipe_takes_steps(folder):
    result = run(
        folder,
        base="paper",
        steps=3,
        network={"width": 2},
        samples={"tile": [188, 188], "core": [4, 4], "batch": 1},
    )
    assert result.recipe.optimizer.momentum == 0.99
    assert all(math.isfinite(row["loss"]) for row in result.history if "loss" in row)


def test_validation_images_of_ones_own(folder):
    for kind in ("images", "labels"):
        (folder / f"more_{kind}").mkdir()
        (folder / kind / "3.tif").rename(folder / f"more_{kind}" / "3.tif")
    others = folder / "more_images", folder / "more_labels"
    result = train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, validation=others)
    assert [one.name for one in result.validation] == ["3"]


def touching(name, seed):
    """Bright squares in touching pairs, a darker line between them."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((48, 48), np.int32)
    for number in range(8):
        top, left = 2 + 24 * (number // 4), 1 + 12 * (number % 4)
        labels[top : top + 18, left : left + 11] = 2 * number + 1
        labels[top + 9 : top + 18, left : left + 11] = 2 * number + 2
    pixels = np.where(labels > 0, 180.0, 40.0)
    pixels[10:12] = pixels[34:36] = 90
    return Example(name, (pixels + rng.normal(0, 5, labels.shape)).clip(0, 255).astype(np.uint8)[None], labels)


def test_objects_that_touch_come_out_apart(tmp_path):
    examples = [touching(str(seed), seed) for seed in range(3)]
    recipe = derive(
        examples,
        {
            **TINY,
            "steps": 60,
            "network": {"width": 8, "depth": 2, "symmetry": "none"},
            "optimizer": {"learning_rate": 0.01},
            "targets": {"task": "objects"},
        },
    )
    assert (recipe.targets.separation, recipe.network.classes) == ("contact", 3)
    result = fit(examples[:2], examples[2:], recipe, folder=tmp_path)
    assert result.evaluation.summary["pq"].value > 0.8
    card = load(tmp_path).card
    assert card.decoding == result.model.card.decoding
    assert Predictor(load(tmp_path)).segment(examples[2].pixels).max() == 16


@pytest.mark.parametrize(
    ("scores", "kept"),
    [((0.5, 0.9, 0.91, 0.905), 4), ((0.5, 0.9, 0.895, 0.885), 3), ((0.9, 0.895, 0.89, 0.885), 3), ((0.1, 0, 0, 0), 1)],
)
def test_a_later_network_is_kept_unless_it_is_clearly_worse(folder, monkeypatch, scores, kept):
    found = iter([{"iou": score} for score in scores])
    monkeypatch.setattr("contractile.training.validation.Validation.look", lambda *_: next(found))
    monkeypatch.setattr("contractile.training.validation.Validation.chance", 0.01)
    result = run(folder, steps=4, validations=4)
    assert load(folder / "run").card.provenance["step"] == result.model.card.provenance["step"] == kept


@pytest.mark.parametrize(("scores", "kept"), [((0.9, 0.5, 0.5, 0.46), 4), ((0.9, 0.5, 0.4, 0), 2)])
def test_of_few_objects_a_network_with_half_the_score_is_worse(folder, monkeypatch, scores, kept):
    found = iter([{"iou": score} for score in scores])
    monkeypatch.setattr("contractile.training.validation.Validation.look", lambda *_: next(found))
    monkeypatch.setattr("contractile.training.validation.Validation.chance", 0.9)
    assert run(folder, steps=4, validations=4).model.card.provenance["step"] == kept


@pytest.mark.parametrize(("objects", "chance"), [(1, 0.9), (9, 0.1), (100, 0.01)])
@pytest.mark.parametrize("task", ["classes", "objects"])
def test_scores_of_few_structures_say_little(task, objects, chance):
    labels = np.zeros((10, 400), np.int32)
    for number in range(objects):
        labels[2:8, 4 * number : 4 * number + 3] = 1 if task == "classes" else number + 1
    labels[9] = -1
    example = Example("a", np.resize(np.arange(7, dtype=np.uint8), (1, *labels.shape)), labels)
    recipe = derive([example], {"steps": 1, "targets": {"task": task}})
    assert Validation(recipe, [example]).chance == pytest.approx(chance)


def test_validation_labels_hold_no_class_that_is_not_learned():
    labels = np.zeros((20, 40), np.int32)
    labels[:, 20:] = 1
    pixels = np.resize(np.arange(7, dtype=np.uint8), (1, 20, 40))
    known, other = Example("a", pixels, labels), Example("b", pixels, 7 * labels)
    recipe = derive([known], {"steps": 1})
    with pytest.raises(ContractileError, match=r"b: validation labels hold the value 7, which is none of \(0, 1\)"):
        Validation(recipe, [known, other])


def test_the_decoding_is_the_one_that_scores_best():
    truth = np.zeros((20, 40), np.int32)
    truth[2:18, 2:18], truth[2:18, 22:38] = 1, 2
    probabilities = np.zeros((3, 20, 40), np.float32)
    probabilities[2] = 0.35 * (truth > 0)  # less sure than the default asks for
    probabilities[2, 8:12, 18:22] = 0.1
    probabilities[2, 0, 39] = 0.9  # a speck
    probabilities[0] = 1 - probabilities[2]
    chosen = choose_decoding([probabilities], [truth], score="pq")
    assert 0.1 < chosen.threshold < 0.35
    assert chosen.min_size > 1
    np.testing.assert_array_equal(decode_objects(probabilities, chosen), truth)
    far = np.where(truth > 0, truth + 80, 0)  # ids need not begin at 1
    assert choose_decoding([probabilities], [far], score="pq") == chosen
    for score in ("seg", "pq"):
        assert choose_decoding([probabilities], [np.zeros_like(truth)], score=score) == Decoding()


def test_until_validation_says_otherwise_much_smaller_things_than_annotated_ones_are_specks():
    labels = np.zeros((40, 60), np.int32)
    for number in range(1, 11):
        labels[4 * number - 4 : 4 * number - 1, : 5 * number] = number  # 15, 30, ... 150 pixels: median 82.5
    assert first_decoding([labels]) == Decoding(split=41, min_size=16)
    assert first_decoding([np.where(labels > 8, -1, labels)]) == Decoding(split=34, min_size=14)
    few = np.where(labels == 10, 10, 0)
    few[39, :2] = 1
    assert first_decoding([few]).min_size < 12  # not a fifth of 76: that would drop half of what was annotated
    assert first_decoding([np.zeros_like(labels)]) == Decoding()


def test_another_decoding_must_be_better_by_more_than_chance():
    truth = np.zeros((20, 80), np.int32)
    for number in range(4):
        truth[2:18, 20 * number + 2 : 20 * number + 18] = number + 1
    inside = 0.9 * (truth > 0).astype(np.float32)
    inside[:, :20] *= 0.5  # one of four is seen below a threshold of 0.45 alone
    maps = np.stack([1 - inside, inside])
    assert choose_decoding([maps], [truth], score="pq", least=0.5 / 4).threshold < 0.45
    assert choose_decoding([maps], [truth], score="pq", least=0.6) == Decoding()
    first = Decoding(min_size=7)
    assert choose_decoding([maps], [truth], score="pq", first=first, least=0.6) == first
    blind = Decoding(min_size=1000)  # nothing is found: anything is better
    assert choose_decoding([maps], [truth], score="pq", first=blind, least=0.9).min_size < 1000
    maps[:, 0, 18:20] = [[0.1], [0.9]]  # a speck: without it PQ is higher by 0.11
    assert choose_decoding([maps], [truth], score="pq", least=0.3) == Decoding()
    chosen = choose_decoding([maps], [truth], score="pq", least=0.12)  # another one is taken: now each gain counts
    assert (chosen.threshold < 0.45, chosen.min_size > 2) == (True, True)


def test_specks_that_the_score_does_not_mind_are_dropped_all_the_same():
    truth = np.zeros((20, 40), np.int32)
    truth[2:18, 2:18] = 1
    inside = 0.9 * (truth > 0).astype(np.float32)
    inside[5, 30] = inside[10, 35] = 0.9
    maps = np.stack([1 - inside, inside])
    assert choose_decoding([maps], [truth], score="seg").min_size > 1


def test_large_objects_that_the_network_doubts_are_dropped():
    truth = np.zeros((20, 40), np.int32)
    truth[2:18, 2:18] = 1
    inside = 0.9 * (truth > 0).astype(np.float32)
    inside[2:18, 22:38] = 0.55
    inside[2:18, 28] = 0.75  # surer in places than any threshold
    maps = np.stack([1 - inside, inside])
    chosen = choose_decoding([maps], [truth], score="ap")
    assert chosen.sure >= 0.6
    np.testing.assert_array_equal(decode_objects(maps, chosen), truth)


def test_objects_in_pieces_are_still_objects():
    truth = np.zeros((20, 20), np.int32)
    truth[2:18, 2:18] = truth[19, 0] = truth[19, 19] = 1  # more than two pieces, which elsewhere hints at a class
    inside = np.where(truth > 0, 0.4, 0.1).astype(np.float32)
    maps = np.stack([1 - inside, inside])
    assert choose_decoding([maps], [truth], score="seg").threshold < 0.4


def test_three_classes_and_three_dimensions(tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (16, 24, 24)).astype(np.int32)
    one = Example("a", (80 * labels)[None].astype(np.uint8), labels)
    recipe = derive(
        [one],
        {"steps": 2, "validations": 1, "network": {"width": 2, "depth": 1, "symmetry": "none"},
         "samples": {"tile": [8, 8, 8], "core": [8, 8, 8], "batch": 1}},
    )  # fmt: skip
    (tmp_path / "run").mkdir()
    result = fit([one], [one], recipe, folder=tmp_path / "run")
    assert result.evaluation.summary["iou"].value is not None


def test_a_volume_of_coarse_planes_trains_with_flat_levels(tmp_path):
    planes = np.stack([touching("plane", seed).labels for seed in range(5)])
    pixels = (180 * (planes > 0) + np.random.default_rng(0).normal(40, 5, planes.shape)).clip(0, 255).astype(np.uint8)
    one = Example("volume", pixels[None], planes, (2.5, 0.5, 0.5))
    recipe = derive(
        [one],
        {"steps": 4, "validations": 1, "device": "cpu", "network": {"width": 8},
         "samples": {"tile": [4, 32, 32], "core": [4, 32, 32], "batch": 1}},
    )  # fmt: skip
    assert recipe.network.flat_levels == (2, 0, 0)
    result = fit([one], [one], recipe, folder=tmp_path)
    card = load(tmp_path).card
    assert (card.network.flat_levels, card.symmetry) == ((2, 0, 0), "square")
    assert Predictor(result.model).segment(pixels).shape == planes.shape


def test_a_recipe_says_how_long(tmp_path):
    one = bright_discs("a", 0)
    recipe = derive([one], {**TINY, "steps": 1}).model_copy(update={"steps": None, "minutes": None})
    with pytest.raises(ValueError, match="recipe must say how long to train, got neither steps nor minutes"):
        fit([one], [one], recipe, folder=tmp_path)


def test_a_budget_that_validation_eats_up_is_named(folder, caplog):
    changes = {key: value for key, value in TINY.items() if key != "steps"}
    result = train(folder / "images", folder / "labels", out=folder / "run", recipe={**changes, "minutes": 1e-6})
    assert result.recipe.steps == 1
    assert "only 1 step(s) fit into 1e-06 minutes, since validation takes" in caplog.text
    assert "the network will learn hardly anything; give more minutes (10 is usual)\n" in caplog.text
    changes |= {"minutes": 1e-6, "validations": 8}
    train(folder / "images", folder / "labels", out=folder / "other", recipe=changes)
    assert "give more minutes (10 is usual), or validations = 2 in a recipe\n" in caplog.text


def test_a_loss_that_explodes_stops_the_run(folder):
    with pytest.raises(NotFinished, match=r"loss must stay a number, got .* lower optimizer.learning_rate"):
        run(
            folder,
            steps=50,
            optimizer={"kind": "sgd", "learning_rate": 100.0},
            network={"width": 2, "depth": 2, "norm": "none", "symmetry": "none"},
        )


def test_wrong_data_leaves_nothing_behind(folder):
    with pytest.raises(FileNotFoundError, match="nothing there"):
        train(folder / "nowhere", folder / "labels", out=folder / "run")
    assert not (folder / "run").exists()


def _smooth_masks(folder):
    for path in (folder / "labels").iterdir():
        tifffile.imwrite(path, ndimage.gaussian_filter(tifffile.imread(path).astype(float), 0.7).astype(np.uint8))


def _background_255(folder):
    for path in (folder / "labels").iterdir():
        tifffile.imwrite(path, np.where(tifffile.imread(path) > 0, 1, 255).astype(np.uint8))


def _images_as_labels(folder):
    for path in (folder / "images").iterdir():
        (folder / "labels" / path.name).write_bytes(path.read_bytes())


def _folders_swapped(folder):
    (folder / "images").rename(folder / "other")
    (folder / "labels").rename(folder / "images")
    (folder / "other").rename(folder / "labels")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_smooth_masks, r"0\.tif.* and 1 more: labels look like a picture of a mask .*; check --fix DIR cuts"),
        (_background_255, r"no background 0; value 255 covers .*; check --fix DIR makes it 0"),
        (_images_as_labels, r"labels are the image itself, pixel by pixel; give the annotations as labels"),
        (_folders_swapped, r"the two are swapped; give the images first, then the labels"),
    ],
)
def test_data_with_an_error_are_refused(folder, spoil, message):
    spoil(folder)
    with pytest.raises(ContractileError, match=message + r".*; --anyway \(anyway=True\) trains all the same"):
        run(folder)
    assert not (folder / "run").exists()


def test_a_run_begins_in_spite_of_an_error_where_the_user_wants_it(folder, caplog):
    _background_255(folder)
    changes = {**TINY, "steps": 1, "validations": 1}
    where = {"out": folder / "run", "recipe": changes}
    assert train(folder / "images", folder / "labels", anyway=True, **where).recipe.targets.class_values == (1, 255)
    assert "no background 0; value 255 covers" in caplog.text
    train(folder / "images", folder / "labels", resume=True, **where)  # the user has decided


def test_a_value_that_is_to_be_ignored_is_no_background(folder):
    _background_255(folder)
    for path in (folder / "labels").iterdir():
        labels = tifffile.imread(path)
        labels[:8] = 2
        tifffile.imwrite(path, labels)
    assert run(folder, steps=1, validations=1, targets={"ignore_label": 255}).recipe.targets.class_values == (1, 2)


def test_warnings_about_the_data_are_few(folder, caplog):
    for number, name in enumerate("abcdef"):
        pixels = bright_discs(name, number + 9).pixels[0].astype(np.uint16)
        labels = bright_discs(name, number + 9).labels
        if name == "a":
            pixels[:] = 7
        pixels[5, 5] = 65535 if name == "b" else pixels[5, 5]
        pixels[:20] = 0 if name == "c" else pixels[:20]
        pixels = pixels.clip(0, 150) * 27 + 45 if name == "d" else pixels  # 4095 at most
        tifffile.imwrite(folder / "images" / f"{name}.tif", pixels)
        tifffile.imwrite(folder / "labels" / f"{name}.tif", labels.astype(np.uint8) * (name != "e"))
    for kind in ("images", "labels"):
        (folder / kind / "twin.tif").write_bytes((folder / kind / "0.tif").read_bytes())
    run(folder, steps=1, validations=1)
    lines = [record.getMessage() for record in caplog.records if record.name == "contractile.training.calls"]
    assert len(lines) == 6
    assert "nothing is annotated" in lines[0]
    assert "every pixel of channel 0 has one value" in lines[1]
    assert lines[-1] == "and 2 more: `contractile check` names them"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda labels: labels[::-1], "the labels fit the image better upside down"),
        (lambda labels: (labels == 0).astype(np.int32), "the values look exchanged"),
    ],
)
def test_labels_that_are_turned_or_exchanged_are_warned_about(tmp_path, caplog, damage, told):
    for number in range(5):
        one = bright_discs(str(number), number)
        for kind, array in (("images", one.pixels[0]), ("labels", damage(one.labels))):
            (tmp_path / kind).mkdir(exist_ok=True)
            np.save(tmp_path / kind / f"{number}.npy", array)
    run(tmp_path, steps=1, validations=1)
    assert told in caplog.text


def test_axes_that_the_labels_show_are_kept(tmp_path):
    for number in range(2):
        one = bright_discs(str(number), number)
        for kind, array in (
            ("images", np.stack([one.pixels[0]] * 5)),
            ("labels", one.labels.astype(np.uint8)),
        ):
            (tmp_path / kind).mkdir(exist_ok=True)
            np.save(tmp_path / kind / f"{number}.npy", array)
    result = run(tmp_path, steps=1, validations=1)
    assert (result.recipe.axes, result.model.card.axes, result.recipe.network.channels) == ("CYX", "CYX", 5)
    with pytest.raises(ContractileError, match=r"got image 0 \(5, 48\) and labels 0 \(48, 48\)"):
        run(tmp_path, out="other", axes="YXC")  # what the user says wins, and does not fit the labels


@pytest.mark.parametrize(
    ("network", "steps", "batches"),
    [({"width": 2, "symmetry": "none"}, 12, 2), ({"width": 8, "symmetry": "square"}, 40, 5)],
    ids=["free", "tied"],
)
def test_the_norms_of_the_model_are_measured_on_samples(tmp_path, network, steps, batches):
    examples = [bright_discs(str(number), number) for number in range(3)]
    changes = {"steps": steps, "precision": "float32", "network": {**network, "depth": 2}}
    recipe = derive(examples, {**TINY, **changes})
    model = fit(examples[:2], examples[2:], recipe, folder=tmp_path).model
    samples = Samples(examples[:2], recipe.targets, recipe.samples)
    expected = copy.deepcopy(model.network)
    images = [samples.batch(number).image for number in range(batches)]
    measure_statistics(expected, images, shared=network["symmetry"] == "square")
    for name, value in model.network.state_dict().items():
        torch.testing.assert_close(value, expected.state_dict()[name], atol=1e-5, rtol=1e-5)
    card = model.card
    assert (card.network.symmetry, card.symmetry) == ("none", network["symmetry"])  # folded, and it says so


def test_a_network_without_norms_needs_no_statistics(folder):
    result = run(folder, network={**TINY["network"], "norm": "none"})
    assert not any("running" in name for name in result.model.network.state_dict())


def test_decoding_is_chosen_on_images_with_pasted_objects_too(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "contractile.training.validation.choose_decoding",
        lambda maps, truths, **_: seen.append(len(maps)) or Decoding(),
    )
    objects = {"task": "objects"}
    for pasted in (0, 2):
        run(folder, f"run-{pasted}", targets=objects, samples={**TINY["samples"], "pasted": pasted})
    assert seen[1] == 3 * seen[0] > 0


@pytest.mark.parametrize(
    ("labels", "found"), [([], "no image"), ([-1, -1], r"only ignored ones in 2 image\(s\)")], ids=["none", "ignored"]
)
def test_nothing_to_validate_on_is_named(tmp_path, labels, found):
    one = bright_discs("a", 0)
    recipe = derive([one], TINY)
    validation = [dataclasses.replace(one, labels=np.full_like(one.labels, value)) for value in labels]
    with pytest.raises(ContractileError, match=f"validation images must hold annotated pixels, got {found}; give at"):
        fit([one], validation, recipe, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def validated_apart(folder, change):
    """A run that validates on image 3, of which pixels (Y, X) and labels are changed; all are stored as colour."""
    for kind in ("images", "labels"):
        (folder / f"more_{kind}").mkdir()
        for path in sorted((folder / kind).iterdir()):
            array = tifffile.imread(path)
            path.unlink()
            if kind == "images":
                array = np.stack([array, array, array // (1 if path.stem == "3" else 2)], axis=-1)
            elif path.stem == "3":
                array = change(array)
            place = folder / (f"more_{kind}" if path.stem == "3" else kind)
            tifffile.imwrite(place / path.name, array, photometric="rgb" if array.ndim == 3 else "minisblack")
    others = folder / "more_images", folder / "more_labels"
    return train(folder / "images", folder / "labels", out=folder / "run", recipe=TINY, validation=others)


def test_grey_validation_images_beside_coloured_ones_keep_their_channels(folder):
    result = validated_apart(folder, lambda labels: labels)
    assert result.recipe.network.channels == 3
    assert [one.pixels.shape[0] for one in result.validation] == [3]


def test_an_empty_image_can_validate(folder):
    result = validated_apart(folder, np.zeros_like)
    assert [one.name for one in result.validation] == ["3"]
    assert result.evaluation.summary["pixel_error"].value is not None


def test_labels_of_validation_images_are_not_learned_from(folder):
    for path in (folder / "labels").iterdir():
        if path.stem != "3":
            tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))
    message = r"labels must hold at least two classes .* got only the value 0 in all 3 file\(s\)"
    with pytest.raises(ContractileError, match=message):
        validated_apart(folder, lambda labels: labels)
