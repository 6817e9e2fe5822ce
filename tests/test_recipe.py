"""Recipes: derived from data, changed by a file, written and read back, refused in one line."""

import numpy as np
import pytest

from contractile.dataset import Example
from contractile.recipe import Recipe, derive, read_recipe


def examples(shape=(300, 400), channels=1, values=(0, 255)):
    labels = np.resize(np.array(values, np.int32).repeat(7), shape)
    return [Example("a", np.zeros((channels, *shape), np.uint8), labels)]


def test_the_paper_recipe_is_the_paper():
    recipe = Recipe.paper()
    assert recipe.samples.tile == (572, 572)
    assert recipe.samples.core == (388, 388)
    assert recipe.samples.batch == 1
    assert (recipe.optimizer.kind, recipe.optimizer.momentum) == ("sgd", 0.99)
    assert (recipe.targets.w0, recipe.targets.sigma, recipe.targets.balance) == (10, 5, True)
    assert (recipe.samples.augment.elastic_grid, recipe.samples.augment.elastic_std) == (3, 10)
    assert recipe.network.parameters == 31_030_658


def test_a_recipe_fits_the_data():
    recipe = derive(examples(channels=3, values=(0, 1, 4)), {})
    assert (recipe.network.channels, recipe.network.classes) == (3, 3)
    assert recipe.targets.class_values == (0, 1, 4)
    assert recipe.minutes == 10
    assert derive(examples((100, 400)), {}).samples.tile == (96, 256)
    assert derive(examples((40, 64, 64)), {}).network.dims == 3
    assert derive(examples(), {"base": "paper", "steps": 3}).network.width == 64


def test_a_short_budget_takes_free_kernels_and_small_batches():
    short, usual = (derive(examples(), {"device": "cpu", "minutes": minutes}) for minutes in (1, 10))
    assert (short.network.symmetry, usual.network.symmetry) == ("none", "square")
    assert short.samples.batch < usual.samples.batch


def test_a_recipe_comes_back_from_its_file(tmp_path):
    recipe = derive(examples(), {"steps": 7, "seed": 5, "network": {"width": 8}})
    assert recipe.network.width == 8
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert derive(examples(), read_recipe(tmp_path / "r.toml")) == recipe


def test_a_file_may_name_only_what_differs(tmp_path):
    (tmp_path / "r.toml").write_text('base = "paper"\nsteps = 9\n[optimizer]\nlearning_rate = 0.5\n')
    recipe = derive(examples(), read_recipe(str(tmp_path / "r.toml")))
    assert recipe.optimizer == Recipe.paper().optimizer.model_copy(update={"learning_rate": 0.5})


def test_names_and_mappings():
    assert read_recipe(None) == {}
    assert read_recipe("paper") == {"base": "paper"}
    assert read_recipe({"steps": 2}) == {"steps": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "best"}, "recipe must be one of default, paper or a TOML file, got 'best'"),
        ({"stpes": 3}, r"recipe field stpes: .* \(got 3\); the recipe.toml"),
        ({"steps": 0}, "recipe field steps: .*greater than or equal to 1"),
        ({"minutes": -1}, "recipe field minutes: .*greater than 0"),
        ({"network": {"width": "wide"}}, "recipe field network.width: .*integer"),
        (
            {"samples": {"tile": [256], "core": [256]}},
            r"samples.tile must have one size per axis, got \(256,\)",
        ),
        (
            {"samples": {"core": [128, 128]}},
            r"samples.core must be what .* got \(128, 128\); use \(256, 256\)",
        ),
        ({"samples": {"tile": [250, 250]}}, "input size must keep every map even"),
    ],
)
def test_refusals(changes, message):
    with pytest.raises(ValueError, match=message):
        derive(examples(), changes)


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(ValueError, match=r"recipe must be one of default, paper or a \.toml file, got 'fast'"):
        read_recipe("fast")
    with pytest.raises(FileNotFoundError, match=r"recipe .*none.toml does not exist"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(ValueError, match=r"bad.toml is not valid TOML \(.*line 1"):
        read_recipe(tmp_path / "bad.toml")
