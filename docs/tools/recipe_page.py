"""The fields of a recipe as a page: what is allowed, what the recipes `default` and `paper` take, what it means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from docs.tools.fields import allowed, default, leaves, toml

from contractile.recipe import Recipe

ROOT = Path(__file__).parents[2]
TITLE = "Recipe fields"
INTRODUCTION = """
A recipe is a TOML file. Every line is optional: what it does not say is taken from the recipe that `base` names, and
from your data. `contractile train ... --recipe my.toml` uses it. The file `recipe.toml` in the folder of a run holds
all fields with the values that were used.

A field such as `targets.w0` is written in its table:

```toml
base = "default"
minutes = 30

[targets]
w0 = 5
```

The column "default" says what the recipe `default` takes, the column "paper" what the recipe `paper` takes. *From the
data* means that `train` looks at your images and labels and prints what it chose: [how it
chooses](../recipes.md#what-train-decides-for-you).
"""
# What `contractile.recipe.derive` chooses for the default recipe, and from what (a test compares).
DERIVED = {
    "network.dims": "2; 3 with `--dims 3`",
    "network.channels": "*from the data*",
    "network.classes": "*from the data*",
    "network.width": "16; 32 on a GPU",
    "network.depth": "*from the data*: 3 to 5, in 3-D 2 to 4",
    "network.flat_levels": "*from the data*: pixel sizes",
    "network.head_kernel": "3 with tied kernels, otherwise 1",
    "network.symmetry": '`"square"`; `"none"` under three minutes on a processor',
    "samples.tile": "*from the data*: about 256 x 256; 32 x 32 x 32, or 64 x 64 x 64 on a GPU",
    "samples.core": "as `tile`",
    "samples.batch": "4 tiles of 256 x 256, 3 of 32 x 32 x 32; half as many under three minutes",
    "samples.focus": "0.33 where a class is rarer than 10 %, otherwise 0",
    "samples.pasted": "9, 4, 2, 1, 1 for objects in one to five annotated 2-D images and three minutes or more; else 0",
    "samples.augment.elastic_std": "10; 5 where images are seen fewer than five times",
    "samples.augment.grey_chance": "0.5; 0.25 where images are seen fewer than five times",
    "samples.augment.light_chance": "0.25 (or half) on dark backgrounds; else 0.5 for classes of 1 to 5 images, or 0",
    "samples.augment.noise": "0.1; 0.2 where `light_chance` is 0.5",
    "samples.augment.photons": "0.1; 0.2 where `light_chance` is 0.5",
    "samples.augment.dimmed": "16 for objects on a dark background, otherwise 1",
    "samples.augment.rotation": "180; 0 with tied kernels that see images fewer than 30 times",
    "samples.augment.quarter_turns": "true where `rotation` is 0",
    "samples.augment.spacing": "*from the data*",
    "samples.normalization.kind": '`"compressive"` on a dark background, otherwise `"linear"`',
    "targets.task": "*from the data*",
    "targets.class_values": "*from the data*",
    "targets.w0": "10 for objects, 5 for classes",
    "targets.balance": "`false`",
    "targets.separation": '`"contact"`',
    "targets.spacing": "*from the data*, where pixels are not cubes",
    "optimizer.warmup": "50; 20 under three minutes",
    "minutes": "10, where neither `minutes` nor `steps` is given",
}
# What the page says in place of the description in the code, for its link.
LINKED = {
    "samples.normalization.kind": "how grey values are scaled; [the kinds](../science/targets.md#grey-values)",
}


def page() -> str:
    """The page of all recipe fields, as Markdown."""
    paper = Recipe.paper()
    groups: dict[str, list[str]] = {}
    for name, _, field in leaves(Recipe):
        group = name.rpartition(".")[0]
        chosen = DERIVED.get(name) or default(field) or "-"
        said = explain(name, field)
        row = f"| `{name.rpartition('.')[2]}` | {said} | {chosen} | {_of(paper, name)} | {allowed(field)} |"
        groups.setdefault(group, []).append(row.replace("\n", " "))
    parts = [f"# {TITLE}", INTRODUCTION.strip()]
    parts += [_table(f"`[{group}]`" if group else "At the top of the file", rows) for group, rows in groups.items()]
    return "\n\n".join([*parts, *_published()]) + "\n"


def explain(name, field) -> str:
    """What a field means. Raises KeyError for one that nothing explains."""
    return LINKED.get(name) or field.description or LINKED[name]


def _of(recipe: Recipe, name: str) -> str:
    value: object = recipe
    for part in name.split("."):
        value = getattr(value, part)
    return "-" if value in (None, ()) else toml(value)


def _table(title: str, rows: Iterable[str]) -> str:
    head = ["| field | meaning | default | paper | allowed |", "|---|---|---|---|---|"]
    return "\n".join([f"## {title}", "", *head, *rows])


def _published() -> list[str]:
    """The recipes of published results, as they are in the folder `recipes`."""
    files = sorted((ROOT / "recipes").glob("*.toml"))
    shown = [f"### {path.name}\n\n```toml\n{path.read_text(encoding='utf-8').strip()}\n```" for path in files]
    return ["## Recipes of published results", "These files are in the folder `recipes` of the source code.", *shown]
