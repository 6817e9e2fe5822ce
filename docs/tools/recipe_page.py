"""The fields of a recipe as a page: what is allowed, what the recipes `default` and `paper` take, what it means."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from docs.tools.fields import allowed, default, leaves, meaning, toml

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
    "samples.tile": "*from the data*: about 256 x 256, or 64 x 64 x 64",
    "samples.core": "as `tile`",
    "samples.batch": "4 tiles of 256 x 256, half as many under three minutes",
    "samples.focus": "0.33 where a class is rarer than 10 %, otherwise 0",
    "samples.augment.elastic_std": "10; 5 where images are seen fewer than five times",
    "samples.augment.grey_chance": "0.5; 0.25 where images are seen fewer than five times",
    "samples.augment.light_chance": "0.25 (or half) on a dark background, otherwise 0",
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
# What the code leaves to the names of the fields.
WORDS = {
    "network.dims": "axes of an image: 2 for (Y, X), 3 for volumes (Z, Y, X)",
    "network.padding": "`valid`: unpadded convolutions, as in the paper, whose output is smaller than their input; "
    "`same`: zeros around each tile, which are cut off with the margin",
    "network.norm": "normalisation after each convolution; statistics are fixed after training",
    "network.head_kernel": "side of the last convolution",
    "samples.batch": "samples in one step of the optimiser",
    "targets.class_values": "for `classes`: the numbers in the label files, in the order of the classes",
    "samples.normalization.kind": "how grey values are scaled; [the kinds](../science/targets.md#grey-values)",
    "samples.normalization.low": "percentile of the grey values that becomes 0 (of kinds with percentiles)",
    "samples.normalization.high": "percentile of the grey values that becomes 1 (of kinds with percentiles)",
    "samples.tile": "pixels that the network sees in one sample, along each axis",
    "samples.core": "pixels of a sample that are learned from: fewer than `tile` for unpadded networks",
    "samples.augment.grey_chance": "chance of each change of grey values, and of dimmed objects",
    "samples.augment.light_chance": "chance of each change of light: illumination, blur, noise, saturation",
    "samples.augment.dimmed": "single objects become up to this many times darker; 1: none",
    "samples.augment.illumination": "strength of a smooth slope of light across the sample",
    "samples.augment.blur": "largest sigma of a Gaussian blur, in pixels",
    "samples.augment.photons": "largest noise of the light itself, as a share of the brightest structures",
    "samples.augment.noise": "largest noise of the camera, as a share of the brightest structures",
    "samples.augment.smoothed": "largest sigma, in pixels, by which noise is spread over neighbours",
    "samples.augment.saturation": "share of the range that the camera may cut off at the top",
    "samples.augment.brightness": "largest offset, in standard deviations of the sample",
    "samples.augment.contrast": "largest factor: 0.3 means from 1 / 1.3 to 1.3",
    "samples.augment.gamma": "largest exponent: 0.3 means from 1 / 1.3 to 1.3",
    "samples.augment.elastic_grid": "points of the grid of random displacements, along the longest axis",
    "samples.augment.elastic_std": "standard deviation of the displacements, in pixels; 0: none",
    "samples.augment.rotation": "largest angle in the plane of Y and X, in degrees, in either direction",
    "samples.augment.tilt": "largest angle in the planes with Z, in degrees",
    "samples.augment.quarter_turns": "turn by 0, 90, 180 or 270 degrees",
    "samples.augment.flip": "mirror along every axis",
    "samples.augment.scale": "smallest and largest magnification",
    "samples.augment.spacing": "relative size of a pixel along each axis, in the order of the axes; empty: isotropic",
    "targets.task": "`objects`: touching things have different numbers; `classes`: every pixel has a class",
    "targets.w0": "weight of the pixels between two near objects (equation 2 of the paper); 0 switches it off",
    "targets.sigma": "how far this weight reaches, in pixels (equation 2 of the paper)",
    "targets.balance": "give every class the same total weight",
    "targets.separation": "how touching objects are kept apart: `gap`, background between them, as in the paper; "
    "`contact`, a third class there; `none`",
    "targets.ignore_label": 'a number in the label files that means "not annotated", as all negative numbers do',
    "targets.known_around": "for labels that show only some of the objects: background farther than this many pixels "
    "from every object counts as not annotated",
    "targets.spacing": "relative size of a pixel along each axis, such as `[5, 1, 1]`; empty: isotropic",
    "optimizer.kind": "`sgd`: gradient descent with momentum, as in the paper; `adamw`: Adam; `muon`: steps of "
    "kernels made orthogonal, and Adam for everything else",
    "device": "`auto`, `cpu`, `cuda` (an NVIDIA GPU) or `mps` (a GPU by Apple)",
    "precision": "of the numbers in training; `auto` takes bfloat16 where the hardware multiplies it",
    "seed": "of all random numbers; the same seed and steps on the same machine give the same network",
}


def page() -> str:
    """The page of all recipe fields, as Markdown."""
    paper = Recipe.paper()
    groups: dict[str, list[str]] = {}
    for name, kind, field in leaves(Recipe):
        group = name.rpartition(".")[0]
        chosen = DERIVED.get(name) or default(field) or "-"
        said = explain(name, kind, field)
        row = f"| `{name.rpartition('.')[2]}` | {said} | {chosen} | {_of(paper, name)} | {allowed(field)} |"
        groups.setdefault(group, []).append(row.replace("\n", " "))
    parts = [f"# {TITLE}", INTRODUCTION.strip()]
    parts += [_table(f"`[{group}]`" if group else "At the top of the file", rows) for group, rows in groups.items()]
    return "\n\n".join([*parts, *_published()]) + "\n"


def explain(name, kind, field) -> str:
    """What a field means. Raises KeyError for one that nothing explains."""
    return WORDS.get(name) or meaning(kind, name.rpartition(".")[2], field) or WORDS[name]


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
