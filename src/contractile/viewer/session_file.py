"""session.json: which images a session annotates, for which task, with which classes."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contractile.errors import ContractileError, describe_invalid
from contractile.storage import replacing, telling

NAME, JOURNAL = "session.json", "journal.jsonl"
VERSION = 1
LARGEST = 2**28  # bytes of the file that are read
FILE_NAME = r"^[^/\\:\x00]+$" if os.name == "nt" else r"^[^/\\\x00]+$"  # what a drive of Windows is called ends in :


class _Plain(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PageInfo(_Plain):
    """An image: the name of its label file, its size (Y, X) in pixels, and a text by which to know it from others."""

    name: Annotated[str, Field(min_length=1, pattern=FILE_NAME)]
    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    source: str = ""


class ClassInfo(_Plain):
    """A class: its value in labels, its name, and its colour as #rrggbb."""

    value: Annotated[int, Field(ge=0, le=2**31 - 1)]
    name: str
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]


def plain_name(value: int) -> str:
    """What a class is called that nobody has named."""
    return "background" if value == 0 else f"class {value}"


def given_names(classes: Sequence[ClassInfo]) -> tuple[str, ...]:
    """The names of classes, in their order; empty where nobody has named one."""
    named = any(one.name != plain_name(one.value) for one in classes)
    return tuple(one.name for one in classes) if named else ()


class SessionFile(_Plain):
    """The content of session.json; `id` is a name that no other session has."""

    version: Literal[1] = 1
    id: str
    task: Literal["objects", "classes"]
    classes: tuple[ClassInfo, ...] = ()
    pages: tuple[PageInfo, ...]


def open_session_file(
    folder: Path, pages: Sequence[PageInfo], task: Literal["objects", "classes"], classes: Sequence[ClassInfo]
) -> SessionFile:
    """What session.json says after it was read, or made; images and classes may be added to those it has.

    Raises ContractileError where it is damaged, belongs to other images, another task or other classes, and NotWritten
    or NotWritable.
    """
    _check_arguments(pages, task, classes)
    path = folder / NAME
    known = _read(path)
    if known is None:
        if (folder / JOURNAL).exists():
            problem = "there is a journal of a session here, and no session.json"
            raise ContractileError(problem, "restore it from a copy, or name another folder", where=folder)
        found = SessionFile(id=secrets.token_hex(16), task=task, classes=tuple(classes), pages=tuple(pages))
    else:
        _check_fit(known, pages, task, classes, folder)
        news = {"pages": tuple(pages), "classes": tuple(classes) or known.classes}
        found = known.model_copy(update=news)
    if task == "classes" and not found.classes:
        raise ContractileError("classes must hold at least one for task classes, got none", "give their values")
    if found != known:
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(found.model_dump(), indent=1) + "\n", encoding="utf-8")
    return found


def _read(path: Path) -> SessionFile | None:
    cure = "restore it from a copy, or name another folder"
    if not path.exists():
        return None
    with telling(path), path.open("rb") as file:
        text = file.read(LARGEST)
    try:
        return SessionFile.model_validate_json(text)
    except ValidationError as error:
        field, problem = describe_invalid(error, SessionFile)
        raise ContractileError(f"this is no session that can be read: {field} {problem}", cure, where=path) from None


def _check_arguments(pages: Sequence[PageInfo], task: str, classes: Sequence[ClassInfo]) -> None:
    names = [page.name.casefold() for page in pages]
    if len(set(names)) < len(names):
        double = next(page.name for page in pages if names.count(page.name.casefold()) > 1)
        raise ContractileError(f"pages must have names of their own, got {double} twice", "rename an image")
    if not pages:
        raise ContractileError("pages must hold at least one image, got none", "give images")
    values = [one.value for one in classes]
    if task == "objects" and values:
        raise ContractileError(f"classes must be empty for task objects, got {values}", "leave them out")
    if len(set(values)) < len(values):
        raise ContractileError(f"classes must have values of their own, got {values}", "give each another value")


def _check_fit(
    known: SessionFile, pages: Sequence[PageInfo], task: str, classes: Sequence[ClassInfo], folder: Path
) -> None:
    other = "name another folder for a new session"
    if known.task != task:
        raise ContractileError(f"this session is one of {known.task}, and not of {task}", other, where=folder)
    given = {page.name: page for page in pages}
    for page in known.pages:
        now = given.get(page.name)
        if now is None:
            problem = f"this session belongs to other images: it annotates {page.name}, which is not among those given"
            raise ContractileError(problem, other, where=folder)
        if now != page:
            was, is_ = (f"{one.shape} {one.source}".strip() for one in (page, now))
            problem = f"this session belongs to other images: its {page.name} is {was}, and not {is_}"
            raise ContractileError(problem, other, where=folder)
    values = {one.value for one in classes}
    missing = [one.value for one in known.classes if classes and one.value not in values]
    if missing:
        problem = f"this session has a class with the value {missing[0]}, which is not among those given"
        raise ContractileError(problem, "give all its classes, or name another folder", where=folder)
