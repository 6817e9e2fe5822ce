"""Reproducible: the same seed, data, steps and threads give the same weights, and a card says what they were."""

import logging
import platform
from importlib.metadata import version

import numpy as np
import pytest
import tifffile
import torch
from discs import TINY, bright_discs, folder, run
from test_training_saved import resumed, same, stopped

from contractile.errors import ContractileError
from contractile.model import load
from contractile.recipe import Recipe, derive
from contractile.training import fit, train
from contractile.training.origin import check_origin, trace
from contractile.training.saved import Origin

__all__ = ["folder"]  # a fixture


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_can_be_repeated_exactly(folder, threads):
    """With as many threads; two may add numbers in another order than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        runs = [run(folder, name, steps=3, validations=1, network={"width": 16, "depth": 2}) for name in "ab"]
    finally:
        torch.set_num_threads(before)
    assert same(*runs)
    assert (folder / "a" / "model.safetensors").stat().st_size == (folder / "b" / "model.safetensors").stat().st_size


def test_other_seeds_give_other_weights(folder):
    assert not same(run(folder, "a"), run(folder, "b", seed=1))


def test_a_card_says_where_its_model_comes_from(folder):
    result = train(
        folder / "images", folder / "labels", out=folder / "run", recipe=TINY, command="contractile train images labels"
    )
    found = load(folder / "run").card.provenance
    assert found["command"] == "contractile train images labels"
    assert found["contractile"] == version("contractile")
    assert (found["torch"], found["numpy"]) == (torch.__version__, np.__version__)
    assert (found["python"], found["device"]) == (platform.python_version(), "cpu")
    assert (found["seed"], found["steps"], found["recipe"]) == (0, 12, "default")
    assert len(found["data_sha256"]) == 64
    assert found["images"] == 4  # files, although one of them is cut in two for validation
    assert Recipe.model_validate(found["settings"]) == result.recipe
    again = train(folder / "images", folder / "labels", out=folder / "again", recipe=found["settings"])
    assert same(result, again)


def test_images_that_validate_count_beside_those_to_train_on(folder):
    """Also where two files of different folders have one name."""
    places = (folder / "images" / "3.tif", folder / "labels" / "3.tif")
    others = [folder / "more" / place.parent.name for place in places]
    for place, other in zip(places, others, strict=True):
        other.mkdir(parents=True)
        (other / "0.tif").write_bytes(place.read_bytes())
    found = train(
        folder / "images", folder / "labels", out=folder / "run", recipe=TINY | {"steps": 1}, validation=tuple(others)
    )
    assert found.model.card.provenance["images"] == 5
    recipe = derive(examples := [bright_discs(name, number) for number, name in enumerate("ab")], TINY | {"steps": 1})
    assert fit(examples[:1], examples[1:], recipe, folder=folder / "fit").model.card.provenance["images"] == 2


def test_a_resumed_run_has_the_command_that_began_it(folder):
    words = (folder / "images", folder / "labels")

    def stop(status):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(*words, out=folder / "run", recipe=TINY, progress=stop, command="contractile train a b")
    train(*words, out=folder / "run", resume=True, command="contractile train a b --resume")
    assert load(folder / "run").card.provenance["command"] == "contractile train a b"


# what must be the same


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"minutes": 30}, "in which minutes is left out, got 30"),
        ({"loss": {"dice": 1}}, r"in which loss.dice is 0.0, got 1"),
        ({"base": "paper"}, "in which base is default, got paper"),
        ({"seed": 1}, "in which seed is 0, got 1"),
        ({"samples": {"tile": (48, 48)}}, r"in which samples.tile is \[32, 32\], got \(48, 48\)"),
    ],
)
def test_a_recipe_that_differs_is_refused_by_name(folder, changes, told):
    stopped(folder, 8)
    with pytest.raises(
        ContractileError, match=f"resumed with the recipe it began with, {told}; leave it out, or begin"
    ):
        train(folder / "images", folder / "labels", out=folder / "part", recipe=changes, resume=True)
    resumed(folder, samples={"tile": (32, 32), "core": [32, 32]})  # the same, in other words


def test_a_recipe_file_that_was_edited_is_refused_by_name(folder):
    stopped(folder, 8)
    path = folder / "part" / "recipe.toml"
    text = path.read_text()
    path.write_text(text.replace("learning_rate = 0.003", "learning_rate = 0.3"))
    told = r"recipe.toml: a run is resumed .* optimizer.learning_rate is 0.003, got 0.3; put the file back"
    with pytest.raises(ContractileError, match=told):
        resumed(folder)
    path.write_text("no toml")
    with pytest.raises(ContractileError, match=r"recipe.toml: .*; put the file back"):
        resumed(folder)
    path.unlink()  # killed before it was written
    resumed(folder)
    assert path.read_text() == text


def test_data_that_differ_are_refused_by_side_and_number(folder):
    stopped(folder, 8)
    labels = tifffile.imread(folder / "labels" / "1.tif")
    for kind, names in (("labels", "1"), ("images", "02")):
        for name in names:
            tifffile.imwrite(folder / kind / f"{name}.tif", labels[::-1].copy())
    told = (
        r"images and labels must be those that the run began with: 2 of 4 images differ \(0, 2\), 1 of 4 labels differ"
    )
    with pytest.raises(ContractileError, match=told + r" \(1\); give the same ones, or start anew with --overwrite"):
        resumed(folder)


def test_images_that_are_gone_or_new_are_named(folder):
    stopped(folder, 8)
    for kind in ("images", "labels"):
        (folder / kind / "1.tif").rename(folder / kind / "z.tif")
    told = r"1 of 4 images differ \(3\), 1 of 4 images are missing \(1\), 1 images are new \(z\), "  # 3 was cut before
    with pytest.raises(ContractileError, match=told):
        resumed(folder)


def test_validation_images_that_differ_are_refused(folder):
    alone = (folder / "images" / "3.tif", folder / "labels" / "3.tif")
    (folder / "images" / "other.tif").write_bytes((folder / "images" / "2.tif").read_bytes())
    (folder / "labels" / "other.tif").write_bytes((folder / "labels" / "2.tif").read_bytes())
    training = (folder / "images" / "[012].tif", folder / "labels" / "[012].tif")
    train(*training, out=folder / "run", recipe=TINY, validation=alone)
    other = (folder / "images" / "other.tif", folder / "labels" / "other.tif")
    told = r"began with: 1 of 1 validation images are missing \(3\), 1 validation images are new \(other\), "
    with pytest.raises(ContractileError, match=told):
        train(*training, out=folder / "run", validation=other, resume=True)


def test_other_versions_are_warned_about(caplog, tmp_path):
    examples = [bright_discs(str(number), number) for number in range(2)]
    now = trace(derive(examples, TINY), examples[:1], examples[1:])
    began = now.model_copy(update={"versions": {**now.versions, "torch": "2.6.0", "device": "cuda:0"}})
    with caplog.at_level(logging.WARNING):
        caplog.clear()
        check_origin(now, now, tmp_path)
        assert caplog.text == ""
        check_origin(began, now, tmp_path)
    assert "the run began with torch 2.6.0, device cuda:0 and goes on with torch " in caplog.text
    assert ", device cpu: the result may differ a little" in caplog.text


def test_data_whose_names_tell_nothing_are_refused_all_the_same(tmp_path):
    examples = [bright_discs("a", number) for number in range(3)]
    recipe = derive(examples, TINY)
    began, now = trace(recipe, examples[:2], examples[2:]), trace(recipe, examples[1::-1], examples[2:])
    began = began.model_copy(update={"prints": now.prints})
    told = rf"began with: their SHA-256 is {now.data[:8]}\.\.\., not {began.data[:8]}\.\.\.; give the same"
    with pytest.raises(ContractileError, match=told):
        check_origin(began, now, tmp_path)


def test_words_and_names_of_any_bytes_can_be_saved():
    examples = [bright_discs("a\udcff", 0)]  # as Python reads a name that is not UTF-8
    found = trace(derive(examples, TINY), examples, [], command="contractile train a\udcff")
    saved = Origin.model_validate_json(found.model_dump_json())
    assert saved.command == r"contractile train a\udcff"
    assert list(saved.prints["images"]) == [r"a\udcff"]
