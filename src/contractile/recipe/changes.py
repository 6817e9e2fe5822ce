"""What a user changes of a recipe: a name, a TOML file or a mapping, laid over the recipe that was derived."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import reduce
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from contractile.errors import ContractileError, WrongType, explain_fault, shown
from contractile.recipe.reading import NAMES, no_such_name, read_source
from contractile.recipe.recipe import Recipe


def read_recipe(source: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Recipe changes from a name ("default", "paper"), a TOML file or a mapping, each field checked by itself.

    A field that is None counts as left out. Raises NotFound, WrongType for what is none of these, and ContractileError
    when the file is not TOML or a field does not exist or has a wrong value.
    """
    changes = read_source(source)
    check_fields(changes)
    return changes


def check_fields(changes: Mapping[str, Any], *, called: Callable[[str], str] = "recipe field {}".format) -> None:
    """Check that each field of `changes` exists and has a possible value; not yet whether they fit each other.

    Raises ContractileError, with the name that a field is `called`, and WrongType for fields without names.
    """
    strange = [key for key in changes if not isinstance(key, str)]
    if strange:
        raise WrongType(f"recipe must have fields with names, got {shown(strange[0])}", 'give e.g. {"steps": 500}')
    if changes.get("base", NAMES[0]) not in NAMES:
        raise no_such_name(changes["base"])
    _refuse_lookalikes(changes, Recipe, called)
    try:
        Recipe.model_validate(merge(Recipe.paper().model_dump(), changes))
    except ValidationError as error:
        for fault in error.errors():
            if fault["type"] != "value_error":  # those compare several fields, of which some are of the paper's recipe
                raise _refusal(fault, called) from None


def _refuse_lookalikes(
    changes: Mapping[str, Any], kind: Any, called: Callable[[str], str], table: tuple[str, ...] = ()
) -> None:
    """True, false and numbers in quotes are numbers for pydantic, but nobody means them."""
    for key, value in changes.items():
        field = getattr(kind, "model_fields", {}).get(key)
        if field is None:
            continue
        path = (*table, key)
        if isinstance(value, Mapping):
            _refuse_lookalikes(value, field.annotation, called, path)
        elif any(isinstance(one, bool | str) for one in _leaves(value)) and not _is_meant(value, field.annotation):
            fault = {"loc": path, "type": "lookalike", "input": value, "msg": "must be a number"}
            raise _refusal(fault, called)


def _leaves(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _is_meant(value: Any, kind: Any) -> bool:
    """Whether a value is of the declared kind as it stands: a text is no number, nor is true or false."""
    try:
        TypeAdapter(kind).validate_python(tuple(value) if isinstance(value, list) else value, strict=True)
    except ValidationError:
        return False
    return True


def _refusal(fault: Mapping[str, Any], called: Callable[[str], str] = "recipe field {}".format) -> ContractileError:
    """One complaint of pydantic in our words; errors of our own configurations keep theirs."""
    field, problem, cure = explain_fault(fault, Recipe)
    name = called(field)
    if fault["type"] == "value_error":
        return ContractileError(problem, cure, where=name)
    return ContractileError(f"{name} {problem}", cure)


def apply_changes(recipe: Recipe, *layers: Mapping[str, Any]) -> Recipe:
    """The recipe with each of `layers` laid over it, table by table; the last one wins. Raises as `make_recipe`."""
    return make_recipe(reduce(merge, layers, recipe.model_dump()))


def make_recipe(fields: Mapping[str, Any]) -> Recipe:
    """The recipe with these fields, which are all that it needs.

    Raises ContractileError, naming the field, for a name or value that does not exist, for a field that is missing, for
    a tile or a number of classes that does not fit, and for objects to be pasted where there are none.
    """
    try:
        recipe = Recipe.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error.errors()[0]) from None
    _check_tile(recipe)
    _check_classes(recipe)
    if recipe.samples.pasted and recipe.targets.task == "classes":
        raise ContractileError(
            f"samples.pasted must be 0 for task classes, got {recipe.samples.pasted}", "only objects can be pasted"
        )
    return recipe


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
        elif listed(value) != listed(held):
            found = "left out" if held is None else held
            raise ContractileError(
                f"a run is resumed with the recipe it began with, in which {name} is {found}, got {value}",
                "leave it out, or begin a run in another folder",
            )


def listed(value: Any) -> Any:
    """Tuples as lists, as a file holds them."""
    return [listed(one) for one in value] if isinstance(value, (tuple, list)) else value


def _check_classes(recipe: Recipe) -> None:
    """The network must have an output for every class of the targets."""
    have, need = recipe.network.maps, recipe.targets.n_classes
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
    lowest = [network.feature_sizes(size, axis)[network.depth] for axis, size in enumerate(samples.tile)]
    if network.norm == "batch" and samples.batch * math.prod(lowest) == 1:
        problem = (
            f"samples.batch must be at least 2 for tiles of one pixel at the lowest level, got 1 of {samples.tile}"
        )
        raise ContractileError(problem, "use 2, or a larger samples.tile")
