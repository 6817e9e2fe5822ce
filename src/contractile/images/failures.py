"""Files that cannot be used among others that can: the work goes on, and ends by naming them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from contractile.errors import ContractileError, NotFinished
from contractile.images.sources import Source

logger = logging.getLogger(__name__)

NAMED = 5  # files in the line that ends the work


class Failures:
    """The files, or images in files, that gave no result, and why; `done` is what was to be done, such as "predicted".

    Each is logged once another has given a result: where none does, a single error says so.
    """

    def __init__(self, done: str) -> None:
        self.errors: dict[str, ContractileError] = {}
        self._verb, self._results, self._logged = done, 0, 0

    def add(self, what: object, error: ContractileError) -> None:
        self.errors[str(what)] = error if error.where else error.at(what)
        self._log()

    def count_result(self) -> None:
        self._results += 1
        self._log()

    def _log(self) -> None:
        if self._results:
            for error in list(self.errors.values())[self._logged :]:
                logger.warning("%s", error)
            self._logged = len(self.errors)

    def finish(self) -> None:
        """Raise the first error where there is no result, NotFinished where there are results beside errors."""
        if not self.errors:
            return
        names, total = list(self.errors), self._results + len(self.errors)
        if not self._results:
            raise first_of(total, self.errors[names[0]], self._verb)
        shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
        problem = f"{len(names)} of {total} files could not be {self._verb}: {shown}"
        raise NotFinished(problem, "mend them or leave them out; the results of the others are complete")


def first_of(files: int, error: ContractileError, done: str) -> ContractileError:
    """The first error of several files that all have one."""
    more = f" (so none of the {files} files could be {done})" if files > 1 else ""
    return type(error)(f"{error.problem}{more}", error.cure, where=error.where)


class _Look(Protocol):
    def __call__(self, where: Sequence[Path], /, *, quiet: bool = False) -> list[Source]: ...


def find_readable(
    groups: Sequence[Sequence[Path]], look: _Look, failed: Callable[[Path, ContractileError], None]
) -> list[Source]:
    """What `look` finds in all files; where that fails, in those groups of files that can be opened.

    `failed` is called with the first file of each other group. `look` sees all files at once, since several may hold
    one image.
    """
    try:
        return look([file for group in groups for file in group])
    except ContractileError:
        good: list[Path] = []
    for group in groups:
        try:
            look(group, quiet=True)
            good += group
        except ContractileError as error:
            failed(group[0], error)
    return look(good) if good else []
