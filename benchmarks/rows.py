"""Rows of a benchmark in a file, one line of JSON for each: a benchmark that was killed goes on with the next row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def is_there(out: Path, row: Mapping[str, Any]) -> bool:
    """Whether the file has a row with all these cells."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.is_file() else []
    return any({**json.loads(line), **row} == json.loads(line) for line in lines)


def add(out: Path, row: Mapping[str, Any]) -> None:
    """Add a row to the file, and print it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row), flush=True)
