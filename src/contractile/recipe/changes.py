"""What a user changes of a recipe: a name, a TOML file or a mapping, laid over the recipe that was derived."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from contractile.errors import ContractileError, NotFound
from contractile.recipe.recipe import Recipe

NAMES = ("default", "paper")


def read_recipe(source: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Recipe changes from a name ("default", "paper"), a TOML file or a mapping, each field checked by itself.

    Raises NotFound, or ContractileError when the file is not TOML or a field does not exist or has a wrong value.
    """
    changes = _read(source)
    check_fields(changes)
    return changes


def _read(source: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return dict(source)
    if str(source) in NAMES:
        return {"base": str(source)}
    path = Path(source)
    if path.suffix != ".toml":
        raise ContractileError(
            f"recipe must be one of {', '.join(NAMES)} or a .toml file, got {str(source)!r}", "use default"
        )
    if not path.is_file():
        raise NotFound(f"recipe {path} does not exist", f"give one of {', '.join(NAMES)} or a .toml file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ContractileError(f"recipe {path} is not valid TOML ({error})", "correct that line") from None


def check_fields(changes: Mapping[str, Any]) -> None:
    """Check that each field of `changes` exists and has a possible value; not yet whether they fit each other.

    Raises ContractileError, naming the field.
    """
    if changes.get("base", "default") not in NAMES:
        raise ContractileError(
            f"recipe must be one of {', '.join(NAMES)} or a TOML file, got {changes['base']!r}", "use default"
        )
    try:
        Recipe.model_validate(merge(Recipe.paper().model_dump(), changes))
    except ValidationError as error:
        for problem in error.errors():
            if (
                problem["type"] != "value_error"
            ):  # those compare several fields, of which some are of the paper's recipe
                raise _refusal(problem) from None


def _refusal(problem: Mapping[str, Any]) -> ContractileError:
    """One complaint of pydantic in our words; errors of our own configurations keep their cure."""
    field, value = ".".join(str(part) for part in problem["loc"]), problem["input"]
    ours = problem.get("ctx", {}).get("error")
    if isinstance(ours, ContractileError):
        return ours.at(f"recipe field {field}")
    if problem["type"] == "model_type":
        return ContractileError(
            f"recipe field {field} must be a table of fields, got {value!r}", f"write [{field}] above them"
        )
    return ContractileError(
        f"recipe field {field}: {problem['msg']} (got {value!r})", "the recipe.toml of any run shows all fields"
    )


def apply_changes(recipe: Recipe, *layers: Mapping[str, Any]) -> Recipe:
    """The recipe with each of `layers` laid over it, table by table; the last one wins.

    Raises ContractileError, naming the field, for a name or value that does not exist, for a tile or a number of
    classes that does not fit, and for objects to be pasted where there are none.
    """
    try:
        changed = Recipe.model_validate(reduce(merge, layers, recipe.model_dump()))
    except ValidationError as error:
        raise _refusal(error.errors()[0]) from None
    _check_tile(changed)
    _check_classes(changed)
    if changed.samples.pasted and changed.targets.task == "classes":
        raise ContractileError(
            f"samples.pasted must be 0 for task classes, got {changed.samples.pasted}", "only objects can be pasted"
        )
    return changed


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = merge(inner, value) if isinstance(value, Mapping) and isinstance(inner, Mapping) else value
    return merged


def check_same(recipe: Mapping[str, Any], changes: Mapping[str, Any], path: str = "") -> None:
    """Check that `changes` ask for nothing but what a run's `recipe` says; ContractileError names the field."""
    for key, value in changes.items():
        name = f"{path}{key}"
        held = recipe.get(key)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            check_same(held, value, f"{name}.")
        elif name != "base" and (list(value) if isinstance(value, tuple) else value) != held:
            raise ContractileError(
                f"a run is resumed with the recipe it began with, in which {name} is {held}, got {value}",
                "leave it out, or begin a run in another folder",
            )


def _check_classes(recipe: Recipe) -> None:
    """The network must have an output for every class of the targets."""
    have, need = max(2, recipe.network.classes), recipe.targets.n_classes
    if have != need:
        raise ContractileError(
            f"network.classes must be {need}, one for each class of task {recipe.targets.task} with separation "
            f"{recipe.targets.separation}, got {recipe.network.classes}",
            "leave it out of the recipe",
        )


def _check_tile(recipe: Recipe) -> None:
    """The tile must fit the network, and the core be what the network makes of it."""
    network, samples = recipe.network, recipe.samples
    if len(samples.tile) != network.dims:
        raise ContractileError(
            f"samples.tile must have one size per axis, got {samples.tile} for a {network.dims}-D network",
            f"give {network.dims} numbers",
        )
    core = tuple(network.output_size(size, axis) for axis, size in enumerate(samples.tile))
    if samples.core != core:
        raise ContractileError(
            f"samples.core must be what the network makes of the tile {samples.tile}, got {samples.core}", f"use {core}"
        )
