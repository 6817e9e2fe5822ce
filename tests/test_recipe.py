"""Recipes: derived from data, changed by a file, written and read back, refused in one line."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from contractile.augment import AugmentConfig
from contractile.dataset import Example
from contractile.errors import ContractileError
from contractile.recipe import Recipe, check_same, derive, make_recipe, read_recipe, survey
from contractile.recipe.plausible import step_bytes
from contractile.targets import TargetConfig, unannotated
from contractile.unet import UNetConfig


def examples(shape=(300, 400), channels=1, values=(0, 255)):
    labels = np.resize(np.array(values, np.int32).repeat(7), shape)
    return [Example("a", nearly_blank(shape, channels), labels)]


def nearly_blank(shape, channels=1):
    """Pixels (C, *S), 0 but for one: images of a single value are refused."""
    pixels = np.zeros((channels, *shape), np.uint8)
    pixels.flat[0] = 1
    return pixels


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


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("recipes/*.toml")), ids=lambda path: path.stem)
def test_every_published_recipe_holds_for_numbered_objects(path):
    asked = read_recipe(path)
    recipe = derive([discs(20)] * 2, asked)
    assert recipe.score == asked.get("score", "pq")
    assert recipe.minutes == asked.get("minutes", 10)


def discs(radius, count=9, shape=(300, 300), seed=0):
    """Numbered discs on a lattice."""
    labels = np.zeros(shape, np.int32)
    y, x = np.indices(shape)
    side = int(np.ceil(np.sqrt(count)))
    for number in range(count):
        at = [(k + 0.5) * n / side for k, n in zip(divmod(number, side), shape, strict=True)]
        labels[(y - at[0]) ** 2 + (x - at[1]) ** 2 <= radius**2] = number + 1
    return Example(f"discs {seed}", nearly_blank(shape), labels)


@pytest.mark.parametrize(("radius", "depth"), [(8, 3), (40, 4), (90, 5)])
def test_the_field_of_view_holds_the_structure(radius, depth):
    count = 9 if radius < 45 else 4
    seen = survey([discs(radius, count, shape=(400, 400))] * 2)
    assert seen.task == "objects"
    assert seen.structure == pytest.approx(2 * radius, rel=0.03)
    network = derive([discs(radius, count, shape=(400, 400))] * 2, {"minutes": 10}).network
    assert network.depth == depth
    assert min(network.receptive_field) >= 2 * seen.structure


def test_the_field_of_view_holds_large_objects_where_sizes_differ(caplog):
    mixed = [discs(12, 9, shape=(400, 400))] * 12 + [discs(45, 4, shape=(400, 400))]
    seen = survey(mixed)
    assert seen.structure < 30
    assert seen.largest == pytest.approx(90, rel=0.03)
    with caplog.at_level("INFO", logger="contractile.recipe"):
        network = derive(mixed, {"minutes": 10}).network
    assert min(network.receptive_field) >= 180
    assert "24 pixels wide, large ones 90;" in caplog.text


@pytest.mark.parametrize("vertical", [False, True])
def test_the_width_of_a_class_is_that_of_its_stripes(vertical):
    labels = np.zeros((120, 120), np.int32)
    for start in range(10, 120, 40):
        labels[:, start : start + 20] = 255
    seen = survey([Example("a", np.zeros((1, 120, 120), np.uint8), labels.T if vertical else labels)])
    assert (seen.task, seen.class_values) == ("classes", (0, 255))
    assert seen.structure == pytest.approx(20, rel=0.2)
    assert seen.rarest == pytest.approx(0.5)


def test_the_survey_sees_what_is_annotated():
    one = discs(20)
    one.labels[:150] = -1
    seen = survey([one])
    assert seen.labelled == pytest.approx(0.5)
    assert seen.area == 150 * 300
    assert seen.rarest == pytest.approx((one.labels > 0).mean() / 0.5, rel=0.01)


def test_the_survey_counts_no_background_far_from_the_objects_drawn():
    one = discs(10, count=1, shape=(200, 200))
    assert survey([one]).labelled == 1
    y, x = np.indices((200, 200))
    known = np.hypot(y - 100, x - 100) <= 10 + 30
    assert survey([one], known_around=30).labelled == pytest.approx(known.mean(), rel=0.03)


def test_the_network_has_an_output_for_each_class():
    with pytest.raises(ValueError, match=r"network.classes must be 3, .* separation contact, got 2; leave it out"):
        derive([discs(10)], {"network": {"classes": 2}})
    assert derive(examples(), {"targets": {"class_values": [0, 255, 9]}}).network.classes == 3


@pytest.mark.parametrize("name", ["network", "targets", "samples", "optimizer", "loss"])
def test_a_table_of_a_recipe_is_a_table(name, tmp_path):
    (tmp_path / "odd.toml").write_text(f"{name} = 3\n")
    with pytest.raises(ValueError, match=rf"recipe field {name} must be a table of fields, got 3; write \[{name}\]"):
        read_recipe(tmp_path / "odd.toml")


def test_what_is_rare_is_looked_for():
    assert derive([discs(4)], {}).samples.focus > 0
    assert derive([discs(45)], {}).samples.focus == 0


def test_the_more_often_images_are_seen_the_more_samples_vary():
    images = [discs(20)] * 100  # of 300 x 300 pixels: a pass takes 34 steps
    light = {"light_chance": 0.0}  # discs of noise are not dark
    upright = {**light, "rotation": 0.0, "quarter_turns": True}  # kernels that are tied see to the rest
    few, some, many = (
        derive(images, {"device": "cpu", "steps": steps}).samples.augment for steps in (100, 1000, 10_000)
    )
    assert few == AugmentConfig.mild().model_copy(update=upright)
    assert some == AugmentConfig().model_copy(update=upright)
    assert many == AugmentConfig().model_copy(update=light)
    free = derive(images, {"device": "cpu", "steps": 1000, "network": {"symmetry": "none"}})
    assert free.samples.augment == AugmentConfig().model_copy(update=light)


@pytest.mark.parametrize(
    ("images", "task", "chance"), [(1, "classes", 0.5), (5, "classes", 0.5), (6, "classes", 0), (1, "objects", 0)]
)
def test_noise_varies_where_classes_are_learned_from_few_images(images, task, chance):
    changes = {"minutes": 60, "targets": {"task": task}}
    augment = derive([discs(20)] * images, changes).samples.augment  # discs of noise are not dark
    assert augment.light_chance == chance
    assert augment.noise == (0.2 if chance else 0.1)


def test_the_scale_follows_the_background():
    labels = discs(20).labels
    bright = Example("bright", np.uint8(10 + 100 * (labels[None] > 0)), labels)
    light = Example("light", 255 - bright.pixels, labels)
    for example, kind, chance, dimmed in ((bright, "compressive", 0.25, 16.0), (light, "linear", 0.0, 1.0)):
        samples = derive([example] * 2, {"minutes": 60}).samples
        assert samples.normalization.kind == kind
        assert (samples.augment.light_chance, samples.augment.dimmed) == (chance, dimmed)


def test_a_faster_processor_sees_images_more_often(monkeypatch):
    augment = {}
    for precision in ("float32", "bfloat16"):
        monkeypatch.setattr(
            sys.modules["contractile.recipe.derive"], "native_precision", lambda device, found=precision: found
        )
        augment[precision] = derive([discs(20)] * 100, {"device": "cpu", "minutes": 10}).samples.augment
    assert (augment["float32"].quarter_turns, augment["bfloat16"].quarter_turns) == (True, False)


def test_the_task_can_be_told():
    as_classes = derive([discs(20)], {"targets": {"task": "classes"}})
    assert as_classes.targets.class_values == tuple(range(10))
    as_objects = derive(examples(), {"targets": {"task": "objects"}})
    assert (as_objects.targets.task, as_objects.targets.class_values) == ("objects", ())


def test_nothing_can_be_pasted_where_there_are_no_objects():
    with pytest.raises(
        ValueError, match=r"samples.pasted must be 0 for task classes, got 1; only objects can be pasted"
    ):
        derive(examples(), {"samples": {"pasted": 1}})
    assert derive([discs(20)], {"samples": {"pasted": 1}}).samples.pasted == 1


@pytest.mark.parametrize(
    ("images", "changes", "copies"),
    [
        (1, {}, 9),
        (2, {}, 4),
        (5, {}, 1),
        (6, {}, 0),
        (1, {"minutes": 1, "device": "cpu"}, 0),
        (1, {"steps": 20}, 0),
        (1, {"samples": {"pasted": 0}}, 0),
        (1, {"targets": {"task": "classes"}}, 0),
        (1, {"base": "paper"}, 0),
    ],
)
def test_objects_of_few_images_are_pasted_on_one_another(caplog, images, changes, copies):
    with caplog.at_level("INFO", logger="contractile.recipe"):
        assert derive([discs(20)] * images, changes).samples.pasted == copies
    said = f"{copies} more copies of each annotated image with objects pasted in" in caplog.messages[-1]
    assert said == (copies > 0)


def test_copies_of_large_images_are_few():
    large = discs(20, shape=(3000, 3000))
    assert derive([large], {}).samples.pasted == 3


def test_sizes_of_all_images_count_for_the_copies(monkeypatch):
    monkeypatch.setattr(sys.modules[derive.__module__], "MOST_COPIED", 2 * 600**2)
    few = [discs(20), discs(20), discs(20, shape=(600, 600))]  # the median image alone would allow two copies of each
    assert derive(few, {}).samples.pasted == 1


def test_annotated_images_far_apart_are_what_is_looked_at():
    blank = replace(discs(20), labels=np.full((300, 300), -1, np.int32))
    pages = [discs(20, seed=number) if number % 10 == 5 else blank for number in range(30)]
    known = survey(pages)
    assert known.structure == pytest.approx(survey([discs(20)]).structure)
    assert known.labelled == pytest.approx(0.1)
    assert known.area == 3 * 300**2
    assert derive(pages, {}).samples.focus == derive([discs(20)], {}).samples.focus


@pytest.mark.parametrize("task", ["objects", "classes"])
def test_pages_that_nobody_annotated_are_none_of_the_few_images(task):
    blank = replace(discs(20), labels=np.full((300, 300), -1, np.int32))
    changes = {"minutes": 60, "targets": {"task": task}}
    one, among_others = (derive(pages, changes).samples for pages in ([discs(20)], [blank] * 11 + [discs(20)]))
    assert among_others.pasted == one.pasted == (9 if task == "objects" else 0)
    assert among_others.augment.light_chance == one.augment.light_chance == (0.5 if task == "classes" else 0)


@pytest.mark.parametrize("side", [60, 200, 250])
@pytest.mark.parametrize("network", [{"depth": 4}, {"depth": 3, "flat_levels": [0, 0]}])
def test_tiles_suit_the_network_that_was_asked_for(side, network):
    recipe = derive([discs(6, shape=(side, side))], {"network": network, "device": "cpu"})
    assert recipe.network.depth == network["depth"]
    assert all(size % stride == 0 for size, stride in zip(recipe.samples.tile, recipe.network.stride, strict=True))


def test_where_nothing_is_annotated_nothing_is_pasted():
    blank = replace(discs(20), labels=np.zeros((300, 300), np.int32))
    assert derive([blank], {"targets": {"task": "objects", "known_around": 3.0}}).samples.pasted == 0


def test_nothing_is_pasted_in_three_dimensions():
    assert derive([balls(1)], {}).samples.pasted == 0  # not measured in 3-D


def test_a_guess_at_the_task_is_called_one(caplog):
    few = replace(discs(20), labels=np.minimum(discs(20).labels, 3))
    with caplog.at_level("INFO", logger="contractile.recipe"):
        for changes in ({}, {"targets": {"task": "classes"}}):
            derive([few], changes)
    guessed, told = caplog.messages[::2]
    assert '4 classes (a guess; if they are objects, a recipe with targets.task = "objects" says so), about' in guessed
    assert "guess" not in told


def test_what_was_chosen_is_said_in_two_lines(caplog):
    with caplog.at_level("INFO", logger="contractile.recipe"):
        derive([discs(20)] * 3, {"minutes": 7, "device": "cpu"})
    data, chosen = caplog.messages
    assert data.startswith("data: 3 image(s) of 300 x 300 pixels, 1 channel(s); objects, about 40 pixels wide")
    assert "for 7 minutes on cpu: depth 3 sees 100 pixels (2.5 structures), width 16, kernels tied" in chosen
    assert "batches of 4 x 256 x 256" in chosen


def test_a_short_budget_takes_free_kernels_and_small_batches():
    short, usual = (derive(examples(), {"device": "cpu", "minutes": minutes}) for minutes in (1, 10))
    assert (short.network.symmetry, usual.network.symmetry) == ("none", "square")
    assert short.samples.batch < usual.samples.batch


def balls(ratio, radius=9, side=64, size=0.2):
    """Eight balls in a cube that is seen in planes `ratio` times as far apart as pixels."""
    planes = max(4, round(side / ratio))
    z, y, x = np.indices((planes, side, side))
    labels = np.zeros((planes, side, side), np.int32)
    for number in range(8):
        at = [(int(bit) + 0.5) * n / 2 for bit, n in zip(f"{number:03b}", labels.shape, strict=True)]
        labels[(ratio * (z - at[0])) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 <= radius**2] = number + 1
    return Example("balls", nearly_blank(labels.shape), labels, (ratio * size, size, size))


@pytest.mark.parametrize(("ratio", "levels"), [(1, 0), (2, 0), (2.1, 1), (4, 1), (5, 2), (8, 2)])
def test_the_finest_levels_leave_coarse_planes_alone(ratio, levels):
    recipe = derive([balls(ratio)], {"steps": 100})
    assert recipe.network.flat_levels == ((levels, 0, 0) if levels else ())
    assert recipe.network.symmetry == "square"


@settings(max_examples=30)
@given(ratio=st.floats(1, 40), radius=st.integers(4, 14))
def test_recipes_of_volumes_fit_their_pixels(ratio, radius):
    one = balls(ratio, radius)
    recipe, seen = derive([one], {"steps": 100}), survey([one])
    network, sizes = recipe.network, (ratio, 1, 1)
    levels = (network.flat_levels or (0,))[0]
    assert ratio <= 2 * 2**levels + 1e-5 or levels == network.depth
    assert levels == 0 or ratio > 2 * 2 ** (levels - 1) - 1e-5
    field = min(n * size for n, size in zip(network.receptive_field, sizes, strict=True))
    assert field >= 2 * seen.largest or network.depth == 3
    assert recipe.samples.tile[0] <= max(network.stride[0], one.labels.shape[0])
    assert 1 <= recipe.samples.batch <= 16


def test_lengths_are_those_of_the_finest_axis():
    for ratio in (1, 4):
        seen = survey([balls(ratio, radius=14)])
        assert seen.pixel_size == (ratio, 1, 1)
        assert seen.structure == pytest.approx(28, rel=0.07)
    planes = balls(4).labels * 0
    planes[4:8] = 255  # a layer of 4 planes, or 16 pixels
    planes[12:14] = 255
    layers = Example("layers", np.zeros((1, *planes.shape), np.uint8), planes, (2.0, 0.5, 0.5))
    assert survey([layers]).structure == pytest.approx(16, rel=0.3)


def test_tiles_are_about_as_deep_as_wide(monkeypatch):
    def samples():
        return [derive([balls(ratio, radius=6, side=160)], {"steps": 100}).samples for ratio in (4, 1)]

    monkeypatch.setattr(sys.modules["contractile.recipe.derive"], "find_device", lambda device: torch.device("cuda"))
    flat, cube = samples()
    assert (flat.tile, flat.batch) == ((24, 64, 64), 5)
    assert (cube.tile, cube.batch) == ((64, 64, 64), 2)
    monkeypatch.undo()
    flat, cube = samples()  # on a processor more steps teach more
    assert (flat.tile, flat.batch) == ((8, 32, 32), 12)
    assert (cube.tile, cube.batch) == ((32, 32, 32), 3)


def test_equal_pixels_and_flat_images_give_the_same_recipe_whatever_their_size():
    for one, sizes in ((balls(1), [(0.3, 0.3, 0.3)]), (discs(20), [(0.3, 0.3), (2.0, 0.2)])):
        plain = derive([replace(one, pixel_size_um=None)], {"steps": 100})
        assert plain.network.flat_levels == ()
        for size in sizes:
            assert derive([replace(one, pixel_size_um=size)], {"steps": 100}) == plain


def test_spacing_in_a_recipe_says_more_than_the_file():
    equal = derive([balls(5)], {"steps": 100, "targets": {"spacing": [1, 1, 1]}})
    assert (equal.network.flat_levels, equal.targets.spacing) == ((), (1, 1, 1))
    silent = replace(balls(5), pixel_size_um=None)
    assert derive([silent], {"steps": 100}).network.flat_levels == ()
    assert derive([silent], {"steps": 100, "targets": {"spacing": [5, 1, 1]}}).network.flat_levels == (2, 0, 0)
    coarse = derive([balls(5)], {"steps": 100})
    assert coarse.targets.spacing == coarse.samples.augment.spacing == (5, 1, 1)
    for wrong in ([5, 1], [5, 1, 0]):
        with pytest.raises(ValueError, match=r"targets.spacing must hold one positive number for each of the 3 axes"):
            derive([silent], {"targets": {"spacing": wrong}})


def test_kernels_are_free_where_rows_are_coarser_than_columns():
    one = replace(balls(1), pixel_size_um=(0.2, 1.0, 0.2))
    network = derive([one], {"steps": 100, "device": "cpu"}).network
    assert (network.flat_levels, network.symmetry, network.head_kernel) == ((0, 2, 0), "none", 1)


def test_the_paper_has_no_flat_levels():
    assert derive([balls(5)], {"base": "paper", "steps": 3}).network.flat_levels == ()


@pytest.mark.parametrize(
    ("ratio", "line"),
    [
        (5, "Z pixels are 5 times as large: the two finest levels look and pool along Y and X only; batches"),
        (2.5, "Z pixels are 2.5 times as large: the finest level looks and pools along Y and X only; batches"),
    ],
)
def test_flat_levels_are_explained(caplog, ratio, line):
    with caplog.at_level("INFO", logger="contractile.recipe"):
        network = derive([balls(ratio)], {"steps": 100}).network
    assert line in caplog.text
    assert f"sees {' x '.join(str(n) for n in network.receptive_field)} pixels" in caplog.text


def test_a_recipe_comes_back_from_its_file(tmp_path):
    recipe = derive(examples(), {"steps": 7, "seed": 5, "network": {"width": 8}})
    assert recipe.network.width == 8
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert derive(examples(), read_recipe(tmp_path / "r.toml")) == recipe


def test_a_file_may_name_only_what_differs(tmp_path):
    (tmp_path / "r.toml").write_text('base = "paper"\nsteps = 9\n[optimizer]\nlearning_rate = 0.5\n')
    recipe = derive(examples(), read_recipe(str(tmp_path / "r.toml")))
    assert recipe.optimizer == Recipe.paper().optimizer.model_copy(update={"learning_rate": 0.5})


@pytest.mark.parametrize("base", ["default", "paper"])
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_tiles_fit_a_network_without_padding(base, depth):
    recipe = derive(examples(), {"base": base, "network": {"depth": depth, "padding": "valid"}})
    size = recipe.network.output_size(recipe.samples.tile[0])
    assert recipe.samples.core == (size, size)
    near = 572 if base == "paper" else 256
    assert abs(recipe.samples.tile[0] - near) <= recipe.network.stride[0]
    tile = [recipe.network.input_size(60)] * 2
    assert derive(examples(), {"network": {"depth": depth, "padding": "valid"}, "samples": {"tile": tile}}).samples.tile


def test_names_and_mappings():
    assert read_recipe(None) == {}
    assert read_recipe("paper") == {"base": "paper"}
    assert read_recipe({"steps": 2}) == {"steps": 2}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"base": "best"}, "recipe must be one of default, paper or a .toml file, got 'best'; use default"),
        ({"base": "papr"}, "recipe must be one of default, paper or a .toml file, got 'papr'; use paper"),
        ({"stpes": 3}, "recipe field stpes does not exist, got 3; write steps"),
        ({3: 4}, 'recipe must have fields with names, got 3; give e.g. {"steps": 500}'),
        ({"steps": 0}, "recipe field steps must be a whole number from 1 to 1,000,000,000, got 0; use e.g. 500"),
        ({"minutes": -1}, "recipe field minutes must be a number above 0 and up to 525,600, got -1; use e.g. 10"),
        (
            {"network": {"width": "wide"}},
            "recipe field network.width must be a whole number from 1 to 4096, got 'wide'; use e.g. 16",
        ),
        (
            {"samples": {"tile": [256], "core": [256]}},
            "samples.tile must have one size per axis, got (256,) for a 2-D network; give 2 numbers",
        ),
        (
            {"samples": {"core": [128, 128]}},
            "samples.core must be what the network makes of the tile (256, 256), got (128, 128); use (256, 256)",
        ),
        (
            {"network": {"depth": 4}, "samples": {"tile": [16, 16], "batch": 1}},
            "samples.batch must be at least 2 for tiles of one pixel at the lowest level, got 1 of (16, 16); use 2, "
            "or a larger samples.tile",
        ),
        (
            {"samples": {"tile": [250, 250]}},
            "input size must keep every map even before a pooling and leave some output (same convolutions, depth 3), "
            "got 250; use 248 or 256",
        ),
        ({"minutes": "ten"}, "recipe field minutes must be a number above 0 and up to 525,600, got 'ten'; use e.g. 10"),
        (
            {"steps": "500"},
            "recipe field steps must be a whole number from 1 to 1,000,000,000, got '500'; use e.g. 500",
        ),
        (
            {"targets": {"ignore_label": "255"}},
            "recipe field targets.ignore_label must be a whole number from -2,147,483,648 to 2,147,483,647, got '255'; "
            "use e.g. 255",
        ),
        (
            {"samples": {"tile": [256, "256"]}},
            "recipe field samples.tile must be a list of whole numbers from 1 to 32,768, got [256, '256']; "
            "use e.g. [256, 256]",
        ),
        (
            {"samples": {"tile": [256, True]}},
            "recipe field samples.tile must be a list of whole numbers from 1 to 32,768, got [256, True]; "
            "use e.g. [256, 256]",
        ),
        (
            {"targets": {"spacing": [float("nan"), 1]}},
            "targets.spacing must hold one positive number for each of the 2 axes, got (nan, 1); leave it out for "
            "isotropic pixels",
        ),
        ({"network": {"dims": 4}}, "recipe field network.dims must be 2 or 3, got 4; use e.g. 2"),
        (
            {"network": {"symmetry": "square", "width": 12}},
            "recipe field network: symmetry square needs a width that is a multiple of 8, got width 12; use width 8",
        ),
        (
            {"targets": {"task": "things"}},
            "recipe field targets.task must be 'classes' or 'objects', got 'things'; use e.g. 'objects'",
        ),
        (
            {"targets": {"known_around": -1}},
            "recipe field targets.known_around must be a number from 0 to 1,000,000, got -1; use e.g. 30",
        ),
        (
            {"targets": {"class_values": 3}},
            "recipe field targets.class_values must be a list of whole numbers from 0 to 2,147,483,647, "
            "got 3; leave it out",
        ),
        (
            {"samples": {"augment": 3}},
            "recipe field samples.augment must be a table of fields, got 3; write [samples.augment] above its fields",
        ),
    ],
)
def test_refusals(changes, line):
    with pytest.raises(ContractileError) as caught:
        derive(examples(), changes)
    assert str(caught.value) == line


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(ValueError, match=r"recipe must be one of default, paper or a \.toml file, got 'fast'"):
        read_recipe("fast")
    with pytest.raises(FileNotFoundError, match=r"recipe .*none.toml does not exist"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("steps = = 3")
    with pytest.raises(ValueError, match=r"bad.toml is not valid TOML \(.*line 1"):
        read_recipe(tmp_path / "bad.toml")


def test_copies_that_cannot_fit_into_memory(monkeypatch):
    monkeypatch.setattr("contractile.memory.total_memory", lambda: 1e7)
    monkeypatch.setattr(sys.modules["contractile.recipe.plausible"], "step_bytes", lambda recipe: 0)
    with pytest.raises(ContractileError) as caught:
        derive([discs(20)], {"samples": {"pasted": 100}, "device": "cpu"})
    assert str(caught.value) == (
        "the copies that samples.pasted makes must fit into memory (0.01 GB), got 100 of each of 1 image(s), which "
        "take at least 0.099 GB; use a lower number"
    )


def test_the_memory_of_a_step_grows_with_the_batch():
    recipe = derive([discs(20)], {"device": "cpu"})
    assert 1e7 < step_bytes(recipe) < 1e9
    twice = recipe.model_copy(update={"samples": recipe.samples.model_copy(update={"batch": 2 * recipe.samples.batch})})
    assert step_bytes(recipe) < step_bytes(twice) < 2 * step_bytes(recipe)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_recipe_that_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(FileNotFoundError, match=r"pipe.toml is no file; give one of default, paper or a .toml file"):
        read_recipe(tmp_path / "pipe.toml")


def test_a_recipe_without_permission(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "locked.toml").write_text("")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ContractileError, match=r"locked.toml cannot be read \(Permission denied\); give a file that"):
        read_recipe(tmp_path / "locked.toml")


def test_recipes_of_other_editors(tmp_path):
    (tmp_path / "r.toml").write_bytes(
        b"\xef\xbb\xbf# ................................................................\r\nsteps = 3\r\n"
    )
    assert read_recipe(tmp_path / "r.toml") == {"steps": 3}


def test_nothing_counts_as_left_out():
    assert read_recipe({"steps": None, "targets": {"ignore_label": None}}) == {"targets": {}}
    assert derive(examples(), {"steps": 3, **read_recipe({"minutes": None})}).steps == 3


def test_a_resumed_run_keeps_its_recipe():
    held = derive(examples(), {"steps": 3}).model_dump(mode="json")
    check_same(held, {"base": "default", "steps": 3, "samples": {"tile": held["samples"]["tile"]}})
    for asked, line in (
        ({"base": "paper"}, "in which base is default, got paper"),
        ({"axes": "YXC"}, "in which axes is left out, got YXC"),
        ({"network": {"width": 64}}, f"in which network.width is {held['network']['width']}, got 64"),
    ):
        with pytest.raises(ContractileError, match=line):
            check_same(held, asked)


def test_configurations_in_a_mapping_are_tables_of_what_was_given():
    given = {
        "steps": 3,
        "network": UNetConfig(width=8),
        "samples": {"augment": AugmentConfig(flip=False), "pasted": None},
        "targets": TargetConfig(task="classes", class_values=(0, 255), ignore_label=None),
    }
    plain = {
        "steps": 3,
        "network": {"width": 8},
        "samples": {"augment": {"flip": False}},
        "targets": {"task": "classes", "class_values": (0, 255)},
    }
    assert read_recipe(given) == plain
    assert derive(examples(), given) == derive(examples(), plain)
    with pytest.raises(ContractileError, match=r"recipe field network\.flip does not exist, got False"):
        read_recipe({"network": AugmentConfig(flip=False)})


def test_a_whole_recipe_needs_its_tables():
    fields = derive(examples(), {"steps": 3}).model_dump()
    assert make_recipe(fields).steps == 3
    del fields["network"]
    with pytest.raises(ContractileError, match="recipe field network must be a table of fields, got nothing"):
        make_recipe(fields)


def seen_kinds(monkeypatch, labels):
    """What the survey remembers of each pixel, and what it measured."""
    module, seen = sys.modules["contractile.recipe.survey"], []
    monkeypatch.setattr(module, "_class_size", lambda kinds, pixel_size: seen.extend(kinds) or 1.0)
    return survey([Example("a", nearly_blank(labels.shape), labels)], task="classes"), seen


@pytest.mark.parametrize(("classes", "size"), [(2, 1), (128, 1), (129, 2), (300, 2)])
def test_the_survey_remembers_classes_in_few_bytes(monkeypatch, classes, size):
    labels = np.arange(30 * classes, dtype=np.int32).reshape(30, classes) % classes
    labels[:10] = -1
    found, (kinds,) = seen_kinds(monkeypatch, 7 * labels.clip(0) + np.minimum(labels, 0))
    assert kinds.dtype.itemsize == size
    np.testing.assert_array_equal(kinds, labels)
    assert (found.rarest, found.labelled) == (pytest.approx(1 / classes), pytest.approx(2 / 3))


@pytest.mark.parametrize("told", [True, False])
def test_the_survey_measures_distances_as_training_does(told):
    """In planes five times as far apart as pixels, whether the user or the file says so."""
    one = balls(5)
    changes = {"steps": 3, "targets": {"known_around": 6, **({"spacing": [5, 1, 1]} if told else {})}}
    one = replace(one, pixel_size_um=None) if told else one
    targets = derive([one], changes).targets
    assert targets.spacing == (5, 1, 1)
    seen = survey([one], known_around=6, spacing=(5, 1, 1) if told else ())
    assert seen.labelled == pytest.approx((~unannotated(one.labels, targets)).mean())
