"""The table of objects as a file: CSV, or Parquet. Rows are written batch by batch."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contractile.errors import ContractileError, shown
from contractile.images import Stack
from contractile.storage import replacing

Columns = dict[str, NDArray[Any]]

TABLES = {"csv": ".csv", "parquet": ".parquet"}
INSTALL = "pip install 'contractile[parquet]'"
UNNAMED = "QI"  # letters of axes that only count
ROWS = 2**14  # of CSV that are text at a time
GROUP = 2**17  # rows of a group in Parquet
UNITS = ("px", "um", "um2", "um3")  # with which names of columns end


def check_table(kind: str, products: Sequence[str] = ("objects",)) -> None:
    """Raise ContractileError for an unknown kind of table, one that is no product, or one that cannot be written."""
    if kind not in TABLES:
        raise ContractileError(f"table must be one of {', '.join(TABLES)}, got {shown(kind)}", "use csv")
    if kind == "parquet":
        if "objects" not in products:
            problem = f"table {kind} is that of objects, but products are {', '.join(products)}"
            raise ContractileError(problem, "add objects to them, as in --save labels,objects")
        _load_parquet()


def write_objects(path: Path, pages: Sequence[Columns], *, stack: Stack | None = None) -> None:
    """Write the columns of one image, or those of the pages of a `stack`: as Parquet where `path` ends so, else as CSV.

    In front of those of a stack are `page` (from 0) and the places along the axes that have a name, such as `t` and `z`
    (from 0). CSV has numbers with six digits, Parquet has them as they were computed. A column of Parquet has the unit
    of its values as metadata, `unit`, and the table the version of this package, `contractile`.
    Raises NotWritten, NotWritable, and ContractileError where Parquet cannot be loaded.
    """
    names, places = _places(stack)
    pages = _alike(pages)
    batches = _batches(names, places, pages)
    with replacing(path) as partial:
        if path.suffix == TABLES["parquet"]:
            _write_parquet(partial, [*names, *pages[0]], batches)
        else:
            _write_csv(partial, [*names, *pages[0]], batches)


def _alike(pages: Sequence[Columns]) -> list[Columns]:
    """Pages with the same columns in the same order. NaN fills those that a page lacks, having no pixel size."""
    names = list(dict.fromkeys(name for page in sorted(pages, key=lambda page: -len(page)) for name in page))
    counts = [len(next(iter(page.values()))) for page in pages]
    return [
        {name: page.get(name, np.full(count, np.nan)) for name in names}
        for page, count in zip(pages, counts, strict=True)
    ]


def _batches(names: Sequence[str], places: Sequence[Sequence[int]], pages: Sequence[Columns]) -> Iterator[Columns]:
    """The rows of all pages, some at a time: columns of equal length. Each page gives at least one batch."""
    for place, columns in zip(places, pages, strict=True):
        count = len(next(iter(columns.values())))
        for start in range(0, max(1, count), ROWS):
            rows = {name: column[start : start + ROWS] for name, column in columns.items()}
            size = min(ROWS, count - start)
            yield {name: np.full(size, number) for name, number in zip(names, place, strict=True)} | rows


def _write_csv(file: Path, names: Sequence[str], batches: Iterator[Columns]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerow(names)
        for batch in batches:
            kinds = ("%d" if np.issubdtype(column.dtype, np.integer) else "%.6g" for column in batch.values())
            line = f"{','.join(kinds)}\r\n"
            columns = (column.tolist() for column in batch.values())
            out.writelines(line % row for row in zip(*columns, strict=True))


def _write_parquet(file: Path, names: Sequence[str], batches: Iterator[Columns]) -> None:
    arrow, parquet = _load_parquet()
    groups = _groups(batches)
    first = next(groups)
    fields = [arrow.field(name, arrow.from_numpy_dtype(first[0][name].dtype), False, _unit(name)) for name in names]
    schema = arrow.schema(fields, {"contractile": version("contractile")})
    with file.open("wb") as out, parquet.ParquetWriter(out, schema, compression="zstd") as writer:
        for group in chain([first], groups):
            columns = [np.concatenate([batch[name] for batch in group]) for name in names]
            writer.write_table(arrow.table(columns, schema=schema))


def _groups(batches: Iterator[Columns]) -> Iterator[list[Columns]]:
    """Batches that become one group of rows: small groups, as of pages with few objects, would make a large file."""
    group, rows = list[Columns](), 0
    for batch in batches:
        size = len(next(iter(batch.values())))
        if group and rows + size > GROUP:
            yield group
            group, rows = [], 0
        group.append(batch)
        rows += size
    yield group


def _unit(name: str) -> dict[str, str] | None:
    """The metadata of a column."""
    unit = name.rpartition("_")[2]
    return {"unit": unit} if unit in UNITS else None


def _load_parquet() -> tuple[Any, Any]:
    """The modules that write Parquet."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ContractileError(f"Parquet cannot be written ({error})", INSTALL) from None
    return pyarrow, pyarrow.parquet


def _places(stack: Stack | None) -> tuple[list[str], list[tuple[int, ...]]]:
    """The columns that say where a page is, and their values for each page."""
    if stack is None:
        return [], [()]
    named = [number for number, letter in enumerate(stack.axes) if letter not in UNNAMED]
    places = enumerate(np.ndindex(*stack.lengths))
    names = ["page", *(stack.axes[number].lower() for number in named)]
    return names, [(page, *(place[number] for number in named)) for page, place in places]
