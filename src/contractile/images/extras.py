"""Libraries that read a maker's format. They are extras: they are imported when a file asks for them."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError


def load_extra(module: str, extra: str, path: Path) -> Any:
    """The library that reads the file at `path`. Raises ContractileError, with the install line, if it is missing."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        problem = f"{path.suffix.lower() or 'it'} is read by the extra {extra}, which is not installed"
        raise ContractileError(problem, f"pip install 'contractile[{extra}]'", where=path) from error


@contextmanager
def heard() -> Iterator[list[str]]:
    """What libraries warn of within the `with` block, as lines for the notes of a raster."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield lines
    lines += dict.fromkeys(" ".join(str(one.message).split())[:200] for one in caught)
