"""The file of `evaluate --json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from contractile.errors import ContractileError


@contextmanager
def json_file(path: Path | None, places: Sequence[str | None], *, overwrite: bool) -> Iterator[Callable[[str], None]]:
    """A function that writes text to `path`, or does nothing where none was given.

    Nobody else may write the file meanwhile; `places` are those that are read. Raises as `check_file` and `claimed`.
    """
    if path is None:
        yield lambda text: None
        return
    from contractile.images.writing import check_file
    from contractile.storage import claimed, replacing

    check_file(path)
    inputs = [file for place in places if place for file in _files_at(place)] if os.path.exists(path) else []

    def write(text: str) -> None:
        with claim.together(), replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    with claimed([path], by="evaluate", inputs=inputs, overwrite=overwrite) as claim:
        yield write


def _files_at(place: str) -> Iterator[Path]:
    """The files that a place may mean, in folders within it, too."""
    from contractile.images.folders import tree
    from contractile.images.sources import list_files

    folder = Path(place).expanduser()
    with suppress(ContractileError):  # said when it is read
        yield from tree(folder, 3) if os.path.isdir(folder) else list_files(place)
