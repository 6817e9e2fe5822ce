"""Where a recipe comes from: a name, a TOML file or a mapping."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from contractile.errors import ContractileError, NotFound, WrongType, nearest, shown

NAMES = ("default", "paper")
CHOICE = f"one of {', '.join(NAMES)} or a .toml file"
LARGEST = 2**17  # bytes of a file; those of runs have 2,000
DEEPEST = 50  # tables in tables; the time to read them grows with the square of their number


def read_source(source: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields that a source names, not checked; those that are None count as left out.

    Of a configuration in a mapping, such as `UNetConfig(width=8)`, those fields count that were given.
    Raises NotFound, WrongType, and ContractileError for a file that is not TOML.
    """
    if source is None:
        return {}
    if isinstance(source, Mapping):
        return _without_none(source)
    if not isinstance(source, str | Path):
        problem = f"recipe must be a name, a .toml file or a mapping of fields, got {shown(source)}"
        raise WrongType(problem, 'give e.g. {"steps": 500}')
    if str(source) in NAMES:
        return {"base": str(source)}
    path = Path(source)
    if path.suffix != ".toml":
        raise no_such_name(str(source))
    if not os.path.isfile(path):
        why = "is a folder" if os.path.isdir(path) else "is no file" if os.path.exists(path) else "does not exist"
        raise NotFound(f"recipe {path} {why}", f"give {CHOICE}")
    return _parse(path, _read_text(path))


def no_such_name(name: object) -> ContractileError:
    """The error for a name that no recipe has."""
    match = nearest(name, NAMES) if isinstance(name, str) else None
    return ContractileError(f"recipe must be {CHOICE}, got {shown(name)}", f"use {match or NAMES[0]}")


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        problem = f"recipe {path} cannot be read ({error.strerror or error})"
        raise ContractileError(problem, "give a file that you may read") from None
    if len(content) > LARGEST:
        problem = f"recipe {path} must have at most {LARGEST:,} bytes, got {path.stat().st_size:,}"
        raise ContractileError(problem, "write only the fields that differ")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"recipe {path} must be text in UTF-8, got another encoding ({error.reason} at byte {error.start})"
        raise ContractileError(problem, "save it as UTF-8") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    cure = "the recipe.toml of any run shows all fields"
    nested = ContractileError(f"recipe {path} must hold tables of fields, got tables nested too deep", cure)
    keys = (key for line in text.splitlines() for key in re.split(r"[=,{}\[\]]", line.split("#")[0]))
    if any(key.count(".") > DEEPEST for key in keys):
        raise nested
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ContractileError(f"recipe {path} is not valid TOML ({error})", "correct that line") from None
    except RecursionError:
        raise nested from None
    except ValueError:  # Python reads no numbers of thousands of digits
        raise ContractileError(f"recipe {path} must hold numbers of 64 bits, got a far longer one", cure) from None


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value, table by table."""
    tables = {
        key: value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value
        for key, value in fields.items()
    }
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in tables.items()
        if value is not None
    }
