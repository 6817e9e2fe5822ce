"""The fields of a pydantic model as the rows of a table: name, what is allowed, default, meaning."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Iterator
from typing import Any

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "nothing"}


def leaves(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel], FieldInfo]]:
    """(dotted name, the class that has the field, the field) of all fields that hold no further fields."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if inspect.isclass(inner) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind, field


def allowed(field: FieldInfo) -> str:
    """The type of a field in plain words, with its bounds."""
    return _kind(field.annotation, field.metadata)


def _kind(annotation: Any, metadata: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _kind(parts[0], [bound for one in parts[1:] for bound in getattr(one, "metadata", [one])])
    if origin is typing.Literal:
        return ", ".join(toml(one) for one in parts)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_kind(one, metadata) for one in parts if one is not type(None))
    if origin is tuple:
        each = _kind(parts[0], []).replace("number", "numbers", 1)
        return f"list of {each}" if parts[-1] is Ellipsis else f"{len(parts)} {each}"
    return WORDS.get(annotation, getattr(annotation, "__name__", str(annotation))) + _bounds(metadata)


def _bounds(metadata: Any) -> str:
    low = high = ""
    for one in metadata:
        if isinstance(one, annotated_types.Ge):
            low = f"from {_figure(one.ge)}"
        elif isinstance(one, annotated_types.Gt):
            low = f"above {_figure(one.gt)}"
        elif isinstance(one, annotated_types.Le):
            high = f"to {_figure(one.le)}" if low.startswith("from") else f"up to {_figure(one.le)}"
        elif isinstance(one, annotated_types.Lt):
            high = f"below {_figure(one.lt)}"
    return "".join(f" {bound}" for bound in (low, high) if bound)


def _figure(number: Any) -> str:
    return f"{int(number):,}" if float(number).is_integer() else f"{number:g}"


def default(field: FieldInfo) -> str:
    """The default as TOML writes it; an empty text where there is none."""
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value is PydanticUndefined or value is None else toml(value)


def toml(value: Any) -> str:
    """A value as code, in the way of TOML."""
    return f"`{_toml(value)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    return f"{value:g}" if isinstance(value, float) and not value.is_integer() else str(value)


def meaning(kind: type[BaseModel], name: str, field: FieldInfo) -> str:
    """The description of a field, or the sentences of its class, or of the class above, that name it in backquotes."""
    if field.description:
        return field.description
    for owner in kind.__mro__:
        if name in inspect.get_annotations(owner):
            text = " ".join((inspect.cleandoc(owner.__doc__ or "")).split())
            return " ".join(one for one in re.split(r"(?<=[.])\s(?=[A-Z`])", text) if f"`{name}`" in one)
    return ""
