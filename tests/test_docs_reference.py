"""The pages of the reference are what the code says, and what they say of the default recipe is true."""

import numpy as np
import pytest
from docs.tools import score_page
from docs.tools.fields import leaves, meaning
from docs.tools.recipe_page import DERIVED, explain
from docs.tools.reference import FOLDER, pages
from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

import contractile
from contractile.dataset import Example
from contractile.metrics import METRICS
from contractile.recipe import Recipe, derive

PAGES = pages()


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_what_the_code_says(name):
    kept = (FOLDER / name).read_text(encoding="utf-8")
    assert kept == PAGES[name], "python -m docs.tools.reference writes the pages anew"


def test_no_other_page_is_kept():
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(PAGES)


def test_every_command_and_score_and_name_has_its_place():
    assert set(contractile.__all__) <= set(PAGES["python.md"].replace("`", " ").split())
    assert all(f"| `{name}` |" in PAGES["scores.md"] for name in METRICS)
    assert {name.removesuffix("_image_mean") for name in METRICS} == set(score_page.FORMULAS)


def test_every_recipe_field_is_explained():
    for name, _, field in leaves(Recipe):
        assert explain(name, field)


def test_a_field_that_nothing_explains_is_named():
    with pytest.raises(KeyError, match=r"network\.dims"):
        explain("network.dims", FieldInfo(annotation=int))


class Lamp(BaseModel):
    """A lamp. `colour` is what it looks like, `power` in watts. Nothing else counts."""

    colour: str = "red"
    power: float = Field(1.0, description="what it takes")


def test_a_meaning_is_the_description_or_the_sentence_that_names_the_field():
    fields = Lamp.model_fields
    assert meaning(Lamp, "power", fields["power"]) == "what it takes"
    assert meaning(Lamp, "colour", fields["colour"]) == "`colour` is what it looks like, `power` in watts."


@pytest.mark.parametrize("task", ["objects", "classes"])
@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("shape", [(64, 64), (16, 32, 32)])
def test_what_the_default_derives_is_said_to_be_derived(task, dark, shape):
    labels = np.zeros(shape, np.int32)
    labels[..., 4:20, 4:20], labels[..., 24:30, 24:30] = 1, 2 if task == "objects" else 1
    pixels = np.random.default_rng(0).normal(40, 2, shape) + labels.astype(bool) * (400 if dark else -30)
    example = Example("a", pixels[None].astype(np.float32), labels)
    recipe = derive([example, example], {"network": {"dims": len(shape)}, "targets": {"task": task}})
    plain = {name: field.get_default(call_default_factory=True) for name, _, field in leaves(Recipe)}
    for name, value in plain.items():
        chosen = recipe
        for part in name.split("."):
            chosen = getattr(chosen, part)
        assert name in DERIVED or chosen == value, name
