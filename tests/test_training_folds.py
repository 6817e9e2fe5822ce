"""Folds: each image is predicted by a network that has not seen it, and the model is the mean of all."""

import tomllib

import numpy as np
import pytest
import tifffile
import tomli_w
from discs import TINY, bright_discs, folder, run
from scipy import ndimage
from test_training_saved import StopError, resumed, same

from contractile.engine import EngineConfig
from contractile.errors import AlreadyThere, ContractileError, NotFound
from contractile.model import load
from contractile.prediction import Predictor
from contractile.recipe import derive
from contractile.report import write_report
from contractile.training import fit, train
from contractile.training.folds import split_folds
from contractile.training.validation import Validation

__all__ = ["folder"]  # a fixture

FOLDED = {"folds": 2, "steps": 8, "validations": 1}
CPU = EngineConfig(device="cpu", precision="float32", backend="torch")


def test_each_image_is_scored_by_a_network_that_has_not_seen_it(folder):
    result = run(folder, **FOLDED)
    assert [one.name for one in result.validation] == ["0", "1", "2", "3"]
    parts = [load(folder / "run" / f"fold-{number}") for number in (1, 2)]
    assert [one.card.provenance["seed"] for one in parts] == [0, 1]
    assert [one.card.provenance["steps"] for one in parts] == [4, 4]
    model = load(folder / "run")
    assert len(model.others) == 1
    assert model.card.provenance["images"] == 4
    assert model.card.provenance["folds"] == 2
    for name, part in (("0", parts[0]), ("1", parts[0]), ("2", parts[1]), ("3", parts[1])):
        assert all((result.unseen[name].weights[key] == value).all() for key, value in part.weights.items())
    true = [one.labels > 0 for one in result.validation]
    predicted = [Predictor(result.unseen[one.name], engine=CPU).segment(one.pixels) > 0 for one in result.validation]
    overlap = sum(int((a & b).sum()) for a, b in zip(true, predicted, strict=True))
    union = sum(int((a | b).sum()) for a, b in zip(true, predicted, strict=True))
    assert result.evaluation.summary["iou"].value == pytest.approx(overlap / union)


def test_the_model_says_the_mean_of_its_networks(folder):
    run(folder, **FOLDED)
    image = bright_discs("new", 9).pixels
    maps = [np.asarray(Predictor(load(place), engine=CPU).probabilities(image)) for place in
            (folder / "run", folder / "run" / "fold-1", folder / "run" / "fold-2")]  # fmt: skip
    np.testing.assert_allclose(maps[0], (maps[1] + maps[2]) / 2, atol=1e-6)


def test_copies_that_the_networks_have_seen_do_not_choose_the_decoding(folder, monkeypatch):
    seen = []

    def watched(self, model, examples):
        if model.others:  # all networks together
            seen.extend(one.name for one in examples)
        return predict(self, model, examples)

    predict = Validation.predict
    monkeypatch.setattr(Validation, "predict", watched)
    run(folder, **FOLDED, targets={"task": "objects"}, samples={"pasted": 1})
    assert not seen


def test_the_model_knows_the_sizes_of_all_objects(folder):
    small, large = np.zeros((2, 48, 48), np.int32)
    small[5:13, 5:13] = small[30:38, 30:38] = small[5:13, 30:38] = 1
    large[10:34, 10:34] = 1
    for number, labels in enumerate((small, small, large, large)):
        numbers, _ = ndimage.label(labels)
        tifffile.imwrite(folder / "labels" / f"{number}.tif", numbers.astype(np.uint8))
    card = run(folder, **FOLDED, targets={"task": "objects"}).model.card
    assert card.diameters == pytest.approx((8 * 2 / np.pi**0.5, 24 * 2 / np.pi**0.5), rel=0.01)


def test_the_seed_of_a_fold_is_always_one_that_can_be_written(folder):
    run(folder, **FOLDED, seed=2**63 - 1)
    assert load(folder / "run" / "fold-2").card.provenance["seed"] == 0


def test_a_run_of_one_network_does_not_become_one_of_folds(folder):
    run(folder)
    path = folder / "run" / "recipe.toml"
    before = (folder / "run" / "model.safetensors").read_bytes()
    path.write_text("folds = 2\n" + path.read_text().replace("folds = 1\n", ""))
    with pytest.raises(ContractileError, match="folds"):
        train(folder / "images", folder / "labels", out=folder / "run", resume=True)
    assert (folder / "run" / "model.safetensors").read_bytes() == before


def test_examples_in_memory_are_for_one_network(tmp_path):
    examples = [bright_discs("0", 0)]
    recipe = derive(examples, {**TINY, "folds": 2})
    with pytest.raises(ContractileError, match="folds must be 1 for examples in memory, got 2; use train for folds"):
        fit(examples, examples, recipe, folder=tmp_path / "run")


def test_the_recipe_is_that_of_each_share():
    examples = [bright_discs(str(number), number) for number in range(3)]
    for few, many in (({"minutes": 2}, {"minutes": 6}), ({"steps": 90}, {"steps": 270}), ({"steps": 1}, {"steps": 2})):
        alone, shared = (
            derive(examples, {"device": "cpu", **few}),
            derive(examples, {"device": "cpu", **many, "folds": 3}),
        )
        assert alone.network == shared.network
        assert alone.samples == shared.samples


def test_neighbours_are_held_out_together():
    examples = [bright_discs(str(number), number) for number in range(5)]
    recipe = derive(examples, {**TINY, "folds": 2})
    parts = [([one.name for one in a], [one.name for one in b]) for a, b in split_folds(examples, recipe)]
    assert parts == [(["3", "4"], ["0", "1", "2"]), (["0", "1", "2"], ["3", "4"])]


def test_a_run_in_folds_goes_on_where_it_was_killed(folder, monkeypatch):
    whole = run(folder, out="whole", **FOLDED)

    def stop(status):
        if status.step == 6:  # in the second fold
            raise RuntimeError("killed")

    where = {"out": folder / "run", "recipe": {**TINY, **FOLDED}}
    with pytest.raises(RuntimeError, match="killed"):
        train(folder / "images", folder / "labels", progress=stop, **where)
    assert not (folder / "run" / "model.safetensors").exists()
    with pytest.raises(AlreadyThere, match="already holds a run; resume it with --resume"):
        train(folder / "images", folder / "labels", **where)
    again = train(folder / "images", folder / "labels", resume=True, **where)
    for name, value in whole.model.weights.items():
        np.testing.assert_array_equal(again.model.weights[name], value)


def test_a_resumed_run_in_folds_still_starts_from_its_model(folder):
    """The second fold begins in the second call, which does not name the model."""
    first = folder / "first" / "model.safetensors"
    run(folder, "first", steps=30)
    longer = {**FOLDED, "steps": 24}  # of 12 steps in each fold, the first 10 are tried in two ways
    places, recipe = (folder / "images", folder / "labels"), {**TINY, **longer}
    whole = train(*places, out=folder / "whole", recipe=recipe, start=first)
    stopped(folder, 11, **longer, start=first)
    first.unlink()
    again = go_on(folder)
    for name, value in whole.model.weights.items():
        np.testing.assert_array_equal(again.model.weights[name], value)
    train(*places, out=folder / "whole", recipe=recipe, overwrite=True)
    assert not (folder / "whole" / "start.safetensors").exists()


def test_progress_counts_the_steps_of_all_folds(folder):
    seen = []
    where = {"out": folder / "run", "recipe": {**TINY, **FOLDED}, "progress": lambda one: seen.append(one)}
    train(folder / "images", folder / "labels", **where)
    assert [one.step for one in seen] == list(range(1, 9))
    assert {one.steps for one in seen} == {8}


def test_the_page_of_a_run_in_folds_shows_images_that_were_not_seen(folder):
    result = run(folder, **FOLDED)
    page = write_report(result).read_text()
    assert "folds" in page


def test_folds_that_cannot_be_made(folder):
    with pytest.raises(ContractileError, match="folds must be at most the number of annotated images, 4, got 5"):
        run(folder, folds=5)
    validation = (folder / "images", folder / "labels")
    other = folder / "others"
    other.mkdir()
    for place in validation:
        (other / place.name).mkdir()
        for file in place.iterdir():
            (other / place.name / f"x{file.name}").write_bytes(file.read_bytes())
    with pytest.raises(ContractileError, match="folds hold out each image once, so they take no validation images"):
        train(
            folder / "images",
            folder / "labels",
            out=folder / "run",
            recipe={**TINY, "folds": 2},
            validation=(other / "images", other / "labels"),
        )
    with pytest.raises(NotFound, match=r"holds no .* to resume"):
        train(folder / "images", folder / "labels", out=folder / "none", recipe={**TINY, "folds": 2}, resume=True)


def stopped(folder, at, *, overwrite=False, start=None, **changes):
    """Begin a run into `run` that ends by an exception after step `at`."""

    def stop(status):
        if status.step == at:
            raise StopError

    call = {"out": folder / "run", "recipe": {**TINY, **changes}, "overwrite": overwrite, "progress": stop}
    with pytest.raises(StopError):
        train(folder / "images", folder / "labels", start=start, **call)


def go_on(folder, **more):
    return train(folder / "images", folder / "labels", out=folder / "run", resume=True, **more)


def edit(path, *, without=(), **changes):
    """Change a recipe by hand."""
    fields = {**tomllib.loads(path.read_text()), **changes}
    path.write_text(tomli_w.dumps({name: value for name, value in fields.items() if name not in without}))


def test_a_plain_run_goes_on_where_a_run_in_folds_was_before(folder):
    whole = run(folder, "whole")
    run(folder, **FOLDED)
    stopped(folder, 8, overwrite=True)
    assert same(whole, resumed(folder, "run"))
    assert (folder / "run" / "fold-1").is_dir()


@pytest.mark.parametrize("before", [{}, {**FOLDED, "seed": 9}], ids=["a plain run", "a run in other folds"])
def test_a_run_in_folds_goes_on_where_another_run_was_before(folder, before):
    whole = run(folder, "whole", **FOLDED)
    run(folder, **before)
    stopped(folder, 2, overwrite=True, **FOLDED)  # in the first fold
    assert not list((folder / "run").glob("**/model.safetensors"))  # of the run before
    again = go_on(folder)
    for name, value in whole.model.weights.items():
        np.testing.assert_array_equal(again.model.weights[name], value)
    assert [load(folder / "run" / f"fold-{number}").card.provenance["seed"] for number in (1, 2)] == [0, 1]


def test_folds_with_a_time_budget_go_on(folder):
    budget = {key: value for key, value in TINY.items() if key != "steps"} | {"folds": 2, "minutes": 1e-5}

    def stop(status):
        if status.step > status.steps / 2:
            raise StopError

    with pytest.raises(StopError):
        train(folder / "images", folder / "labels", out=folder / "run", recipe=budget, progress=stop)
    assert len(go_on(folder, recipe=budget).unseen) == 4


WIDE = {**TINY["network"], "width": 4, "classes": 2}
BACK = "; put the file back, or start anew with --overwrite"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"without": ["network"]}, "recipe field network must be a table of fields, got nothing"),
        ({"without": ["steps"]}, "in which steps is 4, got None"),
        ({"steps": -1}, "recipe field steps must be a whole number"),
        ({"steps": 40}, "in which steps is 4, got 20"),
        ({"folds": 4}, "in which steps is 4, got 2"),
        ({"folds": 1}, "in which steps is 4, got 8"),
        ({"network": WIDE}, "in which network.width is 2, got 4"),
        ({"seed": 5}, "in which seed is 0, got 5"),
        ({"without": ["validations"]}, "in which validations is 1, got 8"),
    ],
)
def test_a_recipe_that_was_changed_by_hand_is_refused(folder, change, told):
    whole = run(folder, "whole", **FOLDED)
    stopped(folder, 6, **FOLDED)
    path = folder / "run" / "recipe.toml"
    before = path.read_text()
    edit(path, **change)
    with pytest.raises(ContractileError, match=rf"run/recipe\.toml: .*{told}.*{BACK}"):
        go_on(folder)
    path.write_text(f"# a remark\n{before}")
    assert whole.evaluation == go_on(folder).evaluation


def test_a_run_in_folds_without_its_recipe(folder):
    stopped(folder, 6, **FOLDED)
    (folder / "run" / "recipe.toml").unlink()
    with pytest.raises(NotFound, match=r"holds no recipe\.toml of a run to resume; start anew with --overwrite"):
        go_on(folder)
    with pytest.raises(AlreadyThere, match="run already holds a run; resume it with --resume, or start anew"):
        run(folder, **FOLDED)


def test_a_plain_run_does_not_replace_a_run_in_folds_unasked(folder):
    stopped(folder, 6, **FOLDED)
    before = (folder / "run" / "recipe.toml").read_bytes()
    with pytest.raises(AlreadyThere, match="run already holds a run; resume it with --resume, or start anew"):
        run(folder)
    assert (folder / "run" / "recipe.toml").read_bytes() == before


def test_a_damaged_state_of_a_fold_is_named(folder):
    stopped(folder, 6, **FOLDED)
    (folder / "run" / "fold-1" / "state.ckpt").write_bytes(b"nothing")
    with pytest.raises(ContractileError, match=r"fold-1/state\.ckpt: is not the state of a run; start anew"):
        go_on(folder)


def test_folds_cannot_be_asked_of_a_plain_run(folder):
    stopped(folder, 6)
    with pytest.raises(ContractileError, match="in which folds is 1, got 2"):
        go_on(folder, recipe=FOLDED)
