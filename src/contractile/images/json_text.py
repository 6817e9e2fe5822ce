"""JSON files of strangers -> Python values, once their size is known."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contractile.errors import ContractileError
from contractile.images.gate import check_regular, limits
from contractile.images.raster import one_clear_line

UNFIT = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, OverflowError)


def load_json(path: Path) -> Any:
    """What a JSON file holds. Raises NotFound, and ContractileError for a file that is too large or is not JSON."""
    check_regular(path)
    with one_clear_line(path):
        size = path.stat().st_size
        if size > limits().metadata:
            problem = f"JSON must have at most {limits().metadata:,} bytes, got {size:,}"
            raise ContractileError(problem, "split it into a file for each image", where=path)
        text = path.read_bytes()
    with fitting(path, "JSON", "export it again"):
        return json.loads(text.decode("utf-8-sig"))


@contextmanager
def fitting(path: Path, what: str, cure: str) -> Iterator[None]:
    """Whatever a file's values lead to that are not as expected becomes: is not WHAT."""
    try:
        yield
    except ContractileError as error:
        raise error.at(path) from error
    except UNFIT as error:
        raise ContractileError(f"is not {what} ({type(error).__name__}: {error})", cure, where=path) from error
