"""Starting from a model: its weights are taken where they fit, and only where they help."""

import numpy as np
import pytest
import torch
from discs import TINY, bright_discs, folder, run
from test_cli import call

from contractile.errors import ContractileError
from contractile.model import load
from contractile.recipe import derive, read_recipe
from contractile.report import write_report
from contractile.training import train
from contractile.training.starting import begin_from, changes_for
from contractile.training.state import launch

__all__ = ["folder"]  # a fixture

NETWORK = 'network = { width = 2, depth = 2, symmetry = "none" }\n'
SEEN = {"steps": 120, "network": {"width": 8, "depth": 2}}


@pytest.fixture
def start(folder):
    """A model that was trained on the same images for some time."""
    return run(folder, out="first", **SEEN).model


def test_a_run_that_starts_from_a_good_model_is_better_at_once(folder, start, caplog):
    few = {key: value for key, value in TINY.items() if key != "network"} | {"steps": 4}
    places = (folder / "images", folder / "labels")
    from_nothing = train(*places, out=folder / "nothing", recipe={**few, "network": SEEN["network"]})
    from_start = train(*places, out=folder / "run", recipe=few, start=folder / "first")
    assert from_start.recipe.network.width == 8
    assert from_start.evaluation.summary["iou"].value > from_nothing.evaluation.summary["iou"].value
    assert "the run goes on from the model" in caplog.text


def test_a_model_that_does_not_help_is_left_out(folder, start, caplog):
    harmful = load(folder / "first")
    for values in harmful.network.parameters():
        values.data.zero_()
    places = (folder / "images", folder / "labels")
    recipe = {**TINY, "steps": 40, "network": {}}
    result = train(*places, out=folder / "run", recipe=recipe, start=harmful)
    assert "the run goes on without the model" in caplog.text
    assert result.recipe.network.width == 8


def test_a_run_from_a_model_goes_on_where_it_was_killed(folder, start):
    def stop(status):
        if status.step == 12:
            raise RuntimeError("killed")

    few = {key: value for key, value in TINY.items() if key != "network"} | {"steps": 16, "validations": 4}
    call = {"recipe": few, "start": start}
    places = (folder / "images", folder / "labels")
    whole = train(*places, out=folder / "whole", **call)
    with pytest.raises(RuntimeError, match="killed"):
        train(*places, out=folder / "run", progress=stop, **call)
    again = train(*places, out=folder / "run", resume=True, **call)
    for name, value in whole.model.weights.items():
        np.testing.assert_array_equal(again.model.weights[name], value)


@pytest.mark.parametrize("folds", [1, 2])
def test_a_report_names_the_model_that_a_run_started_from(folder, folds, caplog):
    start = run(folder, out="first", steps=1).model
    few = {key: value for key, value in TINY.items() if key != "network"} | {"steps": 4 * folds, "folds": folds}
    places, first = (folder / "images", folder / "labels"), folder / "first"
    result = train(*places, out=folder / "run", recipe=few, start=first)
    assert "is not used" not in caplog.text
    again = train(*places, out=folder / "run", resume=True, start=start)  # given as another one
    assert "a resumed run goes on with what it began with: start (--start) is not used" in caplog.text
    for one in (result, again):
        assert one.model.card.provenance["start"] == str(first)
    assert f"--start {first}" in write_report(again).read_text()


def test_the_table_of_scores_names_the_model_that_a_run_started_from(folder, capsys):
    run(folder, out="first", steps=1)
    (folder / "other.safetensors").write_bytes((folder / "first" / "model.safetensors").read_bytes())
    (folder / "tiny.toml").write_text('steps = 4\nvalidations = 1\ndevice = "cpu"\nsamples.batch = 2\n' + NETWORK)
    words = ("train", folder / "images", folder / "labels", "--out", folder / "run", "--recipe", folder / "tiny.toml")
    for more in (("--start", folder / "first"), ("--start", folder / "other.safetensors", "--resume"), ("--resume",)):
        status, told, _ = call(capsys, *words, *more)
        assert status == 0
        said = "".join(told.split())  # the table breaks long lines
        assert f"(themodel{folder / 'first'},fromwhichtherunbegan,mayhave)" in said
    assert "from which" not in call(capsys, *words, "--overwrite")[1]


@pytest.mark.parametrize("symmetry", ["none", "square"])
def test_the_weights_are_those_of_the_model(folder, symmetry):
    first = run(folder, out="first", network={"width": 8, "depth": 2, "symmetry": symmetry})
    examples = [bright_discs(str(number), number) for number in range(2)]
    changes = changes_for(first.model, examples, {})
    assert changes["network"]["symmetry"] == symmetry
    recipe = derive(examples, {**TINY, **changes, "samples": {**TINY["samples"], **changes["samples"]}})
    state = begin_from(first.model, recipe, launch(recipe))
    x = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(state.network.eval()(x), first.model.network.eval()(x), atol=1e-4, rtol=1e-4)


def test_a_model_with_other_classes_gives_all_but_its_last_layer(folder, start):
    examples = [bright_discs(str(number), number) for number in range(2)]
    told = changes_for(start, examples, {})
    recipe = derive(examples, {**TINY, "network": told["network"], "targets": {"task": "objects"}})
    state = begin_from(start, recipe, launch(recipe))
    assert state.network.head.weight.shape[0] == 3
    first = state.network.contract[0][0].weight
    torch.testing.assert_close(first, start.network.contract[0][0].weight)


def test_a_model_whose_classes_mean_something_else_gives_all_but_its_last_layer(folder, start):
    examples = [bright_discs(str(number), number) for number in range(2)]
    recipe = derive(examples, {**TINY, "network": changes_for(start, examples, {})["network"]})
    assert recipe.targets.class_values == start.card.class_values
    fabric = launch(recipe)
    taken = begin_from(start, recipe, fabric).network.head.weight
    torch.testing.assert_close(taken, start.network.head.weight)
    turned = start.with_card(class_values=start.card.class_values[::-1])
    other = begin_from(turned, recipe, fabric).network.head.weight
    assert not torch.allclose(other, start.network.head.weight)


def test_of_a_model_of_several_networks_the_first_is_taken(folder, caplog):
    run(folder, out="first", steps=2, folds=2)
    few = {key: value for key, value in TINY.items() if key != "network"} | {"steps": 2}
    train(folder / "images", folder / "labels", out=folder / "run", recipe=few, start=folder / "first")
    assert "start holds 2 networks: the first one is taken" in caplog.text


@pytest.mark.parametrize("base", ["default", "paper"])
def test_a_run_from_an_unpadded_model_gets_tiles_that_fit_it(folder, base):
    network = {"width": 2, "depth": 2, "symmetry": "none", "padding": "valid"}
    start = run(folder, out="first", steps=1, network=network, samples={"batch": 1}).model
    few = {"base": base, "steps": 1, "validations": 1, "device": "cpu", "samples": {"batch": 1}}
    result = train(folder / "images", folder / "labels", out=folder / "run", recipe=few, start=start)
    assert result.recipe.network.padding == "valid"
    size = start.card.network.output_size(result.recipe.samples.tile[0])
    assert result.recipe.samples.core == (size, size)


def test_models_that_cannot_be_started_from(start):
    examples = [bright_discs("0", 0)]
    two = [type(examples[0])("0", np.repeat(examples[0].pixels, 2, 0), examples[0].labels)]
    with pytest.raises(ContractileError, match=r"start is a model of images with 1 channel\(s\) in 2-D, got 2 in 2-D"):
        changes_for(start, two, {})
    deep = type(examples[0])("0", np.zeros((1, 4, 9, 9), np.uint8), np.zeros((4, 9, 9), np.int32))
    with pytest.raises(ContractileError, match=r"got 1 in 3-D; .*, or give --dims 2 where the images are that"):
        changes_for(start, [deep], {})
    with pytest.raises(ContractileError, match="start is a model of images that were shrunk 4 times"):
        changes_for(start.with_card(shrunk=4.0), examples, {})
    with pytest.raises(ContractileError, match=r"network\.width must be that of the model to start from, 8, got 16"):
        changes_for(start, examples, {"network": {"width": 16}})
    lists = {"flat_levels": list(start.card.network.flat_levels)}  # as a file holds them
    assert changes_for(start, examples, {"network": lists})["network"]["width"] == 8


def test_a_time_budget_for_a_few_steps_still_trains(folder, start):
    few = {key: value for key, value in TINY.items() if key not in ("network", "steps")}
    places, out = (folder / "images", folder / "labels"), folder / "run"
    result = train(*places, out=out, recipe={**few, "minutes": 1e-6}, start=start)
    assert result.recipe.steps == read_recipe(out / "recipe.toml")["steps"] == 1
    assert load(out).card.provenance["step"] == 1
    assert write_report(result).is_file()  # of a run without a loss
    again = train(*places, out=out, recipe={"minutes": 1e-6}, start=start, resume=True)
    assert again.recipe == result.recipe
