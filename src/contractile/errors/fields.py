"""What is said about a field of a configuration that cannot be used: the rule, the value, the cure.

Pydantic checks the fields, and its own words name no cure. Rule and cure follow from how a field is declared: its type,
its bounds, its default value, and its `examples` where it has none.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from contractile.errors.tree import ContractileError, WrongType

LONGEST = 80  # characters of a value that are shown
LARGE = 10_000  # numbers from here on are written with commas
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}

Config = TypeVar("Config")


class Explained(NamedTuple):
    """`field` with dots between table and field; `problem` "must be ..., got ..."; `cure`."""

    field: str
    problem: str
    cure: str


def in_one_line(kind: type[Config]) -> type[Config]:
    """Let a pydantic model raise a ContractileError where fields are wrong, and not an error of pydantic.

    `model_validate` still raises that of pydantic, for `explain_fault` to put into words.
    """
    plain: Any = kind.__init__

    def __init__(self: Any, *values: Any, **fields: Any) -> None:  # noqa: N807
        from pydantic import ValidationError  # slow to load, and `contractile --help` does not need it

        known = type(self).model_fields
        if values:
            problem = f"{type(self).__name__} takes its fields by name, got {shown(values[0])} without one"
            raise WrongType(problem, f"write {type(self).__name__}({next(iter(known))}=...)")
        try:
            plain(self, **fields)
        except ValidationError as error:
            found = explain_fault(error.errors()[0], type(self))
            raise ContractileError(f"{found.field} {found.problem}".strip(), found.cure) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # else models inside of others would call it
    setattr(kind, "__init__", __init__)  # noqa: B010
    return kind


def describe_invalid(error: Any, kind: Any = None) -> tuple[str, str]:
    """(field, problem) of the first error in a pydantic `ValidationError` of the model `kind`."""
    found = explain_fault(error.errors()[0], kind)
    return found.field, found.problem


def explain_fault(fault: Mapping[str, Any], kind: Any = None) -> Explained:
    """One of the `errors()` of a pydantic `ValidationError`, in our words; an error of our own keeps its words.

    Without the model `kind` that was validated, the rule is that of pydantic.
    """
    path, value = [str(part) for part in fault["loc"]], fault["input"]
    ours = fault.get("ctx", {}).get("error")
    if isinstance(ours, ContractileError):
        return Explained(".".join(path), ours.problem, ours.cure)
    if fault["type"] == "extra_forbidden":
        fields = list(_follow(kind, path[:-1])[0])
        match = nearest(path[-1], fields)
        cure = f"write {match}" if match else f"the fields are {', '.join(fields)}" if fields else "leave it out"
        return Explained(".".join(path), f"does not exist, got {shown(value)}", cure)
    found, length = _follow(kind, path)[1:]
    rule = fault["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    got = "nothing" if fault["type"] == "missing" and len(path) == length else shown(value)
    if found is None:
        return Explained(".".join(path), f"{rule}, got {got}", "leave it out")
    field = ".".join(path[:length])
    return Explained(field, f"must be {_rule(found)}, got {got}", _cure(found, value, field))


def check_progress(progress: object, arguments: str) -> None:
    """Raise WrongType where `progress` is neither None nor a function; `arguments` are those of the function."""
    if progress is not None and not callable(progress):
        raise WrongType(f"progress must be a function of {arguments}, got {shown(progress)}", "leave it out")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that somebody may have meant. The dashes of options do not make them alike."""
    from difflib import get_close_matches

    plain = {one.lower().lstrip("-"): one for one in known}
    found = get_close_matches(word.lower().lstrip("-"), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def shown(value: object) -> str:
    """A value as text of one line and bounded length."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # numbers of thousands of digits; lists nested too deep
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _follow(kind: Any, path: list[str]) -> tuple[Mapping[str, Any], Any, int]:
    """The fields of the table that a path leads to, the field it leads to, and how many words of the path name it."""
    fields, field, length = getattr(kind, "model_fields", {}), None, 0
    for word in path:
        if word not in fields:
            break
        field, length = fields[word], length + 1
        fields = getattr(field.annotation, "model_fields", {})
    return fields, field, length


def _rule(field: Any) -> str:
    annotation, limits = _unwrap(field.annotation, field.metadata)
    if get_origin(annotation) is Literal:
        *others, last = (shown(one) for one in get_args(annotation))
        return f"{', '.join(others)} or {last}" if others else last
    if get_origin(annotation) in (tuple, list):
        kinds = get_args(annotation)
        each, limits = _unwrap(kinds[0], [])
        number = "" if Ellipsis in kinds or get_origin(annotation) is list else f"{len(kinds)} "
        return f"a list of {number}{KINDS[each].removeprefix('a ')}s{_range(limits)}"
    return f"{KINDS[annotation]}{_range(limits)}" if annotation in KINDS else "a table of fields"


def _unwrap(annotation: Any, metadata: Iterable[Any]) -> tuple[Any, dict[str, Any]]:
    """A type without `| None` and without `Annotated`, and its limits by name: ge, gt, le, lt."""
    extras = list(metadata)
    if get_origin(annotation) in (Union, types.UnionType):
        [annotation] = [one for one in get_args(annotation) if one is not types.NoneType]
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        extras += [one for extra in more for one in getattr(extra, "metadata", [extra])]
    names = ("ge", "gt", "le", "lt")
    return annotation, {name: getattr(one, name) for one in extras for name in names if hasattr(one, name)}


def _range(limits: Mapping[str, Any]) -> str:
    """` from 1 to 8`, ` above 0 and up to 9`, ` from 0 to below 1`, ` of at least 1`."""
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if low is None:
        return "" if high is None else f" of at most {_number(high)}" if "le" in limits else f" below {_number(high)}"
    if high is None:
        return f" of at least {_number(low)}" if "ge" in limits else f" above {_number(low)}"
    start = f" from {_number(low)} to" if "ge" in limits else f" above {_number(low)} and"
    end = "" if "le" in limits else " below"
    return f"{start}{' up to' if 'gt' in limits and not end else end} {_number(high)}"


def _number(value: float) -> str:
    if abs(value) < LARGE:
        return f"{value:g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"


def _cure(field: Any, value: Any, name: str) -> str:
    """What can be written instead: a word like the one that was, an example, the default value."""
    if hasattr(field.annotation, "model_fields"):
        return f"write [{name}] above its fields"
    annotation, _ = _unwrap(field.annotation, field.metadata)
    words = get_args(annotation) if get_origin(annotation) is Literal else ()
    match = nearest(value, (word for word in words if isinstance(word, str))) if isinstance(value, str) else None
    if match is not None:
        return f"use {match!r}"
    if field.examples:
        return f"use e.g. {field.examples[0]}"
    if field.is_required():
        return "give one"
    plain = field.default_factory is not None or field.default in (None, (), [], "")
    return "leave it out" if plain else f"use e.g. {field.default!r}"
