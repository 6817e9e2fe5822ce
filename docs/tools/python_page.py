"""The public names as a page: signature and documentation of each, as the code has them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from docs.tools.fields import allowed, default, leaves, meaning
from pydantic import BaseModel

import contractile

TITLE = "Python"
INTRODUCTION = """
`import contractile as ct` loads nothing else; each name is loaded when it is first used. An image is an array (C,
\\*S), labels (\\*S), probabilities (K, \\*S), where \\*S is (Y, X) or (Z, Y, X). [A first script](../python.md).
"""
ORDER = (
    "train", "load", "Predictor", "read", "read_labels", "evaluate", "check_dataset", "view", "overlay", "write_report",
    "draw_scene", "prepare_process", "Model", "ModelCard", "Recipe", "UNet", "UNetConfig",
)  # fmt: skip
ERRORS = "errors"
FURTHER = {"Recipe": "Its fields: [recipe fields](recipe.md)."}


def page() -> str:
    """The page of all public names, as Markdown."""
    names = [*ORDER, *(name for name in contractile.__all__ if name not in ORDER)]
    links = ", ".join(f"[`{name}`](#{name.lower()})" for name in names)
    parts = [f"# {TITLE}", INTRODUCTION.strip(), links]
    parts += [_describe(name, getattr(contractile, name)) for name in names]
    from contractile import errors

    tree = (inspect.getdoc(errors) or "").split("\n\n")
    parts += [
        "## Errors",
        f"`contractile.{ERRORS}`: what a person can mend.",
        f"```text\n{inspect.cleandoc(tree[1])}\n```",
    ]
    return "\n\n".join([*parts, _prose("\n\n".join(tree[2:]))]) + "\n"


def _describe(name: str, value: Any) -> str:
    parts = [f"## {name}"]
    model = inspect.isclass(value) and issubclass(value, BaseModel)
    if not model:
        parts.append(f"```python\n{_signature(name, value)}\n```")
    parts.append(_prose(inspect.getdoc(value) or ""))
    if name in FURTHER:
        parts.append(FURTHER[name])
    elif model:
        head = ["| field | allowed | default | meaning |", "|---|---|---|---|"]
        rows = [
            f"| `{field}` | {allowed(info)} | {default(info) or '-'} | {meaning(kind, field, info)} |"
            for field, kind, info in leaves(value)
            if "." not in field
        ]
        parts.append("\n".join([*head, *rows]))
    parts += [_describe_member(name, *member) for member in _members(value)] if inspect.isclass(value) else []
    return "\n\n".join(parts)


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    for name, value in vars(kind).items():
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        known = inspect.isfunction(plain) or isinstance(value, property | cached_property)
        if known and not name.startswith(("_", "model_")) and _doc(value):
            yield name, value


def _describe_member(owner: str, name: str, value: Any) -> str:
    if isinstance(value, property | cached_property):
        return f"### {owner}.{name}\n\n{_prose(_doc(value))}"
    plain = value.__func__ if isinstance(value, classmethod) else value
    return f"### {owner}.{name}\n\n```python\n{_signature(name, plain)}\n```\n\n{_prose(_doc(value))}"


def _doc(value: Any) -> str:
    """The documentation of a member itself, not of the class that it comes from."""
    plain = getattr(value, "__func__", None) or getattr(value, "fget", None) or getattr(value, "func", None) or value
    return inspect.cleandoc(plain.__doc__ or "")


def _signature(name: str, value: Any) -> str:
    """A signature in lines of a readable length."""
    found = inspect.signature(value.__init__ if inspect.isclass(value) else value)
    hidden = ("self", "cls")
    kept = [one for one in found.parameters.values() if one.name not in hidden]
    back = found.return_annotation
    text = str(inspect.Signature([one.replace(annotation=_Plain(one.annotation)) for one in kept]))
    text = re.sub(r"\s+", " ", text)
    arrow = "" if back is inspect.Signature.empty or inspect.isclass(value) else f" -> {str(back).strip(chr(39))}"
    line = f"{name}{text}{arrow}"
    if len(line) <= 90:
        return line
    inner = re.split(r", (?![^\[]*\])", text[1:-1])
    return "\n".join([f"{name}(", *(f"    {one}," for one in inner), f"){arrow}"])


class _Plain:
    """An annotation that is printed as it is written."""

    def __init__(self, annotation: Any) -> None:
        self.annotation = annotation

    def __repr__(self) -> str:
        return str(self.annotation)


def _prose(text: str) -> str:
    """A docstring as Markdown: its stars stay stars, and an argument that begins a line begins one here, too."""
    text = re.sub(r"(?<=[.,:])\n(?=`\w+`)", "  \n", text)
    return text.replace("*S", "\\*S").replace("*tile", "\\*tile").replace("*core", "\\*core")
