"""The table of objects as a file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.images import Stack
from contractile.storage import replacing

UNNAMED = "QI"  # letters of axes that only count


def write_objects(path: Path, pages: Sequence[dict[str, NDArray[Any]]], *, stack: Stack | None = None) -> None:
    """Write the columns of one image, or those of the pages of a `stack`, as CSV: numbers with six digits.

    In front of those of a stack are `page` (from 0) and the places along the axes that have a name, such as `t` and `z`
    (from 0). Raises NotWritten, NotWritable.
    """
    names, places = _places(stack)
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*names, *pages[0]])
        for place, columns in zip(places, pages, strict=True):
            for row in zip(*columns.values(), strict=True):
                writer.writerow(
                    [*place, *(value if isinstance(value, np.integer) else f"{value:.6g}" for value in row)]
                )


def _places(stack: Stack | None) -> tuple[list[str], list[tuple[int, ...]]]:
    """The columns that say where a page is, and their values for each page."""
    if stack is None:
        return [], [()]
    named = [number for number, letter in enumerate(stack.axes) if letter not in UNNAMED]
    places = enumerate(np.ndindex(*stack.lengths))
    names = ["page", *(stack.axes[number].lower() for number in named)]
    return names, [(page, *(place[number] for number in named)) for page, place in places]
