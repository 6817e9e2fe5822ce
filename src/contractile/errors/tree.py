"""The tree of exceptions; `contractile.errors` draws it."""

from __future__ import annotations

from functools import partial
from typing import Any

LONGEST = 600  # characters of a problem, most of which are what somebody gave


class ContractileError(ValueError):
    """An argument or a file that cannot be used, as three fields; `str()` joins them to one line.

    `problem` names the argument, the rule and the value received. `cure` says what to do. `where` is the file,
    folder or image with the problem; it is empty where `problem` names an argument.
    """

    def __init__(self, problem: str, cure: str, *, where: object = "") -> None:
        self.where, self.problem, self.cure = printable(str(where)), _shortened(printable(problem)), printable(cure)
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}; {self.cure}" if self.where else f"{self.problem}; {self.cure}"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.problem, self.cure, where=self.where), ()

    def at(self, where: object) -> ContractileError:
        """The same error, about the file or image `where`."""
        return type(self)(self.problem, self.cure, where=where)


def printable(text: str) -> str:
    """Text with escapes for what a terminal would obey, or cannot show: names can hold line breaks and colours."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _shortened(text: str) -> str:
    """The beginning and the end of a long text."""
    part = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:part]} ... {text[-part:]}"


class WrongType(ContractileError, TypeError):
    """An argument of the wrong type."""


class NotFound(ContractileError, FileNotFoundError):
    """A file or folder that does not exist."""


class AlreadyThere(ContractileError, FileExistsError):
    """A file or run that exists and must not be replaced."""


class InUse(ContractileError, BlockingIOError):
    """A folder that another process writes into."""


class NotWritable(ContractileError, PermissionError):
    """A folder without permission to write."""


class NotFinished(ContractileError, RuntimeError):
    """Work that was started and could not be finished."""


class NotWritten(NotFinished, OSError):
    """Work that could not be finished because a file could not be written."""


class OutOfMemory(NotFinished, MemoryError):
    """Work that could not be finished because memory ran out."""
